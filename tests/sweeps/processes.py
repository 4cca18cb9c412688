"""Commands started for a test, and all the processes below them."""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from command_line import DEADLINE, begin

_IDLE_SHARE = 0.2  # of one processor, for Ray's own threads
_LOOK_SECONDS = 0.5


class Started:
    """``rlscale`` in a session of its own, so that all that it starts can be ended with it."""

    def __init__(self, arguments, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = open(folder / f"log-{time.monotonic_ns()}.txt", "w+")  # noqa: SIM115
        variables = {"COLUMNS": "80", **(env or {})}
        self.process = begin(*arguments, stdout=self._log, stderr=self._log, env=variables)
        self._family = {self.process.pid: start_time(self.process.pid)}
        self._looked = 0.0

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text()

    def until(self, condition, what: str):
        """The first true value of ``condition()``, called repeatedly while the command runs."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            self._look_around()
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{what}: not seen before the command ended or time was up\n{self.output}")

    def kill(self) -> None:
        """SIGKILL for the command alone; what it started is left to itself."""
        self._look_around(is_urgent=True)
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < deadline:
            self._look_around()
            time.sleep(0.1)
        assert self.process.poll() is not None, f"still running after {DEADLINE} s\n{self.output}"
        return self.process.returncode

    def until_gone(self, pids: Iterable[int]) -> None:
        """Wait for the end of processes that the command, which may have ended, had started or used."""
        deadline = time.monotonic() + DEADLINE
        left = list(pids)
        while left := [pid for pid in left if is_alive(pid)]:
            assert time.monotonic() < deadline, f"{left} still run after {DEADLINE} s\n{self.output}"
            time.sleep(0.05)

    def clean_up(self) -> None:
        """End whatever is left of the command and of the processes seen below it."""
        self._look_around(is_urgent=True)
        for pid, started in self._family.items():
            if start_time(pid) == started:  # a number may belong to another process by now
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def _look_around(self, *, is_urgent: bool = False) -> None:
        """Take note of all processes below those known, though not often: it reads what all processes are."""
        if not is_urgent and time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        new = descendants(set(self._family)) - set(self._family)
        self._family |= {pid: start_time(pid) for pid in new}


class Idleness:
    """Whether some processes together have used almost no processor time for a second."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._since, self._seconds = time.monotonic(), self._busy_seconds()

    def __call__(self) -> bool:
        now, seconds = time.monotonic(), self._busy_seconds()
        if seconds - self._seconds > _IDLE_SHARE * (now - self._since):
            self._since, self._seconds = now, seconds
        return now - self._since >= 1.0

    def _busy_seconds(self) -> float:
        ticks = sum(int(field) for pid in self._pids for field in _stat(pid)[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


def start_time(pid: int) -> str | None:
    """When a process started, which with its number identifies it; None if it is gone."""
    fields = _stat(pid)
    return fields[19] if fields else None


def parent_of(pid: int) -> int | None:
    """The parent's number; None if the process is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def command_of(pid: int) -> str:
    """The command line, joined by spaces; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descendants(pids: set[int]) -> set[int]:
    """All living processes below the given ones."""
    table = _table()
    found: set[int] = set()
    waiting = set(pids)
    while waiting:
        parent = waiting.pop()
        children = {pid for pid, fields in table.items() if int(fields[1]) == parent}
        waiting |= children - found
        found |= children
    return {pid for pid in found if table[pid][0] not in "ZX"}


def zombies_of(pid: int) -> set[int]:
    """Children that ended and that nobody has waited for."""
    return {child for child, fields in _table().items() if fields[0] == "Z" and int(fields[1]) == pid}


def _table() -> dict[int, list[str]]:
    """Fields of /proc/PID/stat after the name, of all processes."""
    table = {int(p.name): _stat(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
    return {pid: fields for pid, fields in table.items() if fields}


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state, ppid, ...; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
