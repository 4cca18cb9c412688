"""The ``rlscale`` command: the one module that may import scaling, sweeps and analysis.

Each command imports what it needs when it runs, so ``rlscale fit`` starts without torch and
ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scaling.errors import InputError, RlscaleError

app = typer.Typer(
    name="rlscale",
    help="Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sweep_app = typer.Typer(help="Plan, run and watch many runs.", no_args_is_help=True)
curves_app = typer.Typer(help="Look at, import and export stored curves.", no_args_is_help=True)
app.add_typer(sweep_app, name="sweep")
app.add_typer(curves_app, name="curves")

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON to FILE.")
]
StoreOption = Annotated[
    str, typer.Option("--store", metavar="STORE", help="Directory or URI of the run store.")
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", metavar="NAME", help="Only this sweep of the store.")
]

console = Console()


def write_json(path: Path | None, value: dict[str, Any]) -> None:
    """Write ``value`` beside ``path`` and rename it into place; nothing if ``path`` is None."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder that exists."
        ) from error


def main() -> None:
    """Entry point: failures become one sentence on stderr and an exit status."""
    try:
        app()
    except RlscaleError as error:
        Console(stderr=True, soft_wrap=True).print(f"rlscale: {error}", markup=False, highlight=False)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
