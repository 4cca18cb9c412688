"""Many runs on Ray: core tasks and one driver. The only module that imports Ray.

The store alone decides what is done. The driver submits what is missing, largest first,
and submits again what died: the worker's claim on the run makes any earlier attempt, dead
or alive, unable to write. A worker killed at any moment costs at most the work since its
last checkpoint, and so does the driver, which keeps nothing that the store does not hold.
A run fails for dying only if it dies again and again without a checkpoint in between.
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
from pathlib import Path
from typing import Any, Literal

import ray
from ray import exceptions as ray_exceptions

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError, LeaseLost, NonFiniteLoss, OutOfMemory, StoreUnavailable
from rlscale.sweeps.running.demand import Demand, Node, demand_of, slots, with_half_the_concurrency
from rlscale.sweeps.running.drivers import StoppedOnRequest
from rlscale.sweeps.running.patience import Patience, PatientWriter, patient
from rlscale.sweeps.running.ray_connection import Head, connect
from rlscale.sweeps.specs.spec import Resources
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_log import logged
from rlscale.sweeps.store.run_store import RunStore

_POLL_SECONDS = 0.5
_REASON_LENGTH = 300
_STOP_SECONDS = 30.0  # a run stores what it has after its current iteration
_NODES_SECONDS = 1.0  # for which the list of the cluster's nodes is taken as it was

Outcome = Literal["done", "failed", "stopped", "superseded"]
#: How an attempt came to its end on a worker; the last two are no end of the run.
AttemptOutcome = Literal["done", "failed", "stopped", "superseded", "out of memory", "no store"]


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a run: it ended, or its worker died and it goes on."""

    run_id: str
    kind: Literal["ended", "died"]
    outcome: Outcome | None
    message: str


@dataclass(frozen=True)
class Progress:
    """How many runs of a driver are submitted to Ray, wait to be, and have ended."""

    in_flight: int
    waiting: int
    ended: int


@dataclass(frozen=True)
class Job:
    """A run to do, the columns that the store keeps beside its curve, and its estimated bytes of memory."""

    config: RunConfig
    columns: dict[str, Any]
    memory: float

    @property
    def flops(self) -> float:
        return float(self.columns["flops_per_interaction"]) * self.config.interactions


