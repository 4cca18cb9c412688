"""Interactions per second of this trainer and of stable-baselines3's PPO on the MNIST bandit.

Both train separate policy and value networks of the family mnist-cnn, the same layers and
sizes, with 512 steps of one environment an iteration, 4 minibatches of 128, one epoch,
gamma 0, lambda 1, clip 0.2, entropy bonus 0.01 and
the same Adam (fused) with the same step size.

stable-baselines3 gets its most favourable honest route: the gymnasium environment
rlscale/MnistBandit-v0 is made as one vector environment and handed over by an adapter that
neither copies observations nor loops over environments; episodes never end, nothing is
logged, no monitor and no checker wraps the environment. It still steps one observation at a
time, since it cannot know that the next image does not depend on the action; this trainer
does know, and that difference is what is measured. It always clips the gradient's norm, with
a bound of infinity here.

Each measurement is a process of its own, interleaved A B A B. Run on an idle machine:

    python benchmarks/trainer_speed.py [--pairs 3] [--threads N] [--seconds 10] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROLLOUT, MINIBATCHES, LEARNING_RATE, CLIP = 512, 4, 5e-4, 0.2
ENTROPY_COEF, VALUE_COEF = 0.01, 0.5
MATMUL_SIDE = 2048
KINDS = ("ppo", "sb3", "ppo-ewma")


@dataclass(frozen=True)
class Size:
    """A member of the family, and the least ratio that is asked for at it."""

    name: str
    width: float
    bar: float | None


SIZES = (Size("smallest", 0.025, 10.0), Size("default", 1.0, 1.5), Size("largest", math.sqrt(8), None))


def interactions_per_second(iterate: Callable[[], None], seconds: float) -> dict[str, float]:
    """Rate of whole iterations after a first one, which allocates; two of them at least."""
    iterate()
    iterations, started = 0, time.perf_counter()
    while iterations < 2 or time.perf_counter() - started < seconds:
        iterate()
        iterations += 1
    return {"rate": ROLLOUT * iterations / (time.perf_counter() - started), "iterations": iterations}


def measure_ours(algorithm: str, width: float, threads: int, seconds: float) -> dict[str, float]:
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.training.facts import run_columns
    from rlscale.scaling.training.run import Run

    config = run_config(
        {
            "task": "mnist-bandit",
            "interactions": 10**9,
            "threads": threads,
            "model": {"width": width},
            "agent": {
                "algorithm": algorithm,
                "learning_rate": LEARNING_RATE,
                "rollout_steps": ROLLOUT,
                "minibatches": MINIBATCHES,
                "clip": CLIP,
                "entropy_coef": ENTROPY_COEF,
                "value_coef": VALUE_COEF,
            },
        },
        source="benchmark",
    )
    columns = run_columns(config)
    run = Run(config)
    sizes = {name: columns[name] for name in ("num_params", "num_params_total", "flops_per_interaction")}
    return interactions_per_second(run.iterate, seconds) | sizes


def measure_sb3(width: float, threads: int, seconds: float) -> dict[str, float]:
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv

    from rlscale.scaling.config.model import ModelConfig, step_size
    from rlscale.scaling.models.mnist_cnn import MnistCnn, mnist_cnn_shape
    from rlscale.scaling.tasks.registry import register_envs

    class Trunk(BaseFeaturesExtractor):
        """The family's layers up to the head, which stable-baselines3 adds itself."""

        def __init__(self, observation_space: gymnasium.spaces.Box) -> None:
            shape = mnist_cnn_shape(width, 1)
            super().__init__(observation_space, features_dim=shape.dense)
            self.net = MnistCnn(shape, observation_space.shape, torch.Generator().manual_seed(0))

        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return self.net(observation)

    class WithoutCopies(VecEnv):
        """A gymnasium vector environment whose episodes never end, as stable-baselines3's."""

        def __init__(self, env: gymnasium.vector.VectorEnv) -> None:
            self.env = env
            self.infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
            super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

        def reset(self) -> Any:
            return self.env.reset(seed=0)[0]

        def step_async(self, actions: Any) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            observation, reward, terminated, _, _ = self.env.step(self.actions)
            return observation, reward, terminated, self.infos

        def close(self) -> None:
            self.env.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None] * self.num_envs

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            return [None] * self.num_envs

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    register_envs()
    env = gymnasium.make_vec("rlscale/MnistBandit-v0", num_envs=1, episode_length=None)
    model = PPO(
        "CnnPolicy",
        WithoutCopies(env),
        learning_rate=step_size(LEARNING_RATE, ModelConfig(width=width)),
        n_steps=ROLLOUT,
        batch_size=ROLLOUT // MINIBATCHES,
        n_epochs=1,
        gamma=0.0,
        gae_lambda=1.0,
        clip_range=CLIP,
        ent_coef=ENTROPY_COEF,
        vf_coef=VALUE_COEF,
        max_grad_norm=math.inf,
        policy_kwargs={
            "features_extractor_class": Trunk,
            "share_features_extractor": False,
            "net_arch": [],
            "ortho_init": False,
            "normalize_images": False,
            "optimizer_kwargs": {"eps": 1e-8, "fused": True},
        },
        device="cpu",
        seed=0,
    )
    torch.set_num_threads(threads)

    def iterate() -> None:
        model.learn(ROLLOUT, log_interval=None, reset_num_timesteps=False)

    parameters = sum(parameter.numel() for parameter in model.policy.parameters())
    return interactions_per_second(iterate, seconds) | {"num_params_total": parameters}


