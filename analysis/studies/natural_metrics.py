"""Natural metrics of performance: which transform of the return is a power of intrinsic performance.

Intrinsic performance relabels returns so that the efficient frontier becomes a line, whatever their
scale. For some tasks a familiar scale does the same (Hilton, Tang, Schulman 2023,
section 4.5): the fail-to-success ratio F = (R_max - R)/(R - R_min) of CoinRun falls as I^-0.40 to
I^-0.48, and for ratings F = exp(-k R) takes its place: the odds against a fixed reference, with
k = ln(10)/400 for Elo. A metric is natural if log F against log I is a straight line, F ∝ I^-q.

The k of TrueSkill depends on the settings of the rating, and a line is straight for any k. So k, if not
given, is the one with q = 1: then 1/k is the rating gained while I grows e-fold.

Points are averages over seeds in bins of log E, weighted as in the fit. The bootstrap draws whole runs, as
the fit's does, and fits law and line again to each draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from scipy.optimize import minimize_scalar

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.findings import MetricPoints, MetricStudy, StraightLine
from rlscale.analysis.fit.objectives import make_objective
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import resample
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

Kind = Literal["return", "log-failure", "fail-ratio", "elo", "trueskill"]

ELO_K = float(np.log(10) / 400)
#: Width of the bins of log E: near certain success, noise makes F of a single batch 0 or huge.
BIN_WIDTH = 0.1
REPLICATES = 200
_MIN_POINTS = 10
#: How far above the best return a maximum may lie, in ranges of the returns.
_REACH = (1e-4, 10.0)
_FORMULAS: dict[Kind, str] = {
    "return": "R = constant + q ln I",
    "log-failure": "R_max - R ∝ I^-q",
    "fail-ratio": "(R_max - R)/(R - R_min) ∝ I^-q",
    "elo": "exp(-k R) ∝ I^-q, k = ln(10)/400",
    "trueskill": "exp(-k R) ∝ I^-q",
}
_CONSTANTS: dict[Kind, tuple[str, ...]] = {
    "return": (),
    "log-failure": ("max",),
    "fail-ratio": ("min", "max"),
    "elo": (),
    "trueskill": ("k",),
}


@dataclass(frozen=True)
class MetricRequest:
    """A requested metric: its kind, or ``auto``, with the constants given for it."""

    kind: Kind | Literal["auto"]
    constants: dict[str, float]
    typed: str


@dataclass(frozen=True)
class _Candidate:
    """A transform with its constants, except a maximum that the line determines."""

    kind: Kind
    constants: dict[str, float]
    chosen: str
    infer_max: bool = False


@dataclass(frozen=True)
class _Line:
    """Weighted least squares of y on ln I: a line, and a parabola to compare it with."""

    intercept: float
    q: float
    r_squared: float
    r_squared_curved: float
    curvature: float
    constants: dict[str, float]


def parse_metric(text: str) -> MetricRequest:
    """``fail-ratio:min=0,max=10``, ``trueskill:k=0.3``, ``elo``, ``return``, ``log-failure`` or ``auto``.

    Raises:
        InputError: if there is no such metric (code ``unknown_metric``), or a constant does not belong to it
            or is not a number (``invalid_metric``).
    """
    kind, _, rest = text.partition(":")
    kinds = (*get_args(Kind), "auto")
    if kind not in kinds:
        raise InputError(f"--metric {text!r} is not known: choose {', '.join(kinds)}.", code="unknown_metric")
    allowed = ("min", "max") if kind == "auto" else _CONSTANTS[cast(Kind, kind)]
    constants: dict[str, float] = {}
    for part in rest.split(",") if rest else []:
        name, _, number = part.strip().partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if name not in allowed or not np.isfinite(value):
            takes = " and ".join(f"{a}=NUMBER" for a in allowed) or "no constants"
            raise InputError(
                f"--metric {text!r}: {part!r} cannot be used; {kind} takes {takes}.", code="invalid_metric"
            )
        constants[name] = value
    if "min" in constants and "max" in constants and constants["min"] >= constants["max"]:
        raise InputError(f"--metric {text!r}: min must be below max.", code="invalid_metric")
    if "k" in constants and constants["k"] <= 0:
        raise InputError(f"--metric {text!r}: k must be positive.", code="invalid_metric")
    return MetricRequest(cast(Kind, kind), constants, text)


def study_metric(curves: Curves, fit: FitResult, request: MetricRequest) -> MetricStudy:
    """How straight each candidate is against log I, its exponent q, and which is straightest.

    Args:
        curves: those of ``fit``.
        fit: supplies the law, the options of preprocessing and the scheme of the bootstrap.
        request: one metric, or ``auto`` for a comparison.

    Raises:
        InputError: if a return lies outside the given limits, or too few points are left.
    """
    candidates = _candidates(curves, fit, request)
    preprocessor = Preprocessor(
        curves,
        early_exclusion=float(fit.options["early_exclusion"]),
        bin_width=float(fit.options["bin_width"]),
        smoothing=float(fit.options["smoothing"]),
        not_before=fit.not_before,
    )
    points = _coarse(preprocessor.points())
    _check_limits(curves, points, candidates)
    log_i = fit.law.log_intrinsic(points.log_n, points.log_e)
    lines = [_line(candidate, points, log_i) for candidate in candidates]
    drawn = _draws(curves, fit, preprocessor, candidates)
    found = [
        _record(candidate, line, points, [row[i] for row in drawn], fit.bootstrap.widening)
        for i, (candidate, line) in enumerate(zip(candidates, lines, strict=True))
    ]
    found.sort(key=lambda item: -item.r_squared)
    return MetricStudy(
        asked=request.typed,
        best=found[0].name,
        candidates=found,
        points=MetricPoints(
            N=np.exp(points.log_n),
            intrinsic=np.exp(log_i),
            return_=points.returns,
            weight=points.weight,
        ),
    )


def transformed(kind: str, constants: dict[str, float], returns: Floats) -> Floats:
    """y of each return, a logarithm of F for all but ``return``; infinite or not a number at a limit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "return":
            return -returns
        if kind == "log-failure":
            return np.log(constants["max"] - returns)
        if kind == "fail-ratio":
            return np.log(constants["max"] - returns) - np.log(returns - constants["min"])
        return -constants["k"] * returns


