"""Files of figures that a command writes where the person asks for one (``--figure``)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from rlscale.analysis.figures.style import house_style
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import output

_ENDINGS = (".png", ".pdf", ".svg")
_DPI = 200


def check_figure_name(path: Path) -> None:
    """Refuse a wrong file name before the work starts.

    Raises:
        InputError: if it is not the name of a figure (code ``unknown_file_format``).
    """
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(
            f"--figure {path}: give a name that ends in {', '.join(_ENDINGS)}.", code="unknown_file_format"
        )


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, PDF or SVG, by the name of the file.

    Raises:
        InputError: if the file cannot be written (code ``unwritable_file``).
    """
    with house_style(), output(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format=path.suffix[1:].lower())
