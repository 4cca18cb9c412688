"""How networks move: norms, and the variance and churn of their outputs."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def global_norm(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """The L2 norm of all numbers of the tensors together, a scalar; 0 of none."""
    norms = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def policy_variance(parameters: torch.Tensor) -> float:
    """How much the policy depends on the state: the variance over states (unbiased), mean over parameters.

    A policy that has collapsed does the same in every state, and this is 0 whatever its entropy
    (Moalla et al. 2024).

    Args:
        parameters: (N, k), N > 1: the probabilities of the actions, or means and deviations of normals.
    """
    return float(parameters.to(torch.float64).var(dim=0).mean())


def value_churn(before: torch.Tensor, after: torch.Tensor) -> float:
    """mean |v_after - v_before| on observations that were not trained on (Tang and Berseth 2024); (N,)."""
    return float((after - before).abs().to(torch.float64).mean())
