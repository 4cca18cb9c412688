"""One run in memory: its agent, its task and its random streams, one iteration at a time."""

from __future__ import annotations

import io
import json
import math
import time
from typing import Any

import numpy as np
import torch

from rlscale.scaling.agents.ppg import PPG
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import NonFiniteLoss
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.rollouts.evaluation import evaluate, unseen_levels
from rlscale.scaling.rollouts.policy import policy_of
from rlscale.scaling.rollouts.rollout import Rollout
from rlscale.scaling.tasks.interface import Bandit
from rlscale.scaling.training.build import (
    build_networks,
    generator_of,
    make_agent,
    make_collector,
    make_environments,
    make_probe,
)
from rlscale.scaling.training.checkpoint import loading, read_checkpoint
from rlscale.scaling.training.device import keep_freed_memory
from rlscale.scaling.training.out_of_memory import (
    memory_is_asked_for,
    smaller_batch,
    smaller_width,
)
from rlscale.scaling.training.recorder import CurveRecorder
from rlscale.scaling.training.writer import Row


class Run:
    """The state of one run between iterations.

    Attributes:
        collector: steps the environments and returns the rollout of one iteration.

    Raises:
        InputError: if the task's data or the device is not available, or the width is too small.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        device: str = "cpu",
        bandit: Bandit | None = None,
    ) -> None:
        self.config = config
        if config.evaluation_episodes:  # refused now, not at the first checkpoint
            unseen_levels(config.levels.num_levels, config.levels.start_level)
        self.device = torch.device(device)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        init, task, actions, batches = np.random.SeedSequence(config.seed).spawn(4)
        model = build_networks(config, generator_of(init))
        self.flops_per_interaction = sizes_of(
            model, config.task_entry.observations.shape, config.agent
        ).flops_per_interaction
        with memory_is_asked_for(smaller_width(config)):
            self.agent = make_agent(config, model.to(self.device))
        self._probe = make_probe(config, model)
        self.collector = make_collector(config, self.device, task, actions, bandit=bandit)
        self._batches = np.random.default_rng(batches)
        self.recorder = CurveRecorder(config.rows_per_decade)
        self.interactions = 0
        self.wall_seconds = 0.0

    @property
    def is_between_phases(self) -> bool:
        """Whether the run can be saved and can end: always, except within a phase of PPG."""
        return not isinstance(self.agent, PPG) or self.agent.is_between_phases

    def iterate(self, *, envs: int | None = None) -> None:
        """One iteration: collect, learn, record.

        Args:
            envs: environments, ``num_envs`` times a power of 2; by default as the config says.

        Raises:
            NonFiniteLoss: if a loss is not a finite number; the collected episodes are recorded.
            InputError: if there is too little memory.
        """
        started = time.perf_counter()
        agent = self.config.agent
        with memory_is_asked_for(smaller_batch(agent)):
            rollout, returns, lengths = self.collector.collect(
                self.agent.model,
                envs=envs or agent.num_envs_at(self.interactions),
                steps=agent.rollout_steps,
                needs_bootstrap=agent.gamma > 0,
            )
            # If the last step made weights infinite, the policy's actions measure nothing.
            self._check_finite({"entropy": float(rollout.entropy)})
            diagnostics = self._learn(rollout)
        self.interactions += rollout.reward.size
        diagnostics["batch_size"] = float(rollout.reward.size)
        finite = all(map(math.isfinite, diagnostics.values()))
        self.recorder.add(returns, lengths, diagnostics if finite else {})
        self.wall_seconds += time.perf_counter() - started
        self._check_finite(diagnostics)

    def _learn(self, rollout: Rollout) -> dict[str, float]:
        """Improve the agent with a rollout; measure that if it is time to."""
        probe = self._probe
        if probe is None or not probe.is_due(self.interactions, self.interactions + rollout.reward.size):
            return self.agent.learn(rollout, self._batches)
        seen = probe.before(rollout)
        diagnostics = self.agent.learn(rollout, self._batches, with_norms=True)
        return diagnostics | probe.after(seen)

    def evaluate(self) -> None:
        """Record the policy's mean return on levels that it was not trained on."""
        config = self.config
        levels = unseen_levels(config.levels.num_levels, config.levels.start_level)
        # The same levels at every evaluation, so that its noise does not hide progress.
        seed = config.seed % 2**31  # Procgen's seeds have 31 bits
        environment = make_environments(config, seed=seed, levels=levels, num_threads=0)
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
        """The row of everything recorded since the last one."""
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
            "collector": self.collector.state_dict(),
            "batches": self._batches.bit_generator.state,
            "recorder": json.dumps(self.recorder.state_dict()),
            "agent": self.agent.state_dict(),
        }
        if self._probe:
            state["probe"] = self._probe.state_dict()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Continue from ``save``'s bytes.

        Raises:
            ValueError: if they are damaged or belong to another run; this object is then unusable.
            InputError: if there is too little memory, or the run began on another kind of device.
        """
        with memory_is_asked_for(smaller_batch(self.config.agent)):
            state = read_checkpoint(checkpoint, self.config.run_id, self.device)
            with loading():
                self._load(state)

    def _load(self, state: dict[str, Any]) -> None:
        self.collector.load_state_dict(state["collector"])
        self.agent.load_state_dict(state["agent"])
        if self._probe:
            self._probe.load_state_dict(state["probe"])
        self._batches.bit_generator.state = state["batches"]
        self.recorder.load_state_dict(json.loads(state["recorder"]))
        self.interactions = int(state["interactions"])
        self.wall_seconds = float(state["wall_seconds"])
