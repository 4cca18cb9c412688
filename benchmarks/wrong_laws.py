"""Do intervals hold what comes next where the law is only nearly true? Simulated sweeps, wrong in known ways.

Each setting draws sweeps of five laws (nu of 0.42 to 0.63), 8 sizes of 3 seeds, 3% noise, and breaks the law:
whole sizes shifted in log I, a frontier that bends, a map that levels off, nu that falls during training as
in data/mnist_width. From each sweep the top third of the frontier's decades of compute and the largest size
are held out in turn. Reported: how many held-out returns lie in their 90% intervals, the error beside copying
the next size, and how often the interval of nu holds the truth where there is one. Run with

    python benchmarks/wrong_laws.py [--sweeps 200] [--seconds 240] [--settings NAME ...] [--parts compute ...]

Each of the three parts of a sweep takes about two seconds of one core. What is already in the output file is
not drawn again, so the study can be run bit by bit: ``--seconds`` ends a bit. To choose between methods, draw
other sweeps than those that are reported: ``--first 1000 --out FILE``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from calibration import END, LAWS

from rlscale.analysis.curves.synthetic import Shape, SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.studies.backtest.splits import default_splits
from rlscale.analysis.studies.backtest.study import backtest
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import RlscaleError

REPLICATES = 40
#: What is measured of a sweep: rows above a compute or the largest size held out, or nu by the whole of it.
Part = Literal["compute", "sizes", "nu"]
POSITION = 0.75  # from the smallest to the largest size in log N: the size that is optimal at the end
BARS = {"returns_mean": (0.85, 0.95), "returns_least": 0.75, "nu_with_size_effects": (0.86, 0.95)}


@dataclass(frozen=True)
class WrongSweep(SyntheticSweep):
    """A sweep whose law bends.

    Attributes:
        bend: curvature of log N as it enters the law, so that the frontier is no power law.
        drift: curvature of log E, downwards, so that alpha_E and with it nu fall during training.
    """

    bend: float = 0.0
    drift: float = 0.0

    def log_intrinsic(self, log_n: np.ndarray, log_e: np.ndarray) -> np.ndarray:
        n, e = np.asarray(log_n, float), np.asarray(log_e, float)
        middle = float(np.mean(np.log(self.sizes)))
        late = e - np.log(END / np.sqrt(128))
        return self.law.log_intrinsic(n + self.bend * (n - middle) ** 2, e - self.drift * late**2)


@dataclass(frozen=True)
class Setting:
    """One way of being wrong; ``has_nu`` where the exponent is still that of the law."""

    name: str
    shape: Shape = "linear"
    size_effect: float = 0.0
    bend: float = 0.0
    drift: float = 0.0
    has_nu: bool = True

    def sweep(self, alpha_N: float, alpha_E: float) -> WrongSweep:
        k = alpha_N + alpha_E
        sizes = 1e5 * 2.0 ** (np.arange(8) - 3.5)
        log_n = np.log(sizes[0]) + POSITION * np.log(sizes[-1] / sizes[0])
        law = PowerLaw(alpha_E / k, k, log_n, log_n + np.log(END))
        return WrongSweep(
            alpha_N=alpha_N,
            alpha_E=alpha_E,
            N_c=law.N_c,
            sizes=tuple(sizes),
            max_interactions=END,
            points=32,
            first_interactions=END / 128,
            shape=self.shape,
            noise=0.03,
            size_effect=self.size_effect,
            bend=self.bend,
            drift=self.drift,
        )


SETTINGS = (
    Setting("the law holds"),
    Setting("size effects 0.2", size_effect=0.2),
    Setting("size effects 0.4", size_effect=0.4),
    Setting("bent frontier", bend=0.08, has_nu=False),
    Setting("returns level off", shape="saturating"),
    Setting("nu falls during training", shape="saturating", drift=0.12, has_nu=False),
)


def measure(setting: Setting, index: int, part: Part) -> dict[str, Any]:
    """One part of one sweep."""
    truth = setting.sweep(*LAWS[index % len(LAWS)])
    row: dict[str, Any] = {"setting": setting.name, "index": index, "part": part}
    curves = truth.curves(np.random.default_rng([SETTINGS.index(setting), index]))
    estimator = JointScalingFit(replicates=REPLICATES, check_replicates=0, seed=index)
    try:
        if part == "nu":
            fit = estimator.fit(curves)
            low, high = fit.intervals["nu"]
            sigma = None if fit.size_effect is None else fit.size_effect.sigma
            return {**row, "true": truth.law.nu, "found": fit.nu, "low": low, "high": high, "sigma": sigma}
        splits = [split for split in default_splits(curves, estimator) if split.kind == part]
        (found,) = backtest(curves, splits, estimator).splits
    except RlscaleError as error:
        return {**row, "error": str(error)}
    points = found.points
    width = np.average(np.asarray(points.high) - points.low, weights=points.weight)
    return {
        **row,
        "coverage": found.returns.coverage,
        "width": float(width / np.ptp(curves.returns)),
        "errors": {score.name: score.mean_absolute for score in found.predictors},
        "beyond_map": found.beyond_map_share,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one setting."""
    found: dict[str, Any] = {}
    for part in get_args(Part):
        mine = [row for row in rows if row["part"] == part]
        done = [row for row in mine if "error" not in row]
        if done:
            counted = {"sweeps": len(mine), "failed": len(mine) - len(done)}
            found[part] = {**counted, **(of_nu(done) if part == "nu" else of_returns(done))}
    return found


