"""Wall time of the joint fit (point estimate) at 1,000, 10,000 and 100,000 curve points, on one core.

Everything from raw curves to the law counts: the cut, ranks, bins, averages, and the search. Run with

    python benchmarks/fit_time.py [--out benchmarks/results/fit_time.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import scipy

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit

SIZES = tuple(4e4 * 2.0 ** np.arange(10))
SEEDS = 4
REPEATS = 5
POINTS = (1_000, 10_000, 100_000)
BAR_SECONDS = 1.0


def measure(objective: str, total_points: int) -> dict[str, float | int | str]:
    """Times of ``REPEATS`` fits, each of curves drawn anew with 3% noise."""
    seconds = []
    for repeat in range(REPEATS):
        sweep = SyntheticSweep(
            sizes=SIZES, seeds=SEEDS, points=total_points // (len(SIZES) * SEEDS), noise=0.03
        )
        curves = sweep.curves(np.random.default_rng(repeat))
        estimator = JointScalingFit(objective=objective)
        start = time.perf_counter()
        estimate = estimator.estimate(curves)
        seconds.append(time.perf_counter() - start)
    return {
        "objective": objective,
        "points": curves.num_points,
        "binned_points": len(estimate.points.weight),
        "median_seconds": round(statistics.median(seconds), 4),
        "max_seconds": round(max(seconds), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fit_time.json")
    out: Path = parser.parse_args().out
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, whatever threads there are
    measure("return", 1_000)  # first calls import and warm up
    rows = [measure(objective, points) for objective in ("return", "paper") for points in POINTS]
    print(f"{'objective':10} {'points':>8} {'binned':>7} {'median s':>9} {'max s':>7}")
    for row in rows:
        print(
            f"{row['objective']:10} {row['points']:>8} {row['binned_points']:>7} "
            f"{row['median_seconds']:>9.3f} {row['max_seconds']:>7.3f}"
        )
    result = {
        "what": "wall time of JointScalingFit.estimate, from raw curves to the law, one core",
        "bar": {"points": 100_000, "max_seconds": BAR_SECONDS},
        "sweep": {"sizes": len(SIZES), "seeds": SEEDS, "noise": 0.03},
        "repeats": REPEATS,
        "rows": rows,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
