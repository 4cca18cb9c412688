"""One self-contained HTML file with the answer, the figures and where everything came from.

Nothing in it is fetched from elsewhere, and names from a store are escaped. Each figure is also
written beside it as PNG and SVG. Every file is written under a temporary name and then renamed.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import StoreRecord
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.backtest import HEADINGS
from rlscale.analysis.reports import text as report_text
from rlscale.analysis.reports.backtest import BacktestSection, backtest_figures, section_context
from rlscale.analysis.reports.figures import figures, png_of, svg_of
from rlscale.analysis.reports.studies import HorizonSection, studies_context, study_figures
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import write_file

#: Characters of an SVG above which the page shows a PNG instead.
MAX_INLINE_SVG = 500_000
_INLINE_DPI = 200
_REM_PER_INCH = 6.4  # the widest figure fills the page, and type has one size in all of them


@dataclass(frozen=True)
class ReportPaths:
    """What ``write_report`` wrote.

    Attributes:
        html: the report.
        figures: the folder of the figures.
        png, svg: file of each figure, by its name, in the report's order.
    """

    html: Path
    figures: Path
    png: dict[str, Path]
    svg: dict[str, Path]


def write_report(
    curves: Curves,
    fit: FitResult,
    out: str | Path,
    *,
    record: StoreRecord | None = None,
    backtest: BacktestSection | None = None,
    horizon: HorizonSection | None = None,
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
        max_inline_svg: characters above which the page shows a figure as PNG.

    Raises:
        InputError: if the fit was made of other curves, or ``out`` cannot be written.
    """
    require_same_curves(curves, fit)
    paths = _paths(Path(out))
    png, svg, shown = {}, {}, []
    wanted = [*figures(curves, fit), *backtest_figures(backtest), *study_figures(fit, horizon)]
    for number, item in enumerate(wanted, 1):
        figure = item.make(curves, fit)
        text = svg_of(figure)
        svg[item.name] = _write(paths.figures / f"{item.name}.svg", text.encode(), folder=True)
        png[item.name] = _write(paths.figures / f"{item.name}.png", png_of(figure), folder=True)
        image = _inline(figure, text, item.name, item.title, max_inline_svg)
        entry = {"number": number, "title": item.title, "caption": item.caption, "image": image}
        shown.append({**entry, "width": round(_REM_PER_INCH * figure.get_figwidth(), 1)})
    html = render(curves, fit, shown, record, backtest, horizon)
    _write(paths.html, html.encode())
    return ReportPaths(paths.html, paths.figures, png, svg)


def check_out(out: str | Path) -> None:
    """Check that a report can be written to ``out``, before a long fit starts.

    Raises:
        InputError: if it cannot.
    """
    paths = _paths(Path(out))
    if paths.figures.exists() and not paths.figures.is_dir():
        raise InputError(
            f"{paths.figures} is a file, but figures go into a folder of that name; move it away.",
            code="unwritable_file",
        )
    try:
        with tempfile.TemporaryFile(dir=paths.html.parent):
            pass
    except OSError as error:
        raise _unwritable(paths.html, error) from error


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
) -> str:
    """The HTML text.

    Args:
        shown: ``number``, ``title``, ``caption``, ``image`` (markup) and ``width`` (rem) of each figure.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )
    specs = {} if record is None else record.specs
    return environment.get_template("report.html.j2").render(
        fit=fit,
        answer=asdict(report_text.answer(fit)),
        warnings=report_text.warnings(fit),
        constants=report_text.constants(fit),
        forecasts=report_text.forecasts(fit),
        figures=shown,
        backtests=section_context(backtest),
        backtest_headings=HEADINGS,
        backtest_skipped="" if backtest is None else backtest.skipped,
        studies=studies_context(fit, horizon),
        unit=report_text.size_unit(fit),
        runs=report_text.runs(curves, record),
        versions=report_text.versions(record),
        has_store=record is not None,
        specs={name: json.dumps(spec, indent=2, ensure_ascii=False) for name, spec in specs.items()},
        options={name: json.dumps(value) for name, value in fit.options.items()},
    )


def _template(name: str) -> str:
    return resources.files("rlscale.analysis.reports").joinpath(name).read_text(encoding="utf-8")


def _paths(out: Path) -> ReportPaths:
    if out.is_dir() or not out.name:
        raise InputError(
            f"{out} is a folder; name the file to write, e.g. {out / 'report.html'}.", code="unwritable_file"
        )
    return ReportPaths(out, out.with_name(f"{out.stem}_figures"), {}, {})


def _write(path: Path, content: bytes, *, folder: bool = False) -> Path:
    """Write beside ``path`` and rename into place; with ``folder``, make its folder first."""
    try:
        if folder:
            path.parent.mkdir(exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({error.strerror}); name a file in a folder that exists and is writable.",
        code="unwritable_file",
    )


def _inline(figure: Figure, svg: str, name: str, title: str, max_svg: int) -> Markup:
    """The figure as markup that needs no other file."""
    if len(svg) <= max_svg:
        return Markup(_embeddable(svg, name, title))
    data = base64.b64encode(png_of(figure, _INLINE_DPI)).decode()
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(data, title)


def _embeddable(svg: str, name: str, title: str) -> str:
    """An SVG file as an element of an HTML page.

    The page has one name space for ids, so each figure's get a prefix. HTML needs neither prolog nor name
    spaces, and the page sets the size.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = (
        re.sub(r'\s(?:xmlns(?::xlink)?|width|height|version)="[^"]*"', "", svg[: svg.index(">")])
        + (svg[svg.index(">") :])
    )
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
