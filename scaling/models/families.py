"""Builds the agent's networks from family, width and depth."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import nn

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import ActorCritic, Network
from rlscale.scaling.models.distributions import BoxPolicy, action_head
from rlscale.scaling.models.impala import ImpalaCnn, impala_shape
from rlscale.scaling.models.mlp import Mlp, mlp_units
from rlscale.scaling.models.mnist_cnn import MnistCnn, mnist_cnn_shape
from rlscale.scaling.models.nature_cnn import NatureCnn, nature_cnn_shape
from rlscale.scaling.models.recurrence import lstm_units
from rlscale.scaling.models.trunk import Activation, Trunk, blank_observations
from rlscale.scaling.modules import describe, load_class
from rlscale.scaling.tasks.catalog import Actions


def build_actor_critic(
    model: ModelConfig,
    observation_shape: tuple[int, ...],
    actions: Actions,
    generator: torch.Generator,
    *,
    box_policy: BoxPolicy = "tanh-normal",
    architecture: str = "dual",
    has_auxiliary: bool = False,
    precision: str = "float32",
) -> ActorCritic:
    """Freshly initialised networks.

    Args:
        actions: the task's; they decide how many outputs the policy has.
        box_policy: the kind of policy if the actions are numbers between bounds.
        architecture: ``dual``, ``shared`` or ``detach``, see ``ActorCritic``.
        has_auxiliary: whether the policy network has PPG's auxiliary value head.
        precision: ``float32`` or ``bfloat16``, of the trunks' arithmetic.

    Raises:
        InputError: if the width leaves a layer without units, or the person's own family is no trunk.
    """

    def network(num_stateless: int = 0, **heads: int) -> Network:
        trunk = _trunk(model, observation_shape, generator)
        return Network(
            trunk,
            heads,
            generator,
            num_stateless=num_stateless,
            is_orthogonal=model.is_orthogonal,
            lstm_units=_lstm_units(model, trunk),
            precision=getattr(torch, precision),
        )

    head = action_head(actions, box_policy)
    auxiliary = {"auxiliary": 1} if has_auxiliary else {}
    if architecture == "dual":
        policy = network(head.num_stateless, logits=head.num_outputs, **auxiliary)
        return ActorCritic(policy, network(value=1), head)
    policy = network(head.num_stateless, logits=head.num_outputs, value=1, **auxiliary)
    return ActorCritic(policy, None, head, detach_value=architecture == "detach")


def _lstm_units(model: ModelConfig, trunk: Trunk) -> int | None:
    if not model.is_recurrent:
        return None
    return lstm_units(model.hidden_size, model.width) if model.hidden_size else trunk.num_features


def _trunk(model: ModelConfig, observation_shape: tuple[int, ...], generator: torch.Generator) -> Trunk:
    if model.is_own:
        return own_trunk(model, observation_shape, generator)
    if model.family == "mlp":
        return Mlp(
            mlp_units(model.width),
            model.depth,
            model.activation,
            observation_shape,
            generator,
            layer_norm=model.layer_norm,
            is_orthogonal=model.is_orthogonal,
        )
    if model.family == "mnist-cnn":
        return MnistCnn(mnist_cnn_shape(model.width, model.depth), observation_shape, generator)
    if model.family == "nature-cnn":
        shape = nature_cnn_shape(model.width, model.depth)
        return NatureCnn(shape, observation_shape, generator, layer_norm=model.layer_norm)
    return ImpalaCnn(impala_shape(model.width, model.depth), observation_shape, generator)


class OwnTrunk(Trunk):
    """The person's module as a trunk."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.num_features = int(module.num_features)  # type: ignore[arg-type]
        names: Any = getattr(module, "pre_activations", ())
        self.pre_activations = tuple(f"module.{name}" for name in names)
        activation: Any = getattr(module, "activation", None)
        self.activation = activation if activation in get_args(Activation) else None
        chunk: Any = getattr(module, "chunk", None)
        self.chunk = chunk

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.module(observation)
        return features


def own_trunk(model: ModelConfig, observation_shape: tuple[int, ...], generator: torch.Generator) -> OwnTrunk:
    """A trunk of the person's family ``module:Class``.

    The class extends ``torch.nn.Module`` and is made as ``Class(observation_shape, width=..., depth=...)``.
    It maps observations (batch, *observation_shape) to features (batch, num_features), and has

    * ``num_features``, an int;
    * ``pre_activations`` if it likes, the names of its submodules whose outputs are the inputs of
      nonlinearities, in order, the last one's giving the features: for diagnostics and the feature penalty;
    * ``activation`` if it likes, the last nonlinearity: ``relu``, ``gelu``, ``tanh`` or ``leaky-relu``, for
      the diagnostic of dead units;
    * ``chunk`` if it likes, how many observations to process at once.

    While it is made, torch's own random stream has a seed from ``generator``, so that a run's seed decides
    the initial weights. Scale these as 1/sqrt(fan_in): Adam's step falls as 1/sqrt(width).

    Raises:
        InputError: if the class is not like that.
    """
    make = load_class(model.family, nn.Module)
    seed = int(torch.randint(2**62, (), generator=generator))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = make(observation_shape, width=model.width, depth=model.depth)
        trunk = OwnTrunk(module)
        with torch.no_grad():
            shape = tuple(trunk(blank_observations(observation_shape, 2)).shape)
        missing = set(trunk.pre_activations) - {name for name, _ in trunk.named_modules()}
    except InputError:
        raise
    except Exception as error:  # it may raise anything
        raise InputError(
            f"model.family {model.family} cannot be used ({describe(error)}): it must be made as "
            f"Class(observation_shape, width=..., depth=...), have num_features, and map "
            f"{observation_shape} to features.",
            code="invalid_family",
        ) from error
    if shape != (2, trunk.num_features) or missing:
        problem = (
            f"names pre_activations that it has not ({', '.join(sorted(missing))})"
            if missing
            else f"maps 2 observations to {shape} instead of (2, num_features), (2, {trunk.num_features})"
        )
        raise InputError(f"model.family {model.family} {problem}; correct it.", code="invalid_family")
    return trunk
