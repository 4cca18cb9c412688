"""The run store: one folder a run, on any filesystem that pyarrow can reach.

    STORE/sweep=<name>/spec.json                  the sweep spec as last submitted
    STORE/sweep=<name>/run=<run_id>/run.json      config, sizes, versions, status, attempts
                                   /part-000000.<attempt>.parquet ...   rows since the last checkpoint
                                   /curve.parquet                       all rows, once the run is done
                                   /checkpoint/000000.<attempt>.pt ...  what resuming the run needs
                                   /log-<attempt>.txt                   the log of one attempt

Files appear whole, so reading needs no lock. A run that dies resumes from its last checkpoint
and measures again what followed it. The lease of each attempt lists the parts that count, so each
row is there once, and an attempt that another one replaced changes nothing that a reader sees
(see ``rlscale.sweeps.store.run_folder``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from rlscale.scaling.errors import DamagedRun, DamagedSpec, InputError
from rlscale.scaling.files import output
from rlscale.sweeps.store.files import Files
from rlscale.sweeps.store.names import CURVE, RUN, is_leftover
from rlscale.sweeps.store.records import RunRecord, Status
from rlscale.sweeps.store.run_folder import RunFolder
from rlscale.sweeps.store.run_writer import RunWriter, begin_attempt, mark_run
from rlscale.sweeps.store.schema import CURVE_SCHEMA, EXPORT_SCHEMA, RUN_COLUMNS, conform

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SPEC = "spec.json"
_EXPORTED_AT_ONCE = 1 << 20  # rows: few enough to hold, enough for a row group
_REQUESTS_AT_ONCE = 16  # to a store that answers slowly, as object stores do


OnDamage = Callable[[DamagedRun], None]


def refuse(damage: DamagedRun) -> None:
    """Stop at the first damaged run."""
    raise damage


class RunStore:
    """A directory or URI that holds runs."""

    def __init__(self, location: str | Path, *, create: bool = False) -> None:
        """Open a store.

        Raises:
            InputError: if ``location`` is a file, does not exist (unless ``create``), or
                cannot be reached.
        """
        self.location = str(location)
        self.files = Files(self.location)
        found = self.files.type_of(self.files.root)
        if found == pafs.FileType.File:
            raise InputError(f"{self.location} is a file, not a store: give a directory.", code="not_a_store")
        if found == pafs.FileType.NotFound:
            if not create:
                raise InputError(f"There is no store at {self.location}: check the path.", code="no_store")
            self.files.make_folder(self.files.root)

    # -- what is there ------------------------------------------------------------

    def sweeps(self) -> list[str]:
        """Names of the sweeps, sorted."""
        return self._children(self.files.root, "sweep=")

    def run_ids(self, sweep: str) -> list[str]:
        """Ids of the runs of one sweep, sorted."""
        return self._children(self._sweep_dir(sweep), "run=")

    def runs(self, sweep: str | None = None, on_damage: OnDamage = refuse) -> Iterator[RunRecord]:
        """The records of all runs, or those of one sweep.

        Args:
            on_damage: called with the error of each run whose record cannot be used, which is left out, and
                of each folder whose name is no run's; raises it by default.
        """
        for name in self.select(sweep):
            for stray in self.strays(name):
                on_damage(stray)
            files = None if self.files.is_local else self.file_names(name)
            yield from self.read_runs(name, self.run_ids(name), on_damage, files)

    def read_runs(
        self,
        sweep: str,
        run_ids: Sequence[str],
        on_damage: OnDamage = refuse,
        files: Mapping[str, set[str]] | None = None,
    ) -> Iterator[RunRecord]:
        """The records of those of these runs that have one.

        Args:
            on_damage: as for ``runs``.
            files: what ``file_names`` returned a moment ago, to save listing each run's folder.
        """

        def read(run_id: str) -> RunRecord | DamagedRun | None:
            try:
                return self.folder(sweep, run_id).record(None if files is None else files.get(run_id))
            except DamagedRun as error:
                return error

        if self.files.is_local:
            yield from _intact(map(read, run_ids), on_damage)
            return
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            yield from _intact(pool.map(read, run_ids), on_damage)

    def read_run(self, sweep: str, run_id: str) -> RunRecord | None:
        """The record of one run, or None if there is none.

        Raises:
            DamagedRun: if it cannot be read.
        """
        return self.folder(sweep, run_id).record()

    def is_done(self, sweep: str, run_id: str) -> bool:
        """Whether nothing is left to do for a run: it is done, and its curve can be read.

        Raises:
            DamagedRun: if a file of it is not of this version or this run.
        """
        try:
            record = self.read_run(sweep, run_id)
            if record is None or record.status != "done":
                return False
            self.folder(sweep, run_id).check_curve()
            return True
        except DamagedRun as error:
            if not error.may_be_redone:
                raise
            return False

    def check_curve_ends(self, sweep: str, run_id: str) -> None:
        """Make sure, at the cost of a few bytes, that the final file of a finished run is whole.

        Raises:
            DamagedRun: if it is empty or truncated.
        """
        self.folder(sweep, run_id).check_curve_ends()

    def file_names(self, sweep: str) -> dict[str, set[str]]:
        """The files of each run by its id, from one listing; a run that is done has ``CURVE``."""
        folder = self._sweep_dir(sweep)
        names: dict[str, set[str]] = {}
        for info in self.files.list(folder, recursive=True):
            place, *path = info.path[len(folder) + 1 :].split("/")
            if place.startswith("run=") and path and info.type == pafs.FileType.File:
                names.setdefault(place.removeprefix("run="), set()).add("/".join(path))
        return names

    def read_logs(self, sweep: str, run_id: str) -> list[tuple[int, str]]:
        """(attempt, log) of each of a run's attempts that stored a log, in their order."""
        return self.folder(sweep, run_id).logs()

    def read_checkpoints(self, sweep: str, run_id: str) -> Iterator[bytes]:
        """The content of a run's stored checkpoints, the oldest first.

        A run that is done has some if its config says ``keep_checkpoints``.
        """
        return self.folder(sweep, run_id).kept_checkpoints()

    # -- files beside the runs ------------------------------------------------------

    def read_spec(self, sweep: str) -> dict[str, Any] | None:
        """The sweep's spec as last submitted, or None (a single run has none)."""
        text = self.read_file(sweep, _SPEC)
        try:
            spec = None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            spec = error
        if not isinstance(spec, dict | None):
            raise DamagedSpec(
                f"{self._sweep_dir(sweep)}/{_SPEC} is damaged; "
                f"run the sweep again with its spec, which writes it again."
            )
        return spec

    def write_spec(self, sweep: str, spec: Mapping[str, Any]) -> None:
        """Store the spec, which says what is wanted: for ``status`` and the report's provenance.

        Raises:
            StoreUnavailable: if the store cannot be written.
        """
        self.write_file(sweep, _SPEC, json.dumps(spec, indent=1).encode())

    def read_file(self, sweep: str, name: str) -> bytes | None:
        """A small file beside a sweep's runs, ``name`` as in ``drivers/x.json``; None if there is none."""
        return self.files.read(self._beside(sweep, name))

    def write_file(self, sweep: str, name: str, content: bytes) -> None:
        path = self._beside(sweep, name)
        self.files.make_folder(os.path.dirname(path))
        self.files.write(path, content)

    def delete_file(self, sweep: str, name: str) -> None:
        self.files.delete(self._beside(sweep, name))

    def list_files(self, sweep: str, folder: str) -> list[str]:
        """Names of the files in a folder beside a sweep's runs, sorted."""
        infos = self.files.list(self._beside(sweep, folder))
        return sorted(
            i.base_name for i in infos if i.type == pafs.FileType.File and not i.base_name.startswith(".")
        )

    def _beside(self, sweep: str, name: str) -> str:
        for part in name.split("/"):
            check_name(part, "file name")
        return f"{self._sweep_dir(sweep)}/{name}"

    # -- curves -------------------------------------------------------------------

    def read_curve(self, sweep: str, run_id: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows stored of one run, in order of ``interactions``; possibly none.

        With ``columns``, names of ``CURVE_SCHEMA``, only these are read, which takes a fraction of the time.

        The final file is preferred. When a run ends, that file replaces its parts, so the reader
        tries again if a part is gone.
        """
        return self.folder(sweep, run_id).curve(columns)

    def read_curves(self, sweep: str | None = None) -> pa.Table:
        """Every row of the store (or of one sweep), with the run columns: ``EXPORT_SCHEMA``."""
        tables = list(self._wide_tables(sweep))
        return pa.concat_tables(tables) if tables else EXPORT_SCHEMA.empty_table()

    def export(self, path: str | Path, sweep: str | None = None, on_damage: OnDamage = refuse) -> int:
        """Write one tidy file of all rows; values are untouched. Returns their number.

        Args:
            path: of a CSV file if it ends in ``.csv``, otherwise of a Parquet file.
            on_damage: as for ``runs``.

        Raises:
            InputError: if there are no rows, or ``path`` cannot be written.
        """
        with output(path) as temporary:
            as_csv = Path(path).suffix.lower() == ".csv"
            with _csv_writer(temporary) if as_csv else _parquet_writer(temporary) as writer:
                rows = self._write_rows(writer, sweep, on_damage)
            if rows == 0:
                raise InputError(f"{self.location} holds no rows to export yet.", code="no_curves")
        return rows

    def _write_rows(
        self, writer: pq.ParquetWriter | pa_csv.CSVWriter, sweep: str | None, on_damage: OnDamage
    ) -> int:
        """Write all rows, in groups of bounded size. Returns their number."""
        rows, waiting = 0, list[pa.Table]()
        for table in self._wide_tables(sweep, on_damage):
            waiting.append(table)
            rows += table.num_rows
            if sum(each.num_rows for each in waiting) >= _EXPORTED_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
        return rows

    def _wide_tables(self, sweep: str | None, on_damage: OnDamage = refuse) -> Iterator[pa.Table]:
        """For each run a table of its rows, with the run columns repeated in each row."""
        for record in self.runs(sweep, on_damage):
            try:
                table = self.read_curve(record.sweep, record.run_id)
            except DamagedRun as error:
                on_damage(error)
                continue
            values = {**record.columns, "status": record.status}
            for name in RUN_COLUMNS:
                field = EXPORT_SCHEMA.field(name)
                value = pa.scalar(values.get(name), field.type)
                table = table.append_column(field, pa.repeat(value, table.num_rows))
            yield table.select(EXPORT_SCHEMA.names).cast(EXPORT_SCHEMA)

    def add_curve(self, record: RunRecord, table: pa.Table) -> None:
        """Store a complete curve that was imported as a finished run."""
        folder = self.folder(record.sweep, record.run_id)
        self.files.make_folder(folder.path)
        folder.write_curve(conform(table, CURVE_SCHEMA), record)
        self.files.write(f"{folder.path}/{RUN}", record.as_bytes())

    # -- writing a run ------------------------------------------------------------

    def claim(
        self,
        sweep: str,
        run_id: str,
        *,
        config: Mapping[str, Any],
        columns: Mapping[str, Any],
        provenance: Mapping[str, Any],
        host: str,
        pid: int,
        until: int | None = None,
    ) -> RunWriter:
        """Begin an attempt at a run; writes of earlier attempts no longer count.

        Args:
            until: where the attempt is to pause, in interactions; None if it trains to the end.

        Raises:
            InputError: if the run is done already.
            LeaseLost: if another attempt began at the same moment.
            StoreUnavailable: if the store cannot be written.
        """
        return begin_attempt(
            self.folder(sweep, run_id),
            config=config,
            columns=columns,
            provenance=provenance,
            host=host,
            pid=pid,
            until=until,
        )

    def mark(
        self, record: RunRecord, status: Status, reason: str | None, failure: str | None = None
    ) -> RunRecord:
        """Set a run's status from outside; its attempt under way, if any, ends and cannot write any more.

        ``failure`` is the code of the failure, if the status is "failed".

        Raises:
            LeaseLost: if an attempt finished the run meanwhile, or another began.
        """
        return mark_run(self.folder(record.sweep, record.run_id), record, status, reason, failure)

    def clean_finished(self, sweep: str, run_id: str) -> None:
        """Remove what a finished run no longer needs: its leases, parts and checkpoints."""
        self.folder(sweep, run_id).clean_finished()

    def clean_sweep(self, sweep: str) -> None:
        """The same for all finished runs of a sweep whose last attempt died before it cleaned up."""
        for run_id, names in self.file_names(sweep).items():
            if CURVE in names and any(is_leftover(name) for name in names):
                self.clean_finished(sweep, run_id)

    # -- places -------------------------------------------------------------------

    def _sweep_dir(self, sweep: str) -> str:
        return f"{self.files.root}/sweep={check_name(sweep, 'sweep')}"

    def folder(self, sweep: str, run_id: str) -> RunFolder:
        """The files of one run, which may not exist."""
        path = f"{self._sweep_dir(sweep)}/run={check_name(run_id, 'run_id')}"
        return RunFolder(self.files, path, sweep, run_id)

    def select(self, sweep: str | None) -> list[str]:
        """``[sweep]``, or the names of all sweeps if None.

        Raises:
            InputError: if there is no sweep of that name.
        """
        names = self.sweeps()
        if sweep is None:
            return names
        if sweep not in names:
            there = ", ".join(names) or "none"
            raise InputError(
                f"{self.location} has no sweep named {sweep!r}; it has: {there}.", code="unknown_sweep"
            )
        return [sweep]

    def _children(self, folder: str, prefix: str) -> list[str]:
        names = (name[len(prefix) :] for name in self._folders(folder, prefix))
        return sorted(name for name in names if _NAME.fullmatch(name))

    def strays(self, sweep: str) -> list[DamagedRun]:
        """An error for each folder that begins like a run's and has no name of one, as ``run=x (copy)``."""
        folder = self._sweep_dir(sweep)
        return [
            DamagedRun(
                f"{folder}/{name} has no name of a run; rename it, or move it out of the store.",
                sweep=sweep,
                run_id=name.removeprefix("run="),
                may_be_redone=False,
            )
            for name in self._misnamed(folder, "run=")
        ]

    def stray_sweeps(self) -> list[str]:
        """A sentence for each folder that begins like a sweep's and has no name of one."""
        root = self.files.root
        return [
            f"{root}/{name} has no name of a sweep, so nothing reads it; rename it, or move it away"
            for name in self._misnamed(root, "sweep=")
        ]

    def _misnamed(self, folder: str, prefix: str) -> list[str]:
        strange = [name for name in self.files.names_of_no_text(folder) if name.startswith(prefix)]
        names = self._folders(folder, prefix)
        return sorted(strange + [name for name in names if not _NAME.fullmatch(name[len(prefix) :])])

    def _folders(self, folder: str, prefix: str) -> list[str]:
        infos = self.files.list(folder)
        names = (info.base_name for info in infos if info.type == pafs.FileType.Directory)
        return [name for name in names if name.startswith(prefix)]


def _intact(records: Iterable[RunRecord | DamagedRun | None], on_damage: OnDamage) -> Iterator[RunRecord]:
    """Those that are records; of the errors, ``on_damage`` is told."""
    for record in records:
        if isinstance(record, DamagedRun):
            on_damage(record)
        elif record is not None:
            yield record


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can be a folder's name and nothing else.

    Raises:
        InputError: otherwise, so that no name leads out of the store.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a {what}: use up to 128 letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit.",
            code="invalid_name",
        )
    return name


def rows_equal(a: pa.Table, b: pa.Table, *, ignore: Iterable[str] = ("wall_seconds",)) -> bool:
    """Whether two curves are equal bit for bit, except in time."""
    names = [name for name in CURVE_SCHEMA.names if name not in set(ignore)]
    return bool(a.select(names).equals(b.select(names)))


def read_parquet_frame(path: str | Path) -> pd.DataFrame:
    """A Parquet file as a frame.

    Raises:
        InputError: if the file is truncated or not Parquet.
    """
    try:
        return pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}", code="unreadable_file") from error


def _parquet_writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, EXPORT_SCHEMA, compression="zstd")


def _csv_writer(path: Path) -> pa_csv.CSVWriter:
    return pa_csv.CSVWriter(path, EXPORT_SCHEMA)
