"""Many runs on Ray: core tasks and one driver.

The store alone decides what is done. The driver submits what is missing, largest first,
and submits again what died: the worker's claim on the run makes any earlier attempt, dead
or alive, unable to write. A worker killed at any moment costs at most the work since its
last checkpoint, and so does the driver, which keeps nothing that the store does not hold.
A run fails after ``Resources.max_deaths`` consecutive worker deaths without a new checkpoint.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray import exceptions as ray_exceptions

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import (
    DamagedRun,
    InputError,
    LeaseLost,
    NonFiniteLoss,
    OutOfMemory,
    RlscaleError,
    StoreUnavailable,
)
from rlscale.scaling.modules import name_modules
from rlscale.sweeps.running.demand import Demand, Node, demand_of, slots, with_half_the_concurrency
from rlscale.sweeps.running.drivers import StoppedOnRequest
from rlscale.sweeps.running.events import OnEvent, Outcome, Polled, RunEnded, Stopping, WorkerDied
from rlscale.sweeps.running.patience import Patience, PatientWriter, patient
from rlscale.sweeps.running.ray_connection import Head, connect, disconnect
from rlscale.sweeps.running.where import Where
from rlscale.sweeps.specs.spec import Resources
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_log import logged
from rlscale.sweeps.store.run_store import RunStore

_POLL_SECONDS = 0.5
_REASON_LENGTH = 300
_STOP_SECONDS = 30.0  # a run stores what it has after its current iteration
_NODES_SECONDS = 1.0  # between two requests for the list of the cluster's nodes


@dataclass(frozen=True)
class Work:
    """What all runs of a driver share: the store as every node can open it, the sweep, and where they run."""

    store: str
    sweep: str
    resources: Resources
    where: Where


@dataclass(frozen=True)
class Job:
    """A run to do, the columns that the store keeps beside its curve, and its estimated bytes of memory.

    ``until`` is where to pause it, in interactions; None to do it to its end.
    """

    config: RunConfig
    columns: dict[str, Any]
    memory: float
    until: int | None = None

    @property
    def flops(self) -> float:
        return float(self.columns["flops_per_interaction"]) * (self.until or self.config.interactions)


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended on a worker, with the reason and the code of its error, if there was one."""

    outcome: Literal["done", "paused", "failed", "stopped", "superseded", "out of memory", "no store"]
    reason: str = ""
    code: str | None = None

    @classmethod
    def of(
        cls,
        outcome: Literal["failed", "stopped", "superseded", "out of memory", "no store"],
        error: RlscaleError,
    ) -> AttemptEnd:
        return cls(outcome, str(error), error.code)


@dataclass(frozen=True)
class Again:
    """A run did not end with its attempt and is submitted again."""

    reason: str


@dataclass(frozen=True)
class End:
    """How a run ended, with the reason and the code of a failure."""

    outcome: Outcome
    reason: str = ""
    failure: str | None = None


def no_outcomes() -> dict[Outcome, int]:
    """The number of runs by outcome before any has ended."""
    return {"done": 0, "paused": 0, "failed": 0, "stopped": 0, "superseded": 0}


def run_jobs(
    jobs: Sequence[Job], work: Work, on_event: OnEvent, *, should_stop: Callable[[], bool] = lambda: False
) -> dict[Outcome, int]:
    """Do all jobs and return how many ended in which way.

    Without ``work.where.address`` a Ray on this machine is started, and stopped at the end. At
    SIGINT or SIGTERM, or once ``should_stop`` is true, the runs store what they have; a second
    signal interrupts the driver at once.

    Raises:
        InputError: if the cluster cannot be reached or can never hold one run.
        RlscaleError: if the cluster's head is gone.
        KeyboardInterrupt: if a signal ended it early.
        StoppedOnRequest: if ``should_stop`` ended it early.
    """
    driver = _Driver(jobs, work, on_event, should_stop)
    with _signals(driver):  # also while Ray starts: an interrupted start leaves processes behind
        connect(work.where.address)
        try:
            with _signals(driver):  # Ray has replaced them by its own
                driver.work()
                if driver.stopping:
                    on_event(Stopping())
                    driver.stop()
                    raise StoppedOnRequest("Stopped on request.") if should_stop() else KeyboardInterrupt
        finally:
            if not work.where.stays_connected:
                disconnect()
    return driver.ended


