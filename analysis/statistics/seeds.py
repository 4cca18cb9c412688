"""Scores of many seeds: the interquartile mean and performance profiles (Agarwal et al. 2021, rliable).

A mean over seeds is moved by one seed that fails, a median ignores most of what was measured. The
interquartile mean is the mean of the middle half. A performance profile is the whole distribution: the share
of runs whose score is above each level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import trim_mean

from rlscale.analysis.arrays import Floats
from rlscale.analysis.records import Interval
from rlscale.analysis.statistics.intervals import percentile_interval

#: Fewer seeds have no middle half worth the name.
LEAST_SEEDS = 5
_TRIMMED = 0.25  # at each end
_RESAMPLES = 2000


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half along the last axis: a quarter of the scores is left out at each end.

    Args:
        scores: shape ``(..., seeds)``.
    """
    return np.asarray(trim_mean(scores, _TRIMMED, axis=-1))


def performance_profile(scores: Floats, levels: Floats) -> Floats:
    """Share of the scores above each level, shape ``(..., levels)``.

    Args:
        scores: shape ``(..., seeds)``.
        levels: shape ``(levels,)``.
    """
    return np.asarray((scores[..., None, :] > levels[:, None]).mean(axis=-1))


def interquartile_mean_interval(scores: Floats, seed: int = 0) -> Interval:
    """90% interval of the interquartile mean, by resampling seeds; ``scores`` of shape ``(seeds,)``."""
    low, high = _resampled(scores, interquartile_mean, seed)
    return float(low), float(high)


def performance_profile_band(scores: Floats, levels: Floats, seed: int = 0) -> Floats:
    """Ends of 90% intervals of the profile at each level, by resampling seeds, shape ``(2, levels)``."""
    return _resampled(scores, lambda drawn: performance_profile(drawn, levels), seed)


def _resampled(scores: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Floats:
    count = len(scores)
    drawn = np.random.default_rng(seed).integers(count, size=(_RESAMPLES, count))
    return percentile_interval(statistic(scores[drawn]))
