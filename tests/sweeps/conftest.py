"""Stores with made-up runs, and ``rlscale`` as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from scaling.config import run_config
from sweeps.store import RunStore

DEADLINE = 600.0  # only ever met when something hangs


class Started:
    """A command in a session of its own, so that all that it starts can be ended with it."""

    def __init__(self, arguments, folder: Path) -> None:
        self._log = open(folder / f"log-{time.monotonic_ns()}.txt", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scaling.cli", *map(str, arguments)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": "80"},
            start_new_session=True,
        )
        self._family = {self.process.pid: _started(self.process.pid)}

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text()

    def until(self, condition, what: str):
        """The first true value of ``condition()``, asked again and again while the command runs."""
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
        self._look_around()
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

    def clean_up(self) -> None:
        """End whatever is left of the command and of the processes seen below it."""
        self._look_around()
        for pid, started in self._family.items():
            if _started(pid) == started:  # a number may belong to another process by now
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def _look_around(self) -> None:
        self._family |= {pid: _started(pid) for pid in _descendants(set(self._family)) - set(self._family)}


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state, ppid, ...; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str | None:
    """When a process started, which with its number tells it from any other; None if it is gone."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _descendants(pids: set[int]) -> set[int]:
    parents = {int(p.name): _stat(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
    found: set[int] = set()
    waiting = set(pids)
    while waiting:
        parent = waiting.pop()
        children = {pid for pid, fields in parents.items() if fields and int(fields[1]) == parent}
        waiting |= children - found
        found |= children
    return found


@pytest.fixture
def start(tmp_path):
    """Start ``rlscale`` with the given arguments; ended with all its processes after the test."""
    started: list[Started] = []

    def begin(*arguments: object) -> Started:
        started.append(Started(arguments, tmp_path))
        return started[-1]

    yield begin
    for command in started:
        command.clean_up()


@pytest.fixture(scope="session")
def rlscale():
    """Run ``rlscale`` with the given arguments to its end."""

    def run(*arguments: object, columns: int = 80, cwd: Path | None = None):
        return subprocess.run(
            [sys.executable, "-m", "scaling.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "COLUMNS": str(columns)},
            cwd=cwd,
            check=False,
        )

    return run


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "store", create=True)


@pytest.fixture(scope="session")
def config_of():
    """A small run's config with the given fields."""

    def make(**fields):
        return run_config({"task": "digits-bandit", "interactions": 1000, **fields}, source="test")

    return make


@pytest.fixture(scope="session")
def claim():
    """Claim a run of a store with made-up columns."""

    def begin(store, run_id="r1", *, sweep="s", config=None, columns=None, pid=1):
        return store.claim(
            sweep,
            run_id,
            config=config or {},
            columns={"num_params": 100, **(columns or {})},
            provenance={},
            host="here",
            pid=pid,
        )

    return begin


@pytest.fixture(scope="session")
def rows_of():
    """Made-up rows ``first`` .. ``last - 1``; the same number always gives the same row."""

    def make(first: int, last: int):
        return [
            {
                "interactions": 100 * (i + 1),
                "episodes": 100,
                "return_mean": None if i % 7 == 6 else 0.1 + i / 3,
                "return_std": None if i % 7 == 6 else 1e-300 / (i + 1),
                "episode_length_mean": 1.0,
                "wall_seconds": 0.1 * i,
                "train_flops": 1e18 + i,
                "entropy": 2.0 / (i + 1),
            }
            for i in range(first, last)
        ]

    return make
