"""Intervals: of a mean by Student's t, and of bootstrap draws by percentiles (Efron 1981)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from rlscale.analysis.arrays import Floats
from rlscale.analysis.records import INTERVAL_LEVEL, Interval


def mean_interval(values: Sequence[float] | Floats) -> Interval:
    """90% of Student's t around the mean of two or more independent values."""
    measured = np.asarray(values, float)
    tail = float(t.ppf(0.5 + INTERVAL_LEVEL / 2, len(measured) - 1))
    half = tail * float(measured.std(ddof=1)) / len(measured) ** 0.5
    return float(measured.mean()) - half, float(measured.mean()) + half


def percentile_interval(values: Floats) -> Floats:
    """Lower and upper end of the central 90% along the first axis, shape ``(2, ...)``.

    Quantiles at i/(n + 1): a further draw falls between them with exactly that probability, however few
    draws there are.

    Args:
        values: draws along the first axis, shape ``(draws, ...)``.
    """
    tail = (1 - INTERVAL_LEVEL) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0, method="weibull")


def bias_corrected_interval(values: Floats, estimate: Floats) -> Floats:
    """As ``percentile_interval``, corrected for the median bias of the draws (Efron 1981, BC).

    With z0 = Φ⁻¹(share of the draws below the estimate) the ends are the quantiles at Φ(2 z0 ± z_0.95).

    Args:
        values: draws along the first axis.
        estimate: from all the data, of the shape of one draw.
    """
    count = len(values)
    below = np.sum(values < estimate, axis=0) + 0.5 * np.sum(values == estimate, axis=0)
    shift = norm.ppf(np.clip(below / count, 0.5 / count, 1 - 0.5 / count))
    tail = norm.ppf((1 - INTERVAL_LEVEL) / 2)
    levels = norm.cdf(2 * shift + np.multiply.outer([tail, -tail], np.ones_like(shift)))
    flat = values.reshape(count, -1)
    levels = levels.reshape(2, -1)
    ends = [np.quantile(flat[:, i], levels[:, i], method="weibull") for i in range(flat.shape[1])]
    return np.array(ends).T.reshape(2, *values.shape[1:])


def interval_of(values: Sequence[float] | Floats) -> Interval:
    """The central 90% of draws."""
    low, high = percentile_interval(np.asarray(values, float))
    return float(low), float(high)
