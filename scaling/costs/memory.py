"""The memory that a run needs, counted before it starts."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from rlscale.scaling.agents.feature_penalty import penalized
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.diagnostics.probe import KERNEL_OBSERVATIONS
from rlscale.scaling.diagnostics.tangent import MOST_GRADIENT_NUMBERS
from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.models.trunk import blank_observations
from rlscale.scaling.training.build import build_networks

_FLOAT_BYTES = 4  # weights, gradients and moments are float32 in every precision
_SAMPLES = 4  # of the pass that measures activations


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one run at its largest batch, without the program, the task's data and the games.

    observations: of one iteration, or of all iterations of a PPG phase; images in uint8, stored once
    minibatch: the copy of the observations that a gradient step reads
    weights, gradients: of all networks
    moments: Adam's two, of every optimiser
    ewma: the averaged policy network
    activations: the largest amount that a forward or backward pass holds
    collected: pre-activations that the feature penalty keeps of each observation of an iteration
    diagnostics: observations that are measured, twice, and the gradients of single ones

    On a GPU, observations and minibatch stay in the host's memory and the rest is on the device.
    """

    observations: int
    minibatch: int
    weights: int
    gradients: int
    moments: int
    ewma: int
    activations: int
    collected: int = 0
    diagnostics: int = 0

    @classmethod
    def of_learner(cls, weights: int) -> MemoryNeed:
        """That of a solvable task's learner, which keeps no batches."""
        return cls(0, 0, weights=weights, gradients=0, moments=0, ewma=0, activations=0)

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def memory_need(config: RunConfig, model: ActorCritic | None = None) -> MemoryNeed:
    """Count a run's memory; loads no data.

    Args:
        model: the config's networks if they are already built.

    Compared with measurements on CPU in float32, as growth of peak resident memory beyond the 0.46 GB that
    torch and Procgen take at the first steps of the smallest run: 1.07 times ``total`` for PPG-EWMA at width
    0.25 (0.67 GB counted, most of it observations), 1.3 times for PPO-EWMA at width 0.125 with 64
    environments (0.18 GB), 1.4 times at width 1 with 16 environments (0.22 GB, nearly all activations). The
    convolutions' scratch memory is not counted.
    """
    agent = config.agent
    model = model or build_networks(config, torch.Generator())
    envs = agent.num_envs_at(config.interactions)
    one_step = config.task_entry.observations.num_bytes
    kept = agent.auxiliary.policy_iterations if agent.auxiliary else 1
    weights = _bytes_of(model)
    return MemoryNeed(
        observations=kept * envs * agent.rollout_steps * one_step,
        minibatch=_largest_minibatch(agent, envs) * one_step,
        weights=weights,
        gradients=weights,
        moments=2 * weights * _optimizers(agent),
        ewma=_bytes_of(model.policy) if agent.uses_ewma else 0,
        activations=_activations(model, config, envs),
        collected=_collected(model, config, envs),
        diagnostics=_diagnostics(model, config, envs),
    )


def _optimizers(agent: AgentConfig) -> int:
    """How many optimisers hold moments of each weight."""
    apart = agent.epochs_policy != agent.epochs_value and agent.architecture != "dual"
    return 1 + apart + (agent.auxiliary is not None)


def _largest_minibatch(agent: AgentConfig, envs: int) -> int:
    """Interactions in the largest minibatch."""
    policy = envs * agent.rollout_steps // agent.minibatches
    return max(policy, agent.auxiliary.sequences * agent.rollout_steps) if agent.auxiliary else policy


def _activations(model: ActorCritic, config: RunConfig, envs: int) -> int:
    """Bytes of activations that training or acting holds at once, whichever is more."""
    agent = config.agent
    saved, largest = _saved_by_a_pass(model, config.task_entry.observations.shape)
    if model.chunk is None:
        trained, acted = _largest_minibatch(agent, envs), envs * agent.rollout_steps
    else:
        # Parts are whole rows of consecutive steps, as many as fit into a chunk but at least one.
        row = agent.rollout_steps // (1 if agent.auxiliary else max(1, agent.minibatches // envs))
        trained = min(_largest_minibatch(agent, envs), max(row, model.chunk // row * row))
        acted = envs
    # A pass holds the output and the input of its widest layer, or their gradients, beside what it saved.
    return int(max(trained * (saved + 2 * largest), acted * 2 * largest))


def _collected(model: ActorCritic, config: RunConfig, envs: int) -> int:
    """Bytes of the pre-activations that the feature penalty compares with."""
    penalty = config.agent.feature_penalty
    if penalty is None:
        return 0
    shape = config.task_entry.observations.shape
    inputs = Inputs(blank_observations(shape, 1, 1), torch.zeros(1, 1), torch.zeros(1, model.num_state))
    with torch.no_grad():
        units = model.watched(inputs, penalized(model.policy.trunk, penalty.layers))[2].numel()
    return _FLOAT_BYTES * units * envs * config.agent.rollout_steps


def _diagnostics(model: ActorCritic, config: RunConfig, envs: int) -> int:
    """Bytes of what a measurement holds beside the batch."""
    if config.diagnostics is None:
        return 0
    observed = min(config.diagnostics.batch, envs * config.agent.rollout_steps)
    weights = max(_bytes_of(network) for network in model.networks)
    gradients = min(KERNEL_OBSERVATIONS * weights, max(_FLOAT_BYTES * MOST_GRADIENT_NUMBERS, 2 * weights))
    return 2 * observed * config.task_entry.observations.num_bytes + gradients


def _saved_by_a_pass(model: ActorCritic, shape: tuple[int, ...]) -> tuple[float, float]:
    """Bytes per sample that a forward pass of all networks saves for the backward pass: (sum, largest)."""
    storages: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = Inputs(
        blank_observations(shape, _SAMPLES, 1),
        torch.zeros(_SAMPLES, 1),
        torch.zeros(_SAMPLES, model.num_state),
    )
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        outputs = model(inputs)  # keeps all saved tensors alive, so that no address is used twice
    for parameter in model.parameters():
        storages.pop(parameter.untyped_storage().data_ptr(), None)
    del outputs
    sizes = list(storages.values())
    return sum(sizes) / _SAMPLES, max(sizes) / _SAMPLES


def _bytes_of(module: torch.nn.Module) -> int:
    return _FLOAT_BYTES * sum(parameter.numel() for parameter in module.parameters())