def run_jobs(
    jobs: Sequence[Job],
    *,
    store: str,
    sweep: str,
    resources: Resources,
    address: str | None = None,
    device: str = "cpu",
    mnist_dir: Path | None = None,
    on_event: Callable[[RunEvent], None] = lambda event: None,
    on_poll: Callable[[Progress], None] = lambda progress: None,
    on_head: Callable[[bool], None] = lambda answers: None,
    on_stop: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[Outcome, int]:
    """Do all jobs and return how many ended in which way.

    ``store`` must mean the same place on every node. Without ``address`` a Ray on this
    machine is started and stopped again. At SIGINT or SIGTERM, and once ``should_stop`` is true,
    ``on_stop`` is called, and the runs store what they have; at a second signal they are given up.
    ``on_head`` is told when the cluster's head does not answer any more, and when it does again.

    Raises:
        InputError: if the cluster cannot be reached or can never hold one run.
        RlscaleError: if the cluster's head went away.
        KeyboardInterrupt: if a signal ended it early.
        StoppedOnRequest: if ``should_stop`` did.
    """
    driver = _Driver(
        jobs, store, sweep, resources, device, mnist_dir, on_event, on_poll, on_head, should_stop
    )
    with _signals(driver):  # while Ray starts, too: an interrupted start leaves processes behind
        connect(address)
        try:
            with _signals(driver):  # Ray has put its own in their place
                driver.work()
                if driver.stopping:
                    on_stop()
                    driver.stop()
                    raise StoppedOnRequest("Stopped on request.") if should_stop() else KeyboardInterrupt
        finally:
            ray.shutdown()
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
        self,
        jobs: Sequence[Job],
        store: str,
        sweep: str,
        resources: Resources,
        device: str,
        mnist_dir: Path | None,
        on_event: Callable[[RunEvent], None],
        on_poll: Callable[[Progress], None],
        on_head: Callable[[bool], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._store, self._sweep, self._resources = store, sweep, resources
        self._device, self._mnist_dir = device, mnist_dir
        self._on_event, self._on_poll = on_event, on_poll
        self._on_head, self._should_stop = on_head, should_stop
        # Largest first: a long run begun last would leave the other slots idle.
        self._waiting = deque(sorted(jobs, key=lambda job: job.flops, reverse=True))
        self._flying: dict[ray.ObjectRef, Job] = {}
        self._demands: dict[str, Demand] = {}  # of runs that ran out of memory
        self._deaths: dict[str, tuple[int, int]] = {}  # in a row, and the interactions stored then
        self._nodes: tuple[float, list[Node]] = (-math.inf, [])
        self._stop = threading.Event()
        self._patiently = patient(resources.store_patience, stop=self._stop)
        self.ended: dict[Outcome, int] = {"done": 0, "failed": 0, "stopped": 0, "superseded": 0}

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def work(self) -> None:
        """Do the jobs until all have ended or the driver was asked to stop."""
        head = Head(self._on_head)
        while (self._waiting or self._flying) and not self.stopping:
            while head.is_there() and self._waiting and self._has_room():
                self._submit(self._waiting.popleft())
            self._wait()

    def stop(self) -> None:
        """Have the runs under way store what they have, and wait for them; forget the others."""
        deadline = time.monotonic() + _STOP_SECONDS
        while self._flying and time.monotonic() < deadline:
            for reference in self._flying:
                # Reaches a running task as SIGINT; one that is just being started may miss it.
                ray.cancel(reference)
            self._wait()

    def _wait(self) -> None:
        if self._flying:
            ready, _ = ray.wait(list(self._flying), timeout=_POLL_SECONDS)
            for reference in ready:
                self._collect(self._flying.pop(reference), reference)
        else:
            self._stop.wait(_POLL_SECONDS)
        progress = Progress(len(self._flying), len(self._waiting), sum(self.ended.values()))
        with suppress(StoreUnavailable):  # what is shown may be old for a while
            self._on_poll(progress)
        if self._should_stop():
            self.ask_to_stop()

    def _has_room(self) -> bool:
        """Whether to submit the next run: twice as many as run keep every slot busy."""
        try:
            demand = self._demand(self._waiting[0])
        except InputError:
            if not self._flying and not any(self.ended.values()):
                raise
            return False  # the nodes that could hold it are gone, and may come back
        return len(self._flying) < 2 * slots(demand, self._alive_nodes())

    def _demand(self, job: Job) -> Demand:
        known = self._demands.get(job.config.run_id)
        return known or demand_of(job.config, job.memory, self._resources, self._alive_nodes())

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
        reference = task.remote(
            self._store,
            self._sweep,
            job.config.model_dump(mode="json"),
            job.columns,
            self._device,
            str(self._mnist_dir) if self._mnist_dir else None,
            self._resources.store_patience,
        )
        self._flying[reference] = job

    def _collect(self, job: Job, reference: ray.ObjectRef) -> None:
        """See how an attempt ended, and have the run done again if that is not how the run ends."""
        run_id = job.config.run_id
        try:
            outcome, message = self._ending(job, *ray.get(reference))
        except ray_exceptions.TaskCancelledError:
            return  # it had not begun
        except ray_exceptions.RayError as error:
            outcome, message = self._after_death(job, error)
        if outcome is None:
            if not self.stopping:
                self._tell(RunEvent(run_id, "died", None, message))
            self._waiting.appendleft(job)
            return
        self.ended[outcome] += 1
        self._tell(RunEvent(run_id, "ended", outcome, message))

    def _tell(self, event: RunEvent) -> None:
        self._patiently(lambda: self._on_event(event))

    def _ending(self, job: Job, ended: AttemptOutcome, message: str) -> tuple[Outcome | None, str]:
        """What an attempt's end means for the run: how it ended, or None if it goes on."""
        if ended == "failed":
            return self._give_up(job, message)
        if ended == "out of memory":
            return self._with_less_concurrency(job, "its memory did not suffice") or self._give_up(
                job, message
            )
        if ended == "no store":
            return self._again_or_never(job, f"its worker gave up waiting for the store ({message})")
        if ended == "superseded" and self._is_done(job):
            return "done", ""
        if ended == "stopped" and not self.stopping:
            again, told = self._again_or_never(job, "its worker was asked to stop", fails=False)
            return (None, told) if again is None else ("stopped", "")
        return ended, message

    def _after_death(self, job: Job, error: Exception) -> tuple[Outcome | None, str]:
        """The same for a worker that ended without a word."""
        if isinstance(error, ray_exceptions.RayTaskError):  # our code raised: doing it again would too
            problem = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            return self._give_up(job, problem[:_REASON_LENGTH])
        if isinstance(error, ray_exceptions.NodeDiedError):  # never the run's fault
            return None, "its node died"
        if isinstance(error, ray_exceptions.OutOfMemoryError):
            told = "its worker ran out of memory"
            return self._with_less_concurrency(job, told) or self._again_or_never(job, told)
        return self._again_or_never(job, "its worker was killed")

    def _with_less_concurrency(self, job: Job, told: str) -> tuple[None, str] | None:
        """Let half as many such runs share a node from now on; None if it had one to itself."""
        demand = with_half_the_concurrency(self._demand(job), self._alive_nodes())
        if demand is None:
            return None
        self._demands[job.config.run_id] = demand
        return None, f"{told}; fewer runs will share its node"

    def _again_or_never(self, job: Job, told: str, *, fails: bool = True) -> tuple[Outcome | None, str]:
        """Do a run again, unless it died too often without having stored anything in between."""
        run_id = job.config.run_id
        record = self._record(job)
        reached = record.interactions if record else 0
        deaths, before = self._deaths.get(run_id, (0, 0))
        deaths = deaths + 1 if reached <= before else 1
        self._deaths[run_id] = (deaths, reached)
        if deaths <= self._resources.max_deaths:
            return None, told
        told += f", {deaths} times in a row" if deaths > 1 else ""
        return self._give_up(job, told) if fails else ("stopped", told)

    def _give_up(self, job: Job, reason: str) -> tuple[Outcome, str]:
        """Mark a run failed, unless it is done, says so itself or is another driver's by now."""
        record = self._record(job)
        if record is not None and record.status == "done":  # it died in the moment after
            return "done", ""
        if record is None:
            config = job.config.model_dump(mode="json")
            record = RunRecord(
                sweep=self._sweep,
                run_id=job.config.run_id,
                status="wanted",
                config=config,
                columns=job.columns,
            )
        if record.status != "failed":
            try:
                self._patiently(lambda: RunStore(self._store).mark(record, "failed", reason))
            except LeaseLost as error:
                return "superseded", str(error)
        return "failed", reason

    def _is_done(self, job: Job) -> bool:
        record = self._record(job)
        return record is not None and record.status == "done"

    def _record(self, job: Job) -> RunRecord | None:
        return self._patiently(lambda: RunStore(self._store).read_run(self._sweep, job.config.run_id))


@ray.remote(max_retries=0, scheduling_strategy="SPREAD")
def _train_remotely(
    store: str,
    sweep: str,
    config: dict[str, Any],
    columns: dict[str, Any],
    device: str,
    mnist_dir: str | None,
    store_patience: float,
) -> tuple[AttemptOutcome, str]:
    """One attempt at one run, on a worker. Returns how it ended; what it measured is in the store."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        # `ray job stop` and preemption send SIGTERM, `ray.cancel` SIGINT: store everything, then end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    patiently = patient(store_patience, stop=stop, on_wait=logging.getLogger("rlscale").warning)
    try:
        opened = patiently(lambda: RunStore(store))
        return _attempt(opened, sweep, config, columns, device, mnist_dir, patiently, stop)
    except LeaseLost as error:
        return "superseded", str(error)
    except StoreUnavailable as error:
        return ("stopped" if stop.is_set() else "no store"), str(error)
    except OutOfMemory as error:
        return "out of memory", str(error)
    except (NonFiniteLoss, InputError) as error:
        return "failed", str(error)


def _attempt(
    store: RunStore,
    sweep: str,
    config: dict[str, Any],
    columns: dict[str, Any],
    device: str,
    mnist_dir: str | None,
    patiently: Patience,
    stop: threading.Event,
) -> tuple[AttemptOutcome, str]:
    from rlscale.scaling.training.device import resolve_device
    from rlscale.scaling.training.facts import provenance
    from rlscale.scaling.training.train import train

    run = RunConfig.model_validate(config)
    record = patiently(lambda: store.read_run(sweep, run.run_id))
    if record is not None and record.status == "done":
        patiently(lambda: store.clean_finished(sweep, run.run_id))  # a worker killed right at the end did not
        return "done", ""
    device = resolve_device(device)
    writer = patiently(
        lambda: store.claim(
            sweep,
            run.run_id,
            config=config,
            columns=columns,
            provenance=provenance(device),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
    )
    folder = Path(mnist_dir) if mnist_dir else None
    with logged(writer) as told:
        patient_writer = PatientWriter(told, patiently)
        status = train(run, patient_writer, device=device, mnist_dir=folder, should_stop=stop.is_set)
    return ("done" if status == "done" else "stopped"), ""
