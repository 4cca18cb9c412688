"""What every command shares: the console, the option that writes JSON, and how it is written."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scaling.errors import InputError


def _writable(path: Path | None) -> Path | None:
    """Refuse before the work what could only fail after it."""
    if path is not None and path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write, e.g. {path / 'result.json'}.")
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; create it first.")
    return path


JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result as JSON to FILE.", callback=_writable),
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", metavar="NAME", help="Only this sweep of the store.")
]

console = Console()


def write_json(path: Path | None, value: dict[str, Any]) -> None:
    """Write ``value`` beside ``path`` and rename it into place; nothing if ``path`` is None.

    Raises:
        InputError: if the file cannot be written.
    """
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder that exists."
        ) from error
