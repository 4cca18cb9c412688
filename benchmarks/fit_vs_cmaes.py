"""The joint fit beside the obvious way: CMA-ES around scikit-learn's IsotonicRegression.

Both minimise the paper's objective, Σ w (log I - f(R))², over the same rows, from the same arrays, on one
core: CMA-ES (package `cma`, its defaults) with a sorted isotonic regression at every evaluation; and
the toolkit's search on averaged bins, then its gradient search on all rows. The loss of either end is then
computed by the same function. A last table times 1,000 bootstrap draws. Run with

    python benchmarks/fit_vs_cmaes.py [--out benchmarks/results/fit_vs_cmaes.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import cma
import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.bootstrap import bootstrap
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.objectives import K_BOUNDS, NU_BOUNDS, PaperObjective, mid_compute
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.theory.power_law import PowerLaw

SIZES = tuple(4e4 * 2.0 ** np.arange(10))
POINTS = (1_000, 10_000, 100_000)
REPEATS = 3
NO_BINS = 1e-9  # width in log E at which every row is a bin of its own
BARS = {"times_faster_at_100000": 50.0, "worse_by_at_most": 1e-6, "bootstrap_seconds_on_2_cores": 60.0}


def cmaes(points: BinnedPoints, log_c0: float, seed: int) -> tuple[np.ndarray, int]:
    """θ = (logit ν, log k, m) and evaluations, as a user would write it."""
    isotonic = IsotonicRegression()

    def loss(theta: np.ndarray) -> float:
        log_i = PowerLaw.from_theta(theta, log_c0).log_intrinsic(points.log_n, points.log_e)
        fitted = isotonic.fit_transform(points.returns, log_i, sample_weight=points.weight)
        return float(points.weight @ (log_i - fitted) ** 2)

    low = [logit(NU_BOUNDS[0]), np.log(K_BOUNDS[0]), points.log_n.min() - 6.9]
    high = [logit(NU_BOUNDS[1]), np.log(K_BOUNDS[1]), points.log_n.max() + 6.9]
    start = [0.0, np.log(0.8), float(points.log_n.mean())]
    options = {"bounds": [low, high], "seed": seed + 1, "verbose": -9}
    found = cma.CMAEvolutionStrategy(start, 0.5, options).optimize(loss)
    return np.asarray(found.result.xbest), int(found.result.evaluations)


def ours(curves, points: BinnedPoints, log_c0: float) -> np.ndarray:
    """θ by the search on bins, polished on all rows."""
    law = JointScalingFit(objective="paper", smoothing=0.0).estimate(curves).law
    start = law.stated_at(log_c0).theta
    return PaperObjective(points, log_c0).polish(start, scale=1.0, max_evaluations=200).theta


def compare(total: int, repeat: int) -> dict[str, float]:
    """Seconds and losses of both on one sweep drawn with 2% noise."""
    sweep = SyntheticSweep(sizes=SIZES, seeds=1, points=total // len(SIZES), noise=0.02)
    curves = sweep.curves(np.random.default_rng(repeat))
    start = time.perf_counter()
    points = Preprocessor(curves, bin_width=NO_BINS, smoothing=0.0).points()
    prepared = time.perf_counter() - start
    log_c0 = mid_compute(points)
    start = time.perf_counter()
    mine = ours(curves, points, log_c0)
    my_seconds = time.perf_counter() - start + prepared
    start = time.perf_counter()
    theirs, evaluations = cmaes(points, log_c0, repeat)
    their_seconds = time.perf_counter() - start + prepared
    objective = PaperObjective(points, log_c0)
    my_loss, their_loss = objective.loss(mine), objective.loss(theirs)
    return {
        "points": curves.num_points,
        "ours_seconds": my_seconds,
        "cmaes_seconds": their_seconds,
        "cmaes_evaluations": evaluations,
        "times_faster": their_seconds / my_seconds,
        "worse_by": my_loss / their_loss - 1,
        "nu_ours": float(expit(mine[0])),
        "nu_cmaes": float(expit(theirs[0])),
    }


def bootstrap_seconds(workers: int) -> dict[str, float | int]:
    """1,000 draws of 10 sizes x 3 seeds x 1,000 points."""
    curves = SyntheticSweep(sizes=SIZES, seeds=3, points=1000, noise=0.03).curves(np.random.default_rng(0))
    estimate = JointScalingFit().estimate(curves)
    start = time.perf_counter()
    bootstrap(
        curves,
        estimate.preprocessor,
        objective="return",
        theta=estimate.law.theta,
        log_c0=estimate.law.log_c0,
        replicates=1000,
        rng=np.random.default_rng(0),
        workers=workers,
    )
    return {"workers": workers, "draws": 1000, "seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fit_vs_cmaes.json")
    out: Path = parser.parse_args().out
    cores = os.sched_getaffinity(0)
    drawn = bootstrap_seconds(min(len(cores), 2))
    print(f"1,000 bootstrap draws of 30 runs of 1,000 points: {drawn['seconds']:.1f} s")
    os.sched_setaffinity(0, {max(cores)})
    compare(1_000, 0)  # first calls import and warm up
    rows = []
    print(f"{'points':>8} {'ours s':>8} {'CMA-ES s':>9} {'times':>6} {'worse by':>9} {'nu':>6} {'nu CMA':>6}")
    for total in POINTS:
        runs = [compare(total, repeat) for repeat in range(REPEATS)]
        row = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        row["worse_by"] = max(run["worse_by"] for run in runs)
        rows.append({**row, "runs": runs})
        print(
            f"{row['points']:>8.0f} {row['ours_seconds']:>8.3f} {row['cmaes_seconds']:>9.2f} "
            f"{row['times_faster']:>6.0f} {row['worse_by']:>9.1e} "
            f"{row['nu_ours']:>6.3f} {row['nu_cmaes']:>6.3f}"
        )
    result = {"bars": BARS, "bootstrap": drawn, "rows": rows, "python": platform.python_version()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
