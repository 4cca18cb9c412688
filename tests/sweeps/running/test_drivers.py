"""Drivers seen and stopped through the store alone."""

import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rlscale.sweeps.running import drivers as module
from rlscale.sweeps.running.drivers import (
    SILENCE_SECONDS,
    DriverRecord,
    Presence,
    Watch,
    drivers,
    stop_drivers,
)
from rlscale.sweeps.running.status import SweepReader
from rlscale.sweeps.store.run_store import RunStore

DRIVER = """
import sys, time
from rlscale.sweeps.running.drivers import Presence
from rlscale.sweeps.store.run_store import RunStore

with Presence(RunStore(sys.argv[1]), "s") as presence:
    presence.report(in_flight=2, waiting=3, ended=4)
    while not presence.is_asked_to_stop:
        time.sleep(0.02)
"""


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.on_sleep = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def begin_on():
    """Start a driver in a process of its own on a store, and wait until it is seen."""
    processes = []

    def make(store) -> subprocess.Popen:
        before = set(drivers(store, "s"))
        processes.append(subprocess.Popen([sys.executable, "-c", DRIVER, store.location]))
        until(lambda: set(drivers(store, "s")) - before)
        return processes[-1]

    yield make
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def begin(begin_on, store):
    return lambda: begin_on(store)


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def elsewhere(driver_id: str, **fields) -> DriverRecord:
    """The record of a driver on another machine."""
    known = {"host": "far", "pid": 1, "machine": "another", "started": "", "updated": ""}
    return DriverRecord(driver_id=driver_id, **{**known, **fields})


def put(store, record: DriverRecord) -> None:
    store.write_file("s", f"drivers/{record.driver_id}.json", record.model_dump_json().encode())


@contextmanager
def beating(store, record: DriverRecord):
    """A driver on another machine that writes its file, however long the block takes."""
    is_over = threading.Event()

    def beat() -> None:
        for beats in itertools.count():
            put(store, record.model_copy(update={"beats": beats}))
            if is_over.wait(SILENCE_SECONDS / 10):
                return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_driver_is_seen_while_it_works_and_leaves_nothing(store, monkeypatch):
    monkeypatch.setenv(
        "RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": "job-1"}})
    )
    with Presence(store, "s") as presence:
        (record,) = drivers(store, "s").values()
        assert (record.host, record.job) == (socket.gethostname(), "job-1")
        assert not record.is_known_dead
        assert not presence.is_asked_to_stop
    assert store.list_files("s", "drivers") == []


def test_a_driver_keeps_its_file_fresh_and_writes_its_counts(store, begin):
    begin()
    until(lambda: [record.in_flight for record in drivers(store, "s").values()] == [2])
    (record,) = drivers(store, "s").values()
    assert (record.waiting, record.ended) == (3, 4)
    assert record.beats > 1


def test_a_driver_knows_when_the_store_cannot_be_written_and_when_it_can_again(store):
    folder = Path(store.location) / "sweep=s" / "drivers"
    with Presence(store, "s") as presence:
        assert presence.trouble is None
        shutil.rmtree(folder)
        folder.write_text("in the way")
        until(lambda: presence.trouble)
        assert "cannot be written" in presence.trouble
        folder.unlink()
        until(lambda: presence.trouble is None)
    assert list(folder.iterdir()) == []


def test_a_driver_is_seen_and_stopped_on_an_object_store(server, begin_on):
    store = RunStore(server.uri(f"{server.bucket()}/store"), create=True)
    store.write_spec("s", {})  # an object store exists once it holds something
    process = begin_on(store)
    report = stop_drivers(store, ["s"], timeout=60)["s"]
    assert [record.pid for record in report.stopped] == [process.pid]
    assert process.wait() == 0
    assert store.list_files("s", "drivers") == []


def test_stop_reaches_every_driver_and_waits_until_they_are_gone(store, begin):
    processes = [begin(), begin()]
    asked = {}
    report = stop_drivers(store, ["s"], timeout=60, on_asked=asked.update)["s"]
    assert {record.pid for record in report.stopped} == {process.pid for process in processes}
    assert {record.pid for record in asked["s"]} == {process.pid for process in processes}
    assert (report.dead, report.still_there) == ((), ())
    assert [process.wait() for process in processes] == [0, 0]
    assert store.list_files("s", "drivers") == []


