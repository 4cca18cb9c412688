"""Metrics of a network's penultimate layer on one batch (Moalla et al. 2024, arXiv 2405.00662, metrics).

Phi is the matrix (N, D) of the activations of D units on N observations, s_1 >= ... >= s_D are its singular
values, without centring. Five definitions of its rank are in use, and the paper reports all of them. Where
Phi is 0 every rank is 0.
"""

from __future__ import annotations

import torch

from rlscale.scaling.models.trunk import Activation

#: Threshold of the ranks, delta.
DELTA = 0.01
#: A tanh unit is dead where its standard deviation over observations is below this.
STILL = 1e-3


def singular_values(features: torch.Tensor) -> torch.Tensor:
    """All min(N, D) singular values of features (N, D), largest first, float64 on the CPU.

    They are roots of the eigenvalues of the smaller Gram matrix in float64, which is faster than a
    decomposition of Phi. Values below about 1e-8 of the largest are lost in rounding; that is far below what
    float32 features resolve, and below every threshold of the ranks.
    """
    rows, units = features.shape
    phi = features.to(torch.float64)
    gram = phi.T @ phi if units <= rows else phi @ phi.T
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0).sqrt().cpu()


def approximate_rank(sigma: torch.Tensor, delta: float = DELTA) -> int:
    """The least k with sum_{i<=k} s_i^2 / sum s_i^2 > 1 - delta; the paper's "feature rank"."""
    return _least_count(sigma.square(), delta)


def srank(sigma: torch.Tensor, delta: float = DELTA) -> int:
    """The least k with sum_{i<=k} s_i / sum s_i > 1 - delta (Kumar et al. 2021)."""
    return _least_count(sigma, delta)


def effective_rank(sigma: torch.Tensor) -> float:
    """exp(-sum p_i ln p_i) with p_i = s_i / sum s (Roy and Vetterli 2007); between 1 and D."""
    total = sigma.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(sigma / total).sum().exp())


def absolute_rank(sigma: torch.Tensor, num_observations: int, delta: float = DELTA) -> int:
    """How many s_i / sqrt(N) are above delta (Lyle et al. 2022)."""
    return int((sigma / num_observations**0.5 > delta).sum())


def pytorch_rank(sigma: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> int:
    """How many s_i are above s_1 * max(N, D) * eps, the rank of ``torch.linalg.matrix_rank``.

    Args:
        shape: (N, D).
        dtype: of the features, which gives eps.
    """
    return int((sigma > sigma[0] * max(shape) * torch.finfo(dtype).eps).sum())


def mean_norm(values: torch.Tensor) -> float:
    """The mean over observations of the L2 norm of values (N, D): of features, or of pre-activations.

    Where units die the norm of the features may look steady while that of the pre-activations grows.
    """
    return float(values.to(torch.float64).norm(dim=1).mean())


def dead_units(features: torch.Tensor, activation: Activation) -> int:
    """How many units of features (N, D), N > 1, say nothing about the observation.

    ReLU and GELU: exactly 0 on every one; tanh: a standard deviation (unbiased) below ``STILL``; leaky ReLU:
    negative on every one.
    """
    if activation == "tanh":
        dead = features.to(torch.float64).std(dim=0) < STILL
    elif activation == "leaky-relu":
        dead = (features < 0).all(dim=0)
    else:
        dead = (features == 0).all(dim=0)
    return int(dead.sum())


def _least_count(shares: torch.Tensor, delta: float) -> int:
    """The least k whose first k shares are more than 1 - delta of their sum; shares (D,) are sorted."""
    total = shares.sum()
    if total == 0:
        return 0
    return int((shares.cumsum(0) / total <= 1 - delta).sum()) + 1
