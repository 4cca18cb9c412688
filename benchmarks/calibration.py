"""Are the intervals honest? Synthetic sweeps with known laws, fitted as a user would, truth compared.

Each setting draws sweeps of five laws (nu of 0.42 to 0.63) with one shape of the map between return and
intrinsic performance, one level of autocorrelated noise (as a share of the range of returns), and one design.
Reported for each: bias and spread of nu, how often the 90% intervals hold the truth, and how often
the fit says that its exponents are not identified, and how often it sees a late start. Settings of late
starts go through three maps and two spacings of rows in turn: 30 sweeps hold each combination with each law.
Run with

    python benchmarks/calibration.py [--sweeps 200] [--seconds 240] [--workers 2] [--settings NAME ...]
    python benchmarks/calibration.py --gates     # how often the gate fires, without fits: half a minute

Takes about two hours on two idle cores. Sweeps already in the output file are not drawn again, and
``--seconds`` ends the study early, to be continued by the same command.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.points.onset import find_start
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.analysis.theory.delay import Delay
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import RlscaleError

LAWS = ((0.3, 0.5), (0.5, 0.5), (0.6, 0.45), (0.35, 0.25), (0.8, 0.6))  # (alpha_N, alpha_E)
END = 1e8  # interactions of every run
REPLICATES = 80
BARS = {
    "bias": 0.02,
    "coverage": (0.86, 0.95),
    "coverage_late": (0.86, 0.98),
    "one_sided_flagged": 0.95,
    "well_covered_flagged": 0.05,
    "well_covered_gated": 0.05,
    "ramp": {"bias": 0.05, "or_flagged": 0.9},
}
EVEN_ROWS = {"points": 1000, "first_interactions": None}
SPARSE_ROWS = {"points": 30, "first_interactions": END / 2048}
#: What settings of late starts go through in turn.
VARIANTS = tuple(
    {**rows, "shape": s} for rows in (EVEN_ROWS, SPARSE_ROWS) for s in ("linear", "sigmoid", "spline")
)


@dataclass(frozen=True)
class Setting:
    """One design.

    Attributes:
        kind: ``covered``; ``one-sided``; ``beyond`` what the bars are for; a ``remedy`` tried; ``late``,
            learning starts late; or ``ramp``, it sets in gradually.
        position: where, from the smallest size (0) to the largest (1) in log N, the size lies that is
            optimal at the end of training; sizes above it never reach their optimum.
        variants: options that sweeps have in turn.
    """

    name: str
    kind: str = "covered"
    num_sizes: int = 8
    spacing: float = 2.0
    position: float = 0.75
    early_exclusion: float = 1 / 64
    options: dict[str, Any] = field(default_factory=dict)
    variants: tuple[dict[str, Any], ...] = ({},)

    def sweep(self, index: int) -> SyntheticSweep:
        """Sweep number ``index`` of the setting, not drawn yet."""
        alpha_N, alpha_E = LAWS[index % len(LAWS)]
        variant = self.variants[index % len(self.variants)]
        k = alpha_N + alpha_E
        sizes = 1e5 * self.spacing ** (np.arange(self.num_sizes) - (self.num_sizes - 1) / 2)
        log_n = np.log(sizes[0]) + self.position * np.log(sizes[-1] / sizes[0])
        law = PowerLaw(alpha_E / k, k, log_n, log_n + np.log(END))
        return SyntheticSweep(
            alpha_N=alpha_N,
            alpha_E=alpha_E,
            N_c=law.N_c,
            sizes=tuple(sizes),
            max_interactions=END,
            **{"points": 48, "first_interactions": END / 128, **self.options, **variant},
        )


SETTINGS = (
    Setting("linear, 3%", options={"shape": "linear", "noise": 0.03}),
    Setting("exponential, 2%", options={"shape": "power", "noise": 0.02}),
    Setting("sigmoid, 5%, 7 sizes", num_sizes=7, options={"shape": "sigmoid", "noise": 0.05}),
    Setting("steps, 3%, 5 seeds", options={"shape": "steps", "noise": 0.03, "seeds": 5}),
    Setting("plateau at the top, 2%", options={"shape": "ceiling", "noise": 0.02}),
    Setting(
        "random spline, 3%, 10 sizes, 2 seeds",
        num_sizes=10,
        options={"shape": "spline", "noise": 0.03, "seeds": 2},
    ),
    Setting(
        "linear, 3%, 4 sizes, 4 seeds",
        num_sizes=4,
        spacing=4.0,
        options={"shape": "linear", "noise": 0.03, "seeds": 4},
    ),
    Setting("linear, 3%, late start 1%", options={"shape": "linear", "noise": 0.03, "late_start": 0.01}),
    Setting("linear, 8%, 5 seeds", "beyond", options={"shape": "linear", "noise": 0.08, "seeds": 5}),
    Setting(
        "one-sided: experience binds", "one-sided", position=-0.35, options={"shape": "linear", "noise": 0.03}
    ),
    Setting("one-sided: size binds", "one-sided", position=2.0, options={"shape": "sigmoid", "noise": 0.03}),
    Setting(
        "linear, 3%, late start 1%, drops 1/8",
        "remedy",
        early_exclusion=1 / 8,
        options={"shape": "linear", "noise": 0.03, "late_start": 0.01},
    ),
    *(
        Setting(
            f"start at {share:.1%}", "late", options={"noise": 0.03, "late_start": share}, variants=VARIANTS
        )
        for share in (0.003, 0.01, 0.03)
    ),
    Setting(
        "start at 1%, falling as N^-0.15",
        "late",
        options={"noise": 0.03, "late_start": 0.01, "late_start_power": 0.15},
        variants=VARIANTS,
    ),
    *(
        Setting(f"ramp to {share:.0%}", "ramp", options={"noise": 0.03, "ramp": share}, variants=VARIANTS)
        for share in (0.03, 0.1)
    ),
    *(
        Setting(
            f"no late start, {name}",
            "covered",
            options={"noise": 0.03, **rows},
            variants=VARIANTS[first : first + 3],
        )
        for name, rows, first in (("even rows", EVEN_ROWS, 0), ("sparse rows", SPARSE_ROWS, 3))
    ),
)


def measure(setting: Setting, index: int) -> dict[str, Any]:
    """One sweep, drawn and fitted."""
    truth = setting.sweep(index)
    row: dict[str, Any] = {"setting": setting.name, "index": index}
    curves = truth.curves(np.random.default_rng([SETTINGS.index(setting), index]))
    start = time.perf_counter()
    try:
        estimator = JointScalingFit(
            early_exclusion=setting.early_exclusion, replicates=REPLICATES, check_replicates=0, seed=index
        )
        fit = estimator.fit(curves)
    except RlscaleError as error:
        return {**row, "error": str(error)}
    known = dict(nu=truth.law.nu, alpha_N=truth.law.alpha_N, alpha_E=truth.law.alpha_E)
    if not (truth.late_start_power or truth.ramp):  # else no law of ours is true
        law = (
            replace(truth.law, delay=Delay("sharp", truth.late_start * END))
            if truth.late_start
            else truth.law
        )
        known["N_opt_ref"] = float(law.N_opt(fit.compute_ref))
    return {
        **row,
        "seconds": time.perf_counter() - start,
        "identified": fit.identified,
        "codes": fit.warning_codes,
        "gate": fit.late_start.gate,
        "nu_without": fit.late_start.nu_without,
        "true": known,
        "found": {name: getattr(fit, name) for name in known},
        "percentile": {name: fit.intervals[name] for name in known},
        "bias_corrected": {name: fit.intervals_bias_corrected[name] for name in known},
        "total": {name: fit.intervals_total[name] for name in known},
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one setting."""
    done = [row for row in rows if "error" not in row]
    named = [row for row in done if row["identified"]]

    def held(kind: str, name: str) -> float | None:
        rows = [row for row in named if name in row["true"]]
        inside = [row[kind][name][0] <= row["true"][name] <= row[kind][name][1] for row in rows]
        return float(np.mean(inside)) if inside else None

    errors = np.array([row["found"]["nu"] - row["true"]["nu"] for row in named])
    return {
        "sweeps": len(rows),
        "not_converged": len(rows) - len(done),
        "flagged": 1 - len(named) / max(len(done), 1),
        "gated": float(np.mean([row["gate"] != "none" for row in done])) if done else None,
        "bias_without": float(np.mean([row["nu_without"] - row["true"]["nu"] for row in named]))
        if named
        else None,
        "bias": float(errors.mean()) if len(errors) else None,
        "spread": float(errors.std()) if len(errors) else None,
        "coverage": {name: held("percentile", name) for name in ("nu", "alpha_N", "alpha_E", "N_opt_ref")},
        "coverage_bias_corrected": held("bias_corrected", "nu"),
        "coverage_total": held("total", "nu"),
        "width": float(np.mean([np.ptp(row["percentile"]["nu"]) for row in named])) if named else None,
    }


