"""What happens while a driver works on a sweep: one stream of frozen values, from the runner to the view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rlscale.sweeps.running.drivers import DriverRecord

#: How a run ended for this driver: "superseded" if another driver took it over.
Outcome = Literal["done", "paused", "failed", "stopped", "superseded"]


@dataclass(frozen=True)
class Started:
    """The driver compared spec and store: numbers of runs to do, done before and failed before."""

    missing: int
    done: int
    failed: int


@dataclass(frozen=True)
class OtherDrivers:
    """Other drivers may work on the same sweep."""

    drivers: tuple[DriverRecord, ...]


@dataclass(frozen=True)
class RunEnded:
    """A run ended; ``reason`` is empty if it is done. ``failure`` is the code of a failure."""

    run_id: str
    outcome: Outcome
    reason: str = ""
    failure: str | None = None


@dataclass(frozen=True)
class WorkerDied:
    """An attempt at a run ended too early, and the run is submitted again."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class Polled:
    """About twice a second: numbers of runs that are submitted to Ray, wait to be, and have ended."""

    in_flight: int
    waiting: int
    ended: int


@dataclass(frozen=True)
class StoreTrouble:
    """The store cannot be written for the reason ``problem``; None once it can be again."""

    problem: str | None


@dataclass(frozen=True)
class HeadLost:
    """The head of the Ray cluster no longer answers."""


@dataclass(frozen=True)
class HeadBack:
    """The head of the Ray cluster answers again."""


@dataclass(frozen=True)
class Stopping:
    """The driver was asked to stop; it waits until its runs have stored what they have."""


Event = (
    Started | OtherDrivers | RunEnded | WorkerDied | Polled | StoreTrouble | HeadLost | HeadBack | Stopping
)
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """For callers that show nothing."""
