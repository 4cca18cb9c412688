"""One run's folder: which of its files count, and who may write them.

    run.json                                the record, written when an attempt begins and ends
    lease-000002-1a2b3c4d.json              the record, which attempt 2 updates until the run is done
    part-000003.000002-1a2b3c4d.parquet     rows between two checkpoints, written by attempt 2
    checkpoint/000003.000002-1a2b3c4d.pt    the checkpoint that ends these rows; two or all are kept
    log-000002-1a2b3c4d.txt                 the log of attempt 2
    damaged-1a2b3c4d-curve.parquet          a file that could not be read, set aside for a person to look at
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

import json
import os
import uuid
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from rlscale.scaling.errors import DamagedRun, InputError, LeaseLost
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
    segments_of_parts,
)
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.schema import CURVE_SCHEMA, SCHEMA_VERSION, conform

_FOOTER = b"run_record"
_PARQUET = b"PAR1"  # the first and the last bytes of a Parquet file
_IDENTITY = ("sweep", "run_id")  # columns that say whose rows they are
_READS = 10  # of a folder that changes while it is read
#: The end of what is said of a file that is lost.
REMEDY = "rlscale sweep check STORE --repair repairs what it can, and running the sweep again does the rest"
_OTHER_VERSION = "read it with the version that wrote it, or move the folder away to have the run done again"


class RunFolder:
    """The files of one run, seen from outside."""

    def __init__(self, files: Files, path: str, sweep: str, run_id: str) -> None:
        self.files, self.path, self.sweep, self.run_id = files, path, sweep, run_id

    # -- reading --------------------------------------------------------------------

    def record(self, names: Collection[str] | None = None) -> RunRecord | None:
        """The record that counts, None if nothing is stored of the run.

        A lease that cannot be read is replaced by what ``run.json`` and the parts say.

        Args:
            names: what ``names()`` returned a moment ago, to save listing the folder again.

        Raises:
            DamagedRun: if no file that can be read says what counts.
        """
        for _ in range(_READS):
            there = self.names() if names is None else names
            names = None
            if CURVE in there:
                return self._finished_record()
            key = highest_key(there)
            if key is None:
                return self._record_without_lease(there)
            try:
                record = self.read_record(lease_name(key))
            except DamagedRun:
                written = self.read_record(RUN)
                if written is None:
                    raise
                return self._with_found_segments(written, there)
            if record is not None:  # else a new attempt has just begun, or the run has just ended
                return record
        raise self._always_changing()

    def _finished_record(self) -> RunRecord | None:
        """The record of a run whose final file is there."""
        try:
            written = self.read_record(RUN)
        except DamagedRun as error:
            in_footer = self._record_in_footer() if error.may_be_redone else None
            if in_footer is None:
                raise
            return in_footer
        if written is not None and written.status == "done":
            return written
        return self._record_in_footer() or (written and written.ended("done", None))

    def _record_without_lease(self, names: Collection[str]) -> RunRecord | None:
        written = self.read_record(RUN)
        if written is None:
            return None
        if written.status == "done":
            raise self._damaged(CURVE, "is missing, though the run is done")
        return _with_parts_of_earlier_versions(written, names)

    def read_record(self, name: str) -> RunRecord | None:
        """The record in a lease or ``run.json``, None if there is no such file."""
        content = self.files.read(f"{self.path}/{name}")
        return None if content is None else self._parsed(content, name)

    def curve(self, columns: Sequence[str] | None) -> pa.Table:
        """All rows stored, in order of ``interactions``; possibly none. See ``RunStore.read_curve``."""
        before: RunRecord | None = None
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
            except FileNotFoundError as error:  # dropped by a new attempt, or merged into the final file
                if record == before:  # neither
                    raise self._damaged(os.path.basename(str(error)), "is missing") from error
                before = record
        raise self._always_changing()

    def parts(self, segments: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of these segments; FileNotFoundError if one is gone."""
        tables = [self._table(part_name(segment), columns) for segment in segments]
        return pa.concat_tables(tables) if tables else schema_of(columns).empty_table()

    def check_curve_ends(self) -> None:
        """Make sure that the final file, which is there, has the beginning and the end of a Parquet file.

        An object store keeps an object whole or not at all, so there nothing is read.

        Raises:
            DamagedRun: if it is empty or truncated.
        """
        if not self.files.is_local:
            return
        if self.files.read_ends(f"{self.path}/{CURVE}", len(_PARQUET)) != (_PARQUET, _PARQUET):
            raise self._damaged(CURVE, "is empty or truncated")

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
        try:
            record = RunRecord.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"is not a run record of this version ({where + ': ' if where else ''}{first['msg']})"
            if not _is_json_object(content):
                raise self._damaged(name, problem) from error
            raise self._refused(name, f"{problem}; {_OTHER_VERSION}") from error
        if record.schema_version > SCHEMA_VERSION:
            raise self._refused(
                name, f"is of a later version (schema {record.schema_version}); {_OTHER_VERSION}"
            )
        if (record.sweep, record.run_id) != (self.sweep, self.run_id):
            raise self._refused(
                name,
                f"is the record of run {record.run_id!r} of sweep {record.sweep!r}; "
                f"give the folder its old name, or move it out of the store",
            )
        return record

    def _record_in_footer(self) -> RunRecord | None:
        content = (self._opened(CURVE).schema_arrow.metadata or {}).get(_FOOTER)
        return None if content is None else self._parsed(content, CURVE)

    def _table(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        """The rows of one file; see ``_opened`` for the errors."""
        schema, file = schema_of(columns), self._opened(name)
        try:
            table = file.read(list(dict.fromkeys((*schema.names, *_IDENTITY))), use_threads=False)
            self._check_footer(name, (file.schema_arrow.metadata or {}).get(_FOOTER))
            self._check_identity(name, table)
            return conform(table, schema)
        except KeyError as error:
            raise self._refused(name, f"lacks the column {error}; restore the file") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _check_footer(self, name: str, footer: bytes | None) -> None:
        """Refuse a file whose footer has another run's record, or one of a later version."""
        try:
            record = json.loads(footer) if footer else None
        except (ValueError, RecursionError):  # the rows are intact, and the record is in run.json too
            return
        if not isinstance(record, dict):
            return
        if (record.get("sweep"), record.get("run_id")) != (self.sweep, self.run_id):
            raise self._refused(
                name,
                f"holds the record of run {record.get('run_id')!r} of sweep {record.get('sweep')!r}; move it "
                f"to the folder of its run",
            )
        version = record.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise self._refused(name, f"is of a later version (schema {version}); {_OTHER_VERSION}")

    def _check_identity(self, name: str, table: pa.Table) -> None:
        """Refuse a file whose rows are another run's."""
        for column, mine in zip(_IDENTITY, (self.sweep, self.run_id), strict=True):
            there = table.column(column).unique().to_pylist() if column in table.column_names else []
            if there not in ([], [mine]):
                raise self._refused(
                    name,
                    f"holds rows of {column} {there[0]!r}, not {mine!r}; move it to the folder of its run",
                )

    def _opened(self, name: str) -> pq.ParquetFile:
        """A Parquet file that was read whole, so that what fails after that is its content, not the disk.

        Raises:
            FileNotFoundError: if it is not there.
            DamagedRun: if it is not Parquet.
        """
        content = self.files.read(f"{self.path}/{name}")
        if content is None:
            raise FileNotFoundError(f"{self.path}/{name}")
        try:
            return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> DamagedRun:
        return self._damaged(name, f"is not a readable Parquet file of a curve ({error})")

    def _damaged(self, name: str, problem: str) -> DamagedRun:
        """The error of a file of this run that is lost."""
        message = " ".join(f"{self.path}/{name} {problem}; {REMEDY}.".split())
        return DamagedRun(message, sweep=self.sweep, run_id=self.run_id)

    def _refused(self, name: str, problem: str) -> DamagedRun:
        """The error of a file that is intact, but not of this version or this run."""
        return DamagedRun(
            f"{self.path}/{name} {problem}.", sweep=self.sweep, run_id=self.run_id, may_be_redone=False
        )

    def _always_changing(self) -> InputError:
        return InputError(
            f"{self.path} keeps changing while it is read; try again once its run has ended.",
            code="store_changing",
        )

    # -- what is damaged -------------------------------------------------------------

    def intact(self, segments: Sequence[str]) -> tuple[tuple[str, ...], DamagedRun | None]:
        """Those of the segments before the first whose part cannot be read, and why not, if there is one."""
        for position, segment in enumerate(segments):
            try:
                self._table(part_name(segment), None)
            except FileNotFoundError:
                return tuple(segments[:position]), self._damaged(part_name(segment), "is missing")
            except DamagedRun as error:
                return tuple(segments[:position]), error
        return tuple(segments), None

    def as_far_as(self, record: RunRecord, segments: tuple[str, ...]) -> RunRecord:
        """The record of the run when these were its segments; their parts must be intact."""
        interactions, wall_seconds = 0, 0.0
        if segments:
            last = self._table(part_name(segments[-1]), ("interactions", "wall_seconds"))
            if last.num_rows:
                interactions, wall_seconds = (last.column(name)[-1].as_py() for name in last.column_names)
        return record.model_copy(
            update={"segments": segments, "interactions": interactions, "wall_seconds": wall_seconds or 0.0}
        )

    def check_curve(self) -> None:
        """Read the final file.

        Raises:
            DamagedRun: if it is missing or cannot be read.
        """
        try:
            self._table(CURVE, None)
        except FileNotFoundError:
            raise self._damaged(CURVE, "is missing") from None

    def _with_found_segments(self, record: RunRecord, names: Collection[str]) -> RunRecord:
        """The record with the segments that the parts make up, as far as they are intact."""
        segments, _ = self.intact(segments_of_parts(names))
        return self.as_far_as(record, segments)

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
            self.repeat_record()
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

    def clean_finished(self, *, is_curve_known: bool = False) -> None:
        """Remove what a finished run no longer needs, and repair its record.

        Nothing is removed if the final file cannot be read: the rest is then all that is left of the run.

        Args:
            is_curve_known: whether the caller has just written the final file, so that it is not read.
        """
        try:
            if not is_curve_known:
                self.check_curve()
        except DamagedRun:
            return
        names = self.names()
        record = self.repeat_record(names)
        kept = {checkpoint_name(segment) for segment in record.checkpoints} if record else set()
        for name in names:
            if lease_key(name) or segment_of_part(name):
                self.files.delete(f"{self.path}/{name}")
        self._remove_temporary()
        for name in self.checkpoint_names() - kept if kept else ():
            self.files.delete(f"{self.path}/{CHECKPOINTS}/{name}")
        if not kept:
            self.files.delete_folder(f"{self.path}/{CHECKPOINTS}")

    def repeat_record(self, names: Collection[str] | None = None) -> RunRecord | None:
        """Write the record that counts to ``run.json``, unless it is there already. Returns it.

        Args:
            names: as for ``record``.
        """
        record = self.record(names)
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
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        self.files.write(f"{self.path}/{name}", sink.getvalue())

    def write_curve(self, table: pa.Table, record: RunRecord) -> None:
        """Write the final file: with it the run is done."""
        metadata = {**(table.schema.metadata or {}), _FOOTER: record.as_bytes()}
        self.write_table(CURVE, table.replace_schema_metadata(metadata))


def _is_json_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def schema_of(columns: Sequence[str] | None) -> pa.Schema:
    """``CURVE_SCHEMA``, or the part of it with these columns."""
    if columns is None:
        return CURVE_SCHEMA
    return pa.schema([CURVE_SCHEMA.field(name) for name in columns], metadata=CURVE_SCHEMA.metadata)


def _with_parts_of_earlier_versions(record: RunRecord, names: Collection[str]) -> RunRecord:
    """Versions without leases kept no list of the parts: all parts in the folder count."""
    if record.segments:
        return record
    found = (segment_of_part(name) for name in names)
    without_key = sorted(segment for segment in found if segment and "." not in segment)
    return record.model_copy(update={"segments": tuple(without_key)})
