"""Collecting rollouts from vectorised environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.models.distributions import ActionHead
from rlscale.scaling.models.quick import quick_outputs
from rlscale.scaling.models.trunk import observation_dtype
from rlscale.scaling.rollouts.evaluation import Act
from rlscale.scaling.rollouts.observation_scale import ObservationScale
from rlscale.scaling.rollouts.policy import as_tensor
from rlscale.scaling.rollouts.rollout import Rollout
from rlscale.scaling.tasks.interface import Environment, Observed

#: The number of the group that measures a fixed scale; no run has so many.
_MEASURING = 2**31


class EnvironmentCollector:
    """Steps groups of environments in turn: while one group steps, the policy acts in the others.

    Args:
        make_group: makes the i-th group of environments; the batch grows by whole groups.
        group_size: environments in a group.
        scale: scales the observations of all groups; None leaves them as they are.
        random_act: the policy of the steps that fix the scale before the run, if it does not run on.
    """

    def __init__(
        self,
        make_group: Callable[[int], Environment],
        group_size: int,
        actions: np.random.Generator,
        device: torch.device,
        *,
        scale: ObservationScale | None = None,
        random_act: Act | None = None,
    ) -> None:
        self._scale, self._random_act = scale, random_act
        self._make_group, self._group_size = make_group, group_size
        self._rng, self._device = actions, device
        self._groups: list[Environment] = []
        self._state: torch.Tensor | None = None  # of the networks, (n, num_state)

    @torch.no_grad()
    def collect(
        self, model: ActorCritic, *, envs: int, steps: int, needs_bootstrap: bool
    ) -> tuple[Rollout, np.ndarray, np.ndarray]:
        """See ``Collector``; returns are those of whole episodes, unnormalised."""
        assert envs % self._group_size == 0
        self._fix_scale()
        self._grow(envs // self._group_size, model)
        assert self._state is not None
        buffer = _Buffer(steps, envs, self._groups[0].observation_shape, model.actions, self._device)
        begin = self._state
        state = begin.clone()
        remembers = model.num_state > 0
        quick = quick_outputs(model, self._group_size)
        for t in range(steps):
            for places, group in self._places():
                if quick is not None:
                    self._quick_step(quick, model.actions, group, buffer, t, places)
                    continue
                after = self._step(model, group, buffer, t, places, state[places])
                if remembers:
                    state[places] = after
        for places, group in self._places():
            observed = group.observe()
            buffer.end_step(steps - 1, places, self._scaled_cut(observed), state[places])
            buffer.first[steps, places] = torch.from_numpy(observed.first).to(self._device)
            buffer.last_observation[places] = as_tensor(self._scaled(observed.observation))
        has_values = model.acts_with_values and quick is None
        if quick is not None:
            buffer.evaluate_policy(model, begin)
        buffer.evaluate_actions(model.actions)
        self._state = self._evaluate(model, buffer, begin, state, needs_bootstrap, has_values=has_values)
        episodes = [group.pop_episodes() for group in self._groups]
        return (
            buffer.rollout(begin),
            np.concatenate([e.returns for e in episodes]),
            np.concatenate([e.lengths for e in episodes]),
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "groups": [group.get_state() for group in self._groups],
            "state": self._state,
            "rng": self._rng.bit_generator.state,
            "scale": self._scale.state_dict() if self._scale else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``'s result.

        Raises:
            InputError: if its groups have another size, because they were made for another device.
        """
        saved = state["groups"]
        size = len(state["state"]) // len(saved) if saved else self._group_size
        if size != self._group_size:
            raise InputError(
                f"The checkpoint steps its environments in groups of {size}, this device in groups of "
                f"{self._group_size}: go on with the --device that the run began on.",
                code="other_device",
            )
        self._groups = [self._make_group(i) for i in range(len(saved))]
        for group, group_state in zip(self._groups, saved, strict=True):
            group.set_state(group_state)
        self._state = state["state"]
        self._rng.bit_generator.state = state["rng"]
        if self._scale:
            self._scale.load_state_dict(state["scale"])

    def _fix_scale(self) -> None:
        """Measure a scale that does not run on, in environments of its own."""
        if self._scale is None or self._scale.runs_on or self._groups:
            return
        assert self._random_act is not None
        group = self._make_group(_MEASURING)
        self._scale.measure(group, self._random_act)
        group.close()

    def as_seen(self, act: Act) -> Act:
        """A policy of observations as the networks see them, as one of those that environments show."""
        return lambda observation, first: act(self._scaled(observation), first)

    def _scaled(self, observation: np.ndarray) -> np.ndarray:
        return self._scale(observation) if self._scale else observation

    def _scaled_cut(self, observed: Observed) -> Observed:
        """The same with the last observations of episodes that were cut off as the networks see them."""
        if self._scale is None or observed.cut is None:
            return observed
        return replace(observed, cut=replace(observed.cut, observation=self._scale(observed.cut.observation)))

    def _grow(self, groups: int, model: ActorCritic) -> None:
        while len(self._groups) < groups:
            self._groups.append(self._make_group(len(self._groups)))
            fresh = torch.zeros(self._group_size, model.num_state, device=self._device)
            self._state = fresh if self._state is None else torch.cat([self._state, fresh])

    def _places(self) -> list[tuple[slice, Environment]]:
        size = self._group_size
        return [(slice(i * size, (i + 1) * size), group) for i, group in enumerate(self._groups)]

    def _step(
        self,
        model: ActorCritic,
        group: Environment,
        buffer: _Buffer,
        t: int,
        places: slice,
        state: torch.Tensor,
    ) -> torch.Tensor:
        """Store what a group shows, act, and start its next step. Returns the new state."""
        observed = group.observe()
        if t > 0:
            buffer.end_step(t - 1, places, self._scaled_cut(observed), state)
        shown = self._scale.see(observed.observation) if self._scale else observed.observation
        buffer.observation[t, places] = as_tensor(shown)
        buffer.first[t, places] = torch.from_numpy(observed.first).to(self._device)
        logits, value, state = model.act(
            Inputs(
                buffer.observation[t, places, None].to(self._device, non_blocking=True),
                buffer.first[t, places, None],
                state,
            )
        )
        action = model.actions(logits).sample(model.actions.noise(self._rng, self._group_size))
        group.act(model.actions.for_task(action))
        buffer.action[t, places] = action
        buffer.logits[t, places] = logits
        if value is not None:
            buffer.value[t, places] = value
        return state

    def _quick_step(
        self,
        outputs: Callable[[np.ndarray], np.ndarray],
        actions: ActionHead,
        group: Environment,
        buffer: _Buffer,
        t: int,
        places: slice,
    ) -> None:
        """As ``_step``, with a policy in numpy; log-probabilities follow from torch's outputs afterwards."""
        observed = group.observe()
        if t > 0:
            buffer.end_step(t - 1, places, self._scaled_cut(observed))
        shown = self._scale.see(observed.observation) if self._scale else observed.observation
        action = actions.draw(outputs(shown), actions.noise(self._rng, self._group_size))
        group.act(actions.for_task(torch.from_numpy(action)))
        buffer.put(t, places, shown, observed.first, action)

    def _evaluate(
        self,
        model: ActorCritic,
        buffer: _Buffer,
        begin: torch.Tensor,
        end: torch.Tensor,
        needs_bootstrap: bool,
        *,
        has_values: bool,
    ) -> torch.Tensor:
        """Fill in the values that acting did not compute. Returns the state after the rollout."""
        states = None
        if not has_values:
            buffer.value[:-1], states = _values(
                model, buffer.observation, buffer.first[:-1], begin, self._device, every_state=buffer.has_cuts
            )
            memory = model.policy.num_state
            end = torch.cat([end[:, :memory], states[-1, :, memory:]], dim=1)
        if needs_bootstrap:
            last = buffer.last_observation[None]
            buffer.value[-1:], _ = _values(model, last, buffer.first[-1:], end, self._device)
            if buffer.has_cuts:
                buffer.evaluate_cuts(model, states)
        return end


