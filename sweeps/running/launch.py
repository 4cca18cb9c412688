"""From a spec and a store to finished runs: what ``rlscale sweep run`` and ``retry`` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.costs.memory import memory_need
from rlscale.scaling.errors import InputError
from rlscale.scaling.training.device import resolve_device
from rlscale.scaling.training.facts import check_task_data, run_columns
from rlscale.sweeps.running.demand import estimated_memory
from rlscale.sweeps.running.drivers import DriverRecord, Presence, drivers
from rlscale.sweeps.running.missing import to_do
from rlscale.sweeps.running.ray_runner import Job, Outcome, Progress, RunEvent, run_jobs
from rlscale.sweeps.specs.spec import Resources, SweepSpec, expand, parse_spec
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore


@dataclass(frozen=True)
class SweepOutcome:
    """What a call of ``run_sweep`` did: runs that were done before, and how the others ended."""

    done_before: int
    failed_before: list[RunRecord]
    ended: dict[Outcome, int]


@dataclass(frozen=True)
class Listener:
    """Who is told what happens while a sweep runs.

    on_start: how many runs are missing, were done before and have failed before
    on_others: drivers that may be at work on the sweep too
    on_event: a run ended, or its worker died
    on_poll: about twice a second
    on_trouble: why the store cannot be written at the moment, or None once it can again
    on_head: whether the head of the Ray cluster answers, when that has changed
    on_stop: the driver was asked to stop
    """

    on_start: Callable[[int, int, int], None] = lambda missing, done, failed: None
    on_others: Callable[[Sequence[DriverRecord]], None] = lambda drivers: None
    on_event: Callable[[RunEvent], None] = lambda event: None
    on_poll: Callable[[], None] = lambda: None
    on_trouble: Callable[[str | None], None] = lambda problem: None
    on_head: Callable[[bool], None] = lambda answers: None
    on_stop: Callable[[], None] = lambda: None


def run_sweep(
    spec: SweepSpec,
    store: RunStore,
    *,
    source: str = "the spec",
    address: str | None = None,
    device: str = "auto",
    mnist_dir: Path | None = None,
    listener: Listener = Listener(),
) -> SweepOutcome:
    """Do what is missing of a sweep. Done runs are left alone; failed ones wait for ``retry``.

    The spec is kept in the store as what is wanted now; runs of an earlier spec stay.

    Raises:
        InputError: if the spec, the task's data, the device or the cluster does not fit.
        KeyboardInterrupt: if a signal ended it early; what was done is stored.
        StoppedOnRequest: if somebody ended it through the store; the same holds.
    """
    missing, failed, num_done = _compared(spec, store, source)
    device = _check(missing, device, mnist_dir, spec.resources)
    jobs = _jobs(missing)
    store.write_spec(spec.name, spec.model_dump(mode="json"))
    store.clean_sweep(spec.name)
    listener.on_start(len(missing), num_done, len(failed))
    ended = _run(jobs, store, spec.name, spec.resources, address, device, mnist_dir, listener)
    return SweepOutcome(num_done, failed, ended)


def _compared(spec: SweepSpec, store: RunStore, source: str) -> tuple[list[RunConfig], list[RunRecord], int]:
    """(missing runs, failed ones, number of done ones); nothing is kept of those that are done."""
    configs = expand(spec, source=source)
    missing, failed = to_do(configs, store, spec.name)
    return missing, failed, len(configs) - len(missing) - len(failed)


def retry_failed(
    store: RunStore,
    sweep: str,
    *,
    address: str | None = None,
    device: str = "auto",
    mnist_dir: Path | None = None,
    listener: Listener = Listener(),
) -> SweepOutcome:
    """Do the failed runs of a sweep again, from their last checkpoints.

    Raises:
        InputError, KeyboardInterrupt, StoppedOnRequest: see ``run_sweep``.
    """
    records = [record for record in store.runs(sweep) if record.status == "failed"]
    configs = [run_config(record.config, source=f"run {record.run_id}") for record in records]
    stored = store.read_spec(sweep)
    resources = parse_spec(stored, source=f"the stored spec of {sweep}").resources if stored else Resources()
    device = _check(configs, device, mnist_dir, resources)
    jobs = _jobs(configs)
    listener.on_start(len(jobs), 0, 0)
    ended = _run(jobs, store, sweep, resources, address, device, mnist_dir, listener)
    return SweepOutcome(0, [], ended)


def _check(configs: Sequence[RunConfig], device: str, mnist_dir: Path | None, resources: Resources) -> str:
    """Fail before anything starts if the runs' device or data cannot be had."""
    for task in {config.task for config in configs}:
        check_task_data(task, mnist_dir)
    return workers_device(device, resources)


def workers_device(device: str, resources: Resources) -> str:
    """The device that runs compute on. The spec says whether the workers' machines have GPUs.

    Raises:
        InputError: if there is no such device, or the spec gives runs none.
    """
    if device == "auto":
        return "cuda" if resources.num_gpus else "cpu"
    if device == "cuda" and not resources.num_gpus:
        raise InputError(
            "--device cuda needs a GPU for each run: set resources.num_gpus in the spec (a fraction is fine)."
        )
    return device if device == "cuda" else resolve_device(device)


def _jobs(configs: Sequence[RunConfig]) -> list[Job]:
    """The runs with their sizes and memory; these need the networks, but a seed does not change them."""
    measured: dict[str, tuple[dict[str, Any], float]] = {}
    jobs = []
    for config in configs:
        key = config.model_copy(update={"seed": 0}).run_id
        if key not in measured:
            measured[key] = run_columns(config), estimated_memory(memory_need(config).total)
        columns, memory = measured[key]
        jobs.append(Job(config, {**columns, "seed": config.seed}, memory))
    return jobs


def _run(
    jobs: Sequence[Job],
    store: RunStore,
    sweep: str,
    resources: Resources,
    address: str | None,
    device: str,
    mnist_dir: Path | None,
    listener: Listener,
) -> dict[Outcome, int]:
    if not jobs:
        return {"done": 0, "failed": 0, "stopped": 0, "superseded": 0}
    others = [driver for driver in drivers(store, sweep).values() if not driver.is_known_dead]
    if others:
        listener.on_others(others)
    with Presence(store, sweep) as presence:
        told: str | None = None

        def report(progress: Progress) -> None:
            nonlocal told
            presence.report(progress.in_flight, progress.waiting, progress.ended)
            if (trouble := presence.trouble) != told:
                told = trouble
                listener.on_trouble(trouble)
            listener.on_poll()

        return run_jobs(
            jobs,
            store=store.location if "://" in store.location else str(Path(store.location).resolve()),
            sweep=sweep,
            resources=resources,
            address=address,
            device=device,
            mnist_dir=mnist_dir.resolve() if mnist_dir else None,
            on_event=listener.on_event,
            on_poll=report,
            on_head=listener.on_head,
            on_stop=listener.on_stop,
            should_stop=lambda: presence.is_asked_to_stop,
        )
