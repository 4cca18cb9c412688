"""What is known about a run before it starts: its columns and its provenance."""

from __future__ import annotations

import os
import platform
import socket
import sys
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.tasks.catalog import SolvableTask, Task
from rlscale.scaling.tasks.registry import learner_facts
from rlscale.scaling.training.build import build_networks

#: Packages that make environments, whose versions decide what these show.
_EMULATORS = ("ale-py", "mujoco")


def run_columns(config: RunConfig, model: ActorCritic | None = None) -> dict[str, Any]:
    """The run columns of the schema, sizes included; loads no data.

    Args:
        model: the config's networks if they are already built.
    """
    solvable = config.solvable_task
    if solvable is not None:
        return _learner_columns(config, solvable)
    model = model or build_networks(config, torch.Generator())
    task = config.task_entry
    return {
        "task": config.task,
        "algorithm": config.agent.algorithm,
        "family": config.model.family_column,
        "width": config.model.width,
        "depth": config.model.depth,
        "horizon": config.agent.horizon,
        "seed": config.seed,
        "learning_rate": config.agent.learning_rate,
        **asdict(sizes_of(model, task.observations.shape, config.agent)),
        "return_low": task.return_low,
        "return_high": task.return_high,
    }


def _learner_columns(config: RunConfig, task: SolvableTask) -> dict[str, Any]:
    facts = asdict(learner_facts(task, config.settings))
    return {
        "task": config.task,
        "seed": config.seed,
        **{name: value for name, value in facts.items() if name not in ("memory", "calmer", "smaller")},
        "return_low": task.return_low,
        "return_high": task.return_high,
    }


def _module_of(package: str) -> str:
    return package.replace("-", "_")


def provenance(device: str, task: Task | SolvableTask | None = None) -> dict[str, Any]:
    """Versions, host and device that a run's bits depend on, and what it goes on from when it is resumed."""
    of_task: dict[str, Any] = {} if task is None else {"resume": task.resume}
    if isinstance(task, Task) and task.kind == "environment":
        of_task["gymnasium"] = metadata.version("gymnasium")
        of_task |= {name: metadata.version(name) for name in _EMULATORS if _module_of(name) in sys.modules}
    return of_task | {
        "rlscale": metadata.version("rlscale"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
