"""An SVG file as elements of a page: short, one a panel, in colours that a dark page can change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rlscale.analysis.figures.style import ACCENT, INK, QUIET, even_colours

_POINTS_PER_INCH = 72  # the unit of matplotlib's SVG
#: Colours on a dark page; the rest are those of sizes, or stay.
_DARK = {
    INK: "#e8e6e1",
    ACCENT: "#ff8a8f",
    QUIET: "#9b9b9b",
    "#000000": "#e8e6e1",
    "#ffffff": "#16181c",
}
#: The part of viridis that is seen on a dark page, for sizes from small to large.
_DARK_SIZES = (0.36, 1.0)
_HEX = re.compile(r"#[0-9a-f]{6}\b")


@dataclass(frozen=True)
class Inline:
    """A figure in a page.

    Attributes:
        panels: ``image`` (markup) and ``width`` (share of the figure) of each panel.
        colours: that its rules must define.
    """

    panels: list[dict[str, Any]]
    colours: set[str]


def embeddable(svg: str, name: str) -> str:
    """The text of an SVG file as part of an HTML page.

    The page has one name space for ids, so each figure's get a prefix. HTML needs neither prolog nor name
    spaces, the page sets the size, and a hundredth of a point is more than a screen shows.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, body = svg[: svg.index(">")], svg[svg.index(">") :]
    head = re.sub(r'\s(?:xmlns(?::xlink)?|width|height|version)="[^"]*"', "", head)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"-?\d+\.\d{3,}", _rounded, body)
    return head + re.sub(r"\n\s*", "\n", body)


def _rounded(match: re.Match[str]) -> str:
    """Two decimals, or four of a number below 1, which may scale what is drawn."""
    value = float(match[0])
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.4g}"


def panels_of(figure: Figure, svg: str, name: str, alt: str) -> Inline:
    """The figure as one element a panel, so that a narrow screen can show them below each other.

    Args:
        figure: drawn.
        svg: its ``embeddable`` text.
    """
    colours = set(_HEX.findall(svg))
    svg = _HEX.sub(lambda match: f"var(--c{match[0][1:]})", svg)
    svg = re.sub(r"(<image\s)", r'\1class="raster" ', svg)
    width, height = (inches * _POINTS_PER_INCH for inches in figure.get_size_inches())
    spans = _panel_spans(figure, width)
    first = f'<svg role="img" aria-label="{Markup.escape(alt)}"'
    panels = []
    for place, (left, right) in enumerate(spans):
        box = f'viewBox="{left:.1f} 0 {right - left:.1f} {height:.1f}"'
        if place == 0:
            markup = re.sub(r'viewBox="[^"]*"', box, svg.replace("<svg", first, 1), count=1)
        else:
            markup = f'<svg aria-hidden="true" {box}><use href="#{name}-figure_1"/></svg>'
        panels.append({"width": round((right - left) / width, 3), "image": Markup(markup)})
    return Inline(panels, colours)


def _panel_spans(figure: Figure, width: float) -> list[tuple[float, float]]:
    """Left and right end of each panel in points; one if panels cannot be told apart."""
    rows = {round(ax.get_position().y0, 2) for ax in figure.axes if not _is_colour_bar(ax)}
    if figure.legends or len(rows) > 1:
        return [(0.0, width)]
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    scale = _POINTS_PER_INCH / figure.dpi
    ends = sorted((box.x0 * scale, box.x1 * scale) for box in boxes if box is not None)
    groups: list[list[float]] = []
    for low, high in ends:
        if groups and low < groups[-1][1]:
            groups[-1][1] = max(groups[-1][1], high)
        else:
            groups.append([low, high])
    cuts = [(left[1] + right[0]) / 2 for left, right in pairwise(groups)]
    if any(_is_colour_bar(ax) for ax in figure.axes):
        cuts = []
    return list(zip([0.0, *cuts], [*cuts, width], strict=True))


def _is_colour_bar(ax: Axes) -> bool:
    return ax.get_label() == "<colorbar>"


def colour_rules(colours: Iterable[str]) -> str:
    """Rules that define the colours of figures as variables, by daylight and in the dark."""
    used = sorted(colours)
    light = "".join(f"--c{colour[1:]}:{colour};" for colour in used)
    dark = "".join(f"--c{colour[1:]}:{_dark(colour)};" for colour in used)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _dark(colour: str) -> str:
    return _DARK.get(colour) or _dark_sizes().get(colour, colour)


@cache
def _dark_sizes() -> dict[str, str]:
    """The colour on a dark page of each that a size may have."""
    steps = 256
    dark = colormaps["viridis"](np.linspace(*_DARK_SIZES, steps))
    return {to_hex(light): to_hex(shown) for light, shown in zip(even_colours(steps), dark, strict=True)}
