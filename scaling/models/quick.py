"""Small policy networks evaluated by numpy, for acting.

For a few states, an operation of torch takes longer to begin than to do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rlscale.scaling.models.actor_critic import ActorCritic
from rlscale.scaling.models.mlp import Mlp

#: Multiplications of the largest layer up to which numpy is faster; its BLAS then also stays in one thread.
MOST_MULTIPLICATIONS = 2**17


def quick_outputs(model: ActorCritic, rows: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """The policy's outputs as a function of observations (rows, size) float32, or None if torch is as fast.

    The function reads the parameters where torch has them. It gives the outputs of ``ActorCritic.act`` up to
    rounding, for networks of the family ``mlp`` on CPU in float32, without memory.
    """
    network = model.policy
    if type(network.trunk) is not Mlp or model.num_state or network.precision != torch.float32:
        return None
    trunk = network.trunk
    if not all(isinstance(norm, torch.nn.Identity) for norm in trunk.norms):
        return None
    modules = [*trunk.dense, next(iter(network.heads.values()))]
    if any(module.weight.device.type != "cpu" for module in modules):
        return None
    if rows * max(module.weight.numel() for module in modules) > MOST_MULTIPLICATIONS:
        return None
    *layers, (head, head_bias) = [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in modules]
    stateless = getattr(modules[-1], "stateless", None)
    same = (
        None if stateless is None else np.broadcast_to(stateless.detach().numpy(), (rows, stateless.numel()))
    )
    activation = np.tanh if trunk.activation == "tanh" else _relu

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
