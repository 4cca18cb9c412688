"""The state of a sweep: progress, rates and time left, from spec and store."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from rlscale.scaling.config.run import with_later_fields
from rlscale.scaling.errors import DamagedRun, DamagedSpec
from rlscale.sweeps.running.drivers import SILENCE_SECONDS, DriverRecord, Watch, drivers
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.records import RunRecord, Status
from rlscale.sweeps.store.run_store import RunStore

#: A run that says it is running, of a sweep without any driver, is dead if it was silent for so long.
SILENT_SECONDS = 60.0
#: Sizes that a status builds to know them before they have begun.
_MOST_MEASURED = 64


@dataclass(frozen=True)
class SizeFacts:
    """What is known of a size before it runs: N of the policy, and FLOPs of training per interaction."""

    num_params: int | None
    flops_per_interaction: float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The part of a run's record that a status shows; the record itself takes ten times the memory."""

    interactions: int
    until: int | None
    wall_seconds: float
    num_params: int | None
    flops_per_interaction: float | None
    attempts: int
    reason: str | None
    failure: str | None
    updated: str


@dataclass(frozen=True)
class RunStatus:
    """The status of one run of a sweep.

    Attributes:
        stored: None if nothing is stored of it yet.
        interrupted: whether its record says that it is running, but no driver is left that could run it.
        facts: of its size, None where they are not known.
    """

    run_id: str
    status: Status
    config: Mapping[str, Any]
    stored: Stored | None
    interrupted: bool = False
    facts: SizeFacts | None = None

    @classmethod
    def of(cls, record: RunRecord, config: Mapping[str, Any]) -> RunStatus:
        """The status of a stored run with this config."""
        stored = Stored(
            interactions=record.interactions,
            until=record.until,
            wall_seconds=record.wall_seconds,
            num_params=record.columns.get("num_params"),
            flops_per_interaction=record.columns.get("flops_per_interaction"),
            attempts=len(record.attempts),
            reason=record.reason,
            failure=record.failure,
            updated=record.updated,
        )
        return cls(record.run_id, record.status, config, stored)

    @property
    def is_running(self) -> bool:
        """Whether it is under way, as far as that can be known."""
        return self.status == "running" and not self.interrupted

    @property
    def num_params(self) -> int | None:
        """N of its policy; None where it is not known."""
        return (self.stored.num_params if self.stored else None) or (
            self.facts.num_params if self.facts else None
        )

    @property
    def wanted(self) -> int:
        """Interactions to train for: to its end, or to where it is to pause."""
        length = int(self.config.get("interactions") or 0)
        return min(length, self.stored.until) if self.stored and self.stored.until else length

    @property
    def share(self) -> float:
        """Part of the interactions wanted that is stored, 0..1."""
        if self.status == "done":
            return 1.0
        wanted = self.wanted
        return min(1.0, self.stored.interactions / wanted) if self.stored and wanted else 0.0

    @property
    def rate(self) -> float | None:
        """Interactions per second of training so far."""
        if self.stored is None or self.stored.wall_seconds <= 0:
            return None
        return self.stored.interactions / self.stored.wall_seconds

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None if nothing is known."""
        if self.rate is None or self.stored is None:
            return None
        left = self.wanted - self.stored.interactions
        return max(0, left) / self.rate if self.rate else None

    @property
    def seconds_since_update(self) -> float | None:
        """How long ago the run was last written to the store."""
        return seconds_since(self.stored.updated) if self.stored else None

    @cached_property
    def size(self) -> str:
        """A key that is equal for runs that differ only in seed and length, and so run equally fast."""
        return sys.intern(json.dumps({**self.config, "seed": None, "interactions": None}, sort_keys=True))


@dataclass(frozen=True)
class SweepProgress:
    """Totals of a sweep. Failed runs count as ended.

    ``rate`` is in interactions per second, of all runs under way together; ``seconds_left`` assumes
    that as many runs as now stay under way, ``slots`` of them, or where none is, one at a time. Rate and time
    are None where nothing is known.
    """

    interactions: int
    interactions_wanted: int
    rate: float | None
    seconds_left: float | None
    slots: int = 1


@dataclass(frozen=True)
class SweepState:
    """A sweep's runs, and its drivers with the seconds for which each was silent.

    ``has_spec`` is false if the runs were not made by a sweep: single and imported ones. ``spec_problem`` is
    a sentence if the stored spec cannot be read, None otherwise. ``chooses_runs`` is whether the spec has
    bounds in place of axes.
    """

    sweep: str
    has_spec: bool
    statuses: Sequence[RunStatus]
    drivers: Sequence[tuple[DriverRecord, float]]
    spec_problem: str | None = None
    chooses_runs: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether all runs are done, paused or failed."""
        return all(status.status in ("done", "paused", "failed") for status in self.statuses)

    @property
    def has_live_driver(self) -> bool:
        return any(
            silence <= SILENCE_SECONDS and not driver.is_known_dead for driver, silence in self.drivers
        )


