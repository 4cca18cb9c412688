"""The run store: one folder a run, on any filesystem that pyarrow can reach.

    STORE/sweep=<name>/spec.json                  the sweep spec as last submitted
    STORE/sweep=<name>/run=<run_id>/run.json      config, sizes, versions, status, attempts
                                   /part-000000.parquet ...   rows since the last checkpoint
                                   /curve.parquet             all rows, once the run is done
                                   /checkpoint/000000.pt ...  what it takes to go on

Every file is written beside its place and renamed into it, so a reader never sees half a
file. A part and the checkpoint that ends it carry the same index: a run that dies goes on
from its last checkpoint and writes the same part again, so each row is there once. Each
attempt at a run holds a lease, a random token in ``run.json``, and looks before each write
whether the token is still its own: an attempt that was given up but lives on cannot write.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from scaling.errors import InputError, LeaseLost
from sweeps.schema import CURVE_SCHEMA, EXPORT_SCHEMA, KEYS, RUN_COLUMNS, SCHEMA_VERSION

Status = Literal["wanted", "running", "done", "failed", "stopped"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SPEC, _RUN, _CURVE, _CHECKPOINTS = "spec.json", "run.json", "curve.parquet", "checkpoint"
_EXPORTED_AT_ONCE = 1 << 20  # rows: few enough to hold, enough for a row group
_KEPT_CHECKPOINTS = 2  # the last one, and the one before in case the last is unreadable


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttemptRecord(_Record):
    """One attempt at a run. ``outcome`` stays null if the attempt was killed."""

    number: int
    token: str
    host: str
    pid: int
    started: str
    ended: str | None = None
    outcome: str | None = None
    from_interactions: int = 0


class RunRecord(_Record):
    """What ``run.json`` holds.

    ``columns`` are the run columns of the schema; ``provenance`` the versions, host and
    device of the last attempt; ``interactions`` and ``wall_seconds`` the progress stored.
    """

    schema_version: int = SCHEMA_VERSION
    sweep: str
    run_id: str
    status: Status
    reason: str | None = None
    config: dict[str, Any]
    columns: dict[str, Any]
    provenance: dict[str, Any] = {}
    attempts: tuple[AttemptRecord, ...] = ()
    interactions: int = 0
    wall_seconds: float = 0.0
    updated: str = ""

    @property
    def lease(self) -> str | None:
        """Token of the attempt that may write; None if no attempt is under way."""
        if self.attempts and self.attempts[-1].ended is None:
            return self.attempts[-1].token
        return None


class RunStore:
    """A directory or URI that holds runs. Reading needs no lock: files appear whole."""

    def __init__(self, location: str | Path, *, create: bool = False) -> None:
        """Open a store.

        Raises:
            InputError: if ``location`` is a file, does not exist (unless ``create``), or
                cannot be reached.
        """
        self.location = str(location)
        try:
            self._fs, self._root = _filesystem(self.location)
            info = self._fs.get_file_info(self._root)
            if info.type == pafs.FileType.File:
                raise InputError(f"{self.location} is a file, not a store: give a directory.")
            if info.type == pafs.FileType.NotFound:
                if not create:
                    raise InputError(f"There is no store at {self.location}: check the path.")
                self._fs.create_dir(self._root, recursive=True)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"The store {self.location} cannot be opened: {error}") from error

    # -- what is there ------------------------------------------------------------

    def sweeps(self) -> list[str]:
        """Names of the sweeps, sorted."""
        return self._children(self._root, "sweep=")

    def run_ids(self, sweep: str) -> list[str]:
        """Ids of the runs of one sweep, sorted."""
        return self._children(self._sweep_dir(sweep), "run=")

    def runs(self, sweep: str | None = None) -> Iterator[RunRecord]:
        """The records of all runs, or those of one sweep."""
        for name in self.select(sweep):
            for run_id in self.run_ids(name):
                record = self.read_run(name, run_id)
                if record is not None:
                    yield record

    def read_run(self, sweep: str, run_id: str) -> RunRecord | None:
        """The record of one run, or None if there is none."""
        path = f"{self._run_dir(sweep, run_id)}/{_RUN}"
        text = self._read(path)
        if text is None:
            return None
        try:
            record = RunRecord.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"{where}: {first['msg']}" if where else first["msg"]
            raise InputError(
                f"{path} is not a run record of this version ({problem}); "
                f"move the folder away to have the run done again."
            ) from error
        if (record.sweep, record.run_id) != (sweep, run_id):
            raise InputError(
                f"{path} is the record of run {record.run_id!r} of sweep {record.sweep!r}; "
                f"give the folder its name back, or move it out of the store."
            )
        return record

    def read_spec(self, sweep: str) -> dict[str, Any] | None:
        """The sweep's spec as last submitted, or None (a single run has none)."""
        path = f"{self._sweep_dir(sweep)}/{_SPEC}"
        text = self._read(path)
        try:
            spec = None if text is None else json.loads(text)
        except ValueError as error:
            spec = error
        if not isinstance(spec, dict | None):
            raise InputError(f"{path} is damaged; run the sweep again with its spec to have it written anew.")
        return spec

    def write_spec(self, sweep: str, spec: Mapping[str, Any]) -> None:
        """Keep the spec: what is wanted, for ``status`` and for the report's provenance."""
        try:
            self._fs.create_dir(self._sweep_dir(sweep), recursive=True)
            self._write(f"{self._sweep_dir(sweep)}/{_SPEC}", _json(spec))
        except OSError as error:
            raise InputError(f"The store {self.location} cannot be written: {error}") from error

    # -- curves -------------------------------------------------------------------

    def read_curve(self, sweep: str, run_id: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows stored of one run, in order of ``interactions``; possibly none.

        With ``columns``, names of ``CURVE_SCHEMA``, only these are read, which takes a fraction of the time.

        The final file is preferred. While a run is being finished its parts vanish in favour
        of that file, so the reader looks again if a part is gone or the file has come.
        """
        folder = self._run_dir(sweep, run_id)
        for _ in range(10):
            try:
                if self._exists(f"{folder}/{_CURVE}"):
                    return self._read_table(f"{folder}/{_CURVE}", columns)
                parts = [self._read_table(path, columns) for path in self._parts(folder)]
                if self._exists(f"{folder}/{_CURVE}"):
                    continue
                return pa.concat_tables(parts) if parts else _schema_of(columns).empty_table()
            except FileNotFoundError:
                continue
        raise InputError(f"{folder} keeps changing while it is read; try again once its run has ended.")

    def read_curves(self, sweep: str | None = None) -> pa.Table:
        """Every row of the store (or of one sweep), run columns beside it: ``EXPORT_SCHEMA``."""
        tables = list(self._wide_tables(sweep))
        return pa.concat_tables(tables) if tables else EXPORT_SCHEMA.empty_table()

    def export(self, path: str | Path, sweep: str | None = None) -> int:
        """Write one tidy Parquet file of all rows; values are untouched. Returns their number.

        Raises:
            InputError: if there are no rows, or ``path`` cannot be written.
        """
        target = Path(path)
        if target.is_dir():
            raise InputError(
                f"{target} is a folder; name the file to write, e.g. {target / 'curves.parquet'}."
            )
        if not target.parent.is_dir():
            raise InputError(
                f"{target} cannot be written: there is no folder {target.parent}; create it first."
            )
        temporary = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")
        rows, waiting = 0, list[pa.Table]()
        try:
            with pq.ParquetWriter(temporary, EXPORT_SCHEMA, compression="zstd") as writer:
                for table in self._wide_tables(sweep):
                    waiting.append(table)
                    rows += table.num_rows
                    if sum(each.num_rows for each in waiting) >= _EXPORTED_AT_ONCE:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting = []
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))
            if rows == 0:
                raise InputError(f"{self.location} holds no rows to export yet.")
            os.replace(temporary, target)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return rows

    def _wide_tables(self, sweep: str | None) -> Iterator[pa.Table]:
        """The rows of each run in turn, the columns of the run beside them."""
        for record in self.runs(sweep):
            table = self.read_curve(record.sweep, record.run_id)
            values = {**record.columns, "status": record.status}
            for name in RUN_COLUMNS:
                field = EXPORT_SCHEMA.field(name)
                try:
                    value = pa.scalar(values.get(name), field.type)
                except (pa.ArrowException, TypeError, ValueError) as error:
                    raise InputError(
                        f"{self.location}, run {record.run_id}: {name} is {values[name]!r} in its {_RUN}, "
                        f"not of type {field.type}."
                    ) from error
                table = table.append_column(field, pa.repeat(value, table.num_rows))
            yield table.select(EXPORT_SCHEMA.names).cast(EXPORT_SCHEMA)

    def add_curve(self, record: RunRecord, table: pa.Table) -> None:
        """Store a complete curve from elsewhere as a finished run."""
        folder = self._run_dir(record.sweep, record.run_id)
        self._fs.create_dir(folder, recursive=True)
        self._write_table(f"{folder}/{_CURVE}", table.cast(CURVE_SCHEMA))
        self._write(f"{folder}/{_RUN}", record.model_dump_json(indent=1).encode())

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
    ) -> RunWriter:
        """Begin an attempt at a run; from now on no earlier attempt can write.

        Raises:
            InputError: if the run is done already.
        """
        folder = self._run_dir(sweep, run_id)
        record = self.read_run(sweep, run_id)
        if record is not None and record.status == "done":
            raise InputError(f"Run {run_id} of sweep {sweep} is done already in {self.location}.")
        before = record.attempts if record else ()
        attempt = AttemptRecord(
            number=len(before) + 1,
            token=uuid.uuid4().hex,
            host=host,
            pid=pid,
            started=_now(),
            from_interactions=record.interactions if record else 0,
        )
        claimed = RunRecord(
            sweep=sweep,
            run_id=run_id,
            status="running",
            config=dict(config),
            columns=dict(columns),
            provenance=dict(provenance),
            attempts=(*before, attempt),
            interactions=record.interactions if record else 0,
            wall_seconds=record.wall_seconds if record else 0.0,
            updated=_now(),
        )
        self._fs.create_dir(f"{folder}/{_CHECKPOINTS}", recursive=True)
        self._write(f"{folder}/{_RUN}", claimed.model_dump_json(indent=1).encode())
        self._remove_temporary(folder)
        return RunWriter(self, claimed)

    def mark(self, record: RunRecord, status: Status, reason: str | None) -> RunRecord:
        """Set a run's status from outside, ending the lease of its last attempt if one is open."""
        attempts = record.attempts
        if record.lease is not None:
            ended = attempts[-1].model_copy(update={"ended": _now(), "outcome": status})
            attempts = (*attempts[:-1], ended)
        changed = record.model_copy(
            update={"status": status, "reason": reason, "attempts": attempts, "updated": _now()}
        )
        folder = self._run_dir(record.sweep, record.run_id)
        self._fs.create_dir(folder, recursive=True)
        self._write(f"{folder}/{_RUN}", changed.model_dump_json(indent=1).encode())
        return changed

    def clean_finished(self, sweep: str, run_id: str) -> None:
        """Remove what a finished run no longer needs: its parts and checkpoints."""
        folder = self._run_dir(sweep, run_id)
        for path in self._parts(folder):
            self._delete(path)
        if self._exists(f"{folder}/{_CHECKPOINTS}"):
            self._fs.delete_dir(f"{folder}/{_CHECKPOINTS}")
        self._remove_temporary(folder)

    # -- files --------------------------------------------------------------------

    def _sweep_dir(self, sweep: str) -> str:
        return f"{self._root}/sweep={check_name(sweep, 'sweep')}"

    def _run_dir(self, sweep: str, run_id: str) -> str:
        return f"{self._sweep_dir(sweep)}/run={check_name(run_id, 'run_id')}"

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
            raise InputError(f"{self.location} has no sweep named {sweep!r}; it has: {there}.")
        return [sweep]

    def _list(self, folder: str) -> list[pafs.FileInfo]:
        try:
            return self._fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        except OSError as error:
            raise InputError(f"{folder} cannot be read: {error}") from error

    def _children(self, folder: str, prefix: str) -> list[str]:
        names = (info.base_name for info in self._list(folder) if info.type == pafs.FileType.Directory)
        return sorted(name[len(prefix) :] for name in names if name.startswith(prefix))

    def _parts(self, folder: str) -> list[str]:
        return sorted(i.path for i in self._list(folder) if re.fullmatch(r"part-\d{6}\.parquet", i.base_name))

    def _exists(self, path: str) -> bool:
        return self._fs.get_file_info(path).type != pafs.FileType.NotFound

    def _read(self, path: str) -> bytes | None:
        try:
            with self._fs.open_input_file(path) as stream:
                return stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}") from error

    def _read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        schema = _schema_of(columns)
        try:
            with self._fs.open_input_file(path) as stream:
                file = pq.ParquetFile(stream)
                there = file.schema_arrow.names
                missing = [name for name in CURVE_SCHEMA.names if name not in there]
                if missing:
                    raise InputError(
                        f"{path} lacks the column {missing[0]!r}; it was not written by this version."
                    )
                return file.read(schema.names, use_threads=False).select(schema.names).cast(schema)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{path} is not a readable Parquet file of a curve ({error}); restore or remove it."
            ) from error

    def _write_table(self, path: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write(path, sink.getvalue())

    def _write(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write beside the place, then rename into it. An object store's PUT is atomic as it is."""
        if not isinstance(self._fs, pafs.LocalFileSystem):
            with self._fs.open_output_stream(path) as stream:
                stream.write(data)
            return
        folder, name = os.path.split(path)
        temporary = f"{folder}/.{name}.tmp-{uuid.uuid4().hex[:8]}"
        try:
            with open(temporary, "wb") as stream:
                stream.write(data)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.delete_file(path)

    def _remove_temporary(self, folder: str) -> None:
        for place in (folder, f"{folder}/{_CHECKPOINTS}"):
            for info in self._list(place):
                if info.base_name.startswith(".") and ".tmp-" in info.base_name:
                    self._delete(info.path)


class RunWriter:
    """One attempt's right to write one run. Every write looks first whether it still holds."""

    def __init__(self, store: RunStore, record: RunRecord) -> None:
        self._store = store
        self.record = record
        self._folder = store._run_dir(record.sweep, record.run_id)
        assert record.lease is not None
        self._token = record.lease

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """(index, content) of the stored checkpoints, newest first."""
        for path in reversed(self._checkpoint_paths()):
            content = self._store._read(path)
            if content is not None:
                yield int(Path(path).stem), content

    def write_segment(
        self,
        index: int,
        rows: Sequence[Mapping[str, Any]],
        checkpoint: bytes,
        *,
        interactions: int,
        wall_seconds: float,
    ) -> None:
        """Store the rows since the last checkpoint, then the checkpoint that ends them.

        A death in between leaves a part without its checkpoint: the next attempt starts
        from the checkpoint before and writes the part again.

        Raises:
            LeaseLost: if another attempt took the run over.
        """
        self._write(f"part-{index:06d}.parquet", self._table(rows))
        self._write(f"{_CHECKPOINTS}/{index:06d}.pt", checkpoint)
        self._update(interactions=interactions, wall_seconds=wall_seconds)
        for path in self._checkpoint_paths()[:-_KEPT_CHECKPOINTS]:
            self._store._delete(path)

    def drop_after(self, index: int) -> None:
        """Remove parts and checkpoints later than ``index`` (-1: all), which are to be written again."""
        self._check_lease()
        for path in self._store._parts(self._folder):
            if int(path[-len("000000.parquet") : -len(".parquet")]) > index:
                self._store._delete(path)
        for path in self._checkpoint_paths():
            if int(Path(path).stem) > index:
                self._store._delete(path)

    def finish(self) -> None:
        """Merge the parts into the final file and mark the run done.

        Raises:
            LeaseLost: if another attempt took the run over.
        """
        self._check_lease()
        table = self._store.read_curve(self.record.sweep, self.record.run_id)
        self._write(_CURVE, table)
        self._end("done", None)
        self._store.clean_finished(self.record.sweep, self.record.run_id)

    def fail(self, reason: str, *, rows: Sequence[Mapping[str, Any]] = (), index: int | None = None) -> None:
        """Mark the run failed, keeping the rows measured since the last checkpoint as part ``index``."""
        if rows and index is not None:
            self._write(f"part-{index:06d}.parquet", self._table(rows))
        self._end("failed", reason)

    def stop(self, reason: str) -> None:
        """Mark the run stopped: it can go on later from its last checkpoint."""
        self._end("stopped", reason)

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        keys = {field.name: getattr(self.record, field.name) for field in KEYS}
        return pa.Table.from_pylist([{**row, **keys} for row in rows], schema=CURVE_SCHEMA)

    def _checkpoint_paths(self) -> list[str]:
        infos = self._store._list(f"{self._folder}/{_CHECKPOINTS}")
        return sorted(info.path for info in infos if re.fullmatch(r"\d{6}\.pt", info.base_name))

    def _check_lease(self) -> None:
        current = self._store.read_run(self.record.sweep, self.record.run_id)
        if current is None or current.lease != self._token:
            taken = f"attempt {len(current.attempts)}" if current else "someone"
            raise LeaseLost(
                f"Run {self.record.run_id} was taken over by {taken} while this attempt was working; "
                f"this one stops without writing."
            )

    def _update(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update={**changes, "updated": _now()})
        self._write(_RUN, self.record.model_dump_json(indent=1).encode())

    def _write(self, name: str, content: bytes | pa.Table) -> None:
        self._check_lease()
        write = self._store._write_table if isinstance(content, pa.Table) else self._store._write
        try:
            write(f"{self._folder}/{name}", content)
        except FileNotFoundError:
            self._check_lease()  # a new attempt sweeps away what an older one was about to rename
            raise

    def _end(self, status: Status, reason: str | None) -> None:
        self._check_lease()
        self.record = self._store.mark(self.record, status, reason)


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can be a folder's name and nothing else.

    Raises:
        InputError: otherwise, so that no name leads out of the store.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a {what}: use up to 128 letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit."
        )
    return name


def rows_equal(a: pa.Table, b: pa.Table, *, ignore: Iterable[str] = ("wall_seconds",)) -> bool:
    """Whether two curves are equal bit for bit, time aside."""
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
        raise InputError(f"{path} is not a readable Parquet file: {error}") from error


def _schema_of(columns: Sequence[str] | None) -> pa.Schema:
    if columns is None:
        return CURVE_SCHEMA
    return pa.schema([CURVE_SCHEMA.field(name) for name in columns], metadata=CURVE_SCHEMA.metadata)


def _filesystem(location: str) -> tuple[pafs.FileSystem, str]:
    if "://" in location:
        filesystem, root = pafs.FileSystem.from_uri(location)
        return filesystem, root.rstrip("/")
    return pafs.LocalFileSystem(), str(Path(location).resolve())


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=False).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


__all__ = [
    "AttemptRecord",
    "RunRecord",
    "RunStore",
    "RunWriter",
    "check_name",
    "read_parquet_frame",
    "rows_equal",
]
