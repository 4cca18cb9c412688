"""Rows and sentences about forecasts on record, shared by terminal and documentation."""

from __future__ import annotations

import numpy as np

from rlscale.analysis.forecast.record import Item, ItemScore, Score, Statement, Tally
from rlscale.analysis.formatting.numbers import brief_number, compact_count

STATEMENT_HEADINGS = ("", "N", "E", "forecast", "baseline")
SCORE_HEADINGS = ("", "N", "E", "forecast", "measured", "hits", "CRPS", "baseline's")
TALLY_HEADINGS = ("", "hits", "interval score", "CRPS", "baseline's")

_NAMES = {"return": "return", "mean_return": "mean return", "nu": "nu", "N_opt": "N_opt"}


def statement_rows(statement: Statement) -> list[tuple[str, ...]]:
    """(quantity, N, E, median and 90% interval, baselines) of each item; a star marks an extrapolation."""
    return [
        (*_place(item), _with_interval(item), ", ".join(_number(value) for value in item.baselines.values()))
        for item in statement.items
    ]


def score_rows(score: Score) -> list[tuple[str, ...]]:
    """As the statement's rows, with what was measured (lowest to highest run), hits, CRPS and baseline's."""
    return [(*_place(one.item), _with_interval(one.item), *_result(one)) for one in score.items]


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


def _place(item: Item) -> list[str]:
    """The quantity, and where it is measured; of N_opt its compute."""
    what = _NAMES[item.quantity] + (f" of {item.runs}" if item.runs else "")
    if item.compute is not None:
        what += f", C = {brief_number(item.compute)}"
    return [what, *("" if value is None else compact_count(value) for value in (item.N, item.E))]


def _with_interval(item: Item) -> str:
    low, high = item.interval
    star = " *" if item.beyond else ""
    return f"{_number(item.median)} ({_number(low)} to {_number(high)}){star}"


def _result(scored: ItemScore) -> list[str]:
    found = scored.outcomes
    if not found:
        return ["not yet", "", "", ""]
    measured = sorted(one.measured for one in found)
    naive = {name: np.mean([one.baselines[name] for one in found]) for name in scored.item.baselines}
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
