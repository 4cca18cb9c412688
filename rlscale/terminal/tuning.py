"""The results of tuning for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from rlscale.analysis.formatting.numbers import compact_count, duration, interval_text
from rlscale.analysis.formatting.tuning import rate_interval
from rlscale.analysis.studies.tuning.rates import Drift, OneRate, Trend
from rlscale.analysis.studies.tuning.study import SizeResult, TuningStudy
from rlscale.sweeps.specs.spec import Tuning
from rlscale.sweeps.specs.tuning_sweep import Size, TuningCost
from rlscale.terminal.tables import runs_table

#: The paper's rule: the power of an axis to which the step size in effect is proportional.
_RULE = {"width": "width^-0.5", "depth": "depth^-0.25"}


def cost_line(cost: TuningCost) -> str:
    """The cost in one line."""
    time = f", {duration(cost.seconds)} on this machine if one ran after the other" if cost.seconds else ""
    return (
        f"Before it, rlscale sweep tune: {cost.rates} rates x {cost.seeds} seeds x {cost.sizes} "
        f"sizes = {cost.runs} runs, {compact_count(cost.interactions)} interactions, "
        f"{cost.flops:.1e} FLOP{time}."
    )


def rule_table(sizes: Sequence[Size]) -> Table:
    """The paper's rule: one base rate, and the step size in effect at each size."""
    table = _table(sizes, "base rate", "step size")
    for size in sizes:
        rate = size.config.agent.learning_rate
        table.add_row(*_axis_values(size), f"{rate:.3g}", f"{size.step_size(rate):.3g}")
    return table


def study_table(study: TuningStudy) -> Table:
    """Two lines for each size: its best rate with the step size in effect and the score, and the rule's."""
    columns = ("N", "best rate\n90% interval", "step\nsize", "score\nby the rule", "loss by it\n90% interval")
    table = _table([result.size for result in study.sizes], *columns)
    table.title = Text(f"{study.sweep}: the best base rate of each size")
    for result in study.sizes:
        table.add_row(*_axis_values(result.size), *_findings(result))
    return table


def _findings(result: SizeResult) -> list[str]:
    best, rule = result.best, result.rule
    size = "" if result.num_params is None else f"{result.num_params:,}"
    if best is None:
        return [size, "unknown", "", "", ""]
    if rule is None:
        by_rule, loss = "unknown", "unknown"
    elif not np.isfinite(rule.score):
        by_rule, loss = "diverged", ""
    else:
        by_rule, loss = f"{rule.score:.4g}", f"{rule.loss:.2g}\n{interval_text(rule.interval, '.2g')}"
    return [
        size,
        f"{best.rate:.3g}\n{rate_interval(result)}",
        f"{result.size.step_size(best.rate):.3g}",
        f"{best.score:.4g}\n{by_rule}",
        loss,
    ]


def study_lines(study: TuningStudy) -> list[str]:
    """Lines below the table: how the best rate depends on size, and what one rate for all sizes costs."""
    lines = [_trend_line(axis, found) for axis, found in study.trends.items()]
    if not study.trends and len(study.sizes) > 1:
        lines.append(
            "Trends need 3 sizes that differ in width, depth or horizon and have their best inside the grid."
        )
    if study.drift is not None:
        lines.append(_drift_line(study.drift, study.tuning))
    if study.one_rate is not None:
        lines.append(_one_rate_line(study.one_rate, study))
    return lines


def _trend_line(axis: str, found: Trend) -> str:
    low, high = found.interval
    interval = f"90% interval {low:.2f} to {high:.2f}, {found.num_sizes} sizes"
    line = f"Best base rate ∝ {axis}^{found.exponent:.2f} ({interval})"
    if axis not in _RULE:
        return f"{line}: {'no significant change' if low <= 0 <= high else 'it changes'}."
    if low <= 0 <= high:
        return f"{line}: the paper's rule, step size ∝ {_RULE[axis]}, is consistent with these runs."
    return f"{line}: the paper's rule, step size ∝ {_RULE[axis]}, is not consistent with these runs."


def _drift_line(found: Drift, tuning: Tuning) -> str:
    longer = (
        f"; the final runs are {1 / tuning.interactions:.3g} times longer still"
        if tuning.interactions < 1
        else ""
    )
    return (
        f"From half of these runs to their end the best rate changes by a factor of {found.factor:.2f} "
        f"(90% interval {interval_text(found.interval, '.2f')}, {found.num_sizes} sizes){longer}."
    )


def _one_rate_line(one: OneRate, study: TuningStudy) -> str:
    return (
        f"One base rate for all sizes: {one.rate:g} is best and costs {one.loss:.2g} of score on average "
        f"(90% interval {interval_text(one.interval, '.2g')}), at most {one.worst:.2g} "
        f"({study.sizes[one.worst_at].size.label})."
    )


def _table(sizes: Sequence[Size], *headings: str) -> Table:
    return runs_table(*headings, differing=list(sizes[0].apart))


def _axis_values(size: Size) -> list[Text]:
    return [Text(size.text_of(name)) for name in size.apart]
