"""The result of a backtest: all that its table, figure and section of the report need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rlscale.analysis.arrays import StoredBools, StoredFloats
from rlscale.analysis.choices import Objective, SizeColumn
from rlscale.analysis.formatting.numbers import brief_number, compact_count, percent
from rlscale.analysis.records import INTERVAL_LEVEL, SCHEMA_VERSION, Columns, Interval, Record, return_field
from rlscale.analysis.results import Result, frame_of_columns, frame_of_rows

if TYPE_CHECKING:
    import pandas as pd

SplitKind = Literal["sizes", "compute"]


class Split(Record):
    """Which rows of the curves are held out.

    Attributes:
        kind: ``sizes``: all runs of the largest sizes; ``compute``: every row with N·E above a cutoff.
        sizes: the held-out sizes; empty for ``compute``.
        cutoff: largest compute left for training; null for ``sizes``.
    """

    kind: SplitKind
    sizes: list[float] = Field(default_factory=list)
    cutoff: float | None = None

    def in_words(self, number: Callable[[float], str] = brief_number) -> str:
        """What was held out, with a compute as ``number`` writes it."""
        if self.cutoff is not None:
            return f"compute above {number(self.cutoff)}"
        shown = ", ".join(compact_count(size) for size in self.sizes)
        return f"the largest size ({shown})" if len(self.sizes) == 1 else f"the largest sizes ({shown})"


class Training(Record):
    """The fit without the held-out rows."""

    num_runs: int
    num_sizes: int
    nu: float
    nu_interval: Interval | None
    identified: bool
    top_compute: float
    top_return: float


class Errors(Record):
    """Errors of predicted returns, weighted evenly in log E, all sizes alike.

    Attributes:
        num_points: held-out points.
        mean_absolute: mean of |predicted - measured|.
        bias: mean of predicted - measured.
        coverage: share of points within their 90% prediction interval; null without a bootstrap.
        naive_mean_absolute, naive_bias: the same of the baseline.
    """

    num_points: int
    mean_absolute: float
    bias: float
    coverage: float | None
    naive_mean_absolute: float
    naive_bias: float


class FrontierErrors(Errors):
    """Errors of the best return at each held-out compute, and of which size has it.

    Attributes:
        size_hits, naive_size_hits: share of computes at which the best of the sizes was named.
        size_decades, naive_size_decades: mean of |log10 named size - log10 best size|.
    """

    size_hits: float
    naive_size_hits: float
    size_decades: float
    naive_size_decades: float


class HeldOutPoints(Columns):
    """Arrays of shape ``(n,)``, an entry a held-out point: a size, averaged over seeds and a bin of E."""

    N: StoredFloats
    E: StoredFloats
    return_: StoredFloats = return_field()
    weight: StoredFloats
    predicted: StoredFloats
    low: StoredFloats
    high: StoredFloats
    naive: StoredFloats
    beyond_map: StoredBools


class FrontierPoints(Record):
    """Arrays of shape ``(n,)``, one entry for each held-out compute at which sizes can be compared."""

    compute: StoredFloats
    best_return: StoredFloats
    best_size: StoredFloats
    predicted: StoredFloats
    predicted_size: StoredFloats
    low: StoredFloats
    high: StoredFloats
    naive: StoredFloats
    naive_size: StoredFloats


class OptimumPoint(Record):
    """N_opt at one held-out compute.

    Attributes:
        compute: N·E.
        N_opt, interval: by the fit without the held-out rows.
        full_fit: N_opt by the fit of all rows.
        best_size: the trained size that is best there, no model assumed; null where none can be compared.
        naive: the size that was best where training ends.
    """

    compute: float
    N_opt: float
    interval: Interval | None
    full_fit: float
    best_size: float | None
    naive: float


class OptimumErrors(Record):
    """Mean of |Δ log10 N_opt| over the held-out computes, against the full fit and the best size.

    Attributes:
        coverage: share of computes at which the interval holds the full fit's N_opt.
    """

    against_full_fit: float
    naive_against_full_fit: float
    against_best_size: float | None
    naive_against_best_size: float | None
    coverage: float | None


class LawScore(Record):
    """How one law predicts the same held-out points from the same training rows.

    Attributes:
        name: of the law, see ``rlscale.analysis.studies.backtest.competing_laws``.
        num_constants: fitted constants, without those of a free map.
        mean_absolute, bias: of the returns of all held-out points.
        frontier_mean_absolute: of the best return at each held-out compute.
        difference: its mean absolute error minus that of this toolkit's law.
        difference_interval: 90% interval of it over resampled runs; null without a bootstrap.
        constants: what was fitted.
    """

    name: str
    num_constants: int
    mean_absolute: float
    bias: float
    frontier_mean_absolute: float | None
    difference: float
    difference_interval: Interval | None
    constants: dict[str, float]


class PredictorScore(Record):
    """How another way of predicting fares on the same held-out returns.

    Attributes:
        name: ``neighbour``, what the backtest itself predicts with; ``lemma``, the law alone; ``copying`` and
            ``shifted``: see ``rlscale.analysis.studies.backtest.competing_laws``.
        mean_absolute, bias: as of ``Errors``.
    """

    name: str
    mean_absolute: float
    bias: float


class SplitBacktest(Record):
    """The backtest of one split.

    Attributes:
        beyond_map_share: weight of held-out points whose predicted I lies beyond the training's map, so
            that their return comes from its declared continuation.
        extension: scale of that continuation, see ``rlscale.analysis.forecast.extended_map``.
        predictors: scores of the ways to predict that every backtest compares.
        laws: scores of all laws, best first; empty if not requested.
    """

    split: Split
    training: Training
    returns: Errors
    beyond_map_share: float
    extension: Literal["linear", "failure"]
    frontier: FrontierErrors | None
    optimum: OptimumErrors
    laws: list[LawScore]
    points: HeldOutPoints
    frontier_points: FrontierPoints
    optimum_points: list[OptimumPoint]
    warnings: list[str]
    warning_codes: list[str] = Field(default_factory=list)
    predictors: list[PredictorScore] = Field(default_factory=list)


class BacktestResult(Result):
    """Backtests of one source of curves."""

    kind: Literal["rlscale backtest"] = "rlscale backtest"
    schema_version: int = SCHEMA_VERSION
    objective: Objective
    size: SizeColumn
    source: str
    interval_level: float = INTERVAL_LEVEL
    splits: list[SplitBacktest]
    options: dict[str, Any]

    def headline(self) -> str:
        """The mean absolute error of the returns of each split, and the baseline's."""
        return "; ".join(
            f"{each.split.in_words()}: return off by {brief_number(each.returns.mean_absolute)} "
            f"(baseline {brief_number(each.returns.naive_mean_absolute)}"
            + (
                ")"
                if each.returns.coverage is None
                else f"), {percent(each.returns.coverage)} within 90% intervals"
            )
            for each in self.splits
        )

    def summary(self) -> pd.DataFrame:
        """A row for each split: errors of the held-out returns and of N_opt, beside the baseline's."""
        rows = {
            each.split.in_words(): {
                "num_points": each.returns.num_points,
                "mean_absolute": each.returns.mean_absolute,
                "naive_mean_absolute": each.returns.naive_mean_absolute,
                "bias": each.returns.bias,
                "coverage": each.returns.coverage,
                "N_opt_decades": each.optimum.against_full_fit,
                "naive_N_opt_decades": each.optimum.naive_against_full_fit,
                "beyond_map_share": each.beyond_map_share,
                "nu": each.training.nu,
            }
            for each in self.splits
        }
        return frame_of_rows(rows, "held out")

    def to_frame(self) -> pd.DataFrame:
        """The held-out points of all splits, one row each, measured and predicted; see ``HeldOutPoints``."""
        import pandas as pd

        frames = {each.split.in_words(): frame_of_columns(each.points) for each in self.splits}
        return pd.concat(frames, names=["held_out", "point"]).reset_index(level=0).reset_index(drop=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The summary on its side, for it has more columns than rows."""
        return {"": self.summary().astype(object).T}

    def cautions(self) -> list[str]:
        """The warnings of each split, once."""
        return list(dict.fromkeys(warning for each in self.splits for warning in each.warnings))