def of_returns(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of held-out returns."""
    coverage = np.array([row["coverage"] for row in rows])
    errors = {name: np.array([row["errors"][name] for row in rows]) for name in rows[0]["errors"]}
    over_copying = errors["neighbour"] / errors["copying"]
    return {
        "coverage": float(coverage.mean()),
        "coverage_standard_error": float(coverage.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 1.0,
        "width": float(np.mean([row["width"] for row in rows])),
        "error_over_copying": float(np.median(over_copying)),
        "worse_than_copying": float(np.mean(over_copying > 1.05)),
        "error_over_law": float(np.median(errors["neighbour"] / errors["lemma"])),
    }


def of_nu(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of the exponent."""
    return {
        "coverage": float(np.mean([row["low"] <= row["true"] <= row["high"] for row in rows])),
        "width": float(np.mean([row["high"] - row["low"] for row in rows])),
        "sigma": float(np.median([row["sigma"] for row in rows])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=np.inf, help="draw no further sweep after these")
    parser.add_argument("--first", type=int, default=0, help="number of the first sweep")
    parser.add_argument("--parts", nargs="*", default=get_args(Part), choices=get_args(Part))
    parser.add_argument("--settings", nargs="*", default=[setting.name for setting in SETTINGS])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "wrong_laws.json")
    options = parser.parse_args()
    draws = options.out.with_suffix(".jsonl")  # every sweep, kept while the study runs
    rows = [json.loads(line) for line in draws.read_text().splitlines()] if draws.exists() else []
    there = {(row["setting"], row["index"], row["part"]) for row in rows}
    chosen = [setting for setting in SETTINGS if setting.name in options.settings]
    # All settings advance together, so that a study cut short is about all of them.
    tasks = [
        (setting, index, part)
        for index in range(options.first, options.first + options.sweeps)
        for setting in chosen
        for part in options.parts
        if (setting.has_nu or part != "nu") and (setting.name, index, part) not in there
    ]
    start = time.monotonic()
    with draws.open("a") as kept:
        for task in tasks:
            if time.monotonic() - start > options.seconds:
                break
            rows.append(measure(*task))
            kept.write(json.dumps(rows[-1]) + "\n")
            kept.flush()
    figures = {}
    for setting in SETTINGS:
        figures[setting.name] = summary([row for row in rows if row["setting"] == setting.name])
        show(setting.name, figures[setting.name])
    result = {"bars": BARS, "replicates": REPLICATES, "laws": LAWS, "settings": figures}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def show(name: str, figures: dict[str, Any]) -> None:
    print(f"{name:26}", end="")
    for part, found in figures.items():
        print(f" | {part} of {found['sweeps']}: {found['coverage']:.2f} (width {found['width']:.2f})", end="")
        if part != "nu":
            ratio, worse = found["error_over_copying"], found["worse_than_copying"]
            print(f", over copying {ratio:.2f}, worse {worse:.2f}", end="")
    print()


if __name__ == "__main__":
    main()
