"""Policy and value networks: trunk, optional LSTM and heads, over rows of consecutive steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from rlscale.scaling.models.distributions import ActionHead
from rlscale.scaling.models.recurrence import Recurrence
from rlscale.scaling.models.trunk import (
    HEAD_SCALE,
    POLICY_GAIN,
    VALUE_GAIN,
    Activation,
    Trunk,
    normed,
    orthogonal,
    recorded,
)


@dataclass(frozen=True)
class Inputs:
    """Rows of consecutive steps of single environments.

    observation: (rows, steps, *observation_shape), images in uint8, other observations in float32
    first: (rows, steps), 1.0 where an episode begins
    state: (rows, num_state), the memory before the first step; width 0 if there is none
    """

    observation: torch.Tensor
    first: torch.Tensor
    state: torch.Tensor


class StatelessLinear(nn.Linear):
    """A linear layer, then ``num_stateless`` further outputs that are the same for all inputs, at first 0."""

    def __init__(self, inputs: int, outputs: int, num_stateless: int) -> None:
        super().__init__(inputs, outputs - num_stateless)
        self.stateless = nn.Parameter(torch.zeros(num_stateless))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        linear = super().forward(x)
        return torch.cat([linear, self.stateless.expand(*linear.shape[:-1], -1)], dim=-1)


class Network(nn.Module):
    """One trunk, an LSTM of ``lstm_units`` after it if they are given, and linear heads in float32.

    The last ``num_stateless`` outputs of the first head are the same for all observations. The heads' initial
    weights are orthogonal if ``is_orthogonal``, or else rows of one norm.
    """

    def __init__(
        self,
        trunk: Trunk,
        heads: Mapping[str, int],
        generator: torch.Generator,
        *,
        num_stateless: int = 0,
        is_orthogonal: bool = False,
        lstm_units: int | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.recurrence = Recurrence(trunk.num_features, lstm_units, generator) if lstm_units else None
        num_features = (self.recurrence or trunk).num_features
        self.heads = nn.ModuleDict()
        for name, size in heads.items():
            is_first = not self.heads
            layer = (
                StatelessLinear(num_features, size, num_stateless)
                if num_stateless and is_first
                else nn.Linear(num_features, size)
            )
            gain = POLICY_GAIN if name == "logits" else VALUE_GAIN
            self.heads[name] = (
                orthogonal(layer, gain, generator) if is_orthogonal else normed(layer, HEAD_SCALE, generator)
            )
        self.precision = precision

    @property
    def num_state(self) -> int:
        """Size of the memory of one environment."""
        return self.recurrence.num_state if self.recurrence else 0

    @property
    def activation(self) -> Activation | None:
        """The nonlinearity that gives the features, an LSTM's being tanh; None if it is not known."""
        return "tanh" if self.recurrence else self.trunk.activation

    def features(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, steps, num_features) float32 and the state after each step, (rows, steps, num_state)."""
        observation = inputs.observation
        with self.arithmetic(observation.device):
            flat = self.trunk(observation.flatten(0, 1))
        return self.remember(flat, inputs)

    def watched(self, inputs: Inputs, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features as above, and the outputs of the trunk's submodules ``names`` side by side.

        Both are (rows, steps, ...); of several submodules the outputs are in the order in which they compute.
        """
        with recorded(self.trunk, names) as outputs:
            features, _ = self.features(inputs)
        nothing = features.new_empty(inputs.first.numel(), 0)
        return features, torch.cat([nothing, *outputs], dim=1).unflatten(0, inputs.first.shape)

    def remember(self, flat: torch.Tensor, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The trunk's features (rows * steps, num_features), through the LSTM where there is one."""
        features = flat.float().unflatten(0, inputs.first.shape)
        if self.recurrence is None:
            return features, inputs.state[:, None].expand(-1, features.shape[1], -1)
        return self.recurrence(features, inputs.first, inputs.state)

    def logits_of_step(self, observation: torch.Tensor) -> torch.Tensor:
        """The first head's outputs (rows, size) of single steps (rows, 1, ...), without memory."""
        with self.arithmetic(observation.device):
            flat = self.trunk(observation.flatten(0, 1))
        return next(iter(self.heads.values()))(flat.float())

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the trunk computes in its precision."""
        if self.precision == torch.float32:  # entering autocast takes longer than a small network
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Outputs of the first head, (rows, steps, size)."""
        features, _ = self.features(inputs)
        return next(iter(self.heads.values()))(features)


class ActorCritic(nn.Module):
    """The agent's networks under one of three architectures.

    ``dual``: a policy and a value network that share nothing. ``shared``: one network with both
    heads. ``detach``: the same, but the value head's gradient stops at the features. PPG's
    auxiliary value head is on the policy network and gets a gradient only in its own phase.

    ``actions`` makes a policy of the outputs of the policy network's head, which are called logits
    whatever they stand for.
    """

    def __init__(
        self, policy: Network, value: Network | None, actions: ActionHead, *, detach_value: bool = False
    ) -> None:
        super().__init__()
        self.policy = policy
        self.value = value
        self.actions = actions
        self._detach_value = detach_value

    @property
    def num_state(self) -> int:
        return self.policy.num_state + (self.value.num_state if self.value else 0)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The policy's network, and the value's where it has its own."""
        return (self.policy,) if self.value is None else (self.policy, self.value)

    @property
    def chunk(self) -> int | None:
        """How many observations to process at once; None for any number."""
        return self.policy.trunk.chunk

    def forward(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (rows, steps, num_outputs) and values (rows, steps)."""
        if self.value is None:
            features, _ = self.policy.features(inputs)
            return self.policy.heads["logits"](features), self._own_value(features)
        if self.num_state == 0:  # the same as below, without the handling of a state that is not there
            rows = inputs.first.shape
            of_policy, of_value = self._flat_features_of_both(inputs.observation.flatten(0, 1))
            logits = self.policy.heads["logits"](of_policy.float())
            values = self._head(self.value, "value", of_value.float())
            return logits.unflatten(0, rows), values.unflatten(0, rows)
        policy_features, value_features, _ = self._features_of_both(inputs)
        return self.policy.heads["logits"](policy_features), self._head(self.value, "value", value_features)

    @property
    def acts_with_values(self) -> bool:
        """Whether ``act`` also gives values; a wide separate value network is faster on whole rollouts."""
        return self.value is None or self.policy.trunk.few_channels

    def act(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """One step's logits (rows, num_outputs), values (rows,) or None, and the new state.

        Without values, ``values`` updates the value network's part of the state.
        """
        value = None
        if self.num_state == 0 and not self.acts_with_values:  # the same as below, in fewer steps
            return self.policy.logits_of_step(inputs.observation), None, inputs.state
        if self.value is None:
            features, states = self.policy.features(inputs)
            value = self._own_value(features)[:, 0]
            state = states[:, 0]
        elif self.acts_with_values:
            features, value_features, states = self._features_of_both(inputs)
            value = self._head(self.value, "value", value_features)[:, 0]
            state = states[:, 0]
        else:
            features, states = self.policy.features(self._for_policy(inputs))
            state = torch.cat([states[:, 0], inputs.state[:, self.policy.num_state :]], dim=1)
        return self.policy.heads["logits"](features)[:, 0], value, state

    def values(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (rows, steps) alone and the state after each step, (rows, steps, num_state).

        A separate policy network's part of the state stays as it is.
        """
        if self.value is None:
            features, states = self.policy.features(inputs)
            return self._own_value(features), states
        features, states = self.value.features(self._for_value(inputs))
        rest = inputs.state[:, None, : self.policy.num_state].expand(-1, states.shape[1], -1)
        return self._head(self.value, "value", features), torch.cat([rest, states], dim=2)

    def policy_logits(self, inputs: Inputs, network: Network | None = None) -> torch.Tensor:
        """Logits (rows, steps, num_outputs) of the policy, or of an averaged copy of its network."""
        return (network or self.policy)(self._for_policy(inputs))

    def watched(
        self, inputs: Inputs, names: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, features and watched outputs of the policy's network; see ``Network.watched``.

        It computes alone, because networks side by side do not call all of their submodules.
        """
        features, outputs = self.policy.watched(self._for_policy(inputs), names)
        return self.policy.heads["logits"](features), features, outputs

    def inputs_of_networks(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """What each of ``networks`` reads: it has its own part of the memory."""
        policy = self._for_policy(inputs)
        return (policy,) if self.value is None else (policy, self._for_value(inputs))

    def value_beside(self, inputs: Inputs, features: torch.Tensor) -> torch.Tensor:
        """Values (rows, steps); ``features`` are those of the policy's network, which may be the value's."""
        return self._own_value(features) if self.value is None else self.values(inputs)[0]

    def auxiliary(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The outputs that PPG's auxiliary phase trains: logits, true values and auxiliary values."""
        if self.value is None:
            features, _ = self.policy.features(inputs)
            value = self._own_value(features)
        else:
            features, value_features, _ = self._features_of_both(inputs)
            value = self._head(self.value, "value", value_features)
        return self.policy.heads["logits"](features), value, self._head(self.policy, "auxiliary", features)

    def _features_of_both(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The policy's and the value network's features, and the state of both after each step."""
        assert self.value is not None
        policy, value = self._flat_features_of_both(inputs.observation.flatten(0, 1))
        policy, policy_states = self.policy.remember(policy, self._for_policy(inputs))
        value, value_states = self.value.remember(value, self._for_value(inputs))
        return policy, value, torch.cat([policy_states, value_states], dim=2)

    def _flat_features_of_both(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The trunks' features of observations (batch, *shape)."""
        assert self.value is not None
        with self.policy.arithmetic(flat.device):
            return self.policy.trunk.features_of_both(self.value.trunk, flat)

    def _own_value(self, features: torch.Tensor) -> torch.Tensor:
        return self._head(self.policy, "value", features.detach() if self._detach_value else features)

    @staticmethod
    def _head(network: Network, name: str, features: torch.Tensor) -> torch.Tensor:
        return network.heads[name](features).squeeze(-1)

    def _for_policy(self, inputs: Inputs) -> Inputs:
        return Inputs(inputs.observation, inputs.first, inputs.state[:, : self.policy.num_state])

    def _for_value(self, inputs: Inputs) -> Inputs:
        return Inputs(inputs.observation, inputs.first, inputs.state[:, self.policy.num_state :])
