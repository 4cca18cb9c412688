"""Statements of forecasts that can be scored: returns of runs that were not made, nu and N_opt.

A return is the law's, through the increasing map continued beyond the data, with three sources of spread:

* the law of each bootstrap draw, with a continuation of the map drawn from a tail of its own;
* what the law misses. Within the sizes measured: a residual of the fit, from the points nearest in log I.
  Beyond them: what the same law missed at sizes that it was not fitted to, as far beyond the others as
  the new size is, at the points nearest in log E. These few errors are moved away from their mean by
  sqrt(1 + 1/n) · t/z, as a prediction from n of them needs;
* the noise of the run itself: how runs differ from the mean of their size, over the same window, at the
  points nearest in log I.

At more compute than was measured the quantiles are also at least as far from the estimate as the errors of
predictions from earlier ends of the data (``rlscale.analysis.forecast.rolling_origin``).

The baseline of returns is the curve of the nearest size, its last value carried forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import MIN_SIZES, Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.extended_map import LawWithMap
from rlscale.analysis.forecast.record import (
    HALF_WINDOW,
    LEVELS,
    Item,
    SealedCurves,
    Statement,
    curves_hash,
    sha256_of,
)
from rlscale.analysis.forecast.rolling_origin import RollingOrigin
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import INTERVAL_LEVEL, CodedWarning, warning_fields
from rlscale.analysis.studies.backtest.splits import late_rows, naive_frontier, naive_returns, score_points
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

_TAILS = (0.1, 0.4)  # shares of the map's range from which draws continue it
_NEAR = 0.15  # share of the points whose residuals a forecast draws from
_LEAST_NEAR = 12
_HELD_OUT = 1 / 3  # share of the sizes, the largest, that are predicted from smaller ones
_DRAWS = 4000
_NEARLY = 1.05  # a size that is less than this beyond the others counts as within


@dataclass(frozen=True)
class RunToCome:
    """Where a return will be measured: ``runs`` new runs of size N, at E environment steps."""

    N: float
    E: float
    runs: int = 1


def seal(
    fit: FitResult,
    curves: Curves,
    at: Sequence[RunToCome] = (),
    *,
    computes: Sequence[float] = (),
    title: str = "",
    seed: int = 0,
) -> Statement:
    """A statement of the returns at each point, nu, and N_opt at each compute, sealed now.

    Args:
        fit: with bootstrap draws.
        curves: those of the fit.
        at: where returns will be measured; more than one run adds their mean.
        computes: C at which N_opt will be estimated by a fit of old and new runs.
        title: what is forecast, for people.
        seed: of the draws.

    Raises:
        InputError: if there is nothing to forecast (code ``nothing_to_forecast``), the fit has no draws
            (``no_bootstrap``), the curves are not the fit's (``curves_of_another_fit``), or a number cannot
            be used (``invalid_number``).
    """
    _check(fit, curves, at, computes)
    options = fit.options
    estimator = JointScalingFit(
        objective=fit.objective,
        early_exclusion=options["early_exclusion"],
        bin_width=options["bin_width"],
        smoothing=options["smoothing"],
        replicates=0,
    )
    points = score_points(curves, estimator)
    predictor = _Predictor.of(fit, curves, points, estimator, np.random.default_rng(seed))
    items = [item for place in at for item in _returns(predictor, place)]
    items.append(_item("nu", fit.bootstrap.nu, baselines={"half": 0.5}))
    frontier = efficient_frontier(points)
    for compute in computes:
        drawn = np.array([law.N_opt(compute) for law in fit.draw_laws()])
        _, best = naive_frontier(points, frontier, np.log([compute]))
        beyond = _beyond_compute(fit, compute)
        items.append(
            _item("N_opt", drawn, compute=compute, baselines={"frontier_end": best[0]}, beyond=beyond)
        )
    return Statement(
        sealed=datetime.now(UTC).isoformat(timespec="seconds"),
        rlscale_version=version("rlscale"),
        title=title,
        task=_only(curves, "task"),
        algorithm=_only(curves, "algorithm"),
        horizon=_only(curves, "horizon"),
        size=curves.size,
        curves=SealedCurves(source=curves.source, sha256=curves_hash(curves), run_ids=sorted(curves.run_ids)),
        fit_sha256=sha256_of(fit),
        options={
            "seed": seed,
            "draws": _DRAWS,
            "half_window": HALF_WINDOW,
            "map_scale": predictor.centre.map.scale,
            "objective": fit.objective,
            "early_exclusion": options["early_exclusion"],
        },
        items=items,
        **warning_fields(_warnings(fit, items)),
    ).with_seal()


# -- returns ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Predictor:
    """The fit as a predictor of the returns of new runs.

    Attributes:
        centre: the law with its map; ``draws``: one like it for each bootstrap draw.
        points: of the fit's curves, in bins as wide as the window of a measured return.
        noise: difference of a run from the mean of its size in each bin, with its ``log_i``.
        smaller: the law of each choice of sizes that was needed so far.
        earlier_ends: errors of predictions from less compute.
    """

    fit: FitResult
    curves: Curves
    estimator: JointScalingFit
    points: BinnedPoints
    centre: LawWithMap
    draws: list[LawWithMap]
    noise: pd.DataFrame
    earlier_ends: RollingOrigin
    rng: np.random.Generator
    smaller: dict[tuple[float, ...], LawWithMap] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        fit: FitResult,
        curves: Curves,
        points: BinnedPoints,
        estimator: JointScalingFit,
        rng: np.random.Generator,
    ) -> _Predictor:
        centre = LawWithMap.through(fit.law, points)
        draws = [LawWithMap.through(law, points, tail=rng.uniform(*_TAILS)) for law in fit.draw_laws()]
        noise = _noise_of_runs(curves.with_rows(late_rows(curves, estimator.early_exclusion)))
        noise["log_i"] = fit.law.log_intrinsic(noise["log_n"].to_numpy(), noise["log_e"].to_numpy())
        ends = RollingOrigin(fit.law, points, fit.objective, LawWithMap.through)
        return cls(fit, curves, estimator, points, centre, draws, noise, ends, rng)

    def sample(self, place: RunToCome, runs: int) -> Floats:
        """Draws of the mean return of ``runs`` new runs, shape ``(draws,)``."""
        log_n, log_e = np.log(place.N), np.log(place.E)
        log_i = self.centre.law.log_intrinsic(log_n, log_e)
        chosen = self.rng.integers(len(self.draws), size=_DRAWS)
        returns = np.array([float(draw.predict(log_n, log_e)) for draw in self.draws])[chosen]
        missed = self._missed(place, float(log_i))
        noise = _nearest(self.noise["log_i"].to_numpy(), self.noise["deviation"].to_numpy(), float(log_i))
        returns = returns + self.rng.choice(missed, _DRAWS)
        own_noise = self.rng.choice(noise, (runs, _DRAWS)).mean(axis=0)
        returns = returns + own_noise
        later = self.earlier_ends.misses_later(float(log_n), float(log_e))
        if len(later):
            signs = self.rng.choice([-1.0, 1.0], _DRAWS)
            beyond = self.centre.predict(log_n, log_e) + signs * self.rng.choice(later, _DRAWS) + own_noise
            returns = outer(returns, beyond)
        low, high = self.curves.return_bounds or (
            (0.0, 1.0) if self.centre.map.scale == "failure" else (-np.inf, np.inf)
        )
        return np.clip(returns, low, high)

    def _missed(self, place: RunToCome, log_i: float) -> Floats:
        """Measured minus predicted where the fit had as little to go by."""
        sizes = self.curves.sizes
        beyond = _times_beyond(sizes, place.N)
        if beyond == 1:
            at = self.centre.law.log_intrinsic(self.points.log_n, self.points.log_e)
            return _nearest(at, self.points.returns - self.centre.map.return_of(at), log_i)
        errors = self._errors_beyond(sizes if sizes[-1] < place.N else sizes[::-1], beyond)
        near = [_nearest(log_e, error, np.log(place.E)) for log_e, error in errors]
        pooled, count = np.concatenate(near), len(near)
        level = (1 + INTERVAL_LEVEL) / 2
        factor = np.sqrt(1 + 1 / count) * student.ppf(level, max(count - 1, 1)) / norm.ppf(level)
        return pooled.mean() + factor * (pooled - pooled.mean())

    def _errors_beyond(self, sizes: Floats, ratio: float) -> list[tuple[Floats, Floats]]:
        """(log E, measured - predicted) of the last sizes, each by the law of sizes ``ratio`` times before.

        Args:
            sizes: all, ascending or descending.
            ratio: above 1.

        Raises:
            InputError: if no size can be predicted so from at least three others.
        """
        first = max(len(sizes) - max(round(_HELD_OUT * len(sizes)), 1), MIN_SIZES)
        found = []
        for held_out in range(first, len(sizes)):
            # The training sizes end as far before this one as all sizes end before the new one.
            factor = np.abs(np.log(sizes[:held_out] / sizes[held_out]))
            last = int(np.abs(factor - np.log(ratio)).argmin())
            if last + 1 < MIN_SIZES:
                continue
            law = self._law_of(tuple(sizes[: last + 1].tolist()))
            mine = np.isclose(self.points.log_n, np.log(sizes[held_out]))
            log_n, log_e = self.points.log_n[mine], self.points.log_e[mine]
            found.append((log_e, self.points.returns[mine] - law.predict(log_n, log_e)))
        if not found:
            raise InputError(
                f"{self.curves.source} has too few sizes to tell how the law errs {ratio:.2g} times beyond "
                f"them; forecast a nearer size, or add sizes.",
                code="too_few_sizes",
            )
        return found

    def _law_of(self, sizes: tuple[float, ...]) -> LawWithMap:
        """The law fitted to these sizes alone."""
        if sizes not in self.smaller:
            of_row = self.curves.run_sizes[self.curves.run_index]
            train = self.curves.with_rows(np.isin(of_row, sizes))
            law = self.estimator.estimate(train).law
            self.smaller[sizes] = LawWithMap.through(law, score_points(train, self.estimator))
        return self.smaller[sizes]


def outer(one: Floats, other: Floats) -> Floats:
    """A sample of the size of two whose quantiles are the outer of theirs, on either side of the median."""
    one, other = np.sort(one), np.sort(other)
    lower = np.arange(len(one)) < len(one) / 2
    return np.where(lower, np.minimum(one, other), np.maximum(one, other))


def _noise_of_runs(curves: Curves) -> pd.DataFrame:
    """How each run differs from the mean of its size, in bins of log E as wide as a measurement's window."""
    rows = pd.DataFrame(
        {
            "run": curves.run_index,
            "log_n": np.log(curves.run_sizes[curves.run_index]),
            "log_e": np.log(curves.interactions),
            "return": curves.returns,
        }
    )
    rows["bin"] = np.floor(rows["log_e"] / (2 * HALF_WINDOW))
    runs = rows.groupby(["log_n", "bin", "run"], as_index=False)[["log_e", "return"]].mean()
    of_size = runs.groupby(["log_n", "bin"])["return"]
    count = of_size.transform("size")
    runs["deviation"] = (runs["return"] - of_size.transform("mean")) * np.sqrt(count / (count - 1.0).clip(1))
    return runs[count > 1].reset_index(drop=True)