class _Buffer:
    """A rollout while it is collected, (T, n); each environment's row is contiguous, to need no copy."""

    def __init__(
        self, steps: int, envs: int, shape: Sequence[int], actions: ActionHead, device: torch.device
    ) -> None:
        self._device = device
        self.observation = _observations(shape, envs, steps, pin_memory=device.type == "cuda").transpose(0, 1)
        self.last_observation = _observations(shape, envs)
        self.action = torch.empty(steps, envs, *actions.shape, dtype=actions.dtype, device=device)
        self.logits = torch.empty(steps, envs, actions.num_outputs, device=device)
        self._logp = self._entropy = torch.empty(0)
        self.value, self.first = (torch.zeros(steps + 1, envs, device=device) for _ in range(2))
        self.reward = np.empty((steps, envs), np.float64)
        if device.type == "cpu":
            self._in_numpy = [each.numpy() for each in (self.observation, self.first, self.action)]
        self._cuts: list[_Cuts] = []
        self._cut_value: torch.Tensor | None = None

    @property
    def has_cuts(self) -> bool:
        """Whether a time limit cut off an episode."""
        return bool(self._cuts)

    def put(
        self, t: int, places: slice, observation: np.ndarray, first: np.ndarray, action: np.ndarray
    ) -> None:
        """Store a step of a group of environments whose observations are vectors, on CPU."""
        for memory, values in zip(self._in_numpy, (observation, first, action), strict=True):
            memory[t, places] = values

    def end_step(self, t: int, places: slice, observed: Observed, state: torch.Tensor | None = None) -> None:
        """Store what a group shows at the end of step t: rewards, and episodes that were cut off.

        Args:
            state: (group, num_state), after step t, as acting left it; None if there is no memory.
        """
        self.reward[t, places] = observed.reward
        if observed.cut is not None:
            where = torch.from_numpy(observed.cut.where)
            steps = torch.full_like(where, t)
            last = as_tensor(observed.cut.observation)
            after = self.value.new_zeros(len(where), 0) if state is None else state[where]
            self._cuts.append(_Cuts(steps, where + places.start, last, after))

    def evaluate_policy(self, model: ActorCritic, state: torch.Tensor) -> None:
        """The policy's outputs of the whole rollout."""
        inputs = Inputs(self.observation.transpose(0, 1), self.first[:-1].T, state)
        self.logits = model.policy_logits(inputs).transpose(0, 1)

    def evaluate_actions(self, actions: ActionHead) -> None:
        """Log-probabilities and entropies (T, n) of the whole rollout at once: a step alone costs as much."""
        policy = actions(self.logits)
        self._logp, self._entropy = policy.log_prob(self.action), policy.entropy()

    def evaluate_cuts(self, model: ActorCritic, states: torch.Tensor | None) -> None:
        """Values of the last observations of the episodes that were cut off.

        An episode's memory is the one after its last step, before the next episode clears it.

        Args:
            states: (T, n, num_state), after each step, if acting did not compute values: it left the value
                network's memory as it was.
        """
        step, env, observation, state = (
            torch.cat([getattr(cuts, field.name) for cuts in self._cuts]) for field in fields(_Cuts)
        )
        first = torch.zeros(1, len(env), device=self._device)
        state = state if states is None else states[step, env]
        value, _ = _values(model, observation[None], first, state, self._device)
        self._cut_value = torch.zeros_like(self.value[:-1])
        self._cut_value[step, env] = value[0]

    def rollout(self, state: torch.Tensor) -> Rollout:
        return Rollout(
            observation=self.observation,
            action=self.action,
            logp=self._logp,
            value=self.value,
            first=self.first,
            reward=self.reward,
            entropy=self._entropy.mean(),
            state=state,
            cut_value=self._cut_value,
        )


