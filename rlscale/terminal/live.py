"""The live view of a sweep that runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from rlscale.analysis.formatting.numbers import compact_count, duration
from rlscale.sweeps.running.status import RunStatus, SweepReader, progress
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.console import console, say_of
from rlscale.terminal.sweep import _ID_LENGTH, _MOST_SHOWN, _counted, progress_line, status_table
from rlscale.terminal.tables import stored_text

if TYPE_CHECKING:
    from rlscale.sweeps.running.drivers import DriverRecord


def watch(go: Any, store: Any, sweep: str) -> bool:
    """Run a sweep, a call of ``launch``, with the live view. Returns whether every run is done."""
    from rlscale.sweeps.running.drivers import StoppedOnRequest
    from rlscale.sweeps.running.launch import Listener
    from rlscale.terminal.sweep import driver_line

    def say(text: str) -> None:
        say_of(sweep, text)

    try:
        with SweepView(console, store, sweep) as view:

            def on_start(missing: int, done: int, failed: int) -> None:
                again = f", {failed} failed before (see: rlscale sweep retry)" if failed else ""
                say(f"{missing} run{'' if missing == 1 else 's'} to do, {done} done before{again}.")

            def on_others(others: Sequence[DriverRecord]) -> None:
                for driver in others:
                    say(f"{driver_line(driver, silence=0.0)}.")
                say(
                    "two drivers of one sweep take its runs from each other, so let one of them work alone: "
                    f"rlscale sweep stop {store.location} ends all that are at it now."
                )

            def on_event(event: Any) -> None:
                if event.kind == "died":
                    view.died(event.run_id, event.message)
                else:
                    view.ended(event.run_id, event.message)

            def on_trouble(problem: str | None) -> None:
                say("the store can be written again." if problem is None else f"{problem}; runs wait for it.")

            def on_head(answers: bool) -> None:
                say(
                    "the head of the Ray cluster answers again."
                    if answers
                    else "the head of the Ray cluster does not answer. What the runs stored is kept; should "
                    "it be gone, go on with the same command on another cluster."
                )

            listener = Listener(
                on_start=on_start,
                on_others=on_others,
                on_event=on_event,
                on_poll=view.poll,
                on_trouble=on_trouble,
                on_head=on_head,
                on_stop=lambda: say("stopping, the runs store what they have."),
            )
            outcome = go(listener=listener)
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on.")
        raise typer.Exit(130) from None
    except StoppedOnRequest:
        say("stopped on request; run the same command again to go on.")
        raise typer.Exit(1) from None
    failed = outcome.ended["failed"] + len(outcome.failed_before)
    done = outcome.ended["done"] + outcome.done_before
    stopped, superseded = outcome.ended["stopped"], outcome.ended["superseded"]
    say(
        f"{done} done, {failed} failed"
        + (f", {stopped} stopped" if stopped else "")
        + (f", {superseded} taken over by another driver" if superseded else "")
        + (f" (see: rlscale sweep status {store.location})." if failed else ".")
    )
    return not (failed or stopped or superseded)


_REFRESH_SECONDS = 2.0  # of the live table
_LINE_SECONDS = 60.0  # between lines on the progress where there is none


def run_line(status: RunStatus, last_return: float | None, note: str = "") -> Text:
    """The one line that sums a run up when it ends."""
    stored = status.stored
    size = f"N {stored.num_params or 0:,}" if stored else ""
    reached = "" if last_return is None else f"return {last_return:.4f}"
    seconds = duration(stored.wall_seconds) if stored else ""
    parts = [
        f"{status.status:<8}",
        status.run_id[:_ID_LENGTH],
        size,
        f"seed {status.config.get('seed')}",
        f"{compact_count(stored.interactions if stored else 0)} interactions",
        reached,
        seconds,
        note,
    ]
    return stored_text("  ".join(part for part in parts if part))


class SweepView:
    """What a driver shows of its sweep: a live table on a terminal, elsewhere lines, one each minute too."""

    def __init__(self, console: Console, store: RunStore, sweep: str) -> None:
        self._console, self._store, self._sweep = console, store, sweep
        self._reader = SweepReader(store, sweep)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._interval = _REFRESH_SECONDS if self._live else _LINE_SECONDS
        self._next: float | None = None

    def __enter__(self) -> SweepView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def poll(self) -> None:
        """Show the progress if it is time, more rarely where the store is slow to read."""
        began = self._console.get_time()
        if self._next is None:  # the first runs are not to wait while the store is read
            self._next = began + self._interval
        if began < self._next:
            return
        statuses = self._reader.read()
        title = stored_text(f"{self._sweep}: {_counted(statuses)}")
        line = stored_text(progress_line(progress(statuses)))
        if self._live:
            running = [status for status in statuses if status.status == "running"][:_MOST_SHOWN]
            self._live.update(Group(title, status_table(statuses, running), line), refresh=True)
        else:
            self._console.print(title + Text("; ") + line, soft_wrap=True)
        now = self._console.get_time()
        self._next = now + max(self._interval, 10 * (now - began))

    def ended(self, run_id: str, message: str) -> None:
        """Print the line of a run that ended."""
        record = self._store.read_run(self._sweep, run_id)
        if record is None:
            self._console.print(stored_text(f"failed    {run_id[:_ID_LENGTH]}  {message}"), soft_wrap=True)
            return
        status = RunStatus.of(record, record.config)
        returns = self._store.read_curve(self._sweep, run_id).column("return_mean").drop_null()
        last = returns[-1].as_py() if len(returns) else None
        self._console.print(run_line(status, last, record.reason or message), soft_wrap=True)

    def died(self, run_id: str, message: str) -> None:
        """Print that a run's worker died and the run goes on."""
        line = f"again     {run_id[:_ID_LENGTH]}  {message}; it goes on from its last checkpoint"
        self._console.print(stored_text(line), soft_wrap=True)
