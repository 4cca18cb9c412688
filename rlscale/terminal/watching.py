"""The state of sweeps, shown again and again while they are under way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live

from rlscale.sweeps.running.status import SweepReader, SweepState
from rlscale.terminal.sweep import status_line, status_parts

_REFRESH_SECONDS = 2.0
_LINE_SECONDS = 60.0
_SHARE_OF_TIME = 0.1  # that goes into reading the store


def watch_sweeps(
    console: Console, readers: Sequence[SweepReader], *, show_all: bool = False
) -> list[SweepState]:
    """Show sweeps until they have ended or their drivers have, or Ctrl-C. Returns their last states.

    On a terminal it is one picture that changes; elsewhere a line when a run begins or ends, and each minute.
    """
    screen = _Picture(console, show_all) if console.is_terminal else _Lines(console)
    driven = set[str]()
    states: list[SweepState] = []
    try:
        with screen:
            while True:
                began = time.monotonic()
                states = [reader.read_state() for reader in readers]
                screen.show(states)
                if all(_is_over(state, driven) for state in states):
                    return states
                driven |= {state.sweep for state in states if state.has_live_driver}
                taken = time.monotonic() - began
                time.sleep(max(_REFRESH_SECONDS, taken / _SHARE_OF_TIME - taken))
    except KeyboardInterrupt:
        return states


def _is_over(state: SweepState, driven: set[str]) -> bool:
    """Whether nothing is left to do, or the driver that was at work is not there any more."""
    return not state.has_live_driver and (state.has_ended or state.sweep in driven)


class _Picture:
    def __init__(self, console: Console, show_all: bool) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._show_all = show_all

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, states: Sequence[SweepState]) -> None:
        parts = (part for state in states for part in status_parts(state, show_all=self._show_all))
        self._live.update(Group(*parts), refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, states: Sequence[SweepState]) -> None:
        now = time.monotonic()
        for state in states:
            counted, line = status_line(state)
            before, since = self._last.get(state.sweep, ("", now))
            if counted != before or now - since >= _LINE_SECONDS:
                self._console.print(line, soft_wrap=True)
                self._last[state.sweep] = (counted, now)