@dataclass(frozen=True)
class _Cuts:
    """k episodes that were cut off: step and environment, last observation (k, ...), state (k, num_state)."""

    step: torch.Tensor
    env: torch.Tensor
    observation: torch.Tensor
    state: torch.Tensor


def _observations(shape: Sequence[int], *batch: int, pin_memory: bool = False) -> torch.Tensor:
    """Memory for observations (*batch, *shape), of images with their channels last."""
    kept = [*shape[1:], shape[0]] if len(shape) == 3 else shape
    memory = torch.empty(*batch, *kept, dtype=observation_dtype(shape), pin_memory=pin_memory)
    return memory.movedim(-1, -3) if len(shape) == 3 else memory


def _values(
    model: ActorCritic,
    observation: torch.Tensor,
    first: torch.Tensor,
    state: torch.Tensor,
    device: torch.device,
    *,
    every_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (T, n) of observations (T, n, ...), a few rows at a time, and the states after steps.

    These are (T, n, num_state), or (1, n, num_state) after the last step unless ``every_state``.
    """
    kept = slice(None) if every_state else slice(-1, None)
    steps, envs = first.shape
    at_once = envs if model.chunk is None else max(1, model.chunk // steps)
    values, states = [], []
    for start in range(0, envs, at_once):
        rows = slice(start, start + at_once)
        value, after = model.values(
            Inputs(
                observation[:, rows].transpose(0, 1).to(device, non_blocking=True),
                first[:, rows].transpose(0, 1),
                state[rows],
            )
        )
        values.append(value.transpose(0, 1))
        states.append(after[:, kept].transpose(0, 1))
    return torch.cat(values, dim=1), torch.cat(states, dim=1)
