"""Sweeps on this machine's Ray, killed and interrupted: nothing is lost or duplicated, no bit differs."""

import os
import signal
from pathlib import Path

import pytest
from small_sweep import (
    INTERACTIONS,
    NAME,
    AllAtOnce,
    assert_as_if_nothing_had_happened,
    assert_curve_is_undisturbed,
    records,
    worker_of,
)

from rlscale.sweeps.store.run_store import RunStore

pytestmark = pytest.mark.ray

TWO = (0, 1)  # seeds, for a machine of two cores


@pytest.fixture(scope="module")
def spec(spec_file) -> Path:
    return spec_file(axes={"seed": list(TWO)})


def test_a_killed_driver_is_started_again_and_finishes_the_sweep(start, spec, undisturbed, tmp_path):
    place = tmp_path / "store"
    command = start("sweep", "run", spec, "--store", place)
    before = command.until(AllAtOnce(place, 2), "both runs under way")
    command.kill()
    again = start("sweep", "run", spec, "--store", place)  # while workers of the first may still live
    assert again.wait() == 0, again.output
    assert again.output.splitlines()[0] == "small: 2 runs to do, 0 done before."
    assert_as_if_nothing_had_happened(place, undisturbed, before, seeds=TWO)
    assert all(len(record.attempts) >= 2 for record in records(place))


def test_ctrl_c_stores_the_rows_so_far_and_the_same_command_goes_on(start, spec, undisturbed, tmp_path):
    place = tmp_path / "store"
    command = start("sweep", "run", spec, "--store", place)
    command.until(AllAtOnce(place, 2), "both runs under way")
    command.interrupt()
    assert command.wait() == 130, command.output
    assert "Traceback" not in command.output
    assert command.output.splitlines()[-1] == "small: stopped; run the same command again to continue."
    stopped = records(place)
    assert {record.status for record in stopped} == {"stopped"}
    for record in stopped:
        steps = RunStore(place).read_curve(NAME, record.run_id).column("interactions").to_pylist()
        assert steps[-1] <= record.interactions < INTERACTIONS
    again = start("sweep", "run", spec, "--store", place)
    assert again.wait() == 0, again.output
    assert_as_if_nothing_had_happened(place, undisturbed, stopped, seeds=TWO)


def test_runs_that_ran_out_of_memory_or_of_lives_fail_alone_and_say_why(
    start, spec_file, undisturbed, tmp_path
):
    """One requests more memory than exists; the worker of the other is killed with max_deaths 0."""
    place = tmp_path / "store"
    axes = {"seed": [0], "agent.num_envs": [1, 4 * 10**9]}
    resources = {"memory": "1 GB", "max_deaths": 0}
    command = start("sweep", "run", spec_file(axes=axes, resources=resources), "--store", place)

    def halfway():
        return [record for record in records(place) if 0 < record.interactions < INTERACTIONS]

    (victim,) = command.until(halfway, "the small run under way")
    os.kill(worker_of(victim), signal.SIGKILL)
    assert command.wait() == 1, command.output
    assert "its memory did not suffice; fewer runs will share its node" in command.output
    assert "Traceback" not in command.output
    reasons = {record.config["agent"]["num_envs"]: record.reason for record in records(place)}
    assert reasons[1] == "its worker was killed"
    assert "The memory does not suffice for this run; try agent.num_envs 2000000000" in reasons[4 * 10**9]
    failures = {record.config["agent"]["num_envs"]: record.failure for record in records(place)}
    assert failures == {1: "worker_died", 4 * 10**9: "out_of_memory"}
    again = start("sweep", "retry", place)
    assert again.wait() == 1, again.output
    ((small, large),) = [sorted(records(place), key=lambda record: record.config["agent"]["num_envs"])]
    assert (small.status, small.failure, large.status) == ("done", None, "failed")
    assert_curve_is_undisturbed(RunStore(place), undisturbed, small.run_id)
