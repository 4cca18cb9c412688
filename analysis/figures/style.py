"""How every figure looks: type, colours of sizes, axes in real units, tick labels a person reads.

Figures are made without pyplot, so a caller's figures, backend and settings stay as they are. All
text is in the STIX faces that come with matplotlib, hence the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal, ParamSpec

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats
from rlscale.analysis.formatting.numbers import compact_count, scientific_mathtext

ReturnScale = Literal["linear", "failure"]
Colour = tuple[float, float, float, float]
P = ParamSpec("P")

#: Inches; shrunk to a column of 3.4 inches its type is still 7 points.
ONE_PANEL = (4.6, 3.1)
TWO_PANELS = (7.2, 3.0)
INK = "#1a1a1a"
ACCENT = "#b2182b"
QUIET = "#7a7a7a"
#: More sizes than this get a colour bar in place of a legend.
MAX_LEGEND_SIZES = 10
#: Median above which returns in 0..1 are shown by their distance to 1.
_NEAR_PERFECT = 0.75

_STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Text as outlines looks the same wherever it is opened; a salt makes the same figure the same file.
    "svg.fonttype": "path",
    "svg.hashsalt": "rlscale",
    "path.simplify": True,
}

# Viridis without its last tenth: yellow is hard to see on white paper.
_SIZES = LinearSegmentedColormap.from_list("sizes", colormaps["viridis"](np.linspace(0.0, 0.9, 256)))


@contextmanager
def house_style() -> Iterator[None]:
    """The settings of all figures, for the time of a ``with`` block."""
    with rc_context(_STYLE):
        yield


def styled(plot: Callable[P, Axes]) -> Callable[P, Axes]:
    """Run a plot function in the house style."""

    @wraps(plot)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Axes:
        with house_style():
            return plot(*args, **kwargs)

    return inner


def new_figure(size: tuple[float, float] = ONE_PANEL) -> Figure:
    """An empty figure that is not registered with pyplot."""
    with house_style():
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    return new_figure().add_subplot() if ax is None else ax


# -- sizes ------------------------------------------------------------------------


def size_colours(sizes: ArrayLike) -> list[Colour]:
    """A colour for each size, dark to light by the logarithm of the size."""
    logs = np.log(np.asarray(sizes, float))
    span = np.ptp(logs) or 1.0
    return _colours((logs - logs.min()) / span)


def even_colours(count: int) -> list[Colour]:
    """``count`` colours, dark to light, for sizes that have no number to space them by."""
    return _colours(np.linspace(0.0, 1.0, count))


def _colours(places: Floats) -> list[Colour]:
    return [(float(r), float(g), float(b), float(a)) for r, g, b, a in _SIZES(places)]


def size_key(ax: Axes, sizes: Sequence[float] | Floats, title: str) -> None:
    """Legend of the sizes right of the axes, the largest on top; a colour bar if they are many."""
    if len(sizes) > MAX_LEGEND_SIZES:
        mappable = ScalarMappable(LogNorm(min(sizes), max(sizes)), _SIZES)
        bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02, aspect=30)
        bar.set_label(title)
        bar.outline.set_visible(False)
        log_ticks(bar.ax.yaxis, counts=True)
        return
    pairs = list(zip(sizes, size_colours(sizes), strict=True))[::-1]
    handles = [Line2D([], [], color=colour, linewidth=2.2) for _, colour in pairs]
    labels = [compact_count(size) for size, _ in pairs]
    # Made by hand and added as an artist, so that another legend of the axes does not replace it.
    legend = Legend(
        ax,
        handles,
        labels,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        borderaxespad=0.0,
        handlelength=1.1,
        labelspacing=0.35,
        alignment="left",
    )
    ax.add_artist(legend)
    legend.set_clip_on(False)  # the layout makes no room for what is clipped to the axes


def key_above(ax: Axes, entries: Sequence[tuple[Line2D | Patch, str]]) -> None:
    """Legend of lines and marks in rows of three above the axes, where it hides no data."""
    ax.legend(
        [handle for handle, _ in entries],
        [label for _, label in entries],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=3,
        borderaxespad=0.2,
        handletextpad=0.5,
        columnspacing=1.1,
    )


def line_mark(colour: str = QUIET, line: Literal["-", "--", ":"] = "-", **options: Any) -> Line2D:
    """A line for a legend."""
    return Line2D([], [], color=colour, linestyle=line, **options)


def dot_mark(colour: str = QUIET, *, edge: str | None = None, shape: str = "o") -> Line2D:
    """A dot for a legend, hollow if it has an edge of its own."""
    return Line2D([], [], color=colour, linestyle="", marker=shape, markersize=3.5, markeredgecolor=edge)


# -- axes -------------------------------------------------------------------------


def log_ticks(axis: Axis, *, counts: bool = False) -> None:
    """Ticks of a logarithmic axis: decades; 1 and 3 below two decades; 1, 2, 5 below one.

    Args:
        axis: x or y axis whose view limits are final.
        counts: write 10k and 1M for 10⁴ and 10⁶.
    """
    low, high = sorted(axis.get_view_interval())
    span = np.log10(high / low)
    narrow = span < 2
    subs = (1.0, 2.0, 5.0) if span < 1 else (1.0, 3.0) if narrow else (1.0,)
    text = compact_count if counts else scientific_mathtext
    axis.set_major_locator(LogLocator(10, subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(
        LogLocator(10, subs=range(1, 10), numticks=99) if narrow else LogLocator(10, subs="all", numticks=99)
    )
    axis.set_minor_formatter(NullFormatter())


def return_scale_for(returns: ArrayLike, *, accuracy: bool = False) -> ReturnScale:
    """How to space returns: by log(1 - R) for accuracies near 1, where a linear scale shows no differences.

    Args:
        returns: what is to be shown.
        accuracy: the returns are known to be accuracies. Otherwise they are taken for it if all lie in
            0..1 and most are near 1.
    """
    values = np.asarray(returns, float)
    if values.min() < 0 or values.max() > 1:
        return "linear"
    near = values.max() > 0.5 if accuracy else values.max() < 1 and np.median(values) > _NEAR_PERFECT
    return "failure" if near else "linear"


def return_axis(
    axis: Axis, returns: ArrayLike, *, scale: ReturnScale | None = None, label: str = "Return $R$"
) -> None:
    """Scale, limits, ticks and label of an axis of returns.

    ``returns`` are all that is to be seen, and decide the scale if none is given. The labels are returns
    on either scale, and up is better; on the ``failure`` scale equal distances are equal factors of the
    failure rate 1 - R.
    """
    values = np.asarray(returns, float)
    axis.set_label_text(label)
    if (scale or return_scale_for(values)) == "linear":
        return
    is_y = axis.axis_name == "y"  # type: ignore[attr-defined]
    set_scale = axis.axes.set_yscale if is_y else axis.axes.set_xscale
    set_scale("function", functions=(_failure_decades, _from_failure_decades))
    # A batch without a single failure would lie infinitely high, so such outliers do not set the limits.
    low, high = _failure_decades(values.min()), _failure_decades(min(np.quantile(values, 0.999), 0.99999))
    pad = 0.04 * (high - low)
    limits = _from_failure_decades(np.array([low - pad, high + pad]))
    (axis.axes.set_ylim if is_y else axis.axes.set_xlim)(*limits)
    axis.set_major_locator(FixedLocator(_failure_ticks(*limits)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_label_text(f"{label}, spaced by failure rate $1 - R$")


def _failure_decades(returns: ArrayLike) -> Floats:
    return -np.log10(np.maximum(1.0 - np.asarray(returns, float), 1e-9))


def _from_failure_decades(decades: ArrayLike) -> Floats:
    return 1.0 - 10.0 ** -np.asarray(decades, float)


def _failure_ticks(low: float, high: float) -> list[float]:
    """Round returns far enough apart for their labels: round failure rates first, then 0.5, 0.2, ..."""
    ends = _failure_decades([low, high])
    rank = [0.9, 0.99, 0.999, 0.9999, 0.5, 0.95, 0.995, 0.9995, 0.8, 0.98, 0.998, 0.0, 0.2]
    rank += [0.7, 0.97, 0.96, 0.6, 0.85, 0.93, 0.4]
    chosen: list[float] = []
    for tick in rank:
        place = _failure_decades(tick)
        apart = all(abs(place - _failure_decades(other)) > 0.08 * np.ptp(ends) for other in chosen)
        if low <= tick <= high and apart:
            chosen.append(tick)
    return sorted(chosen)
