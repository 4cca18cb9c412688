"""Does ``rlscale suggest`` beat repeating the sweep? Both get the sweep's own compute once more.

For each law, shape and draw a sweep of known law is drawn and fitted. Then the same compute as it took is
spent (i) on the runs suggested for N_opt at ten times the largest measured compute, (ii) on as many seeds
again of the sweep's own sizes and lengths. Both are fitted together with the sweep, with a bootstrap, and the
widths of the 90% intervals of log N_opt at the target are compared, and the errors of N_opt. Run with

    python benchmarks/suggest.py [--draws 2] [--workers 1] [--out benchmarks/results/suggest.json]
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SHAPES, SyntheticSweep
from rlscale.analysis.fit.bootstrap import bootstrap
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.suggest import Suggestion, suggest
from rlscale.analysis.statistics.intervals import percentile_interval

BAR = 1.5
REPLICATES = 100
#: (alpha_N, alpha_E, N_c), placed so that the sweep's sizes lie on either side of their optima.
LAWS = ((0.3, 0.5, 1e-3), (0.5, 0.5, 0.1), (0.45, 0.3, 0.3))
SHAPES_USED = ("linear", "sigmoid", "saturating")
SIZES = tuple(4e4 * 2.0 ** np.arange(8))
NOISE = 0.03
#: Of the random draws. The planner's settings were chosen on sweeps of other seeds.
SEED_BASE = 1000


@dataclass(frozen=True)
class Trial:
    """Widths in natural logarithms, errors in decades."""

    alpha_N: float
    alpha_E: float
    shape: str
    draw: int
    identified: bool
    width_before: float
    width_repeated: float
    width_suggested: float
    width_expected: float
    ratio: float
    error_repeated: float
    error_suggested: float
    covered_suggested: bool
    spent_share: float
    num_runs: int


def further_runs(sweep: SyntheticSweep, found: Suggestion, rng: np.random.Generator) -> Curves:
    """The suggested runs, returns on the scale of the sweep's."""
    n = np.concatenate([[run.N] * run.seeds for run in found.runs])
    length = np.concatenate([[run.E] * run.seeds for run in found.runs])
    e = length[:, None] * np.arange(1, sweep.points + 1) / sweep.points
    own_e = sweep.max_interactions * np.arange(1, sweep.points + 1) / sweep.points
    own = np.log(sweep.law.intrinsic(np.array(sweep.sizes)[:, None], own_e))
    z = (np.log(sweep.law.intrinsic(n[:, None], e)) - own.min()) / (own.max() - own.min())
    shape = SHAPES[sweep.shape]
    noise = sweep.noise * np.ptp(shape((own - own.min()) / np.ptp(own)))
    return curves_of(n, e, shape(z) + noise * sweep.ar1_noise(rng, z.shape), "further")


def curves_of(n: np.ndarray, e: np.ndarray, returns: np.ndarray, prefix: str) -> Curves:
    ids = tuple(f"{prefix}-{i}" for i in range(len(n)))
    return Curves(
        run_ids=ids,
        run_sizes=n,
        run_index=np.repeat(np.arange(len(n)), e.shape[1]),
        interactions=e.ravel(),
        returns=returns.ravel(),
        table=pd.DataFrame({"num_params": n}, index=pd.Index(ids, name="run_id")),
        source="synthetic",
    )


def joined(one: Curves, other: Curves) -> Curves:
    return replace(
        one,
        run_ids=one.run_ids + tuple(f"{run_id}+" for run_id in other.run_ids),
        run_sizes=np.concatenate([one.run_sizes, other.run_sizes]),
        run_index=np.concatenate([one.run_index, other.run_index + one.num_runs]),
        interactions=np.concatenate([one.interactions, other.interactions]),
        returns=np.concatenate([one.returns, other.returns]),
        table=pd.concat([one.table, other.table.set_axis([f"{i}+" for i in other.run_ids])]),
    )


def refit(curves: Curves, target: float, seed: int) -> tuple[float, float, float]:
    """N_opt at the target and the ends of its interval."""
    estimator = JointScalingFit(replicates=REPLICATES, seed=seed)
    estimate = estimator.estimate(curves)
    draws = bootstrap(
        curves,
        estimate.preprocessor,
        objective="return",
        theta=estimate.law.theta,
        log_c0=estimate.law.log_c0,
        replicates=REPLICATES,
        rng=np.random.default_rng(seed),
    )
    ends = percentile_interval(np.array([law.N_opt(target) for law in draws.laws(estimate.law.log_c0)]))
    return float(estimate.law.N_opt(target)), float(ends[0]), float(ends[1])


