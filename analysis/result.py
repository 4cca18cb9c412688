"""What a fit and a forecast return: frozen models that survive a round trip through JSON.

A fit's JSON file is all that ``forecast``, the plots and the report need.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from analysis.findings import (
    Budget,
    InteractionFlops,
    IsoflopCheck,
    MetricStudy,
    NuProfile,
    PeriodFit,
    ReturnForecast,
    SampleEfficiency,
    SizeMeasureFit,
)
from analysis.power_law import PowerLaw
from analysis.record import INTERVAL_LEVEL, Interval, SizeColumn
from analysis.record import Record as _Model
from analysis.record import return_field as _return
from scaling.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA_VERSION = 1

Objective = Literal["return", "paper"]


class DataRange(_Model):
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
    return_: Interval = _return()


class MonotoneMapRecord(_Model):
    """Knots of the increasing map between return and intrinsic performance, both strictly increasing."""

    return_: list[float] = _return()
    intrinsic: list[float]


class FitPoints(_Model):
    """The binned points the fit stands on, one list entry each, ordered by N then E.

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

    N: list[float]
    E: list[float]
    return_: list[float] = _return()
    weight: list[float]
    intrinsic: list[float]
    mapped_intrinsic: list[float]
    fitted_return: list[float]
    size_limited: list[bool]


class Frontier(_Model):
    """The model-free efficient frontier, points of increasing compute.

    Attributes:
        compute: N·E.
        N: the size that is best there.
        return_: its mean return over seeds (``return`` in the JSON).
        num_sizes: sizes that are best somewhere.
    """

    compute: list[float]
    N: list[float]
    return_: list[float] = _return()
    num_sizes: int


class Estimates(_Model):
    """The exponents by one objective or one choice of options."""

    alpha_N: float
    alpha_E: float
    beta: float
    nu: float
    log10_N_c: float
    log10_E_c: float
    N_opt_ref: float
    loss: float


class ExclusionFit(Estimates):
    """A refit that drops another share of early training."""

    early_exclusion: float


class OtherObjective(Estimates):
    """The same curves by the other objective, as a check."""

    objective: Objective
    intervals: dict[str, Interval]


class BootstrapDraws(_Model):
    """What the bootstrap drew, enough to put an interval on anything the law gives.

    Attributes:
        scheme: ``seeds`` (runs within size), ``sizes``, or ``none``.
        replicates: number of draws.
        widening: factor by which draws were moved away from their median for few seeds.
        nu, curvature, log_N_opt_ref: p, k and m of each draw, m at the fit's ``compute_ref``.
    """

    scheme: Literal["seeds", "sizes", "none"]
    replicates: int
    widening: float
    nu: list[float]
    curvature: list[float]
    log_N_opt_ref: list[float]


class Provenance(_Model):
    """Where the curves came from; null in ``sweep``, ``task``, ``algorithm``, ``horizon``: all of them."""

    source: str
    sweep: str | None
    task: str | None = None
    algorithm: str | None = None
    horizon: float | None = None
    size: SizeColumn
    run_ids: list[str]
    sizes: list[float]
    seeds_per_size: list[int]
    notes: list[str]
    tasks: list[str]


class FitResult(_Model):
    """A fitted law with its intervals, warnings and the points it stands on.

    ``intervals`` are 90% percentile intervals of a bootstrap over runs, for ``alpha_N``,
    ``alpha_E``, ``beta``, ``nu``, ``log10_N_c``, ``log10_E_c``, ``N_c``, ``E_c`` and
    ``N_opt_ref``, the optimal size at ``compute_ref``, which lies amid the data. ``systematic`` is
    the largest change of an estimate when other shares of early training are dropped.
    ``intervals_bias_corrected`` are the same, corrected for the median bias of the draws;
    ``intervals_total`` are stretched to hold the refits without more of early training. ``profile`` is
    the objective over nu, ``isoflop`` a check of nu without the law (``analysis.isoflop``).
    ``identified`` is false if a warning says that the data do not determine the exponents; see
    ``analysis.identifiability``. What was not asked for, or the curves do not know, is null:
    ``periods`` (``analysis.refits``), ``size_measures`` (the same), ``metric``
    (``analysis.natural_metrics``) and ``interaction_flops``.
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
    monotone_map: MonotoneMapRecord
    points: FitPoints
    frontier: Frontier
    exclusion_fits: list[ExclusionFit]
    other_objective: OtherObjective
    bootstrap: BootstrapDraws
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

    @property
    def law(self) -> PowerLaw:
        """The fitted law."""
        return PowerLaw(
            self.nu,
            self.alpha_N + self.alpha_E,
            float(np.log(self.N_opt_ref)),
            float(np.log(self.compute_ref)),
        )

    def predict_intrinsic(self, num_params: float, interactions: float) -> float:
        """I(N, E) by the fitted law."""
        return float(self.law.intrinsic(num_params, interactions))

    def predict_return(self, num_params: ArrayLike, interactions: ArrayLike) -> NDArray[np.float64]:
        """Return after ``interactions`` environment steps with ``num_params``, inputs broadcast together.

        NaN where the map between return and intrinsic performance would have to be extrapolated.
        """
        log_i = np.log(self.law.intrinsic(num_params, interactions))
        knots = np.log(self.monotone_map.intrinsic)
        inside = (log_i >= knots[0]) & (log_i <= knots[-1])
        return np.where(inside, np.interp(log_i, knots, self.monotone_map.return_), np.nan)

    def optimal_size(self, compute: float, *, env_cost: float | None = None) -> Forecast:
        """The compute-optimal size with its interval; arguments as ``analysis.forecast.forecast``.

        Raises:
            InputError: if the compute or the cost cannot be used.
        """
        from analysis.forecast import forecast

        return forecast(self, [compute], env_cost=env_cost).forecasts[0]

    def to_json(self, path: str | Path | None = None) -> str:
        """The text that ``rlscale fit --json`` writes, also written to ``path`` if given."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def plot_intrinsic(self, ax: Axes | None = None) -> Axes:
        """Intrinsic performance against interactions, measured and fitted."""
        from analysis.figures.plots import intrinsic_by_size

        return intrinsic_by_size(self, ax=ax)

    def plot_frontier(self, ax: Axes | None = None) -> Axes:
        """Return against compute, with the efficient frontier."""
        from analysis.figures.plots import compute_frontier

        return compute_frontier(self, ax=ax)

    def plot_optimal_size(self, ax: Axes | None = None) -> Axes:
        """Compute-optimal size against compute, with its interval."""
        from analysis.figures.plots import optimal_size

        return optimal_size(self, ax=ax)

    def plot_monotone_map(self, ax: Axes | None = None) -> Axes:
        """The map between return and intrinsic performance."""
        from analysis.figures.plots import monotone_map

        return monotone_map(self, ax=ax)

    def plot_residuals(self, ax: Axes | None = None) -> Axes:
        """What the law leaves unexplained, along training."""
        from analysis.figures.plots import residuals

        return residuals(self, ax=ax)

    def plot_nu(self, ax: Axes | None = None) -> Axes:
        """Bootstrap draws of nu and the profile of the objective."""
        from analysis.figures.plots_nu import nu_draws

        return nu_draws(self, ax=ax)

    def draw_laws(self) -> list[PowerLaw]:
        """The laws the bootstrap drew."""
        draws, log_c0 = self.bootstrap, float(np.log(self.compute_ref))
        columns = zip(draws.nu, draws.curvature, draws.log_N_opt_ref, strict=True)
        return [PowerLaw(p, k, m, log_c0) for p, k, m in columns]


