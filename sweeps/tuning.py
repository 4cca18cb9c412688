"""Which learning rate suits a size best, from the scores of runs at several rates. Functions on arrays.

Scores have the shape (rates, seeds), the rates ascending. A run that diverged scores minus infinity, worse
than any other; NaN is a run that is not measured. A rate at which any seed diverged counts as diverged.

The best rate is the vertex of the parabola, in the logarithm of the rate, through the mean score of the best
measured rate and of its two neighbours; it lies at most half a step of the grid from the former. At an end
of the grid, or beside a rate that diverged, there is no parabola and the best measured rate stands.

Uncertainty is that of the mean over seeds. A seed is drawn with all its rates together, so what makes a seed
good at every rate does not count as noise. Ordinary resampling of two or three seeds gives intervals far
too narrow; instead the deviations of the seeds from their mean are weighted by Gaussians on the scale of
Student's distribution with seeds - 1 degrees of freedom, whose quantiles are exact for whatever
is linear in the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Interval = tuple[float, float]
Edge = Literal["low", "high"]

LEVEL = 0.9
DRAWS = 4000
#: Share of a run, at its end, whose returns are its score: late enough to be what the rate led to, and
#: long enough for many episodes.
SCORED_SHARE = 0.1
_SAME = 1e-6  # log rates that are as near as this are one


def score_of(
    interactions: ArrayLike, episodes: ArrayLike, returns: ArrayLike, *, share: float = 1.0
) -> float:
    """Mean return over the episodes of the last tenth of a curve's interactions; NaN if there are none.

    Args:
        interactions: at the end of each row, ascending, shape ``(rows,)``.
        episodes, returns: episodes of each row and the mean of their returns, NaN where there are none.
        share: of the curve, from its beginning, that is taken for the whole.
    """
    e, count, mean = (np.asarray(values, float) for values in (interactions, episodes, returns))
    if not len(e):
        return float("nan")
    end = share * e[-1]
    late = (e > (1 - SCORED_SHARE) * end) & (e <= end) & (count > 0) & np.isfinite(mean)
    return float(np.average(mean[late], weights=count[late])) if late.any() else float("nan")


@dataclass(frozen=True)
class Response:
    """Mean score against rate at one size.

    Attributes:
        log_rates: ascending, shape ``(rates,)``; rates without any score are left out.
        means: minus infinity where a seed diverged, shape ``(rates,)``.
        paired: scores of the seeds that have all rates, shape ``(rates, seeds)``, 0 where a rate diverged.
        draws: of ``means``, shape ``(draws, rates)``; None where fewer than two seeds have all rates.
    """

    log_rates: Floats
    means: Floats
    paired: Floats
    draws: Floats | None

    @property
    def finite(self) -> Bools:
        """Which rates did not diverge."""
        return np.isfinite(self.means)


def response_of(rates: ArrayLike, scores: ArrayLike, rng: np.random.Generator) -> Response:
    """Mean scores and draws of them; of seeds that lack a rate only the means make use."""
    values = np.asarray(scores, float)
    measured = ~np.isnan(values).all(axis=1)
    values = values[measured]
    log_rates = np.log(np.asarray(rates, float)[measured])
    diverged = np.isneginf(values).any(axis=1)
    kept = np.where(diverged[:, None], 0.0, values)
    means = np.nanmean(kept, axis=1) if len(kept) else np.empty(0)
    complete = _tempered(kept[:, ~np.isnan(kept).any(axis=0)], diverged)
    draws = None
    if len(kept) and complete.shape[1] >= 2:
        draws = np.where(diverged, -np.inf, means + _noise(complete, rng))
    return Response(log_rates, np.where(diverged, -np.inf, means), complete, draws)


def _tempered(scores: Floats, diverged: Bools) -> Floats:
    """The scores that tell of noise: (rates, seeds), runs that collapsed lifted.

    Where a rate loses to the best one with every seed, but with one by far the most, that one makes it no
    likelier to be the best, as a symmetric noise of its size would. So a seed of such a rate that loses
    by more than four times their median counts as losing by twice that.
    """
    if diverged.all() or not scores.size:
        return scores
    best = scores[np.argmax(np.where(diverged, -np.inf, scores.mean(axis=1)))]
    gaps = scores - best
    usual = np.median(gaps, axis=1, keepdims=True)
    collapsed = (gaps < 0).all(axis=1, keepdims=True) & (gaps < 4 * usual)
    return np.where(collapsed, best + 2 * usual, scores)


def _noise(scores: Floats, rng: np.random.Generator) -> Floats:
    """Draws of the error of the mean over seeds, shape ``(draws, rates)``, from scores (rates, seeds)."""
    seeds = scores.shape[1]
    deviations = scores - scores.mean(axis=1, keepdims=True)
    student = np.sqrt((seeds - 1) / rng.chisquare(seeds - 1, size=(DRAWS, 1)))
    weights = rng.standard_normal((DRAWS, seeds)) * student
    return np.asarray(weights @ deviations.T / np.sqrt(seeds * (seeds - 1)))


@dataclass(frozen=True)
class BestRate:
    """The rate of the highest score at one size.

    Attributes:
        rate, score: and the score there.
        interval: 90%; None if unknown. Where no parabola tells more, it reaches halfway to the neighbours.
        edge: the end of the grid at which the best rate lies, so that a better one may lie beyond.
        refined: whether a parabola gave it, rather than the grid alone.
    """

    rate: float
    score: float
    interval: Interval | None
    edge: Edge | None
    refined: bool


def best_rate(response: Response) -> BestRate | None:
    """The best rate of a size; None if nothing was measured or every rate diverged."""
    x = response.log_rates
    if not response.finite.any():
        return None
    vertex, score, low, high = (float(each[0]) for each in _vertices(x, response.means[None]))
    interval = None
    if response.draws is not None:
        _, _, lows, highs = _vertices(x, response.draws)
        tail = (1 - LEVEL) / 2
        interval = (_rate(np.quantile(lows, tail)), _rate(np.quantile(highs, 1 - tail)))
    at = int(np.argmax(response.means))
    edge: Edge | None = "high" if at == len(x) - 1 else "low" if at == 0 else None
    return BestRate(_rate(vertex), score, interval, edge, low == high and edge is None)


def _rate(log_rate: np.floating[Any] | float) -> float:
    """To six digits, so that a rate of the grid is itself again."""
    return float(f"{np.exp(log_rate):.6g}")


def _vertices(x: Floats, means: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Best log rate, its score, and between which log rates it lies, each of shape ``(n,)``.

    Args:
        x: log rates, ascending, shape ``(rates,)``.
        means: shape ``(n, rates)``, in each row at least one finite.
    """
    n, count = means.shape
    rows, at = np.arange(n), np.argmax(means, axis=1)
    left, right = np.maximum(at - 1, 0), np.minimum(at + 1, count - 1)
    h1, h2 = x[at] - x[left], x[right] - x[at]
    peak = means[rows, at]
    inside = (at > 0) & (at < count - 1)
    inside &= np.isfinite(means[rows, left]) & np.isfinite(means[rows, right])
    rise = np.divide(peak - means[rows, left], h1, out=np.zeros(n), where=inside)
    fall = np.divide(peak - means[rows, right], h2, out=np.zeros(n), where=inside)
    bend = rise + fall  # minus half the second derivative, times h1 + h2
    slope = np.divide(rise * h2 - fall * h1, h1 + h2, out=np.zeros(n), where=inside)
    shift = np.divide(slope * (h1 + h2), 2 * bend, out=np.zeros(n), where=bend > 0)
    vertex = x[at] + shift
    low = np.where(inside, vertex, (x[left] + x[at]) / 2)
    high = np.where(inside, vertex, (x[at] + x[right]) / 2)
    return vertex, peak + slope * shift / 2, low, high


