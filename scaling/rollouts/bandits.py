"""Collecting rollouts from a bandit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.rollouts.rollout import Rollout
from rlscale.scaling.tasks.interface import Bandit


class BanditCollector:
    """Collects a whole rollout as one batch, because the next image does not depend on the action.

    Images and actions come from their streams in the order in which stepping one observation
    at a time would draw them.
    """

    def __init__(
        self,
        bandit: Bandit,
        contexts: np.random.Generator,
        actions: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._bandit, self._device = bandit, device
        self._rngs = {"contexts": contexts, "actions": actions}
        self._contexts = np.zeros(0, np.int64)  # the next observations, from the rollout before

    @torch.no_grad()
    def collect(
        self, model: ActorCritic, *, envs: int, steps: int, needs_bootstrap: bool
    ) -> tuple[Rollout, np.ndarray, np.ndarray]:
        """See ``Collector``; each step is an episode of length 1.

        ``needs_bootstrap`` is false where gamma is 0: the value after the last step is then 0.
        If the policy's outputs are not finite, neither is the entropy.
        """
        rng = self._rngs["contexts"]
        begin = np.concatenate([self._contexts, self._bandit.draw(rng, envs - self._contexts.size)])
        indices_te = np.concatenate([begin[None], self._bandit.draw(rng, steps * envs).reshape(steps, envs)])
        self._contexts = indices_te[-1]
        block = self._bandit.block(indices_te)
        observation = block.observations.to(self._device)
        logits, values = model(flat_inputs(observation[:-1].flatten(0, 1)))
        policy = model.actions(logits[:, 0])
        action = policy.sample(model.actions.noise(self._rngs["actions"], steps * envs))
        value = torch.zeros(steps + 1, envs, device=self._device)
        value[:-1] = values.view(steps, envs)
        if needs_bootstrap:
            value[-1] = model.values(flat_inputs(observation[-1]))[0][:, 0]
        action_te = action.view(steps, envs)
        reward = (action_te.cpu().numpy() == block.answers).astype(np.float64)
        rollout = Rollout(
            observation=observation[:-1],
            action=action_te,
            logp=policy.log_prob(action).view(steps, envs),
            value=value,
            first=torch.zeros(steps + 1, envs, device=self._device),
            reward=reward,
            entropy=policy.entropy().mean(),
            state=torch.zeros(envs, 0, device=self._device),
        )
        return rollout, reward.ravel(), np.ones(reward.size)

    def state_dict(self) -> dict[str, Any]:
        return {
            "contexts": torch.from_numpy(self._contexts.copy()),
            "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._contexts = state["contexts"].cpu().numpy()
        for name, rng_state in state["rngs"].items():
            self._rngs[name].bit_generator.state = rng_state
