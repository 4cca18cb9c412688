"""Figures of transformers that learned in context, beside the construction of TD."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlscale.analysis.arrays import Floats
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    ONE_PANEL,
    QUIET,
    Colour,
    axes_or_new,
    even_colours,
    house_style,
    key_above,
    line_mark,
    log_ticks,
    new_figure,
    styled,
)
from rlscale.analysis.studies.solvable.in_context_td import LearnedResult, LearnedSetting, Line

_SIX_PANELS = (9.6, 5.6)
_MOST_ERROR = 1.6  # times that of values 0
_NAMES = {
    "p_corner": "$P$: corner",
    "p_others": "$P$: others",
    "q_left": "$Q$: states",
    "q_right": "$Q$: successors",
    "q_others": "$Q$: others",
}


def learned_figure(result: LearnedResult) -> Figure:
    """Weights, structure, similarities and errors of one setting; the errors of several."""
    with house_style():
        if len(result.settings) > 1:
            figure = new_figure(ONE_PANEL)
            plot_settings(result.settings, ax=figure.subplots())
            return figure
        setting = result.settings[0]
        figure = new_figure(_SIX_PANELS)
        axes = figure.subplots(2, 3)
        plot_weights(setting.P[0], "$P$", ax=axes[0, 0])
        plot_weights(setting.Q[0], "$Q$", ax=axes[0, 1])
        plot_structure(setting, ax=axes[0, 2])
        plot_similarity(setting, ax=axes[1, 0])
        plot_difference(setting, ax=axes[1, 1])
        plot_lengths(setting, ax=axes[1, 2])
    return figure


@styled
def plot_weights(matrix: list[list[float]], name: str, *, ax: Axes | None = None) -> Axes:
    """A matrix over its largest entry, with the parts of the prompt that its rows and columns act on."""
    ax = axes_or_new(ax)
    d = (len(matrix) - 1) // 2
    image = ax.imshow(np.array(matrix), cmap="RdBu", vmin=-1, vmax=1)
    for cut in (d - 0.5, 2 * d - 0.5):
        ax.axhline(cut, color=QUIET, linewidth=0.5)
        ax.axvline(cut, color=QUIET, linewidth=0.5)
    places, parts = [(d - 1) / 2, d + (d - 1) / 2, 2 * d], [r"$\phi$", r"$\gamma\phi'$", "$r$"]
    ax.set_xticks(places, parts)
    ax.set_yticks(places, parts)
    ax.tick_params(length=0)
    ax.set_title(f"{name}, over its largest entry", loc="left")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    return ax


@styled
def plot_structure(setting: LearnedSetting, *, ax: Axes | None = None) -> Axes:
    """Corner of P and blocks of Q over training; dotted what TD has."""
    ax = axes_or_new(ax)
    colours = dict(zip(_NAMES, even_colours(len(_NAMES)), strict=True))
    for name, colour in colours.items():
        _band(ax, setting.interactions, setting.curves[name], colour)
    for value in (-1, 0, 1):
        ax.axhline(value, color=QUIET, linestyle=":", linewidth=0.9, zorder=0)
    ax.set_ylim(-1.1, 1.1)
    ax.set_ylabel("Entry over the largest")
    key_above(ax, [(Line2D([], [], color=colour), _NAMES[name]) for name, colour in colours.items()])
    _time_axis(ax, setting)
    return ax


@styled
def plot_similarity(setting: LearnedSetting, *, ax: Axes | None = None) -> Axes:
    """Cosines of weights and of gradients with the reference's, over training."""
    ax = axes_or_new(ax)
    _band(ax, setting.interactions, setting.curves["weight_similarity"], INK)
    _band(ax, setting.interactions, setting.curves["sensitivity_similarity"], ACCENT, "--")
    ax.axhline(1, color=QUIET, linestyle=":", linewidth=0.9, zorder=0)
    ax.set_ylabel("Cosine with TD's")
    key_above(ax, [(line_mark(INK), "implicit weights"), (line_mark(ACCENT, "--"), "gradients")])
    _time_axis(ax, setting)
    return ax


@styled
def plot_difference(setting: LearnedSetting, *, ax: Axes | None = None) -> Axes:
    """Squared gap between the values of the transformer and of TD, over training."""
    ax = axes_or_new(ax)
    _band(ax, setting.interactions, setting.curves["value_difference"], INK)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.set_ylabel("Squared value difference")
    _time_axis(ax, setting)
    return ax


@styled
def plot_lengths(setting: LearnedSetting, *, ax: Axes | None = None) -> Axes:
    """Value error by the length of the context, of the transformer and of TD; large ones are cut off."""
    ax = axes_or_new(ax)
    _band(ax, setting.length, setting.error, INK)
    _band(ax, setting.length, setting.reference_error, ACCENT)
    ax.axvline(setting.trained_on, color=QUIET, linestyle=":", linewidth=0.9, zorder=0)
    ax.set_xscale("log")
    log_ticks(ax.xaxis, counts=True)
    ax.set_ylim(0, min(_MOST_ERROR, 1.05 * max(setting.error.high.max(), setting.reference_error.high.max())))
    ax.set_xlabel("Context $n$ (transitions)")
    ax.set_ylabel("Squared value error, 0: exact")
    trained = line_mark(QUIET, ":", linewidth=0.9)
    key_above(ax, [(line_mark(INK), "trained"), (line_mark(ACCENT), "TD"), (trained, "length of training")])
    return ax


@styled
def plot_settings(settings: list[LearnedSetting], *, ax: Axes | None = None) -> Axes:
    """Value error of several settings at the end of training, with 90% intervals, side by side."""
    ax = axes_or_new(ax)
    places = np.arange(len(settings), dtype=float)
    for shift, name, colour in ((-0.08, "return_mean", INK), (0.08, "reference_return", ACCENT)):
        final = [setting.final[name] for setting in settings]
        error = np.array([1 - each.value for each in final])
        ends = [each.interval or (each.value, each.value) for each in final]
        half = [max(high - each.value, 0.0) for (_, high), each in zip(ends, final, strict=True)]
        ax.errorbar(
            places + shift, error, yerr=half, fmt="o", color=colour, markersize=3.5, capsize=2, linewidth=0.9
        )
    labels = ["\n".join(map(str, setting.differing.values())) for setting in settings]
    ax.set_xticks(places, labels)
    ax.set_xlim(-0.5, len(settings) - 0.5)
    ax.set_xlabel(", ".join(name.replace("_", " ").capitalize() for name in settings[0].differing))
    ax.set_ylabel("Squared value error, 0: exact")
    marks = [line_mark(colour, marker="o", markersize=3.5, linewidth=0) for colour in (INK, ACCENT)]
    key_above(ax, list(zip(marks, ("trained", "TD by construction"), strict=True)))
    return ax


def _band(ax: Axes, at: Floats, line: Line, colour: Colour | str, style: str = "-") -> None:
    ax.fill_between(at, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
    ax.plot(at, line.mean, style, color=colour)


def _time_axis(ax: Axes, setting: LearnedSetting) -> None:
    ax.set_xscale("log")
    ax.set_xlim(setting.interactions[0], setting.interactions[-1])
    log_ticks(ax.xaxis, counts=True)
    ax.set_xlabel("Interactions")
