"""The log of one attempt at a run: when and where it began, its checkpoints, warnings, and how it ended.

The text is stored with each checkpoint, so the log of a killed attempt ends with its last one.
"""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from rlscale.scaling.errors import RlscaleError
from rlscale.sweeps.store.run_writer import RunWriter

_MOST_LINES = 1000  # kept at the beginning and at the end; lines between are counted
_MOST_CHARACTERS = 4000  # of one message


class RunLog:
    """Messages with their times, bounded in length; any thread may add one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: list[str] = []
        self._last: list[str] = []
        self._left_out = 0
        self._message, self._repeats = "", 0

    def add(self, message: str) -> None:
        """Add a message; repetitions of the last one are only counted."""
        with self._lock:
            if message == self._message:
                self._repeats += 1
                return
            self._close_repeats()
            self._message = message
            now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
            head, *others = _cut(message).splitlines() or [""]
            self._append([f"{now}  {head}", *(f"    {line}" for line in others)])

    @property
    def text(self) -> str:
        with self._lock:
            self._close_repeats()
            left_out = [f"    ... {self._left_out} lines left out ..."] if self._left_out else []
            return "".join(f"{line}\n" for line in (*self._first, *left_out, *self._last))

    def _append(self, lines: Sequence[str]) -> None:
        for line in lines:
            (self._first if len(self._first) < _MOST_LINES else self._last).append(line)
        surplus = max(0, len(self._last) - _MOST_LINES)
        del self._last[:surplus]
        self._left_out += surplus

    def _close_repeats(self) -> None:
        if self._repeats:
            self._append([f"    ... {self._repeats} more of the same"])
        self._repeats = 0


@contextmanager
def logged(writer: RunWriter) -> Iterator[LoggedWriter]:
    """A writer for ``rlscale.scaling.training.train.train`` that keeps the attempt's log in the store.

    Within the block the log also gets Python's warnings, what is logged at WARNING and above, and
    the traceback of an unexpected error.
    """
    log = RunLog()
    log.add(_beginning(writer))
    for damage in writer.damaged:
        log.add(f"done again from what is intact: {damage}")
    logged_writer = LoggedWriter(writer, log)
    with _captured(log):
        try:
            yield logged_writer
        except RlscaleError:  # its reason is in the record, and in the log if the writer was called with it
            raise
        except BaseException:
            log.add(f"ended unexpectedly\n{traceback.format_exc()}")
            logged_writer.store_log()
            raise


class LoggedWriter:
    """Writes a run as ``RunWriter`` does, and adds a line to the log for each write."""

    def __init__(self, writer: RunWriter, log: RunLog) -> None:
        self._writer, self._log = writer, log
        self._reached = (writer.record.interactions, writer.record.wall_seconds)

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        return self._writer.checkpoints()

    def drop_after(self, index: int) -> None:
        self._writer.drop_after(index)
        self._log.add("begins at the beginning" if index < 0 else f"continues from checkpoint {index}")
        self.store_log()

    def write_segment(
        self,
        index: int,
        rows: Sequence[Mapping[str, Any]],
        checkpoint: bytes,
        *,
        interactions: int,
        wall_seconds: float,
    ) -> None:
        self._writer.write_segment(
            index, rows, checkpoint, interactions=interactions, wall_seconds=wall_seconds
        )
        self._log.add(f"checkpoint {index}: {self._progress(rows, interactions, wall_seconds)}")
        self._reached = (interactions, wall_seconds)
        self.store_log()

    def finish(self) -> None:
        self._writer.finish()
        self._log.add("done")
        self.store_log()

    def fail(
        self,
        reason: str,
        *,
        code: str = "failed",
        rows: Sequence[Mapping[str, Any]] = (),
        index: int | None = None,
    ) -> None:
        self._writer.fail(reason, code=code, rows=rows, index=index)
        self._log.add(f"failed: {reason}")
        self.store_log()

    def stop(self, reason: str) -> None:
        self._writer.stop(reason)
        self._log.add(f"stopped: {reason}")
        self.store_log()

    def pause(self, reason: str) -> None:
        self._writer.pause(reason)
        self._log.add(reason)
        self.store_log()

    def store_log(self) -> None:
        """Store the log so far; if that fails, the run continues without it."""
        with suppress(RlscaleError, OSError):
            self._writer.write_log(self._log.text)

    def _progress(self, rows: Sequence[Mapping[str, Any]], interactions: int, wall_seconds: float) -> str:
        before, seconds_before = self._reached
        seconds = wall_seconds - seconds_before
        parts = [f"{interactions:,} interactions"]
        if interactions > before and seconds > 0:
            parts.append(f"{(interactions - before) / seconds:,.0f}/s")
        returns = [row["return_mean"] for row in rows if row.get("return_mean") is not None]
        if returns:
            parts.append(f"return {returns[-1]:.4g}")
        return ", ".join(parts)


def _beginning(writer: RunWriter) -> str:
    record, attempt = writer.record, writer.record.attempts[-1]
    versions = {name: record.provenance.get(name) for name in ("rlscale", "torch", "device")}
    listed = ", ".join(f"{name} {value}" for name, value in versions.items() if value)
    return (
        f"attempt {attempt.number} on {attempt.host}, pid {attempt.pid}, "
        f"from {attempt.from_interactions:,} interactions" + (f" ({listed})" if listed else "")
    )


@contextmanager
def _captured(log: RunLog) -> Iterator[None]:
    """Send warnings and logging to ``log`` as well as to where they went before."""
    handler = _Handler(log)
    root = logging.getLogger()
    # With a handler on the root, logging no longer prints warnings by its last resort; add that too.
    handlers = [handler] if root.handlers or logging.lastResort is None else [handler, logging.lastResort]
    show = warnings.showwarning

    def show_and_log(
        message: Any, category: Any, filename: str, lineno: int, *others: Any, **kw: Any
    ) -> None:
        log.add(f"{category.__name__}: {message} ({filename}:{lineno})")
        show(message, category, filename, lineno, *others, **kw)

    warnings.showwarning = show_and_log
    for each in handlers:
        root.addHandler(each)
    try:
        yield
    finally:
        for each in handlers:
            root.removeHandler(each)
        warnings.showwarning = show


class _Handler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.add(self.format(record))
        except Exception:  # as logging's own handlers do
            self.handleError(record)


def _cut(message: str) -> str:
    """A long message without its middle: the end of a traceback says what happened."""
    half = _MOST_CHARACTERS // 2
    if len(message) <= _MOST_CHARACTERS:
        return message
    return f"{message[:half]}\n... {len(message) - 2 * half} characters left out ...\n{message[-half:]}"
