"""One training run: config in, rows and checkpoints out, resumable bit for bit."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import math
import os
import platform
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from scaling.agents.ppo import PPO
from scaling.agents.rollout import collect_bandit
from scaling.config import RunConfig
from scaling.curve import CurveRecorder
from scaling.envs.bandit import DigitBandit
from scaling.envs.digits import DigitImages, find_mnist
from scaling.envs.interface import Bandit
from scaling.envs.registry import NUM_ACTIONS, make_task, observation_shape
from scaling.errors import InputError, LeaseLost, NonFiniteLoss
from scaling.models.families import build_actor_critic, step_size
from scaling.models.sizing import sizes_of

Row = dict[str, Any]


class CurveWriter(Protocol):
    """Where a run's rows and checkpoints go; a store's writer is one."""

    def checkpoints(self) -> Any: ...
    def drop_after(self, index: int) -> None: ...
    def write_segment(
        self, index: int, rows: list[Row], checkpoint: bytes, *, interactions: int, wall_seconds: float
    ) -> None: ...
    def finish(self) -> None: ...
    def fail(self, reason: str, *, rows: list[Row], index: int) -> None: ...
    def stop(self, reason: str) -> None: ...


class Run:
    """The state of one run between iterations.

    Raises:
        InputError: if the task's data or the device cannot be had, or the width is too small.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        device: str = "cpu",
        mnist_dir: Path | None = None,
        task: Bandit | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.task = task or make_task(config.task, mnist_dir=mnist_dir)
        init, contexts, actions, batches = np.random.SeedSequence(config.seed).spawn(4)
        generator = torch.Generator().manual_seed(int(init.generate_state(1)[0]))
        model = build_actor_critic(
            config.model, self.task.observation_shape, self.task.num_actions, generator
        )
        self.flops_per_interaction = sizes_of(
            model, self.task.observation_shape, config.agent
        ).flops_per_interaction
        self.agent = PPO(
            config.agent,
            model.to(self.device),
            step_size=step_size(config.agent.learning_rate, config.model),
        )
        self.rngs = {
            name: np.random.default_rng(seed)
            for name, seed in (("contexts", contexts), ("actions", actions), ("batches", batches))
        }
        self.contexts = np.zeros(0, np.int64)
        self.recorder = CurveRecorder(config.rows_per_decade)
        self.interactions = 0
        self.wall_seconds = 0.0

    def iterate(self) -> None:
        """One iteration: collect, learn, record.

        Raises:
            NonFiniteLoss: if a loss is not a finite number; what was collected is recorded.
        """
        started = time.perf_counter()
        agent = self.config.agent
        envs = agent.num_envs_at(self.interactions)
        fresh = self.task.draw(self.rngs["contexts"], envs - self.contexts.size)
        rollout, self.contexts = collect_bandit(
            self.agent.model,
            self.task,
            np.concatenate([self.contexts, fresh]),
            steps=agent.rollout_steps,
            context_rng=self.rngs["contexts"],
            action_rng=self.rngs["actions"],
            needs_bootstrap=agent.gamma > 0,
            device=self.device,
        )
        # Weights that the last step made infinite: such a policy's actions measure nothing.
        self._check_finite({"entropy": float(rollout.entropy)})
        diagnostics = self.agent.learn(rollout, self.rngs["batches"])
        self.interactions += rollout.reward.size
        diagnostics["batch_size"] = float(rollout.reward.size)
        finite = all(map(math.isfinite, diagnostics.values()))
        self.recorder.add(rollout.reward.ravel(), 1.0, diagnostics if finite else {})
        self.wall_seconds += time.perf_counter() - started
        self._check_finite(diagnostics)

    def _check_finite(self, diagnostics: dict[str, float]) -> None:
        for name, value in diagnostics.items():
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"{name} is {value} after {self.interactions:,} interactions; "
                    f"try a smaller agent.learning_rate (now {self.config.agent.learning_rate:g})."
                )

    def close_row(self) -> Row:
        """The row of what was recorded since the last one."""
        return self.recorder.close_row(
            self.interactions,
            wall_seconds=self.wall_seconds,
            train_flops=self.flops_per_interaction * self.interactions,
        )

    def save(self) -> bytes:
        """Everything that the next iteration depends on."""
        state = {
            "run_id": self.config.run_id,
            "interactions": self.interactions,
            "wall_seconds": self.wall_seconds,
            "contexts": torch.from_numpy(self.contexts.copy()),
            "rngs": json.dumps({name: rng.bit_generator.state for name, rng in self.rngs.items()}),
            "recorder": json.dumps(self.recorder.state_dict()),
            "agent": self.agent.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Continue from ``save``'s bytes.

        Raises:
            ValueError: if they are damaged or belong to another run.
        """
        try:
            state = torch.load(io.BytesIO(checkpoint), map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises whatever its zip reader meets
            raise ValueError(f"the checkpoint cannot be read ({error})") from error
        if state["run_id"] != self.config.run_id:
            raise ValueError("the checkpoint belongs to another run")
        self.interactions = state["interactions"]
        self.wall_seconds = state["wall_seconds"]
        self.contexts = state["contexts"].cpu().numpy()
        for name, rng_state in json.loads(state["rngs"]).items():
            self.rngs[name].bit_generator.state = rng_state
        self.recorder.load_state_dict(json.loads(state["recorder"]))
        self.agent.load_state_dict(state["agent"])


def train(
    config: RunConfig,
    writer: CurveWriter,
    *,
    device: str = "cpu",
    mnist_dir: Path | None = None,
    on_progress: Callable[[int, float], None] = lambda interactions, wall_seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> str:
    """Train to the end, from the newest checkpoint that can be read. Returns the status.

    Rows since the last checkpoint are stored together with the next one, so a run killed at
    any moment loses at most the work since its last checkpoint.

    Args:
        on_progress: told (interactions, wall seconds so far) after each iteration.
        should_stop: asked after each iteration; if true, everything is stored and the run
            stops, to go on later.

    Raises:
        InputError: if the run cannot start (the run is marked failed).
        NonFiniteLoss: if a loss is not finite (the run is marked failed, its rows kept).
        LeaseLost: if another attempt took the run over.
    """
    index = 0
    rows: list[Row] = []
    try:
        run = Run(config, device=device, mnist_dir=mnist_dir)
        index = _resume(run, writer) + 1
        on_progress(run.interactions, run.wall_seconds)
        while run.interactions < config.interactions:
            due = _next_checkpoint(run.interactions, config)
            run.iterate()
            finished = run.interactions >= config.interactions
            if finished or run.recorder.is_due(run.interactions):
                rows.append(run.close_row())
            stopping = not finished and should_stop()
            if finished or stopping or run.interactions >= due:
                writer.write_segment(
                    index, rows, run.save(), interactions=run.interactions, wall_seconds=run.wall_seconds
                )
                index, rows = index + 1, []
            on_progress(run.interactions, run.wall_seconds)
            if stopping:
                writer.stop("stopped on request; it goes on from its checkpoint")
                return "stopped"
        writer.finish()
        return "done"
    except LeaseLost:
        raise
    except NonFiniteLoss as error:
        if not run.recorder.is_empty:
            rows.append(run.close_row())
        writer.fail(str(error), rows=rows, index=index)
        raise
    except InputError as error:
        writer.fail(str(error), rows=rows, index=index)
        raise


def keep_freed_memory() -> None:
    """Have glibc keep large freed buffers instead of returning them to the system.

    Activations are allocated anew at each step; taking their pages back from the system
    each time cost up to 2.6 times the training time at large batches. Elsewhere than on
    glibc nothing is done.
    """
    mmap_max, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def resolve_device(name: str) -> str:
    """``auto`` is cuda where there is one, else cpu.

    Raises:
        InputError: if cuda is asked for and there is none, or the name is unknown.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name}: choose auto, cpu or cuda.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: torch finds no CUDA GPU here; use --device cpu or auto.")
    return "cuda" if name != "cpu" and available else "cpu"


