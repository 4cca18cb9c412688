"""From a store of 1,000 runs to a finished fit at 10^5, 10^6 and 10^7 rows: seconds and peak memory.

Each figure is of a fresh process, measured from outside: start-up, imports, reading, checks and the fit. The
ways stand side by side, each round one after the other:

* ``store``: ``rlscale fit STORE --bootstrap 0``;
* ``file``: the same on the one Parquet file that ``rlscale curves export`` makes of the store;
* ``pandas``: what one writes without them: read every Parquet file of the store whole, concatenate, add the
  sizes, and make the same fit of that table.

    python benchmarks/load_scale.py [--rows 100000 ...] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import CURVE_SCHEMA

ROWS = (100_000, 1_000_000, 10_000_000)
SIZES = tuple(4e4 * 2.0 ** np.arange(10))
SEEDS = 100
BAR = {"rows": 10_000_000, "max_seconds": 15, "max_gigabytes": 2}


def write_store(folder: Path, rows: int) -> RunStore:
    """A store of 1,000 finished runs, every column of its schema filled; ``rows`` rows in all."""
    store = RunStore(folder, create=True)
    rng = np.random.default_rng(0)
    points = rows // (len(SIZES) * SEEDS)
    clean = SyntheticSweep(sizes=SIZES, seeds=1, points=points).curves(rng)
    filling = {field.name: rng.random(points) for field in CURVE_SCHEMA if field.type == pa.float64()}
    for position, size in enumerate(SIZES):
        interactions, returns = clean.curve(position)
        for seed in range(SEEDS):
            run_id = f"n{position:02d}-s{seed:03d}"
            columns = {
                **filling,
                "sweep": ["scale"] * points,
                "run_id": [run_id] * points,
                "interactions": np.rint(interactions).astype(np.int64),
                "episodes": np.ones(points, np.int64),
                "return_mean": returns + 0.03 * rng.standard_normal(points),
            }
            record = RunRecord(
                sweep="scale",
                run_id=run_id,
                status="done",
                config={},
                columns={"num_params": round(size), "seed": seed, "task": "synthetic", "horizon": 64.0},
            )
            store.add_curve(record, pa.table([columns[n] for n in CURVE_SCHEMA.names], schema=CURVE_SCHEMA))
    return store


def fit_with_pandas(store: Path) -> None:
    """Read, concatenate and fit as one would with pandas alone."""
    files = sorted(store.glob("sweep=*/run=*/curve.parquet"))
    frame = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    records = [json.loads(path.with_name("run.json").read_text()) for path in files]
    sizes = {record["run_id"]: record["columns"]["num_params"] for record in records}
    frame["num_params"] = frame["run_id"].map(sizes)
    print(JointScalingFit(replicates=0).fit(curves_from_frame(frame)).nu)


def measure(*arguments: str) -> tuple[float, float, float]:
    """(seconds, seconds of processor time, peak resident megabytes) of ``python ARGUMENTS``, a fresh process.

    Raises:
        RuntimeError: if it fails.
    """
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Every way of getting from ``rows`` rows to a fit, in turn, ``repeats`` times."""
    with tempfile.TemporaryDirectory() as folder:
        store, export = Path(folder) / "store", Path(folder) / "export.parquet"
        # In processes of their own: a child's peak memory counts what its parent holds when it starts.
        measure(__file__, "--rows", str(rows), "--write", str(store))
        measure("-m", "rlscale.cli", "curves", "export", str(store), "--out", str(export))
        ways = {
            "store": ("-m", "rlscale.cli", "fit", str(store), "--bootstrap", "0"),
            "file": ("-m", "rlscale.cli", "fit", str(export), "--bootstrap", "0"),
            "pandas": (__file__, "--fit-with-pandas", str(store)),
        }
        measured = [{way: measure(*command) for way, command in ways.items()} for _ in range(repeats)]
    return [
        {
            "rows": rows,
            "way": way,
            "median_seconds": round(statistics.median(m[way][0] for m in measured), 2),
            "median_cpu_seconds": round(statistics.median(m[way][1] for m in measured), 2),
            "peak_megabytes": round(max(m[way][2] for m in measured)),
            "pandas_over_this": round(statistics.median(m["pandas"][0] / m[way][0] for m in measured), 2),
            "pandas_over_this_cpu": round(statistics.median(m["pandas"][1] / m[way][1] for m in measured), 2),
            "repeats": repeats,
        }
        for way in ways
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "load_scale.json")
    parser.add_argument(
        "--write", type=Path, metavar="STORE", help="only write the store, of the first --rows"
    )
    parser.add_argument("--fit-with-pandas", type=Path, metavar="STORE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit_with_pandas:
        return fit_with_pandas(given.fit_with_pandas)
    if given.write:
        write_store(given.write, given.rows[0])
        return None
    load = os.getloadavg()[0]
    rows = [row for count in given.rows for row in compare(count, given.repeats)]
    print(f"{'rows':>10} {'way':8} {'seconds':>9} {'cpu s':>7} {'peak MB':>8} {'pandas / this':>14}")
    for row in rows:
        print(
            f"{row['rows']:>10} {row['way']:8} {row['median_seconds']:>9.2f} "
            f"{row['median_cpu_seconds']:>7.2f} {row['peak_megabytes']:>8} {row['pandas_over_this']:>14.2f}"
        )
    result = {
        "what": "fresh process from the path of 1,000 runs to a finished fit without bootstrap",
        "bar": BAR,
        "rows": rows,
        "cores": os.cpu_count(),
        "load_average_before": round(load, 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "pyarrow": pa.__version__,
        "machine": platform.machine(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
