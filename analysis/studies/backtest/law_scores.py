"""How well each law predicts the same held-out points from the same training rows.

Differences between laws get an interval from resampled runs: each draw fits every law to the same
resampled training runs and scores all on the same resampled held-out runs, so common noise cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rlscale.analysis.arrays import Ints
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.resampling import resample, scheme_for
from rlscale.analysis.progress import shared_out
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.studies.backtest.competing_laws import LAWS, PREDICTORS, ReturnLaw
from rlscale.analysis.studies.backtest.result import FrontierPoints, LawScore, PredictorScore
from rlscale.analysis.theory.power_law import PowerLaw


@dataclass(frozen=True)
class _Contest:
    """The inputs of one draw."""

    train: Curves
    test: Curves
    estimator: JointScalingFit
    score_bin: float

    def laws(self, counts: Ints | None = None) -> dict[str, ReturnLaw]:
        """Every law that can be fitted to the training runs, each repeated ``counts`` times."""
        train = self.train if counts is None else repeated(self.train, counts)
        law = self.estimator.estimate(train).law
        points = Preprocessor(
            train,
            early_exclusion=self.estimator.early_exclusion,
            bin_width=self.score_bin,
            smoothing=self.estimator.smoothing,
        ).points()
        fitted = {kind.name: kind.fit(points, law) for kind in LAWS}
        return {name: law for name, law in fitted.items() if law is not None}

    def held_out(self, counts: Ints | None = None) -> BinnedPoints:
        """The held-out points, each run repeated ``counts`` times."""
        prepared = Preprocessor(self.test, early_exclusion=0.0, bin_width=self.score_bin)
        return prepared.points(counts, smooth=False)

    def errors(self, drawn: tuple[Ints, Ints]) -> dict[str, float]:
        """Mean absolute error of each law in one draw of (training runs, held-out runs)."""
        test = self.held_out(drawn[1])
        return {name: mean_error(law, test)[0] for name, law in self.laws(drawn[0]).items()}


def score_laws(
    train: Curves,
    test: Curves,
    frontier: FrontierPoints,
    everything: BinnedPoints,
    estimator: JointScalingFit,
    *,
    draws: int,
    widening: float,
    score_bin: float,
) -> list[LawScore]:
    """Scores of all laws that could be fitted, best first.

    Args:
        train, test: training and held-out rows.
        frontier: the measured frontier at held-out computes.
        everything: points of all rows, for which sizes have data at a compute.
        estimator: fits the law with the lemma.
        draws: resamples; 0 for no intervals.
        widening: factor for few seeds, see ``rlscale.analysis.fit.bootstrap``.
        score_bin: width of a bin in log E.
    """
    contest = _Contest(train, test, replace(estimator, workers=1), score_bin)
    laws, points = contest.laws(), contest.held_out()
    errors = {name: mean_error(law, points) for name, law in laws.items()}
    intervals = _difference_intervals(contest, draws, widening, estimator.workers)
    kinds = {kind.name: kind for kind in LAWS}
    scores = [
        LawScore(
            name=name,
            num_constants=kinds[name].num_constants,
            mean_absolute=errors[name][0],
            bias=errors[name][1],
            frontier_mean_absolute=_frontier_error(law, frontier, everything),
            difference=errors[name][0] - errors["lemma"][0],
            difference_interval=intervals.get(name),
            constants={key: float(value) for key, value in law.constants.items()},
        )
        for name, law in laws.items()
    ]
    return sorted(scores, key=lambda score: score.mean_absolute)


def score_predictors(train: BinnedPoints, test: BinnedPoints, law: PowerLaw) -> list[PredictorScore]:
    """Scores on the held-out points of what every backtest compares, in the order of ``PREDICTORS``.

    Args:
        train, test: training and held-out points.
        law: fitted to the training rows.
    """
    found = []
    for kind in PREDICTORS:
        fitted = kind.fit(train, law)
        if fitted is not None:
            error, bias = mean_error(fitted, test)
            found.append(PredictorScore(name=kind.name, mean_absolute=error, bias=bias))
    return found


def mean_error(law: ReturnLaw, points: BinnedPoints) -> tuple[float, float]:
    """Weighted mean of |predicted - measured| and of predicted - measured."""
    error = law.predict(points.log_n, points.log_e) - points.returns
    return float(points.weight @ np.abs(error)), float(points.weight @ error)


def repeated(curves: Curves, counts: Ints) -> Curves:
    """The curves with run ``i`` repeated ``counts[i]`` times, under new ids."""
    order = np.repeat(np.arange(curves.num_runs), counts)
    bounds = np.searchsorted(curves.run_index, np.arange(curves.num_runs + 1))
    rows = [np.arange(bounds[run], bounds[run + 1]) for run in order]
    at = np.concatenate(rows)
    return replace(
        curves,
        run_ids=tuple(f"{curves.run_ids[run]}#{place}" for place, run in enumerate(order)),
        run_sizes=curves.run_sizes[order],
        run_index=np.repeat(np.arange(len(order)), [len(run_rows) for run_rows in rows]),
        interactions=curves.interactions[at],
        returns=curves.returns[at],
        table=curves.table.iloc[order],
    )


def _difference_intervals(
    contest: _Contest, draws: int, widening: float, workers: int
) -> dict[str, tuple[float, float]]:
    """90% interval of each law's error minus that of the law with the lemma."""
    if draws == 0:
        return {}
    rng = np.random.default_rng(contest.estimator.seed)
    drawn = [_draw(contest, rng) for _ in range(draws)]
    errors = shared_out("laws of resampled runs", contest.errors, [(one,) for one in drawn], workers)
    found = {}
    for kind in LAWS[1:]:
        differences = np.array([e[kind.name] - e["lemma"] for e in errors if kind.name in e])
        if len(differences) > draws / 2:
            middle = np.median(differences)
            low, high = percentile_interval(middle + widening * (differences - middle))
            found[kind.name] = (float(low), float(high))
    return found


def _draw(contest: _Contest, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """How often each training run and each held-out run occurs.

    A run with rows in both occurs equally often in both. If sizes are drawn for lack of seeds, the
    held-out rows stay unchanged.
    """
    scheme = scheme_for(contest.train)
    train = resample(contest.train, scheme, rng)
    if scheme == "sizes":
        return train, np.ones(contest.test.num_runs, dtype=np.int64)
    test = resample(contest.test, scheme, rng)
    count_of = dict(zip(contest.train.run_ids, train, strict=True))
    shared = [count_of.get(run_id, own) for run_id, own in zip(contest.test.run_ids, test, strict=True)]
    counts = np.array(shared, dtype=np.int64)
    return train, counts if counts.any() else test


def _frontier_error(law: ReturnLaw, frontier: FrontierPoints, everything: BinnedPoints) -> float | None:
    """Mean absolute error of the best return over the sizes that have data at each held-out compute."""
    if not len(frontier.compute):
        return None
    log_c, spans = np.log(frontier.compute), everything.log_n + everything.log_e
    best = np.full(len(log_c), -np.inf)
    for log_n in np.unique(everything.log_n):
        span = spans[everything.log_n == log_n]
        covered = (log_c >= span.min()) & (log_c <= span.max())
        best[covered] = np.maximum(best[covered], law.predict(log_n, log_c[covered] - log_n))
    return float(np.mean(np.abs(best - frontier.best_return)))