def _nearest(at: Floats, values: Floats, wanted: float) -> Floats:
    """The values nearest in ``at``."""
    count = min(max(int(_NEAR * len(at)), _LEAST_NEAR), len(at))
    return values[np.argsort(np.abs(at - wanted), kind="stable")[:count]]


def _returns(predictor: _Predictor, place: RunToCome) -> list[Item]:
    """The return of one run, and the mean of the runs if there are more."""
    points, curves = predictor.points, predictor.curves
    log_n, log_e = np.log([place.N]), np.log([place.E])
    naive = {"nearest_size": float(naive_returns(points, log_n, log_e)[0])}
    same = np.isclose(curves.run_sizes, place.N, rtol=1e-6)
    width = curves.table["width"][same].iloc[0] if "width" in curves.table and same.any() else None
    where = {
        "N": place.N,
        "E": place.E,
        "width": None if width is None or pd.isna(width) else float(width),
        "baselines": naive,
        "beyond": _beyond(predictor, place),
    }
    items = [_item("return", predictor.sample(place, 1), **where)]
    if place.runs > 1:
        items.append(_item("mean_return", predictor.sample(place, place.runs), runs=place.runs, **where))
    return items


def _item(quantity: str, drawn: Floats, **fields: object) -> Item:
    values = np.quantile(drawn, LEVELS, method="weibull")
    quantiles = {f"{level:g}": float(value) for level, value in zip(LEVELS, values, strict=True)}
    return Item.model_validate({"quantity": quantity, "quantiles": quantiles, **fields})


