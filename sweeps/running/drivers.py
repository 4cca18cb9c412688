"""The drivers of a sweep, and requests to stop them: small files beside its runs.

    STORE/sweep=<name>/drivers/<driver_id>.json   host, process, Ray job and counts of one driver
                              /<driver_id>.stop   a request that this driver stops

A driver rewrites its file every few seconds and removes it when it ends. Anyone who can reach the
store can watch and stop it, with or without Ray. A driver is dead if its file does not change while
someone watches it: clocks of two machines are never compared.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlscale.scaling.errors import RlscaleError
from rlscale.sweeps.running.ray_private import own_job_id
from rlscale.sweeps.store.run_store import RunStore

BEAT_SECONDS = 3.0
SILENCE_SECONDS = 10 * BEAT_SECONDS  # a driver that writes nothing for so long is dead
_POLL_SECONDS = 0.5
_FOLDER = "drivers"


class StoppedOnRequest(RlscaleError):
    """A request in the store asked this driver to stop; its runs can continue later."""

    code = "stopped_on_request"


class DriverRecord(BaseModel):
    """What a driver's file holds.

    ``machine`` is equal for processes that see each other's numbers, null where that is not known;
    ``job`` is the submission id of the driver's Ray job, null if it has none; ``beats`` counts the writes.
    """

    model_config = ConfigDict(frozen=True)

    driver_id: str
    host: str
    pid: int = Field(ge=1, lt=2**31)
    machine: str | None = None
    job: str | None = None
    started: str
    updated: str
    beats: int = 0
    in_flight: int = 0
    waiting: int = 0
    ended: int = 0

    @property
    def is_known_dead(self) -> bool:
        """Whether its process is known to have ended; False if it is on another machine."""
        return self.machine is not None and self.machine == _this_machine() and not _is_alive(self.pid)


class Presence:
    """This driver's file while the block runs; a thread updates it and looks for a request to stop."""

    def __init__(self, store: RunStore, sweep: str) -> None:
        self._store, self._sweep = store, sweep
        now = _now()
        self._record = DriverRecord(
            driver_id=uuid.uuid4().hex[:12],
            host=socket.gethostname(),
            pid=os.getpid(),
            machine=_this_machine(),
            job=own_job_id(),
            started=now,
            updated=now,
        )
        self._counts = {"in_flight": 0, "waiting": 0, "ended": 0}
        self._trouble: str | None = None
        self._others = Watch()
        self._request, self._leaving = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)

    def __enter__(self) -> Presence:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()
        with suppress(RlscaleError, OSError):  # then it stays, like a dead driver's
            _remove(self._store, self._sweep, self._record.driver_id)

    @property
    def is_asked_to_stop(self) -> bool:
        return self._request.is_set()

    @property
    def trouble(self) -> str | None:
        """Why the last attempt to write the store failed; None if it succeeded."""
        return self._trouble

    def report(self, in_flight: int, waiting: int, ended: int) -> None:
        """Set how many runs are submitted to Ray, wait to be, and have ended."""
        self._counts = {"in_flight": in_flight, "waiting": waiting, "ended": ended}

    def _keep(self) -> None:
        steps = (self._look_for_request, self._remove_dead, self._look_for_request, self._beat)
        while not self._leaving.is_set():
            for step in steps:
                with suppress(RlscaleError, OSError):  # tried again; the runs do not depend on it
                    step()
                if self._leaving.wait(BEAT_SECONDS / len(steps)):
                    return

    def _look_for_request(self) -> None:
        if self._store.read_file(self._sweep, _path(self._record.driver_id, "stop")) is not None:
            self._request.set()

    def _beat(self) -> None:
        changes = {**self._counts, "updated": _now(), "beats": self._record.beats + 1}
        self._record = self._record.model_copy(update=changes)
        content = self._record.model_dump_json(indent=1).encode()
        try:
            self._store.write_file(self._sweep, _path(self._record.driver_id, "json"), content)
        except (RlscaleError, OSError) as error:
            self._trouble = " ".join(str(error).split())
            raise
        self._trouble = None

    def _remove_dead(self) -> None:
        """Remove the files of drivers that were killed."""
        records = drivers(self._store, self._sweep)
        for driver_id, silence in self._others.look(records.values()).items():
            if records[driver_id].is_known_dead or silence > SILENCE_SECONDS:
                _remove(self._store, self._sweep, driver_id)


