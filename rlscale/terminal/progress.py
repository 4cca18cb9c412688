"""The progress of a command that computes for long, with the time left, on a terminal alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rlscale.analysis.progress import watched_by
from rlscale.terminal.console import PrintingConsole

#: Settings of commands that name files to write.
_OUTPUTS = ("json_path", "out", "report", "figure", "seal_path")


class Work:
    """What a command is doing: bars while something is under way, none while the command prints.

    The bars are on standard error, so what is piped elsewhere has none of them.
    """

    def __init__(self) -> None:
        self._console = PrintingConsole(stderr=True)
        self._began = time.time()
        self._bars: Progress | None = None
        self._shown: dict[str, TaskID] = {}
        self._open: dict[str, float] = {}  # what is under way, the inner work last, and which share is done

    def tell(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` steps of ``total`` are; with the last one the bar goes."""
        if done < total:
            self._open[what] = done / total
        else:
            self._open.pop(what, None)
        if not self._console.is_terminal:
            return
        if not self._open:
            self.stop()
            return
        if self._bars is None:
            self._bars = _bars(self._console)
            self._bars.start()
        if what not in self._shown:
            self._shown[what] = self._bars.add_task(what, total=total)
        elif done == 0:
            self._bars.reset(self._shown[what], total=total)
        self._bars.update(self._shown[what], completed=done, visible=done < total)

    def stop(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._shown = None, {}

    def left_undone(self, settings: Mapping[str, Any]) -> str:
        """At Ctrl-C: where the work was, and which files among the command's settings were not written."""
        where = "".join(f" at {share:.0%} of {what}" for what, share in list(self._open.items())[-1:])
        files = [settings[name] for name in _OUTPUTS if settings.get(name) is not None]
        missing = [str(path) for path in files if not self._has_written(path)]
        left = f"not written: {', '.join(missing)}" if missing else "nothing was printed"
        return f"stopped{where}; {left}. The same command does it from the beginning."

    def _has_written(self, path: Path) -> bool:
        return path.exists() and path.stat().st_mtime >= self._began


def _bars(console: PrintingConsole) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def shown_work() -> Iterator[Work]:
    """Show what is done within this block."""
    work = Work()
    with watched_by(work.tell):
        try:
            yield work
        finally:
            work.stop()
