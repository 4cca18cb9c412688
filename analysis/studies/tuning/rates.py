"""The best learning rate of a size, from the scores of runs at several rates. Functions on arrays.

Scores have the shape (rates, seeds), the rates ascending. A run that diverged scores minus infinity, worse
than any other; NaN is a run that is not measured. A rate at which any seed diverged counts as diverged.

The best rate is the vertex of the parabola, in the logarithm of the rate, through the mean score of the best
measured rate and of its two neighbours, at most 0.4 of the way to either, so that a neighbour where
learning collapsed does not decide it. At an end of the grid, or beside a rate that diverged, there is no
parabola, and the best measured rate is taken.

The intervals are for the mean over seeds. A seed is drawn with all its rates together, so an advantage that
a seed has at every rate is not noise. Ordinary resampling of two or three seeds gives far too narrow
intervals; instead the deviations of the seeds from their mean are weighted by Gaussians on the scale of
Student's distribution with seeds - 1 degrees of freedom, whose quantiles are exact for whatever
is linear in the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlscale.analysis.arrays import Bools, Floats

Interval = tuple[float, float]
Edge = Literal["low", "high"]

LEVEL = 0.9
DRAWS = 4000
#: Share of a run, at its end, whose mean return is its score: late enough to show the effect of the rate,
#: and long enough for many episodes.
SCORED_SHARE = 0.1
_MAX_SHIFT = 0.4  # steps of the grid
_SAME = 1e-6  # log rates that are as near as this are one


def score_of(
    interactions: ArrayLike, episodes: ArrayLike, returns: ArrayLike, *, share: float = 1.0
) -> float:
    """Mean return over the episodes of the last tenth of a curve's interactions; NaN if there are none.

    Args:
        interactions: at the end of each row, ascending, shape ``(rows,)``.
        episodes, returns: episodes of each row and the mean of their returns, NaN where there are none.
        share: use only this share of the curve, from its beginning.
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
    """Mean scores and draws of them; seeds that lack a rate are used only in the means."""
    values = np.asarray(scores, float)
    measured = ~np.isnan(values).all(axis=1)
    values = values[measured]
    log_rates = np.log(np.asarray(rates, float)[measured])
    diverged = np.isneginf(values).any(axis=1)
    kept = np.where(diverged[:, None], 0.0, values)
    means = np.nanmean(kept, axis=1) if len(kept) else np.empty(0)
    complete = kept[:, ~np.isnan(kept).any(axis=0)]
    draws = None
    if len(kept) and complete.shape[1] >= 2:
        noise = _noise(_without_collapses(complete, diverged), rng)
        draws = np.where(diverged, -np.inf, means + noise)
    return Response(log_rates, np.where(diverged, -np.inf, means), complete, draws)


