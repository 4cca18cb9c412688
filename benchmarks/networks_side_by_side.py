"""What it saves that the policy and the value network go through their convolutions side by side.

Whole iterations of two runs of one config in turn: one as it trains, the other with a pass of its own
for each network. Seconds of processor time of one thread, so that other work on the machine matters
little; the ratio is the median over the rounds, with its quartiles.

    python benchmarks/networks_side_by_side.py [--only mnist-cnn] [--rounds 9] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.training.run import Run

WIDTHS = {"mnist-cnn": (0.0125, 0.025, 0.05, 0.08), "impala": (1 / 8, 1 / 4, 1 / 2, 1.0)}


def config_of(family: str, width: float) -> RunConfig:
    """The MNIST bandit at its defaults, or CoinRun with small rollouts."""
    fields: dict[str, Any] = {"task": "mnist-bandit"}
    if family == "impala":
        agent = {"horizon": 1999, "num_envs": 16, "rollout_steps": 16, "minibatches": 2}
        fields = {"task": "procgen-coinrun-easy", "agent": agent}
    return run_config({**fields, "interactions": 10**9, "model": {"width": width}}, source="the benchmark")


def with_a_pass_each(run: Run) -> Run:
    """The same run, its networks never joined."""
    trunk = run.agent.model.policy.trunk
    trunk.features_of_both = lambda other, observation: (trunk(observation), other(observation))
    return run


def seconds_of(run: Run, iterations: int) -> float:
    before = time.process_time()
    for _ in range(iterations):
        run.iterate()
    return (time.process_time() - before) / iterations


def compared(config: RunConfig, rounds: int, iterations: int) -> dict[str, Any]:
    """Seconds of an iteration, medians, and how many times longer one takes with a pass each."""
    joined, apart = Run(config), with_a_pass_each(Run(config))
    pairs = []
    for number in range(rounds + 1):
        order = (joined, apart) if number % 2 else (apart, joined)
        spent = {id(run): seconds_of(run, iterations) for run in order}
        pairs.append((spent[id(joined)], spent[id(apart)]))
    seconds = np.array(pairs[1:])  # the first round warms up
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    return {
        "seconds_side_by_side": float(np.median(seconds[:, 0])),
        "seconds_a_pass_each": float(np.median(seconds[:, 1])),
        "ratio": float(middle),
        "quartiles": [float(low), float(high)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=tuple(WIDTHS), help="one family; the other's results stay")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "networks_side_by_side.json"
    )
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for family in [options.only] if options.only else WIDTHS:
        for width in WIDTHS[family]:
            found = compared(config_of(family, width), options.rounds, 2 if family == "mnist-cnn" else 1)
            results.setdefault(family, {})[f"{width:g}"] = found
            print(family, f"{width:g}", json.dumps(found), flush=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
