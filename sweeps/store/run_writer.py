"""Writing one run, by the attempt that holds its lease."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from rlscale.scaling.errors import DamagedRun, InputError, LeaseLost
from rlscale.sweeps.store.names import RUN, log_name, part_name, segment_name
from rlscale.sweeps.store.records import AttemptRecord, RunRecord, Status, now
from rlscale.sweeps.store.repair import to_continue
from rlscale.sweeps.store.run_folder import RunFolder
from rlscale.sweeps.store.schema import CURVE_SCHEMA, KEY_COLUMNS

_KEPT_CHECKPOINTS = 2  # the last one, and the one before in case the last is unreadable


class RunWriter:
    """One attempt's right to write one run; each write checks that the attempt still has it.

    Attributes:
        record: the run's record as this attempt last wrote it.
        folder: the run's files.
        damaged: a sentence for each file of earlier attempts that could not be read.
    """

    def __init__(self, folder: RunFolder, record: RunRecord, key: str, damaged: Sequence[str] = ()) -> None:
        self.record, self.damaged = record, tuple(damaged)
        self.folder, self._key = folder, key
        self._is_published = False
        self._uncommitted: str | None = None

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether all checkpoints stay, also when the run is done."""
        return bool(self.record.config.get("keep_checkpoints"))

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """(index, content) of the last two stored checkpoints, newest first."""
        there = self.folder.with_checkpoints(self.record.segments)
        for segment in reversed(there[-_KEPT_CHECKPOINTS:]):
            content = self.folder.files.read(self.folder.checkpoint_path(segment))
            if content is not None:
                yield self.record.segments.index(segment), content

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

        They count once the lease lists them. If the worker dies before that, the next attempt
        resumes from the checkpoint before and measures the same rows again.

        Raises:
            LeaseLost: if another attempt took the run over.
            StoreUnavailable: if the store cannot be written; the call may be repeated.
        """
        segment = self._write_part(index, rows)
        try:
            self.folder.files.write(self.folder.checkpoint_path(segment), checkpoint)
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
        if self.keeps_checkpoints:
            return
        for old in self.record.segments[-_KEPT_CHECKPOINTS - 1 : -_KEPT_CHECKPOINTS]:
            self.folder.files.delete(self.folder.checkpoint_path(old))

    def drop_after(self, index: int) -> None:
        """Forget the segments after ``index`` (-1: all of them), which will be measured again."""
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
        kept = self.folder.with_checkpoints(self.record.segments) if self.keeps_checkpoints else ()
        record = self.record.ended("done", None).changed(segments=(), checkpoints=kept)
        if not self._is_published:
            self._check()
            self.folder.write_curve(self._parts(), record)
            self._is_published = True
        self.folder.check_finisher(self._key)
        self.folder.files.write(f"{self.folder.path}/{RUN}", record.as_bytes())
        self.record = record
        self.folder.clean_finished(is_curve_known=True)

    def fail(
        self,
        reason: str,
        *,
        code: str = "failed",
        rows: Sequence[Mapping[str, Any]] = (),
        index: int | None = None,
    ) -> None:
        """Mark the run failed, keeping the rows measured since the last checkpoint as part ``index``.

        Args:
            reason: a sentence for people.
            code: the kind of failure, for programs: ``RlscaleError.code`` where an error is the cause.
        """
        record = self.record
        if rows and index is not None:
            segment = self._write_part(index, rows)
            record = record.changed(segments=(*record.segments[:index], segment))
        self._end(record.ended("failed", reason, code))

    def stop(self, reason: str) -> None:
        """Mark the run stopped: it can continue later from its last checkpoint."""
        self._end(self.record.ended("stopped", reason))

    def pause(self, reason: str) -> None:
        """Mark the run paused where it was to pause: its curve counts, and it can go on."""
        self._end(self.record.ended("paused", reason))

    def write_log(self, text: str) -> None:
        """Store the whole log of this attempt so far."""
        if self.record.status != "done":
            self._check()
        attempt = len(self.record.attempts)
        self.folder.files.write(f"{self.folder.path}/{log_name(attempt, self._key)}", text.encode())

    def _write_part(self, index: int, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write the rows of a segment, which does not count yet; returns its name."""
        self._check()
        segment = segment_name(index, self._key)
        self._uncommitted = segment
        keys = {name: getattr(self.record, name) for name in KEY_COLUMNS}
        table = pa.Table.from_pylist([{**row, **keys} for row in rows], schema=CURVE_SCHEMA)
        self.folder.write_table(part_name(segment), table)
        return segment

    def _parts(self) -> pa.Table:
        try:
            return self.folder.parts(self.record.segments)
        except FileNotFoundError:  # they go when another attempt finishes the run
            self._check()
            raise

    def _end(self, record: RunRecord) -> None:
        self._commit(record)
        self.folder.write_record(self._key, record)

    def _commit(self, record: RunRecord) -> None:
        self._check()
        self._uncommitted = None
        self.folder.write_lease(self._key, record)
        self._check()
        self.record = record

    def _check(self) -> None:
        try:
            self.folder.check_holder(self._key)
        except LeaseLost:
            self.folder.withdraw(self._key, self._uncommitted)
            raise


def begin_attempt(
    folder: RunFolder,
    *,
    config: Mapping[str, Any],
    columns: Mapping[str, Any],
    provenance: Mapping[str, Any],
    host: str,
    pid: int,
    until: int | None = None,
) -> RunWriter:
    """See ``RunStore.claim``."""
    blank = RunRecord(sweep=folder.sweep, run_id=folder.run_id, status="running", config={}, columns={})
    record, damaged = to_continue(folder, blank)
    if record.status == "done":
        raise InputError(
            f"Run {folder.run_id} of sweep {folder.sweep} is done already in {folder.path}.",
            code="already_done",
        )
    claimed = record.changed(
        status="running",
        reason=None,
        failure=None,
        config=dict(config),
        columns=dict(columns),
        provenance=dict(provenance),
        until=until,
        attempts=(*record.attempts, _new_attempt(record, host, pid)),
    )
    return RunWriter(folder, claimed, folder.take(claimed), damaged)


def _new_attempt(record: RunRecord, host: str, pid: int) -> AttemptRecord:
    return AttemptRecord(
        number=len(record.attempts) + 1,
        token=uuid.uuid4().hex,
        host=host,
        pid=pid,
        started=now(),
        from_interactions=record.interactions,
    )


def mark_run(
    folder: RunFolder, record: RunRecord, status: Status, reason: str | None, failure: str | None = None
) -> RunRecord:
    """See ``RunStore.mark``."""
    try:
        current = folder.record() or record
    except DamagedRun as error:
        if not error.may_be_redone:
            raise
        current = record
    if current.status == "done":
        return current
    marked = current.ended(status, reason, failure)
    folder.take(marked)
    return marked
