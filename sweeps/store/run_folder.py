"""One run's folder: which of its files count, and who may write them.

    run.json                                the record, written when an attempt begins and ends
    lease-000002-1a2b3c4d.json              the record, which attempt 2 updates until the run is done
    part-000003.000002-1a2b3c4d.parquet     rows between two checkpoints, written by attempt 2
    checkpoint/000003.000002-1a2b3c4d.pt    the checkpoint that ends these rows; two or all are kept
    log-000002-1a2b3c4d.txt                 the log of attempt 2
    curve.parquet                           all rows: with it the run is done; its footer holds the record

An attempt that another one replaced may still be alive. It is kept from writing without locks,
so that this also works on object stores:

- All that an attempt writes before the end has its key in its name, ``000002-1a2b3c4d``: a number
  above all earlier ones and the head of a random token. No attempt overwrites another's files.
- The lease with the highest key counts, and a part counts if that lease lists it. Readers ignore
  whatever an earlier attempt still writes, at whatever moment it was frozen.
- An attempt looks for a higher lease before and after it writes. If there is one, it removes
  what it wrote and stops.
- ``curve.parquet`` is whole and ends the run, whoever wrote it; until then ``run.json`` only
  repeats the lease.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from rlscale.scaling.errors import InputError, LeaseLost
from rlscale.sweeps.store.files import Files
from rlscale.sweeps.store.names import (
    CHECKPOINTS,
    CURVE,
    RUN,
    attempt_of_log,
    checkpoint_name,
    highest_key,
    is_below,
    is_written_before,
    lease_key,
    lease_name,
    new_key,
    part_name,
    segment_of_checkpoint,
    segment_of_part,
)
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.schema import CURVE_SCHEMA, conform

_FOOTER = b"run_record"
_READS = 10  # of a folder that changes while it is read


class RunFolder:
    """The files of one run, seen from outside."""

    def __init__(self, files: Files, path: str, sweep: str, run_id: str) -> None:
        self.files, self.path, self.sweep, self.run_id = files, path, sweep, run_id

    # -- reading --------------------------------------------------------------------

    def record(self) -> RunRecord | None:
        """The record that counts, None if nothing is stored of the run."""
        for _ in range(_READS):
            content = self.files.read(f"{self.path}/{RUN}")
            written = None if content is None else self._parsed(content, RUN)
            if written is not None and written.status == "done":
                return written
            names = self.names()
            if CURVE in names:
                return self._record_in_footer() or (written and written.ended("done", None))
            key = highest_key(names)
            if key is None:
                return written and _with_parts_of_earlier_versions(written, names)
            content = self.files.read(f"{self.path}/{lease_name(key)}")
            if content is not None:  # else a new attempt has just begun, or the run has just ended
                return self._parsed(content, lease_name(key))
        raise self._always_changing()

    def curve(self, columns: Sequence[str] | None) -> pa.Table:
        """All rows stored, in order of ``interactions``; possibly none. See ``RunStore.read_curve``."""
        for _ in range(_READS):
            try:
                return self._table(CURVE, columns)
            except FileNotFoundError:
                record = self.record()
            if record is None:
                return schema_of(columns).empty_table()
            if record.status == "done":
                continue
            try:
                return self.parts(record.segments, columns)
            except FileNotFoundError:  # dropped by a new attempt, or merged into the final file
                continue
        raise self._always_changing()

    def parts(self, segments: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of these segments; FileNotFoundError if one is gone."""
        tables = [self._table(part_name(segment), columns) for segment in segments]
        return pa.concat_tables(tables) if tables else schema_of(columns).empty_table()

    def logs(self) -> list[tuple[int, str]]:
        """(attempt, text) of each attempt that stored a log, in their order."""
        attempts = ((attempt_of_log(name), name) for name in self.names())
        found = sorted((attempt, name) for attempt, name in attempts if attempt is not None)
        texts = ((number, self.files.read(f"{self.path}/{name}")) for number, name in found)
        return [(number, text.decode(errors="replace")) for number, text in texts if text is not None]

    def names(self) -> set[str]:
        """Names of the files and folders in the folder itself."""
        return {info.base_name for info in self.files.list(self.path)}

    def checkpoint_path(self, segment: str) -> str:
        """Where the checkpoint is that ends a segment."""
        return f"{self.path}/{CHECKPOINTS}/{checkpoint_name(segment)}"

    def with_checkpoints(self, segments: Sequence[str]) -> tuple[str, ...]:
        """Those of the segments whose checkpoint is there."""
        names = self.checkpoint_names()
        return tuple(segment for segment in segments if checkpoint_name(segment) in names)

    def kept_checkpoints(self) -> Iterator[bytes]:
        """The content of the stored checkpoints, the oldest first."""
        record = self.record()
        for segment in self.with_checkpoints(record.checkpoints or record.segments) if record else ():
            content = self.files.read(self.checkpoint_path(segment))
            if content is not None:
                yield content

    def checkpoint_names(self) -> set[str]:
        return {info.base_name for info in self.files.list(f"{self.path}/{CHECKPOINTS}")}

    def _parsed(self, content: bytes, name: str) -> RunRecord:
        path = f"{self.path}/{name}"
        try:
            record = RunRecord.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"{where}: {first['msg']}" if where else first["msg"]
            raise InputError(
                f"{path} is not a run record of this version ({problem}); "
                f"move the folder away to have the run done again.",
                code="damaged_file",
            ) from error
        if (record.sweep, record.run_id) != (self.sweep, self.run_id):
            raise InputError(
                f"{path} is the record of run {record.run_id!r} of sweep {record.sweep!r}; "
                f"give the folder its old name, or move it out of the store.",
                code="damaged_file",
            )
        return record

    def _record_in_footer(self) -> RunRecord | None:
        path = f"{self.path}/{CURVE}"
        try:
            with self.files.open(path) as stream:
                content = (pq.read_schema(stream).metadata or {}).get(_FOOTER)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        return None if content is None else self._parsed(content, CURVE)

    def _table(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        path, schema = f"{self.path}/{name}", schema_of(columns)
        try:
            with self.files.open(path) as stream:
                return conform(pq.ParquetFile(stream).read(schema.names, use_threads=False), schema)
        except FileNotFoundError:
            raise
        except KeyError as error:
            raise InputError(
                f"{path} lacks the column {error}; restore it, or remove it to have the run done again.",
                code="missing_column",
            ) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def _always_changing(self) -> InputError:
        return InputError(
            f"{self.path} keeps changing while it is read; try again once its run has ended.",
            code="store_changing",
        )

    # -- writing --------------------------------------------------------------------

    def take(self, record: RunRecord) -> str:
        """Store ``record`` under a lease above all others and return its key.

        No earlier attempt's writes count from here on.

        Raises:
            LeaseLost: if another attempt took the run at the same moment, or finished it.
        """
        self.files.make_folder(f"{self.path}/{CHECKPOINTS}")
        key = new_key(highest_key(self.names()), record.lease or uuid.uuid4().hex)
        self.write_lease(key, record)
        try:
            self.check_holder(key)
            self.write_record(key, record)
        except LeaseLost:
            self.withdraw(key, None)
            raise
        self._remove_given_up(key, record)
        return key

    def write_lease(self, key: str, record: RunRecord) -> None:
        self.files.write(f"{self.path}/{lease_name(key)}", record.as_bytes())

    def write_record(self, key: str, record: RunRecord) -> None:
        """Repeat the lease's record in ``run.json``; LeaseLost if it does not count any more."""
        self.files.write(f"{self.path}/{RUN}", record.as_bytes())
        try:
            self.check_holder(key)
        except LeaseLost:
            self._repeat_record()
            raise

    def check_holder(self, key: str) -> None:
        """LeaseLost unless the lease ``key`` is the one that counts."""
        names = self.names()
        if CURVE in names or highest_key(names) != key:
            raise self._lost()

    def check_finisher(self, key: str) -> None:
        """LeaseLost if another attempt took over before ``key`` wrote the final file, or also finished."""
        if highest_key(self.names()) != key:
            raise self._lost()

    def withdraw(self, key: str, uncommitted: str | None) -> None:
        """Remove what was written under ``key`` and does not count.

        A segment that its lease has listed stays until the run is done: the attempt that took over may
        have read that list.
        """
        current = self.record()
        if current is not None and current.status == "done":
            self.clean_finished()
            return
        self.files.delete(f"{self.path}/{lease_name(key)}")
        if uncommitted:
            self.files.delete(f"{self.path}/{part_name(uncommitted)}")
            self.files.delete(self.checkpoint_path(uncommitted))

    def clean_finished(self) -> None:
        """Remove what a finished run no longer needs, and repair its record."""
        record = self._repeat_record()
        kept = {checkpoint_name(segment) for segment in record.checkpoints} if record else set()
        for name in self.names():
            if lease_key(name) or segment_of_part(name):
                self.files.delete(f"{self.path}/{name}")
        self._remove_temporary()
        for name in self.checkpoint_names() - kept if kept else ():
            self.files.delete(f"{self.path}/{CHECKPOINTS}/{name}")
        if not kept:
            self.files.delete_folder(f"{self.path}/{CHECKPOINTS}")

    def _repeat_record(self) -> RunRecord | None:
        record = self.record()
        if record is not None and self.files.read(f"{self.path}/{RUN}") != record.as_bytes():
            self.files.write(f"{self.path}/{RUN}", record.as_bytes())
        return record

    def _remove_given_up(self, key: str, record: RunRecord) -> None:
        """Remove the leases below ``key`` and the checkpoints from which no attempt will resume.

        Parts that do not count are small and stay until the run is done: an attempt that begins at
        this moment may count them.
        """
        for name in self.names():
            if (lease := lease_key(name)) and is_below(lease, key):
                self.files.delete(f"{self.path}/{name}")
        for name in self.checkpoint_names():
            segment = segment_of_checkpoint(name)
            if segment and segment not in record.segments and is_written_before(segment, key):
                self.files.delete(f"{self.path}/{CHECKPOINTS}/{name}")
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        for folder in (self.path, f"{self.path}/{CHECKPOINTS}"):
            self.files.remove_temporary(folder)

    def _lost(self) -> LeaseLost:
        current = self.record()
        now = f"attempt {len(current.attempts)} ({current.status})" if current else "someone who removed it"
        return LeaseLost(
            f"Run {self.run_id} was taken over by {now} while this attempt was working; "
            f"this one stops without writing."
        )

    def write_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.files.write(f"{self.path}/{name}", sink.getvalue())

    def write_curve(self, table: pa.Table, record: RunRecord) -> None:
        """Write the final file: with it the run is done."""
        metadata = {**(table.schema.metadata or {}), _FOOTER: record.as_bytes()}
        self.write_table(CURVE, table.replace_schema_metadata(metadata))


def schema_of(columns: Sequence[str] | None) -> pa.Schema:
    """``CURVE_SCHEMA``, or the part of it with these columns."""
    if columns is None:
        return CURVE_SCHEMA
    return pa.schema([CURVE_SCHEMA.field(name) for name in columns], metadata=CURVE_SCHEMA.metadata)


def _with_parts_of_earlier_versions(record: RunRecord, names: set[str]) -> RunRecord:
    """Versions without leases kept no list of the parts: all parts in the folder count."""
    if record.segments:
        return record
    found = (segment_of_part(name) for name in names)
    without_key = sorted(segment for segment in found if segment and "." not in segment)
    return record.model_copy(update={"segments": tuple(without_key)})


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"{path} is not a readable Parquet file of a curve ({error}); restore or remove it.",
        code="unreadable_file",
    )
