"""Tasks whose answer is known in closed form, as tables for a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from rlscale.analysis.formatting.numbers import brief_number
from rlscale.analysis.theory.td_ring import RingDemo, RingMoment
from rlscale.terminal.tables import new_table, print_line

_SHOWN_MODES = 5
_LEAST_SHARE = 1e-12  # below it is rounding


def print_ring(demo: RingDemo, console: Console) -> None:
    """Rates by mode, what is left of their errors over time, and the roughness of the values."""
    shown = _spread(len(demo.eigenvalues))
    console.print(_rates_table(demo, shown))
    heads = [f"{demo.eigenvalues[k]:+.3f}" for k in shown]
    share = "share of the error left, by l of the mode"
    console.print(_moments_table(f"TD({demo.lam:g}): {share}", "t", demo.flow, heads, shown))
    console.print(_moments_table(f"Value iteration: {share}", "sweeps", demo.value_iteration, heads, shown))
    for sentence in _sentences(demo):
        print_line(sentence, console)


def _rates_table(demo: RingDemo, shown: list[int]) -> Table:
    title = f"Rates of learning on a ring of {demo.num_states} states, gamma {demo.gamma:g}"
    table = new_table(title, "mode k", "l = cos(2πk/n)", "TD(0)", f"TD({demo.lam:g})", f"{demo.n_step}-step")
    for k in shown:
        rates = (demo.one_step_rates[k], demo.lambda_rates[k], demo.n_step_rates[k])
        cells = (f"{rate:.4f}" for rate in rates)
        table.add_row(f"{demo.frequency[k]:g}", f"{demo.eigenvalues[k]:+.4f}", *cells)
    table.caption = "Errors along a mode decay as exp(-t rate); Monte Carlo has rate 1 everywhere."
    table.caption_justify = "left"
    return table


def _moments_table(
    title: str, first: str, moments: list[RingMoment], heads: list[str], shown: list[int]
) -> Table:
    table = new_table(title, first, *heads, "all")
    for moment in moments:
        shares = [*(moment.error_left[k] for k in shown), moment.error]
        table.add_row(f"{moment.time:g}", *map(_share, shares))
    return table


def _share(share: float) -> str:
    return brief_number(share, ".2g") if share >= _LEAST_SHARE else f"<{_LEAST_SHARE:g}"


def _sentences(demo: RingDemo) -> list[str]:
    """What the tables show, in words."""
    rough = ", ".join(f"{moment.roughness:.3g} at t = {moment.time:g}" for moment in demo.flow)
    return [
        f"With one-step targets the roughest mode is learned {demo.rate_ratio:.3g} times as fast as the "
        f"smoothest (bound: {(1 + demo.gamma) / (1 - demo.gamma):.3g}).",
        f"Synchronous updates are stable below a step size of {demo.largest_step:.4g}.",
        f"Roughness of V_t: {rough}; of the true values: {demo.value_roughness:.3g}, of the reward: "
        f"{demo.reward_roughness:.3g}.",
    ]


def _spread(count: int) -> list[int]:
    """About ``_SHOWN_MODES`` places, evenly spaced, both ends among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, _SHOWN_MODES).round()})
