"""Import of curves from other programs into the run store.

Everything is read and checked before anything is written. A run's name becomes its id where the store
allows it; importing the same curve again changes nothing.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from rlscale.scaling.errors import InputError, StoreUnavailable
from rlscale.sweeps.importers.check import CheckedCurve, check_curve, check_fact, storable
from rlscale.sweeps.importers.detect import find_format
from rlscale.sweeps.importers.readers import rllib, sb3, tensorboard, tidy, wandb
from rlscale.sweeps.importers.readers.runs import (
    COUNTED,
    Format,
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    listed,
    one_line,
    plural,
)
from rlscale.sweeps.importers.sizes import RunFacts, apply_file, apply_pattern
from rlscale.sweeps.store.records import STILL_TRAINED, RunRecord
from rlscale.sweeps.store.run_store import RunStore, check_name, rows_equal
from rlscale.sweeps.store.schema import CURVE_SCHEMA, conform

DEFAULT_SWEEP = "imported"
#: Formats whose logs a program writes row by row while it trains.
_LOGS = ("tensorboard", "sb3", "rllib")
#: A log that was written to so many seconds ago may still grow.
_RECENT_SECONDS = 600.0
Outcome = Literal["imported", "already there", "replaced"]


@dataclass(frozen=True)
class ImportOptions:
    """The options of ``rlscale curves import``.

    Attributes:
        format: one of ``FORMATS``; detected if None.
        read: columns and tag of the source.
        sizes: file that maps names of runs to sizes and other run columns.
        size_pattern: regular expression that finds sizes and other run columns in the names.
        steps_scale: environment steps for one step of the source.
        sweep: the sweep to import into; by default the one that the source names, else ``DEFAULT_SWEEP``.
        task: the task of all runs; the source's own is then ignored.
        replace: whether to replace stored runs whose curve is different.
    """

    format: str | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    sizes: Path | None = None
    size_pattern: str | None = None
    steps_scale: float | None = None
    sweep: str | None = None
    task: str | None = None
    replace: bool = False


@dataclass(frozen=True)
class ImportedRun:
    """One run of the source, whether it was stored, and whether it may still be trained."""

    name: str
    sweep: str
    run_id: str
    columns: Mapping[str, Any]
    rows: int
    interactions: int
    outcome: Outcome
    still_trained: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What was imported; ``as_json`` is the JSON of the command."""

    source: str
    store: str
    format: Format
    runs: tuple[ImportedRun, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def summary(self) -> str:
        """One sentence: how many runs, of how many sizes, into which sweeps."""
        sizes = len({run.columns["num_params"] for run in self.runs})
        outcomes = Counter(run.outcome for run in self.runs)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        return (
            f"{self.store}: {plural(len(self.runs), 'run')} ({counts}) of {plural(sizes, 'size')} with "
            f"{plural(sum(run.rows for run in self.runs), 'row')}, "
            f"in the sweep {listed(sorted({run.sweep for run in self.runs}))}."
        )


@dataclass(frozen=True)
class _Entry:
    """One run, ready to be stored."""

    name: str
    record: RunRecord
    table: pa.Table = field(repr=False)


def import_curves(source: str | Path, store: str | Path, options: ImportOptions) -> ImportResult:
    """Read curves of any known format and store them as finished runs.

    Raises:
        InputError: if the source, the sizes or an option cannot be used, or a run is in the store
            with another curve; then nothing is written.
        StoreUnavailable: if a run cannot be written; the runs before it are stored.
    """
    try:
        result = _import(source, store, options)
    except InputError as error:
        raise type(error)(one_line(str(error)), code=error.code) from error
    except OSError as error:
        where = error.filename or source
        raise InputError(
            one_line(f"{where} cannot be reached: {error.strerror}; check the path."), code="unreadable_file"
        ) from error
    return replace(result, notes=tuple(map(one_line, result.notes)))


def _import(source: str | Path, store: str | Path, options: ImportOptions) -> ImportResult:
    scale = options.steps_scale
    if scale is not None and not 0 < scale < float("inf"):
        raise InputError(
            f"--steps-scale {scale:g}: give a positive number, e.g. 0.25 for frames / 4.",
            code="invalid_number",
        )
    if options.sweep is not None:
        check_name(options.sweep, "sweep")
    path = Path(source)
    kind, found = find_format(path, options.format)
    parsed = _read(kind, path, options.read)
    checked = [check_curve(run, scale) for run in parsed.runs]
    curves = [curve for curve in checked if isinstance(curve, CheckedCurve)]
    skipped = (*parsed.skipped, *(curve for curve in checked if isinstance(curve, Skipped)))
    if not curves:
        reasons = listed((f"{run.name}: {run.reason}" for run in skipped), 3)
        raise InputError(
            f"{source} holds no run with a curve ({reasons}); give one that does.", code="no_curves"
        )
    columns, notes = _run_columns(curves, options)
    entries = [
        _entry(curve, values, kind, path, options) for curve, values in zip(curves, columns, strict=True)
    ]
    _require_one_each(entries)
    runs = _store(entries, store, options.replace)
    if skipped:
        names = listed((f"{run.name} ({run.reason})" for run in skipped), 3)
        notes.append(f"{plural(len(skipped), 'run')} skipped: {names}.")
    growing = [run.name for run in runs if run.still_trained]
    if growing:
        notes.append(
            f"{plural(len(growing), 'run')} may still be trained: {listed(growing, 3)}; the log was written "
            f"less than {_RECENT_SECONDS / 60:.0f} minutes ago. Import again once that is done."
        )
    return ImportResult(
        str(source), str(store), kind, runs, skipped, (found, *parsed.notes, *_counted(curves), *notes)
    )


def store_id(name: str) -> str:
    """A run id that the store accepts: the name, or a readable part of it and a hash of the whole name."""
    with suppress(InputError):
        return check_name(name, "run_id")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{readable}-{digest}" if readable else digest


def _read(kind: Format, path: Path, options: ReadOptions) -> Parsed:
    if kind == "csv" or kind == "parquet" or kind == "jsonl":
        return tidy.read_tidy(path, options, kind)
    if options.run_columns or options.duplicates != "error":
        option = "--run-columns" if options.run_columns else "--duplicates"
        raise InputError(
            f"{option} is for tidy files; {path} is read as {kind}, whose runs and resumed steps are known: "
            f"leave it out.",
            code="conflicting_options",
        )
    readers = {
        "tensorboard": tensorboard.read_tensorboard,
        "wandb": wandb.read_wandb,
        "sb3": sb3.read_sb3,
        "rllib": rllib.read_rllib,
    }
    return readers[kind](path, options)


def _run_columns(
    curves: Sequence[CheckedCurve], options: ImportOptions
) -> tuple[list[dict[str, Any]], list[str]]:
    """The run columns of each run from its source, the mapping file and the pattern, and notes."""
    runs = [RunFacts(curve.run.name) for curve in curves]
    for curve, facts in zip(curves, runs, strict=True):
        for column, value in curve.run.facts.items():
            if column != "status":
                facts.state(column, value, curve.run.where)
    notes = [] if options.sizes is None else apply_file(options.sizes, runs)
    if options.size_pattern is not None:
        apply_pattern(options.size_pattern, runs)
    unsized = [facts.name for facts in runs if "num_params" not in facts.values]
    if unsized:
        raise InputError(
            f"{plural(len(unsized), 'run')} without a size: {listed(unsized, 3)}; give num_params with "
            f"--sizes FILE (run name or glob to size), with --size-pattern, or as a column of the source.",
            code="missing_size",
        )
    task = {} if options.task is None else {"task": check_fact("task", options.task, "--task")}
    return [_hinted(c) | facts.values | task for c, facts in zip(curves, runs, strict=True)], notes


def _hinted(curve: CheckedCurve) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, value in curve.run.hints.items():
        with suppress(InputError):  # a hint that cannot be used is ignored
            checked = check_fact(column, value, curve.run.where)
            values |= {} if checked is None else {column: checked}
    return values


def _entry(
    curve: CheckedCurve, columns: dict[str, Any], kind: Format, source: Path, options: ImportOptions
) -> _Entry:
    run = curve.run
    sweep = check_name(options.sweep or run.sweep or DEFAULT_SWEEP, "sweep")
    run_id = store_id(run.name)
    table = curve.table
    for name, value in (("sweep", sweep), ("run_id", run_id)):
        table = table.append_column(name, pa.repeat(value, table.num_rows))
    table = conform(table, CURVE_SCHEMA)
    seconds = [s for s in table["wall_seconds"].to_pylist() if s is not None and 0 <= s < math.inf]
    config: dict[str, Any] = {
        "imported_from": storable(str(source.resolve())),
        "format": kind,
        "name": storable(run.name),
    }
    if _is_still_trained(run, kind):
        config[STILL_TRAINED] = True
    record = RunRecord(
        sweep=sweep,
        run_id=run_id,
        status="done",
        config=config | {key: value for key, value in _how_read(options).items() if value},
        columns=columns,
        provenance={"imported by": f"rlscale {version('rlscale')}"},
        interactions=table["interactions"][-1].as_py(),
        wall_seconds=max(seconds, default=0.0),
        updated=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    return _Entry(run.name, record, table)


def _is_still_trained(run: SourceRun, kind: Format) -> bool:
    """Whether the log of a run was written to just now."""
    place = Path(run.where)
    files = [path for path in place.iterdir() if path.is_file()] if place.is_dir() else [place]
    if kind not in _LOGS or not all(path.exists() for path in files):
        return False
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    return time.time() - newest < _RECENT_SECONDS


def _how_read(options: ImportOptions) -> dict[str, Any]:
    return {
        "tag": options.read.tag,
        "columns": dict(options.read.columns),
        "run_columns": list(options.read.run_columns),
        "duplicates": options.read.duplicates if options.read.duplicates != "error" else None,
        "steps_scale": options.steps_scale,
    }


def _require_one_each(entries: Iterable[_Entry]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for entry in entries:
        key = (entry.record.sweep, entry.record.run_id)
        if key in seen:
            raise InputError(
                f"Runs {seen[key]!r} and {entry.name!r} would be one in the sweep {key[0]}; "
                f"rename one, or leave out --sweep so that each keeps its own.",
                code="duplicate_run",
            )
        seen[key] = entry.name


def _store(entries: Sequence[_Entry], location: str | Path, overwrite: bool) -> tuple[ImportedRun, ...]:
    """Store the runs that are not there yet, after checking all of them."""
    store = RunStore(location, create=True)
    outcomes = [_outcome(store, entry, overwrite) for entry in entries]
    runs = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome != "already there":
            try:
                store.add_curve(entry.record, entry.table)
            except (StoreUnavailable, OSError, pa.ArrowException) as error:
                raise StoreUnavailable(
                    f"Run {entry.name} cannot be written to {location}: {error}; "
                    f"once that is fixed, import again: runs that are stored stay."
                ) from error
        record = entry.record
        runs.append(
            ImportedRun(
                entry.name,
                record.sweep,
                record.run_id,
                record.columns,
                entry.table.num_rows,
                record.interactions,
                outcome,
                STILL_TRAINED in record.config,
            )
        )
    return tuple(runs)


def _outcome(store: RunStore, entry: _Entry, overwrite: bool) -> Outcome:
    record = entry.record
    there = store.read_run(record.sweep, record.run_id)
    if there is None:
        return "imported"
    columns = {name: value for name, value in there.columns.items() if value is not None}
    grew = STILL_TRAINED in there.config
    if there.status == "done" and columns == record.columns:
        with suppress(InputError):  # a curve that cannot be read is different
            if rows_equal(store.read_curve(record.sweep, record.run_id), entry.table, ignore=()):
                ended = grew and STILL_TRAINED not in record.config
                return "replaced" if ended else "already there"
    where = f"Run {entry.name} of the sweep {record.sweep} is in {store.location} already"
    if "imported_from" not in there.config:
        raise InputError(
            f"{where} and was trained, not imported; import under another --sweep.", code="run_exists"
        )
    same_source = _without_mark(there.config) == _without_mark(record.config) and columns == record.columns
    if not (overwrite or (grew and same_source and record.interactions >= there.interactions)):
        raise InputError(
            f"{where} with another curve, size or setting; use --replace, or another --sweep to keep both.",
            code="run_exists",
        )
    return "replaced"


def _without_mark(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != STILL_TRAINED}


def _counted(curves: Iterable[CheckedCurve]) -> list[str]:
    """A sentence for each kind of change to rows: how many, in how many runs."""
    rows: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for curve in curves:
        rows.update(curve.counts)
        runs.update(curve.counts.keys())
    return [
        f"{plural(rows[kind], 'row')} of {plural(runs[kind], 'run')} {phrase}."
        for kind, phrase in COUNTED.items()
        if rows[kind]
    ]
