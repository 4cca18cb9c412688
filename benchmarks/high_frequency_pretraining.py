"""Does a network that first fitted a rough function still generalise? (Lyle et al. 2022, pre-training on it)

    python benchmarks/high_frequency_pretraining.py        # 10 minutes on one core
    python benchmarks/high_frequency_pretraining.py --seeds 1 --steps 300

A network (2-128-128-1, ReLU, Adam 1e-3) is pre-trained on 200 points of sin(w pi x1) sin(w pi x2), then
trained on a smooth value function on the same points. The higher the frequency w, the more it learns each
point for itself: the update matrix has a higher rank and less off its diagonal, and the error between the
points grows although that on them stays small. The bars are on the means of all seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from rlscale.scaling.diagnostics.interference import interference
from rlscale.scaling.diagnostics.tangent import kernel_of

RESULTS = Path(__file__).parent / "results" / "high_frequency_pretraining.json"

UNITS, LEARNING_RATE, STEPS = 128, 1e-3, 1500
TRAINED_ON, TESTED_ON, UPDATED = 200, 2000, 60
#: Frequencies of the pre-training; 0 is none, None are random labels.
SETTINGS: dict[str, float | None] = {
    "none": 0.0,
    "w = 1": 1.0,
    "w = 3": 3.0,
    "w = 6": 6.0,
    "w = 10": 10.0,
    "random labels": None,
}
#: Known figures of this protocol, five seeds: test error, approximate and effective rank, off the diagonal.
KNOWN = {
    "none": (1e-4, 3.0, 3.1, 0.71),
    "w = 1": (1e-4, 3.4, 4.8, 0.56),
    "w = 3": (0.0073, 5.8, 8.2, 0.41),
    "w = 6": (0.025, 6.6, 9.4, 0.38),
    "w = 10": (0.017, 6.8, 9.5, 0.38),
    "random labels": (0.063, 6.4, 9.3, 0.39),
}
ROUGH = ("w = 3", "w = 6", "w = 10")


@dataclass(frozen=True)
class Measured:
    """One seed of one setting: mean squared errors after the second training, matrix before it."""

    test_error: float
    train_error: float
    approximate_rank: float
    effective_rank: float
    off_diagonal: float


def rough_target(points: torch.Tensor, frequency: float) -> torch.Tensor:
    """sin(w pi x1) sin(w pi x2) of points (n, 2)."""
    return torch.sin(frequency * torch.pi * points).prod(dim=1)


def smooth_values(points: torch.Tensor) -> torch.Tensor:
    """-exp(-2 ((x1 - .5)² + (x2 - .3)²)) + .5 tanh(3 x1 x2) of points (n, 2)."""
    distance = (points - torch.tensor([0.5, 0.3])).square().sum(dim=1)
    return -torch.exp(-2 * distance) + 0.5 * torch.tanh(3 * points.prod(dim=1))


def fitted(network: torch.nn.Module, points: torch.Tensor, target: torch.Tensor, steps: int) -> float:
    """Train on all points at each step, with an Adam of its own; the last mean squared error."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(points).squeeze(-1) - target).square().mean().backward()
        optimizer.step()
    return error(network, points, target)


@torch.no_grad()
def error(network: torch.nn.Module, points: torch.Tensor, target: torch.Tensor) -> float:
    """Mean squared error."""
    return float((network(points).squeeze(-1) - target).square().mean())


def measured(frequency: float | None, seed: int, steps: int) -> Measured:
    """One seed of one setting; networks and points of a seed are the same in every setting."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, UNITS),
        torch.nn.ReLU(),
        torch.nn.Linear(UNITS, UNITS),
        torch.nn.ReLU(),
        torch.nn.Linear(UNITS, 1),
    )
    train, test = 2 * torch.rand(TRAINED_ON, 2) - 1, 2 * torch.rand(TESTED_ON, 2) - 1
    if frequency is None:
        fitted(network, train, torch.randn(TRAINED_ON), steps)
    elif frequency:
        fitted(network, train, rough_target(train, frequency), steps)
    kernel = kernel_of(network(train[:UPDATED]).squeeze(-1), network.parameters())
    matrix = interference(kernel)
    train_error = fitted(network, train, smooth_values(train), steps)
    return Measured(
        test_error=error(network, test, smooth_values(test)),
        train_error=train_error,
        approximate_rank=matrix.approximate_rank,
        effective_rank=matrix.effective_rank,
        off_diagonal=matrix.off_diagonal,
    )


def summary(values: list[float]) -> dict[str, float]:
    """Mean, standard error and 90% t interval."""
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half = float(stats.t.ppf(0.95, len(values) - 1)) * spread
    return {"mean": mean, "standard_error": spread, "low": mean - half, "high": mean + half}


def bars(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, bool]:
    """What has to hold of the means over seeds."""
    none = found["none"]
    return {
        "test error at least 20 times that of none for w >= 3": all(
            found[name]["test_error"]["mean"] >= 20 * none["test_error"]["mean"] for name in ROUGH
        ),
        "off-diagonal falls from none to w = 6, and stays below w = 3": none["off_diagonal"]["mean"]
        > found["w = 1"]["off_diagonal"]["mean"]
        > found["w = 3"]["off_diagonal"]["mean"]
        > max(found[name]["off_diagonal"]["mean"] for name in ("w = 6", "w = 10")),
        "training error below 2e-3 everywhere": all(
            each["train_error"]["mean"] < 2e-3 for each in found.values()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = {}
    print("pre-training     test error (se)         train    ranks: approx effective   off-diagonal")
    for name, frequency in SETTINGS.items():
        seeds = [asdict(measured(frequency, seed, asked.steps)) for seed in range(asked.seeds)]
        one = found[name] = {key: summary([each[key] for each in seeds]) for key in seeds[0]}
        test = one["test_error"]
        print(
            f"{name:14s} {test['mean']:10.2g} ({test['standard_error']:.1g}) "
            f"{one['train_error']['mean']:14.2g}"
            f"{one['approximate_rank']['mean']:16.1f} {one['effective_rank']['mean']:9.1f}"
            f"{one['off_diagonal']['mean']:14.2f}    known: {KNOWN[name]}",
            flush=True,
        )
    held = bars(found)
    for sentence, holds in held.items():
        print(f"{'holds' if holds else 'FAILS'}: {sentence}")
    stored = {
        "seeds": asked.seeds,
        "steps": asked.steps,
        "settings": found,
        "known": KNOWN,
        "bars": held,
        "seconds": round(time.perf_counter() - started),
    }
    asked.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
