"""Figures inside a page: short, split into their panels, in colours that a dark page changes."""

import re

import numpy as np
import pytest

from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    even_colours,
    house_style,
    new_figure,
    size_colours,
    size_key,
)
from rlscale.analysis.reports.figures import svg_of
from rlscale.analysis.reports.inline import colour_rules, embeddable, panels_of


@pytest.fixture
def pair():
    """A figure of two panels, the first with a legend of sizes beside it."""
    figure = new_figure((7.2, 3.0))
    with house_style():
        left, right = figure.subplots(1, 2)
        for size, colour in zip((1, 10), size_colours([1, 10]), strict=True):
            left.plot(np.linspace(0, 1, 7), size * np.linspace(0, 1, 7) ** 2, color=colour)
        size_key(left, [1, 10], "Sizes")
        right.plot([0, 1], [1, 0], color=ACCENT)
    return figure


def boxes(inline):
    found = (re.search(r'viewBox="([^"]*)"', panel["image"]) for panel in inline.panels)
    return [[float(number) for number in match[1].split()] for match in found]


def test_panels_cover_the_figure_and_each_shows_its_own_part(pair):
    svg = svg_of(pair)
    inline = panels_of(pair, embeddable(svg, "pair"), "pair", 'Two "panels" & more')
    (left, _, first, height), (middle, _, second, _) = boxes(inline)
    assert left == 0
    assert middle == pytest.approx(first, abs=0.1)
    assert first + second == pytest.approx(7.2 * 72, abs=0.2)
    assert height == pytest.approx(3.0 * 72, abs=0.1)
    assert first > second  # the legend belongs to the first
    assert sum(panel["width"] for panel in inline.panels) == pytest.approx(1, abs=0.01)
    one, other = (panel["image"] for panel in inline.panels)
    assert 'aria-label="Two &#34;panels&#34; &amp; more"' in one
    assert 'id="pair-figure_1"' in one
    assert 'aria-hidden="true"' in other
    assert '<use href="#pair-figure_1"/>' in other


def test_a_figure_whose_panels_cannot_be_told_apart_stays_whole():
    figure = new_figure((7.2, 4.0))
    with house_style():
        figure.subplots(2, 2)
    assert len(panels_of(figure, embeddable(svg_of(figure), "grid"), "grid", "four").panels) == 1


def test_the_text_is_shorter_and_the_same_drawing(pair):
    svg = svg_of(pair)
    short = embeddable(svg, "pair")
    assert len(short) < 0.9 * len(svg)
    numbers = [
        re.findall(r"-?\d+\.?\d*", "".join(re.findall(r' d="(M [^"]*)"', text))) for text in (svg, short)
    ]
    assert len(numbers[0]) == len(numbers[1])
    full, rounded = (np.array(part, float) for part in numbers)
    assert np.abs(full - rounded).max() <= 0.0051


def test_every_colour_has_a_rule_by_daylight_and_in_the_dark(pair):
    inline = panels_of(pair, embeddable(svg_of(pair), "pair"), "pair", "two panels")
    light, dark = re.findall(r":root\{([^}]*)\}", colour_rules(inline.colours))
    for panel in inline.panels:
        for name in re.findall(r"var\((--c[0-9a-f]{6})\)", panel["image"]):
            assert f"{name}:" in light
            assert f"{name}:" in dark
        assert not re.search(r"#[0-9a-f]{6}\b", panel["image"])
    assert f"--c{INK[1:]}:{INK}" in light or INK not in inline.colours


def test_colours_of_sizes_can_be_told_from_a_dark_page():
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    from matplotlib.colors import to_hex

    sizes = [to_hex(colour) for colour in even_colours(12)]
    dark = re.findall(r":root\{([^}]*)\}", colour_rules({*sizes, "#ffffff"}))[1]
    shown = dict(re.findall(r"--c([0-9a-f]{6}):(#[0-9a-f]{6});", dark))
    paper = luminance(shown["ffffff"])
    contrast = [(luminance(shown[colour[1:]]) + 0.05) / (paper + 0.05) for colour in sizes]
    assert min(contrast) > 2.5
    assert np.all(np.diff([luminance(shown[colour[1:]]) for colour in sizes]) > 0)
