"""Sentences about a comparison of two recipes, shared by terminal and report."""

from __future__ import annotations

from rlscale.analysis.formatting.numbers import (
    brief_number,
    compact_count,
    counted,
    fixed_point,
    interval_text,
    percent,
)
from rlscale.analysis.studies.compare.result import Comparison, Interval

MODEL_WORDS = {
    "factor": "one factor at all returns",
    "exponents": "other exponents",
    "ceiling": "another ceiling",
}


def factor_text(value: float) -> str:
    """A ratio of computes.

    >>> [factor_text(x) for x in (1.304, 0.5, 23.4, 1e9)]
    ['1.30', '0.50', '23', '1e9']
    """
    return f"{value:.2f}" if 0.095 < value < 9.995 else brief_number(value, ".2g")


def factor_interval(interval: Interval | None) -> str:
    """Both ends of an interval of ratios."""
    return interval_text(interval, factor_text)


def p_text(p_value: float | None) -> str:
    """A p-value; empty if there is none.

    >>> p_text(0.0312), p_text(1e-9), p_text(None)
    ('0.031', '< 0.001', '')
    """
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def _p_is(p_value: float | None) -> str:
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def headline(result: Comparison) -> str:
    """Which recipe takes less compute."""
    a, b = result.a.name, result.b.name
    low, high = result.common_return
    at = f"between returns of {low:.3g} and {high:.3g}"
    if result.interval is None:
        return f"Without draws of a bootstrap there is no verdict on {a} and {b}."
    if result.verdict == "depends":
        first, last = (a, b) if result.curve.multiplier[0] < 1 else (b, a)
        return f"It depends on the compute: {at} {first} is better at low ones, {last} at high ones."
    if result.verdict == "undecided":
        return f"No difference between {a} and {b} is established {at}."
    better, ends = (a, result.curve.high) if result.verdict == "a_better" else (b, 1 / result.curve.low)
    where = at if (ends < 1).all() else "at the middle of the common returns"
    return f"{better} is better: it takes less compute for the same return, {where}."


def multiplier_sentence(result: Comparison) -> str:
    """The compute multiplier in the middle, with its interval and what early training adds."""
    more = f"{result.a.name} takes {factor_text(result.multiplier)} times the compute of {result.b.name}"
    if result.interval is None:
        return f"{more} at the middle of the common returns."
    text = f"{more} at the middle of the common returns"
    text += f" (90% interval {factor_interval(result.interval)}, {_p_is(result.p_value)}"
    if result.interval_total not in (None, result.interval):
        text += f"; with other cuts of early training {factor_interval(result.interval_total)}"
    return text + ")."


def growth_sentence(result: Comparison) -> str:
    """Whether the multiplier changes with compute."""
    growth = result.growth
    text = (
        f"Exponents apart, the ratio is {factor_text(growth.per_decade)} times as large with ten times the "
    )
    text += f"compute (90% interval {factor_interval(growth.interval)}"
    if growth.p_value is None:
        return text + ")."
    return (
        text
        + f", {_p_is(growth.p_value)}): {'it changes' if growth.p_value < 0.05 else 'no change is seen'}."
    )


def ceiling_sentence(result: Comparison) -> str:
    """Whether one recipe approaches a return that the other passes."""
    ceiling = result.ceiling
    if result.model != "ceiling":
        return "No ceiling that only one of them has is seen."
    name = result.a.name if ceiling.strength > 0 else result.b.name
    at = "above the measured returns" if ceiling.return_ is None else f"at a return of {ceiling.return_:.3g}"
    return f"{name} bends towards a ceiling of its own, {at} ({_p_is(ceiling.p_value)})."


def crossing_sentence(result: Comparison) -> str:
    """Where the ranking changes."""
    crossing, name = result.crossing, result.b.name
    share = (
        "" if crossing.share_within is None else f" ({percent(crossing.share_within)} of the draws: within)"
    )
    if crossing.where == "none" or crossing.compute is None:
        return f"The ranking does not change within three decades of compute of the common returns{share}."
    at = f"where {name} takes C = {brief_number(crossing.compute)}"
    if crossing.where == "within" and crossing.return_ is not None:
        return f"The ranking changes within the data: at a return of {crossing.return_:.3g}, {at}{share}."
    return f"The ranking would change {crossing.where} the common returns, {at}: an extrapolation{share}."


def power_sentence(result: Comparison) -> str:
    """How many seeds show the wanted factor."""
    power = result.power
    if power is None:
        return ""
    shown = f"These runs show a factor of {factor_text(power.smallest_factor)} in 8 of 10 such sweeps"
    if power.more_seeds is None:
        return f"{shown}; no number of seeds shows {power.factor:g}."
    if not power.more_seeds:
        return f"{shown}, so seeds suffice to see one of {power.factor:g}."
    more = counted(power.more_seeds, "more seed")
    return f"{shown}; to see one of {power.factor:g} it needs {more} of each size."


def model_sentence(result: Comparison) -> str:
    """Which relation between the frontiers is reported, and how seeds were drawn."""
    paired = "the same seeds of both drawn together" if result.paired else "each recipe's seeds drawn apart"
    return f"Reported: {MODEL_WORDS[result.model]}; {counted(result.replicates, 'draw')}, {paired}."


def sentences(result: Comparison) -> list[str]:
    """All of them, the verdict first."""
    found = [
        headline(result),
        multiplier_sentence(result),
        growth_sentence(result),
        ceiling_sentence(result),
        crossing_sentence(result),
        power_sentence(result),
        model_sentence(result),
    ]
    return [sentence for sentence in found if sentence]


def returns_rows(result: Comparison, rows: int = 5) -> list[tuple[str, str, str, str, str]]:
    """Return, compute of A and of B, multiplier and its interval, at evenly spaced places of the curve."""
    curve, last = result.curve, len(result.curve.multiplier) - 1
    found = []
    for i in [round(k * last / (rows - 1)) for k in range(rows)]:
        interval = (float(curve.low[i]), float(curve.high[i])) if result.replicates else None
        found.append(
            (
                f"{curve.return_[i]:.4g}",
                brief_number(float(curve.compute_a[i])),
                brief_number(float(curve.compute_b[i])),
                factor_text(float(curve.multiplier[i])),
                factor_interval(interval),
            )
        )
    return found


def recipe_rows(result: Comparison) -> list[tuple[str, ...]]:
    """Name, runs, exponents, optimal size at the middle of the common returns, of each recipe."""
    return [
        (
            one.name,
            f"{one.num_runs} of {counted(one.num_sizes, 'size')}",
            f"{fixed_point(one.nu, 3)}",
            interval_text(one.intervals.get("nu"), ".2f"),
            compact_count(one.N_opt),
            brief_number(one.compute),
        )
        for one in (result.a, result.b)
    ]