def trial(constants: tuple[float, float, float], shape: str, draw: int) -> Trial:
    alpha_N, alpha_E, N_c = constants
    sweep = SyntheticSweep(
        alpha_N=alpha_N, alpha_E=alpha_E, N_c=N_c, sizes=SIZES, points=60, noise=NOISE, shape=shape
    )
    seed = SEED_BASE + draw
    rng = np.random.default_rng([seed, int(1000 * alpha_N), SHAPES_USED.index(shape)])
    curves = sweep.curves(rng)
    fit = JointScalingFit(replicates=REPLICATES, seed=seed).fit(curves)
    budget = sweep.max_interactions * sum(SIZES) * sweep.seeds
    found = suggest(fit, budget)
    target = found.target_compute
    truth = float(sweep.law.N_opt(target))
    repeated = refit(joined(curves, sweep.curves(rng)), target, seed)
    suggested = refit(joined(curves, further_runs(sweep, found, rng)), target, seed)
    widths = [float(np.log(high / low)) for _, low, high in (repeated, suggested)]
    return Trial(
        alpha_N=alpha_N,
        alpha_E=alpha_E,
        shape=shape,
        draw=draw,
        identified=fit.identified,
        width_before=float(np.log(found.interval_before[1] / found.interval_before[0])),
        width_repeated=widths[0],
        width_suggested=widths[1],
        width_expected=float(np.log(found.interval_after[1] / found.interval_after[0])),
        ratio=widths[0] / widths[1],
        error_repeated=float(abs(np.log10(repeated[0] / truth))),
        error_suggested=float(abs(np.log10(suggested[0] / truth))),
        covered_suggested=suggested[1] <= truth <= suggested[2],
        spent_share=found.spent / budget,
        num_runs=sum(run.seeds for run in found.runs),
    )


def summary(trials: list[Trial]) -> dict[str, Any]:
    ratios = np.array([t.ratio for t in trials])
    expected = np.array([t.width_suggested / t.width_expected for t in trials])
    return {
        "trials": len(trials),
        "median_ratio_repeated_over_suggested": float(np.median(ratios)),
        "quartiles_of_the_ratio": [float(q) for q in np.quantile(ratios, [0.25, 0.75])],
        "share_of_trials_where_suggested_is_narrower": float(np.mean(ratios > 1)),
        "median_measured_over_expected_width": float(np.median(expected)),
        "median_error_decades_repeated": float(np.median([t.error_repeated for t in trials])),
        "median_error_decades_suggested": float(np.median([t.error_suggested for t in trials])),
        "coverage_suggested": float(np.mean([t.covered_suggested for t in trials])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "suggest.json")
    given = parser.parse_args()
    asked = list(product(range(given.draws), LAWS, SHAPES_USED))
    trials = []
    with ProcessPoolExecutor(given.workers) as pool:
        for done in pool.map(trial, *zip(*[(laws, shape, draw) for draw, laws, shape in asked], strict=True)):
            trials.append(done)
            print(
                f"{done.alpha_N:4} {done.alpha_E:4} {done.shape:10} {done.draw} widths: "
                f"before {done.width_before:.2f} repeated {done.width_repeated:.2f} "
                f"suggested {done.width_suggested:.2f} (expected {done.width_expected:.2f}), "
                f"ratio {done.ratio:.2f}, errors {done.error_repeated:.2f} {done.error_suggested:.2f}",
                flush=True,
            )
            write(trials, given.out)  # each time: what a run that is stopped has found stays
    write(trials, given.out)  # once more: workers' CPU time counts when they have ended


def write(trials: list[Trial], out: Path) -> None:
    """Write the trials so far and their summary."""
    result = {
        "what": "width of the 90% interval of log N_opt at 10x the largest compute, for the same compute",
        "bar": BAR,
        **summary(trials),
        "seed_base": SEED_BASE,
        "noise": NOISE,
        "sizes": SIZES,
        "seeds": SyntheticSweep.seeds,
        "replicates": REPLICATES,
        "cpu_seconds": round(sum(os.times()[:4]), 1),
        "rows": [asdict(t) for t in trials],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