def _without_collapses(scores: Floats, diverged: Bools) -> Floats:
    """The scores (rates, seeds) for the uncertainty of the best rate: without the noise of collapsed rates.

    Where some seeds learned nothing, scores scatter widely, but to one side only: treated as symmetric
    noise, they would make their rate a candidate for the best. So a rate that loses to the best one with
    every seed, both losses and scatter more than four times the usual scatter, always loses by its mean.
    """
    if diverged.all() or scores.shape[1] < 2:
        return scores
    at = np.argmax(np.where(diverged, -np.inf, scores.mean(axis=1)))
    gaps = scores - scores[at]
    scatter = gaps.std(axis=1, ddof=1)
    others = ~diverged & (np.arange(len(scores)) != at)
    if not others.any():
        return scores
    usual = np.quantile(scatter[others], 0.5, method="lower")
    collapsed = (gaps < -4 * usual).all(axis=1) & (scatter > 4 * usual)
    return np.where(collapsed[:, None], scores[at] + gaps.mean(axis=1, keepdims=True), scores)


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
        interval: 90%; None if unknown. Where there is no parabola, it reaches halfway to a neighbour.
        edge: the end of the grid if the best rate is there, so that a better one may be outside; else None.
        refined: whether it is the vertex of a parabola, not a rate of the grid.
        draws: of the logarithm of the rate; None if unknown.
    """

    rate: float
    score: float
    interval: Interval | None
    edge: Edge | None
    refined: bool
    draws: Floats | None


def best_rate(response: Response) -> BestRate | None:
    """The best rate of a size; None if nothing was measured or every rate diverged."""
    x = response.log_rates
    if not response.finite.any():
        return None
    vertex = float(_vertices(x, response.means[None])[0][0])
    interval, draws = None, None
    if response.draws is not None:
        draws, lows, highs = _vertices(x, response.draws)
        tail = (1 - LEVEL) / 2
        interval = (_rate(np.quantile(lows, tail)), _rate(np.quantile(highs, 1 - tail)))
    at = int(np.argmax(response.means))
    edge: Edge | None = "high" if at == len(x) - 1 else "low" if at == 0 else None
    score = float(_top_weights(response, vertex) @ np.where(response.finite, response.means, 0.0))
    refined = bool(edge is None and response.finite[at - 1 : at + 2].all())
    return BestRate(_rate(vertex), score, interval, edge, refined, draws)


def _rate(log_rate: np.floating[Any] | float) -> float:
    """Rounded to ten digits, so that a rate of the grid keeps its value."""
    return float(f"{np.exp(log_rate):.10g}")


def _vertices(x: Floats, means: Floats) -> tuple[Floats, Floats, Floats]:
    """Best log rate, and between which log rates it lies, each of shape ``(n,)``.

    Args:
        x: log rates, ascending, shape ``(rates,)``.
        means: shape ``(n, rates)``, in each row at least one finite.
    """
    n, count = means.shape
    rows, at = np.arange(n), np.argmax(means, axis=1)
    left, right = np.maximum(at - 1, 0), np.minimum(at + 1, count - 1)
    inside = (at > 0) & (at < count - 1)
    inside &= np.isfinite(means[rows, left]) & np.isfinite(means[rows, right])
    h1 = np.where(inside, x[at] - x[left], 1.0)
    h2 = np.where(inside, x[right] - x[at], 1.0)
    peak = means[rows, at]
    rise = np.where(inside, peak - np.where(inside, means[rows, left], 0.0), 0.0) / h1
    fall = np.where(inside, peak - np.where(inside, means[rows, right], 0.0), 0.0) / h2
    bend = rise + fall
    shift = np.divide(rise * h2 - fall * h1, 2 * bend, out=np.zeros(n), where=bend > 0)
    vertex = x[at] + np.clip(shift, -_MAX_SHIFT * h1, _MAX_SHIFT * h2)
    # Beyond the limit of its shift the vertex may lie anywhere up to half of the way, as it may without one.
    low = np.where(inside & (shift > -_MAX_SHIFT * h1), vertex, (x[left] + x[at]) / 2)
    high = np.where(inside & (shift < _MAX_SHIFT * h2), vertex, (x[at] + x[right]) / 2)
    return vertex, low, high


@dataclass(frozen=True)
class Loss:
    """How much score a rate loses against the best rate of its size, both rates taken as fixed.

    Attributes:
        score: at that rate; minus infinity if it diverged.
        loss: score at the best rate minus that.
        error: standard error of the loss over paired seeds; None if unknown.
        num_seeds: behind ``error``.
    """

    score: float
    loss: float
    error: float | None = None
    num_seeds: int = 0

    @property
    def interval(self) -> Interval | None:
        """Student's, 90%; None if unknown."""
        if self.error is None:
            return None
        return _student(self.loss, self.error, self.num_seeds - 1)


def loss_at(response: Response, best: BestRate, rate: float) -> Loss | None:
    """The loss at a rate, by linear interpolation between the measured rates; None outside them."""
    x, finite = response.log_rates, response.finite
    at = np.log(rate)
    if ((np.abs(x - at) < _SAME) & ~finite).any():
        return Loss(-np.inf, np.inf)
    there = _weights(x, finite, at)
    if there is None:
        return None
    means = np.where(finite, response.means, 0.0)
    contrast = _top_weights(response, np.log(best.rate)) - there
    score, loss, seeds = float(there @ means), float(contrast @ means), response.paired.shape[1]
    if seeds < 2:
        return Loss(score, loss)
    error = float((contrast @ response.paired).std(ddof=1)) / seeds**0.5
    return Loss(score, loss, error, seeds)


def _student(middle: float, error: float, freedom: float) -> Interval:
    from scipy.stats import t as student

    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    return middle - half, middle + half


def is_flat(response: Response) -> bool:
    """Whether noise alone would make the rates differ this much in one case of ten or more.

    Analysis of variance of rates and seeds, over the rates that did not diverge.
    """
    from scipy.stats import f as fisher

    scores = _without_collapses(response.paired, ~response.finite)[response.finite]
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


