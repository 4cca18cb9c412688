"""Many runs on Ray: core tasks and one driver. The only module that imports Ray.

The store alone decides what is done. The driver submits what is missing, largest first,
and submits again what died: the worker's claim on the run makes any earlier attempt, dead
or alive, unable to write. A worker killed at any moment costs at most the work since its
last checkpoint, and so does the driver, which keeps nothing that the store does not hold.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Read by Ray when it is imported.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
from ray import exceptions as ray_exceptions

from scaling.config import RunConfig
from scaling.errors import InputError, LeaseLost, NonFiniteLoss, RlscaleError
from sweeps.spec import Resources
from sweeps.store import RunStore

_OBJECT_STORE_BYTES = 128 * 1024**2  # results are a few words; Ray's default takes 30% of memory
_POLL_SECONDS = 0.5
_REASON_LENGTH = 300
_STOP_SECONDS = 30.0  # a run stores what it has after its current iteration

Outcome = Literal["done", "failed", "stopped", "superseded"]


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a run: it ended, or its worker died and it goes on."""

    run_id: str
    kind: Literal["ended", "died"]
    outcome: Outcome | None
    message: str


@dataclass(frozen=True)
class Job:
    """A run to do, with the columns that the store keeps beside its curve."""

    config: RunConfig
    columns: dict[str, Any]

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
    on_poll: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> dict[Outcome, int]:
    """Do all jobs and return how many ended in which way.

    ``store`` must mean the same place on every node. Without ``address`` a Ray on this
    machine is started and stopped again. At SIGINT or SIGTERM ``on_stop`` is called, and the
    runs store what they have; at a second one they are given up.

    Raises:
        InputError: if the cluster cannot be reached or can never hold one run.
        KeyboardInterrupt: if a signal ended it early.
    """
    driver = _Driver(jobs, store, sweep, resources, device, mnist_dir, on_event, on_poll)
    with _signals(driver):  # while Ray starts, too: an interrupted start leaves processes behind
        _connect(address)
        try:
            with _signals(driver):  # Ray has put its own in their place
                driver.work()
                if driver.stopping:
                    on_stop()
                    driver.stop()
                    raise KeyboardInterrupt
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
        driver.stopping = True

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
        on_poll: Callable[[], None],
    ) -> None:
        self._store, self._sweep, self._resources = store, sweep, resources
        self._device, self._mnist_dir = device, mnist_dir
        self._on_event, self._on_poll = on_event, on_poll
        # Largest first: a long run begun last would leave the other slots idle.
        self._waiting = sorted(jobs, key=lambda job: job.flops, reverse=True)
        self._flying: dict[ray.ObjectRef, Job] = {}
        self._deaths: dict[str, int] = {}
        self.ended: dict[Outcome, int] = {"done": 0, "failed": 0, "stopped": 0, "superseded": 0}
        self.stopping = False

    def work(self) -> None:
        """Do the jobs until all have ended or ``stopping`` is set."""
        while (self._waiting or self._flying) and not self.stopping:
            while self._waiting and len(self._flying) < 2 * self._slots(self._waiting[0]):
                self._submit(self._waiting.pop(0))
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
        ready, _ = ray.wait(list(self._flying), timeout=_POLL_SECONDS)
        for reference in ready:
            self._collect(self._flying.pop(reference), reference)
        self._on_poll()

    def _slots(self, job: Job) -> int:
        """Runs of this kind that the cluster can hold at once."""
        total = ray.cluster_resources()
        cpus = self._cpus(job)
        slots = int(total.get("CPU", 0) // cpus)
        if self._resources.num_gpus:
            slots = min(slots, int(total.get("GPU", 0) // self._resources.num_gpus))
        if slots == 0:
            raise InputError(
                f"A run asks for {cpus:g} CPUs and {self._resources.num_gpus:g} GPUs, but the cluster has "
                f"{total.get('CPU', 0):g} and {total.get('GPU', 0):g}; change 'resources' or 'threads'."
            )
        return slots

    def _cpus(self, job: Job) -> float:
        return self._resources.num_cpus or float(job.config.threads)

    def _submit(self, job: Job) -> None:
        task = _train_remotely.options(num_cpus=self._cpus(job), num_gpus=self._resources.num_gpus)
        reference = task.remote(
            self._store,
            self._sweep,
            job.config.model_dump(mode="json"),
            job.columns,
            self._device,
            str(self._mnist_dir) if self._mnist_dir else None,
        )
        self._flying[reference] = job

    def _collect(self, job: Job, reference: ray.ObjectRef) -> None:
        run_id = job.config.run_id
        try:
            outcome, message = ray.get(reference)
            if outcome == "stopped" and not self.stopping and self._may_die_again(run_id):
                outcome, message = None, "its worker was asked to stop"
        except ray_exceptions.TaskCancelledError:
            return  # it had not begun
        except ray_exceptions.RayError as error:
            outcome, message = self._after_death(job, error)
        if outcome is None:
            if not self.stopping:
                self._on_event(RunEvent(run_id, "died", None, message))
            self._waiting.insert(0, job)
            return
        self.ended[outcome] += 1
        self._on_event(RunEvent(run_id, "ended", outcome, message))

    def _after_death(self, job: Job, error: Exception) -> tuple[Outcome | None, str]:
        """Whether the run goes on (None) or has failed, and why."""
        run_id = job.config.run_id
        if isinstance(error, ray_exceptions.RayTaskError):  # our code raised: doing it again would too
            problem = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            return self._give_up(run_id, problem[:_REASON_LENGTH])
        if isinstance(error, ray_exceptions.NodeDiedError):  # never the run's fault
            return None, "its node died"
        out_of_memory = isinstance(error, ray_exceptions.OutOfMemoryError)
        cause = "ran out of memory" if out_of_memory else "was killed"
        if self._may_die_again(run_id):
            return None, f"its worker {cause}"
        return self._give_up(run_id, f"its worker {cause} {self._deaths[run_id]} times")

    def _may_die_again(self, run_id: str) -> bool:
        self._deaths[run_id] = self._deaths.get(run_id, 0) + 1
        return self._deaths[run_id] <= self._resources.max_deaths

    def _give_up(self, run_id: str, reason: str) -> tuple[Outcome, str]:
        store = RunStore(self._store)
        record = store.read_run(self._sweep, run_id)
        if record is not None and record.status == "done":  # it died in the moment after
            return "done", ""
        if record is not None:
            store.mark(record, "failed", reason)
        return "failed", reason


def _connect(address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    except Exception as error:  # Ray raises whatever it meets, bare exceptions among them
        problem = " ".join(str(error).split())[:_REASON_LENGTH]
        if address is not None:
            raise InputError(f"The Ray cluster at {address} cannot be reached: {problem}") from error
        raise RlscaleError(
            f"Ray did not start on this machine; try again when it is less busy: {problem}"
        ) from error


@ray.remote(max_retries=0, scheduling_strategy="SPREAD")
def _train_remotely(
    store: str,
    sweep: str,
    config: dict[str, Any],
    columns: dict[str, Any],
    device: str,
    mnist_dir: str | None,
) -> tuple[Outcome, str]:
    """One attempt at one run, on a worker. Returns how it ended; what it measured is in the store."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        # `ray job stop` and preemption send SIGTERM, `ray.cancel` SIGINT: store everything, then end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    from scaling.train import provenance, resolve_device, train  # loads torch, which takes a while

    run = RunConfig.model_validate(config)
    record = RunStore(store).read_run(sweep, run.run_id)
    if record is not None and record.status == "done":
        RunStore(store).clean_finished(sweep, run.run_id)  # a worker killed right at the end did not
        return "done", ""
    try:
        device = resolve_device(device)
        writer = RunStore(store).claim(
            sweep,
            run.run_id,
            config=config,
            columns=columns,
            provenance=provenance(device),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        folder = Path(mnist_dir) if mnist_dir else None
        status = train(run, writer, device=device, mnist_dir=folder, should_stop=stop.is_set)
        return ("done" if status == "done" else "stopped"), ""
    except LeaseLost as error:
        return "superseded", str(error)
    except (NonFiniteLoss, InputError) as error:
        return "failed", str(error)