@dataclass(frozen=True)
class Loss:
    """How much score a rate costs beside the best rate of its size.

    Attributes:
        score: at that rate; minus infinity if it diverged.
        loss: score at the best rate minus that.
        interval: of the loss, 90%, the two rates taken as given; None if unknown.
        draws: of the loss; None if unknown.
    """

    score: float
    loss: float
    interval: Interval | None
    draws: Floats | None


def loss_at(response: Response, best: BestRate, rate: float) -> Loss | None:
    """The loss at a rate, between the measured rates by the local parabola; None outside of them."""
    x, finite = response.log_rates, response.finite
    at = np.log(rate)
    if ((np.abs(x - at) < _SAME) & ~finite).any():
        return Loss(-np.inf, np.inf, None, None)
    there = _weights(x, finite, at)
    top = _weights(x, finite, np.log(best.rate))
    if there is None or top is None:
        return None
    means = np.where(finite, response.means, 0.0)
    contrast = top - there
    draws = None if response.draws is None else np.where(finite, response.draws, 0.0) @ contrast
    return Loss(float(there @ means), float(contrast @ means), _percentiles(draws), draws)


def is_flat(response: Response) -> bool:
    """Whether noise alone would make the rates differ this much in one case of ten or more.

    Analysis of variance of rates and seeds, over the rates that did not diverge.
    """
    from scipy.stats import f as fisher

    scores = response.paired[response.finite]
    rates, seeds = scores.shape
    if rates < 2 or seeds < 2:
        return False
    between = scores.mean(axis=1) - scores.mean()
    within = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    signal, noise = float(between @ between), float((within**2).sum())
    if noise == 0:
        return signal == 0
    ratio = seeds * (seeds - 1) * signal / noise
    return bool(fisher.sf(ratio, rates - 1, (rates - 1) * (seeds - 1)) > 1 - LEVEL)