def _top_weights(response: Response, vertex: float) -> Floats:
    """The weights of the means, shape ``(rates,)``, in the score at the vertex of the parabola.

    At the limit of its shift the neighbour on the far side is too far below to belong to the parabola, which
    is then that through the other two with this vertex.
    """
    x, weights = response.log_rates, np.zeros(len(response.log_rates))
    at = int(np.argmax(response.means))
    shift = vertex - x[at]
    weights[at] = 1.0
    if abs(shift) < _SAME:
        return weights
    side = at + (1 if shift > 0 else -1)
    step = abs(x[side] - x[at])
    if abs(shift) > _MAX_SHIFT * step - _SAME:
        gain = _MAX_SHIFT**2 / (1 - 2 * _MAX_SHIFT)
        weights[at], weights[side] = 1 + gain, -gain
        return weights
    three = np.arange(at - 1, at + 2)
    for j in three:
        others = x[three[three != j]]
        weights[j] = np.prod((vertex - others) / (x[j] - others))
    return weights


def _weights(x: Floats, finite: Bools, at: float) -> Floats | None:
    """The weights of the means, shape ``(rates,)``, in the score at the log rate ``at``."""
    near = np.abs(x - at) < _SAME
    if near.any():
        weights = near.astype(float)
    elif x[0] < at < x[-1]:
        weights = np.array([np.interp(at, x, unit) for unit in np.eye(len(x))])
    else:
        return None
    return weights if finite[weights > 0].all() else None


@dataclass(frozen=True)
class OneRate:
    """The measured rate that serves all sizes best.

    Attributes:
        loss: mean over the sizes of the score lost against the best rate of each.
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
        worst = int(np.argmax(values))
        one = OneRate(float(rate), float(values.mean()), _of_mean(known), float(values[worst]), worst)
        if found is None or one.loss < found.loss:
            found = one
    return found


def _of_mean(losses: Sequence[Loss]) -> Interval | None:
    """Interval of the mean of losses whose errors are independent, degrees of freedom by Satterthwaite."""
    errors = np.array([loss.error for loss in losses if loss.error is not None])
    if len(errors) < len(losses):
        return None
    parts = (errors / len(errors)) ** 2
    middle, variance = float(np.mean([loss.loss for loss in losses])), float(parts.sum())
    if variance == 0:
        return middle, middle
    freedom = variance**2 / float(np.sum(parts**2 / (np.array([loss.num_seeds for loss in losses]) - 1)))
    return _student(middle, variance**0.5, freedom)


@dataclass(frozen=True)
class Trend:
    """Best rate as a power of an axis: the exponent with its 90% interval."""

    exponent: float
    interval: Interval
    num_sizes: int


def trend(axis: ArrayLike, bests: Sequence[BestRate], groups: Sequence[object]) -> Trend | None:
    """The exponent of the best rates in ``axis`` by least squares, with a separate factor for each group.

    The interval is the union of one from the scatter about the fit, by Student's distribution, and one
    from the seeds. None if no degree of freedom is left.

    Args:
        axis: positive, shape ``(sizes,)``.
        bests: the best rate of each size.
        groups: a label for each size, equal for sizes that differ only in ``axis``.
    """
    labels = list(dict.fromkeys(groups))
    member = np.array([labels.index(group) for group in groups], int)
    x = _centred(np.log(np.asarray(axis, float)), member)
    y = _centred(np.log([best.rate for best in bests]), member)
    freedom = len(x) - len(labels) - 1
    spread = float(x @ x)
    if freedom < 1 or spread < 1e-12:
        return None
    exponent = float(x @ y) / spread
    residuals = y - exponent * x
    error = float(np.sqrt(residuals @ residuals / freedom / spread))
    ends = [_student(exponent, error, freedom)]
    draws = [best.draws for best in bests if best.draws is not None]
    if len(draws) == len(bests):
        low, high = np.quantile(x @ np.array(draws) / spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        ends.append((float(low), float(high)))
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return Trend(exponent, (low, high), len(x))


def _centred(values: Floats, member: NDArray[np.int_]) -> Floats:
    """The values minus the mean of their group."""
    return values - (np.bincount(member, values) / np.bincount(member))[member]


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
    change = np.log(np.asarray(late, float)) - np.log(np.asarray(early, float))
    if len(change) < 2:
        return None
    middle = float(change.mean())
    low, high = _student(middle, float(change.std(ddof=1)) / len(change) ** 0.5, len(change) - 1)
    return Drift(float(np.exp(middle)), (float(np.exp(low)), float(np.exp(high))), len(change))


def next_rate(rates: Sequence[float], edge: Edge) -> float:
    """The rate with which to extend an ascending grid: as far beyond its end as the last step was long."""
    end, before = (rates[-1], rates[-2]) if edge == "high" else (rates[0], rates[1])
    return float(f"{end * end / before:.3g}")
