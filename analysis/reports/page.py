"""What every HTML page of the toolkit shares: its template, its figures, and how its files are written.

Nothing in a page is fetched from elsewhere, and a policy in it forbids that to a browser, which runs only the
scripts that the page was written with. Names from a store are escaped, and stripped of characters that
change how the rest is shown. Every file is written under a
temporary name and then renamed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from rlscale.analysis.formatting.printable import printable
from rlscale.analysis.reports.figures import png_of, svg_of
from rlscale.analysis.reports.inline import Inline, colour_rules, embeddable, panels_of
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import check_output, write_output

#: Characters of an SVG above which the page shows a PNG instead, so that a page stays below 3 MB.
MAX_INLINE_SVG = 150_000
#: Endings of files that people may expect, and that a page is not.
_NOT_HTML = (".pdf", ".docx", ".md", ".txt", ".json", ".csv", ".parquet", ".png", ".svg", ".ipynb")
_INLINE_DPI = 150
_REM_PER_INCH = 6.4  # the widest figure fills the page, and type has one size in all of them
_TEXT_INCHES = 7.2  # from this width on a figure is as wide as the text
_SCRIPTS = ("numbers.js", "law.js", "forecast.js", "calculator.js", "charts.js", "page.js")
_UPLOT = "uplot-1.6.32"


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


class Described(Protocol):
    """What a page says of a figure: file name without ending, title, caption, and what is seen in it."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def alt(self) -> str: ...


def page_template(name: str) -> Template:
    """A template of this folder, which escapes what it shows and refuses what is not given."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_resource),
    )
    return environment.get_template(name)


def write_figures(
    paths: ReportPaths,
    figures: Iterable[tuple[Described, Figure, Figure | None]],
    max_inline_svg: int = MAX_INLINE_SVG,
) -> tuple[ReportPaths, list[dict[str, Any]]]:
    """Write each figure as SVG and PNG beside the page.

    Args:
        figures: what the page says of each, the figure for papers, and one as wide as the text of the page
            if that is another one.
        max_inline_svg: characters above which the page shows a figure as PNG.

    Returns:
        The paths, with those of the figures, and for each figure what its page shows: ``name``, ``number``,
        ``title``, ``caption``, ``alt``, ``panels`` (markup, with ``width`` as shares), ``scrolls`` (whether
        it is too wide for a narrow screen), ``rem`` (most width) and ``colours``.
    """
    png, svg, shown = {}, {}, []
    for number, (item, figure, other) in enumerate(figures, 1):
        text = printable(svg_of(figure), keep_lines=True)
        figure.set_layout_engine("none")  # it is laid out, and the PNG shall be the same
        svg[item.name] = write_part(paths.figures / f"{item.name}.svg", text, folder=True)
        png[item.name] = write_part(paths.figures / f"{item.name}.png", png_of(figure), folder=True)
        wide = figure if other is None else other
        text = text if other is None and len(text) <= max_inline_svg else svg_of(wide, _INLINE_DPI)
        inline = _inline(wide, text, item.name, item.alt, max_inline_svg)
        inches = wide.get_figwidth()
        shown.append(
            {
                "name": item.name,
                "number": number,
                "title": item.title,
                "caption": item.caption,
                "alt": item.alt,
                "panels": inline.panels,
                "colours": inline.colours,
                "scrolls": len(inline.panels) == 1 and inches > 6,
                "rem": None if inches >= _TEXT_INCHES else round(_REM_PER_INCH * inches, 1),
            }
        )
    return ReportPaths(paths.html, paths.figures, png, svg), shown


def style_of(shown: list[dict[str, Any]], more_colours: Iterable[str] = ()) -> Markup:
    """Rules for the colours of the figures of a page, by daylight and in the dark."""
    used = {colour for one in shown for colour in one["colours"]}
    return Markup(colour_rules(used | set(more_colours)))


def script_of(*, charts: bool) -> Markup:
    """The scripts of a page as one element, with the chart library in front if it has charts."""
    parts = [_resource(f"scripts/{name}") for name in _SCRIPTS]
    made = '(() => {\n"use strict";\n' + "\n".join(parts) + "})();"
    if charts:
        licence = _resource(f"scripts/{_UPLOT}/LICENSE")
        made = f"/* uPlot 1.6.32\n\n{licence}*/\n{_resource(f'scripts/{_UPLOT}/uPlot.iife.min.js')}\n{made}"
    return Markup(f"<script>{made}</script>")


def chart_style() -> Markup:
    """The style sheet of the chart library."""
    return Markup(_resource(f"scripts/{_UPLOT}/uPlot.min.css").strip())


def data_element(name: str, data: Any) -> Markup:
    """Data for the scripts of a page, which no text in them can end."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def policy_for(*scripts: Markup) -> str:
    """What a browser may do for the page: run these scripts, show what it holds, and ask for nothing."""
    hashes = []
    for script in scripts:
        text = script.removeprefix("<script>").removesuffix("</script>")
        hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    allowed = " ".join(hashes) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


def check_out(out: str | Path) -> None:
    """Check that a report can be written to ``out``, before a long fit starts.

    Raises:
        InputError: if it cannot, or if it is the name of another kind of file (code ``unknown_file_format``).
    """
    ending = Path(out).suffix.lower()
    if ending in _NOT_HTML:
        raise InputError(
            f"{out}: a report is one HTML file; name it {Path(out).with_suffix('.html')}"
            + (", open it in a browser and print it to a PDF." if ending == ".pdf" else "."),
            code="unknown_file_format",
        )
    paths = paths_of(Path(out))
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


def _resource(name: str) -> str:
    return resources.files("rlscale.analysis.reports").joinpath(name).read_text(encoding="utf-8")


def paths_of(out: Path) -> ReportPaths:
    """Where a page and its figures go; without its figures yet."""
    check_output(out)
    if out.exists() and not out.is_file():
        raise InputError(
            f"{out} is no file, and a report needs a folder for its figures beside it; name a file.",
            code="unwritable_file",
        )
    return ReportPaths(out, out.with_name(f"{out.stem}_figures"), {}, {})


def write_part(path: Path, content: bytes | str, *, folder: bool = False) -> Path:
    """Write a file of the report; with ``folder``, make its folder first.

    Of text, characters that would change how the rest is shown are replaced, as in a terminal.
    """
    if isinstance(content, str):
        content = printable(content, keep_lines=True).encode()
    try:
        if folder:
            path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    write_output(path, content)
    return path


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({error.strerror}); name a file in a folder that exists and is writable.",
        code="unwritable_file",
    )


def _inline(figure: Figure, svg: str, name: str, alt: str, max_svg: int) -> Inline:
    """The figure as markup that needs no other file."""
    short = embeddable(svg, name)
    if len(short) <= max_svg:
        return panels_of(figure, short, name, alt)
    data = base64.b64encode(png_of(figure, _INLINE_DPI)).decode()
    image = Markup('<img src="data:image/png;base64,{}" alt="{}">').format(data, alt)
    return Inline([{"width": 1, "image": image}], set())
