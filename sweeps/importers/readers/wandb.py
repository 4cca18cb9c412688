"""CSV exports of Weights & Biases: wide (one column a run) or long (one column names the run).

The site exports the wide form from a panel: the column of the x axis, then for each run ``NAME - METRIC``,
``NAME - METRIC__MIN`` and ``NAME - METRIC__MAX``. Scripts write the long form from ``run.history()`` or
``run.scan_history()``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.csv_log import LogTable, curve_rows, read_log
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    listed,
    not_done_again,
    plural,
)
from rlscale.sweeps.importers.readers.tidy import runs_of
from rlscale.sweeps.store.tables import require_columns_of_schema, table_of_frame

STEP_NAMES = ("global_step", "train/global_step", "Step", "_step", "step")  # in order of preference
RUN_NAMES = ("run_name", "run", "name", "Name", "run_id", "id", "ID")
_LOG_CALLS = ("Step", "_step")
_OWN = ("_step", "_runtime", "_timestamp", "_wandb")
_ENDS = ("__MIN", "__MAX")


def is_wide(header: Sequence[str]) -> bool:
    """Whether this is the header of an export from the site."""
    return any(name.endswith(_ENDS) for name in header) or (
        bool(header) and header[0] in STEP_NAMES and any(" - " in name for name in header[1:])
    )


def is_long(header: Sequence[str]) -> bool:
    """Whether this is the header of a history that a script wrote."""
    return any(name in header for name in _OWN)


def read_wandb(path: Path, options: ReadOptions) -> Parsed:
    """Read an export of either form.

    Raises:
        InputError: if it cannot be used, naming the column or row and the remedy.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one CSV file that W&B exported.", code="not_a_file")
    require_columns_of_schema(options.columns)
    table = read_log(path, appended=False)
    if not table.rows:
        raise InputError(f"{path} holds no rows; give an export with curves in it.", code="no_rows")
    wide = is_wide(table.header)
    step = _step_column(table, options, wide)
    runs, skipped = _wide(table, options, step) if wide else _long(table, options, step)
    notes = []
    if runs:
        counts = [len(run.rows) for run in runs]
        span = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
        notes.append(
            f"Runs have {span} rows: what the W&B site and run.history() export is thinned evenly "
            f"(to 500 rows by default); run.scan_history() gives all."
        )
    notes.append(
        f"Interactions are read from {step}"
        + (
            ", which counts calls of wandb.log unless the run gave its own step; if environment steps were "
            "logged as a metric, use that as x axis."
            if step in _LOG_CALLS
            else ", which must count environment steps."
        )
    )
    return Parsed(tuple(runs), tuple(skipped), tuple(notes))


def _step_column(table: LogTable, options: ReadOptions, wide: bool) -> str:
    asked = options.columns.get("interactions")
    if asked is not None:
        table.column(asked)
        return asked
    found = next((name for name in STEP_NAMES if name in table.header), None)
    if found is None and wide and " - " not in table.header[0]:
        return table.header[0]
    if found is None:
        raise InputError(
            f"{table.path} has no column of steps (it has: {listed(table.header, 30)}); "
            f"name it with --columns interactions=NAME.",
            code="missing_column",
        )
    return found


