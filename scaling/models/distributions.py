"""Policies over discrete, multi-discrete and bounded continuous actions, behind one interface.

An ``ActionHead`` knows the actions of a task; it turns the outputs of a network's head into a ``Policy``.
Random numbers come from numpy, so a stream is the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn import functional as F

from rlscale.scaling.tasks.catalog import Actions, Continuous, Discrete


class Policy(Protocol):
    """The distributions of the actions in a batch of states (...)."""

    def sample(self, noise: np.ndarray) -> torch.Tensor:
        """Actions (n, *shape), from the head's ``noise`` for n states; for a batch (n,)."""
        ...

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, or log-densities, of actions (..., *shape): (...)."""
        ...

    def entropy(self) -> torch.Tensor:
        """(...), nat."""
        ...

    def kl_from(self, old: Any) -> torch.Tensor:
        """KL(old || this), (...), nat; ``old`` is a policy of the same head."""
        ...

    def parameters(self) -> torch.Tensor:
        """The numbers that say what it does, (..., k): probabilities, or means and deviations of normals."""
        ...

    def slopes(self, action: torch.Tensor, weight: torch.Tensor, entropy_weight: float) -> torch.Tensor:
        """The gradient of sum(weight * log_prob(action) + entropy_weight * entropy()), written out.

        With respect to the outputs of which the head made the policy, (..., num_outputs); ``weight`` (...).
        """
        ...


class ActionHead(Protocol):
    """How a policy network expresses the actions of a task.

    num_outputs: outputs of the network's head for a state
    num_stateless: how many of them, the last ones, are the same in all states and begin at 0
    shape, dtype: of one action as rollouts store it
    """

    num_outputs: int
    num_stateless: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __call__(self, outputs: torch.Tensor) -> Policy:
        """The policy that outputs (..., num_outputs) stand for."""
        ...

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Random numbers for the actions in ``count`` states."""
        ...

    def draw(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """What the policy of ``outputs`` (n, num_outputs) would ``sample``, up to rounding, in numpy.

        For a few states, numpy takes a fraction of torch's time.
        """
        ...

    def for_task(self, action: torch.Tensor) -> np.ndarray:
        """Stored actions (n, *shape) as the task takes them."""
        ...


#: Policies over actions that are numbers between bounds.
BoxPolicy = Literal["tanh-normal", "normal"]


def action_head(actions: Actions, box_policy: BoxPolicy = "tanh-normal") -> ActionHead:
    """The head for the actions of a task.

    Args:
        box_policy: the kind of policy if the actions are numbers between bounds.
    """
    if isinstance(actions, Discrete):
        return CategoricalHead(actions.count)
    if isinstance(actions, Continuous):
        head = NormalHead if box_policy == "normal" else TanhNormalHead
        return head(actions.low, actions.high)
    return MultiCategoricalHead(actions.counts)


class CategoricalHead:
    """One of ``count`` choices; the outputs are logits."""

    num_stateless = 0
    shape: tuple[int, ...] = ()
    dtype = torch.int64

    def __init__(self, count: int) -> None:
        self.num_outputs = count

    def __call__(self, outputs: torch.Tensor) -> CategoricalPolicy:
        return CategoricalPolicy(outputs)

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count,) uniform."""
        return rng.random(count)

    def draw(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Choices (n,)."""
        return draw_choices(outputs, noise)

    def for_task(self, action: torch.Tensor) -> np.ndarray:
        """The same numbers."""
        return action.cpu().numpy()


class CategoricalPolicy:
    """See ``Policy``; logits are (..., count)."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.choices = Categorical(logits=logits, validate_args=False)

    def sample(self, noise: np.ndarray) -> torch.Tensor:
        return sample(self.choices, noise)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return self.choices.log_prob(action)

    def entropy(self) -> torch.Tensor:
        return self.choices.entropy()

    def kl_from(self, old: CategoricalPolicy) -> torch.Tensor:
        """In logarithms: torch's is infinite, without a gradient, where a probability rounds to 0."""
        before = old.choices
        terms = before.probs * (before.logits - self.choices.logits)
        return torch.where(before.probs > 0, terms, 0.0).sum(dim=-1)

    def parameters(self) -> torch.Tensor:
        return self.choices.probs

    def slopes(self, action: torch.Tensor, weight: torch.Tensor, entropy_weight: float) -> torch.Tensor:
        # d log p_a / d logits = onehot(a) - p;  dH / d logits = -p (log p + H)
        probabilities, weight = self.choices.probs, weight.unsqueeze(-1)
        slopes = (probabilities * -weight).scatter_add_(-1, action.unsqueeze(-1), weight)
        if entropy_weight:
            surprise = self.choices.logits + self.entropy().unsqueeze(-1)
            slopes.addcmul_(probabilities, surprise, value=-entropy_weight)
        return slopes