# -- candidates -------------------------------------------------------------------


def _candidates(curves: Curves, fit: FitResult, request: MetricRequest) -> list[_Candidate]:
    if request.kind == "auto":
        found = [_candidate(curves, fit, kind, request) for kind in ("return", "log-failure")]
        if "min" in request.constants or float(curves.returns.min()) >= 0:
            found.append(_candidate(curves, fit, "fail-ratio", request))
        return found
    return [_candidate(curves, fit, request.kind, request)]


def _candidate(curves: Curves, fit: FitResult, kind: str, request: MetricRequest) -> _Candidate:
    given = {name: value for name, value in request.constants.items() if name in _CONSTANTS[cast(Kind, kind)]}
    if kind == "return":
        return _Candidate("return", {}, "Returns as they are.")
    if kind == "elo":
        return _Candidate("elo", {"k": ELO_K}, "k follows from the definition of Elo.")
    if kind == "trueskill":
        chosen = "k as given." if given else "k is the one with q = 1: ratings alone determine q/k."
        return _Candidate("trueskill", given, chosen)
    accuracy = curves.returns_are_accuracies
    constants, said, infer = dict(given), [f"{n} = {v:g} as given" for n, v in given.items()], False
    if kind == "fail-ratio" and "min" not in given:
        if float(curves.returns.min()) < 0:
            raise InputError(
                "The fail-to-success ratio needs the lowest possible return if some are negative; "
                "give --metric fail-ratio:min=NUMBER,max=NUMBER.",
                code="missing_option",
            )
        constants["min"] = 0.0
        said.append("min = 0 since no return is negative")
    if "max" not in given:
        infer = not accuracy
        if accuracy:
            constants["max"] = 1.0
        said.append(
            "max = 1 since the return of a bandit is its accuracy"
            if accuracy
            else "max is the one that makes the line straightest"
        )
    return _Candidate(cast(Kind, kind), constants, "; ".join(said) + ".", infer)


def _check_limits(curves: Curves, points: BinnedPoints, candidates: list[_Candidate]) -> None:
    """No return may exceed the maximum; no averaged one may be below the minimum.

    A minimum may be the return of random play, and a single batch can fall below it.
    """
    for candidate in candidates:
        high, low = candidate.constants.get("max", np.inf), candidate.constants.get("min", -np.inf)
        largest, least = float(curves.returns.max()), float(points.returns.min())
        if largest > high:
            raise InputError(
                f"A return of {largest:g} is above max={high:g}; give a max that none exceeds.",
                code="return_outside_limits",
            )
        if least < low:
            raise InputError(
                f"A mean return of {least:g} is below min={low:g}; give a lower min.",
                code="return_outside_limits",
            )


# -- lines ------------------------------------------------------------------------


def _line(candidate: _Candidate, points: BinnedPoints, log_i: Floats) -> _Line:
    if candidate.infer_max:
        return _with_best_max(candidate, points, log_i)
    return _with_constants(candidate, candidate.constants, points, log_i)


def _with_best_max(candidate: _Candidate, points: BinnedPoints, log_i: Floats) -> _Line:
    top, span = float(points.returns.max()), float(np.ptp(points.returns))

    def line(log_reach: float) -> _Line:
        constants = {**candidate.constants, "max": top + span * float(np.exp(log_reach))}
        return _with_constants(candidate, constants, points, log_i)

    bounds = tuple(np.log(_REACH))
    found = minimize_scalar(lambda x: -line(x).r_squared, bounds=bounds, method="bounded")
    return line(float(found.x))


