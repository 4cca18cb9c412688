"""Workers and drivers killed mid-sweep: nothing is lost, nothing is doubled, no bit differs."""

import os
import signal
from pathlib import Path

import pytest
import yaml

from sweeps.store import RunStore, rows_equal

pytestmark = pytest.mark.ray

CHECKPOINTS = 10
SPEC = {
    "name": "long",
    "base": {
        "task": "digits-bandit",
        "interactions": 150_000,
        "checkpoints": CHECKPOINTS,
        "model": {"width": 0.05},
    },
    "axes": {"seed": [0, 1]},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "long.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


@pytest.fixture(scope="module")
def undisturbed(rlscale, spec, tmp_path_factory) -> RunStore:
    place = tmp_path_factory.mktemp("undisturbed") / "store"
    done = rlscale("sweep", "run", spec, "--store", place)
    assert done.returncode == 0, done.stdout + done.stderr
    return RunStore(place)


def run_records(place: Path):
    return list(RunStore(place).runs("long")) if (place / "sweep=long").is_dir() else []


def under_way(place: Path):
    """The records of both runs, once each has stored a first segment and is still far from its end."""
    records = [record for record in run_records(place) if record.status == "running" and record.interactions]
    assert all(record.interactions < 140_000 for record in records), "too late to hit a run in the middle"
    return records if len(records) == 2 else None


def assert_as_if_nothing_had_happened(place: Path, undisturbed: RunStore) -> None:
    disturbed = RunStore(place)
    expected = list(undisturbed.runs("long"))
    assert disturbed.run_ids("long") == [record.run_id for record in expected]
    for record in expected:
        curve = disturbed.read_curve("long", record.run_id)
        steps = curve.column("interactions").to_pylist()
        assert steps == sorted(set(steps))
        assert rows_equal(curve, undisturbed.read_curve("long", record.run_id))
        folder = place / "sweep=long" / f"run={record.run_id}"
        names = {path.name for path in folder.iterdir() if not path.name.startswith("log-")}
        assert names == {"curve.parquet", "run.json"}
        assert disturbed.read_run("long", record.run_id).status == "done"
    assert [path for path in place.rglob(".*") if ".tmp-" in path.name] == []


def test_a_worker_killed_or_asked_to_end_costs_no_row_and_no_bit(start, spec, undisturbed, tmp_path):
    place = tmp_path / "store"
    command = start("sweep", "run", spec, "--store", place)
    victim, other = command.until(lambda: under_way(place), "both runs under way")
    for record, number in ((victim, signal.SIGKILL), (other, signal.SIGTERM)):
        pid = record.attempts[-1].pid
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
        os.kill(pid, number)
    assert command.wait() == 0, command.output
    assert f"again     {victim.run_id[:8]}  its worker was killed" in command.output
    assert f"again     {other.run_id[:8]}  its worker was asked to stop" in command.output
    assert "Traceback" not in command.output
    assert_as_if_nothing_had_happened(place, undisturbed)
    first, *_, last = RunStore(place).read_run("long", victim.run_id).attempts
    assert (first.outcome, last.outcome) == (None, "done")
    assert last.from_interactions >= victim.interactions > 0
    first, last = RunStore(place).read_run("long", other.run_id).attempts
    assert (first.outcome, last.outcome) == ("stopped", "done")
    assert last.from_interactions >= other.interactions > 0


def test_a_killed_driver_is_started_again_and_finishes_the_sweep(start, spec, undisturbed, tmp_path):
    place = tmp_path / "store"
    command = start("sweep", "run", spec, "--store", place)
    before = command.until(lambda: under_way(place), "both runs under way")
    command.kill()
    again = start("sweep", "run", spec, "--store", place)  # while workers of the first may still live
    assert again.wait() == 0, again.output
    assert again.output.splitlines()[0] == "long: 2 runs to do, 0 done before."
    assert_as_if_nothing_had_happened(place, undisturbed)
    for record in before:
        attempts = RunStore(place).read_run("long", record.run_id).attempts
        assert len(attempts) >= 2
        assert attempts[-1].outcome == "done"
        assert attempts[-1].from_interactions >= record.interactions > 0


def test_ctrl_c_stores_what_there_is_and_the_same_command_goes_on(start, spec, undisturbed, tmp_path):
    place = tmp_path / "store"
    command = start("sweep", "run", spec, "--store", place)
    command.until(lambda: under_way(place), "both runs under way")
    command.interrupt()
    assert command.wait() == 130, command.output
    assert "Traceback" not in command.output
    assert command.output.splitlines()[-1] == "long: stopped; run the same command again to go on."
    stopped = run_records(place)
    assert {record.status for record in stopped} == {"stopped"}
    for record in stopped:
        steps = RunStore(place).read_curve("long", record.run_id).column("interactions").to_pylist()
        assert steps[-1] <= record.interactions < 150_000
    again = start("sweep", "run", spec, "--store", place)
    assert again.wait() == 0, again.output
    assert_as_if_nothing_had_happened(place, undisturbed)
    for record in stopped:
        last = RunStore(place).read_run("long", record.run_id).attempts[-1]
        assert last.from_interactions == record.interactions


def test_runs_that_ran_out_of_memory_or_of_lives_fail_alone_and_say_why(start, undisturbed, tmp_path):
    """One asks for more memory than there is; the worker of the other is killed, which nothing forgives."""
    place, path = tmp_path / "store", tmp_path / "long.yaml"
    axes = {"seed": [0], "agent.num_envs": [1, 4 * 10**9]}
    resources = {"memory": "1 GB", "max_deaths": 0}
    path.write_text(yaml.safe_dump(SPEC | {"axes": axes, "resources": resources}))
    command = start("sweep", "run", path, "--store", place)

    def halfway():
        return [record for record in run_records(place) if 0 < record.interactions < 140_000]

    (victim,) = command.until(halfway, "the small run under way")
    os.kill(victim.attempts[-1].pid, signal.SIGKILL)
    assert command.wait() == 1, command.output
    assert "its memory did not suffice; fewer runs will share its node" in command.output
    assert "Traceback" not in command.output
    reasons = {record.config["agent"]["num_envs"]: record.reason for record in run_records(place)}
    assert reasons[1] == "its worker was killed"
    assert "The memory does not suffice for this run; try agent.num_envs 2000000000" in reasons[4 * 10**9]
    again = start("sweep", "retry", place)
    assert again.wait() == 1, again.output
    ((small, large),) = [sorted(run_records(place), key=lambda record: record.config["agent"]["num_envs"])]
    assert (small.status, large.status) == ("done", "failed")
    assert rows_equal(
        RunStore(place).read_curve("long", small.run_id), undisturbed.read_curve("long", small.run_id)
    )