def _weights(x: Floats, finite: Bools, at: float) -> Floats | None:
    """What the scores weigh, shape ``(rates,)``, in the parabola through the three rates about ``at``.

    The middle one is the nearest. Where one of the three is missing the parabola moves over, or is a line.
    """
    near = int(np.argmin(np.abs(x - at)))
    on_grid = abs(x[near] - at) < _SAME
    for first, last in [(0, 0)] if on_grid else [(-1, 1), (0, 2), (-2, 0), (0, 1), (-1, 0)]:
        i = np.arange(near + first, near + last + 1)
        inside = i[0] >= 0 and i[-1] < len(x)
        if inside and finite[i].all() and x[i[0]] - _SAME <= at <= x[i[-1]] + _SAME:
            weights = np.zeros(len(x))
            for j in i:
                others = x[i[i != j]]
                weights[j] = np.prod((at - others) / (x[j] - others))
            return weights
    return None


@dataclass(frozen=True)
class OneRate:
    """The measured rate that serves all sizes best.

    Attributes:
        loss: mean over the sizes of what it costs beside the best rate of each.
        interval: of that mean, 90%; None if unknown.
        worst, worst_at: the largest loss, and the index of its size.
    """

    rate: float
    loss: float
    interval: Interval | None
    worst: float
    worst_at: int


def best_for_all(
    responses: Sequence[Response], bests: Sequence[BestRate], rates: ArrayLike
) -> OneRate | None:
    """The rate with the least mean loss over the sizes; None if each diverged or is missing somewhere."""
    found: OneRate | None = None
    for rate in np.asarray(rates, float):
        losses = [loss_at(*pair, rate) for pair in zip(responses, bests, strict=True)]
        known = [each for each in losses if each is not None and np.isfinite(each.loss)]
        if not known or len(known) < len(losses):
            continue
        values = np.array([each.loss for each in known])
        draws = [each.draws for each in known if each.draws is not None]
        interval = _percentiles(np.mean(draws, axis=0)) if len(draws) == len(known) else None
        worst = int(np.argmax(values))
        one = OneRate(float(rate), float(values.mean()), interval, float(values[worst]), worst)
        if found is None or one.loss < found.loss:
            found = one
    return found


@dataclass(frozen=True)
class Trend:
    """Best rate as a power of an axis: the exponent with its 90% interval."""

    exponent: float
    interval: Interval
    num_sizes: int


def trend(axis: ArrayLike, rates: ArrayLike, groups: Sequence[object]) -> Trend | None:
    """The exponent of the best rates in ``axis``, one factor of its own for each group.

    By least squares; the interval, Student's, comes from the scatter about the fit. None if that leaves no
    degree of freedom.

    Args:
        axis, rates: positive, shape ``(sizes,)``.
        groups: what else sets the sizes apart, equal for those that differ in ``axis`` alone.
    """
    from scipy.stats import t as student

    x, y = np.log(np.asarray(axis, float)), np.log(np.asarray(rates, float))
    labels = list(dict.fromkeys(groups))
    member = np.array([labels.index(group) for group in groups], int)
    for label in range(len(labels)):
        x[member == label] -= x[member == label].mean()
        y[member == label] -= y[member == label].mean()
    freedom = len(x) - len(labels) - 1
    spread = float(x @ x)
    if freedom < 1 or spread < 1e-12:
        return None
    exponent = float(x @ y) / spread
    residuals = y - exponent * x
    error = float(np.sqrt(residuals @ residuals / freedom / spread))
    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    return Trend(exponent, (exponent - half, exponent + half), len(x))


@dataclass(frozen=True)
class Drift:
    """The factor by which best rates change from a part of the runs to the whole, with its 90% interval."""

    factor: float
    interval: Interval
    num_sizes: int


def drift_of(early: ArrayLike, late: ArrayLike) -> Drift | None:
    """From the best rates of the same sizes, shape ``(sizes,)``; Student's interval of the mean log ratio.

    None for fewer than two sizes.
    """
    from scipy.stats import t as student

    change = np.log(np.asarray(late, float)) - np.log(np.asarray(early, float))
    if len(change) < 2:
        return None
    middle = float(change.mean())
    half = (
        float(student.ppf((1 + LEVEL) / 2, len(change) - 1)) * float(change.std(ddof=1)) / len(change) ** 0.5
    )
    low, high = np.exp([middle - half, middle + half])
    return Drift(float(np.exp(middle)), (float(low), float(high)), len(change))


def next_rate(rates: Sequence[float], edge: Edge) -> float:
    """The rate with which to extend an ascending grid: as far beyond its end as the last step was long."""
    end, before = (rates[-1], rates[-2]) if edge == "high" else (rates[0], rates[1])
    return float(f"{end * end / before:.3g}")


def _percentiles(draws: Floats | None) -> Interval | None:
    if draws is None:
        return None
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
