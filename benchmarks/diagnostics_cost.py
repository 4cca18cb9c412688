"""What measuring representation and trust costs, as a share of training time, at the paper's interval.

Moalla et al. 2024 (arXiv 2405.00662) measure every 0.1% of training. The settings are their two, of their
published lengths, and MNIST's bandit. Iterations that are measured and that are not alternate; the first of
each is left out. Times are the least ones, of the processor, which other work on the machine changes least.

    python benchmarks/diagnostics_cost.py [--pairs 5] [--only NAME] [--profile] [--out FILE]

needs the extra control, and MNIST.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rlscale.scaling.config.run import DiagnosticsConfig, run_config
from rlscale.scaling.diagnostics.probe import Probe
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


@dataclass(frozen=True)
class Times:
    """Processor seconds of the parts of an iteration."""

    collect: float
    learn: float
    learn_with_norms: float
    probe: float


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and its processor time."""
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


def two_iterations(run: Run, probe: Probe, rng: np.random.Generator) -> Times:
    """One iteration that is not measured, and one that is."""
    agent, config = run.agent, run.config.agent
    collect = partial(
        run.collector.collect,
        agent.model,
        envs=config.num_envs,
        steps=config.rollout_steps,
        needs_bootstrap=config.gamma > 0,
    )
    (rollout, _, _), collecting = timed(collect)
    _, plain = timed(lambda: agent.learn(rollout, rng))
    rollout, _, _ = collect()
    seen, before = timed(lambda: probe.before(rollout))
    _, with_norms = timed(lambda: agent.learn(rollout, rng, with_norms=True))
    _, after = timed(lambda: probe.after(seen))
    return Times(collecting, plain, with_norms, before + after)


def cost(preset: str, width: float, batch: int, pairs: int) -> dict[str, float]:
    """The least time of each part of an iteration, and the share of training that measuring takes.

    Between two measurements lie as many iterations as make 0.1% of training, at least one.
    """
    values = config_values(preset, width)
    run = Run(run_config(values, source=preset))
    config = DiagnosticsConfig(every=1, batch=batch)
    probe, rng = Probe(config, run.agent.model, clip=run.config.agent.clip), np.random.default_rng(0)
    times = [two_iterations(run, probe, rng) for _ in range(pairs + 1)][1:]
    least = {field.name: min(getattr(each, field.name) for each in times) for field in fields(Times)}
    agent = run.config.agent
    between = max(1.0, values["interactions"] / MEASUREMENTS / (agent.num_envs * agent.rollout_steps))
    more = least["probe"] + max(0.0, least["learn_with_norms"] - least["learn"])
    share = more / (between * (least["collect"] + least["learn"]))
    return {**least, "iterations_between": between, "share_of_training": share}


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
