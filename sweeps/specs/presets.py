"""The paper's experiments as sweep specs, by name (Hilton, Tang, Schulman 2023, arXiv 2301.13442).

The tables below hold what the paper and the reference code state: PPG-EWMA with a fixed KL penalty on
Procgen, on-policy PPO without reuse of data on Dota 2, PPO-EWMA with rollouts of 512 on MNIST. What they
leave open is our choice:

- Sizes are a factor of 2 apart in parameters, from 1/64 to 8 times the default member: coarser grids put
  the measured frontier too high. The number of channels grows with the square root.
- Three seeds; two where horizons multiply the runs.
- Depth is varied at a quarter of the default width (4, 8 and 8 channels), because the paper does not give
  its base width: 64 blocks per stack then cost about 1.4 times the default network. ``base.model.width``
  in the shown spec changes it.
- MNIST uses the entropy bonus, minibatches and growing batch of the width sweep in ``data/``, and over
  horizons the learning rate of the tuning there. Runs have 2 million interactions, more than any of these
  widths had in that sweep; the number is affine in h, as the gradient's variance is.
- Procgen's memory mode, with an LSTM after the trunk, replaces Dota 2. Policy and value share one network,
  as they do there; the discount and the batch are those of Procgen.

Atari and MuJoCo have the networks and hyperparameters of Moalla et al. 2024 (No representation, no trust),
which are those of PPO's usual benchmarks. One game and one robot of theirs vary in width and in the number of
dense layers. Four things differ: a step shows the maximum of its last two frames; a time limit is no end (the
value of the last observation counts); normalised observations are cut at 10; the initial weights are those
that the step size is scaled for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import did_you_mean
from rlscale.sweeps.specs.spec import SweepSpec, load_spec, parse_spec

#: Parameters relative to the family's default member, and the widths that give about that many.
SIZE_RATIOS = tuple(2.0**k for k in range(-6, 4))
WIDTHS = [round(math.sqrt(ratio), 6) for ratio in SIZE_RATIOS]
DEPTHS = [1, 2, 4, 8, 16, 32, 64]
DEPTH_WIDTH = 0.25
HORIZONS = [2**k for k in range(9)]
SEEDS = [0, 1, 2]

#: What PPO and PPG share on Procgen: arXiv 2110.00641, table of hyperparameters.
_PROCGEN_AGENT = {
    "learning_rate": 5.0e-4,
    "adam_betas": [0.9, 0.999],
    "adam_eps": 1.0e-8,
    "horizon": 1999,  # gamma = 0.999
    "gae_lambda": 0.95,
    "num_envs": 256,  # 4 workers of 64
    "rollout_steps": 256,
    "minibatches": 8,
    "epochs_policy": 1,
    "epochs_value": 1,
    "importance_cap": 100,
    "value_coef": 0.5,
    "entropy_coef": 0.01,
    "normalize_advantage": True,
    "advantage_decay": 0,
    "normalize_reward": True,
}

_PPG_EWMA = {
    "algorithm": "ppg-ewma",
    "architecture": "dual",
    **_PROCGEN_AGENT,
    "clip": 0,  # fixed KL penalty
    "kl_penalty": 1,
    "ewma_decay": 8 / 9,
    "phasic": {
        "policy_iterations": 32,
        "auxiliary_epochs": 6,
        "clone_coef": 1,
        "value_coef": 1,
        "sequences": 16,
        "learning_rate": 5.0e-4,
    },
}

_PPO_ON_POLICY = {"algorithm": "ppo", "architecture": "shared", **_PROCGEN_AGENT, "clip": 0.2}

_MNIST_AGENT = {
    "algorithm": "ppo-ewma",
    "architecture": "dual",
    "learning_rate": 5.0e-4,
    "horizon": 1,
    "gae_lambda": 1,
    "num_envs": 1,
    "rollout_steps": 512,
    "minibatches": 4,
    "clip": 0,
    "kl_penalty": 1,
    "entropy_coef": 0.02,
    "normalize_advantage": False,
    "batch_growth": {"exponent": 0.5, "reference": 100_000},
}

#: What Atari and MuJoCo share: Moalla et al. 2024, tables of hyperparameters.
_CONTROL_AGENT = {
    "algorithm": "ppo",
    "architecture": "dual",
    "adam_betas": [0.9, 0.999],
    "adam_eps": 1.0e-8,
    "horizon": 199,  # gamma = 0.99
    "gae_lambda": 0.95,
    "minibatch_of": "steps",
    "importance_cap": 0,
    "value_coef": 0.5,
    "normalize_advantage": True,
    "normalize_advantage_of": "minibatch",
    "max_grad_norm": 0.5,
}

_ATARI = {
    "task": "gymnasium:ALE/Phoenix-v5",
    "interactions": 100_000_000 // 3,  # 100 million frames
    "wrappers": {
        "atari": {"frame_skip": 3, "sticky": 0.25, "noops": 0, "size": 84, "stack": 4, "max_frames": 108_000}
    },
    "agent": {
        **_CONTROL_AGENT,
        "learning_rate": 2.5e-4,
        "num_envs": 8,
        "rollout_steps": 128,
        "minibatches": 4,  # of 256 steps
        "epochs_policy": 4,
        "epochs_value": 4,
        "clip": 0.1,
        "entropy_coef": 0.01,
        "sign_reward": True,
    },
}

_MUJOCO = {
    "task": "gymnasium:Hopper-v4",
    "interactions": 5_000_000,
    "wrappers": {"time": True},
    "agent": {
        **_CONTROL_AGENT,
        "learning_rate": 3.0e-4,
        "num_envs": 2,
        "rollout_steps": 1024,
        "minibatches": 32,  # of 64 steps
        "epochs_policy": 10,
        "epochs_value": 10,
        "clip": 0.2,
        "entropy_coef": 0,
        "normalize_observation": "random-steps",
    },
}

#: Dense layers; without connections around them, deeper stacks hardly train.
DENSE_DEPTHS = [1, 2, 4, 8, 16]

_INTERACTIONS = 200_000_000
_MNIST_INTERACTIONS = 2_000_000


def _procgen(game: str, mode: str) -> dict[str, Any]:
    return {"task": f"procgen-{game}-{mode}", "interactions": _INTERACTIONS, "agent": _PPG_EWMA}


def _width_sweep(game: str, mode: str) -> dict[str, Any]:
    base = {**_procgen(game, mode), "model": {"family": "impala", "depth": 2}}
    return {"base": base, "axes": {"width": WIDTHS, "seed": SEEDS}}


def _depth_sweep(game: str, mode: str) -> dict[str, Any]:
    base = {**_procgen(game, mode), "model": {"family": "impala", "width": DEPTH_WIDTH}}
    return {"base": base, "axes": {"depth": DEPTHS, "seed": SEEDS}}


def _memory_sweep() -> dict[str, Any]:
    base = {
        "task": "procgen-maze-memory",
        "interactions": _INTERACTIONS,
        "model": {"family": "impala-lstm", "depth": 2},
        "agent": _PPO_ON_POLICY,
    }
    return {"base": base, "axes": {"width": WIDTHS, "seed": SEEDS}}


def _control_sweep(base: dict[str, Any], model: dict[str, Any], **axis: list[Any]) -> dict[str, Any]:
    return {"base": {**base, "model": model}, "axes": {**axis, "seed": SEEDS}}


def _control() -> dict[str, tuple[str, dict[str, Any]]]:
    nature, mlp = {"family": "nature-cnn"}, {"family": "mlp", "activation": "tanh"}
    return {
        "atari-width": (
            "Atari Phoenix, PPO, 10 widths of nature-cnn",
            _control_sweep(_ATARI, {**nature, "depth": 1}, width=WIDTHS),
        ),
        "atari-depth": (
            "Atari Phoenix, PPO, nature-cnn with 1 to 16 dense layers",
            _control_sweep(_ATARI, {**nature, "width": 1}, depth=DENSE_DEPTHS),
        ),
        "mujoco-width": (
            "MuJoCo Hopper, PPO, 10 widths of an mlp",
            _control_sweep(_MUJOCO, {**mlp, "depth": 2}, width=WIDTHS),
        ),
        "mujoco-depth": (
            "MuJoCo Hopper, PPO, mlp with 1 to 16 layers",
            _control_sweep(_MUJOCO, {**mlp, "width": 1}, depth=DENSE_DEPTHS),
        ),
    }


def _mnist_width_sweep() -> dict[str, Any]:
    base = {"task": "mnist-bandit", "interactions": _MNIST_INTERACTIONS, "agent": _MNIST_AGENT}
    return {"base": base, "axes": {"width": WIDTHS, "seed": SEEDS}}


def _mnist_horizon_sweep() -> dict[str, Any]:
    agent = {name: value for name, value in _MNIST_AGENT.items() if name != "horizon"}
    base = {"task": "mnist-bandit", "agent": agent | {"learning_rate": 1.0e-3}}
    lengths = [round(_MNIST_INTERACTIONS * (1 + h / 32)) for h in HORIZONS]
    axes = [{"horizon": HORIZONS, "interactions": lengths}, {"width": WIDTHS}, {"seed": SEEDS[:2]}]
    return {"base": base, "axes": axes}


def _perceptron(students: int) -> dict[str, Any]:
    """Students whose law follows from their equations: ``analysis/studies/solvable/perceptron_family.py``."""
    settings = {
        "students": students,
        "rho0": 0.1,
        "spherical": True,
        "schedule": {"rate": "optimal"},
        "teacher": {"dimension": 4096, "power": 0.5},
    }
    return {
        "task": "rl-perceptron",
        "rows_per_decade": 40,
        "checkpoints": 5,
        "perceptron": settings,
    }


def _perceptron_sweep() -> dict[str, Any]:
    """Runs of four times the interactions at which their size is optimal, 256 pi sqrt(D)."""
    base = _perceptron(128)
    base["perceptron"]["steps"] = 2
    sizes = [round(32 * 2 ** (i / 2)) for i in range(11)]
    lengths = [_two_digits(4 * 256 * math.pi * math.sqrt(size)) for size in sizes]
    axes = [{"perceptron.dimension": sizes, "interactions": lengths}, {"seed": SEEDS}]
    return {"base": base, "axes": axes}


def _perceptron_horizon_sweep() -> dict[str, Any]:
    longer = {1: 0.8, 2: 1.0, 4: 2.5}  # a longer horizon learns later
    points = [(steps, 32 * 2**i) for steps in longer for i in range(4)]
    lengths = [_two_digits(1800 * longer[steps] * math.sqrt(size)) for steps, size in points]
    group = {
        "perceptron.steps": [steps for steps, _ in points],
        "perceptron.dimension": [size for _, size in points],
        "interactions": lengths,
    }
    return {"base": _perceptron(64), "axes": [group, {"seed": [0, 1]}]}


def _two_digits(number: float) -> int:
    return int(float(f"{number:.2g}"))


def _all() -> dict[str, tuple[str, dict[str, Any]]]:
    """By name, one line about a preset, and its spec without the name."""
    found = {
        "mnist-width": ("MNIST bandit, PPO-EWMA, 10 widths at horizon 1", _mnist_width_sweep()),
        "mnist-horizon": ("MNIST bandit, PPO-EWMA, horizons 1 to 256 x 10 widths", _mnist_horizon_sweep()),
        "procgen-maze-memory-width": (
            "Procgen Maze with memory, PPO and an LSTM, 10 widths (for Dota 2)",
            _memory_sweep(),
        ),
        "rl-perceptron": (
            "RL perceptron, 11 sizes whose exponents are known",
            _perceptron_sweep(),
        ),
        "rl-perceptron-horizon": (
            "RL perceptron, horizons 1, 2 and 4 x 4 sizes",
            _perceptron_horizon_sweep(),
        ),
    }
    titles = {"coinrun": "CoinRun", "starpilot": "StarPilot", "fruitbot": "FruitBot"}
    for game, title in titles.items():
        for mode in ("easy", "hard"):
            prefix, summary = f"procgen-{game}-{mode}", f"Procgen {title} {mode}, PPG-EWMA"
            found[f"{prefix}-width"] = (f"{summary}, 10 widths", _width_sweep(game, mode))
            found[f"{prefix}-depth"] = (f"{summary}, 1 to 64 blocks per stack", _depth_sweep(game, mode))
    return found | _control()


_PRESETS = _all()

#: One line about each preset.
SUMMARIES = {name: summary for name, (summary, _) in _PRESETS.items()}


def preset_values(name: str) -> dict[str, Any]:
    """A preset as its YAML file would give it.

    Raises:
        InputError: if there is no preset of that name; the message lists those that exist.
    """
    if name not in _PRESETS:
        raise InputError(
            f"There is no preset {name!r}; presets: {', '.join(SUMMARIES)}.", code="unknown_preset"
        )
    return {"name": name, **_PRESETS[name][1]}


def find_spec(given: str) -> SweepSpec:
    """The preset of that name, or the spec in the file of that name.

    Raises:
        InputError: if there is neither, or the file's spec is invalid.
    """
    if given in SUMMARIES:
        return parse_spec(preset_values(given), source=f"the preset {given}")
    path = Path(given)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return load_spec(path)
    meant = did_you_mean(given, SUMMARIES)
    question = "" if meant is None else f" Did you mean {meant!r}?"
    raise InputError(
        f"{given} is neither a file nor a preset; write FILE.yaml, or one of: "
        f"{', '.join(SUMMARIES)}.{question}",
        code="unknown_preset",
    )
