"""Does the fit find a law that is known? RL perceptrons of many sizes, beside their equations.

Students of dimension D see the first D inputs of a teacher with 4,096 (analysis/studies/solvable/
perceptron_family.py): a reinforcement-learning task whose compute-optimal size follows from its equations.
Four questions, on the simulated sweeps of data/rl_perceptron and on curves drawn from the equations:

1. Do simulated runs follow the equations, and does `rlscale fit` find their exponents and sizes?
2. Which part of a miss is the fit's own? The same design, drawn from the equations, with two starts.
3. What if the law's form is wrong (k = 1/4, 3/4), and if there is no frontier (each D with its own teacher)?
4. Does `rlscale horizon` find what T does?

    python benchmarks/perceptron_standard.py [--replicates 200] [--figures FOLDER]

A few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rlscale.analysis.curves.load import load_by_horizon, load_curves
from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.solvable.perceptron_family import family_figure, horizon_figure
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.studies.horizon.study import fit_horizons, study_horizons
from rlscale.analysis.studies.solvable.perceptron_family import StudentFamily
from rlscale.analysis.studies.solvable.perceptron_recovery import (
    agreement,
    crossing_times,
    curves_of_equations,
    local_nu,
    recovered_exponents,
    recovered_sizes,
)

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data" / "rl_perceptron"
TEACHER, SHOWN_SIZE = 4096, 128
FAMILY = StudentFamily(TEACHER, 0.5)
#: The study of horizons takes the first crossing of a level, which before this E can be one of noise.
FIRST = 200
INNER = 3.0  # of the range of compute on either side: where nu is compared


def found_nu(fit: FitResult, family: StudentFamily) -> dict[str, Any]:
    """nu of the law and of the parabolas without a law, beside that of the equations in this range."""
    low, high = fit.range.C
    return {
        "nu_of_equations": local_nu(family, (low * INNER, high / INNER)),
        "nu": fit.nu,
        "interval": fit.intervals["nu"],
        "identified": fit.identified,
        "parabolas": fit.isoflop.nu if fit.isoflop else None,
        "parabolas_interval": fit.isoflop.nu_interval if fit.isoflop else None,
        "warning_codes": fit.warning_codes,
    }


def simulated(estimator: JointScalingFit, figures: Path | None) -> dict[str, Any]:
    """Question 1."""
    curves = load_curves(str(DATA / "curves.parquet"))
    fit = estimator.fit(curves)
    if figures:
        write_figure(family_figure(curves, fit, FAMILY), figures / "family.png")
    computes = np.geomspace(fit.range.C[0] * INNER, fit.range.C[1] / INNER, 3)
    return {
        "runs": curves.num_runs,
        "agreement": [each.model_dump() for each in agreement(curves, FAMILY)],
        "exponents": [each.model_dump() for each in recovered_exponents(fit, FAMILY.law())],
        "sizes": [each.model_dump() for each in recovered_sizes(fit, FAMILY, computes.tolist())],
        **found_nu(fit, FAMILY),
    }


def drawn(estimator: JointScalingFit, family_of: Callable[[int], StudentFamily]) -> FitResult:
    """The fit of curves drawn from the equations, in the design of the sweep."""
    spec = yaml.safe_load((DATA / "spec.yaml").read_text())
    sizes, seeds = spec["axes"]
    curves = curves_of_equations(
        family_of,
        dict(zip(sizes["perceptron.dimension"], sizes["interactions"], strict=True)),
        seeds=len(seeds["seed"]),
        students=spec["base"]["perceptron"]["students"],
        rows_per_decade=spec["base"]["rows_per_decade"],
        rng=np.random.default_rng(0),
    )
    return estimator.fit(curves)


def from_equations(estimator: JointScalingFit) -> dict[str, Any]:
    """Questions 2 and 3."""
    found: dict[str, Any] = {}
    for rho0 in (0.1, 0.001):
        fit = drawn(estimator, lambda _, rho0=rho0: StudentFamily(TEACHER, 0.5, rho0=rho0))
        exponents = recovered_exponents(fit, FAMILY.law())
        found[f"k=0.5, rho0={rho0:g}"] = {
            "exponents": [each.model_dump() for each in exponents],
            **found_nu(fit, FAMILY),
        }
    for power in (0.25, 0.75):
        family = StudentFamily(TEACHER, power)
        found[f"k={power:g}"] = found_nu(drawn(estimator, lambda _, family=family: family), family)
    own = drawn(estimator, lambda dimension: StudentFamily(dimension, 1.0))
    found["own teachers"] = {
        "nu": own.nu,
        "interval": own.intervals["nu"],
        "identified": own.identified,
        "warning_codes": own.warning_codes,
    }
    return found


def horizons(estimator: JointScalingFit, figures: Path | None) -> dict[str, Any]:
    """Question 4."""
    by_horizon = {
        horizon: curves.with_rows(curves.interactions >= FIRST)
        for horizon, curves in load_by_horizon(str(DATA / "horizon.parquet")).items()
    }
    families = {horizon: StudentFamily(TEACHER, 0.5, int(horizon)) for horizon in by_horizon}
    fits = fit_horizons(by_horizon, estimator)
    study = study_horizons(by_horizon, fits)
    measured = [
        (level.level, each.N, each.horizon, each.interactions)
        for level in study.levels
        for each in level.crossings
        if each.N is not None
    ]
    times = crossing_times(measured, families)
    if figures:
        write_figure(horizon_figure(times, families, SHOWN_SIZE), figures / "horizon.png")
    first = min(families)
    ratios = np.array([each.measured / each.exact for each in times])
    return {
        "nu": {f"{h:g}": {**found_nu(fit, families[h]), "runs": fit.num_runs} for h, fit in fits.items()},
        "crossings": len(times),
        "measured_over_exact": {"median": float(np.median(ratios)), "range": [ratios.min(), ratios.max()]},
        "common": [
            {"level": level.level, "kappa": c.kappa, "power": c.power, "affine_p": c.affine_p}
            for level in study.levels
            if (c := level.common) is not None
        ],
        "N_opt_over_first": [
            {
                "horizon": shift.horizon,
                "compute": study.compute,
                "equations": families[shift.horizon].N_opt(study.compute)
                / families[first].N_opt(study.compute),
                "measured": shift.ratio,
                "intervals": shift.intervals,
                "predicted_from_fixed_sizes": shift.predicted,
            }
            for shift in study.shifts
        ],
        "warning_codes": study.warning_codes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--figures", type=Path, default=None)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "perceptron_standard.json"
    )
    asked = parser.parse_args()
    estimator = JointScalingFit(replicates=asked.replicates)
    found = {
        "replicates": asked.replicates,
        "simulated": simulated(estimator, asked.figures),
        "from_equations": from_equations(estimator),
        "horizons": horizons(estimator, asked.figures),
    }
    text = json.dumps(found, indent=1)
    asked.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
