"""One self-contained HTML file with the answer, the figures and where everything came from.

Nothing in it is fetched from elsewhere, and names from a store are escaped. On a screen the main figures are
charts (``scripts/charts.js``) and a calculator forecasts (``scripts/forecast.js``); on paper, and without
scripts, there are the figures of matplotlib. Each figure is also written beside the page as PNG and SVG, for
papers. Every file is written under a temporary name and then renamed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import StoreRecord
from rlscale.analysis.figures.seeds import FINAL_SHARE
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.backtest import HEADINGS
from rlscale.analysis.formatting.numbers import percent
from rlscale.analysis.reports import text as report_text
from rlscale.analysis.reports.backtest import BacktestSection, backtest_figures, section_context
from rlscale.analysis.reports.calculator import calculator_data, calculator_examples
from rlscale.analysis.reports.charts import chart_colours, chart_data
from rlscale.analysis.reports.figures import figures
from rlscale.analysis.reports.health import HealthSection, health_context, health_figures
from rlscale.analysis.reports.page import (
    MAX_INLINE_SVG,
    ReportPaths,
    chart_style,
    data_element,
    page_template,
    paths_of,
    policy_for,
    script_of,
    style_of,
    write_figures,
    write_part,
)
from rlscale.analysis.reports.seeds import seed_figures, seed_rows
from rlscale.analysis.reports.studies import HorizonSection, studies_context, study_figures
from rlscale.scaling.errors import InputError


def write_report(
    curves: Curves,
    fit: FitResult,
    out: str | Path,
    *,
    record: StoreRecord | None = None,
    backtest: BacktestSection | None = None,
    horizon: HorizonSection | None = None,
    health: HealthSection | None = None,
    max_inline_svg: int = MAX_INLINE_SVG,
) -> ReportPaths:
    """Write the report to ``out`` and its figures to the folder ``<stem of out>_figures`` beside it.

    Args:
        curves: what the fit was made of.
        fit: the result to report.
        out: the HTML file; its folder must exist. An earlier report there is replaced.
        record: specs and runs of the store, from ``rlscale.analysis.curves.load.read_store_record``.
        backtest: from ``rlscale.analysis.reports.backtest.default_section``; None leaves the section out.
        horizon: the study of a source with several horizons; None leaves the section out.
        health: all curves of the source with the health of their runs; None leaves the section out.
        max_inline_svg: characters above which the page shows a figure as PNG.

    Raises:
        InputError: if the fit was made of other curves, or ``out`` cannot be written.
    """
    require_same_curves(curves, fit)
    paths = paths_of(Path(out))
    wanted = [*figures(curves, fit), *seed_figures(curves), *backtest_figures(backtest)]
    wanted += [*health_figures(health), *study_figures(fit, horizon)]
    made = ((item, item.make(curves, fit), item.make_wide(curves, fit)) for item in wanted)
    paths, shown = write_figures(paths, made, max_inline_svg)
    write_part(paths.html, render(curves, fit, shown, record, backtest, horizon, health))
    return paths


def require_same_curves(curves: Curves, fit: FitResult) -> None:
    """Refuse a fit of other curves than those to be shown with it.

    Raises:
        InputError: if runs or the number of points differ.
    """
    if (set(curves.run_ids), curves.num_points) != (set(fit.provenance.run_ids), fit.num_points):
        raise InputError(
            f"The fit was made of {fit.num_points} points of {fit.num_runs} runs of {fit.provenance.source}, "
            f"not of the {curves.num_points} points of {curves.num_runs} runs of {curves.source}; fit again.",
            code="other_curves",
        )


def render(
    curves: Curves,
    fit: FitResult,
    shown: list[dict[str, Any]],
    record: StoreRecord | None = None,
    backtest: BacktestSection | None = None,
    horizon: HorizonSection | None = None,
    health: HealthSection | None = None,
) -> str:
    """The HTML text.

    Args:
        shown: as of ``rlscale.analysis.reports.page.write_figures``.
    """
    charts = chart_data(curves, fit)
    script = script_of(charts=True)
    specs = {} if record is None else record.specs
    return page_template("report.html.j2").render(
        fit=fit,
        answer=asdict(report_text.answer(fit, None if backtest is None else backtest.result)),
        warnings=report_text.warnings(fit),
        constants=report_text.constants(fit),
        forecasts=report_text.forecasts(fit),
        figures=shown,
        charted=set(charts["charts"]),
        figure_style=style_of(shown, chart_colours(charts)),
        chart_style=chart_style(),
        data=[data_element("chart-data", charts), data_element("calculator-data", calculator_data(fit))],
        script=script,
        policy=policy_for(script),
        budgets=calculator_examples(fit),
        seeds=seed_rows(curves),
        seeds_at_end=percent(FINAL_SHARE),
        backtests=section_context(backtest),
        backtest_headings=HEADINGS,
        backtest_skipped="" if backtest is None else backtest.skipped,
        studies=studies_context(fit, horizon),
        health=health_context(fit, health),
        unit=report_text.size_unit(fit),
        runs=report_text.runs(curves, record),
        versions=report_text.versions(record),
        has_store=record is not None,
        specs={name: json.dumps(spec, indent=2, ensure_ascii=False) for name, spec in specs.items()},
        options={name: json.dumps(value) for name, value in fit.options.items()},
    )