@dataclass
class Watch:
    """How long each driver has been silent while it was watched."""

    _seen: dict[str, tuple[DriverRecord, float]] = field(default_factory=dict)

    def look(self, records: Iterable[DriverRecord]) -> dict[str, float]:
        """Seconds for which each of these records has been seen unchanged, by driver id."""
        now = time.monotonic()
        seen = {}
        for record in records:
            before, since = self._seen.get(record.driver_id, (None, now))
            seen[record.driver_id] = (record, since if before == record else now)
        self._seen = seen
        return {driver_id: now - since for driver_id, (_, since) in seen.items()}


@dataclass(frozen=True)
class StopReport:
    """Which drivers stopped when they were asked to, were dead already, or are still there."""

    stopped: tuple[DriverRecord, ...]
    dead: tuple[DriverRecord, ...]
    still_there: tuple[DriverRecord, ...]


def drivers(store: RunStore, sweep: str) -> dict[str, DriverRecord]:
    """The drivers of a sweep by id, in the order in which they began; some may be dead."""
    records = []
    for name in store.list_files(sweep, _FOLDER):
        if not name.endswith(".json"):
            continue
        content = store.read_file(sweep, f"{_FOLDER}/{name}")
        record = None if content is None else _parsed(content)
        if record is not None and f"{record.driver_id}.json" == name:
            records.append(record)
    return {record.driver_id: record for record in sorted(records, key=lambda each: each.started)}


def stop_drivers(
    store: RunStore,
    sweeps: Iterable[str],
    *,
    timeout: float,
    on_asked: Callable[[Mapping[str, list[DriverRecord]]], None] = lambda asked: None,
) -> dict[str, StopReport]:
    """Ask all drivers of some sweeps to stop, and wait until they are gone.

    Each stops its runs, which store what they have. A driver that writes nothing while this
    waits is dead, and its file is removed.

    Args:
        timeout: seconds to wait; the request itself stays.
        on_asked: called with the drivers that were asked to stop.
    """
    asked = {sweep: drivers(store, sweep) for sweep in sweeps}
    for sweep, records in asked.items():
        for driver_id in records:
            store.write_file(sweep, _path(driver_id, "stop"), b"{}\n")
    on_asked({sweep: list(records.values()) for sweep, records in asked.items()})
    deadline = time.monotonic() + timeout
    return {sweep: _wait_for_end(store, sweep, records, deadline) for sweep, records in asked.items()}


def _wait_for_end(
    store: RunStore, sweep: str, asked: Mapping[str, DriverRecord], deadline: float
) -> StopReport:
    watch, dead = Watch(), dict[str, DriverRecord]()
    there = dict(asked)
    while there:
        present = drivers(store, sweep)
        there = {driver_id: present[driver_id] for driver_id in there if driver_id in present}
        for driver_id, silence in watch.look(there.values()).items():
            if there[driver_id].is_known_dead or silence > SILENCE_SECONDS:
                dead[driver_id] = there.pop(driver_id)
        if time.monotonic() >= deadline:
            break
        if there:
            time.sleep(_POLL_SECONDS)
    for driver_id in asked.keys() - there.keys():
        _remove(store, sweep, driver_id)  # a driver that ended before it saw the request left it
    stopped = (record for driver_id, record in asked.items() if driver_id not in (*there, *dead))
    return StopReport(tuple(stopped), tuple(dead.values()), tuple(there.values()))


def _parsed(content: bytes) -> DriverRecord | None:
    try:
        return DriverRecord.model_validate_json(content)
    except ValidationError:  # not a driver's
        return None


def _remove(store: RunStore, sweep: str, driver_id: str) -> None:
    for ending in ("json", "stop"):
        store.delete_file(sweep, _path(driver_id, ending))


def _path(driver_id: str, ending: str) -> str:
    return f"{_FOLDER}/{driver_id}.{ending}"


def _this_machine() -> str | None:
    """A name of the set of processes that this one can see; None if the system has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        pass
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