class SweepReader:
    """Reads the state of a sweep repeatedly; runs that are done are read once.

    Args:
        measure: the facts of a size by the config of a run, for sizes of which no run has begun; None where
            they cannot be known.
    """

    def __init__(
        self,
        store: RunStore,
        sweep: str,
        measure: Callable[[Mapping[str, Any]], SizeFacts | None] = lambda config: None,
    ) -> None:
        self._store, self._sweep, self._measure = store, sweep, measure
        self._facts: dict[str, SizeFacts | None] = {}
        self._watch = Watch()
        self._done: dict[str, RunStatus] = {}
        self._groups: dict[str, Any] = {}
        self._spec: dict[str, Any] | None = None
        self._spec_problem: str | None = None
        self._wanted: dict[str, RunStatus] = {}

    def read_state(self) -> SweepState:
        """The runs and the drivers."""
        there = drivers(self._store, self._sweep)
        silences = self._watch.look(there.values())
        pairs = [(driver, silences[driver_id]) for driver_id, driver in there.items()]
        statuses, spec = self.read(), self._spec
        chooses = bool(spec and spec.get("auto"))
        state = SweepState(self._sweep, spec is not None, statuses, pairs, self._spec_problem, chooses)
        if not state.has_spec or state.has_live_driver:
            return state
        return replace(state, statuses=[_without_driver(run, bool(pairs)) for run in state.statuses])

    def read(self) -> list[RunStatus]:
        """Every run of the sweep: those its spec wants and any others that are stored."""
        self._read_spec()
        run_ids = self._store.run_ids(self._sweep)
        changing = [run_id for run_id in run_ids if run_id not in self._done]
        damaged: dict[str, RunStatus] = {}

        def on_damage(error: DamagedRun) -> None:
            damaged[error.run_id] = self._status_of_damaged(error)

        records = self._store.read_runs(self._sweep, changing, on_damage)
        read = {record.run_id: self._status_of(record) for record in records} | damaged
        self._done |= {run_id: status for run_id, status in read.items() if status.status == "done"}
        statuses = dict(self._wanted)
        for run_id in run_ids:
            status = self._done.get(run_id) or read.get(run_id)
            if status is not None:
                statuses[run_id] = status
        return self._with_facts(list(statuses.values()))

    def _with_facts(self, statuses: list[RunStatus]) -> list[RunStatus]:
        """The runs with the facts of their size: those of another run of it, else measured."""
        for status in statuses:
            if status.stored and status.stored.num_params:
                stored = status.stored
                self._facts[status.size] = SizeFacts(stored.num_params, stored.flops_per_interaction)
        unknown = {status.size: status.config for status in statuses if status.size not in self._facts}
        if len(unknown) <= _MOST_MEASURED:
            self._facts |= {size: self._measure(config) for size, config in unknown.items()}
        return [replace(status, facts=self._facts.get(status.size)) for status in statuses]

    def _status_of_damaged(self, error: DamagedRun) -> RunStatus:
        """It counts as failed, because ``retry`` does it again."""
        wanted = self._wanted.get(error.run_id)
        stored = Stored(
            interactions=0,
            until=None,
            wall_seconds=0.0,
            num_params=None,
            flops_per_interaction=None,
            attempts=0,
            reason=str(error),
            failure=error.code,
            updated="",
        )
        return RunStatus(error.run_id, "failed", wanted.config if wanted else {}, stored)

    def _status_of(self, record: RunRecord) -> RunStatus:
        if record.status == "done":
            try:
                self._store.check_curve_ends(self._sweep, record.run_id)
            except DamagedRun as error:
                return self._status_of_damaged(error)
        wanted = self._wanted.get(record.run_id)
        return RunStatus.of(
            record, wanted.config if wanted else self._sharing(with_later_fields(record.config))
        )

    def _sharing(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The same config, sharing equal groups of fields with earlier ones to save memory."""
        return {
            name: self._groups.setdefault(repr(value), value) if isinstance(value, dict) else value
            for name, value in config.items()
        }

    def _read_spec(self) -> None:
        try:
            spec = self._store.read_spec(self._sweep)
            self._spec_problem = None
        except DamagedSpec as error:
            spec, self._spec_problem = None, str(error)
        if spec == self._spec:
            return
        source = f"the stored spec of {self._sweep}"
        parsed = parse_spec(spec, source=source) if spec is not None else None
        # Which runs bounds will lead to is not known.
        configs = expand(parsed, source=source) if parsed and parsed.auto is None else ()
        dumped = ((config.run_id, config.model_dump(mode="json")) for config in configs)
        self._wanted = {
            run_id: RunStatus(run_id, "wanted", self._sharing(values), None) for run_id, values in dumped
        }
        self._spec = spec


def _without_driver(run: RunStatus, had_driver: bool) -> RunStatus:
    """A run of a sweep without a living driver: if it says that it runs, it was interrupted.

    Args:
        had_driver: whether a dead driver is known; if not, the run may belong to one that never wrote.
    """
    silent = run.seconds_since_update
    is_dead = had_driver or (silent is not None and silent > SILENT_SECONDS)
    return replace(run, interrupted=True) if run.status == "running" and is_dead else run


def sweep_status(store: RunStore, sweep: str) -> list[RunStatus]:
    """Every run of the sweep, read once; see ``SweepReader``."""
    return SweepReader(store, sweep).read()


def progress(statuses: Sequence[RunStatus]) -> SweepProgress:
    """How far a sweep is, how fast it goes and how long it takes from here."""
    running = [status for status in statuses if status.is_running]
    rates = [status.rate for status in running if status.rate is not None]
    return SweepProgress(
        interactions=sum(status.stored.interactions for status in statuses if status.stored),
        interactions_wanted=sum(status.wanted for status in statuses),
        rate=sum(rates) if rates else None,
        seconds_left=_seconds_left(statuses, max(len(running), 1)),
        slots=max(len(running), 1),
    )


def _seconds_left(statuses: Sequence[RunStatus], slots: int) -> float | None:
    """At the rates of each size, with ``slots`` runs at a time; None if one is not known."""
    open_runs = [status for status in statuses if status.status in ("wanted", "running", "stopped")]
    if not open_runs:
        return 0.0
    rates = _rates_by_size(statuses)
    seconds = []
    for status in open_runs:
        rate = rates.get(status.size)
        if rate is None:
            return None
        stored = status.stored.interactions if status.stored else 0
        seconds.append(max(0, status.wanted - stored) / rate)
    return max(sum(seconds) / slots, max(seconds))


def _rates_by_size(statuses: Sequence[RunStatus]) -> dict[str, float]:
    """Interactions per second of each size: measured, or by the FLOPs of an interaction between those.

    Above the largest measured size seconds grow with the FLOPs, below the least they stay.
    """
    measured = _measured_rates(statuses)
    flops = {
        status.size: float(status.facts.flops_per_interaction)
        for status in statuses
        if status.facts and status.facts.flops_per_interaction
    }
    known = sorted((flops[size], 1 / rate) for size, rate in measured.items() if size in flops)
    if not known:
        return measured
    log_flops, log_seconds = np.log(np.array(known)).T
    others = {
        size: float(np.exp(-np.interp(np.log(f), log_flops, log_seconds)) / max(f / known[-1][0], 1.0))
        for size, f in flops.items()
    }
    return {**others, **measured}


def _measured_rates(statuses: Sequence[RunStatus]) -> dict[str, float]:
    """Interactions per second of the runs of each size of which some training is stored."""
    totals: dict[str, tuple[int, float]] = {}
    for status in statuses:
        stored = status.stored
        if stored and stored.wall_seconds > 0 and stored.interactions:
            interactions, seconds = totals.get(status.size, (0, 0.0))
            totals[status.size] = (interactions + stored.interactions, seconds + stored.wall_seconds)
    return {size: interactions / seconds for size, (interactions, seconds) in totals.items()}


def seconds_since(time: str) -> float | None:
    """Seconds since an ISO time that a store holds, never negative; None if it is not a time."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())
    except (ValueError, TypeError):  # not a time, or one without its zone
        return None


def counts(statuses: Sequence[RunStatus]) -> dict[str, int]:
    """Number of runs by status; ``total`` is all of them. Interrupted ones do not count as running."""
    names = ("done", "paused", "running", "failed", "stopped", "wanted", "interrupted")
    result = {"total": len(statuses), **dict.fromkeys(names, 0)}
    for status in statuses:
        result["interrupted" if status.interrupted else status.status] += 1
    return result
