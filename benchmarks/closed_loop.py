"""Does a closed loop measure N_opt as well as a full grid, for a fraction of its compute? On simulated laws.

For each law, map and draw a grid of known law is drawn and fitted: all sizes and seeds, each trained equally
long. A closed loop may choose among the same sizes, and spends a share of the grid's compute in rounds
(``rlscale.analysis.forecast.rounds``). Both are asked for N_opt at ten times the compute of the grid's
largest run. A run's noise depends on its size and seed alone, so a run that goes on is the run that it was.

    python benchmarks/closed_loop.py [--draws 11] [--share 0.15] [--out benchmarks/results/closed_loop.json]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SHAPES, SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.design import Group
from rlscale.analysis.forecast.rounds import Bounds, Round, first_round, longer_round, next_round
from rlscale.analysis.forecast.sizes import optimal_size
from rlscale.scaling.errors import RlscaleError

#: (alpha_N, alpha_E, N_c), placed so that the grid's sizes lie on either side of their optima.
LAWS = ((0.3, 0.5, 1e-3), (0.5, 0.5, 0.1), (0.45, 0.3, 0.3))
SHAPES_USED = ("linear", "sigmoid", "saturating")
SIZES = tuple(4e4 * 2.0 ** np.arange(8))
SEEDS, LENGTH = 3, 1e8  # of the grid
MOST_SEEDS, SHORTEST, LONGEST = 5, 1e5, 1e9  # of the loop
NOISE = 0.03
ROWS_PER_DECADE = 25
FIRST_ROW = 1e4
REPLICATES = 100
#: Of the random draws. The planner's settings were chosen on draw 0.
FIRST_DRAW = 1


@dataclass(frozen=True)
class Laboratory:
    """Runs of a known law, of any size, seed and length."""

    sweep: SyntheticSweep
    seed: int

    def curves(self, groups: Sequence[Group]) -> Curves:
        """All runs of the groups, with rows evenly spaced in log E."""
        decades = np.log10(LONGEST / FIRST_ROW)
        e = np.geomspace(FIRST_ROW, LONGEST, round(ROWS_PER_DECADE * decades) + 1)
        runs = [(group, seed) for group in groups for seed in range(group.seeds)]
        returns = [self._returns(group.size, seed, e) for group, seed in runs]
        kept = [e <= group.length * (1 + 1e-9) for group, _ in runs]
        ids = tuple(f"{group.size:.0f}-{seed}" for group, seed in runs)
        sizes = np.array([group.size for group, _ in runs])
        table = {"num_params": sizes, "seed": [seed for _, seed in runs]}
        return Curves(
            run_ids=ids,
            run_sizes=sizes,
            run_index=np.repeat(np.arange(len(runs)), [mine.sum() for mine in kept]),
            interactions=np.concatenate([e[mine] for mine in kept]),
            returns=np.concatenate([y[mine] for y, mine in zip(returns, kept, strict=True)]),
            table=pd.DataFrame(table, index=pd.Index(ids, name="run_id")),
            source="simulated",
        )

    def _returns(self, size: float, seed: int, e: np.ndarray) -> np.ndarray:
        law = self.sweep.law
        low, high = np.log(law.intrinsic(np.array([SIZES[0], SIZES[-1]]), np.array([LENGTH / 64, LENGTH])))
        z = (np.log(law.intrinsic(size, e)) - low) / (high - low)
        noise = self.sweep.ar1_noise(np.random.default_rng([self.seed, int(size), seed]), (1, len(e)))[0]
        return SHAPES[self.sweep.shape](z) + NOISE * noise


@dataclass(frozen=True)
class Answer:
    """N_opt as one design finds it: widths of its 90% intervals and its error, in natural logarithms."""

    compute: float
    runs: int
    width: float
    width_total: float
    covered: bool
    covered_total: bool
    error: float
    identified: bool

    @classmethod
    def of(cls, fit: FitResult, groups: Sequence[Group], target: float, truth: float) -> Answer:
        found = optimal_size(fit, target)
        plain, total = found.intervals["N_opt"], found.intervals_total["N_opt"]
        return cls(
            compute=spent(groups),
            runs=sum(group.seeds for group in groups),
            width=_width(plain),
            width_total=_width(total),
            covered=plain[0] <= truth <= plain[1],
            covered_total=total[0] <= truth <= total[1],
            error=float(np.log(found.N_opt / truth)),
            identified=fit.identified,
        )


@dataclass(frozen=True)
class Trial:
    """The grid, and the loop after each of its rounds that a law could be fitted to."""

    alpha_N: float
    alpha_E: float
    shape: str
    draw: int
    grid: Answer
    loop: Answer
    rounds: list[Answer]
    sizes: list[tuple[float, float, int]]


def _width(interval: tuple[float, float]) -> float:
    return float(np.log(interval[1] / interval[0]))


def spent(groups: Sequence[Group]) -> float:
    """N·E of all runs."""
    return sum(group.compute for group in groups)


def fitted(lab: Laboratory, groups: Sequence[Group]) -> FitResult:
    return JointScalingFit(replicates=REPLICATES, check_replicates=20).fit(lab.curves(groups))


def rounds_of(lab: Laboratory, bounds: Bounds, target: float, truth: float) -> tuple[list[Answer], Round]:
    """What the loop knows after each round, and the last round."""
    found: list[Answer] = []
    last = planned = first_round(bounds)
    while planned is not None:
        last = planned
        try:
            fit = fitted(lab, last.groups)
        except RlscaleError as error:
            planned = longer_round(last.groups, bounds, str(error))
            continue
        found.append(Answer.of(fit, last.groups, target, truth))
        planned = next_round(fit, last.groups, bounds, target)
    return found, last


def trial(constants: tuple[float, float, float], shape: Any, draw: int, share: float) -> Trial:
    alpha_N, alpha_E, N_c = constants
    sweep = SyntheticSweep(alpha_N=alpha_N, alpha_E=alpha_E, N_c=N_c, shape=shape, noise=NOISE)
    seed = 1000 * draw + int(100 * alpha_N) + SHAPES_USED.index(shape)
    grid = [Group(n, LENGTH, SEEDS) for n in SIZES]
    target = 10 * SIZES[-1] * LENGTH
    truth = float(sweep.law.N_opt(target))
    full = Answer.of(fitted(Laboratory(sweep, seed), grid), grid, target, truth)
    bounds = Bounds(SIZES, SIZES, SHORTEST, LONGEST, 1, MOST_SEEDS, share * spent(grid))
    answers, last = rounds_of(Laboratory(sweep, seed + 500), bounds, target, truth)
    sizes = [(group.size, group.length, group.seeds) for group in last.groups]
    return Trial(alpha_N, alpha_E, shape, draw, full, answers[-1], answers, sizes)


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    ratio = np.array([t.loop.width / t.grid.width for t in trials])
    total = np.array([t.loop.width_total / t.grid.width_total for t in trials])
    result: dict[str, Any] = {
        "trials": len(trials),
        "median_width_loop_over_grid": float(np.median(ratio)),
        "quartiles_of_the_ratio": [float(q) for q in np.quantile(ratio, [0.25, 0.75])],
        "median_total_width_loop_over_grid": float(np.median(total)),
        "median_compute_loop_over_grid": float(np.median([t.loop.compute / t.grid.compute for t in trials])),
    }
    for name in ("grid", "loop"):
        answers = [getattr(t, name) for t in trials]
        result[name] = {
            "coverage": float(np.mean([a.covered for a in answers])),
            "coverage_total": float(np.mean([a.covered_total for a in answers])),
            "identified": float(np.mean([a.identified for a in answers])),
            "median_width": float(np.median([a.width for a in answers])),
            "median_absolute_error": float(np.median([abs(a.error) for a in answers])),
            "rms_error": float(np.sqrt(np.mean([a.error**2 for a in answers]))),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=11)
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "closed_loop.json")
    given = parser.parse_args()
    trials = []
    for draw, law, shape in product(range(FIRST_DRAW, FIRST_DRAW + given.draws), LAWS, SHAPES_USED):
        found = trial(law, shape, draw, given.share)
        trials.append(found)
        print(
            f"{law[0]:4} {law[1]:4} {shape:10} {draw}: widths {found.grid.width:.2f} {found.loop.width:.2f}, "
            f"errors {found.grid.error:+.2f} {found.loop.error:+.2f}, "
            f"compute {found.loop.compute / found.grid.compute:.3f} in {len(found.rounds)} rounds",
            flush=True,
        )
        write(trials, given.share, given.out)  # each time: what a run that is stopped has found stays


def write(trials: Sequence[Trial], share: float, out: Path) -> None:
    """Write the trials so far and their summary."""
    result = {
        "what": "90% interval of log N_opt at 10x the compute of the grid's largest run",
        "bar": {"median_width_loop_over_grid": 1.0, "share": 0.15, "coverage": [0.86, 0.95]},
        "share": share,
        **summary(trials),
        "noise": NOISE,
        "sizes": SIZES,
        "replicates": REPLICATES,
        "cpu_seconds": round(sum(os.times()[:4]), 1),
        "rows": [asdict(t) for t in trials],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
