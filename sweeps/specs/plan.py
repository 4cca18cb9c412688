"""What a sweep would cost: its runs by size, with compute, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlscale.scaling.config.run import RunConfig

if TYPE_CHECKING:
    from rlscale.scaling.costs.measure import Measured
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
        memory: what one run needs.
    """

    config: RunConfig
    columns: dict[str, Any]
    num_runs: int
    flops: float
    seconds: float | None
    memory: MemoryNeed


def plan_sizes(configs: Sequence[RunConfig], measure: Callable[[RunConfig], Measured]) -> list[PlannedSize]:
    """Group runs by everything but the seed, each group with its cost.

    Args:
        measure: returns columns, memory and time of a config; called once a group.
    """
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(config.model_copy(update={"seed": 0}).run_id, []).append(config)
    planned = []
    for members in groups.values():
        first = members[0]
        measured = measure(first)
        planned.append(
            PlannedSize(
                config=first,
                columns=measured.columns,
                num_runs=len(members),
                flops=measured.columns["flops_per_interaction"] * first.interactions,
                seconds=measured.seconds,
                memory=measured.memory,
            )
        )
    return planned