def sample(policy: Categorical, uniform: np.ndarray) -> torch.Tensor:
    """Choices (batch,) by inverting the distribution function at ``uniform`` (batch,) in [0, 1)."""
    cumulative = policy.probs.cumsum(dim=-1)
    threshold = torch.as_tensor(uniform, dtype=cumulative.dtype, device=cumulative.device)
    below = (cumulative <= threshold[:, None]).sum(dim=-1)
    # Rounding can leave the whole distribution function at or below the threshold.
    last_possible = (cumulative < cumulative[:, -1:]).sum(dim=-1)
    return torch.minimum(below, last_possible)


def draw_choices(logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """As ``sample``, from logits (batch, count) in numpy."""
    cumulative = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1, dtype=np.float64)
    total = cumulative[:, -1:]
    below = (cumulative <= uniform[:, None] * total).sum(axis=1)
    return np.minimum(below, (cumulative < total).sum(axis=1))


class MultiCategoricalHead:
    """Several independent choices; the outputs are the logits of the first, of the second, and so on."""

    num_stateless = 0
    dtype = torch.int64

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = tuple(counts)
        self.num_outputs = sum(counts)
        self.shape: tuple[int, ...] = (len(self.counts),)

    def __call__(self, outputs: torch.Tensor) -> MultiCategoricalPolicy:
        return MultiCategoricalPolicy([CategoricalPolicy(part) for part in outputs.split(self.counts, -1)])

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, choices) uniform."""
        return rng.random((count, *self.shape))

    def draw(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(n, choices)."""
        parts = np.split(outputs, np.cumsum(self.counts)[:-1], axis=1)
        drawn = [draw_choices(part, noise[:, i]) for i, part in enumerate(parts)]
        return np.stack(drawn, axis=1)

    def for_task(self, action: torch.Tensor) -> np.ndarray:
        """The same numbers."""
        return action.cpu().numpy()


@dataclass(frozen=True)
class MultiCategoricalPolicy:
    """See ``Policy``; log-probabilities, entropies and divergences of independent choices add up."""

    parts: Sequence[CategoricalPolicy]

    def sample(self, noise: np.ndarray) -> torch.Tensor:
        return torch.stack([part.sample(noise[:, i]) for i, part in enumerate(self.parts)], dim=-1)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return self._sum([part.log_prob(action[..., i]) for i, part in enumerate(self.parts)])

    def entropy(self) -> torch.Tensor:
        return self._sum([part.entropy() for part in self.parts])

    def kl_from(self, old: MultiCategoricalPolicy) -> torch.Tensor:
        pairs = zip(self.parts, old.parts, strict=True)
        return self._sum([part.kl_from(before) for part, before in pairs])

    def parameters(self) -> torch.Tensor:
        return torch.cat([part.parameters() for part in self.parts], dim=-1)

    def slopes(self, action: torch.Tensor, weight: torch.Tensor, entropy_weight: float) -> torch.Tensor:
        parts = [part.slopes(action[..., i], weight, entropy_weight) for i, part in enumerate(self.parts)]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def _sum(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(values).sum(dim=0)


#: The least standard deviation of a normal before the tanh; it keeps the log-density bounded.
LEAST_DEVIATION = 1e-3
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)


class _BoxHead:
    """Numbers between ``low`` and ``high``; the outputs are means, then what deviations are made of."""

    dtype = torch.float32

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        self.low, self.high = np.array(low, np.float64), np.array(high, np.float64)
        self._range = self.high - self.low
        self._low32, self._high32 = self.low.astype(np.float32), self.high.astype(np.float32)
        self.shape: tuple[int, ...] = (len(low),)
        self.num_outputs = 2 * len(low)

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, numbers) standard normal."""
        return rng.standard_normal((count, *self.shape))

    def _to_bounds(self, scaled: np.ndarray) -> np.ndarray:
        """Numbers in [-1, 1] (n, numbers) float64 as the task takes them: float32, within the bounds."""
        actions = (self.low + (scaled + 1) / 2 * self._range).astype(np.float32)
        return np.minimum(np.maximum(actions, self._low32), self._high32)


class TanhNormalHead(_BoxHead):
    """Numbers between ``low`` and ``high``: a normal, through tanh, scaled to the bounds.

    The outputs are means, then x of the deviations softplus(x) + ``LEAST_DEVIATION`` (as in Brax). Rollouts
    store the number before the tanh, from which the log-density follows without loss at the bounds.
    Densities are those of actions scaled to [-1, 1], so entropies do not depend on the actions' units.
    """

    num_stateless = 0

    def __call__(self, outputs: torch.Tensor) -> TanhNormalPolicy:
        mean, raw = outputs.chunk(2, dim=-1)
        return TanhNormalPolicy(mean, F.softplus(raw) + LEAST_DEVIATION)

    def draw(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(n, numbers) float32, before the tanh."""
        mean, raw = outputs[:, : len(self.low)], outputs[:, len(self.low) :]
        deviation = np.logaddexp(np.float32(0), raw) + np.float32(LEAST_DEVIATION)
        return mean + deviation * noise.astype(np.float32)

    def for_task(self, action: torch.Tensor) -> np.ndarray:
        """float32, within the bounds."""
        return self._to_bounds(np.tanh(action.cpu().numpy().astype(np.float64)))


