"""Hopper beside stable-baselines3's PPO: the same settings, steps and seeds; returns and processor time.

    pip install -c constraints.txt -e '.[bench,control]'
    python benchmarks/hopper_returns.py --steps 100000 --seeds 0 1 2 [--only rlscale ...]

Results join those of other lengths, trainers and seeds after each run.

Both have two separate networks of 2 x 64 tanh, normalised observations and rewards, 2 x 1,024 steps in a
batch, minibatches of 64 steps and 10 epochs. By default the policy here is a TanhNormal with a deviation that
depends on the state, and initial weights have rows of one norm; there the policy is a normal cut at the
bounds, with one deviation for all states, and initial weights are orthogonal. The further trainers here take
their policy, their initial weights, or both. One difference is left: here the gradients of the two networks
are clipped one by one, there together.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

TASK = "Hopper-v4"
WINDOW = 20_000  # steps whose episodes make one figure
RESULTS = Path(__file__).parent / "results" / "hopper_returns.json"
ENVS, STEPS, EPOCHS, MINIBATCH = 2, 1024, 10, 64


def ours(
    steps: int, seed: int, *, policy: str = "tanh-normal", initialization: str = "normed"
) -> list[tuple[int, float]]:
    """(step, return) of every episode, this trainer's."""
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.training.run import Run

    agent = {
        "algorithm": "ppo",
        "architecture": "dual",
        "policy": policy,
        "learning_rate": 3e-4,
        "adam_eps": 1e-5,
        "horizon": 199,
        "gae_lambda": 0.95,
        "num_envs": ENVS,
        "rollout_steps": STEPS,
        "minibatches": ENVS * STEPS // MINIBATCH,
        "minibatch_of": "steps",
        "epochs_policy": EPOCHS,
        "epochs_value": EPOCHS,
        "clip": 0.2,
        "importance_cap": 0,
        "value_coef": 0.5,
        "entropy_coef": 0,
        "normalize_advantage_of": "minibatch",
        "normalize_observation": "running",
        "normalize_reward": True,
        "max_grad_norm": 0.5,
    }
    values = {
        "task": f"gymnasium:{TASK}",
        "interactions": steps,
        "seed": seed,
        "model": {"initialization": initialization},
        "agent": agent,
    }
    run = Run(run_config(values, source="Hopper"))
    found: list[tuple[int, float]] = []
    while run.interactions < steps:
        run.close_row()
        run.iterate()
        row = run.close_row()
        if row["episodes"]:
            found += [(run.interactions, row["return_mean"])] * row["episodes"]
    return found


def theirs(steps: int, seed: int) -> list[tuple[int, float]]:
    """(step, return) of every episode, stable-baselines3's."""
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    found: list[tuple[int, float]] = []

    class Record(BaseCallback):
        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    found.append((self.num_timesteps, info["episode"]["r"]))
            return True

    env = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make(TASK))] * ENVS), gamma=0.99)
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        learning_rate=3e-4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.0,
        vf_coef=0.5,
        max_grad_norm=0.5,
        seed=seed,
        device="cpu",
    )
    model.learn(steps, callback=Record())
    return found


def windows(episodes: list[tuple[int, float]], steps: int) -> list[float | None]:
    """Mean return of the episodes that ended in each window."""
    at, returns = (np.array(values) for values in zip(*episodes, strict=True))
    found: list[float | None] = []
    for begin in range(0, steps, WINDOW):
        inside = returns[(at > begin) & (at <= begin + WINDOW)]
        found.append(round(float(inside.mean()), 1) if inside.size else None)
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds, and its standard error, of each window; None where a seed has no episode."""
    columns = list(zip(*(run["returns"] for run in runs), strict=True))
    seconds = [run["processor_seconds"] for run in runs]
    return {
        "mean": [None if None in column else round(float(np.mean(column)), 1) for column in columns],
        "standard_error": [
            None
            if None in column or len(column) < 2
            else round(float(np.std(column, ddof=1) / len(column) ** 0.5), 1)
            for column in columns
        ],
        "processor_seconds": round(float(np.mean(seconds)), 1),
    }


def stored() -> dict[str, Any]:
    """The results so far: under ``lengths``, by steps and then by trainer, a ``summary`` and its ``runs``."""
    if RESULTS.exists():
        return json.loads(RESULTS.read_text())
    return {"task": TASK, "window": WINDOW, "lengths": {}}


def add(found: dict[str, Any], steps: int, trainer: str, run: dict[str, Any]) -> None:
    """Put a run among the results, in place of an earlier one of its seed."""
    trainers = found["lengths"].setdefault(str(steps), {})
    earlier = trainers.get(trainer, {"runs": []})["runs"]
    runs = sorted(
        [each for each in earlier if each["seed"] != run["seed"]] + [run], key=lambda each: each["seed"]
    )
    trainers[trainer] = summary(runs) | {"runs": runs}


TRAINERS: dict[str, Callable[[int, int], list[tuple[int, float]]]] = {
    "rlscale": ours,
    "rlscale, normal": partial(ours, policy="normal"),
    "rlscale, orthogonal": partial(ours, initialization="orthogonal"),
    "rlscale, both": partial(ours, policy="normal", initialization="orthogonal"),
    "stable-baselines3": theirs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    asked = parser.parse_args()
    for seed in asked.seeds:
        for trainer in asked.only:
            began = time.process_time()
            episodes = TRAINERS[trainer](asked.steps, seed)
            seconds = round(time.process_time() - began, 1)
            run = {"seed": seed, "returns": windows(episodes, asked.steps), "processor_seconds": seconds}
            print(trainer, run, flush=True)
            found = stored()
            add(found, asked.steps, trainer, run)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
