"""What is known of a run before it starts: its columns, provenance, and that its task's data is there."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.tasks.digits.images import find_mnist
from rlscale.scaling.tasks.procgen.names import is_procgen
from rlscale.scaling.tasks.registry import task_shape
from rlscale.scaling.training.build import build_networks


def check_task_data(task: str, mnist_dir: Path | None = None) -> None:
    """Make sure that what a task needs is at hand, downloading data if need be.

    Raises:
        InputError: if it cannot be had.
    """
    if task == "mnist-bandit":
        find_mnist(mnist_dir)
    if is_procgen(task):
        from rlscale.scaling.tasks.procgen.games import import_procgen

        import_procgen()


def run_columns(config: RunConfig) -> dict[str, Any]:
    """The run columns of the schema, sizes included; loads no data."""
    model = build_networks(config, torch.Generator())
    return {
        "task": config.task,
        "algorithm": config.agent.algorithm,
        "family": config.model.family,
        "width": config.model.width,
        "depth": config.model.depth,
        "horizon": config.agent.horizon,
        "seed": config.seed,
        "learning_rate": config.agent.learning_rate,
        **asdict(sizes_of(model, task_shape(config.task)[0], config.agent)),
    }


def provenance(device: str) -> dict[str, Any]:
    """Versions, host and device that a run's bits depend on."""
    return {
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
