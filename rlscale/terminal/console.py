"""The console, warnings and errors, and the files that commands write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from rlscale.analysis.formatting.printable import printable
from rlscale.scaling.errors import DamagedRun, InputError
from rlscale.scaling.files import write_output


class PrintingConsole(Console):
    """A console that prints no control characters that the text contains, whatever its source."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable``, with no control characters but those of rich itself."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else printable(segment.text, keep_lines=True)
            yield Segment(shown, segment.style, segment.control)


console = PrintingConsole()

NOT_FINITE = (
    "The result would hold numbers that are not finite: some of the input is too extreme to compute with; "
    "check the units of sizes, interactions and returns."
)


def say_of(sweep: str, text: str) -> None:
    """Print a sentence about a sweep on one line; it may contain text from a store."""
    console.print(printable(f"{sweep}: {text}"), markup=False, highlight=False, soft_wrap=True)


def warn(sentence: str | None) -> None:
    """Print a warning on stderr; nothing if None."""
    if sentence is not None:
        complain(f"warning: {sentence}")


def warn_of_damage(damage: DamagedRun) -> None:
    """Say that a run of a store is left out, and why."""
    warn(f"run {damage.run_id} is left out: {damage}")


def complain(sentence: str, *parts: str) -> None:
    """Print an error on stderr, each of its parts on a line of its own."""
    lines = [f"rlscale: {printable(sentence)}", *(f"  - {printable(part)}" for part in parts)]
    PrintingConsole(stderr=True, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)


def write_json(path: Path | None, value: dict[str, Any]) -> None:
    """Write ``value`` to ``path``; nothing if it is None.

    Raises:
        InputError: if the file cannot be written, or a number is not finite (code ``not_finite``).
    """
    if path is None:
        return
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as error:
        raise InputError(NOT_FINITE, code="not_finite") from error
    _write(path, text + "\n")


def write_yaml(path: Path | None, value: dict[str, Any], *, heading: str = "") -> None:
    """Write ``value`` as YAML, under ``heading`` as a comment; to the terminal if ``path`` is None.

    Raises:
        InputError: if the file cannot be written.
    """
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    if path is None:
        typer.echo(comment + text, nl=False)
    else:
        _write(path, comment + text)


def _write(path: Path, text: str) -> None:
    write_output(path, text.encode())
