"""What bounds training on Procgen here: convolutions at the default size, the environment at the smallest.

Convolutions: oneDNN's rate on each of the default network's convolutions, forward and backward,
by itself; from it the time that the convolutions of one interaction must take at least (acting,
one epoch of policy and value network, forward pass of the EWMA), against the trainer's time.

Stepping, CoinRun easy, 64 environments: the environment alone with random actions; with the
smallest policy (1/64 of the default parameters) in a bare loop of observe, network, sample, act;
the trainer's collector, which also stores and evaluates; and whole training.

Run on an idle machine:  python benchmarks/procgen_bounds.py [--threads 2] [--rounds 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributions import Categorical

from scaling.agents.collect import flat_inputs
from scaling.build import make_procgen
from scaling.config import RunConfig, run_config
from scaling.train import Run

ENVS, STEPS, CHUNK = 64, 256, 256
#: (input channels, output channels, side, how often) of the default network's convolutions.
CONVOLUTIONS = ((3, 16, 64, 1), (16, 16, 32, 4), (16, 32, 32, 1), (32, 32, 16, 5), (32, 32, 8, 4))
#: Passes of one interaction through one network: (forward passes, backward passes).
POLICY_PASSES, VALUE_PASSES = (1 + 1 + 1, 1), (1 + 1, 1)


def seconds_of(work: Callable[[], object], rounds: int) -> float:
    """Least time of several; the first, which allocates, does not count."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def convolution_seconds(dtype: torch.dtype, rounds: int) -> tuple[float, float]:
    """Seconds an observation spends at least in one network's convolutions, (forward, backward)."""
    forward_total = backward_total = 0.0
    for inputs, outputs, side, count in CONVOLUTIONS:
        x, w, g = (
            torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
            for shape in ((CHUNK, inputs, side, side), (outputs, inputs, 3, 3), (CHUNK, outputs, side, side))
        )
        bias = torch.zeros(outputs, dtype=dtype)
        needs = [side != 64, True, True]  # the image needs no gradient

        def forward(x: Any = x, w: Any = w, bias: Any = bias) -> object:
            return torch.conv2d(x, w, bias, padding=1)

        def backward(x: Any = x, w: Any = w, g: Any = g, needs: Any = needs, n: int = outputs) -> object:
            return torch.ops.aten.convolution_backward(
                g, x, w, [n], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, needs
            )

        forward_total += count * seconds_of(forward, rounds) / CHUNK
        backward_total += count * seconds_of(backward, rounds) / CHUNK
    return forward_total, backward_total


def config_of(width: float, precision: str, threads: int) -> RunConfig:
    """PPO-EWMA with dual networks at the reference's settings, one epoch."""
    return run_config(
        {
            "task": "procgen-coinrun-easy",
            "interactions": 10**9,
            "model": {"width": width},
            "precision": precision,
            "threads": threads,
            "agent": {
                "algorithm": "ppo-ewma",
                "horizon": 1999,
                "gae_lambda": 0.95,
                "num_envs": ENVS,
                "rollout_steps": STEPS,
                "minibatches": 8,
                "normalize_reward": True,
            },
        },
        source="the benchmark",
    )


def training_rate(config: RunConfig, rounds: int) -> float:
    """Interactions per second of whole iterations."""
    run = Run(config)
    return ENVS * STEPS / seconds_of(run.iterate, rounds)


def stepping_rates(threads: int, rounds: int) -> dict[str, float]:
    """Environment steps per second of ever more of the trainer."""
    config = config_of(1 / 8, "float32", threads)
    run = Run(config)
    model, rng = run.agent.model, np.random.default_rng(0)
    games = make_procgen(config, seed=0, levels=(None, 0), num_threads=0)

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
        run._collector.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=True)

    works = {
        "environment alone": random_actions,
        "with the policy in the loop": bare_loop,
        "collector": collect,
        "training": run.iterate,
    }
    return {name: ENVS * STEPS / seconds_of(work, rounds) for name, work in works.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "procgen_bounds.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"threads": options.threads, "torch": torch.__version__}
    forward_passes = POLICY_PASSES[0] + VALUE_PASSES[0]
    backward_passes = POLICY_PASSES[1] + VALUE_PASSES[1]
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        rate = training_rate(config_of(1.0, name, options.threads), options.rounds)
        forward, backward = convolution_seconds(dtype, options.rounds)
        bound = 1 / (forward_passes * forward + backward_passes * backward)
        results[name] = {"bound": bound, "training": rate, "share": rate / bound}
        print(f"{name}: convolutions allow {bound:,.0f}/s, training {rate:,.0f}/s: {rate / bound:.0%}")
    rates = stepping_rates(options.threads, options.rounds)
    results["stepping"] = rates
    looped = rates["with the policy in the loop"]
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f}/s, {rate / looped:.0%} of the bare loop")
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
