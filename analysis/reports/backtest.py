"""The report's section on backtests: what is held out by default, and its table and figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.backtest import backtest_figure
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.backtest import rows, said, summary
from rlscale.analysis.formatting.numbers import scientific
from rlscale.analysis.reports.figures import ReportFigure, return_scale
from rlscale.analysis.reports.text import typeset
from rlscale.analysis.studies.backtest.result import BacktestResult, SplitBacktest
from rlscale.analysis.studies.backtest.splits import default_splits
from rlscale.analysis.studies.backtest.study import DEFAULT_REPLICATES, backtest
from rlscale.analysis.studies.with_studies import estimator_of
from rlscale.scaling.errors import RlscaleError


@dataclass(frozen=True)
class BacktestSection:
    """A backtest to show, or why there is none."""

    result: BacktestResult | None
    skipped: str = ""


def default_section(
    curves: Curves, fit: FitResult, *, draws: int = DEFAULT_REPLICATES, workers: int = 1
) -> BacktestSection:
    """The backtest that ``rlscale backtest`` makes by default, with the options of ``fit``."""
    estimator = replace(estimator_of(fit, workers), replicates=draws)
    try:
        return BacktestSection(backtest(curves, default_splits(curves, estimator), estimator))
    except RlscaleError as error:
        return BacktestSection(None, f"No backtest was made: {error}")


def section_context(section: BacktestSection | None) -> list[dict[str, Any]]:
    """What the template shows of each split."""
    if section is None or section.result is None:
        return []
    return [
        {
            "title": b.split.in_words(scientific),
            "rows": [[typeset(cell) for cell in row] for row in rows(b)],
            "summary": typeset(f"{summary(b, section.result.options['bootstrap'])} {said(b, scientific)}"),
            "warnings": [typeset(warning) for warning in b.warnings],
        }
        for b in section.result.splits
    ]


def backtest_figures(section: BacktestSection | None) -> list[ReportFigure]:
    """A figure for each split."""
    if section is None or section.result is None:
        return []
    size: SizeColumn = section.result.size
    return [
        ReportFigure(
            f"backtest_{item.split.kind}",
            f"Backtest: {item.split.in_words(scientific)} held out",
            "Left: held-out returns as dots, what the fit without them predicts as lines, with their 90% "
            "prediction intervals. Right: the optimal size by that fit with its interval, by the fit of all "
            "curves (dashed), the trained sizes that were best at held-out computes (dots), and the size "
            "that was best where training ended (dotted). A law that holds puts dots in the bands and the "
            "dashed line in the shade.",
            said(item, scientific),
            partial(_draw, item, size),
        )
        for item in section.result.splits
    ]


def _draw(item: SplitBacktest, size: SizeColumn, curves: Curves, fit: FitResult) -> Figure:
    return backtest_figure(item, size=size, scale=return_scale(curves, fit))
