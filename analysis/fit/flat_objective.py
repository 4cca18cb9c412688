"""Over which ν the objective is flat: what the loss cannot tell apart, though draws of the bootstrap may.

A draw of the bootstrap is searched near the law of all data and may stay in its valley, so an interval can be
narrow where the loss has another valley as deep, or a floor. The profile P of the loss over ν, on all data,
shows both (``rlscale.analysis.fit.search.profile``). How much deeper is deeper than noise is taken from the
draws themselves: noise would as well have had the minimum at the ν_b of a draw, where P is P(ν_b). With


    t = the 90% quantile of P(ν_b)

the objective is flat from the least to the greatest ν with P(ν) <= t. Where P has one valley, that is about
the 90% interval once more, whatever the noise. Without noise t is the minimum, and the stretch what fits
exactly.
"""

from __future__ import annotations

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.findings import NuProfile
from rlscale.analysis.records import INTERVAL_LEVEL, Interval

#: How far beyond the interval of ν, at one end, a stretch must reach: about a step of the profile. In 62 of
#: 63 good sweeps it reaches less than 0.04 (``benchmarks/flat_objective.py``).
BEYOND = 0.05
_NO_LOSS = 1e-12
_FINE = 20  # values of ν to a step of the profile


def with_stretch(profile: NuProfile, nu: float, loss: float, drawn: Floats) -> NuProfile:
    """The profile with the noise of the loss and the stretch that is flat within it; as it is without draws.

    Args:
        nu, loss: of the fitted law.
        drawn: ν of each draw of the bootstrap, shape ``(draws,)``.
    """
    if not len(drawn):
        return profile
    order = np.argsort(np.append(profile.nu, nu))
    at, losses = np.append(profile.nu, nu)[order], np.append(profile.loss, loss)[order]
    least = float(losses.min())
    noise = max(float(np.quantile(np.interp(drawn, at, losses), INTERVAL_LEVEL)) - least, _NO_LOSS)
    fine = np.linspace(at[0], at[-1], _FINE * len(at) + 1)
    level = fine[np.interp(fine, at, losses) <= least + noise]
    flat = (float(min(level.min(initial=nu), nu)), float(max(level.max(initial=nu), nu)))
    return profile.model_copy(update={"noise": noise, "flat": flat})


def reaches_beyond(profile: NuProfile, interval: Interval) -> bool:
    """Whether the objective is flat over more than the 90% interval of ν."""
    if profile.flat is None:
        return False
    return interval[0] - profile.flat[0] > BEYOND or profile.flat[1] - interval[1] > BEYOND
