"""The result of comparing two recipes; its JSON file is all that a later look needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlscale.analysis.arrays import StoredFloats
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.fit.result import DataRange
from rlscale.analysis.points.frontier import Frontier
from rlscale.analysis.points.resampling import Scheme
from rlscale.analysis.records import INTERVAL_LEVEL, Columns, Interval, Record, read_stored, return_field
from rlscale.analysis.results import Result, ends, frame_of_columns, frame_of_rows, with_interval
from rlscale.analysis.studies.compare.models import ModelName
from rlscale.analysis.theory.delay import DelayKind

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

#: ``depends``: each is better at one end of the common returns.
Verdict = Literal["a_better", "b_better", "depends", "undecided"]
#: Where the ranking changes: among the returns that both reached, below or above them, or nowhere near.
Where = Literal["within", "below", "above", "none"]


class Recipe(Record):
    """One recipe and its law.

    Attributes:
        name: what people call it.
        source: path or URI of its curves.
        num_runs, num_sizes, num_points: of its curves.
        seeds: harmonic mean over sizes of the number of runs.
        range: of N, E, C and the return among its binned points.
        frontier: its measured efficient frontier.
        nu, alpha_N, alpha_E: of its law in the chosen model.
        compute: C with which it reaches the middle of the common returns.
        N_opt: compute-optimal size there.
        size_limited_share: share of the weight that lies past the optimum of its size.
        start: how learning starts (``rlscale.analysis.points.onset``); the comparison fits no delay.
        onset: E at which it does, in environment steps; null if most sizes never rise.
        intervals: 90% intervals of ``nu``, ``alpha_N``, ``alpha_E``.
    """

    name: str
    source: str
    num_runs: int
    num_sizes: int
    num_points: int
    seeds: float
    range: DataRange
    frontier: Frontier
    nu: float
    alpha_N: float
    alpha_E: float
    compute: float
    N_opt: float
    size_limited_share: float
    start: DelayKind = "none"
    onset: float | None = None
    intervals: dict[str, Interval]


class ModelFit(Record):
    """One of the models (``rlscale.analysis.studies.compare.models``).

    Attributes:
        loss: share of the variance of the response that it leaves.
        multiplier: C_A/C_B at the middle of the common returns, and its 90% interval; null without draws.
        p_value: that the model ``factor`` holds, tested within this one; null for ``factor``, without draws.
    """

    name: ModelName
    loss: float
    multiplier: float
    interval: Interval | None
    p_value: float | None


class Growth(Record):
    """How the multiplier changes with compute, by the model ``exponents``.

    Attributes:
        per_decade: factor on C_A/C_B for each tenfold C_B.
        interval: 90%.
        p_value: that it is 1.
    """

    per_decade: float
    interval: Interval | None
    p_value: float | None


class Ceiling(Record):
    """A return that one recipe approaches and the other passes, by the model ``ceiling``.

    Attributes:
        strength: u; positive if A has the ceiling, negative if B has it.
        interval: 90%.
        p_value: that neither has one of its own.
        return_: the ceiling; null if it lies above all measured returns.
    """

    strength: float
    interval: Interval | None
    p_value: float | None
    return_: float | None = return_field()


class MultiplierCurve(Columns):
    """C_A/C_B along the returns that both recipes reach, by the chosen model, arrays of one shape.

    Attributes:
        return_: ascending.
        compute_a, compute_b: least compute of each for that return.
        multiplier: their ratio.
        low, high: ends of its 90% interval at each return; the multiplier without draws.
    """

    return_: StoredFloats = return_field()
    compute_a: StoredFloats
    compute_b: StoredFloats
    multiplier: StoredFloats
    low: StoredFloats
    high: StoredFloats


class MeasuredMultiplier(Record):
    """The same ratio read off the two measured frontiers, without a law."""

    return_: StoredFloats = return_field()
    compute_b: StoredFloats
    multiplier: StoredFloats


class RankingCrossing(Record):
    """Where both take the same compute, by the chosen model.

    Attributes:
        where: ``none`` if not within three decades of compute of the common returns.
        compute: C_B there; null if ``none``.
        return_: the return there; null unless ``within``.
        share_within: share of the draws with a crossing within; null without draws.
    """

    where: Where
    compute: float | None
    return_: float | None = return_field()
    share_within: float | None


class Power(Record):
    """What it takes to see a factor: p < 0.05 in 8 of 10 such sweeps.

    Attributes:
        factor: the ratio of computes to be seen.
        error: standard error of log(C_A/C_B).
        smallest_factor: the least ratio that these seeds show as often.
        seeds: per size and recipe that show ``factor``; null if more than a million.
        more_seeds: beyond those there are.
    """

    factor: float
    error: float
    smallest_factor: float
    seeds: int | None
    more_seeds: int | None


class Comparison(Result):
    """Two recipes on one task.

    Attributes:
        a, b: the recipes.
        tasks: their task; empty if they do not say it.
        size: what N is.
        common_return: lowest and highest return that both reach, each with an optimal size among its sizes.
        model: the chosen one of ``models``.
        multiplier: C_A/C_B at the middle of the common returns (in log compute); above 1 A takes more.
        interval: 90%, null without draws.
        interval_total: stretched to hold what other cuts of early training give.
        p_value: that it is 1.
        verdict: which recipe takes less compute at the middle, if p is below 0.05 (``study.SIGNIFICANCE``).
        systematic: largest change of log10 of the multiplier when more of early training is dropped.
        monotone_map: return against the compute with which B reaches it, from the points of both.
        scheme: what the bootstrap drew.
        paired: whether runs of A and B with one size and seed were drawn together.
        replicates: draws.
        widening: factor by which they were moved away from their median, for few seeds and because draws
            spread less than estimates do.
    """

    kind: Literal["rlscale compare"] = "rlscale compare"
    schema_version: int = SCHEMA_VERSION
    a: Recipe
    b: Recipe
    tasks: list[str]
    size: SizeColumn
    common_return: Interval
    model: ModelName
    multiplier: float
    interval: Interval | None
    interval_total: Interval | None
    p_value: float | None
    verdict: Verdict
    systematic: float
    models: list[ModelFit]
    growth: Growth
    ceiling: Ceiling
    crossing: RankingCrossing
    power: Power | None
    curve: MultiplierCurve
    measured: MeasuredMultiplier
    monotone_map: MonotoneMap
    scheme: Scheme
    paired: bool
    replicates: int
    widening: float
    interval_level: float = INTERVAL_LEVEL
    warnings: list[str]
    warning_codes: list[str]
    options: dict[str, Any]

    def headline(self) -> str:
        """The compute of A over that of B at the middle of the common returns, with its interval."""
        times = with_interval(self.multiplier, self.interval_total or self.interval)
        chance = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return (
            f"{self.a.name} takes {times} times the compute of "
            f"{self.b.name}{chance}: {self.verdict.replace('_', ' ')}"
        )

    def summary(self) -> pd.DataFrame:
        """The multiplier by the chosen model and by each, its growth per decade of compute, and both nu."""
        rows = {
            "multiplier": {"estimate": self.multiplier, **ends(self.interval_total or self.interval)},
            **{
                f"multiplier, model {one.name}": {"estimate": one.multiplier, **ends(one.interval)}
                for one in self.models
            },
            "growth per decade": {"estimate": self.growth.per_decade, **ends(self.growth.interval)},
            f"nu of {self.a.name}": {"estimate": self.a.nu, **ends(self.a.intervals.get("nu"))},
            f"nu of {self.b.name}": {"estimate": self.b.nu, **ends(self.b.intervals.get("nu"))},
        }
        return frame_of_rows(rows, "estimate of")

    def to_frame(self) -> pd.DataFrame:
        """The multiplier along the common returns, one row each; columns as in ``MultiplierCurve``."""
        return frame_of_columns(self.curve)


def read_comparison(path: str | Path) -> Comparison:
    """The comparison stored in a JSON file by ``rlscale compare --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a comparison of this version.
    """
    return read_stored(path, Comparison, "rlscale compare A B --json FILE")
