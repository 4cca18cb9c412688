"""Does a fit see that learning sets in gradually, and does it leave good sweeps alone?

Sweeps of five laws, four shapes of the map, three levels of noise, five spacings of rows and 6 to 8 sizes,
all drawn at random; three of five have no ramp, the others one that ends at 3% or at 10% of training.
Reported for each ramp and spacing: how many fits call the start gradual, and the bias of nu. Run with

    python benchmarks/gradual_starts.py [--sweeps 300] [--seed 3]      # about 2 s a sweep
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import END, EVEN_ROWS, SPARSE_ROWS, Setting

from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.late_start import gradual_check
from rlscale.analysis.points.preprocess import Preprocessor

ROWS = {
    "1,000 even": EVEN_ROWS,
    "100 even": {"points": 100, "first_interactions": None},
    "30 even": {"points": 30, "first_interactions": None},
    "48 even in log E": {"points": 48, "first_interactions": END / 128},
    "30 even in log E": SPARSE_ROWS,
}
SHAPES = ("linear", "sigmoid", "power", "spline")
NOISES = (0.005, 0.01, 0.03)
RAMPS = (0.0, 0.0, 0.0, 0.03, 0.1)


def outcome(index: int, seed: int) -> dict[str, object]:
    """One sweep, fitted."""
    rng = np.random.default_rng([seed, index])
    spacing = list(ROWS)[index % len(ROWS)]
    ramp = float(rng.choice(RAMPS))
    options = {"shape": str(rng.choice(SHAPES)), "noise": float(rng.choice(NOISES)), "ramp": ramp}
    setting = Setting("", num_sizes=int(rng.integers(6, 9)), options={**options, **ROWS[spacing]})
    sweep = setting.sweep(int(rng.integers(5)))
    curves = sweep.curves(rng)
    estimate = JointScalingFit(replicates=0, check_replicates=0).estimate(curves)
    gated = bool(estimate.law.delay)
    everything = Preprocessor(curves, early_exclusion=0.0, rows=estimate.preprocessor.rows)
    check = None if gated else gradual_check(estimate.law, estimate.points, everything.points(smooth=False))
    return {
        **options,
        "rows": spacing,
        "bias": estimate.law.nu - sweep.law.nu,
        "gated": gated,
        "gain": check and check.gain,
        "gain_all_rows": check and check.gain_all_rows,
        "seen": check is not None and check.seen,
    }


def main() -> None:
    """Draw, fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/gradual_starts.json")
    args = parser.parse_args()
    print(
        write(pd.DataFrame([outcome(index, args.seed) for index in range(args.sweeps)]), args.seed, args.out)
    )


def write(found: pd.DataFrame, seed: int, out: Path) -> pd.DataFrame:
    """The table of the outcomes, also written as JSON."""
    columns = {"sweeps": ("seen", "size"), "seen": ("seen", "sum"), "gated": ("gated", "sum")}
    table = found.groupby(["ramp", "rows"]).agg(**columns, bias=("bias", "mean"))
    rows = table.reset_index().to_dict(orient="records")
    out.write_text(json.dumps({"seed": seed, "rows": rows}, indent=1) + "\n")
    found.to_json(out.with_suffix(".jsonl"), orient="records", lines=True)  # every sweep
    return table


if __name__ == "__main__":
    main()
