"""What a sweep would do: its costs, and what of it is missing in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlscale.scaling.config.run import RunConfig

if TYPE_CHECKING:
    from rlscale.scaling.costs.memory import MemoryNeed


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
