"""The joint fit of the power law and the increasing map (Hilton, Tang, Schulman 2023, section 2).

In order: the curves become points (``rlscale.analysis.points.preprocess``), a search finds the law
(``objectives``, ``search``), isotonic regression gives the map (``monotone_map``), whole runs are resampled
for intervals (``bootstrap``), other choices of the analysis check the result (``isoflop``, refits with other
cuts of early training, the other objective), and warnings say what the curves do not determine
(``identifiability``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Floats
from rlscale.analysis.choices import LateStartChoice, Objective
from rlscale.analysis.curves.curve_set import Curves, require_fittable
from rlscale.analysis.curves.load import as_curves
from rlscale.analysis.fit.bootstrap import Draws, bootstrap, intervals
from rlscale.analysis.fit.findings import IsoflopCheck, NuProfile
from rlscale.analysis.fit.flat_objective import reaches_beyond, with_stretch
from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED, Evidence, limited_by_size, warnings_for
from rlscale.analysis.fit.isoflop import isoflop_check
from rlscale.analysis.fit.isoflop_under_law import SIMULATIONS, disagrees, with_law
from rlscale.analysis.fit.late_start import (
    LateStart,
    Treatment,
    averaged_law,
    delay_weights,
    gradual_check,
)
from rlscale.analysis.fit.monotone_map import MonotoneMap
from rlscale.analysis.fit.objectives import (
    Minimum,
    ReturnObjective,
    at_bounds,
    make_objective,
    mid_compute,
)
from rlscale.analysis.fit.result import (
    DataRange,
    ExclusionFit,
    FitPoints,
    FitResult,
    OtherObjective,
    Provenance,
)
from rlscale.analysis.fit.search import SearchOptions, profile, search
from rlscale.analysis.fit.sick_families import family_warnings
from rlscale.analysis.fit.size_effects import ShiftedSizes, estimate_size_effects
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.points.onset import Start, find_start
from rlscale.analysis.points.preprocess import (
    BIN_WIDTH,
    EARLY_EXCLUSION,
    SMOOTHING,
    BinnedPoints,
    Preprocessor,
)
from rlscale.analysis.points.sorted_rows import SortedRows
from rlscale.analysis.records import Interval, warning_fields
from rlscale.analysis.theory.delay import Delay
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

#: Other shares of early training with which the fit is repeated; their spread is the systematic error.
OTHER_EXCLUSIONS = (1 / 32, 1 / 16, 1 / 8)
#: Values of nu at which the objective is profiled.
_PROFILE_NU = np.linspace(0.04, 0.96, 24)


@dataclass(frozen=True)
class PointEstimate:
    """A fitted law without its intervals.

    Attributes:
        law: m is at C0, halfway (in logarithms) between the least and the largest compute.
        minimum: where the search ended.
        points: the binned points that were fitted.
        preprocessor: made them.
        bounds: of θ in the search, shape ``(3, 2)``.
        start: where learning starts; None if it was not looked for.
        treatment: what was done about it.
        delayed: the law with each delay of the treatment.
        weight: of these laws, shape ``(delays,)``.
    """

    law: PowerLaw
    minimum: Minimum
    points: BinnedPoints
    preprocessor: Preprocessor
    bounds: Floats
    start: Start | None
    treatment: Treatment
    delayed: list[PowerLaw]
    weight: Floats

    @property
    def counted(self) -> BinnedPoints:
        """The points with the experience that counts as E."""
        return self.points.counted(self.law.delay)

    @property
    def log_intrinsic(self) -> Floats:
        """log I of the points by the law, shape ``(n,)``."""
        return self.law.log_intrinsic(self.points.log_n, self.points.log_e)

    def fitted_map(self) -> MonotoneMap:
        """The increasing map through the points."""
        return MonotoneMap.from_points(self.points.returns, self.log_intrinsic, self.points.weight)


@dataclass(frozen=True)
class JointScalingFit:
    """Fits I^-β = (N_c/N)^α_N + (E_c/E)^α_E (eq. 1) jointly with I = f(R), f increasing.

    Attributes:
        objective: ``return`` or ``paper``; see ``rlscale.analysis.fit.objectives``.
        early_exclusion: share of the longest run of each size to drop at its start.
        bin_width: width of a bin in the natural logarithm of E.
        smoothing: window in the natural logarithm of E, for the paper's objective; 0 for none.
        replicates: bootstrap draws; 0 for no intervals.
        check_replicates: most draws for each check: the other objective, parabolas without a law.
        seed: of the bootstrap.
        workers: processes that share the bootstrap; the result does not depend on it.
        late_start: ``auto`` to fit a delay where curves show that learning starts late, ``ignore`` not to.
        search: how hard to search.
    """

    objective: Objective = "return"
    early_exclusion: float = EARLY_EXCLUSION
    bin_width: float = BIN_WIDTH
    smoothing: float = SMOOTHING
    replicates: int = 1000
    check_replicates: int = 200
    seed: int = 0
    workers: int = 1
    late_start: LateStartChoice = "auto"
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        checks: dict[str, tuple[bool, str]] = {
            "objective": (self.objective in get_args(Objective), "'return' or 'paper'"),
            "early_exclusion": (0 <= self.early_exclusion <= 0.5, "between 0 and 1/2"),
            "bin_width": (0 < self.bin_width <= 1, "above 0 and at most 1"),
            "smoothing": (0 <= self.smoothing <= 2, "between 0 and 2"),
            "replicates": (self.replicates == 0 or self.replicates >= 20, "0, or at least 20"),
            "check_replicates": (
                self.check_replicates == 0 or self.check_replicates >= 20,
                "0, or at least 20",
            ),
            "seed": (self.seed >= 0, "0 or more"),
            "workers": (self.workers >= 1, "at least 1"),
            "late_start": (self.late_start in get_args(LateStartChoice), "'auto' or 'ignore'"),
        }
        for name, (good, wanted) in checks.items():
            if not good:
                raise InputError(
                    f"{name} must be {wanted}: got {getattr(self, name)!r}.", code="invalid_option"
                )

    def estimate(
        self, curves: Curves, rows: SortedRows | None = None, *, delay: Delay | None = None
    ) -> PointEstimate:
        """The law that fits best, without intervals or checks.

        Args:
            curves: left unchanged.
            rows: of an earlier estimate from the same curves, to save sorting them again.
            delay: of learning, if it is known; looked for by default (``late_start``).

        Raises:
            InputError: if there are fewer than three sizes (code ``too_few_sizes``), or returns do not vary
                (``unvarying_returns``).
            FitDidNotConverge: if the search does not settle.
        """
        require_fittable(curves)
        if delay is not None:
            return self._estimate(curves, Treatment.known(delay), rows)
        if self.late_start == "ignore":
            return self._estimate(curves, Treatment(), rows)
        plain = self._preprocessor(curves, rows)
        start = find_start(plain.rows, plain.start_response)
        if start.gate == "none":
            return replace(self._solve(curves, Treatment(), plain), start=start)
        return replace(self._estimate(curves, Treatment.of(start), plain.rows), start=start)

    def _preprocessor(self, curves: Curves, rows: SortedRows | None, not_before: float = 0.0) -> Preprocessor:
        return Preprocessor(
            curves,
            early_exclusion=self.early_exclusion,
            bin_width=self.bin_width,
            smoothing=self.smoothing,
            not_before=not_before,
            rows=rows,
        )

    def _estimate(self, curves: Curves, treatment: Treatment, rows: SortedRows | None) -> PointEstimate:
        return self._solve(curves, treatment, self._preprocessor(curves, rows, treatment.not_before))

    def _solve(self, curves: Curves, treatment: Treatment, preprocessor: Preprocessor) -> PointEstimate:
        points = preprocessor.points()
        if len(np.unique(points.returns)) < 3:
            raise InputError(
                f"{curves.source}: returns do not vary, so nothing can be fitted; train longer.",
                code="unvarying_returns",
            )
        log_c0 = mid_compute(points)
        objectives = [make_objective(self.objective, points.counted(d), log_c0) for d in treatment.delays]
        minima = [search(objective, self.search) for objective in objectives]
        laws = [
            PowerLaw.from_theta(minimum.theta, log_c0, delay)
            for minimum, delay in zip(minima, treatment.delays, strict=True)
        ]
        weight = delay_weights(laws, points)
        law, minimum = laws[0], minima[0]
        if len(laws) > 1:
            law = averaged_law(laws, weight)
            objective = make_objective(self.objective, points.counted(law.delay), log_c0)
            evaluations = sum(one.evaluations for one in minima)
            minimum = Minimum(law.theta, objective.loss(law.theta), evaluations)
        bounds = objectives[0].bounds
        return PointEstimate(law, minimum, points, preprocessor, bounds, None, treatment, laws, weight)

    def fit(
        self,
        curves: Curves | pd.DataFrame,
        *,
        delay: Delay | None = None,
        run_id: str | Sequence[str] | None = None,
        num_params: str | None = None,
        interactions: str | None = None,
        return_mean: str | None = None,
    ) -> FitResult:
        """The law with intervals, checks and warnings.

        Args:
            curves: or a table with a row for each point; left unchanged.
            delay: as for ``estimate``.
            run_id, num_params, interactions, return_mean: of a table, its names for these columns; several
                of ``run_id`` together tell runs apart. ``curves_from_frame`` has more settings.

        Raises:
            InputError, FitDidNotConverge: as ``estimate``; InputError also if the table cannot be used.
        """
        curves = as_curves(
            curves,
            run_id=run_id,
            num_params=num_params,
            interactions=interactions,
            return_mean=return_mean,
        ).by_name()
        mine_rng, other_rng, isoflop_rng, sizes_rng = np.random.default_rng(self.seed).spawn(4)
        mine = self.estimate(curves, delay=delay)
        fitted_map = mine.fitted_map()
        sizes = estimate_size_effects(curves, mine.preprocessor, mine.points, mine.law, sizes_rng)
        draws = self._bootstrap(curves, mine, mine_rng, sizes)
        laws = draws.laws(mine.law.log_c0)
        found_intervals = intervals(laws)
        other = self._other_objective(curves, mine, other_rng)
        exclusions = self._exclusion_fits(curves, mine)
        systematic = _systematic(mine.law, exclusions)
        frontier = efficient_frontier(mine.points)
        isoflop = isoflop_check(
            curves,
            mine.preprocessor,
            replicates=min(self.replicates, self.check_replicates),
            rng=isoflop_rng,
            delay=mine.law.delay,
        )
        late_start = self._late_start(curves, mine)
        flatness = with_stretch(_profile(mine, self.objective), mine.law.nu, mine.minimum.loss, draws.nu)
        if self.objective == "return":
            isoflop = with_law(
                isoflop,
                curves,
                mine.preprocessor,
                mine.points,
                mine.law,
                sizes,
                simulations=min(self.replicates, self.check_replicates, SIMULATIONS),
                rng=sizes_rng,
            )
        evidence = Evidence(
            curves=curves,
            points=mine.points,
            law=mine.law,
            unexplained=ReturnObjective(mine.counted, mine.law.log_c0).loss(mine.minimum.theta),
            bounds_hit=at_bounds(mine.minimum.theta, mine.bounds),
            draws=draws,
            intervals=found_intervals,
            systematic=systematic,
            other=other,
            isoflop=isoflop,
            frontier=frontier,
            late_start=late_start,
            profile=flatness,
            sick=family_warnings(curves, mine.preprocessor, mine.points, mine.law),
        )
        warnings = warnings_for(evidence)
        return FitResult(
            objective=self.objective,
            **mine.law.estimates(),
            compute_ref=float(np.exp(mine.law.log_c0)),
            loss=mine.minimum.loss,
            intervals=found_intervals,
            intervals_bias_corrected=intervals(laws, mine.law),
            intervals_total=_holding(
                isoflop,
                flatness,
                _with_systematic(found_intervals, exclusions, mine.delayed),
                float(np.exp(mine.law.log_c0)),
            ),
            isoflop=isoflop,
            size_effect=sizes.found,
            profile=flatness,
            systematic=systematic,
            identified=NOT_IDENTIFIED.isdisjoint(code for code, _ in warnings),
            **warning_fields(warnings),
            num_points=curves.num_points,
            num_binned_points=len(mine.points.weight),
            num_runs=curves.num_runs,
            num_sizes=len(curves.sizes),
            range=_range(mine),
            size_limited_share=float(mine.points.weight @ limited_by_size(mine.law, mine.points)),
            monotone_map=fitted_map,
            points=_fit_points(mine, fitted_map),
            frontier=frontier,
            exclusion_fits=exclusions,
            other_objective=other,
            bootstrap=draws,
            options=self._options(curves),
            provenance=_provenance(curves),
            late_start=late_start,
        )

    # -- uncertainty and checks ---------------------------------------------------

    def _bootstrap(
        self,
        curves: Curves,
        estimate: PointEstimate,
        rng: np.random.Generator,
        sizes: ShiftedSizes | None = None,
    ) -> Draws:
        return bootstrap(
            curves,
            estimate.preprocessor,
            objective=self.objective,
            theta=estimate.law.theta,
            log_c0=estimate.law.log_c0,
            replicates=self.replicates,
            rng=rng,
            sizes=sizes,
            workers=self.workers,
            delays=estimate.treatment.drawn(estimate.weight, self.replicates, rng.spawn(1)[0])
            if estimate.law.delay
            else (),
        )

    def _other_objective(
        self, curves: Curves, mine: PointEstimate, rng: np.random.Generator
    ) -> OtherObjective:
        """The other objective on the same curves, as a check."""
        name: Objective = "paper" if self.objective == "return" else "return"
        fit = replace(self, objective=name, replicates=min(self.replicates, self.check_replicates))
        estimate = fit._estimate(curves, mine.treatment.fixed(mine.law.delay), mine.preprocessor.rows)
        laws = fit._bootstrap(curves, estimate, rng).laws(mine.law.log_c0)
        return OtherObjective(objective=name, intervals=intervals(laws), **_estimates(estimate))

    def _exclusion_fits(self, curves: Curves, mine: PointEstimate) -> list[ExclusionFit]:
        """Refits that drop other shares of early training, N_opt_ref at the compute of the main fit."""
        fits = []
        for share in OTHER_EXCLUSIONS:
            if not np.isclose(share, self.early_exclusion):
                treatment = mine.treatment.fixed(mine.law.delay)
                fit = replace(self, early_exclusion=share)
                estimate = fit._estimate(curves, treatment, mine.preprocessor.rows)
                values = _estimates(estimate, mine.law.log_c0)
                fits.append(ExclusionFit(early_exclusion=share, **values))
        return fits

    def _late_start(self, curves: Curves, mine: PointEstimate) -> LateStart | None:
        """Where learning starts, and what the delay changes; None if it was not looked for."""
        if mine.start is None:
            return None
        gated = mine.start.gate != "none"
        plain = self._estimate(curves, Treatment(), mine.preprocessor.rows) if gated else mine
        gradual = None
        if not gated:
            everything = replace(self, early_exclusion=0.0)._preprocessor(curves, mine.preprocessor.rows)
            gradual = gradual_check(mine.law, mine.points, everything.points(smooth=False))
        return LateStart.of(
            mine.start, mine.treatment, mine.law, mine.delayed, mine.weight, plain.law.nu, gradual
        )

    def _options(self, curves: Curves) -> dict[str, Any]:
        options = asdict(self)
        del options["workers"]  # does not change the result
        searched = options.pop("search")
        return {
            **options,
            **searched,
            "size": curves.size,
            **asdict(curves.selection),
            "minimize": curves.minimize,
        }


def usable_cores() -> int:
    """Cores this process may use, at most eight."""
    allowed: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return min(len(allowed(0)) if allowed else os.cpu_count() or 1, 8)


# -- the parts of a result ----------------------------------------------------------


def _profile(estimate: PointEstimate, name: Objective) -> NuProfile:
    objective = make_objective(name, estimate.counted, estimate.law.log_c0)
    losses = profile(objective, estimate.minimum.theta, _PROFILE_NU)
    return NuProfile(nu=_PROFILE_NU, loss=losses)


def _estimates(estimate: PointEstimate, log_c0: float | None = None) -> dict[str, float]:
    law = estimate.law if log_c0 is None else estimate.law.stated_at(log_c0)
    values = law.estimates()
    del values["N_c"], values["E_c"]
    return {**values, "loss": estimate.minimum.loss}


def _systematic(law: PowerLaw, fits: list[ExclusionFit]) -> dict[str, float]:
    """Largest change of each estimate among the refits (N_opt_ref: of its logarithm to base 10)."""
    spread = {
        name: max((abs(getattr(fit, name) - getattr(law, name)) for fit in fits), default=0.0)
        for name in ("alpha_N", "alpha_E", "beta", "nu")
    }
    log_n = law.m / np.log(10)
    spread["log10_N_opt_ref"] = float(max((abs(np.log10(f.N_opt_ref) - log_n) for f in fits), default=0.0))
    return spread


def _with_systematic(
    found: dict[str, Interval], fits: list[ExclusionFit], delayed: list[PowerLaw]
) -> dict[str, Interval]:
    """Each interval stretched to hold the refits with other shares of early training, and, where several
    delays were weighed, the law without any.
    """
    plain = [law.estimates() for law in delayed if len(delayed) > 1 and not law.delay]
    stretched: dict[str, Interval] = {}
    for name in ("nu", "alpha_N", "alpha_E", "beta", "N_opt_ref"):
        if name in found:
            values = [*found[name], *(getattr(fit, name) for fit in fits), *(law[name] for law in plain)]
            stretched[name] = (min(values), max(values))
    return stretched


def _holding(
    isoflop: IsoflopCheck, flatness: NuProfile, found: dict[str, Interval], compute_ref: float
) -> dict[str, Interval]:
    """The intervals, those of nu and N_opt stretched to hold the values without the law if these differ, and
    that of nu where the objective is flat over more than the interval.
    """
    if "nu" not in found:
        return found
    also: dict[str, list[float]] = {"nu": [], "N_opt_ref": []}
    if isoflop.nu is not None and disagrees(isoflop):
        also = {"nu": [isoflop.nu], "N_opt_ref": [float(isoflop.N_opt(compute_ref))]}
    if flatness.flat is not None and reaches_beyond(flatness, found["nu"]):
        also["nu"] += flatness.flat
    held = {name: (min(*found[name], *more), max(*found[name], *more)) for name, more in also.items()}
    return {**found, **held}


def _fit_points(estimate: PointEstimate, fitted_map: MonotoneMap) -> FitPoints:
    points, log_i = estimate.points, estimate.log_intrinsic
    return FitPoints(
        N=estimate.preprocessor.sizes[points.size],
        E=np.exp(points.log_e),
        return_=points.returns,
        weight=points.weight,
        intrinsic=np.exp(log_i),
        mapped_intrinsic=fitted_map.intrinsic_of(points.returns),
        fitted_return=fitted_map.return_of_log(log_i),
        size_limited=limited_by_size(estimate.law, points),
    )


def _range(estimate: PointEstimate) -> DataRange:
    points = estimate.points

    def span(values: Floats) -> Interval:
        return float(values.min()), float(values.max())

    n, e = estimate.preprocessor.sizes[points.size], np.exp(points.log_e)
    return DataRange(N=span(n), E=span(e), C=span(n * e), return_=span(points.returns))


def _provenance(curves: Curves) -> Provenance:
    tasks = {str(task) for task in curves.table["task"].dropna()} if "task" in curves.table else set()
    return Provenance(
        source=curves.source,
        **asdict(curves.selection),
        size=curves.size,
        run_ids=list(curves.run_ids),
        sizes=curves.sizes,
        seeds_per_size=np.bincount(curves.size_index),
        notes=list(curves.notes),
        tasks=sorted(tasks),
        widths=np.empty(0) if curves.widths is None else curves.widths,
    )