def test_stop_without_a_driver_has_nothing_to_wait_for(store):
    store.write_spec("s", {})
    report = stop_drivers(store, ["s"], timeout=60)["s"]
    assert (report.stopped, report.dead, report.still_there) == ((), (), ())


def test_a_killed_driver_is_known_to_be_dead_on_its_machine(store, begin):
    killed = begin()
    killed.kill()
    killed.wait()
    report = stop_drivers(store, ["s"], timeout=60)["s"]
    assert [record.pid for record in report.dead] == [killed.pid]
    assert store.list_files("s", "drivers") == []


def test_the_next_driver_removes_what_a_killed_one_left(store, begin):
    killed = begin()
    (left,) = drivers(store, "s")
    killed.kill()
    killed.wait()
    begin()
    until(lambda: left not in drivers(store, "s"))
    assert len(drivers(store, "s")) == 1


def test_a_driver_that_stands_still_is_given_time_and_goes_on(store, begin):
    process = begin()
    process.send_signal(signal.SIGSTOP)
    report = stop_drivers(store, ["s"], timeout=0)["s"]
    assert [record.pid for record in report.still_there] == [process.pid]
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0  # the wish stands
    assert store.list_files("s", "drivers") == []


def test_a_silent_driver_elsewhere_is_dead_whatever_its_clock_says(store, clock):
    put(store, elsewhere("ahead", updated="2999-01-01T00:00:00+00:00"))
    put(store, elsewhere("behind", updated="1970-01-01T00:00:00+00:00"))
    began = clock.now
    report = stop_drivers(store, ["s"], timeout=1000)["s"]
    assert {record.driver_id for record in report.dead} == {"ahead", "behind"}
    assert SILENCE_SECONDS < clock.now - began < 2 * SILENCE_SECONDS
    assert store.list_files("s", "drivers") == []


def test_a_driver_elsewhere_that_writes_is_alive_whatever_its_clock_says(store, clock):
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        put(store, elsewhere("behind", updated="1970-01-01T00:00:00+00:00", beats=beats))

    clock.on_sleep = beat
    beat()
    report = stop_drivers(store, ["s"], timeout=10 * SILENCE_SECONDS)["s"]
    assert [record.driver_id for record in report.still_there] == ["behind"]
    assert store.list_files("s", "drivers") == ["behind.json", "behind.stop"]


def test_silence_is_counted_from_when_it_was_first_watched(clock):
    watch, record = Watch(), elsewhere("d")
    assert watch.look([record]) == {"d": 0.0}
    clock.now += 5
    assert watch.look([record]) == {"d": 5.0}
    assert watch.look([elsewhere("d", beats=1)]) == {"d": 0.0}
    assert watch.look([]) == {}
    assert watch.look([record]) == {"d": 0.0}


def test_what_is_no_drivers_file_is_left_alone(store):
    store.write_file("s", "drivers/notes.json", b"not JSON")
    store.write_file("s", "drivers/odd.json", elsewhere("another").model_dump_json().encode())
    assert drivers(store, "s") == {}
    with Presence(store, "s"):
        pass
    assert store.list_files("s", "drivers") == ["notes.json", "odd.json"]


def test_a_sweep_with_a_live_driver_is_seen_to_have_one(store, begin):
    process = begin()
    assert SweepReader(store, "s").read_state().has_live_driver
    process.kill()
    process.wait()
    assert not SweepReader(store, "s").read_state().has_live_driver


@pytest.mark.ray
def test_a_second_driver_says_who_else_is_at_work(rlscale, store, begin, spec_file):
    base = {"task": "digits-bandit", "interactions": 64, "model": {"width": 0.025}}
    spec = spec_file(name="s", base=base, axes={"seed": [0]})
    begin()
    with beating(store, elsewhere("far", host="far\nsmall: 3 done", job="job-7")):
        done = rlscale("sweep", "run", spec, "--store", store.location, columns=200)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "s: 1 run to do, 0 done before."
    told = " ".join(lines[1:])
    assert f"s: driver on {socket.gethostname()}, pid " in told
    assert "s: driver on far small: 3 done, pid 1, job job-7: 0 in flight" in told
    assert "s: two drivers of one sweep take its runs from each other" in told
    assert lines[-1] == "s: 1 done, 0 failed."
