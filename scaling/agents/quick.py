"""Gradients of small networks written out, for learning.

For a minibatch of a few dozen states, autograd takes longer to keep its books than torch to multiply. The
objectives and the gradients are those of ``ppo.PPO`` up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rlscale.scaling.agents.losses import Diagnostics, policy_loss_slope
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.models.actor_critic import ActorCritic, Network, StatelessLinear
from rlscale.scaling.models.quick import plain_layers
from rlscale.scaling.rollouts.rollout import Batch


class QuickGradients:
    """The gradients of PPO's objectives for two networks of the family ``mlp``.

    Attributes:
        vectors: the gradient of each network; the gradients of its parameters are views of it.
    """

    def __init__(
        self,
        config: AgentConfig,
        model: ActorCritic,
        policy: QuickNetwork,
        value: QuickNetwork,
        proximal_logp: Callable[[Batch], torch.Tensor],
    ) -> None:
        self._config, self._model, self._proximal_logp = config, model, proximal_logp
        self._policy, self._value = policy, value
        self.vectors = (policy.gradient, value.gradient)

    def joint(self, rows: Batch, share: float = 1.0) -> Diagnostics:
        """Sets the gradients of ``PPO.joint_objective`` on a whole minibatch."""
        return self.policy(rows, share) | self.value(rows, share)

    @torch.no_grad()
    def policy(self, rows: Batch, share: float = 1.0) -> Diagnostics:
        """Sets the gradients of ``PPO.policy_objective`` on a whole minibatch."""
        assert share == 1.0  # the family computes any number of observations at once
        config = self._config
        policy = self._model.actions(self._policy.outputs(rows.observation.flatten(0, 1)))
        action = rows.action.flatten(0, 1)
        slope, diagnostics = policy_loss_slope(
            policy.log_prob(action),
            rows.logp.flatten(),
            self._proximal_logp(rows).flatten(),
            rows.advantage.flatten(),
            clip=config.clip,
            kl_penalty=config.kl_penalty,
            importance_cap=config.importance_cap,
        )
        self._policy.set_gradients(policy.slopes(action, slope, -config.entropy_coef / slope.numel()))
        return diagnostics

    @torch.no_grad()
    def value(self, rows: Batch, share: float = 1.0) -> Diagnostics:
        """Sets the gradients of ``PPO.value_objective``, c mean (v - target)^2, on a whole minibatch."""
        assert share == 1.0
        error = self._value.outputs(rows.observation.flatten(0, 1)) - rows.value_target.reshape(-1, 1)
        self._value.set_gradients(error * (2 * self._config.value_coef / error.numel()))
        return {"value_loss": error.square().mean()}


class QuickNetwork:
    """Forward and backward passes of dense layers.

    Attributes:
        gradient: all of the network's as one vector.
    """

    def __init__(self, network: Network, layers: list[torch.nn.Linear]) -> None:
        self._layers, self._is_tanh = layers, network.trunk.activation == "tanh"
        self._stateless = layers[-1].stateless if isinstance(layers[-1], StatelessLinear) else None
        self._parameters = list(network.parameters())
        sizes = [parameter.numel() for parameter in self._parameters]
        self.gradient = torch.zeros(sum(sizes))
        parts = zip(self.gradient.split(sizes), self._parameters, strict=True)
        self._gradients: dict[torch.Tensor, torch.Tensor] = {
            parameter: part.view_as(parameter) for part, parameter in parts
        }
        self._inputs: list[torch.Tensor] = []

    def outputs(self, observation: torch.Tensor) -> torch.Tensor:
        """The head's (rows, size) of observations (rows, size); keeps what the gradients need."""
        *hidden, head = self._layers
        x, self._inputs = observation, [observation]
        for layer in hidden:
            x = torch.addmm(layer.bias, x, layer.weight.t())
            x = x.tanh_() if self._is_tanh else x.relu_()
            self._inputs.append(x)
        x = torch.addmm(head.bias, x, head.weight.t())
        if self._stateless is None:
            return x
        return torch.cat([x, self._stateless.expand(len(x), -1)], dim=1)

    def set_gradients(self, slopes: torch.Tensor) -> None:
        """The parameters' gradients of sum(slopes * outputs), the last outputs; ``slopes`` (rows, size)."""
        if self._stateless is not None:
            slopes, of_stateless = slopes.split(self._layers[-1].out_features, dim=1)
            torch.sum(of_stateless, 0, out=self._gradients[self._stateless])
        for layer, x in zip(reversed(self._layers), reversed(self._inputs), strict=True):
            torch.mm(slopes.t(), x, out=self._gradients[layer.weight])
            torch.sum(slopes, 0, out=self._gradients[layer.bias])
            if layer is not self._layers[0]:
                slopes = self._through_nonlinearity(slopes @ layer.weight, x)
        for parameter, gradient in self._gradients.items():
            parameter.grad = gradient

    def _through_nonlinearity(self, slopes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """From slopes with respect to x = f(y) to those with respect to y."""
        if self._is_tanh:
            return slopes.addcmul_(slopes * x, x, value=-1)  # s (1 - x^2)
        return slopes.mul_(x > 0)


def quick_gradients(
    config: AgentConfig, model: ActorCritic, proximal_logp: Callable[[Batch], torch.Tensor]
) -> QuickGradients | None:
    """What gives the gradients of PPO's objectives without autograd, or None if the networks are others.

    They are ``plain_layers`` with one head each, and the objectives have no feature penalty.

    Args:
        proximal_logp: log-probabilities (rows, steps) of the actions under the proximal policy.
    """
    if config.feature_penalty or model.value is None or any(len(n.heads) > 1 for n in model.networks):
        return None
    policy, value = plain_layers(model.policy), plain_layers(model.value)
    if policy is None or value is None:
        return None
    return QuickGradients(
        config, model, QuickNetwork(model.policy, policy), QuickNetwork(model.value, value), proximal_logp
    )
