"""What bounds the smallest Procgen agents: environment, network or trainer.

CoinRun easy, 64 environments of 256 steps, the smallest policy (1/64 of the default parameters):
the environment alone with random actions; with the policy in a bare loop of observe, network,
sample, act; the trainer's collector, which also stores everything and evaluates it with the value
network; and whole training, PPO-EWMA with one epoch.

Run on an idle machine:  python benchmarks/procgen_stepping.py [--threads 2] [--rounds 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributions import Categorical

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.training.build import make_environments
from rlscale.scaling.training.run import Run

ENVS, STEPS = 64, 256


def config_of(game: str, width: float, precision: str, *, envs: int, threads: int) -> RunConfig:
    """PPO-EWMA with dual networks at the reference's settings, one epoch, on a game's easy mode."""
    return run_config(
        {
            "task": f"procgen-{game}-easy",
            "interactions": 10**9,
            "model": {"width": width},
            "precision": precision,
            "threads": threads,
            "agent": {
                "algorithm": "ppo-ewma",
                "horizon": 1999,
                "gae_lambda": 0.95,
                "num_envs": envs,
                "rollout_steps": STEPS,
                "minibatches": 8,
                "normalize_reward": True,
            },
        },
        source="the benchmark",
    )


def stepping_rates(threads: int, rounds: int) -> dict[str, float]:
    """Environment steps per second of ever more of the trainer."""
    config = config_of("coinrun", 1 / 8, "float32", envs=ENVS, threads=threads)
    run = Run(config)
    model, rng = run.agent.model, np.random.default_rng(0)
    games = make_environments(config, seed=0, levels=(None, 0), num_threads=0)

    def random_actions() -> None:
        for _ in range(STEPS):
            games.observe()
            games.act(rng.integers(15, size=ENVS))

    @torch.no_grad()
    def bare_loop() -> None:
        for _ in range(STEPS):
            images = torch.from_numpy(games.observe().observation).permute(0, 3, 1, 2)
            logits = model.policy_logits(flat_inputs(images))[:, 0]
            games.act(Categorical(logits=logits, validate_args=False).sample().numpy())

    def collect() -> None:
        run.collector.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=True)

    works = {
        "environment alone": random_actions,
        "with the policy in the loop": bare_loop,
        "collector": collect,
        "training": run.iterate,
    }
    return {name: ENVS * STEPS / seconds for name, seconds in least_seconds(works, rounds).items()}


def least_seconds(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Each one's least time of several, in turn; the first, which allocates, does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    return {name: min(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "procgen_stepping.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = stepping_rates(options.threads, options.rounds)
    looped = rates["with the policy in the loop"]
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f}/s, {rate / looped:.0%} of the bare loop")
    results: dict[str, Any] = {"threads": options.threads, "torch": torch.__version__, "rates": rates}
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
