"""Rows and sentences about a backtest, shared by terminal and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rlscale.analysis.formatting.numbers import brief_number, interval_text, percent
from rlscale.analysis.studies.backtest.competing_laws import LAWS
from rlscale.analysis.studies.backtest.result import Errors, LawScore, SplitBacktest

HEADINGS = ("mean absolute error of", "this fit", "bias", "baseline", "within 90%")
_BESIDE = {"lemma": "  by the law alone", "shifted": "  by copying at equal I"}
#: Share of held-out points in their 90% intervals below which these are too narrow. It is well below 90%,
#: because the errors of one size go together.
_LEAST_COVERAGE = 0.7
_LABELS = {kind.name: kind.label for kind in LAWS}


def rows(backtest: SplitBacktest) -> list[tuple[str, str, str, str, str]]:
    """(what was predicted, mean absolute error, bias, the baseline's error, share within the interval)."""
    returns, frontier, optimum = backtest.returns, backtest.frontier, backtest.optimum
    found = [_error_row(f"return, {returns.num_points} points", returns)]
    for score in backtest.predictors:
        if score.name in _BESIDE:
            found.append((_BESIDE[score.name], f"{score.mean_absolute:.3g}", f"{score.bias:+.2g}", "", ""))
    if frontier is not None:
        decades, naive = (f"{x:.2g}" for x in (frontier.size_decades, frontier.naive_size_decades))
        hits, naive_hits = (percent(x) for x in (frontier.size_hits, frontier.naive_size_hits))
        found += [
            _error_row(f"best return, {frontier.num_points} computes", frontier),
            ("best size, decades", decades, "", naive, ""),
            ("best size, share correct", hits, "", naive_hits, ""),
        ]
    full, best = optimum.against_full_fit, optimum.against_best_size
    naive_full, naive_best = optimum.naive_against_full_fit, optimum.naive_against_best_size
    found.append(
        ("N_opt vs fit of all, decades", f"{full:.2g}", "", f"{naive_full:.2g}", percent(optimum.coverage))
    )
    if best is not None and naive_best is not None:
        found.append(("N_opt vs best size, decades", f"{best:.2g}", "", f"{naive_best:.2g}", ""))
    return found


def _error_row(name: str, errors: Errors) -> tuple[str, str, str, str, str]:
    error, naive = f"{errors.mean_absolute:.3g}", f"{errors.naive_mean_absolute:.3g}"
    return name, error, f"{errors.bias:+.2g}", naive, percent(errors.coverage)


def summary(backtest: SplitBacktest, draws: int) -> str:
    """What it was fitted to and how much of it was an extrapolation, in a sentence or two.

    Args:
        draws: of the bootstrap behind its intervals.
    """
    training = backtest.training
    interval = training.nu_interval
    shown = "" if interval is None else f" ({interval_text(interval, '.2f')}, {draws} draws)"
    text = (
        f"Fitted to {training.num_runs} runs of {training.num_sizes} sizes: nu = {training.nu:.3f}{shown}. "
        f"{percent(backtest.beyond_map_share)} of the held-out points lie beyond the fitted map"
    )
    if backtest.beyond_map_share == 0:
        return f"{text}."
    how = "R" if backtest.extension == "linear" else "log(1 - R)"
    return f"{text}, which was continued as a levelling curve of {how} in log I."


def said(backtest: SplitBacktest, number: Callable[[float], str] = brief_number) -> str:
    """What it says of the fit's predictions, a sentence.

    Args:
        number: how a compute is written.
    """
    returns, optimum = backtest.returns, backtest.optimum
    text = (
        f"Without {backtest.split.in_words(number)}, the fit predicts returns to within "
        f"{returns.mean_absolute:.2g} on average (copying the next size: {returns.naive_mean_absolute:.2g}), "
        f"and N_opt to within {optimum.against_full_fit:.2g} decades of the fit of all"
    )
    if returns.coverage is None:
        return f"{text}."
    return f"{text}; {percent(returns.coverage)} of the held-out returns lie in their 90% intervals."


def fails(backtest: SplitBacktest) -> bool:
    """Whether predictions of returns are worse than copying the next size, or often miss their intervals."""
    returns = backtest.returns
    worse = returns.mean_absolute > returns.naive_mean_absolute
    return worse or (returns.coverage is not None and returns.coverage < _LEAST_COVERAGE)


def reach_text(splits: Sequence[SplitBacktest]) -> str:
    """How far beyond what it was fitted to the law was tested, and whether it holds there, a sentence."""
    by_compute = [one for one in splits if one.split.cutoff is not None]
    if not by_compute:
        return "No backtest in compute tells how far beyond the data that reaches."
    reach = max(
        float(np.log10((one.points.N * one.points.E).max() / one.training.top_compute)) for one in by_compute
    )
    tested = f"{reach:.1f} decades of compute beyond what it was fitted to"
    if any(fails(one) for one in splits):
        return f"But it fails the backtest over {tested}: do not rely on extrapolations."
    return f"It holds in the backtest over {tested}; farther out nothing here tests it."


def law_rows(laws: list[LawScore]) -> list[tuple[str, str, str, str]]:
    """(law, error of returns, error of best returns, difference and its interval), best first."""
    found = []
    for score in laws:
        difference = ""
        if score.name != "lemma":
            difference = f"{score.difference:+.2g}"
            if score.difference_interval is not None:
                low, high = score.difference_interval
                difference += f" ({low:+.1g}, {high:+.1g})"
        frontier = score.frontier_mean_absolute
        found.append(
            (
                _LABELS[score.name],
                f"{score.mean_absolute:.3g}",
                "" if frontier is None else f"{frontier:.3g}",
                difference,
            )
        )
    return found


def verdict(laws: list[LawScore]) -> str:
    """Which law predicts best, and whether by more than noise."""
    best = laws[0]
    label = _LABELS[best.name]
    rival = next((score for score in laws if score.name != "lemma"), None)
    if rival is None:
        return "No other law could be fitted to the training part."
    tested = rival if best.name == "lemma" else best
    text = f"Best here: {label}"
    interval = tested.difference_interval
    if interval is None:
        return f"{text}; without resampled runs (--law-draws) whether this exceeds noise is unknown."
    differs = interval[0] > 0 or interval[1] < 0
    other = _LABELS[rival.name] if best.name == "lemma" else _LABELS["lemma"]
    return f"{text}; it differs from {other} by {'more' if differs else 'no more'} than the noise of runs."