class Forecast(_Model):
    """What the law says for one compute.

    Attributes:
        compute: N·E.
        N_opt: compute-optimal size, in the unit of the fit's sizes.
        E_opt: environment steps for it.
        intervals: 90% intervals of ``N_opt`` and ``E_opt``; empty without a bootstrap.
        intervals_bias_corrected: the same, corrected for the median bias of the draws.
        intervals_total: the same, stretched to hold the optima of refits without more of early training.
        extrapolation: decades beyond the data's range of compute, 0 inside.
        return_: the return there, null where the map would have to be extrapolated.
        env_cost: environment's cost of one step in units of size, or null.
        N_with_env_cost, E_with_env_cost: the size and steps that reach the same intrinsic
            performance at the least E·(N + env_cost), or null.
        overspend: cost of (N_opt, E_opt) over that of the optimum with the environment's cost.
        budget: what the compute was bought with, null where it was given itself.
    """

    compute: float
    N_opt: float
    E_opt: float
    intervals: dict[str, Interval]
    extrapolation: float
    return_: float | None = _return()
    env_cost: float | None = None
    N_with_env_cost: float | None = None
    E_with_env_cost: float | None = None
    overspend: float | None = None
    budget: Budget | None = None
    intervals_bias_corrected: dict[str, Interval] = Field(default_factory=dict)
    intervals_total: dict[str, Interval] = Field(default_factory=dict)


class ForecastResult(_Model):
    """Forecasts with the warnings of the fit they rest on.

    Attributes:
        forecasts: one a compute or budget.
        returns: one a return that was asked for.
        sample_efficiency: of a reference learner, null where none was given.
    """

    kind: Literal["rlscale forecast"] = "rlscale forecast"
    schema_version: int = SCHEMA_VERSION
    forecasts: list[Forecast]
    objective: Objective
    identified: bool
    interval_level: float = INTERVAL_LEVEL
    warnings: list[str]
    options: dict[str, Any]
    returns: list[ReturnForecast] = Field(default_factory=list)
    sample_efficiency: SampleEfficiency | None = None


M = TypeVar("M", bound=_Model)


def read_fit(path: str | Path) -> FitResult:
    """The fit stored in a JSON file by ``rlscale fit --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a fit of this version.
    """
    return read_stored(path, FitResult, "rlscale fit SRC --json FILE")


def read_forecast(path: str | Path) -> ForecastResult:
    """The forecast stored in a JSON file by ``rlscale forecast --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a forecast of this version.
    """
    return read_stored(path, ForecastResult, "rlscale forecast FIT.json --json FILE")


def read_stored(path: str | Path, model: type[M], command: str) -> M:
    """The result that ``command`` stored in a JSON file.

    Args:
        model: what it is, with defaults for ``kind`` and ``schema_version``.

    Raises:
        InputError: if the file is missing, not JSON, or not such a result of this version.
    """
    remedy = f"write one with: {command}"
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); {remedy}.") from error
    kind = model.model_fields["kind"].default
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise InputError(f"{path} does not hold the result of {kind!r}; {remedy}.")
    version = model.model_fields["schema_version"].default
    if value.get("schema_version") != version:
        raise InputError(
            f"{path} has schema_version {value.get('schema_version')!r}, this version reads "
            f"{version}; {remedy}."
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged: field {where}: {first['msg']}; {remedy}.") from error
