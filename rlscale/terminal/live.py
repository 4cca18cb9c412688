"""The live view of sweeps: of one that runs here, of several that are watched, of a job that is followed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rlscale.sweeps.running.drivers import StoppedOnRequest
from rlscale.sweeps.running.events import (
    Event,
    HeadBack,
    HeadLost,
    OnEvent,
    OtherDrivers,
    Polled,
    RunEnded,
    Started,
    Stopping,
    StoreTrouble,
    WorkerDied,
)
from rlscale.sweeps.running.status import RunStatus, SweepReader, SweepState
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.console import console, say_of
from rlscale.terminal.sweep import (
    driver_line,
    outcome_line,
    run_line,
    running_parts,
    status_line,
    status_parts,
    unstored_run_line,
    worker_death_line,
)

if TYPE_CHECKING:
    from rlscale.sweeps.running.launch import SweepOutcome
    from rlscale.sweeps.running.ray_jobs import JobEnd, RayJobs

_REFRESH_SECONDS = 2.0
_LINE_SECONDS = 60.0  # between lines with the progress, if there is no terminal
_READS_PER_WAIT = 1 / 9  # at most a tenth of the time goes into reading the store


class SweepView:
    """A view of sweeps: a picture that changes on a terminal, otherwise a line each minute.

    Args:
        parts: what the picture shows of one sweep.
        every_change: whether a line is also printed when a run begins or ends.
    """

    def __init__(
        self,
        console: Console,
        readers: Sequence[SweepReader],
        *,
        parts: Callable[[SweepState], Sequence[RenderableType]] = running_parts,
        every_change: bool = False,
    ) -> None:
        self._console, self._readers = console, readers
        self._parts, self._every_change = parts, every_change
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._interval = _REFRESH_SECONDS if self._live or every_change else _LINE_SECONDS
        self._due: float | None = None
        self._printed: dict[str, tuple[str, float]] = {}  # counts on a sweep's last line, and its time

    def __enter__(self) -> SweepView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def poll(self) -> None:
        """Refresh if it is time; the first time is one interval after the first call."""
        now = self._console.get_time()
        if self._due is None:  # the first runs do not wait while the store is read
            self._due = now + self._interval
        if now >= self._due:
            self.refresh()

    def refresh(self) -> list[SweepState]:
        """Read the sweeps and show them. Returns their states."""
        began = self._console.get_time()
        states = [reader.read_state() for reader in self._readers]
        if self._live:
            self._live.update(Group(*(part for state in states for part in self._parts(state))), refresh=True)
        else:
            self._print_lines(states)
        now = self._console.get_time()
        self._due = now + max(self._interval, (now - began) / _READS_PER_WAIT)
        return states

    def wait(self) -> None:
        """Sleep until the next refresh is due."""
        if self._due is not None:
            time.sleep(max(0.0, self._due - self._console.get_time()))

    def print(self, line: Text) -> None:
        """Print a line that stays, above the picture if there is one."""
        self._console.print(line, soft_wrap=True)

    def _print_lines(self, states: Sequence[SweepState]) -> None:
        now = self._console.get_time()
        for state in states:
            counted, line = status_line(state)
            before, printed = self._printed.get(state.sweep, ("", -math.inf))
            if (self._every_change and counted != before) or now - printed >= _LINE_SECONDS:
                self.print(line)
                self._printed[state.sweep] = (counted, now)


# -- sweep run, resume, retry and tune ----------------------------------------------


def run_with_view(go: Callable[[OnEvent], SweepOutcome], store: RunStore, sweep: str) -> bool:
    """Run a sweep by ``go`` and show its events. Returns whether every run is done.

    Raises:
        typer.Exit: if a signal (130) or a request in the store (1) stopped it.
    """
    try:
        with SweepView(console, [SweepReader(store, sweep)]) as view:
            outcome = go(lambda event: _show_event(event, view, store, sweep))
    except KeyboardInterrupt:
        say_of(sweep, "stopped; run the same command again to continue.")
        raise typer.Exit(130) from None
    except StoppedOnRequest:
        say_of(sweep, "stopped on request; run the same command again to continue.")
        raise typer.Exit(1) from None
    failed = outcome.ended["failed"] + len(outcome.failed_before)
    done = outcome.ended["done"] + outcome.ended["paused"] + outcome.done_before
    stopped, superseded = outcome.ended["stopped"], outcome.ended["superseded"]
    say_of(sweep, outcome_line(done, failed, stopped, superseded, store.location))
    return not (failed or stopped or superseded)


def _show_event(event: Event, view: SweepView, store: RunStore, sweep: str) -> None:
    say = partial(say_of, sweep)
    match event:
        case Polled():
            view.poll()
        case RunEnded():
            view.print(_ending(event, store, sweep))
        case WorkerDied(run_id, reason):
            view.print(worker_death_line(run_id, reason))
        case Started(missing, done, failed):
            before = f", {failed} failed before (see: rlscale sweep retry)" if failed else ""
            say(f"{missing} run{'' if missing == 1 else 's'} to do, {done} done before{before}.")
        case OtherDrivers(drivers):
            for driver in drivers:
                say(f"{driver_line(driver, silence=0.0)}.")
            say(
                "two drivers of one sweep take its runs from each other, so leave it to one of them: "
                f"rlscale sweep stop {store.location} stops all that work on it now."
            )
        case StoreTrouble(None):
            say("the store can be written again.")
        case StoreTrouble(problem):
            say(f"{problem}; runs wait until the store can be written.")
        case HeadLost():
            say(
                "the head of the Ray cluster does not answer. What the runs stored is kept; if the head "
                "is gone, continue with the same command on another cluster."
            )
        case HeadBack():
            say("the head of the Ray cluster answers again.")
        case Stopping():
            say("stopping; the runs store their progress.")


def _ending(event: RunEnded, store: RunStore, sweep: str) -> Text:
    """The line of a run that ended, from what the store holds of it."""
    record = store.read_run(sweep, event.run_id)
    if record is None:
        return unstored_run_line(event.run_id, event.reason)
    returns = store.read_curve(sweep, event.run_id, columns=("return_mean",)).column("return_mean")
    known = returns.drop_null()
    last = known[-1].as_py() if len(known) else None
    return run_line(RunStatus.of(record, record.config), last, record.reason or event.reason)


# -- sweep status --watch -------------------------------------------------------------


def watch_sweeps(
    console: Console, readers: Sequence[SweepReader], *, show_all: bool = False
) -> list[SweepState]:
    """Show sweeps until they or their drivers have ended, or Ctrl-C. Returns their last states."""
    driven = set[str]()
    states: list[SweepState] = []
    try:
        with SweepView(
            console, readers, parts=partial(status_parts, show_all=show_all), every_change=True
        ) as view:
            while True:
                states = view.refresh()
                if all(_is_over(state, driven) for state in states):
                    return states
                driven |= {state.sweep for state in states if state.has_live_driver}
                view.wait()
    except KeyboardInterrupt:
        return states


def _is_over(state: SweepState, driven: set[str]) -> bool:
    """Whether no driver works on a sweep, and either all runs have ended or an earlier driver has gone."""
    return not state.has_live_driver and (state.has_ended or state.sweep in driven)


# -- sweep submit --follow and --wait ---------------------------------------------------


def follow_job(jobs: RayJobs, job_id: str, sweep: str, store: str, *, show_log: bool) -> JobEnd:
    """Wait until a job has ended; with ``show_log``, print what its driver prints meanwhile.

    Raises:
        typer.Exit: at Ctrl-C (130); the job continues.
    """

    def show(text: str) -> None:
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    try:
        end = jobs.follow(job_id, show) if show_log else jobs.wait(job_id)
        assert end is not None  # without a timeout
    except KeyboardInterrupt:
        say_of(sweep, f"the job {job_id} continues; stop it with: rlscale sweep stop {store}")
        raise typer.Exit(130) from None
    say_of(sweep, f"the job {job_id} has {end.status}.")
    if not end.succeeded and not show_log and end.message:
        show(f"{end.message.rstrip()}\n")
    return end
