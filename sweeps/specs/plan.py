"""What a sweep would cost: its runs by size, with compute, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlscale.scaling.config.run import RunConfig

if TYPE_CHECKING:
    from rlscale.scaling.costs.memory import MemoryNeed


@dataclass(frozen=True)
class PlannedSize:
    """Runs of a sweep that differ only in their seed.

    Attributes:
        config: the first of them.
        columns: its run columns.
        num_runs: how many there are.
        flops: floating-point operations of one run's training.
        seconds: estimated time of one run on one slot; None if it was not timed.
        memory: what one run needs; None if it was not counted.
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
    """Group runs by everything but the seed, each group with its cost.

    Args:
        columns_of: returns the run columns of a config; called once a group, as are the others.
        seconds_of: estimates the seconds of a run.
        memory_of: counts the memory of a run.
    """
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
