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
from rlscale.analysis.records import Interval
from rlscale.scaling.config.run import ALIASES
from rlscale.terminal.printable import printable


def new_table(title: str, *headings: str) -> Table:
    """A table in the style of all: text left, numbers right, nothing wrapped."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading and position else "left", no_wrap=True)
    return table


def with_interval(value: float, interval: Interval | None) -> str:
    """A number, and below it its interval."""
    return f"{brief_number(value)}\n{interval_text(interval, '.3g')}"


def print_verdict(identified: bool, warnings: list[str], console: Console) -> None:
    """The warnings, then whether the exponents are identified."""
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(f"Identified: [bold]{'yes' if identified else 'no'}[/bold]", highlight=False)


_SHORT_NAMES = {path: name for name, path in ALIASES.items()}


def _text(text: str) -> Text:
    """Text from a store on one line: neither markup nor control characters of it count."""
    return Text(printable(text))


def _table(*names: str, apart: Sequence[str], first: str | None = None, gap: int = 1) -> Table:
    table = Table(
        box=SIMPLE_HEAD, title_justify="left", collapse_padding=True, pad_edge=False, padding=(0, gap)
    )
    if first:
        table.add_column(first, no_wrap=True)
    for name in apart:
        table.add_column(_text(name.replace("_", " ")), justify="right", overflow="fold")
    for name in names:
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    return table


def _apart(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names of the fields, seed and length aside, in which the configs differ."""
    return [_SHORT_NAMES.get(path, path.rsplit(".", 1)[-1]) for path in _differing(configs)]


def _values(configs: Sequence[Mapping[str, Any]]) -> list[list[Text]]:
    """For each config the values of those fields."""
    paths = _differing(configs)
    return [[_value(_flat(config).get(path)) for path in paths] for config in configs]


def _value(value: Any) -> Text:
    return _text("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    flat = [_flat(config) for config in configs]
    paths = dict.fromkeys(path for config in flat for path in config if path not in ("seed", "interactions"))
    return [path for path in paths if len({repr(config.get(path)) for config in flat}) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