@contextmanager
def _signals(driver: _Driver) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks the driver to stop, the second interrupts it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(*_: object) -> None:
        if driver.stopping:
            raise KeyboardInterrupt
        driver.ask_to_stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Driver:
    def __init__(
        self, jobs: Sequence[Job], work: Work, on_event: OnEvent, should_stop: Callable[[], bool]
    ) -> None:
        self._work, self._on_event, self._should_stop = work, on_event, should_stop
        # Largest first: a long run that starts last would leave the other slots idle.
        self._waiting = deque(sorted(jobs, key=lambda job: job.flops, reverse=True))
        self._in_flight: dict[ray.ObjectRef, Job] = {}
        self._demands: dict[str, Demand] = {}  # of runs that ran out of memory
        self._deaths: dict[str, tuple[int, int]] = {}  # consecutive deaths, and the interactions stored then
        self._nodes: tuple[float, list[Node]] = (-math.inf, [])
        self._stop = threading.Event()
        self._patiently = patient(work.resources.store_patience, stop=self._stop)
        self.ended = no_outcomes()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def work(self) -> None:
        """Do the jobs until all have ended or the driver was asked to stop."""
        head = Head(self._on_event)
        while (self._waiting or self._in_flight) and not self.stopping:
            while head.is_there() and self._waiting and self._has_room():
                self._submit(self._waiting.popleft())
            self._wait()

    def stop(self) -> None:
        """Ask the running runs to store what they have, and wait for them; forget the others."""
        deadline = time.monotonic() + _STOP_SECONDS
        while self._in_flight and time.monotonic() < deadline:
            for reference in self._in_flight:
                # Reaches a running task as SIGINT; one that is just starting may miss it.
                ray.cancel(reference)
            self._wait()

    def _wait(self) -> None:
        if self._in_flight:
            ready, _ = ray.wait(list(self._in_flight), timeout=_POLL_SECONDS)
            for reference in ready:
                self._collect(self._in_flight.pop(reference), reference)
        else:
            self._stop.wait(_POLL_SECONDS)
        with suppress(StoreUnavailable):  # what is shown may be old for a while
            self._on_event(Polled(len(self._in_flight), len(self._waiting), sum(self.ended.values())))
        if self._should_stop():
            self.ask_to_stop()

    def _has_room(self) -> bool:
        """Whether to submit the next run: twice as many as run at once keep every slot busy."""
        try:
            demand = self._demand(self._waiting[0])
        except InputError:
            if not self._in_flight and not any(self.ended.values()):
                raise
            return False  # the nodes that could hold it are gone, and may come back
        return len(self._in_flight) < 2 * slots(demand, self._alive_nodes())

    def _demand(self, job: Job) -> Demand:
        known = self._demands.get(job.config.run_id)
        return known or demand_of(job.config, job.memory, self._work.resources, self._alive_nodes())

    def _alive_nodes(self) -> list[Node]:
        asked, nodes = self._nodes
        if time.monotonic() - asked > _NODES_SECONDS:
            offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            nodes = [Node(o.get("CPU", 0.0), o.get("GPU", 0.0), o.get("memory", 0.0)) for o in offers]
            self._nodes = (time.monotonic(), nodes)
        return nodes

    def _submit(self, job: Job) -> None:
        demand = self._demand(job)
        task = _train_remotely.options(num_cpus=demand.cpus, num_gpus=demand.gpus, memory=demand.memory)
        config = job.config.model_dump(mode="json")
        self._in_flight[task.remote(self._work, config, job.columns, job.until)] = job

    def _collect(self, job: Job, reference: ray.ObjectRef) -> None:
        """See how an attempt ended, and submit the run again unless the run ended with it."""
        run_id = job.config.run_id
        try:
            end = self._after_attempt(job, ray.get(reference))
        except ray_exceptions.TaskCancelledError:
            return  # it had not started
        except ray_exceptions.RayError as error:
            end = self._after_death(job, error)
        if isinstance(end, Again):
            if not self.stopping:
                event = WorkerDied(run_id, end.reason)
                self._patiently(lambda: self._on_event(event))
            self._waiting.appendleft(job)
            return
        self.ended[end.outcome] += 1
        ended = RunEnded(run_id, end.outcome, end.reason, end.failure)
        self._patiently(lambda: self._on_event(ended))

    def _after_attempt(self, job: Job, attempt: AttemptEnd) -> End | Again:
        """What the end of an attempt means for its run."""
        reason, code = attempt.reason, attempt.code or RlscaleError.code
        match attempt.outcome:
            case "failed":
                return self._give_up(job, reason, code)
            case "out of memory":
                less = self._with_less_concurrency(job, "its memory did not suffice")
                return less or self._give_up(job, reason, code)
            case "no store":
                return self._again_or_never(job, f"its worker gave up waiting for the store ({reason})", code)
            case "superseded" if self._is_done(job):
                return End("done")
            case "stopped" if not self.stopping:
                may_go_on = self._count_death(job) <= self._work.resources.max_deaths
                return Again("its worker was asked to stop") if may_go_on else End("stopped")
            case "done" | "paused":
                return End(attempt.outcome)
            case "stopped":
                return End("stopped", reason)
            case _:
                return End("superseded", reason)

    def _after_death(self, job: Job, error: Exception) -> End | Again:
        """What it means for a run that its attempt raised, or ended without a result."""
        if isinstance(error, ray_exceptions.RayTaskError):  # our code raised: it would raise again
            problem = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            return self._give_up(job, problem[:_REASON_LENGTH], "unexpected_error")
        if isinstance(error, ray_exceptions.NodeDiedError):  # never the run's fault
            return Again("its node died")
        if isinstance(error, ray_exceptions.OutOfMemoryError):
            reason = "its worker ran out of memory"
            less = self._with_less_concurrency(job, reason)
            return less or self._again_or_never(job, reason, OutOfMemory.code)
        return self._again_or_never(job, "its worker was killed", "worker_died")

    def _with_less_concurrency(self, job: Job, reason: str) -> Again | None:
        """Reserve memory so that half as many such runs share a node; None if it had one to itself."""
        demand = with_half_the_concurrency(self._demand(job), self._alive_nodes())
        if demand is None:
            return None
        self._demands[job.config.run_id] = demand
        return Again(f"{reason}; fewer runs will share its node")

    def _again_or_never(self, job: Job, reason: str, code: str) -> End | Again:
        """Submit a run again, unless too many consecutive attempts died without a new checkpoint."""
        deaths = self._count_death(job)
        if deaths <= self._work.resources.max_deaths:
            return Again(reason)
        return self._give_up(job, reason + (f", {deaths} times in a row" if deaths > 1 else ""), code)

    def _count_death(self, job: Job) -> int:
        """Count one more attempt that died: the number since the run last stored something."""
        record = self._record(job)
        reached = record.interactions if record else 0
        deaths, before = self._deaths.get(job.config.run_id, (0, 0))
        deaths = deaths + 1 if reached <= before else 1
        self._deaths[job.config.run_id] = (deaths, reached)
        return deaths

    def _give_up(self, job: Job, reason: str, code: str) -> End:
        """Mark a run failed, unless it is done, is marked already or belongs to another driver by now."""
        record = self._record(job)
        if record is not None and record.status == "done":  # its worker died right after it finished the run
            return End("done")
        if record is None:
            record = RunRecord(
                sweep=self._work.sweep,
                run_id=job.config.run_id,
                status="wanted",
                config=job.config.model_dump(mode="json"),
                columns=job.columns,
            )
        if record.status != "failed":
            marked = record
            try:
                self._patiently(lambda: RunStore(self._work.store).mark(marked, "failed", reason, code))
            except LeaseLost as error:
                return End("superseded", str(error))
        return End("failed", reason, code)

    def _is_done(self, job: Job) -> bool:
        record = self._record(job)
        return record is not None and record.status == "done"

    def _record(self, job: Job) -> RunRecord | None:
        work = self._work
        try:
            return self._patiently(lambda: RunStore(work.store).read_run(work.sweep, job.config.run_id))
        except DamagedRun:  # nothing is known of it
            return None


