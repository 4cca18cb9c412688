"""Sweeps as jobs of a real Ray cluster that requires a token: submitted, watched, stopped, resumed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
import yaml
from cluster import Cluster
from processes import DEADLINE
from small_sweep import (
    CHECKPOINTS,
    NAME,
    AllAtOnce,
    assert_as_if_nothing_had_happened,
    records,
    spec_of,
    worker_of,
)

from rlscale.sweeps.running.drivers import drivers, stop_drivers
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore

JOB = re.compile(rf"rlscale-{NAME}-[0-9a-f]{{8}}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    nodes = Cluster("ray-start")
    yield nodes
    nodes.close()


def until(condition, what: str):
    """The first true value of ``condition()``, called repeatedly."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not seen")


def at_work(place: Path):
    """The one driver of the sweep in the store, if there is one."""
    found = drivers(RunStore(place), NAME) if (place / f"sweep={NAME}").is_dir() else {}
    return next(iter(found.values()), None)


# -- on a cluster --------------------------------------------------------------------


@pytest.mark.ray
def test_a_job_goes_on_without_its_submitter_and_is_seen_and_stopped_from_anywhere(
    start, rlscale, spec_file, cluster, tmp_path
):
    place = tmp_path / "store"
    base = {**spec_of()["base"], "interactions": 50_000_000, "checkpoints": 5000}
    submit = ("sweep", "submit", spec_file(base=base), "--store", place, "--address", cluster.dashboard)
    follower = start(*submit, "--follow", env=cluster.env)
    follower.until(AllAtOnce(place), "all runs under way")
    follower.interrupt()
    assert follower.wait() == 130, follower.output
    job_id = JOB.search(follower.output)[0]
    told = " ".join(follower.output.splitlines()[-2:])
    assert f"small: the job {job_id} continues; stop it with: rlscale sweep stop" in told

    status = rlscale("sweep", "status", place, "--json", tmp_path / "status.json", columns=200)
    assert (status.returncode, status.stderr) == (0, "")
    assert f"job {job_id}: 3 in flight" in status.stdout
    (told,) = json.loads((tmp_path / "status.json").read_text())["sweeps"]
    assert [driver["job"] for driver in told["drivers"]] == [job_id]
    assert told["interactions_per_second"] > 0
    assert told["seconds_left"] > 0

    second = rlscale(*submit, env=cluster.env)
    refused(second, f"The job {job_id} works on sweep small already", "rlscale sweep stop")

    stopped = rlscale("sweep", "stop", place, columns=200)
    assert (stopped.returncode, stopped.stderr) == (0, ""), stopped.stdout
    asked, gone, remedy = stopped.stdout.splitlines()
    assert asked.endswith(f"job {job_id} to stop.")
    assert gone.endswith(f"job {job_id} has stopped.")
    assert remedy == f"small: continue with: rlscale sweep resume {place} --sweep small"
    assert {record.status for record in records(place)} == {"stopped"}
    assert RunStore(place).list_files(NAME, "drivers") == []


@pytest.mark.ray
def test_a_job_that_was_stopped_twice_ends_as_if_nothing_had_happened(
    start, rlscale, spec_file, undisturbed, cluster, tmp_path
):
    place = tmp_path / "store"
    address = ("--address", cluster.dashboard)
    submit = ("sweep", "submit", spec_file(), *address, "--store", "store")
    done = rlscale(*submit, "--json", "job.json", env=cluster.env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    job = json.loads((tmp_path / "job.json").read_text())
    assert JOB.fullmatch(job["job"])
    assert (job["store"], job["status"]) == (str(place), "submitted")
    first = until(AllAtOnce(place), "all runs under way")
    ray_job_stop(cluster, job["job"])  # which leaves it three seconds
    until(lambda: at_work(place) is None or at_work(place).is_known_dead, "the end of the driver")
    assert {record.status for record in records(place)} <= {"running", "stopped"}

    follower = start(*submit[:-1], place, "--follow", env=cluster.env)
    attempts = {record.run_id: len(record.attempts) for record in first}
    again = AllAtOnce(place, condition=lambda record: len(record.attempts) > attempts[record.run_id])
    second = follower.until(again, "all runs under way again")
    report = stop_drivers(RunStore(place), [NAME], timeout=DEADLINE)[NAME]
    assert len(report.stopped) == 1
    assert follower.wait() == 1, follower.output
    assert "small: stopped on request; run the same command again to continue.\n" in follower.output
    assert {record.status for record in records(place)} == {"stopped"}

    done = rlscale(*submit, "--follow", "--json", "job.json", env=cluster.env, cwd=tmp_path, columns=200)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["status"] == "succeeded"
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"small: submitted as job {job['job']}; ")
    assert lines[-1] == f"small: the job {job['job']} has succeeded."
    assert lines.count("small: 3 runs to do, 0 done before.") == 1
    assert lines.count("small: 3 done, 0 failed.") == 1
    assert_as_if_nothing_had_happened(place, undisturbed, seen=[*first, *second])
    assert RunStore(place).list_files(NAME, "drivers") == []
    for record in records(place):
        logs = rlscale("sweep", "logs", place, record.run_id[:6], columns=200).stdout
        assert logs.startswith(f"small: run {record.run_id}, done\n")
        for attempt in record.attempts:
            assert f"attempt {attempt.number} on {attempt.host}, pid {attempt.pid}, from " in logs
        assert "stopped: stopped on request" in logs
        assert [f"checkpoint {index}: " in logs for index in range(CHECKPOINTS)] == [True] * CHECKPOINTS