def check_task_data(task: str, mnist_dir: Path | None = None) -> None:
    """Make sure that a task's data is at hand, downloading it if need be.

    Raises:
        InputError: if it cannot be had.
    """
    if task == "mnist-bandit":
        find_mnist(mnist_dir)


def estimate_rate(config: RunConfig, *, iterations: int = 2) -> float:
    """Interactions per second on this machine, from a few iterations on blank images."""
    _, height, width = observation_shape(config.task)
    blank = DigitImages(np.zeros((NUM_ACTIONS, height, width), np.uint8), np.arange(NUM_ACTIONS))
    run = Run(config, task=DigitBandit(blank))
    run.iterate()  # the first one allocates
    before, started = run.wall_seconds, run.interactions
    for _ in range(iterations):
        run.iterate()
    return (run.interactions - started) / (run.wall_seconds - before)


def run_columns(config: RunConfig) -> dict[str, Any]:
    """The run columns of the schema, sizes included; loads no data."""
    shape = observation_shape(config.task)
    model = build_actor_critic(config.model, shape, NUM_ACTIONS, torch.Generator())
    return {
        "task": config.task,
        "algorithm": config.agent.algorithm,
        "family": config.model.family,
        "width": config.model.width,
        "depth": config.model.depth,
        "horizon": config.agent.horizon,
        "seed": config.seed,
        "learning_rate": config.agent.learning_rate,
        **asdict(sizes_of(model, shape, config.agent)),
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


def _resume(run: Run, writer: CurveWriter) -> int:
    """Restore the newest readable checkpoint; drop what comes after it. Returns its index or -1."""
    last = -1
    for index, checkpoint in writer.checkpoints():
        try:
            run.restore(checkpoint)
        except ValueError:
            continue  # a damaged checkpoint costs one interval: the one before it is used
        last = index
        break
    writer.drop_after(last)
    return last


def _next_checkpoint(interactions: int, config: RunConfig) -> int:
    """The first of the evenly spaced checkpoint thresholds beyond ``interactions``."""
    count = config.checkpoints
    reached = interactions * count // config.interactions
    return math.ceil((reached + 1) * config.interactions / count)
