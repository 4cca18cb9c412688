"""Which runs does a fit call unhealthy, and what does that do to the exponent?

Synthetic sweeps of five laws, eight sizes, three seeds and four shapes of the map, in which chosen runs
collapse: from a share of training on they have a part of their return. Reported for each family: how many of
the ill and of the good runs are called ill, and the bias of nu if they are kept, cut or dropped, against the
law that was drawn. Run with

    python benchmarks/health.py [--sweeps 40]      # about 3 s a sweep
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import END, Setting

from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.studies.health.study import fit_with_health

SHAPES = ("linear", "sigmoid", "power", "spline")
#: Which of 24 runs (8 sizes, 3 seeds, sizes ascending) collapse, from which share of training, to which part.
FAMILIES: dict[str, tuple[Callable[[int], bool], float, float]] = {
    "none": (lambda run: False, 1.0, 1.0),
    "one run of the largest size": (lambda run: run == 23, 0.3, 0.2),
    "two of three runs of the three largest sizes": (lambda run: run >= 15 and run % 3 != 0, 0.1, 0.2),
    "two of three runs of the three smallest sizes": (lambda run: run < 9 and run % 3 != 0, 0.1, 0.2),
    "all runs of the largest size": (lambda run: run >= 21, 0.1, 0.2),
    "a third of all, to 60%": (lambda run: run % 3 == 0, 0.3, 0.6),
}
NOISE = 0.03


def outcome(family: str, index: int) -> dict[str, object]:
    """One sweep of a family, fitted with all three treatments."""
    is_ill, share, left = FAMILIES[family]
    rng = np.random.default_rng([7, index, list(FAMILIES).index(family)])
    setting = Setting("", num_sizes=8, options={"shape": SHAPES[index % 4], "noise": NOISE})
    sweep = setting.sweep(index)
    curves = sweep.curves(rng)
    order = np.lexsort((np.arange(curves.num_runs), curves.run_sizes))
    ill = np.array([is_ill(int(place)) for place in np.argsort(order)])
    low = float(curves.returns.min())
    rows = ill[curves.run_index] & (curves.interactions > share * END)
    collapsed = curves.with_returns(np.where(rows, low + left * (curves.returns - low), curves.returns))
    fit = fit_with_health(collapsed, JointScalingFit(replicates=0))[1]
    assert fit.health is not None
    called = {run.run_id for run in fit.health.runs}
    names = np.array(curves.run_ids)
    found = np.isin(names, list(called))
    nus = {how: refit.nu for how, refit in fit.health.refits.items()} or dict.fromkeys(
        ("keep", "cut", "drop"), fit.nu
    )
    return {
        "family": family,
        "ill": int(ill.sum()),
        "ill_seen": int((ill & found).sum()),
        "good": int((~ill).sum()),
        "good_called_ill": int((~ill & found).sum()),
        **{f"bias_{how}": nu - sweep.law.nu for how, nu in nus.items()},
    }


def main() -> None:
    """Draw, fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=40, help="of each family")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/health.json")
    args = parser.parse_args()
    found = pd.DataFrame([outcome(family, index) for index in range(args.sweeps) for family in FAMILIES])
    biases = [name for name in found if name.startswith("bias_")]
    table = found.groupby("family", sort=False).agg(
        sweeps=("ill", "size"),
        **{name: (name, "sum") for name in ("ill", "ill_seen", "good", "good_called_ill")},
        **{name: (name, "median") for name in biases},
        **{f"error_{name.removeprefix('bias_')}": (name, lambda x: x.abs().median()) for name in biases},
    )
    args.out.write_text(json.dumps(table.reset_index().to_dict(orient="records"), indent=1) + "\n")
    print(table.to_string())


if __name__ == "__main__":
    main()
