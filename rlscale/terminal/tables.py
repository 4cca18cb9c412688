"""Tables for a terminal: their style and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.formatting.printable import printable
from rlscale.analysis.records import Interval
from rlscale.scaling.config.run import ALIASES


def new_table(title: str | None, *headings: str) -> Table:
    """A table of results. The first column and those without a heading are text; nothing is wrapped."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading and position else "left", no_wrap=True)
    return table


def runs_table(*headings: str, differing: Sequence[str], first: str | None = None, gap: int = 1) -> Table:
    """A table of runs or of their sizes, narrower than a table of results.

    Args:
        headings: of the last columns.
        differing: the fields that distinguish the rows, a column each.
        first: heading of a column before these.
        gap: spaces between columns.
    """
    table = Table(
        box=SIMPLE_HEAD, title_justify="left", collapse_padding=True, pad_edge=False, padding=(0, gap)
    )
    if first:
        table.add_column(first, no_wrap=True)
    for name in differing:
        table.add_column(stored_text(name.replace("_", " ")), justify="right", overflow="fold", min_width=4)
    for name in headings:
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    return table


def with_interval(value: float, interval: Interval | None) -> str:
    """A number, and below it its interval."""
    return f"{brief_number(value)}\n{interval_text(interval, '.3g')}"


def print_line(line: str, console: Console) -> None:
    """A sentence on one line, which is neither wrapped nor read as markup."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_warnings(warnings: Sequence[str], console: Console) -> None:
    """A line for each warning."""
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def print_verdict(identified: str, warnings: Sequence[str], console: Console) -> None:
    """The warnings, then whether the exponents are identified, in words that start with yes or no."""
    print_warnings(warnings, console)
    console.print(f"Identified: [bold]{escape(identified)}[/bold]", highlight=False, soft_wrap=True)


_SHORT_NAMES = {path: name for name, path in ALIASES.items()}


def stored_text(text: str) -> Text:
    """Text from a store on one line, without markup and control characters."""
    return Text(printable(text))


def differing_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names of the fields in which the configs differ, except seed and length."""
    return [_SHORT_NAMES.get(path, path.rsplit(".", 1)[-1]) for path in _differing(configs)]


def differing_values(configs: Sequence[Mapping[str, Any]]) -> list[list[Text]]:
    """The values of ``differing_fields`` in each config."""
    paths = _differing(configs)
    return [[_value(_flat(config).get(path)) for path in paths] for config in configs]


def _value(value: Any) -> Text:
    return stored_text("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    flat = [_flat(config) for config in configs]
    paths = dict.fromkeys(path for config in flat for path in config if path not in ("seed", "interactions"))
    return [path for path in paths if len({repr(config.get(path)) for config in flat}) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
