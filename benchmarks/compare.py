"""Is the better of two recipes named, and are the intervals honest? Synthetic pairs of known multipliers.

Each pair has two sweeps of 8 sizes and 5 seeds with autocorrelated noise of 5% of the range of returns, and
one map between return and compute; five laws (those of calibration.py) and four shapes of the map take turns.
In the first settings recipe A takes 1, 1.3 or 2 times the compute of recipe B at every return; in the last
its exponent of experience is lower, so that A is better with little compute and B with much. Run with

    python benchmarks/compare.py [--pairs 200] [--seconds 240]

A second a pair. Pairs already in the output file are not drawn again; with --seconds it stops in time and
goes on when run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from calibration import END, LAWS
from calibration import Setting as Design

from rlscale.analysis.curves.synthetic import SyntheticPair
from rlscale.analysis.studies.compare.result import Comparison
from rlscale.analysis.studies.compare.study import CompareRecipes
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import RlscaleError

SHAPES = ("linear", "sigmoid", "steps", "spline")
REPLICATES = 200
BARS = {"coverage": (0.86, 0.95), "right": 0.90, "false_alarms": 0.05}


@dataclass(frozen=True)
class Setting:
    """One relation between two recipes.

    Attributes:
        factor: C_A/C_B, at the middle of compute if it is not the same everywhere.
        slower: factor on recipe A's alpha_E.
    """

    name: str
    factor: float = 1.0
    slower: float = 1.0
    seeds: int = 5
    noise: float = 0.05

    def pair(self, index: int) -> SyntheticPair:
        alpha_N, alpha_E = LAWS[index % len(LAWS)]
        options = {"shape": SHAPES[index % len(SHAPES)], "noise": self.noise, "seeds": self.seeds}
        sweep = Design("", options=options).sweep(index)
        pivot = float(np.sqrt(sweep.sizes[0] * sweep.sizes[-1]) * END / 10)
        beta = sweep.law.beta
        slower = PowerLaw.from_constants(alpha_N, alpha_E * self.slower, 1.0).beta
        return SyntheticPair(
            sweep, factor=self.factor, growth=beta / slower - 1, alpha_E=alpha_E * self.slower, pivot=pivot
        )


SETTINGS = (
    Setting("the same"),
    Setting("1.3 times", factor=1.3),
    Setting("2 times", factor=2.0),
    Setting("other exponents", slower=0.8),
)


def measure(setting: Setting, index: int) -> dict[str, Any]:
    """One pair, drawn and compared."""
    truth = setting.pair(index)
    row: dict[str, Any] = {"setting": setting.name, "index": index}
    a, b = truth.curves(np.random.default_rng([SETTINGS.index(setting), index]))
    start = time.perf_counter()
    try:
        found = CompareRecipes(replicates=REPLICATES, seed=index).fit(a, b)
    except RlscaleError as error:
        return {**row, "error": str(error)}
    curve = found.curve
    at = [0, len(curve.multiplier) // 2, len(curve.multiplier) - 1]
    log_b = np.log(curve.compute_b[at])
    known = np.exp(np.log(truth.factor) + truth.growth * (log_b - np.log(truth.pivot)))
    return {
        **row,
        "seconds": time.perf_counter() - start,
        "true": known.tolist(),
        "found": curve.multiplier[at].tolist(),
        "low": curve.low[at].tolist(),
        "high": curve.high[at].tolist(),
        "total": found.interval_total,
        "true_per_decade": 10**truth.growth,
        **_parts(found),
    }


def _parts(found: Comparison) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "p_value": found.p_value,
        "model": found.model,
        "p_models": {one.name: one.p_value for one in found.models},
        "per_decade": found.growth.per_decade,
        "per_decade_interval": found.growth.interval,
        "p_growth": found.growth.p_value,
        "crossing": found.crossing.where,
        "smallest_factor": found.power.smallest_factor if found.power else None,
        "codes": found.warning_codes,
    }


def summary(setting: Setting, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one setting."""
    done = [row for row in rows if "error" not in row]
    true, found, low, high = (
        np.array([row[name] for row in done]) for name in ("true", "found", "low", "high")
    )
    held = ((low <= true) & (true <= high)).mean(axis=0)
    errors = np.log(found / true)[:, 1]
    growth = np.array([row["per_decade_interval"] for row in done])
    real = np.array([row["true_per_decade"] for row in done])
    verdicts = [row["verdict"] for row in done]
    return {
        "pairs": len(rows),
        "failed": len(rows) - len(done),
        "bias": float(errors.mean()),
        "spread": float(errors.std()),
        "coverage_middle": float(held[1]),
        "coverage_ends": [float(held[0]), float(held[2])],
        "coverage_growth": float(((growth[:, 0] <= real) & (real <= growth[:, 1])).mean()),
        "verdicts": {name: verdicts.count(name) / len(done) for name in sorted(set(verdicts))},
        "models": {
            name: sum(row["model"] == name for row in done) / len(done) for name in done[0]["p_models"]
        },
        "growth_seen": float(np.mean([row["p_growth"] < 0.05 and row["per_decade"] > 1 for row in done])),
        "width": float(np.median(np.log(high / low)[:, 1])),
        "smallest_factor": float(np.median([row["smallest_factor"] for row in done])),
        "seconds": float(np.median([row["seconds"] for row in done])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="index of the first pair")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "compare.json")
    options = parser.parse_args()
    pairs = options.out.with_suffix(".jsonl")  # every pair, kept while the study runs
    rows = [json.loads(line) for line in pairs.read_text().splitlines()] if pairs.exists() else []
    there = {(row["setting"], row["index"]) for row in rows}
    end = time.monotonic() + options.seconds
    with pairs.open("a") as kept:
        # All settings advance together, so that a study cut short is about all of them.
        for index, setting in itertools.product(range(options.first, options.pairs), SETTINGS):
            if (setting.name, index) not in there and time.monotonic() < end:
                rows.append(measure(setting, index))
                kept.write(json.dumps(rows[-1]) + "\n")
                kept.flush()
    figures = {s.name: summary(s, [row for row in rows if row["setting"] == s.name]) for s in SETTINGS}
    for name, figure in figures.items():
        print(name, json.dumps(figure, indent=1))
    result = {"bars": BARS, "replicates": REPLICATES, "laws": LAWS, "shapes": SHAPES, "settings": figures}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
