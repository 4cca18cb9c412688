"""Rows and sentences about forecasts on record, shared by terminal and documentation."""

from __future__ import annotations

import numpy as np

from rlscale.analysis.forecast.record import Item, Statement
from rlscale.analysis.forecast.scoring import ItemScore, Score, Tally
from rlscale.analysis.formatting.numbers import brief_number, compact_count

STATEMENT_HEADINGS = ("", "N, E", "median", "90% interval", "baseline")
SCORE_HEADINGS = ("", "N, E", "median", "90% interval", "measured", "hits", "CRPS", "baseline's")
TALLY_HEADINGS = ("", "hits", "interval score", "CRPS", "baseline's")

_NAMES = {
    "return": "return",
    "mean_return": "mean return",
    "nu": "nu",
    "N_opt": "N_opt",
    "multiplier": "multiplier",
}


def statement_rows(statement: Statement) -> list[tuple[str, ...]]:
    """A row for each item, under ``STATEMENT_HEADINGS``; a star marks an extrapolation."""
    return [
        (*_forecast(item), ", ".join(_number(value) for value in item.baselines.values()))
        for item in statement.items
    ]


def score_rows(score: Score) -> list[tuple[str, ...]]:
    """A row for each item, under ``SCORE_HEADINGS``: measured from the lowest to the highest run, means."""
    return [(*_forecast(one.item), *_result(one)) for one in score.items]


def tally_rows(score: Score) -> list[tuple[str, ...]]:
    """(quantity, hits, mean interval score, mean CRPS, mean error of each baseline)."""
    return [
        (
            _NAMES[tally.quantity],
            f"{tally.hits} of {tally.outcomes}",
            f"{tally.interval_score:.3g}",
            f"{tally.crps:.3g}",
            _each(tally.baselines, ".3g"),
        )
        for tally in score.tallies
    ]


def verdict(tally: Tally) -> str:
    """How the forecasts of one quantity compare with their best baseline, a sentence."""
    name, error = min(tally.baselines.items(), key=lambda pair: pair[1])
    better = "better" if tally.crps < error else "worse"
    return (
        f"{_NAMES[tally.quantity]}: {tally.hits} of {tally.outcomes} in the 90% interval; CRPS "
        f"{tally.crps:.3g}, {better} than the baseline {name.replace('_', ' ')} with {error:.3g}."
    )


def _forecast(item: Item) -> tuple[str, str, str, str]:
    """The quantity, where it is measured, its median and its interval."""
    what = f"mean of {item.runs}" if item.runs else _NAMES[item.quantity]
    place = [compact_count(value, 2) for value in (item.N, item.E) if value is not None]
    if item.compute is not None:
        place = [f"C = {brief_number(item.compute)}"]
    low, high = item.interval
    star = " *" if item.beyond else ""
    return what, ", ".join(place), _number(item.median), f"{_number(low)} to {_number(high)}{star}"


def _result(scored: ItemScore) -> list[str]:
    found = scored.outcomes
    if not found:
        return ["not yet", "", "", ""]
    measured = sorted(one.measured for one in found)
    naive = {name: float(np.mean([one.baselines[name] for one in found])) for name in scored.item.baselines}
    return [
        _number(measured[0]) + (f" to {_number(measured[-1])}" if len(measured) > 1 else ""),
        f"{sum(one.hit for one in found)}/{len(found)}",
        f"{np.mean([one.crps for one in found]):.2g}",
        _each(naive, ".2g"),
    ]


def _each(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{value:{form}}" for value in values.values())


def _number(value: float) -> str:
    return compact_count(value) if value >= 1000 else f"{value:.3f}"
