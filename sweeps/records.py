"""What the store holds about a run beside its curve: ``run.json``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sweeps.schema import SCHEMA_VERSION

Status = Literal["wanted", "running", "done", "failed", "stopped"]


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
    """A run's config, sizes, attempts and progress.

    ``columns`` are the run columns of the schema; ``provenance`` the versions, host and
    device of the last attempt; ``interactions`` and ``wall_seconds`` the progress stored;
    ``segments`` the names of the stored parts of the curve, in order, until the run is done.
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
    segments: tuple[str, ...] = ()
    interactions: int = 0
    wall_seconds: float = 0.0
    updated: str = ""

    @property
    def lease(self) -> str | None:
        """Token of the attempt that may write; None if no attempt is under way."""
        if self.attempts and self.attempts[-1].ended is None:
            return self.attempts[-1].token
        return None

    def ended(self, status: Status, reason: str | None) -> RunRecord:
        """The record with a new status, the attempt under way, if any, ended with it."""
        attempts = self.attempts
        if self.lease is not None:
            last = attempts[-1].model_copy(update={"ended": now(), "outcome": status})
            attempts = (*attempts[:-1], last)
        return self.changed(status=status, reason=reason, attempts=attempts)

    def changed(self, **changes: Any) -> RunRecord:
        """The record with some fields changed, and the time of it."""
        return self.model_copy(update={**changes, "updated": now()})

    def as_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def now() -> str:
    """The time in UTC, for people: nothing is decided by it, for clocks may be wrong."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
