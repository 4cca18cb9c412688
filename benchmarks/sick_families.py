"""Does a fit see that one size or one run of a family is ill, and does it leave good families alone?

The eight good settings of ``calibration.py``, and in each the same family with one illness, of a size (or
run) drawn at random among all:

* ``slow``: one size learns four times slower, as with a quarter of its learning rate: I(N, E/4);
* ``fast``: one size has a quarter of its I and twice the noise, as with a rate four times too large;
* ``seed``: one run collapses to the least return at 30% to 80% of training;
* ``size``: every run of one size does, each at a time of its own.

And the same on real curves: MNIST at five widths and five rates (``data/mnist_tuning``), all sizes at one
rate, and with one size at four times or a quarter of the others'. Run with

    python benchmarks/sick_families.py [--sweeps 100] [--draws 0] [--minutes 5] [--settings NAME ...]
    python benchmarks/sick_families.py --sweeps 10 --draws 40

Without draws only the warnings are made that need none, which is five times faster.
Families already in the output are not fitted again, so a study can be cut into pieces. Its draws are others
than those with which the thresholds were chosen.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from calibration import SETTINGS, Setting

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED, OPPOSITE_ENDS
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.sick_families import SICK, family_warnings
from rlscale.scaling.errors import RlscaleError

ILLNESSES = ("slow", "fast", "seed", "size")
GOOD = tuple(setting for setting in SETTINGS if setting.kind == "covered")
OF_DRAWS = {"interval_at_bound", "estimate_outside_interval"}
CODES = SICK | OF_DRAWS | {"objectives_opposite"}
FACTOR = 4.0
STREAM = 2027  # other draws than those with which the thresholds were chosen
BARS = {"ill_flagged": 0.95, "good_flagged": 0.05}
TUNING = Path(__file__).parents[1] / "data" / "mnist_tuning" / "curves.parquet"


def family(setting: Setting, index: int, illness: str) -> tuple[Curves, float | None]:
    """The curves, and the size that is ill or has the run that is; ``good`` for none."""
    truth = setting.sweep(index)
    place = SETTINGS.index(setting)
    curves = truth.curves(np.random.default_rng([place, index, STREAM]))
    if illness == "good":
        return curves, None
    # The same generator state draws the same map, so this is the same family without its noise.
    clean = replace(truth, noise=0.0).curves(np.random.default_rng([place, index, STREAM])).returns
    noise = curves.returns - clean
    rng = np.random.default_rng([place, index, STREAM, ILLNESSES.index(illness)])
    size = float(rng.choice(curves.sizes))
    runs = np.flatnonzero(curves.run_sizes == size)
    log_n, steps = np.log(curves.run_sizes[curves.run_index]), curves.interactions
    delay = truth.late_start * truth.max_interactions

    def log_i(e: Floats) -> Floats:
        return truth.law.log_intrinsic(log_n, np.log(np.maximum(e - delay, 0.1 * steps.min())))

    order = np.argsort(log_i(steps))
    returns = curves.returns.copy()
    if illness in ("slow", "fast"):
        ill = log_i(steps / FACTOR) if illness == "slow" else log_i(steps) - np.log(FACTOR)
        mine = np.isin(curves.run_index, runs)
        shifted = np.interp(ill, log_i(steps)[order], clean[order])
        returns[mine] = (shifted + noise * (2 if illness == "fast" else 1))[mine]
    else:
        for run in [rng.choice(runs)] if illness == "seed" else runs:
            after = steps > rng.uniform(0.3, 0.8) * truth.max_interactions
            rows = (curves.run_index == run) & after
            returns[rows] = clean.min() + noise[rows]
    return curves.with_returns(returns), size


def measure(curves: Curves, draws: int, seed: int) -> dict[str, Any]:
    """The codes of one fit; without draws only those of ``CODES``, and no verdict."""
    try:
        if not draws:
            return {"codes": codes_without_draws(curves)}
        fit = JointScalingFit(replicates=draws, check_replicates=0, seed=seed).fit(curves)
    except RlscaleError as error:
        return {"error": error.code}
    sentences = dict(zip(fit.warning_codes, fit.warnings, strict=True))
    return {
        "codes": fit.warning_codes,
        "sick": [sentence for code, sentence in sentences.items() if code in CODES],
        "identified": fit.identified,
        "nu": fit.nu,
    }


def codes_without_draws(curves: Curves) -> list[str]:
    """Those of ``CODES`` that need no draws."""
    mine, other = (
        JointScalingFit(objective=name, replicates=0).estimate(curves) for name in ("return", "paper")
    )
    found = family_warnings(curves, mine.preprocessor, mine.points, mine.law)
    least, most = sorted((mine.law.nu, other.law.nu))
    opposite = least < OPPOSITE_ENDS[0] and most > OPPOSITE_ENDS[1]
    return [*(code for code, _ in found), *(["objectives_opposite"] if opposite else [])]


def real_families() -> dict[str, Curves]:
    """MNIST at five widths, all at one rate or one of them at another: name to curves."""
    frame = pd.read_parquet(TUNING)
    base = 0.002
    found = {f"all at {rate:g}": frame[frame["learning_rate"] == rate] for rate in (0.0005, 0.001, base)}
    for size in sorted(frame["num_params"].unique()):
        for rate in (base / FACTOR, base * FACTOR):
            mine = frame["num_params"] == size
            found[f"{size} at {rate:g}, others at {base:g}"] = frame[
                (mine & (frame["learning_rate"] == rate)) | (~mine & (frame["learning_rate"] == base))
            ]
    return {name: curves_from_frame(rows, source=name) for name, rows in found.items()}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of families of one kind: how many, the shares flagged, flagged by each code, and not identified.

    The two codes of draws, and the last share, are of the families that were fitted with draws.
    """
    done = [row for row in rows if "codes" in row]
    if not done:
        return {"families": 0}
    drawn = [row for row in done if row["draws"]]
    flagged = [bool(CODES & set(row["codes"])) for row in done]
    return {
        "families": len(done),
        "refused": len(rows) - len(done),
        "flagged": float(np.mean(flagged)),
        "by_code": {
            code: _share([code in row["codes"] for row in (drawn if code in OF_DRAWS else done)])
            for code in sorted(CODES)
        },
        "drawn": {
            "families": len(drawn),
            "flagged": _share([bool(CODES & set(row["codes"])) for row in drawn]),
            "not_identified": _share([not NOT_IDENTIFIED.isdisjoint(row["codes"]) for row in drawn]),
        },
    }


