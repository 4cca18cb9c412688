"""Small policy networks evaluated by numpy, for acting.

For a few states, an operation of torch takes longer to begin than to do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rlscale.scaling.models.actor_critic import ActorCritic, Network, StatelessLinear
from rlscale.scaling.models.mlp import Mlp

#: Multiplications of the largest layer up to which numpy is faster; its BLAS then also stays in one thread.
MOST_MULTIPLICATIONS = 2**17


def plain_layers(network: Network) -> list[nn.Linear] | None:
    """The layers of a network of the family ``mlp`` up to its first head, if that is all there is to it.

    None unless it is on CPU, in float32, without memory and without normalised layers.
    """
    trunk = network.trunk
    if type(trunk) is not Mlp or network.num_state or network.precision != torch.float32:
        return None
    if not all(isinstance(norm, nn.Identity) for norm in trunk.norms):
        return None
    modules = [*trunk.dense, next(iter(network.heads.values()))]
    layers = [module for module in modules if isinstance(module, nn.Linear)]
    return None if any(layer.weight.device.type != "cpu" for layer in layers) else layers


def quick_outputs(model: ActorCritic, rows: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """The policy's outputs as a function of observations (rows, size) float32, or None if torch is as fast.

    The function reads the parameters where torch has them. It gives the outputs of ``ActorCritic.act`` up to
    rounding, for networks that are ``plain_layers``.
    """
    modules = plain_layers(model.policy)
    if modules is None or model.num_state:
        return None
    if rows * max(module.weight.numel() for module in modules) > MOST_MULTIPLICATIONS:
        return None
    *layers, (head, head_bias) = [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in modules]
    same = None
    if isinstance(modules[-1], StatelessLinear):
        stateless = modules[-1].stateless.detach().numpy()
        same = np.broadcast_to(stateless, (rows, stateless.size))
    activation = np.tanh if model.policy.trunk.activation == "tanh" else _relu

    def outputs(observation: np.ndarray) -> np.ndarray:
        x = observation
        for weight, bias in layers:
            x = x @ weight
            x += bias
            activation(x, out=x)
        x = x @ head + head_bias
        return x if same is None else np.concatenate([x, same], axis=1)

    return outputs


def _relu(x: np.ndarray, out: np.ndarray) -> None:
    np.maximum(x, 0, out=out)
