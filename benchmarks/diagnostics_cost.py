"""What measuring representation and trust costs, as a share of training time, at the paper's interval.

Moalla et al. 2024 (arXiv 2405.00662) measure every 0.1% of training. The settings are their two, of their
published lengths, and MNIST's bandit. Iterations that are measured and that are not alternate in one process,
each in a run of its own; the first of each is left out. Times are those of the processor, which other work
on the machine changes least.

    python benchmarks/diagnostics_cost.py [--pairs 5] [--only NAME] [--profile] [--out FILE]

needs the extra control, and MNIST.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import time
from pathlib import Path
from typing import Any

from rlscale.scaling.config.run import run_config
from rlscale.scaling.training.run import Run
from rlscale.sweeps.specs.presets import preset_values

#: The share of training time that measuring may take.
BAR = 0.03
#: Measurements in the whole of training.
MEASUREMENTS = 1000
RESULTS = Path(__file__).resolve().parent / "results" / "diagnostics_cost.json"
#: Preset and width of each setting, and the observations that features are measured on.
SETTINGS = {
    "Hopper, 2 x 64 units, the paper's": ("mujoco-width", 1.0, 2048),
    "Hopper, 2 x 16 units": ("mujoco-width", 0.25, 2048),
    "Phoenix, 512 units, the paper's": ("atari-width", 1.0, 1024),
    "MNIST, 125 units": ("mnist-width", 0.125, 512),
    "MNIST, 500 units": ("mnist-width", 0.5, 1024),
}


def config_values(preset: str, width: float) -> dict[str, Any]:
    """The run of a preset at one width."""
    base = preset_values(preset)["base"]
    return {**base, "model": {**base.get("model", {}), "width": width}}


def seconds_of_iteration(run: Run) -> float:
    """Processor time of one iteration."""
    began = time.process_time()
    run.iterate()
    return time.process_time() - began


def cost(preset: str, width: float, batch: int, pairs: int) -> dict[str, float]:
    """Medians of an iteration without and with a measurement, and the share of training at the interval.

    Between two measurements lie as many iterations as make 0.1% of training, at least one.
    """
    values = config_values(preset, width)
    plain = Run(run_config(values, source=preset))
    measured = Run(run_config(values | {"diagnostics": {"every": 1, "batch": batch}}, source=preset))
    times = [(seconds_of_iteration(plain), seconds_of_iteration(measured)) for _ in range(pairs + 1)][1:]
    without, with_it = (statistics.median(each) for each in zip(*times, strict=True))
    size = plain.interactions / (pairs + 1)
    between = max(1.0, values["interactions"] / MEASUREMENTS / size)
    return {
        "iteration_seconds": without,
        "measurement_seconds": with_it - without,
        "iterations_between": between,
        "share_of_training": (with_it - without) / (between * without),
    }


def profile(preset: str, width: float, batch: int) -> None:
    """Print where the time of measured iterations goes."""
    values = config_values(preset, width) | {"diagnostics": {"every": 1, "batch": batch}}
    run = Run(run_config(values, source=preset))
    run.iterate()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(2):
        run.iterate()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats("diagnostics|movement|eigvalsh|learn|collect")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    chosen = {name: setting for name, setting in SETTINGS.items() if options.only in name}
    if options.profile:
        for setting in chosen.values():
            profile(*setting)
        return
    found = json.loads(options.out.read_text())["settings"] if options.out.exists() else {}
    for name, setting in chosen.items():
        found[name] = cost(*setting, options.pairs)
        print(f"{name}: {found[name]['share_of_training']:.2%} of training (bar {BAR:.0%})", flush=True)
        options.out.write_text(json.dumps({"bar": BAR, "settings": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
