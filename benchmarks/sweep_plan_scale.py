"""How a sweep of 10,000 runs starts beside a store of 9,000 finished ones, and what its driver holds.

The real command, ``rlscale sweep run SPEC --store STORE``, on stores whose finished runs were written through
``RunStore.add_curve`` (real configs and ids, a few rows each):

* start: seconds from the start of the process until the store holds the first new run, claimed by its worker;
  then the command is interrupted, as with Ctrl-C;
* memory: peak resident memory of the driver's process alone, with 100, 1,000 and 10,000 wanted runs of which
  the same 100 are missing, and with 100 and 1,000 missing ones of 1,000, each run to the end;
* status: seconds of ``rlscale sweep status`` on the largest of these stores.

    python benchmarks/sweep_plan_scale.py [--wanted 10000] [--finished 9000] [--starts 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from scaling.config import RunConfig
from scaling.train import run_columns
from sweeps.schema import CURVE_SCHEMA
from sweeps.spec import expand, parse_spec
from sweeps.store import RunRecord, RunStore

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
RLSCALE = [sys.executable, "-m", "scaling.cli"]


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
    """``rlscale sweep run`` in a session of its own."""

    def __init__(self, spec: Path, store: Path, log: Path) -> None:
        self._log = log
        self.began = time.perf_counter()
        with open(log, "w") as output:
            self._process = subprocess.Popen(
                [*RLSCALE, "sweep", "run", str(spec), "--store", str(store)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def interrupt(self) -> None:
        """What Ctrl-C does, then wait for the end."""
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait()

    def peak_megabytes(self) -> float:
        """Of the process alone, none of those that it starts; call it while it runs, then until it ends.

        Raises:
            RuntimeError: if the command failed, with the end of what it said.
        """
        peak = 0.0
        while self.runs:
            try:
                status = Path(f"/proc/{self._process.pid}/status").read_text()
            except OSError:
                break
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1]) / 1024
            time.sleep(0.05)
        if self._process.wait():
            raise RuntimeError(f"the sweep failed: {self._log.read_text()[-2000:]}")
        return peak

    def seconds_until_claimed(self, store: Path, before: int) -> float:
        """Seconds from the start until more than ``before`` runs have a record.

        Raises:
            RuntimeError: if the command ends before.
        """
        folder = store / f"sweep={SWEEP}"
        while self.runs:
            if _number_of_runs(folder) > before:
                return time.perf_counter() - self.began
            time.sleep(0.02)
        raise RuntimeError(f"the sweep ended early: {self._log.read_text()[-2000:]}")


def _number_of_runs(folder: Path) -> int:
    return sum(entry.name.startswith("run=") for entry in os.scandir(folder))


def measure_starts(folder: Path, wanted: int, finished: int, starts: int) -> tuple[list[float], float]:
    """Seconds until the first run is claimed, several times; seconds of ``sweep status`` thereafter."""
    spec, store = folder / "start.yaml", folder / "start"
    write_finished(store, write_spec(spec, wanted), finished)
    seconds = []
    for _ in range(starts):
        before = _number_of_runs(store / f"sweep={SWEEP}")
        command = Command(spec, store, folder / "start.txt")
        seconds.append(command.seconds_until_claimed(store, before))
        command.interrupt()
    began = time.perf_counter()
    subprocess.run([*RLSCALE, "sweep", "status", str(store)], stdout=subprocess.DEVNULL, check=True)
    return seconds, time.perf_counter() - began


def measure_memory(folder: Path, wanted: int, missing: int) -> dict[str, Any]:
    """Peak memory of the driver of a sweep of ``wanted`` runs of which ``missing`` are to do."""
    spec, store = folder / f"{wanted}-{missing}.yaml", folder / f"{wanted}-{missing}"
    write_finished(store, write_spec(spec, wanted), wanted - missing)
    peak = Command(spec, store, folder / "memory.txt").peak_megabytes()
    finished = len(list(store.glob(f"sweep={SWEEP}/run=*/curve.parquet")))
    if finished != wanted:
        raise RuntimeError(f"only {finished} of {wanted} runs are done")
    return {"wanted": wanted, "run": missing, "peak_megabytes": round(peak, 1)}


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
        seconds, status = measure_starts(folder, given.wanted, given.finished, given.starts)
        listed = ", ".join(f"{each:.2f}" for each in seconds)
        print(f"{given.wanted} wanted, {given.finished} finished: first run claimed after {listed} s")
        print(f"rlscale sweep status: {status:.2f} s", flush=True)
        memory = []
        for wanted, missing in ((100, 100), (1000, 100), (given.wanted, 100), (1000, 1000)):
            memory.append(measure_memory(folder, wanted, missing))
            print(
                "{wanted} wanted, {run} run: driver's peak {peak_megabytes} MB".format(**memory[-1]),
                flush=True,
            )
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
