"""The result of a tuning sweep, read from its store, and its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.analysis.studies.tuning.rates import (
    SCORED_SHARE,
    BestRate,
    Drift,
    Floats,
    Interval,
    Loss,
    OneRate,
    Response,
    Trend,
    best_for_all,
    best_rate,
    drift_of,
    is_flat,
    loss_at,
    next_rate,
    response_of,
    score_of,
    trend,
)
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import NonFiniteLoss
from rlscale.sweeps.specs.spec import SweepSpec, Tuning
from rlscale.sweeps.specs.tuning_sweep import Size, shortened, sizes_of, tuned_config, tuning_of
from rlscale.sweeps.store.names import tuning_name
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore

_SEED = 0  # of the draws behind the intervals
_EARLY_SHARE = 0.5  # of a run, for how the best rate changes with length
_NEAR = 1.001  # factor within which two rates are one
_NAMED_SIZES = 4  # in a warning
#: Axes whose effect on the best rate is fitted, and where they live in the config.
_TRENDS = {"width": "model", "depth": "model", "horizon": "agent"}


@dataclass(frozen=True)
class SizeResult:
    """What tuning found at one size.

    Attributes:
        num_params: None if none of its runs has begun.
        scores: shape (rates, seeds); minus infinity where a run diverged, NaN where none is done.
        num_unscored: runs that are done but ended no episode in their last tenth, NaN in ``scores``.
        best: None if no rate has a score.
        early_best: the same by the first half of each run.
        rule: the loss of the base rate, one for all sizes; None if it is outside the measured rates.
    """

    size: Size
    num_params: int | None
    scores: Floats
    num_unscored: int
    response: Response
    best: BestRate | None
    early_best: BestRate | None
    rule: Loss | None

    @property
    def num_missing(self) -> int:
        return int(np.isnan(self.scores).sum())

    def ends_of_grid(self, interval: Interval) -> tuple[bool, bool]:
        """Whether the lower and the upper end of an interval are those of the measured rates."""
        low, high = np.exp(self.response.log_rates[[0, -1]])
        return bool(interval[0] <= low * _NEAR), bool(interval[1] >= high / _NEAR)


@dataclass(frozen=True)
class TuningStudy:
    """What tuning found at all sizes."""

    sweep: str
    tuning: Tuning
    rates: tuple[float, ...]
    sizes: tuple[SizeResult, ...]
    trends: dict[str, Trend]
    drift: Drift | None
    one_rate: OneRate | None
    warnings: tuple[str, ...]

    @property
    def num_missing(self) -> int:
        """Runs without a score: not done yet, or failed for another reason than divergence."""
        return sum(result.num_missing for result in self.sizes)


# -- from the store to the rates ------------------------------------------------------------


def read_study(spec: SweepSpec, store: RunStore, source: str = "the spec") -> TuningStudy:
    """What the store holds of the tuning of ``spec``, finished or not."""
    tuning = tuning_of(spec)
    sweep, rates = tuning_name(spec.name), tuning.learning_rate or ()
    rng = np.random.default_rng(_SEED)
    results = tuple(_read_size(store, sweep, size, tuning, rng) for size in sizes_of(spec, source))
    found = [(result, result.best) for result in results if result.best is not None]
    responses, bests = [result.response for result, _ in found], [best for _, best in found]
    # Scores of different tasks have different units.
    comparable = len(found) == len(results) > 1 and len({each.size.config.task for each in results}) == 1
    one_rate = best_for_all(responses, bests, rates) if comparable else None
    return TuningStudy(
        sweep=sweep,
        tuning=tuning,
        rates=rates,
        sizes=results,
        trends=_trends(results),
        drift=_drift(results),
        one_rate=one_rate,
        warnings=tuple(_warnings(results, tuning)),
    )


def _read_size(
    store: RunStore, sweep: str, size: Size, tuning: Tuning, rng: np.random.Generator
) -> SizeResult:
    rates = tuning.learning_rate or ()
    scores = np.full((len(rates), len(tuning.seeds)), np.nan)
    early = scores.copy()
    num_params, num_unscored = None, 0
    for i, rate in enumerate(rates):
        for j, seed in enumerate(tuning.seeds):
            record = store.read_run(sweep, tuned_config(size, tuning, rate, seed).run_id)
            if record is not None:
                num_params = record.columns.get("num_params", num_params)
                early[i, j], scores[i, j] = _scores(store, record)
                num_unscored += record.status == "done" and bool(np.isnan(scores[i, j]))
    response = response_of(rates, scores, rng)
    best = best_rate(response)
    base = size.config.agent.learning_rate
    rule = loss_at(response, best, base) if best is not None and base > 0 else None
    early_best = best_rate(response_of(rates, early, rng))
    return SizeResult(size, num_params, scores, num_unscored, response, best, early_best, rule)


def _scores(store: RunStore, record: RunRecord) -> tuple[float, float]:
    """A run's score by its first half and by all of it.

    NaN if it is not done, or failed for a reason that is not its learning rate.
    """
    if record.failure == NonFiniteLoss.code:
        return -np.inf, -np.inf
    if record.status != "done":
        return np.nan, np.nan
    names = ("interactions", "episodes", "return_mean")
    curve = store.read_curve(record.sweep, record.run_id, columns=names)
    columns = [curve[name].to_numpy() for name in names]
    return score_of(*columns, share=_EARLY_SHARE), score_of(*columns)


def _trends(results: Sequence[SizeResult]) -> dict[str, Trend]:
    """The best rate as a power of width, depth and horizon, of the sizes whose best lies inside the grid."""
    kept = [(result.size.config, result.best) for result in results if result.best and result.best.refined]
    trends = {}
    for axis, part in _TRENDS.items():
        values = [float(getattr(getattr(config, part), axis)) for config, _ in kept]
        groups = [_apart_from(config, part, axis) for config, _ in kept]
        found = trend(values, [best for _, best in kept], groups)
        if found is not None:
            trends[axis] = found
    return trends


def _drift(results: Sequence[SizeResult]) -> Drift | None:
    """How the best rate changes with length, by the sizes that have it inside the grid both times."""
    pairs = [(result.early_best, result.best) for result in results]
    kept = [
        (early.rate, late.rate) for early, late in pairs if early and late and early.refined and late.refined
    ]
    return drift_of([early for early, _ in kept], [late for _, late in kept])


def _apart_from(config: RunConfig, part: str, axis: str) -> str:
    """A label that two configs share if they differ only in ``axis`` and length."""
    fields = getattr(config, part).model_copy(update={axis: 1})
    return config.model_copy(update={part: fields, "interactions": 1}).run_id


# -- warnings -------------------------------------------------------------------------------


def _warnings(results: Sequence[SizeResult], tuning: Tuning) -> list[str]:
    """One sentence for each kind of problem, with the sizes that have it."""
    by_sentence: dict[str, list[str]] = {}
    for result in results:
        for sentence in _size_warnings(result, tuning):
            by_sentence.setdefault(sentence, []).append(result.size.label)
    warnings = [f"{listed_sizes(labels, len(results))}: {text}" for text, labels in by_sentence.items()]
    if len(tuning.seeds) == 1:
        warnings.append("With one seed there are no intervals; give tuning.seeds three.")
    if results[0].size.config.agent.is_phasic:
        warnings.append("agent.phasic.learning_rate, of the auxiliary phase, is left as it is.")
    return warnings


def _size_warnings(result: SizeResult, tuning: Tuning) -> Iterable[str]:
    rates, best, scores = tuning.learning_rate or (), result.best, result.scores
    if result.num_missing > result.num_unscored:
        yield (
            f"{result.num_missing - result.num_unscored} of {scores.size} runs are not done, so this is "
            f"provisional; run the same command again, or see why: rlscale sweep status."
        )
    if result.num_unscored:
        yield (
            f"{result.num_unscored} of {scores.size} runs ended no episode in their last tenth and have no "
            f"score; give tuning.interactions a larger share."
        )
    diverged = [rate for rate, row in zip(rates, scores, strict=True) if np.isneginf(row).any()]
    if diverged:
        listed = ", ".join(f"{rate:g}" for rate in diverged)
        yield f"at learning_rate {listed} a loss was not finite, which counts as worse than any score."
    if best is None:
        if diverged and not result.num_missing:
            yield f"every rate diverged; extend the grid to {next_rate(rates, 'low'):g}."
        return
    yield from _best_warnings(result, best, tuning)


def _best_warnings(result: SizeResult, best: BestRate, tuning: Tuning) -> Iterable[str]:
    rates = tuning.learning_rate or ()
    if best.edge is not None:
        end, name = (rates[-1], "largest") if best.edge == "high" else (rates[0], "smallest")
        if np.isclose(best.rate, end, rtol=1e-5):  # else rates beyond it are only missing yet
            wider = next_rate(rates, best.edge)
            yield f"the best rate is the {name} of the grid; extend the grid to {wider:g}."
    elif not best.refined:
        yield "the best rate is beside one that diverged, so it is one of the grid and no finer."
    if best.interval is None and len(tuning.seeds) > 1:
        yield "fewer than two seeds have every rate, so there are no intervals."
    elif best.interval and (all(result.ends_of_grid(best.interval)) or is_flat(result.response)):
        yield "these seeds do not distinguish the rates; use more seeds, longer runs or a wider grid."
    if result.rule is None:
        base = result.size.config.agent.learning_rate
        yield f"the base rate {base:g} is outside the measured rates; add it to see what the rule costs."


def listed_sizes(labels: Sequence[str], total: int) -> str:
    """The first few of some sizes, or "Every size"."""
    if len(labels) == total > 1:
        return "Every size"
    rest = len(labels) - _NAMED_SIZES
    return "; ".join(labels[:_NAMED_SIZES]) + (f" and {rest} more" if rest > 0 else "")


SCHEMA_VERSION = 1


def study_json(study: TuningStudy) -> dict[str, Any]:
    """The study; a score is null where a run is missing or diverged, and ``diverged`` says which."""
    return {
        "sweep": study.sweep,
        "rates": list(study.rates),
        "seeds": list(study.tuning.seeds),
        "interactions_share": study.tuning.interactions,
        "scored_share": SCORED_SHARE,
        "sizes": [_size_json(result, study.tuning) for result in study.sizes],
        "trends": {axis: asdict(found) for axis, found in study.trends.items()},
        "drift": asdict(study.drift) if study.drift else None,
        "one_rate": asdict(study.one_rate) if study.one_rate else None,
        "missing": study.num_missing,
        "warnings": list(study.warnings),
        "schema_version": SCHEMA_VERSION,
    }


def _size_json(result: SizeResult, tuning: Tuning) -> dict[str, Any]:
    best, rule, config = result.best, result.rule, result.size.config
    base = config.agent.learning_rate
    return {
        **result.size.values,
        "num_params": result.num_params,
        "tuning_interactions": shortened(config.interactions, tuning),
        "scores": [[_finite(score) for score in row] for row in result.scores],
        "diverged": np.isneginf(result.scores).tolist(),
        "best": _best_json(result) if best else None,
        "rule": {
            "rate": base,
            "step_size": result.size.step_size(base),
            "score": _finite(rule.score) if rule else None,
            "loss": _finite(rule.loss) if rule else None,
            "interval": rule.interval if rule else None,
            "diverged": rule is not None and not np.isfinite(rule.score),
        },
    }


def _best_json(result: SizeResult) -> dict[str, Any]:
    best = result.best
    assert best is not None
    return {
        "rate": best.rate,
        "interval": best.interval,
        "step_size": result.size.step_size(best.rate),
        "score": best.score,
        "edge": best.edge,
        "refined": best.refined,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
