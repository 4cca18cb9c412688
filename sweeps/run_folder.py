"""One run's folder: which of its files count, and who may write them.

    run.json                                the record, written when an attempt begins and ends
    lease-000002-1a2b3c4d.json              the record, as attempt 2 keeps it until the run is done
    part-000003.000002-1a2b3c4d.parquet     rows between two checkpoints, as attempt 2 wrote them
    checkpoint/000003.000002-1a2b3c4d.pt    the checkpoint that ends them
    log-000002-1a2b3c4d.txt                 what attempt 2 has to tell
    curve.parquet                           all rows: with it the run is done; its footer holds the record

An attempt that was given up but lives on is fenced off without locks, so on object stores too:

- What an attempt writes before the end has its key in its name, ``000002-1a2b3c4d``: a number above
  all earlier ones and the head of a random token. No attempt writes over another's files.
- The lease with the highest key counts, and a part counts if that lease lists it. So whatever an
  earlier attempt still writes, at whatever moment it was frozen, is nothing that a reader looks at.
- An attempt looks for a higher lease before and after it writes; if there is one it removes what it
  wrote in vain and stops.
- ``curve.parquet`` is whole and ends the run, whoever wrote it; until then ``run.json`` only
  repeats the lease.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from scaling.errors import InputError, LeaseLost
from sweeps.files import Files
from sweeps.records import AttemptRecord, RunRecord, Status, now
from sweeps.schema import CURVE_SCHEMA, KEYS

RUN, CURVE, CHECKPOINTS = "run.json", "curve.parquet", "checkpoint"
_LEASE = re.compile(r"lease-(\d{6,}-[0-9a-f]{8})\.json")
_LOG = re.compile(r"log-(\d{6,})-[0-9a-f]{8}\.txt")
_PART = re.compile(r"part-(\d{6}(?:\.\d{6,}-[0-9a-f]{8})?)\.parquet")
_CHECKPOINT = re.compile(r"(\d{6}(?:\.\d{6,}-[0-9a-f]{8})?)\.pt")
_FOOTER = b"run_record"
_KEPT_CHECKPOINTS = 2  # the last one, and the one before in case the last is unreadable
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
            key = _highest_lease(names)
            if key is None:
                return written and _with_parts_of_earlier_versions(written, names)
            content = self.files.read(f"{self.path}/lease-{key}.json")
            if content is not None:  # else a new attempt has just begun, or the run has ended
                return self._parsed(content, f"lease-{key}.json")
        raise self._restless()

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
        raise self._restless()

    def parts(self, segments: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of these segments; FileNotFoundError if one is gone."""
        tables = [self._table(f"part-{segment}.parquet", columns) for segment in segments]
        return pa.concat_tables(tables) if tables else schema_of(columns).empty_table()

    def logs(self) -> list[tuple[int, str]]:
        """(attempt, text) of each attempt that told something, in their order."""
        found = sorted((int(match[1]), name) for name in self.names() if (match := _LOG.fullmatch(name)))
        texts = ((number, self.files.read(f"{self.path}/{name}")) for number, name in found)
        return [(number, text.decode(errors="replace")) for number, text in texts if text is not None]

    def names(self) -> set[str]:
        """Names of what lies in the folder itself."""
        return {info.base_name for info in self.files.list(self.path)}

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
                f"move the folder away to have the run done again."
            ) from error
        if (record.sweep, record.run_id) != (self.sweep, self.run_id):
            raise InputError(
                f"{path} is the record of run {record.run_id!r} of sweep {record.sweep!r}; "
                f"give the folder its name back, or move it out of the store."
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
                file = pq.ParquetFile(stream)
                there = file.schema_arrow.names
                missing = [column for column in CURVE_SCHEMA.names if column not in there]
                if missing:
                    raise InputError(
                        f"{path} lacks the column {missing[0]!r}; it was not written by this version."
                    )
                return file.read(schema.names, use_threads=False).select(schema.names).cast(schema)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def _restless(self) -> InputError:
        return InputError(f"{self.path} keeps changing while it is read; try again once its run has ended.")

    # -- writing --------------------------------------------------------------------

    def take(self, record: RunRecord) -> str:
        """Store ``record`` under a lease above all others and return its key.

        No earlier attempt's writes count from here on.

        Raises:
            LeaseLost: if another attempt took the run at the same moment, or finished it.
        """
        self.files.make_folder(f"{self.path}/{CHECKPOINTS}")
        before = _highest_lease(self.names())
        number = int(before.split("-")[0]) + 1 if before else 1
        token = record.lease or uuid.uuid4().hex
        key = f"{number:06d}-{token[:8]}"
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
        self.files.write(f"{self.path}/lease-{key}.json", record.as_bytes())

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
        if CURVE in names or _highest_lease(names) != key:
            raise self._lost()

    def check_finisher(self, key: str) -> None:
        """LeaseLost if another attempt took over before ``key`` wrote the final file, or finished too."""
        if _highest_lease(self.names()) != key:
            raise self._lost()

    def withdraw(self, key: str, uncommitted: str | None) -> None:
        """Remove what was written under ``key`` in vain.

        A segment that its lease has listed stays until the run is done: the attempt that took over may
        have read that list.
        """
        current = self.record()
        if current is not None and current.status == "done":
            self.clean_finished()
            return
        self.files.delete(f"{self.path}/lease-{key}.json")
        if uncommitted:
            self.files.delete(f"{self.path}/part-{uncommitted}.parquet")
            self.files.delete(f"{self.path}/{CHECKPOINTS}/{uncommitted}.pt")

    def clean_finished(self) -> None:
        """Remove what a finished run no longer needs, and see to its record."""
        self._repeat_record()
        for name in self.names():
            if _LEASE.fullmatch(name) or _PART.fullmatch(name):
                self.files.delete(f"{self.path}/{name}")
        self._remove_temporary()
        self.files.delete_folder(f"{self.path}/{CHECKPOINTS}")

    def _repeat_record(self) -> None:
        record = self.record()
        if record is not None and self.files.read(f"{self.path}/{RUN}") != record.as_bytes():
            self.files.write(f"{self.path}/{RUN}", record.as_bytes())

    def _remove_given_up(self, key: str, record: RunRecord) -> None:
        """Remove the leases below ``key`` and the checkpoints from which nobody will go on.

        Parts that do not count are small and stay until the run is done: whether an attempt that begins at
        this moment counts them cannot be known.
        """
        for name in self.names():
            if (lease := _LEASE.fullmatch(name)) and _order(lease[1]) < _order(key):
                self.files.delete(f"{self.path}/{name}")
        for name in self.checkpoint_names():
            checkpoint = _CHECKPOINT.fullmatch(name)
            if checkpoint and checkpoint[1] not in record.segments and _written_before(checkpoint[1], key):
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


class RunWriter:
    """One attempt's right to write one run: each write looks whether it still holds."""

    def __init__(self, folder: RunFolder, record: RunRecord, key: str) -> None:
        self.record = record
        self._folder, self._key = folder, key
        self._is_published = False
        self._uncommitted: str | None = None

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """(index, content) of the stored checkpoints, newest first."""
        names = self._folder.checkpoint_names()
        for index, segment in reversed(list(enumerate(self.record.segments))):
            if f"{segment}.pt" in names:
                content = self._folder.files.read(self._path_of_checkpoint(segment))
                if content is not None:
                    yield index, content

    def write_segment(
        self,
        index: int,
        rows: Sequence[Mapping[str, Any]],
        checkpoint: bytes,
        *,
        interactions: int,
        wall_seconds: float,
    ) -> None:
        """Store the rows since the last checkpoint and the checkpoint that ends them.

        They count once the lease lists them: a death before that leaves the state of the
        checkpoint before, from which the next attempt measures the same rows again.

        Raises:
            LeaseLost: if another attempt took the run over.
            StoreUnavailable: if the store cannot be written; the call may be repeated.
        """
        segment = self._write_part(index, rows)
        try:
            self._folder.files.write(self._path_of_checkpoint(segment), checkpoint)
        except FileNotFoundError:  # the folder goes when a run is done
            self._check()
            raise
        self._commit(
            self.record.changed(
                segments=(*self.record.segments[:index], segment),
                interactions=interactions,
                wall_seconds=wall_seconds,
            )
        )
        for old in self.record.segments[-_KEPT_CHECKPOINTS - 1 : -_KEPT_CHECKPOINTS]:
            self._folder.files.delete(self._path_of_checkpoint(old))

    def drop_after(self, index: int) -> None:
        """Forget the segments later than ``index`` (-1: all), which are to be measured again."""
        kept = self.record.segments[: index + 1]
        if kept != self.record.segments:
            self._commit(self.record.changed(segments=kept))
        else:
            self._check()

    def finish(self) -> None:
        """Merge the parts into the final file, which makes the run done.

        Raises:
            LeaseLost, StoreUnavailable: see ``write_segment``.
        """
        record = self.record.ended("done", None).changed(segments=())
        if not self._is_published:
            self._check()
            table = self._folder.parts(self.record.segments)
            self._folder.write_curve(table, record)
            self._is_published = True
        self._folder.check_finisher(self._key)
        self._folder.files.write(f"{self._folder.path}/{RUN}", record.as_bytes())
        self.record = record
        self._folder.clean_finished()

    def fail(self, reason: str, *, rows: Sequence[Mapping[str, Any]] = (), index: int | None = None) -> None:
        """Mark the run failed, keeping the rows measured since the last checkpoint as part ``index``."""
        record = self.record
        if rows and index is not None:
            segment = self._write_part(index, rows)
            record = record.changed(segments=(*record.segments[:index], segment))
        self._end(record.ended("failed", reason))

    def stop(self, reason: str) -> None:
        """Mark the run stopped: it can go on later from its last checkpoint."""
        self._end(self.record.ended("stopped", reason))

    def write_log(self, text: str) -> None:
        """Store all that this attempt has to tell so far."""
        if self.record.status != "done":
            self._check()
        attempt = len(self.record.attempts)
        name = f"log-{attempt:06d}-{self._key.split('-')[1]}.txt"
        self._folder.files.write(f"{self._folder.path}/{name}", text.encode())

    def _write_part(self, index: int, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write the rows of a segment, which does not count yet; returns its name."""
        self._check()
        segment = f"{index:06d}.{self._key}"
        self._uncommitted = segment
        keys = {field.name: getattr(self.record, field.name) for field in KEYS}
        table = pa.Table.from_pylist([{**row, **keys} for row in rows], schema=CURVE_SCHEMA)
        self._folder.write_table(f"part-{segment}.parquet", table)
        return segment

    def _path_of_checkpoint(self, segment: str) -> str:
        return f"{self._folder.path}/{CHECKPOINTS}/{segment}.pt"

    def _end(self, record: RunRecord) -> None:
        self._commit(record)
        self._folder.write_record(self._key, record)

    def _commit(self, record: RunRecord) -> None:
        self._check()
        self._uncommitted = None
        self._folder.write_lease(self._key, record)
        self._check()
        self.record = record

    def _check(self) -> None:
        try:
            self._folder.check_holder(self._key)
        except LeaseLost:
            self._folder.withdraw(self._key, self._uncommitted)
            raise


def begin_attempt(
    folder: RunFolder,
    *,
    config: Mapping[str, Any],
    columns: Mapping[str, Any],
    provenance: Mapping[str, Any],
    host: str,
    pid: int,
) -> RunWriter:
    """See ``RunStore.claim``."""
    record = folder.record()
    if record is not None and record.status == "done":
        raise InputError(f"Run {folder.run_id} of sweep {folder.sweep} is done already in {folder.path}.")
    base = record or RunRecord(
        sweep=folder.sweep, run_id=folder.run_id, status="running", config={}, columns={}
    )
    claimed = base.changed(
        status="running",
        reason=None,
        config=dict(config),
        columns=dict(columns),
        provenance=dict(provenance),
        attempts=(*base.attempts, _new_attempt(base, host, pid)),
    )
    return RunWriter(folder, claimed, folder.take(claimed))


def _new_attempt(record: RunRecord, host: str, pid: int) -> AttemptRecord:
    return AttemptRecord(
        number=len(record.attempts) + 1,
        token=uuid.uuid4().hex,
        host=host,
        pid=pid,
        started=now(),
        from_interactions=record.interactions,
    )


def mark_run(folder: RunFolder, record: RunRecord, status: Status, reason: str | None) -> RunRecord:
    """See ``RunStore.mark``."""
    current = folder.record() or record
    if current.status == "done":
        return current
    marked = current.ended(status, reason)
    folder.take(marked)
    return marked


def schema_of(columns: Sequence[str] | None) -> pa.Schema:
    """``CURVE_SCHEMA``, or the part of it with these columns."""
    if columns is None:
        return CURVE_SCHEMA
    return pa.schema([CURVE_SCHEMA.field(name) for name in columns], metadata=CURVE_SCHEMA.metadata)


def is_leftover(name: str) -> bool:
    """Whether a file of this name has no place in a finished run's folder."""
    return not (name in (RUN, CURVE) or _LOG.fullmatch(name))


def _highest_lease(names: set[str]) -> str | None:
    """Key of the lease that counts: the one with the highest number, then token."""
    keys = [match[1] for name in names if (match := _LEASE.fullmatch(name))]
    return max(keys, key=_order, default=None)


def _order(key: str) -> tuple[int, str]:
    number, token = key.split("-")
    return int(number), token


def _written_before(segment: str, key: str) -> bool:
    """Whether an attempt before ``key`` wrote the segment; those of earlier versions bear no key."""
    _, _, writer = segment.partition(".")
    return not writer or _order(writer) < _order(key)


def _with_parts_of_earlier_versions(record: RunRecord, names: set[str]) -> RunRecord:
    """Versions that kept no leases kept no list of the parts either: all count that lie there."""
    if record.segments:
        return record
    found = sorted(match[1] for name in names if (match := _PART.fullmatch(name)) and "." not in match[1])
    return record.model_copy(update={"segments": tuple(found)})


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(f"{path} is not a readable Parquet file of a curve ({error}); restore or remove it.")
