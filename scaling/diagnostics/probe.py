"""What is measured of an iteration, when, and on what.

A probe looks at an iteration twice: before the networks learn, when they are those that collected the batch,
and after. It draws no random number, changes no weight, and leaves buffers of the networks as they were, so a
run with it learns exactly what the run without it learns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch.func import functional_call

from rlscale.scaling.config.run import DiagnosticsConfig
from rlscale.scaling.diagnostics import representation, trust
from rlscale.scaling.diagnostics.movement import global_norm, policy_variance, value_churn
from rlscale.scaling.diagnostics.tangent import (
    Gradients,
    gradients_at_once,
    gradients_one_by_one,
    kernel_rank,
    tangent_kernel,
)
from rlscale.scaling.models.actor_critic import ActorCritic, Inputs
from rlscale.scaling.models.trunk import Activation
from rlscale.scaling.rollouts.rollout import Acted, Rollout, Rows, acted_of

SomeRows = TypeVar("SomeRows", bound=Rows)

#: Observations whose gradients give the tangent kernel, and, with memory, consecutive steps of one row in it.
KERNEL_OBSERVATIONS, KERNEL_STEPS = 32, 8
#: Observations of the last measurement on which churn is measured.
CHURN_OBSERVATIONS = 256


@dataclass(frozen=True)
class View:
    """What the networks make of N observations, side by side.

    logits: (N, num_outputs)
    features: of each network, (N, D)
    pre_activations: what gives them, (N, D'); D' is 0 if the family does not say
    """

    logits: torch.Tensor
    features: tuple[torch.Tensor, ...]
    pre_activations: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Seen:
    """An iteration as the networks that collected it see it.

    batch: all of it
    places: rows of it that features are measured on
    view: what the networks make of those
    others: rows of the measurement before, which this iteration does not learn from, and the policy's
        outputs and values there; None at the first one
    metrics: what is known before the networks learn
    """

    batch: Acted
    places: torch.Tensor
    view: View
    others: tuple[Rows, tuple[torch.Tensor, torch.Tensor]] | None
    metrics: dict[str, float]


class Probe:
    """Measures a run's iterations; its state is part of the checkpoint.

    Args:
        model: the networks of the run.
        clip: epsilon of the clipped objective.
    """

    def __init__(self, config: DiagnosticsConfig, model: ActorCritic, *, clip: float) -> None:
        self._config, self._model, self._clip = config, model, clip
        self._device = next(model.parameters()).device
        self._others: Rows | None = None
        self._vectorises = [True] * len(model.networks)

    def is_due(self, before: int, after: int) -> bool:
        """Whether to measure the iteration between these interactions.

        It is if it is the first, or reaches a further multiple of ``every``.
        """
        every = self._config.every
        return before == 0 or after // every > before // every

    def before(self, rollout: Rollout) -> Seen:
        """Measure the networks that collected a rollout, before they learn from it."""
        model = self._model
        batch = acted_of(rollout, chunks=1 if model.num_state else rollout.reward.shape[0])
        places = spread_places(batch, self._config.batch)
        rows = batch.select(places)
        with undisturbed(model):
            view = self._view(rows)
            others = None if self._others is None else (self._others, self._outputs(self._others))
            metrics = {"policy_variance": policy_variance(model.actions(view.logits).parameters())}
            for at, network in enumerate(model.networks):
                found = feature_metrics(view.features[at], view.pre_activations[at], network.activation)
                found["weight_norm"] = float(global_norm(w.detach() for w in network.parameters()))
                found |= self._kernel_metrics(at, rows)
                name = NAMES[at]
                metrics |= {f"{name}_{metric}": value for metric, value in found.items()}
        return Seen(batch, places, view, others, metrics)

    def after(self, seen: Seen) -> dict[str, float]:
        """All metrics of the iteration, now that the networks have learned from it; only finite ones."""
        metrics = dict(seen.metrics)
        with undisturbed(self._model):
            logits = self._logits(seen.batch)
            log_ratio = self._log_ratio(seen.batch, logits)
            metrics |= trust.ratio_statistics(log_ratio, self._clip)
            metrics |= {"kl_k1": trust.kl_k1(log_ratio), "kl_k3": trust.kl_k3(log_ratio)}
            metrics["kl_exact"] = self._divergence(seen.view.logits, logits[seen.places].flatten(0, 1))
            if seen.others is not None:
                others, then = seen.others
                now = self._outputs(others)
                metrics["policy_churn"] = self._divergence(then[0], now[0])
                metrics["value_churn"] = value_churn(then[1], now[1])
        kept = spread(seen.batch.select(seen.places), CHURN_OBSERVATIONS)
        # A copy, so that it does not keep the whole batch in memory.
        self._others = Rows(kept.observation.clone(), kept.first.clone(), kept.state.clone())
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        return {} if self._others is None else dict(vars(self._others))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._others = Rows(**state) if state else None

    def _view(self, rows: Rows) -> View:
        networks = self._model.networks
        features: list[list[torch.Tensor]] = [[] for _ in networks]
        outputs: list[list[torch.Tensor]] = [[] for _ in networks]
        for part in rows.parts(self._model.chunk, self._device):
            for i, inputs in enumerate(self._model.inputs_of_networks(part.inputs)):
                found = networks[i].watched(inputs, networks[i].trunk.pre_activations[-1:])
                features[i].append(found[0].flatten(0, 1))
                outputs[i].append(found[1].flatten(0, 1))
        whole = tuple(torch.cat(each) for each in features)
        return View(
            logits=networks[0].heads["logits"](whole[0]),
            features=whole,
            pre_activations=tuple(torch.cat(each) for each in outputs),
        )

    def _outputs(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's outputs (N, num_outputs), and values (N,)."""
        found = [self._model(part.inputs) for part in rows.parts(self._model.chunk, self._device)]
        logits, values = (
            torch.cat([each.flatten(0, 1) for each in part]) for part in zip(*found, strict=True)
        )
        return logits, values

    def _logits(self, rows: Rows) -> torch.Tensor:
        """The policy's outputs, (rows, steps, num_outputs)."""
        parts = rows.parts(self._model.chunk, self._device)
        return torch.cat([self._model.policy_logits(part.inputs) for part in parts])

    def _log_ratio(self, batch: Acted, logits: torch.Tensor) -> torch.Tensor:
        """log pi_now - log pi_collect of all actions of the batch, (n,)."""
        action, logp = batch.action.to(self._device), batch.logp.to(self._device)
        return (self._model.actions(logits).log_prob(action) - logp).flatten()

    def _divergence(self, then: torch.Tensor, now: torch.Tensor) -> float:
        """mean KL(policy then || policy now) of their outputs (N, num_outputs), nat."""
        actions = self._model.actions
        return float(actions(now).kl_from(actions(then)).mean(dtype=torch.float64))

    def _kernel_metrics(self, at: int, rows: Acted) -> dict[str, float]:
        """The rank of the tangent kernel of log pi(a|s), or of the value, on a few of the rows."""
        network = self._model.networks[at]
        moved = {name: w for name, w in network.named_parameters() if w.requires_grad}
        if not moved:
            return {}
        steps = min(KERNEL_STEPS, rows.first.shape[1])
        few = next(begun(spread(rows, KERNEL_OBSERVATIONS, steps), steps).parts(None, self._device))
        size = sum(weight.numel() for weight in moved.values())
        with torch.enable_grad():
            kernel = tangent_kernel(self._gradients(at, moved, few), few.num_steps, size)
        return {"ntk_rank": kernel_rank(kernel)} if kernel.isfinite().all() else {}

    def _gradients(self, at: int, moved: dict[str, torch.nn.Parameter], few: Acted) -> Gradients:
        """Of each step of the rows alone, or with memory together with the steps before it.

        At once where the network can be vectorised, which shows when it is first tried.
        """
        network, of_policy, steps = self._model.networks[at], at == 0, few.first.shape[1]

        def output(outputs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
            return self._model.actions(outputs).log_prob(action) if of_policy else outputs.squeeze(-1)

        def of_step(step: int) -> torch.Tensor:
            row, t = divmod(step, steps)
            seen = begun(few.select(slice(row, row + 1)), t + 1)
            return output(network(self._model.inputs_of_networks(seen.inputs)[at]), seen.action)[0, t]

        def of_row(
            weights: dict[str, torch.Tensor], observation: torch.Tensor, *rest: torch.Tensor
        ) -> torch.Tensor:
            first, state, action = (each[None] for each in rest)
            inputs = Inputs(observation[None], first, state)
            return output(functional_call(network, weights, (inputs,)), action)[0, 0]

        one_by_one = gradients_one_by_one(of_step, list(moved.values()))
        if steps > 1 or self._model.num_state or not self._vectorises[at]:
            return one_by_one
        at_once = gradients_at_once(of_row, moved, (few.observation, few.first, few.state, few.action))

        def gradients(samples: range) -> Sequence[torch.Tensor]:
            if self._vectorises[at]:
                try:
                    return at_once(samples)
                except RuntimeError:  # of torch, for a branch on a number, random numbers and the like
                    self._vectorises[at] = False
            return one_by_one(samples)

        return gradients


#: Of the networks, in their order; a network that gives both has the policy's name.
NAMES = ("policy", "value")


def feature_metrics(
    features: torch.Tensor, pre_activations: torch.Tensor, activation: Activation | None
) -> dict[str, float]:
    """Metrics of features (N, D); those that need N > D, finite features or the family's word, where that is.

    Args:
        pre_activations: (N, D'), D' 0 if they are not known.
        activation: the nonlinearity; None if it is not known.
    """
    rows, units = features.shape
    found: dict[str, float] = {"features": units, "feature_norm": representation.mean_norm(features)}
    if pre_activations.shape[1]:
        found["preactivation_norm"] = representation.mean_norm(pre_activations)
    if activation:
        found["dead_share"] = representation.dead_units(features, activation) / units
    if rows > units and features.isfinite().all():
        sigma = representation.singular_values(features)
        scaled = sigma / rows**0.5
        found |= {
            "approximate_rank": representation.approximate_rank(sigma),
            "effective_rank": representation.effective_rank(sigma),
            "srank": representation.srank(sigma),
            "absolute_rank": representation.absolute_rank(sigma, rows),
            "pytorch_rank": representation.pytorch_rank(sigma, (rows, units)),
            "sigma_first": float(scaled[0]),
            "sigma_second": float(scaled[1]) if units > 1 else math.nan,
            "sigma_last": float(scaled[-1]),
        }
    return found


def spread_places(rows: Rows, count: int, steps: int | None = None) -> torch.Tensor:
    """Which rows, at equal distances, have about ``count`` steps together.

    Args:
        steps: what each counts; all of its steps if it is not given.
    """
    total, length = rows.first.shape
    wanted = min(total, max(1, count // (steps or length)))
    return torch.arange(wanted) * total // wanted


def spread(rows: SomeRows, count: int, steps: int | None = None) -> SomeRows:
    """The rows ``spread_places``."""
    return rows.select(spread_places(rows, count, steps))


def begun(rows: Acted, steps: int) -> Acted:
    """The first steps of each row."""
    cut = {
        field.name: getattr(rows, field.name)[:, :steps] for field in fields(rows) if field.name != "state"
    }
    return replace(rows, **cut)


@contextmanager
def undisturbed(model: ActorCritic) -> Iterator[None]:
    """Without gradients, in evaluation mode.

    A person's modules may draw random numbers or change buffers; both are put back afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
        for buffer, before in buffers:
            buffer.copy_(before)
    for module, mode in modes:
        module.training = mode
