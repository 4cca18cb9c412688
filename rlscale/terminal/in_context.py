"""Transformers trained in context, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.formatting.numbers import brief_number, compact_count, counted, interval_text
from rlscale.analysis.studies.solvable.in_context_td import LearnedResult, LearnedSetting
from rlscale.terminal.tables import new_table, print_warnings, runs_table, stored_text

_MEANINGS = {
    "return_mean": "return (1 is exact)",
    "reference_return": "return of batch TD",
    "value_difference": "squared value difference",
    "weight_similarity": "implicit weights: cosine",
    "sensitivity_similarity": "gradients: cosine",
    "p_corner": "P corner (TD: 1)",
    "p_others": "P others (TD: 0)",
    "q_left": "Q states (TD: -1)",
    "q_right": "Q successors (TD: 1)",
    "q_others": "Q others (TD: 0)",
    "reference_step": "step size of batch TD",
}
_OF_MANY = ("return_mean", "reference_return", "weight_similarity", "p_corner", "q_left", "q_right")
_HEADS = ("return", "TD's", "cosine", "P corner", "Q left", "Q right")


def print_learned(result: LearnedResult, console: Console) -> None:
    """One setting with all its numbers, or a line for each of several."""
    if len(result.settings) == 1:
        _print_one(result.settings[0], console)
    else:
        _print_many(result.settings, console)
    print_warnings(result.warnings, console)


def _print_one(setting: LearnedSetting, console: Console) -> None:
    title = f"After {compact_count(setting.interactions[-1])} interactions, {counted(setting.seeds, 'seed')}"
    table = new_table(title, "on held-out processes", "mean", "90%")
    for name, meaning in _MEANINGS.items():
        each = setting.final[name]
        table.add_row(meaning, f"{each.value:.4f}", interval_text(each.interval, ".4f"))
    table.caption = (
        "Return: 1 - squared value error over that of values 0; TD: batch TD, its step size trained."
    )
    table.caption_justify = "left"
    console.print(table)
    title = "Squared value error over that of values 0, by context"
    errors = new_table(title, "context", "trained", "90%", "TD", "90%")
    for i, n in enumerate(setting.length):
        cells = []
        for line in (setting.error, setting.reference_error):
            cells += [brief_number(line.mean[i]), interval_text((line.low[i], line.high[i]), ".3g")]
        errors.add_row(f"{n:g}", *cells)
    errors.caption = f"It was trained with contexts of {counted(setting.trained_on, 'transition')}."
    errors.caption_justify = "left"
    console.print(errors)


def _print_many(settings: list[LearnedSetting], console: Console) -> None:
    table = runs_table("N", "seeds", *_HEADS, differing=list(settings[0].differing))
    for setting in settings:
        cells = [f"{setting.final[name].value:.3f}" for name in _OF_MANY]
        values = map(stored_text, setting.differing.values())
        table.add_row(*values, compact_count(setting.num_params), str(setting.seeds), *cells)
    table.caption = "TD's: return of batch TD; P corner, Q left, Q right of TD: 1, -1, 1."
    table.caption_justify = "left"
    console.print(table)
