"""The capacity loss of a store's runs along their kept checkpoints, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import name_modules, named_modules
from rlscale.scaling.tasks.data_folder import MNIST
from rlscale.scaling.tasks.registry import prepare_task
from rlscale.scaling.training.capacity import CapacityLoss, Protocol, capacity_losses, check_capacity
from rlscale.sweeps.running.ray_map import map_on_ray
from rlscale.sweeps.running.where import Where
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore


@dataclass(frozen=True)
class Wanted:
    """What to measure; None are the paper's choices for the run's task.

    Attributes:
        targets: number of random targets, each of which every checkpoint is to learn.
        envs, steps, epochs: see ``Protocol``.
    """

    targets: int = 3
    envs: int | None = None
    steps: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class CapacityJob:
    """One target for all checkpoints of one run."""

    store: str
    record: RunRecord
    target: int
    protocol: Protocol
    where: Where


def runs_with_checkpoints(store: RunStore, sweep: str | None) -> list[RunRecord]:
    """The runs that keep their checkpoints.

    Raises:
        InputError: if there is none (code ``no_checkpoints``).
    """
    found = [
        record
        for record in store.runs(sweep)
        if record.config.get("keep_checkpoints") and (record.checkpoints or record.segments)
    ]
    if not found:
        raise InputError(
            f"No run of {store.location} keeps its checkpoints: train runs whose config says "
            f"keep_checkpoints: true.",
            code="no_checkpoints",
        )
    return found


def measure_capacity(
    store: RunStore,
    records: Sequence[RunRecord],
    wanted: Wanted,
    where: Where,
    *,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[list[list[CapacityLoss]]]:
    """By run, by target: the losses from the run's beginning on.

    Args:
        where: its device is cpu or cuda.
        on_done: called with the number of (run, target) pairs done.

    Raises:
        InputError: if a run cannot be measured or the cluster cannot be reached.
        RlscaleError: if a worker failed.
    """
    where = Where(
        where.address,
        where.device,
        where.mnist_dir.resolve() if where.mnist_dir else None,
        named_modules(),
        Path.cwd(),
    )
    MNIST.put_first(where.mnist_dir)
    location = store.location if "://" in store.location else str(Path(store.location).resolve())
    jobs = []
    for record in records:
        protocol = _protocol(record, wanted)
        jobs += [CapacityJob(location, record, target, protocol, where) for target in range(wanted.targets)]
    losses = map_on_ray(
        losses_of_job,
        jobs,
        address=where.address,
        num_cpus=max(int(record.config.get("threads", 1)) for record in records),
        num_gpus=1 if where.device == "cuda" else 0,
        on_done=on_done,
    )
    return [losses[i : i + wanted.targets] for i in range(0, len(losses), wanted.targets)]


def _protocol(record: RunRecord, wanted: Wanted) -> Protocol:
    """The paper's, changed as wanted; refused here, before a worker starts."""
    config = run_config(record.config, source=f"run {record.run_id}")
    usual = Protocol.of_paper(config)
    protocol = Protocol(wanted.envs or usual.envs, wanted.steps or usual.steps, wanted.epochs or usual.epochs)
    check_capacity(config, protocol)
    prepare_task(config.task)
    return protocol


def losses_of_job(job: CapacityJob) -> list[CapacityLoss]:
    """One job, on a worker."""
    name_modules(job.where.modules, job.where.module_folder)
    MNIST.put_first(job.where.mnist_dir)
    record = job.record
    return list(
        capacity_losses(
            run_config(record.config, source=f"run {record.run_id}"),
            RunStore(job.store).read_checkpoints(record.sweep, record.run_id),
            target=job.target,
            protocol=job.protocol,
            device=job.where.device,
        )
    )
