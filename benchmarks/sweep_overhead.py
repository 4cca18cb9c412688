"""What a sweep adds to each of its runs, beside empty Ray tasks and beside Ray Tune.

1,000 real but tiny runs (digits-bandit, the smallest network, one iteration of 64 interactions), each way
in processes of its own, timed as a whole from outside, in turn:

* ``empty``: as many empty Ray tasks on a Ray of this machine, submitted all at once;
* ``train``: the same training functions without Ray and without a store, one process for each core, with a
  writer that keeps nothing;
* ``sweep``: ``rlscale sweep run`` into a new store: rows, checkpoint, finished curve and record of every run;
* ``tune``: Ray Tune on the same trials, each reporting its row with the same checkpoint, in its most
  favourable settings: actors reused, no output, one logger (JSON) to store the curve;
* ``tune defaults``: the same with Tune's own defaults, output aside.

The overhead of a run is what it occupies a core beyond its training and beyond an empty Ray task:

    cores * (seconds of the way - seconds of train - seconds of empty) / runs

So starting Ray and importing torch once in every worker, which ``empty`` and ``train`` do too, is no
overhead; planning the sweep and importing torch in the driver is. Tune may be given fewer trials, since its
figure is per trial.

    python benchmarks/sweep_overhead.py [--runs 1000] [--tune-runs 1000] [--default-tune-runs 100]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

BASE: dict[str, Any] = {
    "task": "digits-bandit",
    "interactions": 64,
    "checkpoints": 1,
    "model": {"width": 0.025},
    "agent": {"rollout_steps": 64, "minibatches": 1},
}
CORES = os.cpu_count() or 1
BAR = {"milliseconds_over_an_empty_task": 50, "tune_over_sweep": 10}


class NoWriter:
    """A curve writer that keeps nothing."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def drop_after(self, index: int) -> None: ...

    def write_segment(self, index: int, rows: list[dict[str, Any]], checkpoint: bytes, **_: Any) -> None: ...

    def finish(self) -> None: ...

    def fail(self, reason: str, **_: Any) -> None: ...

    def stop(self, reason: str) -> None: ...

    def pause(self, reason: str) -> None: ...


class TuneWriter(NoWriter):
    """Reports rows to Tune, the last of a segment with the checkpoint."""

    def write_segment(self, index: int, rows: list[dict[str, Any]], checkpoint: bytes, **_: Any) -> None:
        from ray import tune

        for row in rows[:-1]:
            tune.report(row)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "checkpoint.pt").write_bytes(checkpoint)
            tune.report(rows[-1], checkpoint=tune.Checkpoint.from_directory(folder))


def run_empty(runs: int) -> None:
    import ray

    from rlscale.sweeps.running.ray_connection import connect

    @ray.remote(max_retries=0, num_cpus=1, scheduling_strategy="SPREAD")
    def nothing() -> None: ...

    connect(None)
    ray.get([nothing.remote() for _ in range(runs)])
    ray.shutdown()


def run_train(first: int, last: int) -> None:
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.training.train import train

    for seed in range(first, last):
        train(run_config({**BASE, "seed": seed}, source="benchmark"), NoWriter())


def run_tune(runs: int, folder: Path, *, favourable: bool) -> None:
    if favourable:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    from rlscale.sweeps.running.ray_connection import connect

    def trial(point: dict[str, Any]) -> None:
        from rlscale.scaling.config.run import run_config
        from rlscale.scaling.training.train import train

        train(run_config({**BASE, "seed": point["seed"]}, source="benchmark"), TuneWriter())

    connect(None)
    results = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"seed": tune.grid_search(list(range(runs)))},
        tune_config=tune.TuneConfig(reuse_actors=favourable),
        run_config=tune.RunConfig(
            storage_path=str(folder), verbose=0, callbacks=[JsonLoggerCallback()] if favourable else None
        ),
    ).fit()
    if results.num_errors or len(results) != runs:
        raise RuntimeError(f"{results.num_errors} of {runs} trials failed")
    ray.shutdown()


def seconds_of(*commands: list[str], folder: Path) -> float:
    """Wall seconds until all of the commands, begun together, have ended.

    Raises:
        RuntimeError: if one fails, with the end of what it said.
    """
    with open(folder / "output.txt", "w+") as output:
        start = time.perf_counter()
        processes = [subprocess.Popen(command, stdout=output, stderr=output) for command in commands]
        failed = [process.args for process in processes if process.wait()]
        seconds = time.perf_counter() - start
        if failed:
            output.seek(0)
            raise RuntimeError(f"{failed} failed: {output.read()[-2000:]}")
    return seconds


