"""Waiting while a store cannot be written: until a disk has room again, or a server is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rlscale.scaling.errors import StoreUnavailable

if TYPE_CHECKING:
    from rlscale.scaling.training.writer import CurveWriter

Result = TypeVar("Result")

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0  # seconds between two tries


class Patience(Protocol):
    """Calls a function, and repeats the call while the store is unavailable."""

    def __call__(self, act: Callable[[], Result]) -> Result: ...


def patient(
    seconds: float, *, stop: threading.Event, on_wait: Callable[[str], None] = lambda problem: None
) -> Patience:
    """A ``Patience`` that gives up with ``StoreUnavailable`` after ``seconds``, or once ``stop`` is set."""

    def patiently(act: Callable[[], Result]) -> Result:
        deadline = time.monotonic() + seconds
        wait = _FIRST_WAIT
        while True:
            try:
                return act()
            except StoreUnavailable as error:
                on_wait(str(error))
                if time.monotonic() + wait > deadline or stop.wait(wait):
                    raise
                wait = min(2 * wait, _LONGEST_WAIT)

    return patiently


class PatientWriter:
    """Writes a run with ``writer``; repeats each write while the store is unavailable."""

    def __init__(self, writer: CurveWriter, patiently: Patience) -> None:
        self._writer, self._patiently = writer, patiently

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        return iter(self._patiently(lambda: list(self._writer.checkpoints())))

    def drop_after(self, index: int) -> None:
        self._patiently(lambda: self._writer.drop_after(index))

    def write_segment(
        self,
        index: int,
        rows: list[dict[str, Any]],
        checkpoint: bytes,
        *,
        interactions: int,
        wall_seconds: float,
    ) -> None:
        self._patiently(
            lambda: self._writer.write_segment(
                index, rows, checkpoint, interactions=interactions, wall_seconds=wall_seconds
            )
        )

    def finish(self) -> None:
        self._patiently(self._writer.finish)

    def fail(self, reason: str, *, code: str, rows: Sequence[Mapping[str, Any]], index: int) -> None:
        self._patiently(lambda: self._writer.fail(reason, code=code, rows=list(map(dict, rows)), index=index))

    def stop(self, reason: str) -> None:
        self._patiently(lambda: self._writer.stop(reason))

    def pause(self, reason: str) -> None:
        self._patiently(lambda: self._writer.pause(reason))
