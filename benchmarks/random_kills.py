"""Fifty random kills in a sweep of forty runs: is every curve there, once, and equal to the undisturbed one?

The real command, ``rlscale sweep run``, on a cluster of three nodes on this machine (one CPU each),
twice: once left alone, once with kills at random moments, seeded: seven in ten hit a worker, the others
a whole node (SIGKILL for its raylet; another node takes its place) or the driver (SIGKILL; the same
command is started again). The cluster and the kills are those of ``tests/sweeps/test_faults.py``, which
does the same with six kills.

    python benchmarks/random_kills.py [--runs 40] [--kills 50] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sweeps"))

from cluster import NUM_NODES, Cluster
from killing import Kills, sweep_with_kills
from processes import Started
from small_sweep import CHECKPOINTS, INTERACTIONS, NAME, spec_of

from rlscale.sweeps.store.run_store import RunStore, rows_equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "random_kills.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.runs, options.kills, options.seed)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, runs: int, kills: int, seed: int) -> dict[str, Any]:
    """Both sweeps, and what the stores hold after them."""
    spec = folder / "sweep.yaml"
    # One run may be hit many times in a row.
    values = spec_of(axes={"seed": list(range(runs))}, resources={"max_deaths": kills})
    spec.write_text(yaml.safe_dump(values))
    cluster = Cluster("cluster-utils")
    started: list[Started] = []

    def begin(place: Path) -> Started:
        arguments = ("sweep", "run", spec, "--store", place, "--address", cluster.address)
        started.append(Started(arguments, folder, cluster.env))
        return started[-1]

    try:
        undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
        quiet_seconds = seconds_until_done(begin(undisturbed), time.perf_counter())
        began = time.perf_counter()
        command, done = sweep_with_kills(
            lambda: begin(disturbed), disturbed, cluster, np.random.default_rng(seed), kills
        )
        disturbed_seconds = seconds_until_done(command, began)
    finally:
        for each in started:
            each.clean_up()
        cluster.close()
    return {
        "sweep": {"runs": runs, "interactions": INTERACTIONS, "checkpoints": CHECKPOINTS, "nodes": NUM_NODES},
        "seed": seed,
        "kills": done.counts,
        **compare(RunStore(undisturbed), RunStore(disturbed), done),
        "seconds": {"undisturbed": round(quiet_seconds, 1), "with kills": round(disturbed_seconds, 1)},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("ray", "torch", "pyarrow")},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def seconds_until_done(command: Started, began: float) -> float:
    if command.wait() != 0:
        raise SystemExit(command.output)
    return time.perf_counter() - began


def compare(undisturbed: RunStore, disturbed: RunStore, kills: Kills) -> dict[str, Any]:
    """What the kills cost."""
    records = {record.run_id: record for record in disturbed.runs(NAME)}
    equal = doubled = 0
    for run_id in undisturbed.run_ids(NAME):
        curve = disturbed.read_curve(NAME, run_id)
        steps = curve.column("interactions").to_pylist()
        doubled += len(steps) - len(set(steps))
        equal += rows_equal(curve, undisturbed.read_curve(NAME, run_id))
    back = [
        before.interactions - attempt.from_interactions
        for before in kills.seen
        for attempt in records[before.run_id].attempts[len(before.attempts) :]
    ]
    names = {path.name for path in Path(disturbed.location).rglob("*") if path.is_file()}
    kept = ("curve.parquet", "run.json", "spec.json")
    return {
        "runs_done": sum(record.status == "done" for record in records.values()),
        "curves_equal_bit_for_bit": equal,
        "rows_doubled": doubled,
        "files_left_over": sorted(n for n in names if n not in kept and not n.startswith("log-")),
        "attempts": sum(len(record.attempts) for record in records.values()),
        # A checkpoint is never given up, so what was done again is at most what followed the last one.
        "attempts_that_began_before_the_last_checkpoint": sum(steps > 0 for steps in back),
    }


if __name__ == "__main__":
    main()
