"""``rlscale curves import|show|export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import (
    ColumnsOption,
    DuplicatesOption,
    JsonOption,
    RunColumnsOption,
    StoreOption,
    SweepOption,
)
from rlscale.terminal.console import console, warn_of_damage, write_json


def curves_import(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A CSV, Parquet, JSON lines or event file, or a folder with a file a run.",
        ),
    ],
    store: StoreOption,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|parquet|jsonl|tensorboard|wandb|sb3|rllib",
            help="Format of SRC; default: detected and printed.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    run_columns: RunColumnsOption = None,
    duplicates: DuplicatesOption = "error",
    tag: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Logged metric to use as the return; default: the usual one of the format."
        ),
    ] = None,
    sizes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV, YAML or JSON that maps names or globs of runs to num_params."
        ),
    ] = None,
    size_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Reads the size from a run's name, e.g. 'n(?P<num_params>\\d+)'."),
    ] = None,
    steps_scale: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Environment steps per step of SRC, e.g. 0.25 if SRC counts frames with a skip of 4.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Sweep to import into; default: the one that SRC names, or 'imported'."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Task to record for all runs.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace runs that the store already has.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Import learning curves from other tools into a store, as finished runs.

    Reads tidy CSV, Parquet and JSON lines files, and the logs of TensorBoard,
    Weights & Biases, stable-baselines3 and RLlib.
    """
    from rlscale.sweeps.importers.importing import ImportOptions, import_curves
    from rlscale.sweeps.importers.readers.runs import ReadOptions

    options = ImportOptions(
        format=format_,
        read=ReadOptions(columns or {}, tag, run_columns or (), duplicates),
        sizes=sizes,
        size_pattern=size_pattern,
        steps_scale=steps_scale,
        sweep=sweep,
        task=task,
        replace=replace,
    )
    result = import_curves(source, store, options)
    for line in (*result.notes, result.summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    write_json(json_path, result.as_json())


def curves_show(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
) -> None:
    """List the curves of a store: sizes, lengths, rows and last returns."""
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.curves import curves_table

    opened = RunStore(store)
    records = list(opened.runs(sweep, warn_of_damage))
    if not records:
        console.print(f"{store} holds no curves yet.", markup=False, highlight=False, soft_wrap=True)
    for name in dict.fromkeys(record.sweep for record in records):
        console.print(curves_table(opened, name, [record for record in records if record.sweep == name]))


def curves_export(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The file: CSV if it ends in .csv, else Parquet.")
    ],
    sweep: SweepOption = None,
) -> None:
    """Write all curves to one tidy Parquet or CSV file, with the columns of the run in each row."""
    from rlscale.sweeps.store.run_store import RunStore

    rows = RunStore(store).export(out, sweep, warn_of_damage)
    console.print(f"Wrote {rows:,} rows to {out}.", markup=False, highlight=False, soft_wrap=True)
