"""What the store holds of a run besides its curve: ``run.json``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rlscale.sweeps.store.names import SEGMENT_PATTERN
from rlscale.sweeps.store.schema import RUN_COLUMNS, SCHEMA_VERSION

#: In the config of an imported run: it was still being trained when it was imported.
STILL_TRAINED = "still_trained"

Status = Literal["wanted", "running", "paused", "done", "failed", "stopped"]

_Count = Annotated[int, Field(ge=0, lt=2**63)]  # what the columns of a curve can hold
_Segment = Annotated[str, Field(pattern=f"^{SEGMENT_PATTERN}$")]  # becomes a part of file names
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    from_interactions: _Count = 0


class RunRecord(_Record):
    """A run's config, sizes, attempts and progress.

    ``columns`` are the run columns of the schema; ``provenance`` the versions, host and
    device of the last attempt; ``interactions`` and ``wall_seconds`` the progress stored;
    ``segments`` the names of the stored parts of the curve, in order, until the run is done;
    ``checkpoints`` those whose checkpoints are kept after that. ``until`` is where the last attempt was to
    pause, null if it was to train to the end; the curve of a paused run counts, and it can go on.
    ``reason`` says to people why the run failed or stopped. ``failure`` is the code of a failure
    for programs; it is null in records of runs that did not fail, and in records that earlier
    versions wrote.
    """

    schema_version: int = SCHEMA_VERSION
    sweep: str
    run_id: str
    status: Status
    reason: str | None = None
    failure: str | None = None
    config: dict[str, Any]
    columns: dict[str, Any]
    provenance: dict[str, Any] = {}
    attempts: tuple[AttemptRecord, ...] = ()
    segments: tuple[_Segment, ...] = ()
    checkpoints: tuple[_Segment, ...] = ()
    interactions: _Count = 0
    until: _Count | None = None
    wall_seconds: _Seconds = 0.0
    updated: str = ""

    @field_validator("columns")
    @classmethod
    def _have_their_types(cls, columns: dict[str, Any]) -> dict[str, Any]:
        for name, column in RUN_COLUMNS.items():
            _check_type(name, columns.get(name), pa.type_for_alias(column.dtype))
        return columns

    @field_validator("config")
    @classmethod
    def _has_a_length(cls, config: dict[str, Any]) -> dict[str, Any]:
        _check_type("interactions", config.get("interactions"), pa.int64())
        return config

    @property
    def lease(self) -> str | None:
        """Token of the attempt that may write; None if no attempt is under way."""
        if self.attempts and self.attempts[-1].ended is None:
            return self.attempts[-1].token
        return None

    def ended(self, status: Status, reason: str | None, failure: str | None = None) -> RunRecord:
        """The record with a new status; the attempt under way, if any, ends with it."""
        attempts = self.attempts
        if self.lease is not None:
            last = attempts[-1].model_copy(update={"ended": now(), "outcome": status})
            attempts = (*attempts[:-1], last)
        return self.changed(status=status, reason=reason, failure=failure, attempts=attempts)

    def changed(self, **changes: Any) -> RunRecord:
        """The record with some fields changed, and the time of it."""
        return self.model_copy(update={**changes, "updated": now()})

    def as_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def _check_type(name: str, value: Any, dtype: pa.DataType) -> None:
    try:
        fits = pa.scalar(value, dtype).as_py() == value  # not equal if it was truncated to a whole number
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(f"{name} is {value!r}, not of type {dtype}")


def now() -> str:
    """The time in UTC, for people: nothing depends on it, because clocks may be wrong."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