def _wide(table: LogTable, options: ReadOptions, step: str) -> tuple[list[SourceRun], list[Skipped]]:
    others = [name for name in options.columns if name not in ("interactions", "return_mean")]
    if others:
        raise InputError(
            f"{table.path} has a column for each run, none for {others[0]}; use --sizes, or the long form.",
            code="conflicting_options",
        )
    tag = options.asked.get("return_mean")
    names = [name for name in table.header if name != step and " - " in name and not name.endswith(_ENDS)]
    if tag is None:
        metrics = dict.fromkeys(metric for _, metric in map(_split, names) if metric not in _OWN)
        if len(metrics) != 1:
            raise InputError(
                f"{table.path} has {plural(len(metrics), 'metric')}: {listed(metrics, 30)}; "
                f"choose the return with --tag.",
                code="missing_column",
            )
        tag = next(iter(metrics))
    ending = f" - {tag}"
    columns = [name for name in names if name.endswith(ending)]
    if not columns:
        raise InputError(
            f"{table.path} has no column 'RUN{ending}'; it has: {listed(table.header, 30)}.",
            code="missing_column",
        )
    runs: list[SourceRun] = []
    skipped: list[Skipped] = []
    for column in columns:
        run = column[: -len(ending)]
        rows, _ = curve_rows(table, {"interactions": step, "return_mean": column})
        if len(rows):
            runs.append(SourceRun(run, table.path, rows))
        else:
            skipped.append(Skipped(run, f"nothing in {column}"))
    return runs, skipped


def _long(table: LogTable, options: ReadOptions, step: str) -> tuple[list[SourceRun], list[Skipped]]:
    tag = options.asked.get("return_mean")
    run_column = options.columns.get("run_id") or next((n for n in RUN_NAMES if n in table.header), None)
    if tag is None or run_column is None:
        ours = "return_mean" if tag is None else "run_id"
        raise InputError(
            f"{table.path}: say which column is {ours} with --columns {ours}=NAME; "
            f"it has: {listed(table.header, 30)}.",
            code="missing_column",
        )
    asked = {ours: theirs for ours, theirs in options.columns.items() if ours not in ("sweep", "status")}
    chosen = asked | {"run_id": run_column, "interactions": step, "return_mean": tag}
    _refuse_shared_names(table, run_column)
    frame, steps = curve_rows(table, chosen)
    everyone = dict.fromkeys(table.column(run_column).dropna())
    order = "_step" if "_step" in table.header else None
    numbered = table_of_frame(frame.assign(interactions=steps), table.path, row_numbers=list(frame.index))
    runs = []
    for run in runs_of(numbered, numbered.runs(), repeats="average") if len(frame) else ():
        kept = _attempts(table, run, order, chosen["interactions"])
        counts = {"again": int((~kept).sum())}
        runs.append(
            SourceRun(run.name, run.where, run.rows[kept], facts=run.facts, repeats="average", counts=counts)
        )
    found = {run.name for run in runs}
    return runs, [Skipped(name, f"nothing in {tag}") for name in everyone if name not in found]


def _attempts(table: LogTable, run: SourceRun, order: str | None, step: str) -> np.ndarray:
    """Which rows no later attempt repeats: a resumed run logs steps again at a later ``_step``."""
    steps = run.rows["interactions"].to_numpy(float)
    if order is not None and order != step:
        calls = pd.to_numeric(table.column(order).loc[run.rows.index], errors="coerce").to_numpy(float)
        back = np.flatnonzero(~(calls[1:] > calls[:-1]))
    else:
        back = np.flatnonzero(np.diff(steps) < 0)
    if len(back):
        raise InputError(
            f"{table.path}, run {run.name}, row {run.rows.index[back[0] + 1]}: {order or step} is not beyond "
            f"the row before; sort the rows, and name runs uniquely (--columns run_id=NAME).",
            code="unordered_rows",
        )
    return not_done_again(steps, once=False)


def _refuse_shared_names(table: LogTable, run_column: str) -> None:
    """Refuse two runs of one display name, which ids in the file can reveal."""
    for ids in ("run_id", "id", "ID"):
        if ids in table.header and ids != run_column:
            pairs = pd.DataFrame({"name": table.column(run_column), "id": table.column(ids)}).dropna()
            many = pairs.groupby("name")["id"].nunique()
            if (many > 1).any():
                raise InputError(
                    f"{table.path}: the name {many.idxmax()!r} belongs to {many.max()} runs; "
                    f"tell them apart with --columns run_id={ids}.",
                    code="duplicate_run",
                )


def _split(column: str) -> tuple[str, str]:
    run, _, metric = column.rpartition(" - ")
    return run, metric
