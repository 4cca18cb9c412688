"""Backtests: fit without part of the curves, predict that part, and compare.

The rows that a split (``splits``) does not hold out are fitted as if the others had not been measured, with
the cut of early training by their own runs. That fit predicts the returns at every held-out (N, E), the best
return and the best size at each held-out compute, and N_opt. Held-out returns only enter the scores.

Returns, with 90% prediction intervals, are those of ``rlscale.analysis.forecast.prediction``: the law and its
map, continued beyond the largest I of the training rows, corrected by the nearest trained size. The result
states the share of points that need the continuation.

Baselines: for returns the nearest trained size's curve at the same E, held at its last value; for the
frontier and the best size those where the training's own frontier ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlscale.analysis.arrays import Bools, Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.next_to_measured import NextToMeasured
from rlscale.analysis.forecast.prediction import ReturnPredictor
from rlscale.analysis.points.frontier import Frontier, efficient_frontier
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.progress import told
from rlscale.analysis.records import CodedWarning, warning_fields
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.studies.backtest.law_scores import score_laws, score_predictors
from rlscale.analysis.studies.backtest.result import (
    BacktestResult,
    Errors,
    FrontierErrors,
    FrontierPoints,
    HeldOutPoints,
    OptimumErrors,
    OptimumPoint,
    Split,
    SplitBacktest,
    Training,
)
from rlscale.analysis.studies.backtest.splits import (
    SCORE_BIN,
    default_splits,
    held_out_rows,
    late_rows,
    naive_frontier,
    naive_returns,
    score_points,
)
from rlscale.scaling.wording import either

DEFAULT_REPLICATES = 200
_NUM_OPTIMA = 7


def backtest(
    curves: Curves,
    splits: Sequence[Split] | None = None,
    estimator: JointScalingFit | None = None,
    *,
    law_draws: int = 0,
    laws: bool = False,
) -> BacktestResult:
    """Backtest each split.

    Args:
        curves: left unchanged.
        splits: from ``hold_out_sizes`` or ``hold_out_compute``; ``default_splits`` if not given.
        estimator: how to fit; its ``replicates`` make the prediction intervals, 200 if not given.
        law_draws: resamples of runs for the intervals of the differences between laws.
        laws: whether to score the competing laws too.

    Raises:
        InputError, FitDidNotConverge: if what is left cannot be fitted.
    """
    estimator = estimator or JointScalingFit(replicates=DEFAULT_REPLICATES)
    splits = default_splits(curves, estimator) if splits is None else splits
    return BacktestResult(
        objective=estimator.objective,
        size=curves.size,
        source=curves.source,
        splits=[
            _backtest(curves, split, estimator, law_draws, laws)
            for split in told("parts held out", splits, len(splits))
        ],
        options={
            "bootstrap": estimator.replicates,
            "early_exclusion": estimator.early_exclusion,
            "seed": estimator.seed,
            "laws": laws,
            "law_draws": law_draws if laws else 0,
            "score_bin": SCORE_BIN,
        },
    )


def _backtest(
    curves: Curves, split: Split, estimator: JointScalingFit, law_draws: int, laws: bool
) -> SplitBacktest:
    held_out = held_out_rows(curves, split)
    train = curves.with_rows(~held_out)
    fit = estimator.fit(train)
    late = late_rows(curves, estimator.early_exclusion, fit.not_before)
    test = curves.with_rows(held_out & late)
    train_points = score_points(train, estimator, fit.not_before)
    test_points = Preprocessor(test, early_exclusion=0.0, bin_width=SCORE_BIN).points(smooth=False)
    predictor = ReturnPredictor.through(fit.law, fit.draw_laws(), train_points, estimator.seed, fit.objective)
    points = _held_out_points(predictor, train_points, test_points)
    train_frontier = efficient_frontier(train_points)
    all_points = score_points(curves, estimator, fit.not_before)
    frontier = _frontier_points(predictor, split, train_points, train_frontier, all_points)
    optimum = _optimum_points(fit, estimator, curves, test_points, train_points, train_frontier, all_points)
    beyond_share = float(test_points.weight @ points.beyond_map)
    has_draws = bool(predictor.draws)
    return SplitBacktest(
        split=split,
        training=Training(
            num_runs=train.num_runs,
            num_sizes=len(train.sizes),
            nu=fit.nu,
            nu_interval=fit.intervals.get("nu"),
            identified=fit.identified,
            top_compute=fit.range.C[1],
            top_return=fit.range.return_[1],
        ),
        returns=_errors(points.return_, points, points.weight, has_draws),
        beyond_map_share=beyond_share,
        extension=predictor.centre.base.map.scale,
        frontier=_frontier_errors(frontier, has_draws),
        optimum=_optimum_errors(optimum),
        laws=score_laws(
            train,
            test,
            frontier,
            all_points,
            estimator,
            draws=law_draws,
            widening=fit.bootstrap.widening,
            score_bin=SCORE_BIN,
        )
        if laws
        else [],
        points=points,
        frontier_points=frontier,
        optimum_points=optimum,
        predictors=score_predictors(train_points, test_points, fit.law),
        **warning_fields(_warnings(split, fit, frontier, beyond_share)),
    )


# -- returns at held-out (N, E) ---------------------------------------------------------


def _held_out_points(predictor: ReturnPredictor, train: BinnedPoints, test: BinnedPoints) -> HeldOutPoints:
    n, e = test.log_n, test.log_e
    found = predictor.at(n, e)
    return HeldOutPoints(
        N=np.exp(n),
        E=np.exp(e),
        return_=test.returns,
        weight=test.weight,
        predicted=found.returns,
        low=found.low,
        high=found.high,
        naive=naive_returns(train, n, e),
        beyond_map=found.beyond,
    )


def _errors(measured: Floats, points: HeldOutPoints | FrontierPoints, weight: Floats, drawn: bool) -> Errors:
    error, naive = points.predicted - measured, points.naive - measured
    covered = (measured >= points.low) & (measured <= points.high)
    return Errors(
        num_points=len(measured),
        mean_absolute=float(weight @ np.abs(error)),
        bias=float(weight @ error),
        coverage=float(weight @ covered) if drawn else None,
        naive_mean_absolute=float(weight @ np.abs(naive)),
        naive_bias=float(weight @ naive),
    )


# -- the frontier at held-out computes --------------------------------------------------


def sizes_at(points: BinnedPoints, log_c: Floats) -> tuple[Floats, Bools]:
    """log N of all sizes, and which of them have data at each compute, shape ``(sizes, computes)``."""
    sizes = np.unique(points.log_n)
    spans = [(points.log_n + points.log_e)[points.log_n == size] for size in sizes]
    covered = [(log_c >= span.min()) & (log_c <= span.max()) for span in spans]
    return sizes, np.array(covered)


def _frontier_points(
    predictor: ReturnPredictor,
    split: Split,
    train: BinnedPoints,
    train_frontier: Frontier,
    everything: BinnedPoints,
) -> FrontierPoints:
    """The measured frontier of all rows where it is held out, and what the training fit says of it.

    Predictions are for the sizes that have data at a compute, so the spacing of sizes does not count
    against the law.
    """
    measured = efficient_frontier(everything)
    compute, best, size = measured.compute, measured.return_, measured.N
    held = (np.abs(np.log(size)[:, None] - np.log(split.sizes)) < 1e-6).any(axis=1)
    kept = held if split.kind == "sizes" else compute > (split.cutoff or 0.0)
    compute, best, size = compute[kept], best[kept], size[kept]
    log_c = np.log(compute)
    log_n, covered = sizes_at(everything, log_c)

    def at_each(law: NextToMeasured) -> Floats:
        """Return of every size at every compute, minus infinity where it has no data."""
        return np.where(covered, law.predict(log_n[:, None], log_c - log_n[:, None]), -np.inf)

    centre = at_each(predictor.centre)
    predicted, chosen = centre.max(axis=0), log_n[centre.argmax(axis=0)]
    drawn = np.array([at_each(draw).max(axis=0) for draw in predictor.draws])
    low, high = predictor.interval(chosen, log_c - chosen, drawn, predicted)
    naive, naive_size = naive_frontier(train, train_frontier, log_c)
    return FrontierPoints(
        compute=compute,
        best_return=best,
        best_size=size,
        predicted=predicted,
        predicted_size=np.exp(chosen),
        low=low,
        high=high,
        naive=naive,
        naive_size=naive_size,
    )


def _frontier_errors(points: FrontierPoints, drawn: bool) -> FrontierErrors | None:
    count = len(points.compute)
    if not count:
        return None
    weight = np.full(count, 1 / count)
    decades, naive = (
        np.abs(np.log10(sizes) - np.log10(points.best_size))
        for sizes in (points.predicted_size, points.naive_size)
    )
    return FrontierErrors(
        **_errors(points.best_return, points, weight, drawn).model_dump(),
        size_hits=float(np.mean(decades < 1e-6)),
        naive_size_hits=float(np.mean(naive < 1e-6)),
        size_decades=float(np.mean(decades)),
        naive_size_decades=float(np.mean(naive)),
    )


# -- N_opt at held-out computes ---------------------------------------------------------


def _optimum_points(
    fit: FitResult,
    estimator: JointScalingFit,
    curves: Curves,
    test: BinnedPoints,
    train: BinnedPoints,
    train_frontier: Frontier,
    everything: BinnedPoints,
) -> list[OptimumPoint]:
    """N_opt at computes evenly spaced in logarithms over the held-out rows."""
    log_c = test.log_n + test.log_e
    grid = np.linspace(log_c.min(), log_c.max(), _NUM_OPTIMA)
    full = estimator.estimate(curves).law
    measured = efficient_frontier(everything)
    known = np.log(measured.compute)
    _, naive = naive_frontier(train, train_frontier, grid)
    laws = fit.draw_laws()
    found = []
    for x, naive_size in zip(grid, naive, strict=True):
        compute = float(np.exp(x))
        near = int(np.abs(known - x).argmin()) if len(known) else 0
        seen = len(known) > 0 and known[0] - 0.1 <= x <= known[-1] + 0.1
        ends = percentile_interval(np.array([law.N_opt(compute) for law in laws])) if laws else None
        found.append(
            OptimumPoint(
                compute=compute,
                N_opt=float(fit.law.N_opt(compute)),
                interval=None if ends is None else (float(ends[0]), float(ends[1])),
                full_fit=float(full.N_opt(compute)),
                best_size=float(measured.N[near]) if seen else None,
                naive=float(naive_size),
            )
        )
    return found


def _optimum_errors(points: list[OptimumPoint]) -> OptimumErrors:
    def mean_decades(pairs: list[tuple[float, float | None]]) -> float | None:
        errors = [abs(np.log10(a / b)) for a, b in pairs if b is not None]
        return float(np.mean(errors)) if errors else None

    held = [p.interval[0] <= p.full_fit <= p.interval[1] for p in points if p.interval is not None]
    return OptimumErrors(
        against_full_fit=mean_decades([(p.N_opt, p.full_fit) for p in points]) or 0.0,
        naive_against_full_fit=mean_decades([(p.naive, p.full_fit) for p in points]) or 0.0,
        against_best_size=mean_decades([(p.N_opt, p.best_size) for p in points]),
        naive_against_best_size=mean_decades([(p.naive, p.best_size) for p in points]),
        coverage=float(np.mean(held)) if held else None,
    )


def _warnings(
    split: Split, fit: FitResult, frontier: FrontierPoints, beyond_share: float
) -> list[CodedWarning]:
    found = []
    if not fit.identified:
        found.append(
            (
                "training_not_identified",
                f"The training part does not determine the exponents ({fit.warnings[0].rstrip('.')}), so "
                f"this says little of a fit that does.",
            )
        )
    if not len(frontier.compute) and split.kind == "sizes":
        found.append(
            (
                "no_held_out_optimum",
                "The held-out sizes are best at no compute, so their returns are predicted but no optimum "
                "beyond the training sizes is tested; hold out compute instead "
                f"({either('--cutoff-share', 'hold_out_compute')}).",
            )
        )
    elif not len(frontier.compute):
        found.append(
            (
                "no_held_out_frontier",
                "The measured frontier does not reach beyond the cutoff, so no best size is tested; "
                "choose a smaller cutoff.",
            )
        )
    if beyond_share == 0:
        found.append(
            (
                "within_map",
                "No held-out point has a higher intrinsic performance than the training part reached: "
                "its returns were within the range of the map, not an extrapolation of it.",
            )
        )
    elif beyond_share > 0.5:
        found.append(
            (
                "beyond_map",
                f"{beyond_share:.0%} of the held-out points lie beyond the training's map, whose "
                f"continuation is a guess.",
            )
        )
    return found
