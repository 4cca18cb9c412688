"""The return of the policy that acts at random, in the task of a spec: what training has to rise above.

    python benchmarks/random_returns.py data/atari_breakout/spec.yaml --json data/atari_breakout/random.json

Episodes are whole games, whatever the spec lets the agent learn from, on the spec's levels where the task has
levels, or with --unseen on all later ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from rlscale.scaling.rollouts.evaluation import evaluate, unseen_levels
from rlscale.scaling.rollouts.policy import random_policy
from rlscale.scaling.tasks.registry import make_environment
from rlscale.sweeps.specs.spec import expand, load_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    config = expand(load_spec(asked.spec))[0]
    wrappers = config.wrappers
    if wrappers.atari is not None:
        wrappers = wrappers.model_copy(
            update={"atari": wrappers.atari.model_copy(update={"life_ends": False})}
        )
    levels = config.levels.num_levels, config.levels.start_level
    num_levels, start_level = unseen_levels(*levels) if asked.unseen else levels
    env = make_environment(
        config.task,
        num_envs=10,
        num_levels=num_levels,
        start_level=start_level,
        seed=asked.seed,
        num_threads=0,
        wrappers=wrappers,
    )
    act = random_policy(config.task_entry.actions, np.random.default_rng(asked.seed))
    returns = evaluate(act, env, asked.episodes).returns
    found = {
        "task": config.task,
        "episodes": returns.size,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std(ddof=1)),
        "standard_error": float(returns.std(ddof=1) / returns.size**0.5),
    }
    print(json.dumps(found, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
