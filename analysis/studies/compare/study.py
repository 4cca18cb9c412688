"""Which of two recipes takes less compute for a return, by how much, and how sure is that.

The compute multiplier at return R is C_A(R)/C_B(R), the least compute of each recipe on its efficient
frontier: since intrinsic performance I is that compute (Hilton, Tang, Schulman 2023, section 2.1), it is the
shift of log I between the recipes at one return. In order: both recipes' rows become points on one scale of
returns (``pooled``), three nested relations between the frontiers are fitted (``models``), runs are resampled
within size, seed by seed where seeds match (``draws``), and the smallest model that is not refuted is
reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves, require_fittable
from rlscale.analysis.fit.identifiability import SHARE_BOUNDS, limited_by_size
from rlscale.analysis.fit.joint_fit import OTHER_EXCLUSIONS
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.fit.result import DataRange
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.points.onset import find_start
from rlscale.analysis.points.preprocess import EARLY_EXCLUSION, BinnedPoints, Preprocessor
from rlscale.analysis.progress import told
from rlscale.analysis.records import CodedWarning, Interval, warning_fields
from rlscale.analysis.statistics.intervals import interval_of, percentile_interval
from rlscale.analysis.studies.compare.draws import Spread, draw
from rlscale.analysis.studies.compare.models import (
    SAME_EXPONENTS,
    Found,
    Model,
    ModelName,
    PairProblem,
    Recipes,
    fit_models,
)
from rlscale.analysis.studies.compare.pooled import PairedPreprocessor, PairedResampling, PairPoints
from rlscale.analysis.studies.compare.result import (
    Ceiling,
    Comparison,
    Growth,
    MeasuredMultiplier,
    ModelFit,
    MultiplierCurve,
    Power,
    RankingCrossing,
    Recipe,
    Verdict,
)
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

#: Level of the test of a better recipe, with draws as wide as estimates spread (``pooled.UNDERSTATED``).
SIGNIFICANCE = 0.05
#: Level of each of the two tests against ``factor``.
MODEL_SIGNIFICANCE = 0.03
_POWER = 0.8
_GRID = 41  # returns of the multiplier's curve
_BEYOND = float(np.log(1e3))  # how far beyond the common returns a crossing is looked for
_LARGEST = float(np.log(1e9))  # a multiplier above a ceiling counts as this in intervals
_MOST_SEEDS = 10**6
_NARROW = float(np.log(10))  # of log compute: less in common is hardly a frontier


@dataclass(frozen=True)
class Solution:
    """Two recipes and how their frontiers relate.

    Attributes:
        a, b, names, points: the recipes and their points.
        fits: each relation at its best.
        resampling: how runs are drawn.
        spreads: draws of each relation; empty without replicates.
        p_values: that ``factor`` holds, within each larger relation.
        chosen: the relation that is reported.
    """

    a: Curves
    b: Curves
    names: tuple[str, str]
    points: PairPoints
    fits: Mapping[ModelName, tuple[Model, Found]]
    resampling: PairedResampling
    spreads: Mapping[ModelName, Spread]
    p_values: Mapping[ModelName, float]
    chosen: ModelName

    @property
    def recipes(self) -> Recipes:
        """The laws and the chosen relation."""
        model, found = self.fits[self.chosen]
        return model.recipes(found.x)

    @property
    def spread(self) -> Spread | None:
        """The draws of the chosen relation; None without."""
        return self.spreads.get(self.chosen)

    @property
    def common_levels(self) -> Interval:
        """Log compute of B at the lowest and the highest return that both reach, below a ceiling of B."""
        return _common_levels(self.recipes, self.points)

    def log_multiplier_at(self, compute: float) -> tuple[float, Floats]:
        """log(C_A/C_B) where B takes ``compute``, and that of each draw, shape ``(draws,)``."""
        rows = [] if self.spread is None else self.spread.recipes()
        log_c = np.array([np.log(compute)])
        logs = [
            float(np.clip(one.log_multiplier(one.best_level_b(log_c))[0], -_LARGEST, _LARGEST))
            for one in (self.recipes, *rows)
        ]
        return logs[0], np.array(logs[1:])


@dataclass(frozen=True)
class CompareRecipes:
    """Compares the compute that two recipes take for the same returns.

    Attributes:
        early_exclusion: share of the longest run of each size and recipe to drop at its start.
        replicates: bootstrap draws; 0 for no intervals and no verdict.
        seed: of the bootstrap.
        wanted_factor: the ratio of computes for which to say how many seeds show it, above 1.
    """

    early_exclusion: float = EARLY_EXCLUSION
    replicates: int = 1000
    seed: int = 0
    wanted_factor: float = 1.2

    def __post_init__(self) -> None:
        checks: dict[str, tuple[bool, str]] = {
            "early_exclusion": (0 <= self.early_exclusion <= 0.5, "between 0 and 1/2"),
            "replicates": (self.replicates == 0 or self.replicates >= 20, "0, or at least 20"),
            "seed": (self.seed >= 0, "0 or more"),
            "wanted_factor": (1 < self.wanted_factor < 1e6, "above 1"),
        }
        for name, (good, wanted) in checks.items():
            if not good:
                raise InputError(
                    f"{name} must be {wanted}: got {getattr(self, name)!r}.", code="invalid_option"
                )

    def fit(self, a: Curves, b: Curves, *, names: tuple[str, str] = ("A", "B")) -> Comparison:
        """Compare recipe A with recipe B; arguments and errors are those of ``solve``."""
        return self.result(self.solve(a, b, names=names))

    def solve(self, a: Curves, b: Curves, *, names: tuple[str, str] = ("A", "B")) -> Solution:
        """The relation between two recipes with its draws, from which a result or a statement is made.

        Args:
            a, b: the curves of each, of one task; sizes, lengths and seeds may differ. Left unchanged.
            names: what people call them.

        Raises:
            InputError: if a recipe has fewer than three sizes (code ``too_few_sizes``), the tasks differ
                (``different_tasks``), both are the same runs (``same_recipe``), or no return is reached
                by both (``no_common_returns``).
        """
        _require_comparable(a, b, names)
        preprocessor = PairedPreprocessor(a, b, early_exclusion=self.early_exclusion)
        points = preprocessor.points()
        _require_common_returns(points, names)
        log_c = points.both.log_n + points.both.log_e
        problem = PairProblem(points, 0.5 * float(log_c.min() + log_c.max()), float(log_c.max()))
        fits = fit_models(problem)
        resampling = PairedResampling.of(a, b)
        spreads = self._spreads(fits, problem, preprocessor, resampling)
        p_values = _p_values(fits, spreads)
        return Solution(a, b, names, points, fits, resampling, spreads, p_values, _chosen(fits, p_values))

    def result(self, solution: Solution) -> Comparison:
        """All that a comparison says."""
        a, b, names, points = solution.a, solution.b, solution.names, solution.points
        fits, resampling, spreads = solution.fits, solution.resampling, solution.spreads
        p_values, chosen = solution.p_values, solution.chosen
        model, found = fits[chosen]
        recipes, spread = solution.recipes, solution.spread
        low, high = solution.common_levels
        middle = 0.5 * (low + high)
        levels = np.array([low, middle, high])
        logs, drawn = _log_multipliers(recipes, spread, levels)
        estimate = float(logs[1])
        others = self._other_cuts(a, b, model, found, middle)
        interval = _interval(drawn, 1)
        p_value = None if spread is None else spread.p_value(estimate, drawn[:, 1])
        fitted_map = MonotoneMap.from_points(points.both.returns, recipes.levels(points), points.both.weight)
        models = [_model_fit(name, *fits[name], spreads.get(name), points, p_values) for name in fits]
        sides = [
            _recipe(name, curves, part, recipes, spread, side, middle, self.early_exclusion)
            for name, curves, part, side in zip(names, (a, b), (points.a, points.b), "ab", strict=True)
        ]
        systematic = max((abs(value - estimate) for value in others), default=0.0) / float(np.log(10))
        warnings = _warnings(sides, a, b, resampling, high - low, interval, systematic, found.loss, spread)
        return Comparison(
            a=sides[0],
            b=sides[1],
            tasks=sorted(_tasks(a) | _tasks(b)),
            size=a.size,
            common_return=_span(fitted_map.return_of_log(np.array([low, high]))),
            model=chosen,
            multiplier=float(np.exp(estimate)),
            interval=interval,
            interval_total=interval and _stretched(interval, others),
            p_value=p_value,
            verdict=_verdict(logs, drawn, spread),
            systematic=systematic,
            models=models,
            growth=_growth(*fits["exponents"], spreads.get("exponents")),
            ceiling=_ceiling(*fits["ceiling"], spreads.get("ceiling"), fitted_map, low, high),
            crossing=_crossing(recipes, spread, fitted_map, low, high),
            power=spread and _power(spread, drawn[:, 1], resampling, self.wanted_factor),
            curve=_curve(recipes, spread, fitted_map, low, high),
            measured=_measured(points),
            monotone_map=fitted_map,
            scheme=resampling.scheme if self.replicates else "none",
            paired=resampling.paired,
            replicates=self.replicates,
            widening=resampling.widening,
            **warning_fields(warnings),
            options={**asdict(self), "a": asdict(a.selection), "b": asdict(b.selection)},
        )

    def _spreads(
        self,
        fits: Mapping[ModelName, tuple[Model, Found]],
        problem: PairProblem,
        preprocessor: PairedPreprocessor,
        resampling: PairedResampling,
    ) -> dict[ModelName, Spread]:
        """The draws of each model, all of the same runs; none without replicates."""
        if not self.replicates:
            return {}
        counts = resampling.draws(self.replicates, np.random.default_rng(self.seed))
        return {
            name: draw(model, found, problem, preprocessor, resampling, counts)
            for name, (model, found) in told("draws of each relation", fits.items(), len(fits))
        }

    def _other_cuts(self, a: Curves, b: Curves, model: Model, found: Found, middle: float) -> list[float]:
        """log(C_A/C_B) at the middle with other shares of early training dropped."""
        values = []
        for share in OTHER_EXCLUSIONS:
            if not np.isclose(share, self.early_exclusion):
                points = PairedPreprocessor(a, b, early_exclusion=share).points()
                refit = model.search(PairProblem(points, model.log_pivot, model.log_top), [found.x])
                logs, _ = _log_multipliers(model.recipes(refit.x), None, np.array([middle]))
                values.append(float(logs[0]))
        return values


# -- what can be compared -----------------------------------------------------------


def _tasks(curves: Curves) -> set[str]:
    return {str(task) for task in curves.table["task"].dropna()} if "task" in curves.table else set()


def _shared_run(a: Curves, b: Curves) -> str | None:
    """A run of both: equal in name and in every return; None if there is none."""
    position = {name: run for run, name in enumerate(b.run_ids)}
    for run, name in enumerate(a.run_ids):
        if name in position:
            mine, theirs = a.curve(run), b.curve(position[name])
            if all(np.array_equal(x, y) for x, y in zip(mine, theirs, strict=True)):
                return name
    return None


def _require_comparable(a: Curves, b: Curves, names: tuple[str, str]) -> None:
    twice = _shared_run(a, b)
    if twice is not None:
        raise InputError(
            f"Run {twice} belongs to {names[0]} ({a.source}) and to {names[1]} ({b.source}); give two "
            f"sources without a common run, or a column whose values are the recipes: "
            + either("--by algorithm.", "load_by(source, 'algorithm')."),
            code="same_recipe",
        )
    tasks_a, tasks_b = _tasks(a), _tasks(b)
    if tasks_a and tasks_b and tasks_a != tasks_b:
        raise InputError(
            f"{names[0]} is of the task {', '.join(sorted(tasks_a))}, {names[1]} of "
            f"{', '.join(sorted(tasks_b))}: their returns are not the same thing; compare on one task.",
            code="different_tasks",
        )
    for curves in (a, b):
        require_fittable(curves)


def _require_common_returns(points: PairPoints, names: tuple[str, str]) -> None:
    (low_a, high_a), (low_b, high_b) = (_span(part.returns) for part in (points.a, points.b))
    if max(low_a, low_b) < min(high_a, high_b):
        return
    (better, above), (worse, below) = (
        ((names[0], low_a), (names[1], high_b))
        if low_a >= high_b
        else ((names[1], low_b), (names[0], high_a))
    )
    raise InputError(
        f"There is no common return to compare at: after its early training {better} is never below "
        f"{above:.4g}, and {worse} never above {below:.4g}; train {worse} for longer or larger, or keep "
        f"earlier rows of {better} with a smaller {either('--early-exclusion', 'early_exclusion')}.",
        code="no_common_returns",
    )


# -- choosing a model -------------------------------------------------------------


def _p_values(
    fits: Mapping[ModelName, tuple[Model, Found]], spreads: Mapping[ModelName, Spread]
) -> dict[ModelName, float]:
    """That ``factor`` holds, tested within each larger model; empty without draws."""
    if not spreads:
        return {}
    ceiling = spreads["ceiling"]
    return {
        "exponents": spreads["exponents"].p_value_of(SAME_EXPONENTS),
        "ceiling": ceiling.p_value(float(ceiling.x[-1]), ceiling.draws[:, -1]),
    }


def _chosen(fits: Mapping[ModelName, tuple[Model, Found]], p_values: Mapping[ModelName, float]) -> ModelName:
    """The best of the models that refute ``factor``, or ``factor``."""
    refuting = [name for name, p_value in p_values.items() if p_value < MODEL_SIGNIFICANCE]
    return min(refuting, key=lambda name: fits[name][1].loss, default="factor")


# -- the multiplier -----------------------------------------------------------------


def _common_levels(recipes: Recipes, points: PairPoints) -> Interval:
    """Lowest and highest level that both recipes reach, each with an optimal size among those it has.

    Where no level is such, those that the points of both reach.
    """
    y = recipes.levels(points)
    a, b = y[: points.num_a], y[points.num_a :]
    reached = (float(max(a.min(), b.min())), float(min(a.max(), b.max())))
    low, high = reached
    for law, part, best_level in (
        (recipes.law_a, points.a, recipes.best_level_a),
        (recipes.law_b, points.b, recipes.best_level_b),
    ):
        sizes = np.array([part.log_n.min(), part.log_n.max()])
        first, last = best_level(law.log_c0 + (sizes - law.m) / law.nu)  # C of which they are the optimum
        low, high = max(low, float(first)), min(high, float(last))
    return (low, high) if low < high else reached


def _log_multipliers(recipes: Recipes, spread: Spread | None, levels: Floats) -> tuple[Floats, Floats]:
    """log(C_A/C_B) at each level, and of each draw, shape ``(draws, levels)``."""
    rows = [] if spread is None else spread.recipes()
    logs = [np.clip(one.log_multiplier(levels), -_LARGEST, _LARGEST) for one in (recipes, *rows)]
    return logs[0], np.array(logs[1:]).reshape(-1, len(levels))


def _interval(drawn: Floats, column: int) -> Interval | None:
    return interval_of(np.exp(drawn[:, column])) if len(drawn) else None


def _stretched(interval: Interval, logs: list[float]) -> Interval:
    values = [*interval, *np.exp(logs).tolist()]
    return min(values), max(values)


def _verdict(logs: Floats, drawn: Floats, spread: Spread | None) -> Verdict:
    """At the middle, unless the ends of the common returns contradict each other."""
    if spread is None:
        return "undecided"
    sure = [
        np.sign(value) if spread.p_value(float(value), drawn[:, i]) < SIGNIFICANCE else 0
        for i, value in enumerate(logs)
    ]
    if sure[0] * sure[2] < 0:
        return "depends"
    return "undecided" if sure[1] == 0 else "b_better" if sure[1] > 0 else "a_better"


def _curve(
    recipes: Recipes, spread: Spread | None, fitted_map: MonotoneMap, low: float, high: float
) -> MultiplierCurve:
    y = np.linspace(low, high, _GRID)
    logs, drawn = _log_multipliers(recipes, spread, y)
    ends = percentile_interval(drawn) if len(drawn) else np.array([logs, logs])
    return MultiplierCurve(
        return_=fitted_map.return_of_log(y),
        compute_a=np.exp(np.minimum(recipes.log_compute_b(y) + logs, 700.0)),
        compute_b=np.exp(np.minimum(recipes.log_compute_b(y), 700.0)),
        multiplier=np.exp(logs),
        low=np.exp(ends[0]),
        high=np.exp(ends[1]),
    )


def _measured(points: PairPoints) -> MeasuredMultiplier:
    """The ratio of the computes with which the measured frontiers reach a return."""
    a, b = efficient_frontier(points.a), efficient_frontier(points.b)
    returns = np.empty(0)
    if len(a.return_) > 1 and len(b.return_) > 1:
        low, high = max(a.return_[0], b.return_[0]), min(a.return_[-1], b.return_[-1])
        returns = np.linspace(low, high, _GRID) if low < high else returns
    if not len(returns):
        return MeasuredMultiplier(return_=returns, compute_b=returns, multiplier=returns)
    log_a, log_b = (np.interp(returns, one.return_, np.log(one.compute)) for one in (a, b))
    return MeasuredMultiplier(return_=returns, compute_b=np.exp(log_b), multiplier=np.exp(log_a - log_b))


# -- parts of the difference ----------------------------------------------------------


def _model_fit(
    name: ModelName,
    model: Model,
    found: Found,
    spread: Spread | None,
    points: PairPoints,
    p_values: Mapping[ModelName, float],
) -> ModelFit:
    recipes = model.recipes(found.x)
    middle = np.mean(_common_levels(recipes, points), keepdims=True)
    logs, drawn = _log_multipliers(recipes, spread, middle)
    return ModelFit(
        name=name,
        loss=found.loss,
        multiplier=float(np.exp(logs[0])),
        interval=_interval(drawn, 0),
        p_value=p_values.get(name),
    )


def _growth(model: Model, found: Found, spread: Spread | None) -> Growth:
    def per_decade(growth: Floats | float) -> Any:
        return 10.0 ** np.asarray(growth)

    estimate = float(per_decade(model.recipes(found.x).growth))
    if spread is None:
        return Growth(per_decade=estimate, interval=None, p_value=None)
    drawn = per_decade(np.expm1(np.clip(spread.draws[:, -1], *model.bounds[-1])))
    return Growth(
        per_decade=estimate,
        interval=interval_of(drawn),
        p_value=spread.p_value(float(found.x[-1]), spread.draws[:, -1]),
    )


def _ceiling(
    model: Model, found: Found, spread: Spread | None, fitted_map: MonotoneMap, low: float, high: float
) -> Ceiling:
    recipes = model.recipes(found.x)
    known = (
        fitted_map.known_return_of_log(recipes.log_ceiling) if np.isfinite(recipes.log_ceiling) else np.nan
    )
    return_ = None if np.isnan(known) else float(known)
    if spread is None:
        return Ceiling(strength=recipes.ceiling, interval=None, p_value=None, return_=return_)
    drawn = np.sinh(np.clip(spread.draws[:, -1], *model.bounds[-1]))
    return Ceiling(
        strength=recipes.ceiling,
        interval=interval_of(drawn),
        p_value=spread.p_value(float(found.x[-1]), spread.draws[:, -1]),
        return_=return_,
    )


def _crossing(
    recipes: Recipes, spread: Spread | None, fitted_map: MonotoneMap, low: float, high: float
) -> RankingCrossing:
    middle = 0.5 * (low + high)

    def crossing(one: Recipes) -> float | None:
        y = np.linspace(low - _BEYOND, high + _BEYOND, 1001)
        logs = np.clip(one.log_multiplier(y), -_LARGEST, _LARGEST)
        at = np.flatnonzero(np.sign(logs[1:]) * np.sign(logs[:-1]) < 0)
        if not len(at):
            return None
        places = y[at] - logs[at] * (y[at + 1] - y[at]) / (logs[at + 1] - logs[at])
        return float(places[np.argmin(abs(places - middle))])

    place = crossing(recipes)
    places = [] if spread is None else [crossing(one) for one in spread.recipes()]
    share = float(np.mean([p is not None and low <= p <= high for p in places])) if places else None
    if place is None:
        return RankingCrossing(where="none", compute=None, return_=None, share_within=share)
    within = low <= place <= high
    return RankingCrossing(
        where="within" if within else "below" if place < low else "above",
        compute=float(np.exp(recipes.log_compute_b(np.array([place]))[0])),
        return_=float(fitted_map.return_of_log(place)) if within else None,
        share_within=share,
    )


def _power(spread: Spread, drawn: Floats, resampling: PairedResampling, factor: float) -> Power:
    """How many seeds show a factor, the error falling as their square root."""
    error, now = spread.standard_error(drawn), resampling.seeds

    def reach(seeds: float) -> float:
        """The log of the least factor that so many seeds show."""
        freedom = spread.freedom * max(seeds - 1, 0.5) / max(now - 1, 0.5)
        quantiles = student.ppf(1 - SIGNIFICANCE / 2, freedom) + student.ppf(_POWER, freedom)
        return float(error * np.sqrt(now / seeds) * quantiles)

    wanted = float(np.log(factor))
    enough: int | None = None
    low, high = 1, _MOST_SEEDS
    if reach(high) <= wanted:
        while low < high:  # reach falls with the number of seeds
            middle = (low + high) // 2
            low, high = (low, middle) if reach(middle) <= wanted else (middle + 1, high)
        enough = max(low, 2)
    return Power(
        factor=factor,
        error=error,
        smallest_factor=float(np.exp(min(reach(now), _LARGEST))),
        seeds=enough,
        more_seeds=None if enough is None else max(0, int(np.ceil(enough - now))),
    )


# -- the recipes, and warnings ------------------------------------------------------------


def _recipe(
    name: str,
    curves: Curves,
    points: BinnedPoints,
    recipes: Recipes,
    spread: Spread | None,
    side: str,
    middle: float,
    early_exclusion: float,
) -> Recipe:
    law = recipes.law_a if side == "a" else recipes.law_b
    logs = recipes.log_compute_a if side == "a" else recipes.log_compute_b
    log_c = float(min(logs(np.array([middle]))[0], 700.0))
    laws = [] if spread is None else [one.law_a if side == "a" else one.law_b for one in spread.recipes()]
    n, e = np.exp(points.log_n), np.exp(points.log_e)
    alone = Preprocessor(curves, early_exclusion=early_exclusion)
    start = find_start(alone.rows, alone.start_response)
    return Recipe(
        name=name,
        source=curves.source,
        num_runs=curves.num_runs,
        num_sizes=len(curves.sizes),
        num_points=curves.num_points,
        seeds=float(1 / np.mean(1 / np.bincount(curves.size_index))),
        range=DataRange(N=_span(n), E=_span(e), C=_span(n * e), return_=_span(points.returns)),
        frontier=efficient_frontier(points),
        nu=law.nu,
        alpha_N=law.alpha_N,
        alpha_E=law.alpha_E,
        compute=float(np.exp(log_c)),
        N_opt=float(np.exp(law.log_N_opt(log_c))),
        size_limited_share=float(points.weight @ limited_by_size(law, points)),
        start=start.gate,
        onset=start.interactions if np.isfinite(start.interactions) else None,
        intervals={
            quantity: interval_of([getattr(one, quantity) for one in laws])
            for quantity in (("nu", "alpha_N", "alpha_E") if laws else ())
        },
    )


def _warnings(
    sides: list[Recipe],
    a: Curves,
    b: Curves,
    resampling: PairedResampling,
    common: float,
    interval: Interval | None,
    systematic: float,
    loss: float,
    spread: Spread | None,
) -> list[CodedWarning]:
    found: list[CodedWarning] = []
    if interval is None:
        found.append(
            (
                "no_intervals",
                "There are no intervals and no verdict: run again with "
                f"{either('--bootstrap 1000', 'replicates=1000')}.",
            )
        )
    for side in sides:
        one_sided = not SHARE_BOUNDS[0] <= side.size_limited_share <= SHARE_BOUNDS[1]
        if one_sided or not side.range.N[0] <= side.N_opt <= side.range.N[1]:
            found.append(
                (
                    "optimum_outside_data",
                    f"{side.name}: the best size lies outside the data ({side.size_limited_share:.0%} of the "
                    f"points are limited by their size), so its frontier is an extrapolation; add "
                    f"{'larger' if side.size_limited_share > 0.5 else 'smaller'} sizes.",
                )
            )
        if side.start != "none":
            found.append(
                (
                    "late_start",
                    f"{side.name}: learning starts late ({side.start} start), at about {side.onset:.3g} "
                    f"interactions; the comparison fits no delay, so what comes before counts as compute, "
                    f"and exponents and their growth are likely biased; see whether the multiplier stays "
                    f"with a larger {either('--early-exclusion', 'early_exclusion')}.",
                )
            )
    if common < _NARROW:
        found.append(
            (
                "narrow_overlap",
                f"The returns that both reach span {common / np.log(10):.1f} decades of compute; what is "
                f"said of others is an extrapolation.",
            )
        )
    if resampling.scheme == "sizes":
        found.append(
            (
                "one_seed",
                "Most sizes have one seed, so sizes were drawn in place of seeds; add seeds.",
            )
        )
    if loss > 0.5:
        found.append(
            (
                "poor_fit",
                f"The laws leave {loss:.0%} of the variance of returns (in units of noise) unexplained.",
            )
        )
    if spread is not None and spread.model.at_bound(spread.x):
        found.append(
            ("at_bound", "The fit ended at a bound of the search; the curves do not determine the laws.")
        )
    if interval is not None and systematic > float(np.log10(interval[1] / interval[0])):
        found.append(
            (
                "early_training_matters",
                f"Dropping more of early training changes the multiplier by up to a factor of "
                f"{10**systematic:.2f}, more than its interval is wide; learning may start at other times.",
            )
        )
    return found


def _span(values: Floats) -> Interval:
    return float(values.min()), float(values.max())
