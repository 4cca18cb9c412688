"""How a sweep of 10,000 runs starts beside a store of 9,000 finished ones, and what its driver holds.

The real command, ``rlscale sweep run SPEC --store STORE``, on stores whose finished runs were written through
``RunStore.add_curve`` (real configs and ids, a few rows each):

* start: seconds from the start of the process until the store holds the first new run, claimed by its worker;
  then the command is interrupted, as with Ctrl-C; beside it the same of a sweep of ten runs, which is what
  Python, torch and Ray take;
* memory: peak resident memory of the driver's process alone, with the live view on a terminal, in sweeps of
  100, 1,000 and 10,000 runs: of the last, the same 100 are missing, and all of them (interrupted once 300 are
  done, since only what waits takes memory);
* status: seconds of ``rlscale sweep status`` on the store of the first measurement.

    python benchmarks/sweep_plan_scale.py [--wanted 10000] [--finished 9000] [--starts 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pty
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.training.facts import run_columns
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import CURVE_SCHEMA

SWEEP = "large"
WIDTHS = [0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.055, 0.06, 0.065, 0.07]
BASE = {
    "task": "digits-bandit",
    "interactions": 64,
    "checkpoints": 1,
    "agent": {"rollout_steps": 64, "minibatches": 1},
}
ROWS = 5
BAR = {"start_seconds": 10}
RLSCALE = [sys.executable, "-m", "rlscale.cli"]


def write_spec(path: Path, runs: int) -> tuple[RunConfig, ...]:
    """The spec of ``runs`` runs, a tenth of them of each width, as a file; its configs."""
    values = {
        "name": SWEEP,
        "base": BASE,
        "axes": {"width": WIDTHS, "seed": list(range(runs // len(WIDTHS)))},
    }
    path.write_text(yaml.safe_dump(values))
    return expand(parse_spec(values, source="benchmark"))


def write_finished(folder: Path, configs: tuple[RunConfig, ...], finished: int) -> None:
    """A store in which the last ``finished`` of the runs are done, the others unknown."""
    store = RunStore(folder, create=True)
    columns_of = {width: run_columns(next(c for c in configs if c.model.width == width)) for width in WIDTHS}
    for config in configs[len(configs) - finished :]:
        interactions = np.linspace(BASE["interactions"] / ROWS, BASE["interactions"], ROWS).astype(int)
        rows = [
            {
                "sweep": SWEEP,
                "run_id": config.run_id,
                "interactions": int(reached),
                "episodes": int(reached),
                "return_mean": 0.1 + config.seed / 1e5,
                "wall_seconds": reached / 1e4,
            }
            for reached in interactions
        ]
        record = RunRecord(
            sweep=SWEEP,
            run_id=config.run_id,
            status="done",
            config=config.model_dump(mode="json"),
            columns=columns_of[config.model.width] | {"seed": config.seed},
            interactions=config.interactions,
            wall_seconds=config.interactions / 1e4,
        )
        store.add_curve(record, pa.Table.from_pylist(rows, schema=CURVE_SCHEMA))


class Command:
    """``rlscale sweep run`` in a session and on a terminal of its own."""

    def __init__(self, spec: Path, store: Path) -> None:
        self._runs = store / f"sweep={SWEEP}"
        self._said = deque[bytes](maxlen=100)
        screen, terminal = pty.openpty()
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [*RLSCALE, "sweep", "run", str(spec), "--store", str(store)],
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            start_new_session=True,
        )
        os.close(terminal)
        threading.Thread(target=self._read, args=(screen,), daemon=True).start()

    def seconds_until_claimed(self, before: int) -> float:
        """Seconds from the start until more than ``before`` runs have a folder; then it is interrupted."""
        self._wait(lambda: _num_runs(self._runs) > before)
        seconds = time.perf_counter() - self.began
        self._interrupt()
        return seconds

    def peak_megabytes(self, until_done: int) -> float:
        """Of the process alone, none of those that it starts, until so many runs are done in all."""
        peak = 0.0

        def is_done() -> bool:
            nonlocal peak
            peak = max(peak, self._high_water())
            return _num_done(self._runs) >= until_done

        self._wait(is_done)
        self._interrupt()
        return peak

    def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._process.poll() is not None:
                said = b"".join(self._said).decode(errors="replace")
                raise RuntimeError(f"the sweep ended early: {said[-2000:]}")
            time.sleep(0.05)

    def _high_water(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(s.split()[1]) / 1024 for s in status.splitlines() if s.startswith("VmHWM:"))

    def _interrupt(self) -> None:
        """What Ctrl-C does, unless it has ended by itself."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait()

    def _read(self, screen: int) -> None:
        with suppress(OSError):  # the terminal closes with its last process
            while said := os.read(screen, 1 << 16):
                self._said.append(said)
        os.close(screen)


