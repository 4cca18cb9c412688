"""Examples of stochastic approximation and of in-context TD, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.formatting.numbers import brief_number, counted, interval_text
from rlscale.analysis.theory.in_context_demo import ContextDemo
from rlscale.analysis.theory.td_examples import BairdDemo, BairdMethod, MarkovDemo
from rlscale.terminal.tables import new_table, print_line

_NOISES = {"independent": "i.i.d.", "markov": "Markov"}
_SHOWN_CONTEXTS = (1, 2, 5, 10, 20, 30, 39, 50, 100, 200)
_SHOWN_UPDATES = (1, 1e3, 1e5, 1e7, 1e9)


def print_markov(demo: MarkovDemo, console: Console) -> None:
    """Measured over predicted squared error of each method, with its interval."""
    title = f"Squared error after {demo.steps} updates, mean of {demo.runs} runs"
    table = new_table(title, "method", "noise", "measured", "predicted", "ratio", "90%")
    for rate in demo.rates:
        table.add_row(
            rate.method,
            _NOISES[rate.noise],
            brief_number(rate.squared_error[-1], ".2g"),
            brief_number(rate.predicted[-1], ".2g"),
            f"{rate.ratio:.2f}",
            interval_text(rate.ratio_interval, ".2f"),
        )
    table.caption = "Steps a/(k + k_0); predicted: trace of the limit covariance / (k + k_0)."
    table.caption_justify = "left"
    console.print(table)
    far = [r for r in demo.rates if not r.ratio_interval[0] <= 1 <= r.ratio_interval[1]]
    print_line(
        f"{len(demo.rates) - len(far)} of {len(demo.rates)} intervals hold the predicted error.", console
    )
    if far:
        names = ", ".join(f"{r.method} ({_NOISES[r.noise]}, a = {r.scale:.3g})" for r in far)
        print_line(
            f"Outside: {names}. Chance takes one in ten, and the prediction is of many updates beyond a.",
            console,
        )


def print_baird(demo: BairdDemo, console: Console) -> None:
    """Growth and value errors of expected updates, and of sampled runs."""
    heads = [f"k = {k:.0e}".replace("e+0", "e") if k > 1 else "k = 1" for k in _SHOWN_UPDATES]
    title = f"Baird's counterexample: value error after k expected updates, gamma {demo.gamma:g}"
    table = new_table(title, "method", "slowest", *heads)
    for each in demo.expected:
        cells = [_at(each, k) for k in _SHOWN_UPDATES]
        table.add_row(each.method, brief_number(each.slowest), *cells)
    table.caption = f"Step size {demo.step_size:g}; slowest: least real part of an eigenvalue of A."
    table.caption_justify = "left"
    console.print(table)
    sampled = new_table(
        f"After {demo.steps} sampled updates, {demo.runs} runs", "method", "least", "median", "largest"
    )
    for runs in demo.sampled:
        sampled.add_row(runs.method, *(brief_number(x[-1]) for x in (runs.low, runs.median, runs.high)))
    console.print(sampled)
    td, gradient, _ = demo.expected
    print_line(
        f"Off-policy TD multiplies its error by {td.factor:.5f} an update, without end. Gradient TD and "
        "emphatic TD converge; the slowest part of gradient TD needs "
        f"{brief_number(1 / (1 - gradient.factor))} updates to shrink by e.",
        console,
    )
    print_line(
        "Emphatic TD is shown by expected updates alone: the variance of its sampled ones is too large.",
        console,
    )


def _at(method: BairdMethod, updates: float) -> str:
    """The error after so many updates, or that it has grown beyond what is kept."""
    if updates > method.at[-1]:
        return "diverged"
    return brief_number(float(method.value_error[method.at <= updates][-1]), ".2g")


def print_context(demo: ContextDemo, console: Console) -> None:
    """Gaps of the constructions from explicit updates, and value error by context."""
    title = (
        f"{counted(demo.layers, 'layer')} beside as many batch updates, "
        f"{counted(demo.num_features, 'feature')}"
    )
    table = new_table(title, "construction", "largest value", "largest gap")
    for each in demo.equality:
        table.add_row(each.method, brief_number(each.largest_value), brief_number(each.largest_gap, ".1e"))
    console.print(table)
    title = f"Value error of in-context TD(0), step {demo.step_size:g}, {demo.processes} Loop processes"
    errors = new_table(title, "context", "squared error", "90%")
    rows = list(zip(demo.context, demo.value_error, demo.low, demo.high, strict=True))
    for n, error, low, high in rows:
        if n in _SHOWN_CONTEXTS or n == rows[-1][0]:
            errors.add_row(f"{n:g}", brief_number(error), interval_text((low, high), ".3g"))
    errors.caption = f"Values of 0 have {brief_number(demo.untrained)}; states weighted by their visits."
    errors.caption_justify = "left"
    console.print(errors)
