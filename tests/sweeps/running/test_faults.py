"""Sweeps on clusters of three nodes while every part is killed, frozen, filled up or broken."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from cluster import Cluster
from killing import sweep_with_kills
from processes import Idleness, parent_of
from small_sweep import (
    ALL_SEEDS,
    NAME,
    AllAtOnce,
    assert_as_if_nothing_had_happened,
    assert_curve_is_undisturbed,
    assert_no_leftovers,
    records,
    under_way,
    worker_of,
)

from rlscale.sweeps.store.run_store import RunStore

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and two nodes; a test that ends a node puts another in its place."""
    nodes = Cluster("cluster-utils")
    yield nodes
    nodes.close()


@pytest.fixture
def sweep_run(start, tmp_path):
    """Start ``rlscale sweep run`` on a cluster; the store is in ``tmp_path`` unless another is named."""

    def begin(cluster: Cluster, spec: Path, place: Path = tmp_path / "store"):
        return start("sweep", "run", spec, "--store", place, "--address", cluster.address, env=cluster.env)

    return begin


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of a few megabytes, which can be filled and made read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "rlscale-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a disk is not permitted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


# -- what a cluster is made of --------------------------------------------------------


def test_runs_of_two_nodes_that_die_go_on_on_others_and_it_does_not_count_against_them(
    sweep_run, spec_file, undisturbed, cluster, tmp_path
):
    place = tmp_path / "store"
    command = sweep_run(cluster, spec_file(resources={"max_deaths": 0}))  # no death of a run is forgiven
    before = command.until(AllAtOnce(place), "all runs under way")
    head, *nodes = cluster.raylets()
    on_node = {parent_of(worker_of(record)): record for record in before}
    assert set(on_node) == {head, *nodes}
    for raylet, number in zip(nodes, (signal.SIGKILL, signal.SIGTERM), strict=True):
        os.kill(raylet, number)
    for _ in nodes:
        cluster.add_node()
    assert command.wait() == 0, command.output
    assert command.output.count("its node died; it continues from its last checkpoint") == 2
    assert "state-dump" not in command.output  # Ray's own logs
    assert_as_if_nothing_had_happened(place, undisturbed, before)
    again = {r.run_id for r in records(place) if [a.outcome for a in r.attempts] == [None, "done"]}
    assert again == {on_node[raylet].run_id for raylet in nodes}


def test_killed_workers_cost_no_row_and_no_bit_and_only_runs_whose_loss_is_nan_fail(
    sweep_run, spec_file, undisturbed, cluster, tmp_path
):
    place = tmp_path / "store"
    axes = {"seed": [0, 1], "agent.learning_rate": [5e-4, 1e30]}
    command = sweep_run(cluster, spec_file(axes=axes))
    killed, asked = command.until(AllAtOnce(place, 2), "the good runs under way")
    os.kill(worker_of(killed), signal.SIGKILL)
    os.kill(worker_of(asked), signal.SIGTERM)
    assert command.wait() == 1, command.output
    assert command.output.count("its worker was killed") == 1
    assert command.output.count("its worker was asked to stop") == 1
    assert command.output.splitlines()[-1].startswith("small: 2 done, 2 failed")
    assert "Traceback" not in command.output
    ended = {record.run_id: record for record in records(place)}
    failed = [record for record in ended.values() if record.status == "failed"]
    assert len(failed) == 2
    for record in failed:
        assert record.failure == "non_finite_loss"
        assert record.reason.endswith("try a smaller agent.learning_rate (now 1e+30).")
    for before, outcomes in ((killed, [None, "done"]), (asked, ["stopped", "done"])):
        after = ended[before.run_id]
        assert [attempt.outcome for attempt in after.attempts] == outcomes
        assert after.attempts[1].from_interactions >= before.interactions > 0
        assert_curve_is_undisturbed(RunStore(place), undisturbed, before.run_id)
    assert_no_leftovers(place)


