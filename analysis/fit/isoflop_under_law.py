"""What the parabolas of ``isoflop`` give where the law is true, on the real design.

Parabolas through curves that are none are biased, and noisy, so their distance from the joint fit means
something only beside its distribution under the fitted law. Each simulation has the sizes, lengths, weights
and map of the real sweep, the noise of resampled seeds and the estimated shifts of sizes; parabolas and joint
fit are made of the same simulated points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.findings import IsoflopCheck
from rlscale.analysis.fit.isoflop import computes, vertices
from rlscale.analysis.fit.objectives import ReturnObjective
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.fit.size_effects import ShiftedSizes
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import resample, scheme_for, widening
from rlscale.analysis.progress import told
from rlscale.analysis.theory.power_law import PowerLaw

#: Simulations of the fitted law; with the two outermost of 79 the test has a level of 5%.
SIMULATIONS = 79
LEVEL = 0.05


def with_law(
    check: IsoflopCheck,
    curves: Curves,
    preprocessor: Preprocessor,
    points: BinnedPoints,
    law: PowerLaw,
    sizes: ShiftedSizes,
    *,
    simulations: int,
    rng: Generator,
) -> IsoflopCheck:
    """The check with the difference from the joint fit under the law, and the p-value of the measured one.

    Unchanged where there is no exponent, too few simulations have one, or sizes lack the seeds to resample.

    Args:
        curves: those of ``preprocessor``.
        points: all of them.
        law: fitted to the points by the objective ``return``.
        sizes: the estimated shifts of sizes, with the map to simulate.
        simulations: 0 for none.
    """
    if check.nu is None or not simulations or scheme_for(curves) != "seeds":
        return check
    log_c = computes(points.counted(law.delay))
    shifts = sizes.draw(simulations, len(curves.sizes), rng)
    found = []
    for shift in told("simulations of the law", shifts, len(shifts)):
        simulated = _simulated(curves, preprocessor, points, sizes, shift, rng).counted(law.delay)
        line = vertices(simulated, log_c).line()
        if line is not None:
            theta = search_near(ReturnObjective(simulated, law.log_c0), law.theta).theta
            found.append(line[0] - PowerLaw.from_theta(theta, law.log_c0).nu)
    if len(found) < simulations / 2:
        return check
    differences, measured = np.array(found), check.nu - law.nu
    beyond = min((differences >= measured).sum(), (differences <= measured).sum())
    return check.model_copy(
        update={
            "difference_under_law": float(np.median(differences)),
            "p_value": float(min(2 * (beyond + 1) / (len(found) + 1), 1.0)),
        }
    )


def disagrees(check: IsoflopCheck) -> bool:
    """Whether parabolas and joint fit differ by more than the law explains; False if that is not known."""
    return check.p_value is not None and check.p_value <= LEVEL


def _simulated(
    curves: Curves,
    preprocessor: Preprocessor,
    points: BinnedPoints,
    sizes: ShiftedSizes,
    shift: Floats,
    rng: Generator,
) -> BinnedPoints:
    """Points of the law on the real design: the map's response, noise of resampled seeds, shifts of sizes."""
    scheme = scheme_for(curves)
    drawn = preprocessor.points(resample(curves, scheme, rng), smooth=False)
    noise = np.empty(len(drawn.response))
    for size in np.unique(drawn.size):
        mine, all_seeds = drawn.size == size, points.size == size
        mean = np.interp(drawn.log_e[mine], points.log_e[all_seeds], points.response[all_seeds])
        noise[mine] = drawn.response[mine] - mean
    response = sizes.map.response(drawn) + widening(curves, scheme) * noise
    return sizes.shifted(replace(drawn, response=response), shift)
