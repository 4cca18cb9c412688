"""Which runs of a sweep train well, from their returns and the metrics of their representation.

A law of size and experience claims that a run gets better. PPO's runs need not: representation and return
can collapse (Moalla et al. 2024, "No Representation, No Trust"), and a model that collapsed looks like a
worse one. Every curve shows a lost return; runs with ``diagnostics`` show their policy's representation, too.

*Signs*, each of which counts only if it holds to the end of the run, from then on:

* the return has lost a quarter, or half, of what it had gained;
* the policy no longer depends on the state: its variance over states is below a tenth of its largest;
* its features span almost nothing: their approximate rank is at most a tenth of the units, and half of its
  largest;
* its features are dead: 95% of the units say nothing.

A run is *collapsed* if it lost half of its gain, or a quarter and its representation; *degrading* if it lost
a quarter, or its representation but no return yet; else *healthy*. Rank or dead units alone are no collapse
of a run whose returns are fine: a policy of two actions needs few directions. Returns and metrics are means
over the last 5% of training, as the paper reports them. How often the rule is right: ``benchmarks/health.py``
and ``data/ppo_collapse``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.findings import HealthSign, RunHealth

#: Share of training over which returns and metrics are averaged, backwards.
WINDOW = 0.05
#: Share of the gain whose loss is a sign, and that of which is a collapse.
LOST, LOST_MOST = 0.25, 0.5
#: A loss must also be so large a share of the sweep's range of returns, and so many times a row's noise.
_OF_RANGE, _NOISE = 0.1, 4.0
#: Of the largest variance of the policy over states; of the units, and of the largest rank; of the units.
NO_VARIANCE, NO_RANK, RANK_FELL, DEAD = 0.1, 0.1, 0.5, 0.95
_ROUNDING = 1e-9  # of the range of returns: less is the rounding of sums
_FEWEST_ROWS = 8  # a shorter curve has no trend


def assess_health(curves: Curves) -> list[RunHealth]:
    """The health of each run, in the order of ``curves.run_ids``."""
    low, high = np.quantile(curves.returns, (0.005, 0.995))
    return [_health(curves, run, float(high - low)) for run in range(curves.num_runs)]


def _health(curves: Curves, run: int, sweep_range: float) -> RunHealth:
    rows = slice(*np.searchsorted(curves.run_index, [run, run + 1]))
    e, returns = curves.interactions[rows], curves.returns[rows]
    began: dict[HealthSign, float | None] = {}
    if len(e) >= _FEWEST_ROWS:
        lost = share_lost(e, returns, sweep_range)
        metrics = {name: trailing_mean(e, values[rows]) for name, values in curves.metrics.items()}
        began = {
            "return": held_from(e, lost > LOST),
            "variance": held_from(e, without_variance(metrics)),
            "rank": held_from(e, without_rank(metrics)),
            "dead_units": held_from(e, metrics.get("policy_dead_share", np.zeros(len(e))) >= DEAD),
        }
    signs: dict[HealthSign, float] = {sign: at for sign, at in began.items() if at is not None}
    state = "healthy"
    if signs:
        most = "return" in signs and lost[-1] > LOST_MOST
        state = "collapsed" if most or ("return" in signs and len(signs) > 1) else "degrading"
    return RunHealth(
        run_id=curves.run_ids[run],
        N=float(curves.run_sizes[run]),
        state=state,
        began=min(signs.values(), default=None),
        signs=signs,
    )


def share_lost(e: Floats, returns: Floats, sweep_range: float) -> Floats:
    """Which share of its gain a run has lost at each row; 0 where noise could make as much.

    The gain is from the least smoothed return before the largest one to the largest until the row.

    Args:
        e, returns: of one run, shape ``(rows,)``, E ascending.
        sweep_range: of the returns of all runs.
    """
    smooth = trailing_mean(e, returns)
    best = np.maximum.accumulate(smooth)
    loss = best - smooth
    peak = int(np.argmax(smooth >= smooth.max() - _ROUNDING * sweep_range))
    gain = best - smooth[: peak + 1].min()
    steps = np.diff(returns, 2)
    noise = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(6)
    counts = (loss > _OF_RANGE * sweep_range) & (loss > _NOISE * noise) & (gain > 0)
    return np.where(counts, np.divide(loss, gain, out=np.zeros_like(loss), where=gain > 0), 0.0)


def without_variance(metrics: dict[str, Floats]) -> Bools:
    """Where the variance of the policy over states is below ``NO_VARIANCE`` of its largest so far."""
    return _below(metrics.get("policy_variance"), NO_VARIANCE, len(next(iter(metrics.values()), [])))


def without_rank(metrics: dict[str, Floats]) -> Bools:
    """Where the approximate rank is at most ``NO_RANK`` of the units, ``RANK_FELL`` of its largest so far."""
    rank, features = metrics.get("policy_approximate_rank"), metrics.get("policy_features")
    if rank is None or features is None:
        return np.zeros(len(next(iter(metrics.values()), [])), bool)
    return (rank <= NO_RANK * features) & _below(rank, RANK_FELL, len(rank))


def _below(values: Floats | None, share: float, rows: int) -> Bools:
    if values is None:
        return np.zeros(rows, bool)
    return values <= share * np.fmax.accumulate(values)


def trailing_mean(e: Floats, values: Floats) -> Floats:
    """Mean of the values in the last ``WINDOW`` of training before each row and in it, shape ``(rows,)``.

    Rows without a value (NaN) do not count; a row whose window has none has that of the row before.
    """
    known = ~np.isnan(values)
    first = np.searchsorted(e, e - WINDOW * e[-1], side="right")
    sums, counts = (np.append(0.0, np.cumsum(x)) for x in (np.where(known, values, 0.0), known))
    rows = np.arange(1, len(e) + 1)
    number = counts[rows] - counts[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (sums[rows] - sums[first]) / number
    last = np.maximum.accumulate(np.where(number > 0, np.arange(len(e)), -1))
    return np.where(last >= 0, mean[last], np.nan)


def held_from(e: Floats, holds: Bools) -> float | None:
    """The E from which a sign holds to the end; None if it does not hold at the end."""
    if not len(holds) or not holds[-1]:
        return None
    gaps = np.flatnonzero(~holds)
    return float(e[gaps[-1] + 1 if len(gaps) else 0])


def without_unhealthy(curves: Curves, health: Sequence[RunHealth], *, whole_runs: bool) -> Curves:
    """The curves without unhealthy runs, or without the rows of these from where they fell ill.

    Args:
        health: of each run, in the order of ``curves.run_ids``.
        whole_runs: whether all rows of an unhealthy run are left out.
    """
    until = np.array([np.inf if run.began is None else 0.0 if whole_runs else run.began for run in health])
    return curves.with_rows(curves.interactions < until[curves.run_index])