def ray_job_stop(cluster: Cluster, job_id: str) -> None:
    """What ``ray job stop`` does."""
    token = Path(cluster.env["RAY_AUTH_TOKEN_PATH"]).read_text()
    answer = requests.post(
        f"{cluster.dashboard}/api/jobs/{job_id}/stop",
        headers={"Authorization": f"Bearer {token}"},
        timeout=DEADLINE,
    )
    assert answer.json() == {"stopped": True}


@pytest.mark.ray
def test_a_job_that_cannot_work_gives_its_status_and_its_last_words(rlscale, spec_file, cluster, tmp_path):
    arguments = ("--store", tmp_path / "store", "--address", cluster.dashboard, "--wait")
    done = rlscale(
        "sweep",
        "submit",
        spec_file(),
        *arguments,
        "--python",
        "/no/such/python",
        env=cluster.env,
        columns=200,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "has failed." in done.stdout
    assert "/no/such/python: not found" in done.stdout


@pytest.mark.ray
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "wrong"}, ("asks for another token", "RAY_AUTH_TOKEN_PATH")),
        ({"RAY_AUTH_MODE": "disabled"}, ("asks for another token", "RAY_AUTH_MODE=token")),
    ],
)
def test_a_wrong_token_or_none_is_reported_in_one_sentence(rlscale, spec_file, cluster, tmp_path, env, words):
    (tmp_path / "wrong").write_text("f" * 64)
    arguments = ("--store", "store", "--address", cluster.dashboard)
    refused(
        rlscale("sweep", "submit", spec_file(), *arguments, env={**cluster.env, **env}, cwd=tmp_path), *words
    )
    assert not (tmp_path / "store").exists()


