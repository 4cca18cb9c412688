"""How far a long computation has come, told to whoever watches it: a command on a terminal, or nobody."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

#: Gets what is being done, how many steps of it are, and how many there are.
Watcher = Callable[[str, int, int], None]

_watcher: Watcher | None = None


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` of every step within this block."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


def told(what: str, steps: Iterable[T], total: int) -> Iterator[T]:
    """The steps; each is told once the next one is asked for, the beginning as 0 of ``total``.

    Args:
        what: is done in these steps, for people.
    """
    watcher = _watcher or (lambda *_: None)
    watcher(what, 0, total)
    for done, step in enumerate(steps, 1):
        yield step
        watcher(what, done, total)


def shared_out(
    what: str, function: Callable[..., T], parts: Sequence[tuple[Any, ...]], workers: int
) -> list[T]:
    """What ``function`` returns for the arguments of each part, in order, computed by processes.

    Ctrl-C reaches this process alone, which then drops the parts that no process has begun.

    Args:
        what: as of ``told``.
        workers: processes; 1 for this one alone.
    """
    if workers <= 1:
        return [function(*part) for part in told(what, parts, len(parts))]
    with ProcessPoolExecutor(workers, initializer=_leave_interrupts) as pool:
        try:
            return list(told(what, pool.map(function, *zip(*parts, strict=True)), len(parts)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_interrupts() -> None:
    """Let Ctrl-C, which a terminal sends to every process, interrupt only the one that shares out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
