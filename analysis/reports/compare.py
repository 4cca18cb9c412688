"""The page of a comparison of two recipes: the verdict, the multiplier, its parts, the laws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlscale.analysis.figures.compare import comparison_figure
from rlscale.analysis.formatting.compare import (
    MODEL_WORDS,
    factor_interval,
    factor_text,
    headline,
    p_text,
    recipe_rows,
    returns_rows,
    sentences,
)
from rlscale.analysis.formatting.numbers import percent, typeset_powers, with_minus_signs
from rlscale.analysis.reports.page import (
    ReportPaths,
    page_template,
    paths_of,
    policy_for,
    style_of,
    write_figures,
    write_part,
)
from rlscale.analysis.studies.compare.result import Comparison


@dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    caption: str
    alt: str


_TITLE = "Frontiers and the compute multiplier"
_CAPTION = (
    "Left: the return against the least compute for it; dots are the measured best over sizes, lines the "
    "fitted laws. Right: compute of the first recipe over that of the second for one return, with its "
    "interval; dots are read off the measured frontiers alone, without a law. Above 1 the first takes more."
)


def write_comparison(result: Comparison, out: str | Path) -> ReportPaths:
    """Write the page to ``out`` and its figure to the folder ``<stem of out>_figures`` beside it.

    Raises:
        InputError: if ``out`` cannot be written.
    """
    figure = comparison_figure(result)
    item = _Figure("comparison", _TITLE, _CAPTION, with_minus_signs(headline(result)))
    paths, shown = write_figures(paths_of(Path(out)), [(item, figure, None)])
    write_part(paths.html, render_comparison(result, shown))
    return paths


def render_comparison(result: Comparison, shown: list[dict[str, Any]]) -> str:
    """The HTML text; ``shown`` as of ``rlscale.analysis.reports.page.write_figures``."""
    verdict, *rest = (with_minus_signs(typeset_powers(sentence)) for sentence in sentences(result))
    return page_template("compare.html.j2").render(
        result=result,
        verdict=verdict,
        sentences=rest,
        level=percent(result.interval_level),
        returns=returns_rows(result, 7),
        models=[
            (
                MODEL_WORDS[one.name],
                factor_text(one.multiplier),
                factor_interval(one.interval),
                f"{one.loss:.2%}",
                p_text(one.p_value),
                one.name == result.model,
            )
            for one in result.models
        ],
        recipes=recipe_rows(result),
        figures=shown,
        figure_style=style_of(shown),
        policy=policy_for(),
        options={name: json.dumps(value) for name, value in result.options.items()},
    )