def _num_runs(folder: Path) -> int:
    return sum(entry.name.startswith("run=") for entry in os.scandir(folder)) if folder.exists() else 0


def _num_done(folder: Path) -> int:
    return sum(1 for _ in folder.glob("run=*/curve.parquet"))


def measure_starts(folder: Path, wanted: int, finished: int, starts: int) -> tuple[list[float], float]:
    """Seconds until the first run is claimed, several times; seconds of ``sweep status`` thereafter."""
    spec, store = folder / f"start-{wanted}.yaml", folder / f"start-{wanted}"
    write_finished(store, write_spec(spec, wanted), finished)
    seconds = []
    for _ in range(starts):
        before = _num_runs(store / f"sweep={SWEEP}")
        seconds.append(Command(spec, store).seconds_until_claimed(before))
    began = time.perf_counter()
    subprocess.run([*RLSCALE, "sweep", "status", str(store)], stdout=subprocess.DEVNULL, check=True)
    return seconds, time.perf_counter() - began


def measure_memory(folder: Path, wanted: int, missing: int, run: int) -> dict[str, Any]:
    """Peak memory of a driver whose sweep lacks ``missing`` of its runs, until it did ``run`` of them."""
    spec, store = folder / f"{wanted}-{missing}.yaml", folder / f"{wanted}-{missing}"
    write_finished(store, write_spec(spec, wanted), wanted - missing)
    peak = Command(spec, store).peak_megabytes(wanted - missing + run)
    shutil.rmtree(store)
    return {"wanted": wanted, "missing": missing, "run": run, "peak_megabytes": round(peak, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wanted", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=9_000)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "sweep_plan_scale.json"
    )
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone, _ = measure_starts(folder, len(WIDTHS), 0, 1)
        seconds, status = measure_starts(folder, given.wanted, given.finished, given.starts)
        print(f"a sweep of ten runs: claimed after {alone[0]:.2f} s")
        listed = ", ".join(f"{each:.2f}" for each in seconds)
        print(f"{given.wanted} wanted, {given.finished} finished: first run claimed after {listed} s")
        print(f"rlscale sweep status: {status:.2f} s", flush=True)
        memory = []
        large = given.wanted
        sizes = ((100, 100, 100), (1000, 1000, 1000), (large, 100, 100), (large, large, 300))
        for wanted, missing, run in sizes:
            memory.append(measure_memory(folder, wanted, missing, run))
            print("{wanted} wanted, {missing} missing, {run} run: {peak_megabytes} MB".format(**memory[-1]))
    result = {
        "what": "rlscale sweep run, from process start to the first run claimed, beside finished runs; peak "
        "resident memory of the driver's process",
        "bar": BAR,
        "wanted": given.wanted,
        "finished": given.finished,
        "start_seconds": {
            "median": round(statistics.median(seconds), 2),
            "all": [round(s, 2) for s in seconds],
        },
        "start_seconds_of_ten_runs": round(alone[0], 2),
        "status_seconds": round(status, 2),
        "memory": memory,
        "cores": os.cpu_count(),
        "load_average_before": round(load, 1),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("ray", "torch", "pyarrow", "pydantic")},
        "machine": platform.machine(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