@ray.remote(max_retries=0, scheduling_strategy="SPREAD")
def _train_remotely(
    work: Work, config: dict[str, Any], columns: dict[str, Any], until: int | None
) -> AttemptEnd:
    """One attempt at one run, on a worker. Returns how it ended; what it measured is in the store."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        # `ray job stop` and preemption send SIGTERM, `ray.cancel` SIGINT: store everything, then end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    patiently = patient(
        work.resources.store_patience, stop=stop, on_wait=logging.getLogger("rlscale").warning
    )
    try:
        opened = patiently(lambda: RunStore(work.store))
        return _attempt(opened, work, config, columns, until, patiently, stop)
    except LeaseLost as error:
        return AttemptEnd.of("superseded", error)
    except StoreUnavailable as error:
        return AttemptEnd.of("stopped" if stop.is_set() else "no store", error)
    except OutOfMemory as error:
        return AttemptEnd.of("out of memory", error)
    except (NonFiniteLoss, InputError) as error:
        return AttemptEnd.of("failed", error)


def _attempt(
    store: RunStore,
    work: Work,
    config: dict[str, Any],
    columns: dict[str, Any],
    until: int | None,
    patiently: Patience,
    stop: threading.Event,
) -> AttemptEnd:
    from rlscale.scaling.tasks.data_folder import MNIST
    from rlscale.scaling.training.device import resolve_device
    from rlscale.scaling.training.facts import provenance
    from rlscale.scaling.training.train import train

    name_modules(work.where.modules, work.where.module_folder)
    run = run_config(config, source="the config")
    if patiently(lambda: store.is_done(work.sweep, run.run_id)):
        # A worker that was killed right at the end did not clean up.
        patiently(lambda: store.clean_finished(work.sweep, run.run_id))
        return AttemptEnd("done")
    device = resolve_device(work.where.device)
    MNIST.put_first(work.where.mnist_dir)
    writer = patiently(
        lambda: store.claim(
            work.sweep,
            run.run_id,
            config=config,
            columns=columns,
            provenance=provenance(device, run.entry),
            host=socket.gethostname(),
            pid=os.getpid(),
            until=until,
        )
    )
    with logged(writer) as logged_writer:
        status = train(
            run,
            PatientWriter(logged_writer, patiently),
            device=device,
            until=until,
            should_stop=stop.is_set,
        )
    return AttemptEnd(status)
