"""How near a trained transformer is to TD: its values and gradients on held-out processes, and its weights.

Measured as Wang et al. 2024 do (arXiv 2405.13861, section on trained weights), beside the reference, whose
layers are batch TD by construction with a trained step size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.solvable.in_context_td import Prompts, Transformer, batch_td, draw_batch
from rlscale.scaling.solvable.reward_processes import draw_process

Floats = NDArray[np.float64]

_HELD_OUT_SEED = (
    2405_13861  # not a run's seed: all runs with the same processes are measured on the same ones
)


@dataclass(frozen=True)
class HeldOut:
    """Processes that no run trains on, each with one context.

    Attributes:
        prompts: contexts (processes, 1), each with each state as the query (processes, s).
        values: V, (processes, s).
        visits: how often a state is visited in the long run, (processes, s).
        fit: from values of states to the weights that explain them best, visits as weights: (processes, d,
            s).
    """

    prompts: Prompts
    values: Floats
    visits: Floats
    fit: Floats

    @property
    def spread(self) -> float:
        """Mean squared value over states and processes: the error of values 0."""
        return float((self.visits * self.values**2).sum(1).mean())


@dataclass(frozen=True)
class Measured:
    """What a transformer does on held-out processes; one number a process.

    Attributes:
        returns: 1 - squared value error / that of values 0 (the mean over processes): 1 is exact, 0 no better
            than 0; states count as often as they are visited.
        reference_returns: the same of the reference.
        value_difference: squared gap between the values of both.
        weight_similarity: cosine between the weights that explain the transformer's values best, and the
            reference's.
        sensitivity_similarity: cosine of the gradients of both values with respect to the query.
    """

    returns: Floats
    reference_returns: Floats
    value_difference: Floats
    weight_similarity: Floats
    sensitivity_similarity: Floats

    def means(self) -> dict[str, float]:
        """Their means over processes, by the names of the curve's columns; the return is the curve's own."""
        return {
            "reference_return": float(self.reference_returns.mean()),
            "value_difference": float(self.value_difference.mean()),
            "weight_similarity": float(self.weight_similarity.mean()),
            "sensitivity_similarity": float(self.sensitivity_similarity.mean()),
        }


def draw_held_out(
    settings: InContextConfig, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> HeldOut:
    """The same processes at every call, also with settings that differ in the context's length alone."""
    contexts, features, values, visits = [], [], [], []
    for seed in np.random.SeedSequence(_HELD_OUT_SEED).spawn(settings.held_out):
        of_process, of_truth, of_walk = map(np.random.default_rng, seed.spawn(3))
        process = draw_process(settings, of_process)
        often, value = process.truth(settings.gamma, of_truth)
        batch = draw_batch(process, settings, steps=0, walks=1, rng=of_walk, dtype=dtype, device=device)
        contexts.append(batch.prompts.context[0, 0])
        features.append(process.features)
        values.append(value)
        visits.append(often)
    phi, mu = np.array(features), np.array(visits)
    queries = torch.as_tensor(phi, dtype=dtype, device=device)
    prompts = Prompts(torch.stack(contexts)[:, None], queries)
    root = np.sqrt(mu)[..., None]
    fit = np.linalg.pinv(root * phi) * root.transpose(0, 2, 1)
    return HeldOut(prompts, np.array(values), mu, fit)


def measure(transformer: Transformer, alpha: torch.Tensor, held_out: HeldOut) -> Measured:
    """Measure a transformer beside batch TD with step size α."""
    prompts = held_out.prompts
    query = prompts.query.detach().requires_grad_()
    values = transformer(Prompts(prompts.context, query))
    (gradient,) = torch.autograd.grad(values.sum(), query)
    with torch.no_grad():
        w = batch_td(prompts.moments()[:, 0], alpha, transformer.layers, prompts.length)
        reference = (w[:, None] * prompts.query).sum(-1)
    v, of_reference, slope, weights = (
        each.detach().double().cpu().numpy() for each in (values, reference, gradient, w)
    )
    explained = (held_out.fit @ v[..., None])[..., 0]
    return Measured(
        returns=1 - _squared(v - held_out.values, held_out) / held_out.spread,
        reference_returns=1 - _squared(of_reference - held_out.values, held_out) / held_out.spread,
        value_difference=_squared(v - of_reference, held_out),
        weight_similarity=_cosine(explained, weights),
        sensitivity_similarity=(held_out.visits * _cosine(slope, weights[:, None])).sum(1),
    )


def structure(P: torch.Tensor, Q: torch.Tensor) -> dict[str, float]:
    """How far the weights (layers, 2d + 1, 2d + 1) look like TD's, by the names of the curve's columns.

    Each matrix is divided by its largest entry in magnitude, and both by the sign of P's corner, as the signs
    of P and Q may flip together. TD has p_corner 1, q_left -1, q_right 1, and 0 elsewhere. Means over layers.
    """
    p, q = (each.detach().double().cpu().numpy() for each in (P, Q))
    d = (p.shape[-1] - 1) // 2
    p, q = (each / np.abs(each).max(axis=(1, 2), keepdims=True) for each in (p, q))
    sign = np.sign(p[:, -1, -1])
    left, right = (np.diagonal(q[:, :d, at : at + d], axis1=1, axis2=2) for at in (0, d))
    p_total, q_total = np.abs(p).sum(axis=(1, 2)), np.abs(q).sum(axis=(1, 2))
    in_blocks = np.abs(left).sum(1) + np.abs(right).sum(1)
    found = {
        "p_corner": np.abs(p[:, -1, -1]),
        "p_others": (p_total - np.abs(p[:, -1, -1])) / (p[0].size - 1),
        "q_left": sign * left.mean(1),
        "q_right": sign * right.mean(1),
        "q_others": (q_total - in_blocks) / (q[0].size - 2 * d),
    }
    return {name: float(value.mean()) for name, value in found.items()}


def _squared(gap: Floats, held_out: HeldOut) -> Floats:
    """The mean of gap² (processes, s) over states as often as they are visited, (processes,)."""
    return np.asarray((held_out.visits * gap**2).sum(1))


def _cosine(a: Floats, b: Floats) -> Floats:
    """Of the vectors along the last axis; 0 where one of them is 0."""
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(-1) / np.where(size > 0, size, 1.0))
