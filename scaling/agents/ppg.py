"""PPG and PPG-EWMA: phases of PPO with an auxiliary phase after each (arXiv 2009.04416, algorithm 1).

Repeat: run n_pi iterations of PPO or PPO-EWMA and store their rollouts; then run E_aux epochs over
all of them, which distil value targets into the policy network's trunk through an auxiliary value
head, keep the policy in place with a KL term, and train the true value head further; then reset the
EWMA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from rlscale.scaling.agents.losses import Diagnostics, auxiliary_loss
from rlscale.scaling.agents.ppo import PPO, adam, by_autograd, gradient_step, masked, means
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.rollouts.rollout import Rollout, Rows


@dataclass(frozen=True)
class StoredRows(Rows):
    """Rollouts of single environments as the auxiliary phase needs them.

    value_target: (rows, steps), as it was in its iteration
    old_logits: (rows, steps, num_outputs), outputs of the policy's head before the phase
    """

    value_target: torch.Tensor
    old_logits: torch.Tensor


class PPG:
    """The learner: PPO, the rollouts of this phase, and the auxiliary phase's own Adam.

    Args:
        config: the algorithm's options; ``config.auxiliary`` is set.
        model: the networks, with an auxiliary head.
        step_size: Adam's in the policy phase, scaled for the model's size.
        auxiliary_step_size: Adam's in the auxiliary phase, scaled likewise.
    """

    def __init__(
        self, config: AgentConfig, model: ActorCritic, *, step_size: float, auxiliary_step_size: float
    ) -> None:
        assert config.auxiliary is not None
        self._phasic = config.auxiliary
        self.model = model
        self.ppo = PPO(config, model, step_size=step_size)
        self.auxiliary_optimizer = adam(config, model, auxiliary_step_size)
        self._stored: list[StoredRows] = []
        self._device = next(model.parameters()).device

    @property
    def is_between_phases(self) -> bool:
        """Whether nothing is stored: the state is then complete without the buffer."""
        return not self._stored

    def learn(
        self, rollout: Rollout, rng: np.random.Generator, *, with_norms: bool = False
    ) -> dict[str, float]:
        """One iteration, and after the last iteration of a phase its auxiliary phase.

        Args:
            with_norms: also measure gradients and updates of the policy phase, see ``gradient_step``.
        """
        rollout = masked(rollout, self.ppo.config.reward_mask, rng)
        advantage, value_target = self.ppo.estimate(rollout)
        diagnostics = self.ppo.improve(rollout, advantage, value_target, rng, with_norms=with_norms)
        self._stored.append(stored_rows(rollout, value_target))
        if len(self._stored) == self._phasic.policy_iterations:
            diagnostics |= self.auxiliary_phase(rng)
        return diagnostics

    def auxiliary_phase(self, rng: np.random.Generator) -> dict[str, float]:
        """Run E_aux epochs over the stored rollouts, then drop them and reset the EWMA."""
        stored = [self.with_old_logits(rows) for rows in self._stored]
        self._stored = []
        steps = [
            gradient_step(
                self.auxiliary_optimizer,
                minibatch,
                by_autograd(self.auxiliary_objective),
                chunk=self.model.chunk,
                device=self._device,
                clipped_together=self.ppo.clipped_together,
                max_norm=self.ppo.config.max_grad_norm,
            )
            for _ in range(self._phasic.auxiliary_epochs)
            for minibatch in stored_minibatches(stored, self._phasic.sequences, rng)
        ]
        if self.ppo.ewma is not None:
            self.ppo.ewma.reset()
        return means(steps)

    def auxiliary_objective(self, rows: StoredRows) -> tuple[torch.Tensor, Diagnostics]:
        """Cloning, auxiliary value and true value losses of some of the stored rows."""
        logits, value, auxiliary_value = self.model.auxiliary(rows.inputs)
        return auxiliary_loss(
            self.model.actions(logits),
            self.model.actions(rows.old_logits),
            value,
            auxiliary_value,
            rows.value_target,
            clone_coef=self._phasic.clone_coef,
            value_coef=self._phasic.value_coef,
        )

    @torch.no_grad()
    def with_old_logits(self, rows: StoredRows) -> StoredRows:
        """The rows with the logits of the present policy as ``old_logits``."""
        logits = [
            self.model.policy_logits(part.inputs) for part in rows.parts(self.model.chunk, self._device)
        ]
        return replace(rows, old_logits=torch.cat(logits))

    def state_dict(self) -> dict[str, Any]:
        """Complete between phases only."""
        assert self.is_between_phases
        return {"ppo": self.ppo.state_dict(), "auxiliary": self.auxiliary_optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ppo.load_state_dict(state["ppo"])
        self.auxiliary_optimizer.load_state_dict(state["auxiliary"])
        self._stored = []


def stored_rows(rollout: Rollout, value_target: torch.Tensor) -> StoredRows:
    """Rows (n, T) of a rollout and its value targets (T, n); observations are not copied."""
    steps, envs = value_target.shape
    return StoredRows(
        observation=rollout.observation.transpose(0, 1),
        first=rollout.first[:-1].T,
        state=rollout.state,
        value_target=value_target.T,
        old_logits=torch.empty(envs, steps, 0),  # known when the phase begins
    )


def stored_minibatches(
    stored: Sequence[StoredRows], sequences: int, rng: np.random.Generator
) -> Iterator[StoredRows]:
    """Minibatches of ``sequences`` rows from all iterations, each row once, in random order.

    Only the rows of one minibatch are copied at a time, because all rows together are most of
    the memory that a run needs.
    """
    rows = [(segment, row) for segment in stored for row in range(segment.first.shape[0])]
    for chosen in rng.permutation(len(rows)).reshape(-1, sequences):
        picked = [segment.select(slice(row, row + 1)) for segment, row in (rows[i] for i in chosen)]
        yield StoredRows(*(torch.cat([getattr(p, f.name) for p in picked]) for f in fields(StoredRows)))
