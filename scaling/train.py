"""One training run: config in, rows and checkpoints out, resumable bit for bit."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import logging
import math
import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from scaling.agents.collect import policy_of
from scaling.agents.ppg import PPG
from scaling.build import build_networks, make_agent, make_collector, make_procgen
from scaling.config import RunConfig
from scaling.curve import CurveRecorder
from scaling.envs.digits import find_mnist
from scaling.envs.evaluation import evaluate, unseen_levels
from scaling.envs.interface import Bandit
from scaling.envs.procgen_names import is_procgen
from scaling.envs.registry import task_shape
from scaling.errors import InputError, LeaseLost, NonFiniteLoss, StoreUnavailable
from scaling.machine import usable_cores
from scaling.models.sizing import sizes_of
from scaling.out_of_memory import is_out_of_memory, memory_is_asked_for, smaller_batch, smaller_width

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
        bandit: Bandit | None = None,
    ) -> None:
        self.config = config
        if config.evaluation_episodes:  # asked for now, not at the first checkpoint
            unseen_levels(config.levels.num_levels, config.levels.start_level)
        self.device = torch.device(device)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        init, task, actions, batches = np.random.SeedSequence(config.seed).spawn(4)
        generator = torch.Generator().manual_seed(int(init.generate_state(1)[0]))
        model = build_networks(config, generator)
        self.flops_per_interaction = sizes_of(
            model, task_shape(config.task)[0], config.agent
        ).flops_per_interaction
        with memory_is_asked_for(smaller_width(config)):
            self.agent = make_agent(config, model.to(self.device))
        self._collector = make_collector(
            config, self.device, task, actions, mnist_dir=mnist_dir, bandit=bandit
        )
        self._batches = np.random.default_rng(batches)
        self.recorder = CurveRecorder(config.rows_per_decade)
        self.interactions = 0
        self.wall_seconds = 0.0

    @property
    def is_between_phases(self) -> bool:
        """Whether the run can be saved and can end: always, but for PPG, which must not be in a phase."""
        return not isinstance(self.agent, PPG) or self.agent.is_between_phases

    def iterate(self, *, envs: int | None = None) -> None:
        """One iteration: collect, learn, record.

        Args:
            envs: environments of it, ``num_envs`` times a power of 2; by default what the config says.

        Raises:
            NonFiniteLoss: if a loss is not a finite number; what was collected is recorded.
            InputError: if the memory does not suffice.
        """
        started = time.perf_counter()
        agent = self.config.agent
        with memory_is_asked_for(smaller_batch(agent)):
            rollout, returns, lengths = self._collector.collect(
                self.agent.model,
                envs=envs or agent.num_envs_at(self.interactions),
                steps=agent.rollout_steps,
                needs_bootstrap=agent.gamma > 0,
            )
            # Weights that the last step made infinite: such a policy's actions measure nothing.
            self._check_finite({"entropy": float(rollout.entropy)})
            diagnostics = self.agent.learn(rollout, self._batches)
        self.interactions += rollout.reward.size
        diagnostics["batch_size"] = float(rollout.reward.size)
        finite = all(map(math.isfinite, diagnostics.values()))
        self.recorder.add(returns, lengths, diagnostics if finite else {})
        self.wall_seconds += time.perf_counter() - started
        self._check_finite(diagnostics)

    def evaluate(self) -> None:
        """Record the policy's mean return on levels that it is not trained on."""
        config = self.config
        levels = unseen_levels(config.levels.num_levels, config.levels.start_level)
        # The same levels at every evaluation, so that its noise does not hide progress.
        seed = config.seed % 2**31  # Procgen's seeds have 31 bits
        environment = make_procgen(config, seed=seed, levels=levels, num_threads=0)
        rng = np.random.default_rng(self.interactions)
        try:
            episodes = evaluate(
                policy_of(self.agent.model, rng, self.device), environment, config.evaluation_episodes
            )
        finally:
            environment.close()
        self.recorder.add_evaluation(episodes.returns)

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
        """Everything that the next iteration depends on; between phases only."""
        state = {
            "run_id": self.config.run_id,
            "interactions": self.interactions,
            "wall_seconds": self.wall_seconds,
            "collector": self._collector.state_dict(),
            "batches": self._batches.bit_generator.state,
            "recorder": json.dumps(self.recorder.state_dict()),
            "agent": self.agent.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Continue from ``save``'s bytes.

        Raises:
            ValueError: if they are damaged or belong to another run; this one is then of no more use.
            InputError: if the memory does not suffice, or a GPU's run goes on without one.
        """
        with memory_is_asked_for(smaller_batch(self.config.agent)):
            state = self._read(checkpoint)
            try:
                self._load(state)
            except Exception as error:  # whatever meets a state that is not of this shape
                if is_out_of_memory(error) or isinstance(error, InputError):
                    raise
                raise ValueError(f"the checkpoint does not fit ({error})") from error

    def _load(self, state: dict[str, Any]) -> None:
        self._collector.load_state_dict(state["collector"])
        self.agent.load_state_dict(state["agent"])
        self._batches.bit_generator.state = state["batches"]
        self.recorder.load_state_dict(json.loads(state["recorder"]))
        self.interactions = int(state["interactions"])
        self.wall_seconds = float(state["wall_seconds"])

    def _read(self, checkpoint: bytes) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(
                io.BytesIO(checkpoint), map_location=self.device, weights_only=True
            )
        except Exception as error:  # torch raises whatever its zip reader meets
            if is_out_of_memory(error):
                raise
            raise ValueError(f"the checkpoint cannot be read ({error})") from error
        if not isinstance(state, dict) or state.get("run_id") != self.config.run_id:
            raise ValueError("the checkpoint belongs to another run")
        if "collector" not in state:
            raise ValueError("the checkpoint is of an earlier version")
        return state


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
    any moment loses at most the work since its last checkpoint. PPG's checkpoints, and its end,
    are at the ends of phases, where nothing is stored for the auxiliary phase.

    Args:
        on_progress: told (interactions, wall seconds so far) after each iteration.
        should_stop: asked after each iteration; if true, everything is stored and the run
            stops, to go on later.

    Raises:
        InputError: if the run cannot start (the run is marked failed).
        NonFiniteLoss: if a loss is not finite (the run is marked failed, its rows kept).
        LeaseLost: if another attempt took the run over.
        StoreUnavailable: if the rows cannot be stored; the run can go on from its last checkpoint.
    """
    index = 0
    rows: list[Row] = []
    try:
        run, index = _resume(lambda: Run(config, device=device, mnist_dir=mnist_dir), writer)
        due = _next_checkpoint(run.interactions, config)
        on_progress(run.interactions, run.wall_seconds)
        while run.interactions < config.interactions or not run.is_between_phases:
            run.iterate()
            may_save = run.is_between_phases
            finished = may_save and run.interactions >= config.interactions
            is_due = may_save and run.interactions >= due
            if is_due and config.evaluation_episodes:
                run.evaluate()
            if finished or run.recorder.is_due(run.interactions):
                rows.append(run.close_row())
            stopping = not finished and should_stop()
            if finished or is_due or (stopping and may_save):
                writer.write_segment(
                    index, rows, run.save(), interactions=run.interactions, wall_seconds=run.wall_seconds
                )
                index, rows = index + 1, []
                due = _next_checkpoint(run.interactions, config)
            on_progress(run.interactions, run.wall_seconds)
            if stopping:
                writer.stop("stopped on request; it goes on from its checkpoint")
                return "stopped"
        writer.finish()
        return "done"
    except (LeaseLost, StoreUnavailable):
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


def warning_of_threads(configs: Sequence[RunConfig]) -> str | None:
    """What to tell if a run has more threads than there are cores, which makes it slower; else None."""
    cores = usable_cores()
    threads = max((config.threads for config in configs), default=0)
    if threads <= cores:
        return None
    return f"threads is {threads}, but there are {cores} cores here: more threads than cores only slow a run."


def check_task_data(task: str, mnist_dir: Path | None = None) -> None:
    """Make sure that what a task needs is at hand, downloading data if need be.

    Raises:
        InputError: if it cannot be had.
    """
    if task == "mnist-bandit":
        find_mnist(mnist_dir)
    if is_procgen(task):
        from scaling.envs.procgen import import_procgen

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


def _resume(make: Callable[[], Run], writer: CurveWriter) -> tuple[Run, int]:
    """A run restored from the newest checkpoint that can be, and the index of its next one."""
    run, last = make(), -1
    for index, checkpoint in writer.checkpoints():
        try:
            run.restore(checkpoint)
        except ValueError as error:  # a damaged checkpoint costs one interval: the one before it is used
            logging.getLogger("rlscale").warning("checkpoint %d is not used: %s", index, error)
            run = make()
            continue
        last = index
        break
    writer.drop_after(last)
    return run, last + 1


def _next_checkpoint(interactions: int, config: RunConfig) -> int:
    """The first of the evenly spaced checkpoint thresholds beyond ``interactions``."""
    count = config.checkpoints
    reached = interactions * count // config.interactions
    return math.ceil((reached + 1) * config.interactions / count)