def measure_empty(runs: int, folder: Path) -> float:
    return seconds_of([sys.executable, __file__, "--empty", str(runs)], folder=folder)


def measure_train(runs: int, folder: Path) -> float:
    bounds = [runs * core // CORES for core in range(CORES + 1)]
    commands = [
        [sys.executable, __file__, "--train", str(first), str(last)]
        for first, last in itertools.pairwise(bounds)
    ]
    return seconds_of(*commands, folder=folder)


def measure_sweep(runs: int, folder: Path) -> float:
    spec = {"name": "tiny", "base": BASE, "axes": {"seed": list(range(runs))}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(spec))
    rlscale = [sys.executable, "-m", "rlscale.cli"]
    seconds = seconds_of(
        [*rlscale, "sweep", "run", str(folder / "tiny.yaml"), "--store", str(folder / "store")], folder=folder
    )
    finished = len(list(folder.glob("store/sweep=tiny/run=*/curve.parquet")))
    if finished != runs:
        raise RuntimeError(f"only {finished} of {runs} runs are in the store")
    return seconds


def measure_tune(runs: int, folder: Path, kind: str) -> float:
    return seconds_of([sys.executable, __file__, f"--{kind}", str(runs), str(folder)], folder=folder)


def one_round(runs: int, tune_runs: int, default_tune_runs: int) -> dict[str, dict[str, float]]:
    """Seconds and overhead in milliseconds a run of each way, with its empty and train for as many runs."""
    measured: dict[str, dict[str, float]] = {}
    baselines: dict[int, tuple[float, float]] = {}
    ways = {"sweep": runs, "tune": tune_runs, "tune-defaults": default_tune_runs}
    for way, count in ways.items():
        if not count:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if count not in baselines:
                baselines[count] = (measure_empty(count, Path(folder)), measure_train(count, Path(folder)))
            empty, train = baselines[count]
            seconds = (
                measure_sweep(count, Path(folder))
                if way == "sweep"
                else measure_tune(count, Path(folder), way)
            )
        overhead = CORES * (seconds - train - empty) / count
        measured[way] = {
            "runs": count,
            "seconds": round(seconds, 2),
            "seconds_train": round(train, 2),
            "seconds_empty": round(empty, 2),
            "overhead_milliseconds": round(1000 * overhead, 2),
        }
        print(f"{way}: {measured[way]}", flush=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--tune-runs", type=int, default=1000, help="trials of Tune; 0 leaves it out")
    parser.add_argument("--default-tune-runs", type=int, default=100, help="trials of Tune with its defaults")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sweep_overhead.json")
    for kind, count in {"empty": 1, "train": 2, "tune": 2, "tune-defaults": 2}.items():
        parser.add_argument(f"--{kind}", nargs=count, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.empty:
        return run_empty(int(given.empty[0]))
    if given.train:
        return run_train(*map(int, given.train))
    if given.tune:
        return run_tune(int(given.tune[0]), Path(given.tune[1]), favourable=True)
    if given.tune_defaults:
        return run_tune(int(given.tune_defaults[0]), Path(given.tune_defaults[1]), favourable=False)
    load = os.getloadavg()[0]
    rounds = [one_round(given.runs, given.tune_runs, given.default_tune_runs) for _ in range(given.rounds)]
    report(rounds, given.out, load)
    return None


def report(rounds: list[dict[str, dict[str, float]]], out: Path, load: float) -> None:
    """Print the table of medians over rounds and write everything."""
    overheads = {
        way: statistics.median(each[way]["overhead_milliseconds"] for each in rounds) for way in rounds[0]
    }
    print(f"{'way':15} {'runs':>6} {'overhead, ms a run':>20} {'times the sweep':>16}")
    for way, overhead in overheads.items():
        ratio = overhead / overheads["sweep"]
        print(f"{way:15} {rounds[0][way]['runs']:>6} {overhead:>20.1f} {ratio:>16.1f}")
    result = {
        "what": "cores * (seconds of the way - seconds of training alone - seconds of empty Ray tasks) "
        "/ runs, whole processes, in milliseconds",
        "bar": BAR,
        "run": BASE,
        "overhead_milliseconds": overheads,
        "rounds": rounds,
        "cores": CORES,
        "load_average_before": round(load, 1),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("ray", "torch", "pyarrow", "tensorboardX")},
        "machine": platform.machine(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