def _share(values: list[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long; run again to go on")
    parser.add_argument("--settings", nargs="*", default=[setting.name for setting in GOOD])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sick_families.json")
    options = parser.parse_args()
    draws = options.out.with_suffix(".jsonl")  # every family, kept while the study runs
    rows = [json.loads(line) for line in draws.read_text().splitlines()] if draws.exists() else []
    there = {(row["setting"], row["illness"], row["index"], row["draws"]) for row in rows}
    end = time.monotonic() + 60 * options.minutes
    real = real_families()
    # All settings and illnesses advance together, so that a study cut short is about all of them.
    tasks = [
        (setting.name, illness, index)
        for index in range(options.sweeps)
        for setting in GOOD
        if setting.name in options.settings
        # As many good families as ill ones: each index has one illness.
        for illness in ("good", ILLNESSES[(index + GOOD.index(setting)) % len(ILLNESSES)])
    ]
    tasks += [("real", name, 0) for name in real]
    by_name = {setting.name: setting for setting in GOOD}
    with draws.open("a") as kept:
        for name, illness, index in tasks:
            if time.monotonic() > end:
                break
            if (name, illness, index, options.draws) in there:
                continue
            if name == "real":
                curves, size = real[illness], None
            else:
                curves, size = family(by_name[name], index, illness)
            row = {"setting": name, "illness": illness, "index": index, "size": size, "draws": options.draws}
            rows.append({**row, **measure(curves, options.draws, index)})
            kept.write(json.dumps(rows[-1]) + "\n")
            kept.flush()
    simulated = [row for row in rows if row["setting"] != "real"]
    figures: dict[str, Any] = {"good": summary([row for row in simulated if row["illness"] == "good"])}
    figures["ill"] = summary([row for row in simulated if row["illness"] != "good"])
    for illness in ILLNESSES:
        figures[illness] = summary([row for row in simulated if row["illness"] == illness])
    by_setting = {
        setting.name: {
            kind: summary(
                [r for r in simulated if r["setting"] == setting.name and (r["illness"] == "good") == good]
            )
            for kind, good in (("good", True), ("ill", False))
        }
        for setting in GOOD
    }
    for name, row in [
        *figures.items(),
        *((f"{s}: {k}", r) for s, e in by_setting.items() for k, r in e.items()),
    ]:
        if row["families"]:
            print(f"{name:50} {row['families']:>4} flagged {row['flagged']:.3f}")
    on_mnist = [row for row in rows if row["setting"] == "real"]
    for row in on_mnist:
        print(row["illness"], row.get("sick", row.get("error")))
    result = {"bars": BARS, **figures, "by_setting": by_setting, "mnist": on_mnist}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