# -- what is beyond the data, and checks ----------------------------------------------


def _times_beyond(sizes: Floats, size: float) -> float:
    """By which factor a size lies beyond the ``sizes``, ascending; 1 within them, or nearly."""
    ratio = max(size / float(sizes[-1]), float(sizes[0]) / size)
    return ratio if ratio > _NEARLY else 1.0


def _beyond(predictor: _Predictor, place: RunToCome) -> str | None:
    sizes = predictor.curves.sizes
    reasons = []
    if (ratio := _times_beyond(sizes, place.N)) > 1:
        reasons.append(f"{ratio:.2g} times {'above' if sizes[-1] < place.N else 'below'} all sizes")
    if bool(predictor.centre.beyond(np.log(place.N), np.log(place.E))):
        reasons.append("beyond the fitted map")
    return ", ".join(reasons) or None


def _beyond_compute(fit: FitResult, compute: float) -> str | None:
    low, high = fit.range.C
    outside = max(np.log10(compute / high), np.log10(low / compute))
    return f"{outside:.1f} decades outside the compute of the data" if outside > 0 else None


def _only(curves: Curves, column: str) -> Any:
    """The value that all runs share; None if there is none."""
    values = set(curves.table[column].dropna()) if column in curves.table else set()
    return values.pop() if len(values) == 1 else None


