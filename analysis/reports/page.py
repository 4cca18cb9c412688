"""What every HTML page of the toolkit shares: its template, its figures, and how its files are written.

Nothing in a page is fetched from elsewhere. Names from a store are escaped, and stripped of characters that
change how the rest is shown. Every file is written under a
temporary name and then renamed.
"""

from __future__ import annotations

import base64
import re
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
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import check_output, write_output

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


class Described(Protocol):
    """What a page says of a figure: a file name without ending, a title and a caption."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def caption(self) -> str: ...


def page_template(name: str) -> Template:
    """A template of this folder, which escapes what it shows and refuses what is not given."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )
    return environment.get_template(name)


def write_figures(
    paths: ReportPaths, figures: Iterable[tuple[Described, Figure]], max_inline_svg: int = MAX_INLINE_SVG
) -> tuple[ReportPaths, list[dict[str, Any]]]:
    """Write each figure as SVG and PNG beside the page.

    Returns:
        The paths, with those of the figures, and for each figure what its page shows: ``number``, ``title``,
        ``caption``, ``image`` (markup) and ``width`` (rem).
    """
    png, svg, shown = {}, {}, []
    for number, (item, figure) in enumerate(figures, 1):
        text = printable(svg_of(figure), keep_lines=True)
        svg[item.name] = write_part(paths.figures / f"{item.name}.svg", text, folder=True)
        png[item.name] = write_part(paths.figures / f"{item.name}.png", png_of(figure), folder=True)
        image = _inline(figure, text, item.name, item.title, max_inline_svg)
        entry = {"number": number, "title": item.title, "caption": item.caption, "image": image}
        shown.append({**entry, "width": round(_REM_PER_INCH * figure.get_figwidth(), 1)})
    return ReportPaths(paths.html, paths.figures, png, svg), shown


def check_out(out: str | Path) -> None:
    """Check that a report can be written to ``out``, before a long fit starts.

    Raises:
        InputError: if it cannot.
    """
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


def _template(name: str) -> str:
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
