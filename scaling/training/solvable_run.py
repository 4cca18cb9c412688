"""One run of a task that brings its own learner: the same rows and checkpoints as ``Run``."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import NonFiniteLoss
from rlscale.scaling.tasks.registry import learner_facts, make_learner
from rlscale.scaling.training.checkpoint import loading, read_checkpoint
from rlscale.scaling.training.device import keep_freed_memory
from rlscale.scaling.training.out_of_memory import memory_is_asked_for
from rlscale.scaling.training.recorder import CurveRecorder
from rlscale.scaling.training.writer import Row


class SolvableRun:
    """The state of such a run between iterations.

    Attributes:
        facts: sizes and costs of the learner.

    Raises:
        InputError: if there is too little memory, or the device is not available.
    """

    is_between_phases = True

    def __init__(self, config: RunConfig, *, device: str = "cpu") -> None:
        task = config.solvable_task
        assert task is not None
        self.config = config
        self.device = torch.device(device)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.facts = learner_facts(task, config.settings)
        with memory_is_asked_for(self.facts.smaller):
            self.learner = make_learner(
                task, config.settings, seed=np.random.SeedSequence(config.seed), device=device
            )
        self.recorder = CurveRecorder(config.rows_per_decade)
        self.interactions = 0
        self.wall_seconds = 0.0

    def iterate(self) -> None:
        """One iteration of the learner, recorded.

        Raises:
            NonFiniteLoss: if a number is not finite; the iteration's episodes are recorded.
            InputError: if there is too little memory.
        """
        started = time.perf_counter()
        with memory_is_asked_for(self.facts.smaller):
            learned = self.learner.iterate(max(1, self.config.interactions - self.interactions))
        self.interactions += learned.interactions
        finite = all(map(math.isfinite, learned.diagnostics.values()))
        self.recorder.add(learned.returns, learned.lengths, learned.diagnostics if finite else {})
        self.wall_seconds += time.perf_counter() - started
        self._check_finite(learned.diagnostics)

    def evaluate(self) -> None:
        """Nothing: such a task has no levels."""

    def _check_finite(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"{name} is {value} after {self.interactions:,} interactions; {self.facts.calmer}."
                )

    def close_row(self) -> Row:
        """The row of everything recorded since the last one, and of the learner as it is at its end."""
        row = self.recorder.close_row(
            self.interactions,
            wall_seconds=self.wall_seconds,
            train_flops=self.facts.flops_per_interaction * self.interactions,
        )
        return row | {name: value for name, value in self.learner.measure().items() if math.isfinite(value)}

    def save(self) -> bytes:
        """Everything that the next iteration depends on."""
        buffer = io.BytesIO()
        torch.save(
            {
                "run_id": self.config.run_id,
                "interactions": self.interactions,
                "wall_seconds": self.wall_seconds,
                "recorder": json.dumps(self.recorder.state_dict()),
                "learner": self.learner.state_dict(),
            },
            buffer,
        )
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Continue from ``save``'s bytes.

        Raises:
            ValueError: if they are damaged or belong to another run; this object is then unusable.
            InputError: if there is too little memory, or the run began on another kind of device.
        """
        with memory_is_asked_for(self.facts.smaller):
            state = read_checkpoint(checkpoint, self.config.run_id, self.device)
            with loading():
                self._load(state)

    def _load(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.recorder.load_state_dict(json.loads(state["recorder"]))
        self.interactions = int(state["interactions"])
        self.wall_seconds = float(state["wall_seconds"])