def pooled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same over all settings that the bars are for."""
    covered = {setting.name for setting in SETTINGS if setting.kind == "covered"}
    return summary([row for row in rows if row["setting"] in covered])


def show(name: str, figures: dict[str, Any]) -> None:
    def text(value: float | None, form: str = ".2f") -> str:
        return "-" if value is None else format(value, form)

    print(
        f"{name:38} {figures['sweeps']:>4} {text(figures['flagged']):>7} {text(figures['bias'], '+.3f'):>7} "
        f"{text(figures['spread'], '.3f'):>6} {text(figures['coverage']['nu']):>5} "
        f"{text(figures['coverage_bias_corrected']):>5} {text(figures['coverage_total']):>5} "
        f"{text(figures['coverage']['alpha_N']):>7} {text(figures['coverage']['alpha_E']):>7} "
        f"{text(figures['coverage']['N_opt_ref']):>5} {text(figures.get('gated')):>5} "
        f"{text(figures.get('bias_without'), '+.3f'):>7} {text(figures['width']):>5}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end early after so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gates", action="store_true", help="only count how often the gate fires")
    parser.add_argument("--settings", nargs="*", default=[setting.name for setting in SETTINGS])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json")
    options = parser.parse_args()
    if options.gates:
        show_gates([setting for setting in SETTINGS if setting.name in options.settings], options.sweeps)
        return
    draws = options.out.with_suffix(".jsonl")  # every sweep, kept while the study runs
    rows = [json.loads(line) for line in draws.read_text().splitlines()] if draws.exists() else []
    there = {(row["setting"], row["index"]) for row in rows}
    chosen = [setting for setting in SETTINGS if setting.name in options.settings]
    # All settings advance together, so that a study cut short is about all of them.
    tasks = [(s, i) for i in range(options.sweeps) for s in chosen if (s.name, i) not in there]
    end = time.monotonic() + options.seconds
    with ProcessPoolExecutor(options.workers) as pool, draws.open("a") as kept:
        for first in range(0, len(tasks), 2 * options.workers):
            if time.monotonic() > end:
                break
            for row in pool.map(_measure_pair, tasks[first : first + 2 * options.workers]):
                kept.write(json.dumps(row) + "\n")
                kept.flush()
                rows.append(row)
    drawn = {row["setting"] for row in rows}
    # Settings that this file of draws does not have keep the figures of earlier ones.
    figures = json.loads(options.out.read_text())["settings"] if options.out.exists() else {}
    for name in (setting.name for setting in chosen if setting.name in drawn):
        figures[name] = summary([row for row in rows if row["setting"] == name])
    if drawn >= {s.name for s in SETTINGS if s.kind == "covered"}:
        figures["all covered settings"] = pooled(rows)
    print(
        f"{'setting':38} {'n':>4} flagged    bias spread    nu    BC total alpha_N alpha_E N_opt gated "
        f"without width"
    )
    for name, row in figures.items():
        show(name, row)
    result = {"bars": BARS, "replicates": REPLICATES, "laws": LAWS, "settings": figures}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def show_gates(settings: list[Setting], sweeps: int) -> None:
    """How often each gate is chosen."""
    for setting in settings:
        gates: Counter[str] = Counter()
        for index in range(sweeps):
            curves = setting.sweep(index).curves(np.random.default_rng([SETTINGS.index(setting), index]))
            prepared = Preprocessor(curves)
            gates[find_start(prepared.rows, prepared.start_response).gate] += 1
        print(f"{setting.name:38} {dict(gates)}")


def _measure_pair(task: tuple[Setting, int]) -> dict[str, Any]:
    return measure(*task)


if __name__ == "__main__":
    main()
