"""Ranks of a matrix by its singular values (Moalla et al. 2024, arXiv 2405.00662, metrics).

s_1 >= ... >= s_D are the singular values, without centring. Where the matrix is 0 every rank is 0.
"""

from __future__ import annotations

import torch

#: Threshold of the ranks, delta.
DELTA = 0.01


def approximate_rank(sigma: torch.Tensor, delta: float = DELTA) -> int:
    """The least k with sum_{i<=k} s_i^2 / sum s_i^2 > 1 - delta; the paper's "feature rank"."""
    return _least_count(sigma.square(), delta)


def effective_rank(sigma: torch.Tensor) -> float:
    """exp(-sum p_i ln p_i) with p_i = s_i / sum s (Roy and Vetterli 2007); between 1 and D."""
    total = sigma.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(sigma / total).sum().exp())


def _least_count(shares: torch.Tensor, delta: float) -> int:
    """The least k whose first k shares are more than 1 - delta of their sum; shares (D,) are sorted."""
    total = shares.sum()
    if total == 0:
        return 0
    return int((shares.cumsum(0) / total <= 1 - delta).sum()) + 1
