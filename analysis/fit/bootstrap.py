"""Intervals by resampling whole runs, because the points of one run are correlated.

Seeds are drawn within each size. If too many sizes have one seed, sizes are drawn instead, with all
their seeds. Each replicate repeats the whole preprocessing: cut, bins and averages. Its search starts from
the full fit and from a point displaced from it, in steps large enough to leave the valley of the full fit.
Sizes that differ by more than their seeds are shifted in each draw (``rlscale.analysis.fit.size_effects``).

A bootstrap of n seeds underestimates the variance of their mean by (n - 1)/n, 1/3 for three seeds, and a
variance from few degrees of freedom needs Student's quantiles. So draws are moved away from
their median by sqrt(n/(n - 1)) · t/z, n the harmonic mean of the seeds per size, t and z the 95% quantiles of
Student's distribution with Σ (seeds - 1) degrees of freedom and of the normal one (n the number of sizes and
n - 1 degrees, if sizes are drawn).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import Field

from rlscale.analysis.arrays import Floats, Ints, StoredFloats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.objectives import make_objective
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.fit.size_effects import ShiftedSizes
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.analysis.points.resampling import Scheme, resample, scheme_for, widened, widening
from rlscale.analysis.progress import shared_out
from rlscale.analysis.records import Columns, Interval, named_in_json
from rlscale.analysis.statistics.intervals import bias_corrected_interval, percentile_interval
from rlscale.analysis.theory.delay import NO_DELAY, Delay, DelayKind
from rlscale.analysis.theory.power_law import PowerLaw

_LEAST_CHUNKS = 20  # of the draws, after each of which progress is told


class Draws(Columns):
    """The laws that the bootstrap drew, enough for an interval of anything the law gives.

    Attributes:
        scheme: ``seeds`` (runs within size), ``sizes``, or ``none``.
        replicates: number of draws.
        widening: factor by which draws were moved away from their median for few seeds.
        nu, k, m: of the law of each draw, m = log N_opt at the fit's ``compute_ref``; shape
            ``(replicates,)`` (``curvature`` and ``log_N_opt_ref`` in the JSON).
        delay_kind: of the delay of learning.
        delay: of each draw, in environment steps; empty without a delay.
        at_bound: share of the draws that ended at a bound of nu or k; not stored.
    """

    scheme: Scheme
    replicates: int
    widening: float
    nu: StoredFloats
    k: StoredFloats = named_in_json("curvature", "k")
    m: StoredFloats = named_in_json("log_N_opt_ref", "m")
    delay_kind: DelayKind = "none"
    delay: StoredFloats = Field(default_factory=lambda: np.empty(0))
    at_bound: float = Field(0.0, exclude=True)

    @classmethod
    def of(cls, scheme: Scheme, laws: list[PowerLaw], widening: float = 1.0, at_bound: float = 0.0) -> Draws:
        """The draws with these laws."""
        kind = next((law.delay.kind for law in laws if law.delay), "none")
        rows = [(law.nu, law.k, float(law.log_N_opt(law.log_c0)) if law.delay else law.m) for law in laws]
        nu, k, m = np.array(rows).reshape(-1, 3).T
        return cls(
            scheme=scheme,
            replicates=len(laws),
            widening=widening,
            nu=nu,
            k=k,
            m=m,
            delay_kind=kind,
            delay=np.array([law.delay.steps for law in laws] if kind != "none" else []),
            at_bound=at_bound,
        )

    def laws(self, log_c0: float) -> list[PowerLaw]:
        """The law of each draw; ``log_c0`` is the log compute at which m is stated."""
        columns = zip(self.nu.tolist(), self.k.tolist(), self.m.tolist(), strict=True)
        if self.delay_kind == "none":
            return [PowerLaw(nu, k, m, log_c0) for nu, k, m in columns]
        compute = float(np.exp(log_c0))
        delays = [Delay(self.delay_kind, steps) for steps in self.delay.tolist()]
        return [
            PowerLaw.from_optimum(nu, k, N_opt=float(np.exp(m)), compute=compute, delay=delay)
            for (nu, k, m), delay in zip(columns, delays, strict=True)
        ]


def bootstrap(
    curves: Curves,
    preprocessor: Preprocessor,
    *,
    objective: str,
    theta: Floats,
    log_c0: float,
    replicates: int,
    rng: np.random.Generator,
    sizes: ShiftedSizes | None = None,
    workers: int = 1,
    delays: Sequence[Delay] = (),
) -> Draws:
    """Draw the sampling distribution of θ.

    The runs of each replicate are drawn here, in order, so the result does not depend on ``workers``.

    Args:
        curves: those of ``preprocessor``.
        theta: the full fit's, shape ``(3,)``, at log compute ``log_c0``.
        replicates: 0 for none.
        sizes: shifts of sizes to add to each draw; None for none.
        workers: processes to share the replicates.
        delays: of learning, one a replicate; none if there is no delay.
    """
    if replicates == 0:
        return Draws.of("none", [])
    scheme = scheme_for(curves)
    counts = [resample(curves, scheme, rng) for _ in range(replicates)]
    delays = delays or [NO_DELAY] * replicates
    shifts = np.zeros((replicates, 0)) if sizes is None else sizes.draw(replicates, len(curves.sizes), rng)
    solve = partial(_solve, preprocessor, objective, theta, log_c0, sizes)
    chunks = np.array_split(np.arange(replicates), min(max(workers * 4, _LEAST_CHUNKS), replicates))
    parts = [([counts[i] for i in c], [delays[i] for i in c], shifts[c]) for c in chunks]
    drawn = np.concatenate(shared_out("fits of resampled runs", solve, parts, workers))
    factor = widening(curves, scheme)
    bounds = make_objective(objective, preprocessor.points(), log_c0).bounds  # the same with any delay
    stuck = (drawn[:, :2] - bounds[:2, 0] < 0.02) | (bounds[:2, 1] - drawn[:, :2] < 0.02)
    wide = np.clip(widened(drawn, curves), bounds[:, 0], bounds[:, 1])
    laws = [PowerLaw.from_theta(row, log_c0, delay) for row, delay in zip(wide, delays, strict=True)]
    return Draws.of(scheme, laws, factor, float(stuck.any(axis=1).mean()))


def intervals(laws: list[PowerLaw], centre: PowerLaw | None = None) -> dict[str, Interval]:
    """90% intervals of the estimates by the drawn laws; empty without draws.

    Percentile intervals, or, about ``centre``, the law of all the data, bias-corrected ones.
    """
    if not laws:
        return {}
    rows = np.array([list(law.estimates().values()) for law in laws])
    low, high = (
        percentile_interval(rows)
        if centre is None
        else bias_corrected_interval(rows, np.array(list(centre.estimates().values())))
    )
    return {name: (float(a), float(b)) for name, a, b in zip(laws[0].estimates(), low, high, strict=True)}


def _solve(
    preprocessor: Preprocessor,
    objective: str,
    theta: Floats,
    log_c0: float,
    sizes: ShiftedSizes | None,
    counts: Sequence[Ints],
    delays: Sequence[Delay],
    shifts: Floats,
) -> Floats:
    """θ of each replicate by its counts of runs, ``(runs,)``, its delay and its shifts of sizes."""
    found = []
    for drawn, delay, shift in zip(counts, delays, shifts, strict=True):
        points = preprocessor.points(drawn, smooth=objective == "paper")
        points = (points if sizes is None else sizes.shifted(points, shift)).counted(delay)
        found.append(search_near(make_objective(objective, points, log_c0), theta).theta)
    return np.array(found)