def _with_constants(
    candidate: _Candidate, constants: dict[str, float], points: BinnedPoints, log_i: Floats
) -> _Line:
    fit_k = candidate.kind == "trueskill" and "k" not in constants
    y = transformed(candidate.kind, {"k": 1.0} if fit_k else constants, points.returns)
    usable = np.isfinite(y)
    if usable.sum() < _MIN_POINTS or np.ptp(y[usable]) == 0:
        raise InputError(
            f"Metric {candidate.kind}: only {int(usable.sum())} averaged returns lie inside its limits and "
            f"differ, {_MIN_POINTS} are needed; give other limits, or curves with more progress.",
            code="too_few_points",
        )
    # The centre of mass as origin keeps the parabola's equations well conditioned.
    w = points.weight[usable] / points.weight[usable].sum()
    x, y = log_i[usable], y[usable]
    centre = float(w @ x)
    straight, curved = (np.polyfit(x - centre, y, degree, w=np.sqrt(w)) for degree in (1, 2))
    variance = float(w @ (y - w @ y) ** 2)
    left, left_curved = (
        float(w @ (y - np.polyval(c, x - centre)) ** 2) / variance for c in (straight, curved)
    )
    slope = float(straight[0])
    scale = -1.0 / slope if fit_k else 1.0
    return _Line(
        intercept=scale * (float(straight[1]) - slope * centre),
        q=-scale * slope,
        r_squared=1 - left,
        r_squared_curved=1 - left_curved,
        curvature=-scale * 2 * float(curved[0]) * float(np.log(10)),
        constants={"k": scale} if fit_k else constants,
    )


def _record(
    candidate: _Candidate, line: _Line, points: BinnedPoints, draws: list[_Line], widening: float
) -> StraightLine:
    usable = np.isfinite(transformed(candidate.kind, line.constants, points.returns))
    values: dict[str, Callable[[_Line], float]] = {
        "q": lambda one: one.q,
        "curvature": lambda one: one.curvature,
        "r_squared": lambda one: one.r_squared,
        **{name: (lambda one, name=name: one.constants[name]) for name in _free(candidate)},  # type: ignore[misc]
    }
    intervals, p_value = {}, None
    for name, value in values.items() if draws else ():
        drawn = np.array([value(one) for one in draws])
        middle = np.median(drawn)
        wide = middle + widening * (drawn - middle)
        low, high = percentile_interval(wide)
        intervals[name] = (float(low), float(min(high, 1.0) if name == "r_squared" else high))
        if name == "curvature":
            beyond = min(int((wide <= 0).sum()), int((wide >= 0).sum()))
            p_value = min(2 * (beyond + 1) / (len(wide) + 1), 1.0)
    return StraightLine(
        name=candidate.kind,
        formula=_FORMULAS[candidate.kind],
        constants=line.constants,
        chosen=candidate.chosen,
        intercept=line.intercept,
        q=line.q,
        r_squared=line.r_squared,
        r_squared_curved=line.r_squared_curved,
        curvature=line.curvature,
        curvature_p=p_value,
        intervals=intervals,
        num_points=int(usable.sum()),
        num_left_out=int((~usable).sum()),
    )


def _free(candidate: _Candidate) -> tuple[str, ...]:
    """Constants that the data determine, and that have intervals."""
    if candidate.infer_max:
        return ("max",)
    return ("k",) if candidate.kind == "trueskill" and not candidate.constants else ()


# -- points and draws -------------------------------------------------------------


def _draws(
    curves: Curves, fit: FitResult, preprocessor: Preprocessor, candidates: list[_Candidate]
) -> list[list[_Line]]:
    """The lines of each bootstrap draw of runs, law and line both fitted to it."""
    scheme = fit.bootstrap.scheme
    if scheme == "none":
        return []
    rng = np.random.default_rng(int(fit.options["seed"]))
    law, found = fit.law, []
    for _ in range(min(fit.bootstrap.replicates, REPLICATES)):
        drawn = preprocessor.points(resample(curves, scheme, rng), smooth=fit.objective == "paper")
        objective = make_objective(fit.objective, drawn.counted(law.delay), law.log_c0)
        theta = search_near(objective, law.theta).theta
        drawn_law = PowerLaw.from_theta(theta, law.log_c0, law.delay)
        points = _coarse(drawn)
        log_i = drawn_law.log_intrinsic(points.log_n, points.log_e)
        found.append([_line(candidate, points, log_i) for candidate in candidates])
    return found


def _coarse(points: BinnedPoints) -> BinnedPoints:
    """The points averaged once more, in bins of log E wide enough to reduce the noise of F."""
    cell = np.stack([points.size, np.floor(points.log_e / BIN_WIDTH).astype(np.int64)])
    (size, _), group = np.unique(cell, axis=1, return_inverse=True)
    group = group.ravel()
    total = np.bincount(group, weights=points.weight)

    def averaged(values: Floats) -> Floats:
        return np.asarray(np.bincount(group, weights=points.weight * values) / total)

    return BinnedPoints(
        log_n=averaged(points.log_n),
        log_e=averaged(points.log_e),
        returns=averaged(points.returns),
        smooth_returns=averaged(points.smooth_returns),
        response=averaged(points.response),
        weight=np.asarray(total, float),
        size=size,
    )
