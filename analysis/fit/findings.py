"""The results of further analyses of a sweep, each an optional part of a fit."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.choices import SizeColumn, UnhealthyChoice
from rlscale.analysis.records import Columns, Interval, Record, return_field

Period = Literal["early", "middle", "late"]
#: By what a run shows that it does not train well (``rlscale.analysis.studies.health.runs``).
HealthSign = Literal["return", "variance", "rank", "dead_units"]


class Refit(Record):
    """The law of the same sweep under another choice of the analysis.

    Attributes:
        nu, alpha_N, alpha_E, beta: the exponents.
        N_opt_ref: optimal size at the ``compute_ref`` of the fit it belongs to, in that fit's unit of size.
        intervals: 90% intervals of these.
        num_sizes: sizes in the fit.
        compute: smallest and largest compute among its points, in that unit.
        identified: whether its data determine its exponents.
        warning_codes: of its warnings.
    """

    nu: float
    alpha_N: float
    alpha_E: float
    beta: float
    N_opt_ref: float
    intervals: dict[str, Interval]
    num_sizes: int
    compute: Interval
    identified: bool
    warning_codes: list[str]


class PeriodFit(Refit):
    """A fit to one third of training; ``span`` in shares of the longest run of each size."""

    period: Period
    span: Interval


class SizeMeasureFit(Refit):
    """A fit with another measure of size.

    Attributes:
        size: what N is.
        per_unit: median over runs of this measure per unit of the main fit's; the measure is divided by it.
    """

    size: SizeColumn
    per_unit: float


class IsoflopVertex(Record):
    """The best size at one compute by a parabola through the sizes there.

    Attributes:
        compute: N·E.
        N: size at the vertex.
        interval: 90% interval of it; null without a bootstrap, or if draws often have no vertex.
    """

    compute: float
    N: float
    interval: Interval | None


class IsoflopCheck(Record):
    """The exponent without the law (``isoflop``).

    Attributes:
        vertices: the best size at each compute that has one.
        nu: exponent of their line; null if there are too few.
        nu_interval: 90% interval of it.
        difference_under_law: ``nu`` less that of the joint fit, median over simulations of the fitted law on
            the same design (``isoflop_under_law``); null if there are none.
        p_value: two-sided, of the measured difference among the simulated ones; null without them.
    """

    vertices: list[IsoflopVertex]
    nu: float | None
    nu_interval: Interval | None
    difference_under_law: float | None = None
    p_value: float | None = None

    def N_opt(self, compute: ArrayLike) -> Floats:
        """Optimal size by the line through the vertices, in logarithms; only where ``nu`` is known."""
        log_c, log_n = np.log([(vertex.compute, vertex.N) for vertex in self.vertices]).T
        slope, level = np.polyfit(log_c - log_c.mean(), log_n, 1)
        return np.exp(level + slope * (np.log(np.asarray(compute, float)) - log_c.mean()))


class NuProfile(Columns):
    """The least loss over all laws with a given nu, arrays of one shape; nu ascending."""

    nu: StoredFloats
    loss: StoredFloats


class InteractionFlops(Columns):
    """FLOPs of training per interaction, including all updates, for each size of the sweep, ascending.

    Attributes:
        N: size in the unit of the fit.
        flops: median over the runs of that size.
    """

    N: StoredFloats
    flops: StoredFloats


class StraightLine(Record):
    """A transform y of the return as a straight line in log I, y = constant - q log I.

    Attributes:
        name: which transform; ``formula`` writes it out.
        constants: of the transform: ``min``, ``max``, ``k``.
        chosen: how these constants were chosen, a sentence.
        q: slope against the natural logarithm of I, positive if returns grow with I.
        r_squared: share of the weighted variance of y that the line explains, 0..1.
        r_squared_curved: the same for a parabola.
        curvature: second derivative of y with respect to log10 I, in decades of F where y is a logarithm.
        curvature_p: two-sided p-value that the curvature is 0, from the bootstrap; null without one.
        intervals: 90% intervals of ``q``, ``curvature`` and ``r_squared``.
        num_points, num_left_out: averaged points used, and those at a limit where y is infinite.
    """

    name: Literal["return", "log-failure", "fail-ratio", "elo", "trueskill"]
    formula: str
    constants: dict[str, float]
    chosen: str
    intercept: float
    q: float
    r_squared: float
    r_squared_curved: float
    curvature: float
    curvature_p: float | None
    intervals: dict[str, Interval]
    num_points: int
    num_left_out: int


class MetricPoints(Columns):
    """The averaged points of the metric, shape ``(n,)``, ordered by N then E."""

    N: StoredFloats
    intrinsic: StoredFloats
    return_: StoredFloats = return_field()
    weight: StoredFloats


class MetricStudy(Record):
    """Which natural metric of performance is a power of intrinsic performance.

    Attributes:
        asked: the metric as the user gave it.
        best: name of the candidate whose line explains most.
        candidates: best first.
        points: the points that they were fitted to.
    """

    asked: str
    best: str
    candidates: list[StraightLine]
    points: MetricPoints


class RunHealth(Record):
    """Whether a run trains well.

    Attributes:
        run_id, N: which run, and its size.
        state: ``healthy``, ``degrading`` or ``collapsed``.
        began: interactions from which the first of its signs holds; null if it is healthy.
        signs: the interactions from which each sign holds to the end.
    """

    run_id: str
    N: float
    state: Literal["healthy", "degrading", "collapsed"]
    began: float | None
    signs: dict[HealthSign, float]


class HealthStudy(Record):
    """What the health of its runs means for the law.

    Attributes:
        unhealthy: what the fit did with runs that are not healthy.
        measured: whether the runs measured their representation; if not, only their returns tell.
        num_healthy: number of healthy runs.
        runs: the others.
        refits: the law if these were used (``keep``), used until they fell ill (``cut``), or not used
            (``drop``); empty if all runs are healthy.
        refused: why there is no law of one of these.
    """

    unhealthy: UnhealthyChoice
    measured: bool
    num_healthy: int
    runs: list[RunHealth]
    refits: dict[UnhealthyChoice, Refit] = Field(default_factory=dict)
    refused: dict[UnhealthyChoice, str] = Field(default_factory=dict)