def test_a_module_that_only_the_drivers_machine_has_fails_its_runs_and_says_where(
    start, spec_file, cluster, tmp_path
):
    """The module lies where the driver's PYTHONPATH leads; the cluster was started without that."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "drivers_own.py").write_text("HERE = True\n")
    paths = [str(tmp_path / "installed"), *filter(None, [os.environ.get("PYTHONPATH")])]
    place = tmp_path / "store"
    command = start(
        *("sweep", "run", spec_file(axes={"seed": [0]}), "--store", place, "--address", cluster.address),
        *("--import", "drivers_own"),
        env={**cluster.env, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert command.wait() == 1, command.output
    assert "Traceback" not in command.output
    assert command.output.splitlines()[-1].startswith("small: 0 done, 1 failed")
    (record,) = records(place)
    assert (record.status, record.failure) == ("failed", "module_not_importable")
    assert record.reason.startswith(
        f"The module drivers_own cannot be imported on {socket.gethostname()} (ModuleNotFoundError: "
        f"No module named 'drivers_own'"
    )
    assert "install it there, or put its file into" in record.reason
    assert "\n" not in record.reason
    assert record.reason in " ".join(command.output.split())


# -- several at one run ---------------------------------------------------------------


def test_a_frozen_worker_whose_run_was_done_elsewhere_changes_nothing_when_it_goes_on(
    sweep_run, rlscale, spec_file, undisturbed, cluster, tmp_path
):
    place = tmp_path / "store"
    command = sweep_run(cluster, spec_file())
    victim, *_ = command.until(AllAtOnce(place), "all runs under way")
    worker = worker_of(victim)
    os.kill(worker, signal.SIGSTOP)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(victim.config))
    elsewhere = rlscale("train", config, "--store", place, "--sweep", NAME)
    assert elsewhere.returncode == 0, elsewhere.stdout + elsewhere.stderr
    folder = place / f"sweep={NAME}" / f"run={victim.run_id}"
    stored = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert folder / "curve.parquet" in stored
    os.kill(worker, signal.SIGCONT)
    assert command.wait() == 0, command.output
    command.until_gone([worker])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == stored
    assert_as_if_nothing_had_happened(place, undisturbed, [victim])


def test_two_drivers_of_one_sweep_leave_each_run_done_once(
    sweep_run, spec_file, undisturbed, cluster, tmp_path
):
    place = tmp_path / "store"
    commands = [sweep_run(cluster, spec_file()) for _ in range(2)]
    for command in commands:
        command.wait()
        assert "failed  " not in command.output
        assert "Traceback" not in command.output
    assert_as_if_nothing_had_happened(place, undisturbed)


def test_a_run_begun_where_the_clock_is_hours_ahead_goes_on_where_it_is_right(
    start, rlscale, undisturbed, tmp_path
):
    libfaketime = pytest.importorskip("libfaketime", reason="libfaketime is not installed")
    _, preloaded = libfaketime.get_reload_information()
    ahead = {**preloaded, "FAKETIME": "+6h"}
    place, config = tmp_path / "store", tmp_path / "config.yaml"
    expected = next(undisturbed.runs(NAME))
    config.write_text(yaml.safe_dump(expected.config))
    arguments = ("train", config, "--store", place, "--sweep", NAME)
    command = start(*arguments, env=ahead)
    (before,) = command.until(lambda: under_way(place, 1), "the run under way")
    command.kill()
    again = rlscale(*arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    (record,) = records(place)
    first, last = (datetime.fromisoformat(attempt.started) for attempt in record.attempts)
    assert first - last > timedelta(hours=5)
    assert_as_if_nothing_had_happened(place, undisturbed, [before], seeds=[expected.config["seed"]])


# -- the store ------------------------------------------------------------------------


def test_runs_wait_while_the_disk_is_full_or_read_only_and_go_on(
    sweep_run, spec_file, undisturbed, cluster, small_disk
):
    place = small_disk / "store"
    command = sweep_run(cluster, spec_file(), place)
    before = command.until(AllAtOnce(place), "all runs under way")
    workers, ballast = [worker_of(record) for record in before], small_disk / "ballast"
    is_idle = Idleness(workers)
    command.until(lambda: fill(ballast) and is_idle(), "all runs waiting for room on the disk")
    full = records(place)
    ballast.unlink()

    def all_further():
        pairs = zip(records(place), full, strict=True)
        return all(now.interactions > then.interactions for now, then in pairs)

    command.until(all_further, "all runs further than on the full disk")
    command.until(lambda: remount(small_disk, "ro"), "a moment when no file is being written")
    command.until(Idleness(workers), "all runs waiting for a disk that can be written")
    assert remount(small_disk, "rw")
    assert command.wait() == 0, command.output
    assert "Traceback" not in command.output
    assert_as_if_nothing_had_happened(place, undisturbed, [*before, *full])
    for record in records(place):
        assert len(record.attempts) == 1
        ((_, log),) = RunStore(place).read_logs(NAME, record.run_id)
        assert "No space left on device" in log
        assert "Read-only file system" in log


def test_a_read_only_store_is_reported_in_one_sentence_before_anything_starts(rlscale, spec_file, small_disk):
    assert remount(small_disk, "ro")
    refused = rlscale("sweep", "run", spec_file(), "--store", small_disk / "store", columns=1000)
    assert (refused.returncode, refused.stdout) == (2, "")
    (sentence,) = refused.stderr.splitlines()
    assert f"{small_disk / 'store'}" in sentence
    assert "Read-only file system" in sentence


# -- all at once ----------------------------------------------------------------------


def test_random_kills_cost_no_row_and_no_bit(sweep_run, spec_file, undisturbed, cluster, tmp_path):
    place = tmp_path / "store"
    spec = spec_file(axes={"seed": list(ALL_SEEDS)}, resources={"max_deaths": 10})
    rng = np.random.default_rng(5)
    command, kills = sweep_with_kills(lambda: sweep_run(cluster, spec), place, cluster, rng, number=6)
    assert command.wait() == 0, command.output
    assert sum(kills.counts.values()) == 6
    assert_as_if_nothing_had_happened(place, undisturbed, kills.seen, seeds=ALL_SEEDS)


def fill(path: Path) -> bool:
    """Fill the disk. Returns true."""
    with open(path, "ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return True
    raise AssertionError("a disk cannot be filled")


def remount(disk: Path, how: str) -> bool:
    """Whether the disk is now "ro" or "rw"; it cannot be made read-only while a file is written."""
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    return not subprocess.run(command, capture_output=True, check=False).returncode
