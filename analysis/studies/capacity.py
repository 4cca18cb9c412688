"""Capacity losses along runs as a result: means over random targets, with intervals, beside the curves.

Losses of one run spread over decades, so means are of their logarithms (geometric), and so are intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, CodedWarning, Interval, Record, warning_fields
from rlscale.analysis.statistics.intervals import mean_interval

Part = Literal["actor", "critic"]
PARTS: tuple[Part, ...] = ("actor", "critic")
_LEAST_LOSS = 1e-12  # below it is rounding


class Estimate(Record):
    """A geometric mean over targets, and its 90% interval where there are several."""

    value: float
    interval: Interval | None


class CapacityPoint(Record):
    """The capacity loss at one checkpoint.

    Attributes:
        interactions: E of the checkpoint; 0 for the networks with which the run began.
        actor: KL(target || checkpoint) that is left, nat.
        critic: squared error of the target's values that is left.
    """

    interactions: int
    actor: Estimate
    critic: Estimate


class CapacityRun(Record):
    """One run.

    Attributes:
        sweep, run_id: of the store.
        columns: its run columns, such as ``num_params``.
        points: along the run.
        actor_growth, critic_growth: loss at the last checkpoint over that at the beginning, target by target.
        curve_interactions, curve_return: its learning curve.
    """

    sweep: str
    run_id: str
    columns: dict[str, Any]
    points: list[CapacityPoint]
    actor_growth: Estimate
    critic_growth: Estimate
    curve_interactions: StoredFloats
    curve_return: StoredFloats


class CapacityResult(Record):
    """What ``rlscale capacity`` measures; ``targets`` random targets for each run."""

    kind: Literal["rlscale capacity"] = "rlscale capacity"
    schema_version: int = SCHEMA_VERSION
    targets: int
    runs: list[CapacityRun]
    warnings: list[str]
    warning_codes: list[str]


def capacity_result(runs: Sequence[CapacityRun], targets: int) -> CapacityResult:
    """All runs, with a warning where there are no intervals."""
    one: list[CodedWarning] = [
        ("one_target", "One target gives no intervals: how much losses depend on the target is unknown.")
    ]
    return CapacityResult(runs=list(runs), targets=targets, **warning_fields(one if targets == 1 else []))


def capacity_run(
    *,
    sweep: str,
    run_id: str,
    columns: Mapping[str, Any],
    interactions: Sequence[int],
    losses: Mapping[Part, ArrayLike],
    curve: tuple[ArrayLike, ArrayLike],
) -> CapacityRun:
    """One run from its losses.

    Args:
        interactions: E of the checkpoints.
        losses: of actor and critic, (targets, checkpoints).
        curve: interactions and mean returns.
    """
    logs = {part: np.log(np.maximum(np.asarray(losses[part], float), _LEAST_LOSS)) for part in PARTS}
    points = [
        CapacityPoint(
            interactions=at, actor=_estimate(logs["actor"][:, i]), critic=_estimate(logs["critic"][:, i])
        )
        for i, at in enumerate(interactions)
    ]
    growth = {part: _estimate(logs[part][:, -1] - logs[part][:, 0]) for part in PARTS}
    return CapacityRun(
        sweep=sweep,
        run_id=run_id,
        columns=dict(columns),
        points=points,
        actor_growth=growth["actor"],
        critic_growth=growth["critic"],
        curve_interactions=np.asarray(curve[0], float),
        curve_return=np.asarray(curve[1], float),
    )


def _estimate(logs: Floats) -> Estimate:
    """Of logarithms by target."""
    interval = None
    if len(logs) > 1:
        low, high = np.exp(np.minimum(mean_interval(logs), 700.0))  # e^700 is nearly the largest number
        interval = (float(low), float(high))
    return Estimate(value=float(np.exp(logs.mean())), interval=interval)
