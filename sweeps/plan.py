"""What a sweep would do: its costs, and what of it is missing in a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.config import RunConfig
from sweeps.store import CURVE, RunRecord, RunStore

if TYPE_CHECKING:
    from scaling.memory import MemoryNeed


@dataclass(frozen=True)
class PlannedSize:
    """Runs of a sweep that share model and length.

    ``seconds`` is the estimated time of one of them on one slot, None if it was not timed;
    ``memory`` what one of them needs, None if it was not counted.
    """

    config: RunConfig
    columns: dict[str, Any]
    num_runs: int
    flops: float
    seconds: float | None
    memory: MemoryNeed | None


def plan_sizes(
    configs: Sequence[RunConfig],
    columns_of: Callable[[RunConfig], dict[str, Any]],
    seconds_of: Callable[[RunConfig], float] | None = None,
    memory_of: Callable[[RunConfig], MemoryNeed] | None = None,
) -> list[PlannedSize]:
    """Runs grouped by everything but the seed, with their cost."""
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(config.model_copy(update={"seed": 0}).run_id, []).append(config)
    planned = []
    for members in groups.values():
        first = members[0]
        columns = columns_of(first)
        planned.append(
            PlannedSize(
                config=first,
                columns=columns,
                num_runs=len(members),
                flops=columns["flops_per_interaction"] * first.interactions,
                seconds=seconds_of(first) if seconds_of else None,
                memory=memory_of(first) if memory_of else None,
            )
        )
    return planned


def to_do(
    configs: Sequence[RunConfig], store: RunStore, sweep: str
) -> tuple[list[RunConfig], list[RunRecord]]:
    """(runs that are missing, runs that failed earlier): done ones are in neither.

    A run that is marked running is missing too: its worker is gone or, should it live on,
    loses its lease to the new attempt. One listing tells what is done, so only the records of
    the others are read.
    """
    files = store.file_names(sweep)
    unfinished = {c.run_id: c for c in configs if CURVE not in files.get(c.run_id, ())}
    begun = [run_id for run_id in unfinished if run_id in files]
    ended = {r.run_id: r for r in store.read_runs(sweep, begun) if r.status in ("done", "failed")}
    missing = [config for run_id, config in unfinished.items() if run_id not in ended]
    return missing, [record for record in ended.values() if record.status == "failed"]


def memory_note(sizes: Sequence[PlannedSize], machine: int) -> str:
    """What the largest run needs, and whether ``machine`` bytes suffice; empty if nothing was counted."""
    needs = [size.memory for size in sizes if size.memory]
    if not needs:
        return ""
    most = max(needs, key=lambda need: need.total)
    told = f"Memory: up to {byte_size(most.total)} a run, {byte_size(most.observations)} of it observations"
    if most.total <= machine:
        return f"{told}; this machine has {byte_size(machine)}."
    largest = next(size.config.agent for size in sizes if size.memory is most)
    phases = " or agent.phasic.policy_iterations" if largest.auxiliary else ""
    return (
        f"{told}: more than the {byte_size(machine)} of this machine. Run it on a larger one, or choose a "
        f"smaller agent.num_envs (now {largest.num_envs}){phases}."
    )


def byte_size(number: float) -> str:
    """Bytes in three digits: 45.1 MB, 27.2 GB."""
    return f"{number / 1e9:.3g} GB" if number >= 0.9995e9 else f"{number / 1e6:.3g} MB"


def duration(seconds: float | None) -> str:
    """A length of time for people: 12 s, 3 min 20 s, 5 h 10 min; '?' if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
