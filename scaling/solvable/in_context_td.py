r"""A transformer that learns to evaluate policies from contexts, by TD (Wang et al. 2024, arXiv 2405.13861).

A prompt Z, (2d + 1, n + 1), has a column (φ_i; γφ'_i; r_i) for each of n consecutive transitions and the
query (φ_q; 0; 0). A layer is

    Z <- Z + (1/n) P Z M f(Z^T Q Z)

with M the identity but for 0 in its last corner, so that nothing attends to the query. f is the identity
(linear attention), or softmax over what a column attends to (each column of Z^T Q Z). The value of the query
after l layers is -Z[last, last].

**Linear attention needs no columns.** A layer multiplies Z from the left, by B = I + (1/n) P K Q with the
moments K = Z M Z^T of the context; the next layer's moments are B K B^T. So a prompt is its K, (2d + 1)²
numbers, whatever its length, and the value is linear in the query.

**The reference** has the weights that make each layer a batch update of TD(0) with a step size α that is
trained with the same loss: w <- w + α (b - A w), b and A being blocks of K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.solvable.reward_processes import Process

#: P and Q of each layer, (2d + 1, 2d + 1).
Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Prompts:
    """A batch of contexts of one length, each with one query.

    Attributes:
        context: columns (φ_i; γφ'_i; r_i), (..., 2d + 1, n).
        query: φ_q, (..., d). The dots are the same, or have 1 in the context where queries share it.
    """

    context: torch.Tensor
    query: torch.Tensor

    @property
    def length(self) -> int:
        """n, the transitions of a context."""
        return self.context.shape[-1]

    def moments(self) -> torch.Tensor:
        """K = Z M Z^T, (..., 2d + 1, 2d + 1)."""
        return self.context @ self.context.mT


@dataclass(frozen=True)
class Batch:
    """Prompts (k, steps + 1) of k walks, each prompt a step after the one before, and rewards (k, steps).

    A reward is that of the step from a prompt's query to the next prompt's.
    """

    prompts: Prompts
    rewards: torch.Tensor

    def walk(self, which: int) -> Batch:
        """Prompts (steps + 1) and rewards (steps,) of one walk."""
        prompts = Prompts(self.prompts.context[which], self.prompts.query[which])
        return Batch(prompts, self.rewards[which])


def draw_batch(
    process: Process,
    settings: InContextConfig,
    *,
    steps: int,
    walks: int,
    rng: np.random.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Batch:
    """Walks on a process as prompts: a window of n + 2 states slides along each.

    Its first n + 1 states are the context, the last is the query.
    """
    length, gamma = settings.length, settings.gamma
    states, rewards = process.walk(walks, length + 1 + steps, rng)
    phi = process.features[states]  # (walks, length + 2 + steps, d)
    columns = np.concatenate([phi[:, :-1], gamma * phi[:, 1:], rewards[..., None]], axis=2)
    windows, query, of_steps = (
        torch.as_tensor(each, dtype=dtype, device=device)
        for each in (columns[:, : length + steps], phi[:, length + 1 :], rewards[:, length + 1 :])
    )
    return Batch(Prompts(windows.unfold(1, length, 1), query), of_steps)


class Transformer(nn.Module):
    """The layers' weights P and Q, (layers, 2d + 1, 2d + 1), or (1, ...) where all layers share them.

    They begin normal with standard deviation g/sqrt(2d + 1): Xavier's with gain g = 0.1, over the number of
    layers where each has its own.
    """

    def __init__(
        self,
        settings: InContextConfig,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.layers, self.is_linear = settings.layers, settings.attention == "linear"
        own = settings.layers if settings.weights == "sequential" else 1
        rows = 2 * settings.features + 1
        scale = 0.1 / own / rows**0.5
        self.P = nn.Parameter(scale * torch.randn(own, rows, rows, generator=generator, dtype=dtype))
        self.Q = nn.Parameter(scale * torch.randn(own, rows, rows, generator=generator, dtype=dtype))

    def forward(self, prompts: Prompts) -> torch.Tensor:
        """The values of the queries, of the prompts' shape (...).

        Raises:
            InputError: if prompts have another number of features than the weights (code ``feature_size``).
        """
        rows = 2 * prompts.query.shape[-1] + 1
        if rows != self.P.shape[-1]:
            raise InputError(
                f"prompts with {prompts.query.shape[-1]} features do not fit a transformer made for "
                f"{(self.P.shape[-1] - 1) // 2}: give as many.",
                code="feature_size",
            )
        own = list(zip(self.P.unbind(), self.Q.unbind(), strict=True))
        layers = own * self.layers if len(own) == 1 else own
        if self.is_linear:
            return linear_values(prompts.moments(), prompts.query, layers, prompts.length)
        return attended_values(prompts, layers, softmax=True)


def attended_values(prompts: Prompts, layers: Layers, *, softmax: bool) -> torch.Tensor:
    """The values, column by column as the formula says."""
    (*batch, d), n = prompts.query.shape, prompts.length
    query = torch.cat([prompts.query, prompts.query.new_zeros(*batch, d + 1)], dim=-1)
    z = torch.cat([prompts.context.expand(*batch, 2 * d + 1, n), query[..., None]], dim=-1)
    for p, q in layers:
        scores = z.mT @ q @ z
        weight = scores.softmax(dim=-2) if softmax else scores
        z = (
            z + (p @ z[..., :n] @ weight[..., :n, :]) / n
        )  # M: the query's row of the weights counts for nothing
    return -z[..., -1, -1]


def linear_values(moments: torch.Tensor, query: torch.Tensor, layers: Layers, length: int) -> torch.Tensor:
    """The same for linear attention, from K (..., 2d + 1, 2d + 1) and φ_q (..., d)."""
    return (query_weights(moments, layers, length)[..., : query.shape[-1]] * query).sum(-1)


def query_weights(moments: torch.Tensor, layers: Layers, length: int) -> torch.Tensor:
    """w with value w^T (φ_q; 0; 0), (..., 2d + 1): the negative last row of the product of all layers' B."""
    unit = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    steps = []
    *first, (P, Q) = layers
    for p, q in first:
        steps.append(unit + p @ moments @ (q / length))
        moments = steps[-1] @ moments @ steps[-1].mT
    row = unit[-1:] + P[-1:] @ moments @ (Q / length)
    for step in reversed(steps):
        row = row @ step
    return -row[..., 0, :]


def batch_td(moments: torch.Tensor, alpha: torch.Tensor, layers: int, length: int) -> torch.Tensor:
    """w_l, (..., d), after l updates of batch TD(0) with step size α from w = 0."""
    d = (moments.shape[-1] - 1) // 2
    visits, ahead, reward = moments[..., :d, :d], moments[..., :d, d:-1], moments[..., :d, -1:]
    A, b = (visits - ahead) / length, reward / length
    w = torch.zeros_like(b)
    for _ in range(layers):
        w = w + alpha * (b - A @ w)
    return w[..., 0]


def td_loss(values: torch.Tensor, rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    """Mean of (r + γ v' - v)² over steps; v' (the next prompt's value) is a target without gradient.

    Args:
        values: (..., steps + 1).
        rewards: (..., steps).
    """
    target = rewards + gamma * values[..., 1:].detach()
    return (target - values[..., :-1]).square().mean()