def _check(fit: FitResult, curves: Curves, at: Sequence[RunToCome], computes: Sequence[float]) -> None:
    if not (at or computes):
        raise InputError(
            f"There is nothing to seal: give where returns will be measured, e.g. "
            f"{either('--at 1e6:2e5', 'RunToCome(1e6, 2e5)')}, or a compute for N_opt, e.g. "
            f"{either('--compute 1e12', 'computes=[1e12]')}.",
            code="nothing_to_forecast",
        )
    for value in [*computes, *(x for place in at for x in (place.N, place.E, place.runs))]:
        check_quantity("Each size, number of steps or runs, and compute", value)
    for place in at:
        if place.N < 1 and curves.size != "flops":
            raise InputError(
                f"--at {place.N:g}:{place.E:g}: a size is at least one parameter.", code="below_one_parameter"
            )
    if not fit.bootstrap.replicates:
        raise InputError(
            f"The fit has no bootstrap draws, so its forecasts have no quantiles; fit with "
            f"{either('--bootstrap 1000', 'replicates=1000')}.",
            code="no_bootstrap",
        )
    if sorted(fit.provenance.run_ids) != sorted(curves.run_ids) or fit.provenance.size != curves.size:
        raise InputError(
            f"{curves.source} does not hold the runs of the fit; give the curves that were fitted "
            f"({fit.provenance.source}) with --curves.",
            code="curves_of_another_fit",
        )


def _warnings(fit: FitResult, items: Sequence[Item]) -> list[CodedWarning]:
    beyond = sum(item.beyond is not None for item in items)
    own = [("extrapolation", f"{beyond} of {len(items)} items are extrapolations.")] if beyond else []
    return [*zip(fit.warning_codes, fit.warnings, strict=True), *own]
