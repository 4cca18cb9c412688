"""The state of a sweep as text. Text from a store is never interpreted as markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from rlscale.analysis.formatting.numbers import brief_duration, compact_count, duration, rate_per_second
from rlscale.sweeps.running.drivers import SILENCE_SECONDS, DriverRecord
from rlscale.sweeps.running.status import (
    SILENT_SECONDS,
    RunStatus,
    SweepProgress,
    SweepState,
    counts,
    progress,
    seconds_since,
)
from rlscale.terminal.tables import differing_fields, differing_values, runs_table, stored_text

_MOST_SHOWN = 20  # runs that are listed without --all
#: Characters of a run's id that tables and lines show; --json and the store have all of it.
ID_LENGTH = 8


def status_table(statuses: Sequence[RunStatus], shown: Sequence[RunStatus] | None = None) -> Table:
    """One line for each of ``shown``, by default for every run of the sweep."""
    shown = statuses if shown is None else shown
    kinds = {status.size: status.config for status in statuses}
    names = ("N", "seed", "status", "interactions", "rate", "left")
    table = runs_table(*names, differing=differing_fields(list(kinds.values())), first="run", gap=0)
    values_of = dict(zip(kinds, differing_values(list(kinds.values())), strict=True))
    for status in shown:
        table.add_row(
            stored_text(status.run_id[:ID_LENGTH]),
            *values_of[status.size],
            _num_params(status),
            stored_text(str(status.config.get("seed", ""))),
            "interrupted" if status.interrupted else status.status,
            _stored(status),
            rate_per_second(status.rate) if status.is_running else "",
            brief_duration(status.seconds_left) if status.is_running else "",
        )
    return table


def status_parts(state: SweepState, *, show_all: bool = False) -> list[RenderableType]:
    """What ``rlscale sweep status`` shows of one sweep.

    Without ``show_all`` it lists only running, then failed, then stopped runs, and counts the others.
    """
    runs = state.statuses
    kinds = ("running", "failed", "stopped")
    shown = list(runs) if show_all else [run for kind in kinds for run in runs if run.status == kind]
    left_out = 0 if show_all else max(0, len(shown) - _MOST_SHOWN)
    shown = shown[: len(shown) - left_out]
    parts: list[RenderableType] = [stored_text(f"{state.sweep}: {_counted(runs)}")]
    if shown:
        parts += [status_table(runs, shown), *status_notes(shown)]
    if left_out:
        parts.append(stored_text(f"... and {left_out:,} more of these; --all shows every run"))
    parts.append(stored_text(progress_line(progress(runs))))
    parts += [stored_text(driver_line(driver, silence)) for driver, silence in state.drivers]
    if state.spec_problem is not None:
        parts.append(stored_text(state.spec_problem))
    if state.has_spec and not state.has_ended and not state.has_live_driver:
        command = "rlscale sweep auto, with its spec" if state.chooses_runs else "rlscale sweep resume"
        parts.append(stored_text(f"no driver works on it; continue with: {command}"))
    return parts


def running_parts(state: SweepState) -> list[RenderableType]:
    """What a driver shows of its sweep: the counts, the runs under way and the progress."""
    runs = state.statuses
    running = [run for run in runs if run.is_running][:_MOST_SHOWN]
    return [
        stored_text(f"{state.sweep}: {_counted(runs)}"),
        status_table(runs, running),
        stored_text(progress_line(progress(runs))),
    ]


def print_status(console: Console, state: SweepState, *, show_all: bool = False) -> None:
    """Print ``status_parts``; text is not wrapped."""
    for part in status_parts(state, show_all=show_all):
        console.print(part, soft_wrap=isinstance(part, Text))


def status_line(state: SweepState) -> tuple[str, Text]:
    """(the number of runs by status, one line with these numbers and the progress)."""
    counted = _counted(state.statuses)
    return counted, stored_text(f"{state.sweep}: {counted}; {progress_line(progress(state.statuses))}")


def progress_line(done: SweepProgress) -> str:
    """How far a sweep is, its speed and the time left."""
    wanted = done.interactions_wanted
    # A run ends with a whole iteration, so it may exceed the interactions wanted.
    share = f" ({min(1.0, done.interactions / wanted):.0%})" if wanted else ""
    parts = [f"{compact_count(done.interactions)} of {compact_count(wanted)} interactions{share}"]
    if done.seconds_left != 0:
        left = f"{duration(done.seconds_left)} left"
        if done.rate is None and done.seconds_left is not None:  # nothing runs
            parts.append(f"{left}, one run at a time")
        else:
            parts += [rate_per_second(done.rate), left]
    return ", ".join(parts)


def run_line(status: RunStatus, last_return: float | None, note: str = "") -> Text:
    """One line about a run that ended."""
    stored = status.stored
    parts = [
        f"{status.status:<8}",
        status.run_id[:ID_LENGTH],
        f"N {stored.num_params or 0:,}" if stored else "",
        f"seed {status.config.get('seed')}",
        f"{compact_count(stored.interactions if stored else 0)} interactions",
        "" if last_return is None else f"return {last_return:.4f}",
        duration(stored.wall_seconds) if stored else "",
        note,
    ]
    return stored_text("  ".join(part for part in parts if part))


def unstored_run_line(run_id: str, reason: str) -> Text:
    """The line of a run that failed before anything of it was stored."""
    return stored_text(f"failed    {run_id[:ID_LENGTH]}  {reason}")


def worker_death_line(run_id: str, reason: str) -> Text:
    """The line of a run whose attempt ended too early."""
    return stored_text(f"again     {run_id[:ID_LENGTH]}  {reason}; it continues from its last checkpoint")


def outcome_line(done: int, failed: int, stopped: int, superseded: int, location: str) -> str:
    """How many runs of a sweep ended in which way."""
    return (
        f"{done} done, {failed} failed"
        + (f", {stopped} stopped" if stopped else "")
        + (f", {superseded} taken over by another driver" if superseded else "")
        + (f" (see: rlscale sweep status {location})." if failed else ".")
    )


def driver_line(driver: DriverRecord, silence: float) -> str:
    """One driver: where it runs, what it does, and whether it seems alive."""
    job = f", job {driver.job}" if driver.job else ""
    work = f"{driver.in_flight} in flight, {driver.waiting} waiting, {driver.ended} ended"
    if driver.is_known_dead or silence > SILENCE_SECONDS:
        heard = "dead"
    else:
        heard = f"last heard of {duration(seconds_since(driver.updated))} ago"
    return f"driver on {driver.host}, pid {driver.pid}{job}: {work}; {heard}"


def _counted(statuses: Sequence[RunStatus]) -> str:
    count = counts(statuses)
    parts = [f"{number} {name}" for name, number in count.items() if number and name != "total"]
    return ", ".join([f"{count['total']} run{'' if count['total'] == 1 else 's'}", *parts])


def _num_params(status: RunStatus) -> str:
    return compact_count(status.num_params) if status.num_params else ""


def _stored(status: RunStatus) -> str:
    if status.status in ("done", "paused") or not status.wanted:
        return compact_count(status.stored.interactions) if status.stored else ""
    return f"{status.share:.0%} of {compact_count(status.wanted)}"


def status_notes(statuses: Sequence[RunStatus]) -> list[Text]:
    """Why runs failed or stopped, which running ones have been silent for long, and which were retried."""
    notes = []
    for status in statuses:
        silent = status.seconds_since_update or 0.0
        attempts = status.stored.attempts if status.stored else 0
        if status.stored and status.stored.reason:
            note = f"{status.status}: {status.stored.reason}"
        elif status.interrupted:
            note = "interrupted: its driver is gone; it continues from its last checkpoint"
        elif status.status == "running" and silent > SILENT_SECONDS:
            note = f"running, but last heard of {duration(silent)} ago"
        elif status.status == "running" and attempts > 1:
            note = "running"
        else:
            continue
        again = f" (attempt {attempts})" if attempts > 1 else ""
        notes.append(stored_text(f"{status.run_id[:ID_LENGTH]} {note}{again}"))
    return notes


def status_json(state: SweepState) -> dict[str, Any]:
    """The state for ``--json``."""
    done = progress(state.statuses)
    return {
        "sweep": state.sweep,
        "spec_problem": state.spec_problem,
        "counts": counts(state.statuses),
        "interactions": done.interactions,
        "interactions_wanted": done.interactions_wanted,
        "interactions_per_second": done.rate,
        "seconds_left": done.seconds_left,
        "drivers": [
            {**driver.model_dump(mode="json"), "seconds_since_update": seconds_since(driver.updated)}
            for driver, _ in state.drivers
        ],
        "runs": [_run_json(status) for status in state.statuses],
        "slots": done.slots,
    }


def _run_json(status: RunStatus) -> dict[str, Any]:
    stored = status.stored
    return {
        "run_id": status.run_id,
        "status": status.status,
        "reason": stored.reason if stored else None,
        "failure": stored.failure if stored else None,
        "interactions": stored.interactions if stored else 0,
        "interactions_wanted": status.config.get("interactions"),
        "share": status.share,
        "interactions_per_second": status.rate,
        "seconds_left": status.seconds_left if status.is_running else None,
        "seconds_since_update": status.seconds_since_update,
        "attempts": stored.attempts if stored else 0,
        "config": status.config,
        "interrupted": status.interrupted,
        "num_params": status.num_params,
    }
