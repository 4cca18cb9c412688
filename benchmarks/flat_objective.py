"""Is a flat objective seen where it is flat, and only there? Synthetic sweeps with known laws.

The settings of ``calibration.py`` with an optimum among the sizes, and designs of which the curves tell
little: sizes that are few or close, a short range of experience, one side of the optimum only, and curves
without noise but with few rows. Reported for each: how often ``flat_objective`` speaks, how many sweeps count
as identified without it and with it, in how many of these the 90% interval of nu misses the truth, and how
far the flat stretch reaches beyond that interval. Run with

    python benchmarks/flat_objective.py [--sweeps 7] [--seconds 240] [--kinds good flat]

About two seconds of one core a sweep. Sweeps already in the file of draws are not drawn again, so the study
can be run bit by bit: ``--seconds`` ends a bit.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from calibration import END, REPLICATES, SETTINGS, Setting

from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.scaling.errors import RlscaleError

BARS = {"good_flat": 0.05}
_NOISY = {"shape": "linear", "noise": 0.03}
_EXACT = {"shape": "linear", "noise": 0.0, "seeds": 1}
GOOD = tuple(
    replace(setting, kind="good")
    for setting in SETTINGS
    if setting.kind == "covered" and "late_start" not in setting.options
)
FLAT = (
    Setting("3 sizes within 0.2 decades", "flat", num_sizes=3, spacing=1.26, options=_NOISY),
    Setting("4 sizes within 0.3 decades", "flat", num_sizes=4, spacing=1.26, options=_NOISY),
    Setting("6 sizes within 0.5 decades", "flat", num_sizes=6, spacing=1.26, options=_NOISY),
    Setting(
        "8 sizes, a third of a decade of experience",
        "flat",
        early_exclusion=0.5,
        options={**_NOISY, "first_interactions": END / 8},
    ),
    Setting(
        "one decade of sizes and of experience",
        "flat",
        num_sizes=6,
        spacing=10**0.2,
        early_exclusion=0.1,
        options=_NOISY,
    ),
    Setting("size limits all", "flat", position=1.6, options=_NOISY),
    Setting("experience limits all", "flat", position=-0.35, options=_NOISY),
    Setting("no noise, 3 sizes, 6 rows", "flat", num_sizes=3, options={**_EXACT, "points": 6}),
    Setting("no noise, 4 sizes, 5 rows", "flat", num_sizes=4, spacing=4.0, options={**_EXACT, "points": 5}),
)


def measure(setting: Setting, index: int) -> dict[str, Any]:
    """One sweep, drawn and fitted."""
    truth = setting.sweep(index)
    row: dict[str, Any] = {"setting": setting.name, "index": index}
    curves = truth.curves(np.random.default_rng([*setting.name.encode(), index]))
    estimator = JointScalingFit(
        early_exclusion=setting.early_exclusion, replicates=REPLICATES, check_replicates=20, seed=index
    )
    try:
        fit = estimator.fit(curves)
    except RlscaleError as error:
        return {**row, "error": str(error)}
    profile = fit.profile
    assert profile is not None
    return {
        **row,
        "truth": truth.law.nu,
        "nu": fit.nu,
        "interval": fit.intervals["nu"],
        "total": fit.intervals_total["nu"],
        "flat": profile.flat,
        "codes": fit.warning_codes,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of some sweeps."""
    done = [row for row in rows if "error" not in row]
    before = [row for row in done if NOT_IDENTIFIED.isdisjoint(set(row["codes"]) - {"flat_objective"})]
    after = [row for row in before if "flat_objective" not in row["codes"]]

    def missed(some: list[dict[str, Any]], kind: str) -> int:
        return sum(not row[kind][0] <= row["truth"] <= row[kind][1] for row in some)

    beyond = [
        max(row["interval"][0] - row["flat"][0], row["flat"][1] - row["interval"][1], 0.0) for row in done
    ]
    return {
        "sweeps": len(rows),
        "not_fitted": len(rows) - len(done),
        "flat": sum("flat_objective" in row["codes"] for row in done),
        "identified_before": len(before),
        "missed_before": missed(before, "interval"),
        "identified": len(after),
        "missed": missed(after, "interval"),
        "total_missed_if_flat": missed([row for row in done if "flat_objective" in row["codes"]], "total"),
        "median_beyond": float(np.median(beyond)) if beyond else None,
        "most_beyond": max(beyond, default=None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end early after so many")
    parser.add_argument("--kinds", nargs="*", default=["good", "flat"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "flat_objective.json")
    options = parser.parse_args()
    draws = options.out.with_suffix(".jsonl")  # every sweep, kept while the study runs
    rows = [json.loads(line) for line in draws.read_text().splitlines()] if draws.exists() else []
    there = {(row["setting"], row["index"]) for row in rows}
    chosen = [setting for setting in (*GOOD, *FLAT) if setting.kind in options.kinds]
    end = time.monotonic() + options.seconds
    with draws.open("a") as kept:
        for index in range(options.sweeps):
            for setting in chosen:
                if (setting.name, index) not in there and time.monotonic() < end:
                    rows.append(measure(setting, index))
                    kept.write(json.dumps(rows[-1]) + "\n")
                    kept.flush()
    kinds = {setting.name: setting.kind for setting in (*GOOD, *FLAT)}
    figures = {name: summary([row for row in rows if row["setting"] == name]) for name in kinds}
    for kind in ("good", "flat"):
        figures[f"all {kind}"] = summary([row for row in rows if kinds[row["setting"]] == kind])
    print(f"{'setting':44} {'n':>3} flat  identified before (missed), now (missed)  beyond: median, most")
    for name, row in figures.items():
        if row["sweeps"] > row["not_fitted"]:
            print(
                f"{name:44} {row['sweeps']:>3} {row['flat']:>4}  {row['identified_before']:>3} "
                f"({row['missed_before']}), {row['identified']:>3} ({row['missed']})  "
                f"{row['median_beyond']:.3f}, {row['most_beyond']:.3f}"
            )
    result = {"bars": BARS, "replicates": REPLICATES, "settings": figures}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