class NormalHead(_BoxHead):
    """Numbers between ``low`` and ``high``: a normal with one deviation for all states, cut at the bounds.

    The outputs are means, then logarithms of the deviations, both of actions scaled to [-1, 1]: the policy
    of "Proximal policy optimization algorithms" (Schulman et al. 2017, section 6.1), stable-baselines3 and
    CleanRL. Rollouts store the number before it is cut, and densities are those of that number.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__(low, high)
        self.num_stateless = len(low)

    def __call__(self, outputs: torch.Tensor) -> NormalPolicy:
        mean, log_deviation = outputs.chunk(2, dim=-1)
        return NormalPolicy(mean, log_deviation.exp())

    def draw(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(n, numbers) float32, before they are cut."""
        mean, log_deviation = outputs[:, : len(self.low)], outputs[:, len(self.low) :]
        return mean + np.exp(log_deviation) * noise.astype(np.float32)

    def for_task(self, action: torch.Tensor) -> np.ndarray:
        """float32, within the bounds."""
        return self._to_bounds(action.cpu().numpy().astype(np.float64))


class NormalPolicy:
    """See ``Policy``; independent normals with means and deviations (..., numbers)."""

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        self.mean, self.deviation = mean, deviation

    def sample(self, noise: np.ndarray) -> torch.Tensor:
        mean = self.mean
        return mean + self.deviation * torch.as_tensor(noise, dtype=mean.dtype, device=mean.device)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return self._log_densities(action).sum(dim=-1)

    def entropy(self) -> torch.Tensor:
        return self._normal().entropy().sum(dim=-1)

    def kl_from(self, old: NormalPolicy) -> torch.Tensor:
        return kl_divergence(old._normal(), self._normal()).sum(dim=-1)

    def parameters(self) -> torch.Tensor:
        return torch.cat([self.mean, self.deviation], dim=-1)

    def slopes(self, action: torch.Tensor, weight: torch.Tensor, entropy_weight: float) -> torch.Tensor:
        # d log N(x; m, s) / dm = z / s,  d / ds = (z^2 - 1) / s,  z = (x - m) / s
        z, weight = (action - self.mean) / self.deviation, weight.unsqueeze(-1)
        of_mean = weight * z / self.deviation
        of_deviation = weight * (z * z - 1) / self.deviation
        if entropy_weight:
            more_mean, more_deviation = self._entropy_slopes()
            of_mean = of_mean + entropy_weight * more_mean
            of_deviation = of_deviation + entropy_weight * more_deviation
        return torch.cat([of_mean, of_deviation * self._deviation_slope()], dim=-1)

    def _entropy_slopes(self) -> tuple[torch.Tensor | float, torch.Tensor]:
        """Of the entropy with respect to means and deviations."""
        return 0.0, 1 / self.deviation

    def _deviation_slope(self) -> torch.Tensor:
        """Of the deviations with respect to the outputs."""
        return self.deviation  # the exponential of the outputs

    def _log_densities(self, x: torch.Tensor) -> torch.Tensor:
        """Of each number, (..., numbers)."""
        z = (x - self.mean) / self.deviation
        # In place of ``Normal.log_prob``, which takes twice as many operations.
        return -0.5 * (z * z) - self.deviation.log() - 0.5 * math.log(2 * math.pi)

    def _normal(self) -> Normal:
        return Normal(self.mean, self.deviation, validate_args=False)


class TanhNormalPolicy(NormalPolicy):
    """See ``Policy``; actions are the numbers x before the tanh, densities are those of tanh(x).

        log p(tanh x) = log N(x; mean, deviation) - log(1 - tanh(x)^2)

    The entropy is that of the normal plus the mean of log(1 - tanh(x)^2), by Gauss-Hermite quadrature. The
    divergence is that of the normals, because both go through the same map.
    """

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return (self._log_densities(action) - log_slope(action)).sum(dim=-1)

    def entropy(self) -> torch.Tensor:
        x, _, weights = self._quadrature()
        slope = (log_slope(x) * weights).sum(dim=-1) / math.sqrt(2 * math.pi)
        return (self._normal().entropy() + slope).sum(dim=-1)

    def _entropy_slopes(self) -> tuple[torch.Tensor, torch.Tensor]:
        # d log(1 - tanh(x)^2) / dx = -2 tanh(x)
        x, nodes, weights = self._quadrature()
        change = -2 * torch.tanh(x) * weights / math.sqrt(2 * math.pi)
        return change.sum(dim=-1), 1 / self.deviation + (change * nodes).sum(dim=-1)

    def _deviation_slope(self) -> torch.Tensor:
        return -torch.expm1(LEAST_DEVIATION - self.deviation)  # of softplus, a logistic function

    def _quadrature(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Numbers (..., numbers, nodes) at the nodes of Gauss-Hermite quadrature, the nodes, and weights."""
        like = self.mean
        nodes, weights = (
            torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in (_NODES, _WEIGHTS)
        )
        return self.mean[..., None] + self.deviation[..., None] * nodes, nodes, weights


def log_slope(x: torch.Tensor) -> torch.Tensor:
    """log(1 - tanh(x)^2), without loss where tanh(x) rounds to 1."""
    return 2 * (math.log(2) - x - F.softplus(-2 * x))
