"""From a spec and a store to finished runs: what ``rlscale sweep run`` and ``retry`` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.costs.measure import measure
from rlscale.scaling.modules import named_modules
from rlscale.scaling.tasks.data_folder import MNIST
from rlscale.scaling.tasks.registry import prepare_task
from rlscale.sweeps.running.demand import estimated_memory
from rlscale.sweeps.running.drivers import Presence, drivers
from rlscale.sweeps.running.events import (
    Event,
    OnEvent,
    OtherDrivers,
    Outcome,
    Polled,
    Started,
    StoreTrouble,
    ignore,
)
from rlscale.sweeps.running.missing import lengths_to_do, to_do, to_retry
from rlscale.sweeps.running.ray_connection import require_nodes
from rlscale.sweeps.running.ray_runner import Job, Work, no_outcomes, run_jobs
from rlscale.sweeps.running.where import Where, workers_device
from rlscale.sweeps.specs.spec import Resources, SweepSpec, expand, parse_spec
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore


@dataclass(frozen=True)
class SweepOutcome:
    """What ``run_sweep`` did: runs that were done or had failed before, and how the others ended."""

    done_before: int
    failed_before: list[RunRecord]
    ended: dict[Outcome, int]


def run_sweep(
    spec: SweepSpec,
    store: RunStore,
    where: Where = Where(),
    on_event: OnEvent = ignore,
    *,
    source: str = "the spec",
) -> SweepOutcome:
    """Run what a store lacks of a sweep. Done runs do not change; failed ones wait for ``retry_failed``.

    The store keeps this spec as the current one of the sweep; runs of an earlier spec stay.

    Args:
        source: what messages call the spec.

    Raises:
        InputError: if the spec, the task's data, the device or the cluster does not fit.
        KeyboardInterrupt: if a signal ended it early; what was done is stored.
        StoppedOnRequest: if a request in the store ended it early; what was done is stored.
    """
    configs = expand(spec, source=source)
    missing, failed = to_do(configs, store, spec.name)
    num_done = len(configs) - len(missing) - len(failed)
    where = _checked(where, missing, spec.resources)
    jobs = _jobs(missing)
    store.write_spec(spec.name, spec.model_dump(mode="json"))
    store.clean_sweep(spec.name)
    on_event(Started(len(missing), num_done, len(failed)))
    ended = _run(jobs, store, Work(_location(store), spec.name, spec.resources, where), on_event)
    return SweepOutcome(num_done, failed, ended)


def retry_failed(
    store: RunStore, sweep: str, where: Where = Where(), on_event: OnEvent = ignore
) -> SweepOutcome:
    """Do the failed and the damaged runs of a sweep again, from their last checkpoints.

    Raises:
        InputError, KeyboardInterrupt, StoppedOnRequest: see ``run_sweep``.
    """
    spec = _stored_spec(store, sweep)
    resources = spec.resources if spec else Resources()
    configs, lost = to_retry(store, sweep, _configs_by_id(spec))
    if lost:
        raise lost[0]
    where = _checked(where, configs, resources)
    jobs = _jobs(configs)
    on_event(Started(len(jobs), 0, 0))
    ended = _run(jobs, store, Work(_location(store), sweep, resources, where), on_event)
    return SweepOutcome(0, [], ended)


def run_lengths(
    wanted: Sequence[tuple[RunConfig, int]],
    spec: SweepSpec,
    store: RunStore,
    where: Where = Where(),
    on_event: OnEvent = ignore,
) -> SweepOutcome:
    """Train runs of a sweep to some lengths and pause them there; those that are as long do not change.

    The curves of paused runs count, and a later call may go on with them. Runs that failed stay so.

    Args:
        wanted: configs, each with the interactions to train for.

    Raises:
        InputError, KeyboardInterrupt, StoppedOnRequest: see ``run_sweep``.
    """
    missing, failed, num_done = lengths_to_do(wanted, store, spec.name)
    where = _checked(where, [config for config, _ in missing], spec.resources)
    lengths = {config.run_id: until for config, until in missing}
    jobs = [replace(job, until=lengths[job.config.run_id]) for job in _jobs([c for c, _ in missing])]
    store.write_spec(spec.name, spec.model_dump(mode="json"))
    on_event(Started(len(missing), num_done, len(failed)))
    ended = _run(jobs, store, Work(_location(store), spec.name, spec.resources, where), on_event)
    return SweepOutcome(num_done, failed, ended)


def has_failed(store: RunStore, sweep: str) -> bool:
    """Whether ``retry_failed`` would find a run to do again."""
    configs, lost = to_retry(store, sweep, _configs_by_id(_stored_spec(store, sweep)))
    return bool(configs or lost)


def _stored_spec(store: RunStore, sweep: str) -> SweepSpec | None:
    stored = store.read_spec(sweep)
    return parse_spec(stored, source=f"the stored spec of {sweep}") if stored else None


def _configs_by_id(spec: SweepSpec | None) -> dict[str, RunConfig]:
    return {config.run_id: config for config in expand(spec, source=spec.name)} if spec else {}


def _checked(where: Where, configs: Sequence[RunConfig], resources: Resources) -> Where:
    """The same with the device, folder and modules that workers use.

    Raises:
        InputError: before anything starts, if the runs' device or data or the cluster's nodes are not there.
    """
    where = replace(
        where,
        mnist_dir=where.mnist_dir.resolve() if where.mnist_dir else None,
        modules=named_modules(),
        module_folder=Path.cwd(),
    )
    if configs:
        require_nodes(where.address)
    MNIST.put_first(where.mnist_dir)
    for task in {config.task for config in configs}:
        prepare_task(task)
    return replace(where, device=workers_device(where.device, resources))


def _location(store: RunStore) -> str:
    """The store's address as workers with another working directory can open it."""
    return store.location if "://" in store.location else str(Path(store.location).resolve())


def _jobs(configs: Sequence[RunConfig]) -> list[Job]:
    """The runs with their columns and memory, which are measured once for all seeds of a config."""
    measured: dict[str, tuple[dict[str, Any], float]] = {}
    jobs = []
    for config in configs:
        key = config.model_copy(update={"seed": 0}).run_id
        if key not in measured:
            size = measure(config)
            measured[key] = size.columns, estimated_memory(size.memory.total)
        columns, memory = measured[key]
        jobs.append(Job(config, {**columns, "seed": config.seed}, memory))
    return jobs


def _run(jobs: Sequence[Job], store: RunStore, work: Work, on_event: OnEvent) -> dict[Outcome, int]:
    """Do the jobs while this driver's file is in the store. Returns how many ended in which way."""
    if not jobs:
        return no_outcomes()
    others = [driver for driver in drivers(store, work.sweep).values() if not driver.is_known_dead]
    if others:
        on_event(OtherDrivers(tuple(others)))
    with Presence(store, work.sweep) as presence:
        problem: str | None = None

        def report(event: Event) -> None:
            nonlocal problem
            if isinstance(event, Polled):
                presence.report(event.in_flight, event.waiting, event.ended)
                if presence.trouble != problem:
                    problem = presence.trouble
                    on_event(StoreTrouble(problem))
            on_event(event)

        return run_jobs(jobs, work, report, should_stop=lambda: presence.is_asked_to_stop)
