"""The interface between training and the object that stores its curve."""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]


class CurveWriter(Protocol):
    """Where a run's rows and checkpoints go; a store's writer is one."""

    def checkpoints(self) -> Any: ...
    def drop_after(self, index: int) -> None: ...
    def write_segment(
        self, index: int, rows: list[Row], checkpoint: bytes, *, interactions: int, wall_seconds: float
    ) -> None: ...
    def finish(self) -> None: ...
    def fail(self, reason: str, *, code: str, rows: list[Row], index: int) -> None: ...
    def stop(self, reason: str) -> None: ...
