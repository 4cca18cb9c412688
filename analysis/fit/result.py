"""The result of a fit: a frozen model with the law, the map, the points and the draws, and its JSON.

The JSON file is all that forecasts, figures and reports need.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from rlscale.analysis.arrays import Floats, StoredBools, StoredFloats, StoredInts
from rlscale.analysis.choices import Objective, SizeColumn
from rlscale.analysis.fit.bootstrap import Draws
from rlscale.analysis.fit.findings import (
    HealthStudy,
    InteractionFlops,
    IsoflopCheck,
    MetricStudy,
    NuProfile,
    PeriodFit,
    SizeMeasureFit,
)
from rlscale.analysis.fit.late_start import LateStart
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.fit.size_effects import SizeEffect
from rlscale.analysis.formatting.numbers import brief_number
from rlscale.analysis.points.frontier import Frontier
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    Columns,
    Interval,
    Record,
    read_stored,
    return_field,
)
from rlscale.analysis.results import Result, ends, frame_of_columns, frame_of_rows, with_interval
from rlscale.analysis.theory.delay import NO_DELAY, Delay
from rlscale.analysis.theory.power_law import PowerLaw

if TYPE_CHECKING:
    import pandas as pd

    from rlscale.analysis.forecast.result import ForecastResult


class DataRange(Record):
    """Smallest and largest values among the points of the fit.

    Attributes:
        N: size (parameters, or FLOPs with ``size="flops"``).
        E: environment steps.
        C: compute, size x environment steps.
        return_: undiscounted return (``return`` in the JSON).
    """

    N: Interval
    E: Interval
    C: Interval
    return_: Interval = return_field()


class FitPoints(Columns):
    """The binned points the fit rests on, arrays of shape ``(n,)`` ordered by N then E.

    Attributes:
        N: size.
        E: environment steps.
        return_: mean return over seeds (``return`` in the JSON).
        weight: share of the objective, sums to 1.
        intrinsic: I(N, E) by the fitted law.
        mapped_intrinsic: f(return), the fitted map's I for the return.
        fitted_return: return that the fitted map gives for I(N, E).
        size_limited: whether more experience would help less than more parameters.
    """

    N: StoredFloats
    E: StoredFloats
    return_: StoredFloats = return_field()
    weight: StoredFloats
    intrinsic: StoredFloats
    mapped_intrinsic: StoredFloats
    fitted_return: StoredFloats
    size_limited: StoredBools

    @model_validator(mode="after")
    def _are_positive(self) -> Self:
        for name in ("N", "E", "weight"):
            if not (getattr(self, name) > 0).all():
                raise ValueError(f"{name} has values that are not positive")
        return self


class Estimates(Record):
    """The exponents by one objective or one choice of options."""

    alpha_N: float
    alpha_E: float
    beta: float
    nu: float
    log10_N_c: float
    log10_E_c: float
    N_opt_ref: float
    loss: float

    def law(self, compute_ref: float, delay: Delay = NO_DELAY) -> PowerLaw:
        """The law with these exponents; ``N_opt_ref`` is at ``compute_ref``, the delay that of the fit."""
        return PowerLaw.from_optimum(
            self.nu, self.alpha_N + self.alpha_E, N_opt=self.N_opt_ref, compute=compute_ref, delay=delay
        )


class ExclusionFit(Estimates):
    """A refit without another share of early training."""

    early_exclusion: float


class OtherObjective(Estimates):
    """The fit of the same curves by the other objective, as a check."""

    objective: Objective
    intervals: dict[str, Interval]


class Provenance(Columns):
    """The source of the curves; null in ``sweep``, ``task``, ``algorithm``, ``horizon``: all of them.

    ``widths`` are those of ``sizes``; empty where these have none, or not each its own.
    """

    source: str
    sweep: str | None
    task: str | None = None
    algorithm: str | None = None
    horizon: float | None = None
    size: SizeColumn
    run_ids: list[str]
    sizes: StoredFloats
    seeds_per_size: StoredInts
    notes: list[str]
    tasks: list[str]
    widths: StoredFloats = Field(default_factory=lambda: np.empty(0))


class FitResult(Result):
    """A fitted law with its intervals, warnings and points.

    ``intervals`` are 90% percentile intervals of a bootstrap over runs, for ``alpha_N``,
    ``alpha_E``, ``beta``, ``nu``, ``log10_N_c``, ``log10_E_c``, ``N_c``, ``E_c`` and
    ``N_opt_ref``, the optimal size at ``compute_ref``, which lies within the data. ``systematic`` is
    the largest change of an estimate when other shares of early training are dropped.
    ``intervals_bias_corrected`` are the same, corrected for the median bias of the draws;
    ``intervals_total`` are stretched to hold the refits without more of early training, no delay where
    several were weighed, the parabolas without a law where they disagree, and that of nu where the objective
    is flat beyond it. ``profile`` is the objective over nu, ``isoflop`` a check of nu without the law
    (``rlscale.analysis.fit.isoflop``),
    ``size_effect`` how far sizes differ beyond law and seeds (``rlscale.analysis.fit.size_effects``).
    ``identified`` is false if a warning says that the data do not determine the exponents; see
    ``rlscale.analysis.fit.identifiability``. Null if not requested, or not known to the curves:
    ``periods`` (``rlscale.analysis.studies.refits``), ``size_measures`` (the same), ``metric``
    (``rlscale.analysis.studies.natural_metrics``), ``interaction_flops`` and ``health``, which says which
    runs did not train well (``rlscale.analysis.studies.health``). ``late_start`` says where
    learning starts and, if the gate is not ``none``, with which delay the law holds
    (``rlscale.analysis.fit.late_start``); null if the fit was told to ignore it.
    """

    kind: Literal["rlscale fit"] = "rlscale fit"
    schema_version: int = SCHEMA_VERSION
    objective: Objective
    alpha_N: float
    alpha_E: float
    beta: float
    N_c: float
    E_c: float
    nu: float
    log10_N_c: float
    log10_E_c: float
    compute_ref: float
    N_opt_ref: float
    loss: float
    intervals: dict[str, Interval]
    interval_level: float = INTERVAL_LEVEL
    systematic: dict[str, float]
    identified: bool
    warnings: list[str]
    warning_codes: list[str]
    num_points: int
    num_binned_points: int
    num_runs: int
    num_sizes: int
    range: DataRange
    size_limited_share: float
    monotone_map: MonotoneMap
    points: FitPoints
    frontier: Frontier
    exclusion_fits: list[ExclusionFit]
    other_objective: OtherObjective
    bootstrap: Draws
    options: dict[str, Any]
    provenance: Provenance
    periods: list[PeriodFit] | None = None
    size_measures: list[SizeMeasureFit] | None = None
    metric: MetricStudy | None = None
    interaction_flops: InteractionFlops | None = None
    intervals_bias_corrected: dict[str, Interval] = Field(default_factory=dict)
    intervals_total: dict[str, Interval] = Field(default_factory=dict)
    isoflop: IsoflopCheck | None = None
    profile: NuProfile | None = None
    size_effect: SizeEffect | None = None
    late_start: LateStart | None = None
    health: HealthStudy | None = None

    @model_validator(mode="after")
    def _warnings_have_codes(self) -> Self:
        if len(self.warnings) != len(self.warning_codes):
            raise ValueError(f"there are {len(self.warnings)} warnings and {len(self.warning_codes)} codes")
        return self

    def headline(self) -> str:
        """nu with its interval, whether it is identified, and what it rests on."""
        known = "identified" if self.identified else "not identified"
        return (
            f"nu = {with_interval(self.nu, self.total_interval('nu'))}, {known}; "
            f"{self.num_runs} runs of {self.num_sizes} sizes"
        )

    def summary(self) -> pd.DataFrame:
        """A row for each estimate, with the ends of ``interval`` and those of the bootstrap alone.

        ``systematic`` is the largest change when other shares of early training are dropped, in the unit of
        the row (of N_opt_ref: a factor).
        """
        names = ("nu", "alpha_N", "alpha_E", "beta", "N_opt_ref", "log10_N_c", "log10_E_c")
        shifts = {**self.systematic, "N_opt_ref": 10 ** self.systematic.get("log10_N_opt_ref", float("nan"))}
        rows = {
            name: {
                "estimate": getattr(self, name),
                **ends(self.total_interval(name)),
                **ends(self.intervals.get(name), "bootstrap_"),
                "systematic": shifts.get(name, float("nan")),
            }
            for name in names
        }
        return frame_of_rows(rows, "estimate of")

    def to_frame(self) -> pd.DataFrame:
        """The points of the fit, one row each; columns as in ``FitPoints``."""
        return frame_of_columns(self.points)

    def draws(self) -> pd.DataFrame:
        """The estimates of each draw of the bootstrap, one row a draw."""
        import pandas as pd

        return pd.DataFrame([law.estimates() for law in self.draw_laws()]).rename_axis("draw")

    def facts(self) -> list[str]:
        """The range of compute, and where N_opt_ref is."""
        low, high = self.range.C
        return [
            f"Compute {brief_number(low)} to {brief_number(high)}, objective {self.objective}; N_opt_ref is "
            f"the optimal size at compute {brief_number(self.compute_ref)}."
        ]

    @property
    def law(self) -> PowerLaw:
        """The fitted law."""
        return PowerLaw.from_optimum(
            self.nu,
            self.alpha_N + self.alpha_E,
            N_opt=self.N_opt_ref,
            compute=self.compute_ref,
            delay=self.delay,
        )

    @property
    def delay(self) -> Delay:
        """The delay of learning that the law has; none if learning does not start late."""
        late = self.late_start
        return Delay(late.gate, late.delay) if late and late.gate != "none" else NO_DELAY

    @property
    def not_before(self) -> float:
        """Environment steps before which a late start left out rows; 0 without one."""
        return self.late_start.not_before if self.late_start else 0.0

    def predict_intrinsic(self, num_params: float, interactions: float) -> float:
        """I(N, E) by the fitted law."""
        return float(self.law.intrinsic(num_params, interactions))

    def predict_return(self, num_params: ArrayLike, interactions: ArrayLike) -> Floats:
        """Return after ``interactions`` environment steps with ``num_params``, inputs broadcast together.

        NaN where the map between return and intrinsic performance would have to be extrapolated.
        """
        log_n, log_e = (np.log(np.asarray(x, float)) for x in (num_params, interactions))
        return self.monotone_map.known_return_of_log(self.law.log_intrinsic(log_n, log_e))

    def forecast(
        self,
        computes: float | Sequence[float] = (),
        *,
        returns: float | Sequence[float] = (),
        env_cost: float | None = None,
    ) -> ForecastResult:
        """The compute-optimal size for each compute, and what each return takes; see ``rlscale.forecast``.

        Raises:
            InputError: as ``rlscale.forecast``.
        """
        from rlscale.analysis.forecast.sizes import forecast

        return forecast(self, computes, returns=returns, env_cost=env_cost)

    def total_interval(self, name: str) -> Interval | None:
        """The interval to state: the total one, or where only that of the draws is known, that.

        Args:
            name: of an estimate, as in ``intervals``.
        """
        return self.intervals_total.get(name) or self.intervals.get(name)

    def draw_laws(self) -> list[PowerLaw]:
        """The laws the bootstrap drew."""
        return self.bootstrap.laws(float(np.log(self.compute_ref)))


def read_fit(path: str | Path) -> FitResult:
    """The fit stored in a JSON file by ``rlscale fit --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a fit of this version.
    """
    return read_stored(path, FitResult, "rlscale fit SRC --json FILE")
