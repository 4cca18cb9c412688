"""Figures of TD as stochastic approximation and of TD in context."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    ONE_PANEL,
    QUIET,
    axes_or_new,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    styled,
)
from rlscale.analysis.theory.in_context_demo import ContextDemo
from rlscale.analysis.theory.td_examples import BairdDemo, MarkovDemo, MethodRate

_SIX_PANELS = (7.2, 4.6)
_NOISES = {"independent": INK, "markov": ACCENT}
_METHODS = {"TD": ACCENT, "gradient TD": INK, "emphatic TD": QUIET}


def markov_figure(demo: MarkovDemo) -> Figure:
    """A panel for each method: measured and predicted errors with both kinds of noise."""
    methods = list(dict.fromkeys(rate.method for rate in demo.rates))
    with house_style():
        figure = new_figure(_SIX_PANELS)
        panels = figure.subplots(2, 3).ravel()
        for method, ax in zip(methods, panels[:-1], strict=True):
            plot_rates(demo, [rate for rate in demo.rates if rate.method == method], ax=ax)
            if ax.get_subplotspec().colspan.start:
                ax.set_ylabel("")
        panels[-1].axis("off")
        marks = [line_mark(INK), line_mark(ACCENT), line_mark(INK, "--", linewidth=0.9)]
        names = ["independent outcomes", "along the chain", "predicted"]
        panels[-1].legend(marks, names, loc="center left")
    return figure


@styled
def plot_rates(demo: MarkovDemo, rates: list[MethodRate], *, ax: Axes | None = None) -> Axes:
    """Squared error of one method against updates; dashed what the theory predicts in the limit."""
    ax = axes_or_new(ax)
    for rate in rates:
        ax.plot(demo.at, rate.squared_error, color=_NOISES[rate.noise])
        ax.plot(demo.at, rate.predicted, "--", color=_NOISES[rate.noise], linewidth=0.9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_title(rates[0].method, loc="left")
    ax.set_xlabel("Updates $k$")
    ax.set_ylabel(r"$E\,|v_k - v^*|^2$")
    return ax


def baird_figure(demo: BairdDemo) -> Figure:
    """Value errors of the three methods on the counterexample."""
    with house_style():
        figure = new_figure(ONE_PANEL)
        plot_baird(demo, ax=figure.add_subplot())
    return figure


@styled
def plot_baird(demo: BairdDemo, *, ax: Axes | None = None) -> Axes:
    """Lines of expected updates, and bands from the least to the largest of sampled runs."""
    ax = axes_or_new(ax)
    for each in demo.expected:
        ax.plot(each.at, each.value_error, color=_METHODS[each.method])
    for runs in demo.sampled:
        ax.fill_between(runs.at, runs.low, runs.high, color=_METHODS[runs.method], alpha=0.2, linewidth=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(1e-4, 1e6)
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel("Updates $k$ (lines: expected, bands: sampled runs)")
    ax.set_ylabel("Root mean squared value error")
    key_above(ax, [(line_mark(colour), name) for name, colour in _METHODS.items()])
    return ax


def context_figure(demo: ContextDemo) -> Figure:
    """Value error of in-context TD by the length of its context."""
    with house_style():
        figure = new_figure(ONE_PANEL)
        plot_context(demo, ax=figure.add_subplot())
    return figure


@styled
def plot_context(demo: ContextDemo, *, ax: Axes | None = None) -> Axes:
    """The mean over processes with its 90% band, and the error of values 0."""
    ax = axes_or_new(ax)
    ax.fill_between(demo.context, demo.low, demo.high, color=INK, alpha=0.18, linewidth=0)
    ax.plot(demo.context, demo.value_error, color=INK)
    ax.axhline(demo.untrained, color=QUIET, linestyle=":", linewidth=0.9)
    ax.set_ylim(0, 1.05 * max(float(np.max(demo.high)), demo.untrained))
    ax.set_xlabel("Context $n$ (transitions)")
    ax.set_ylabel("Squared value error")
    key_above(
        ax,
        [
            (line_mark(INK), f"TD in {demo.layers} layers, with 90% interval"),
            (line_mark(QUIET, ":", linewidth=0.9), "values of 0"),
        ],
    )
    return ax