@pytest.mark.ray
def test_a_killed_job_submitted_again_finishes_whatever_was_done_to_its_checkpoints_and_times(
    rlscale, start, spec_file, undisturbed, cluster, tmp_path
):
    place, spec = tmp_path / "store", spec_file()
    submit = ("sweep", "submit", spec, "--store", place, "--address", cluster.dashboard, "--wait")
    job = start(*submit, env=cluster.env)
    before = job.until(AllAtOnce(place, condition=has_two_checkpoints), "all runs under way")
    (driver,) = drivers(RunStore(place), NAME).values()
    os.kill(driver.pid, signal.SIGKILL)
    assert job.wait() == 1, job.output
    job.until_gone(worker_of(record) for record in before)
    before = records(place)
    newest, every, ahead = (place / f"sweep={NAME}" / f"run={record.run_id}" for record in before)
    truncate_checkpoints(newest, 1)
    truncate_checkpoints(every, 2)
    postdate(ahead)
    again = rlscale(*submit, env=cluster.env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert_as_if_nothing_had_happened(place, undisturbed, before)
    last = [RunStore(place).read_logs(NAME, record.run_id)[-1][1] for record in before]
    assert f"continues from checkpoint {len(before[0].segments) - 2}\n" in last[0]
    assert "begins at the beginning\n" in last[1]
    assert f"continues from checkpoint {len(before[2].segments) - 1}\n" in last[2]


def has_two_checkpoints(record: RunRecord) -> bool:
    return len(record.segments) >= 2


def truncate_checkpoints(folder: Path, number: int) -> None:
    """Truncate the newest checkpoints of a run to nothing and a half; a kill during a write leaves three."""
    newest, older, *_ = sorted((folder / "checkpoint").iterdir(), reverse=True)
    for path, keep in ((newest, 0.0), (older, 0.5))[:number]:
        os.truncate(path, int(path.stat().st_size * keep))


def postdate(folder: Path) -> None:
    """Move all times in a run's records a year later, as if a machine with a wrong clock had written them."""
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        for times in (record, *record["attempts"]):
            for name in {"updated", "started", "ended"} & times.keys():
                if times[name]:
                    times[name] = (datetime.fromisoformat(times[name]) + timedelta(days=365)).isoformat()
        path.write_text(json.dumps(record))


@pytest.mark.ray
def test_a_sweep_whose_cluster_lost_its_head_says_so_and_finishes_on_another(
    start, spec_file, undisturbed, cluster, tmp_path
):
    """The last test of this cluster; the other one is this machine's own Ray."""
    place = tmp_path / "store"
    sweep = ("sweep", "run", spec_file(), "--store", place)
    impatient = {"RAY_gcs_rpc_server_reconnect_timeout_s": "16"}
    command = start(*sweep, "--address", cluster.address, env={**cluster.env, **impatient})
    before = command.until(AllAtOnce(place), "all runs under way")
    os.kill(cluster.gcs(), signal.SIGKILL)
    assert command.wait() == 1, command.output
    said = " ".join(command.output.splitlines())
    told, last = said.split(" rlscale: ")
    told = re.sub(r"small: 3 runs, .*? left ", "", told)  # how far it is, told every minute
    assert told == (
        "small: 3 runs to do, 0 done before. small: the head of the Ray cluster does not answer. "
        "What the runs stored is kept; if the head is gone, continue with the same command on another "
        "cluster."
    )
    port = cluster.address.rpartition(":")[2]
    assert re.fullmatch(
        rf"The head of the Ray cluster at \S+:{port} is gone: continue with the same command on another "
        rf"cluster\.",
        last,
    )
    again = start(*sweep)  # while workers of the first may still write
    assert again.wait() == 0, again.output
    assert_as_if_nothing_had_happened(place, undisturbed, before)


# -- without one ---------------------------------------------------------------------


def refused(done, *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("rlscale: ")
    for word in words:
        assert word in line


NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"--address": NOWHERE}, ("no Ray cluster with a dashboard at http://127.0.0.1:1",)),
        ({"--address": "head:6379"}, ("head:6379", "the cluster's dashboard, such as http://head:8265")),
        ({"--store": "s3://key:geheim@bucket/runs"}, ("holds a secret",)),
        ({"--device": "tpu"}, ("choose auto, cpu or cuda",)),
        ({"--device": "cuda"}, ("set resources.num_gpus",)),
    ],
    ids=["address", "no-url", "secret", "device", "gpu"],
)
def test_what_cannot_be_submitted_is_refused_and_nothing_stored(rlscale, spec_file, tmp_path, options, words):
    arguments = {"--address": NOWHERE, "--store": "store", **options}
    done = rlscale(
        "sweep", "submit", spec_file(), *(x for pair in arguments.items() for x in pair), cwd=tmp_path
    )
    refused(done, *words)
    assert "geheim" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_spec_is_refused_before_the_cluster_is_asked(rlscale, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec_of(axes={"widht": [1]})))
    arguments = ("--store", tmp_path / "store", "--address", NOWHERE)
    refused(rlscale("sweep", "submit", path, *arguments), "unknown axis 'widht'")
    assert not (tmp_path / "store").exists()


def test_resume_needs_a_stored_spec(rlscale, store, claim):
    claim(store).stop("asked to")
    refused(rlscale("sweep", "resume", store.location), "holds no sweep to continue")
    refused(rlscale("sweep", "resume", store.location, "--sweep", "s"), "holds no spec of s")
    refused(rlscale("sweep", "resume", store.location, "--sweep", "t"), "has no sweep named 't'")
    store.write_spec("s", {"name": "s", "axes": {}})
    refused(rlscale("sweep", "resume", store.location), "the stored spec of s", "'base' is missing")


def test_resume_takes_the_spec_from_the_store_and_leaves_what_is_done(rlscale, store, claim):
    store.write_spec(NAME, spec_of())
    for config in expand(parse_spec(spec_of(), source="test")):
        claim(store, config.run_id, sweep=NAME, config=config.model_dump(mode="json")).finish()
    done = rlscale("sweep", "resume", store.location)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["small: 0 runs to do, 3 done before.", "small: 3 done, 0 failed."]


def test_stop_says_when_no_driver_works_on_a_sweep_and_which_is_dead(rlscale, store, tmp_path):
    store.write_spec("s", spec_of())
    done = rlscale("sweep", "stop", store.location)
    assert (done.returncode, done.stdout, done.stderr) == (0, "s: no driver works on it.\n", "")
    code = (
        "import os, sys; from rlscale.sweeps.running.drivers import Presence;"
        "from rlscale.sweeps.store.run_store import RunStore;"
        "Presence(RunStore(sys.argv[1]), 's').__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, store.location], check=False)
    done = rlscale("sweep", "stop", store.location, "--json", tmp_path / "stop.json", columns=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert "was dead already; its file is removed." in done.stdout
    (told,) = json.loads((tmp_path / "stop.json").read_text())["sweeps"]
    assert [len(told[group]) for group in ("stopped", "dead", "still_there")] == [0, 1, 0]
    assert store.list_files("s", "drivers") == []