def measure_peak(threads: int, seconds: float) -> dict[str, float]:
    """The best FLOP/s of a large float32 matrix product in repeated tries."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2, MATMUL_SIDE, MATMUL_SIDE)
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - before)
    return {"flops_per_second": 2 * MATMUL_SIDE**3 / best}


def measure(kind: str, width: float, threads: int, seconds: float) -> dict[str, float]:
    """One measurement, in this process."""
    if kind == "peak":
        return measure_peak(threads, min(3.0, seconds))
    if kind == "sb3":
        return measure_sb3(width, threads, seconds)
    return measure_ours(kind, width, threads, seconds)


def in_own_process(kind: str, width: float, threads: int, seconds: float) -> dict[str, float]:
    """``measure`` in a fresh process, with so many threads in every library."""
    options = [
        "--measure",
        kind,
        "--width",
        repr(width),
        "--threads",
        str(threads),
        "--seconds",
        str(seconds),
    ]
    done = subprocess.run(
        [sys.executable, __file__, *options],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"measuring {kind} at width {width:g} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float], digits: int = 4) -> dict[str, float]:
    """Median, least and largest, rounded to significant digits."""
    three = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in three.items()}


def compare(size: Size, pairs: int, threads: int, seconds: float, peaks: list[float]) -> dict[str, Any]:
    """All measurements of one size: rates, ratios within each pair, share of the peak."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    facts: dict[str, dict[str, float]] = {}
    for pair in range(pairs):
        peaks.append(in_own_process("peak", size.width, threads, seconds)["flops_per_second"])
        for kind in KINDS:
            facts[kind] = in_own_process(kind, size.width, threads, seconds)
            rates[kind].append(facts[kind]["rate"])
            print(f"{size.name}, pair {pair + 1}, {kind}: {rates[kind][-1]:,.0f}/s", file=sys.stderr)
    if facts["sb3"]["num_params_total"] != facts["ppo"]["num_params_total"]:
        sys.exit(f"the networks differ: {facts['sb3']} and {facts['ppo']}")

    def ratios(kind: str) -> dict[str, float]:
        return spread([ours / theirs for ours, theirs in zip(rates[kind], rates["sb3"], strict=True)], 3)

    ratio = ratios("ppo")
    return {
        "size": size.name,
        "width": round(size.width, 4),
        "num_params": int(facts["ppo"]["num_params"]),
        "interactions_per_second": {kind: spread(values) for kind, values in rates.items()},
        "ratio_ppo_to_sb3": ratio,
        "ratio_ppo_ewma_to_sb3": ratios("ppo-ewma"),
        "bar": size.bar,
        "bar_met": None if size.bar is None else ratio["median"] >= size.bar,
        "flops_per_second": {
            kind: float(f"{facts[kind]['flops_per_interaction'] * statistics.median(rates[kind]):.4g}")
            for kind in ("ppo", "ppo-ewma")
        },
    }


def print_table(rows: list[dict[str, Any]], peak: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Interactions per second: medians; ratio with least and largest")
    table.add_column("width")
    for name in ("parameters", "ours, ppo", "SB3, PPO", "ppo-ewma", "ppo / SB3", "bar", "of peak"):
        table.add_column(name, justify="right")
    for row in rows:
        ratio = row["ratio_ppo_to_sb3"]
        table.add_row(
            f"{row['width']:.3g}",
            f"{row['num_params']:,}",
            *(f"{row['interactions_per_second'][kind]['median']:,.0f}" for kind in KINDS),
            f"{ratio['median']:.3g} ({ratio['min']:.3g}-{ratio['max']:.3g})",
            "" if row["bar"] is None else f"{row['bar']:g} {'met' if row['bar_met'] else 'MISSED'}",
            f"{row['share_of_peak']['ppo']:.0%}",
        )
    console = Console()
    console.print(table)
    console.print(f"Peak: {peak:.3g} FLOP/s in float32 matrix products of {MATMUL_SIDE} x {MATMUL_SIDE}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement, at least")
    parser.add_argument(
        "--sizes", nargs="+", choices=[s.name for s in SIZES], default=[s.name for s in SIZES]
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "trainer_speed.json")
    parser.add_argument("--measure", choices=[*KINDS, "peak"], help=argparse.SUPPRESS)
    parser.add_argument("--width", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.width, options.threads, options.seconds)))
        return

    load_before = os.getloadavg()[0]
    peaks: list[float] = []
    sizes = [size for size in SIZES if size.name in options.sizes]
    rows = [compare(size, options.pairs, options.threads, options.seconds, peaks) for size in sizes]
    peak = statistics.median(peaks)
    for row in rows:
        row["share_of_peak"] = {kind: round(f / peak, 3) for kind, f in row["flops_per_second"].items()}
    result = {
        "what": "training on mnist-bandit: interactions per second of Run.iterate and of "
        "stable-baselines3's PPO, each measurement in its own process, interleaved",
        "options": {"rollout": ROLLOUT, "minibatches": MINIBATCHES, "epochs": 1, "envs": 1}
        | {"pairs": options.pairs, "threads": options.threads, "seconds": options.seconds},
        "load_average_before": round(load_before, 2),
        "peak_flops_per_second": spread(peaks),
        "rows": rows,
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("torch", "numpy", "gymnasium", "stable-baselines3")},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print_table(rows, peak)


if __name__ == "__main__":
    main()
