"""The compute-optimal size at any compute, with what seeds and what choices of the analysis leave open.

Draws of the bootstrap hold the noise of seeds and differences between sizes. What they do not hold are
choices that move the estimate of every draw alike. So the total interval of N_opt also holds the optima

* of refits without more of early training,
* of the law without a delay, where several delays were weighed,
* by the line through the vertices of parabolas, which assume no law, where they disagree with the law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.isoflop_under_law import disagrees
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.statistics.intervals import bias_corrected_interval, percentile_interval


@dataclass(frozen=True)
class OptimumEnds:
    """Ends of 90% intervals of N_opt, each of shape ``(2, computes)``.

    Attributes:
        plain: percentiles of the bootstrap's draws.
        bias_corrected: the same, corrected for the median bias of the draws.
        total: ``plain`` stretched to hold the other choices of the analysis.
    """

    plain: Floats
    bias_corrected: Floats
    total: Floats


def optimum_ends(fit: FitResult, compute: ArrayLike) -> OptimumEnds | None:
    """Intervals of N_opt at each compute of shape ``(computes,)``; None without a bootstrap."""
    c = np.atleast_1d(np.asarray(compute, float))
    drawn = np.array([law.N_opt(c) for law in fit.draw_laws()])
    if not len(drawn):
        return None
    plain = percentile_interval(drawn)
    others = np.stack([*plain, *_other_choices(fit, c)])
    return OptimumEnds(
        plain=plain,
        bias_corrected=bias_corrected_interval(drawn, np.asarray(fit.law.N_opt(c))),
        total=np.stack([others.min(axis=0), others.max(axis=0)]),
    )


def other_lines(fit: FitResult) -> list[tuple[float, float]]:
    """(ν, N_opt at ``compute_ref``) of each other choice that makes N_opt a power of compute.

    They are the law without a delay, where several delays were weighed, and the parabolas, where they
    disagree.
    """
    found = [
        (one.nu, one.N_opt_ref)
        for one in (fit.late_start.delays if fit.late_start else ())
        if one.delay == 0 and one.N_opt_ref is not None
    ]
    if fit.isoflop is not None and fit.isoflop.nu is not None and disagrees(fit.isoflop):
        found.append((fit.isoflop.nu, float(fit.isoflop.N_opt(fit.compute_ref))))
    return found


def _other_choices(fit: FitResult, compute: Floats) -> list[Floats]:
    """N_opt by each other choice of the analysis, shape ``(computes,)``."""
    found = [np.asarray(one.law(fit.compute_ref, fit.delay).N_opt(compute)) for one in fit.exclusion_fits]
    found += [n_opt * (compute / fit.compute_ref) ** nu for nu, n_opt in other_lines(fit)]
    return found
