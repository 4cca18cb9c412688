"""How networks move: norms, variance and churn of outputs, the neural tangent kernel and its rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from rlscale.scaling.diagnostics.representation import approximate_rank

#: How many numbers of per-observation gradients are held at once: 128 MB.
MOST_GRADIENT_NUMBERS = 2**25


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


def tangent_kernel(gradients_of: Callable[[range], torch.Tensor], count: int, size: int) -> torch.Tensor:
    """The empirical neural tangent kernel K_ij = <grad f(x_i), grad f(x_j)>, (count, count) float64.

    Args:
        gradients_of: the gradients (n, size) of the scalar output f for some of the observations.
        size: parameters; with many of them the gradients are computed again for each pair of blocks, so that
            no more than ``MOST_GRADIENT_NUMBERS`` numbers are held at once, or two gradients.
    """
    block = max(1, MOST_GRADIENT_NUMBERS // (2 * size))
    if count <= 2 * block:
        block = count
    kernel = torch.zeros(count, count, dtype=torch.float64)
    starts = range(0, count, block)
    for start in starts:
        rows = range(start, min(start + block, count))
        mine = gradients_of(rows)
        for other_start in (each for each in starts if each <= start):
            columns = range(other_start, min(other_start + block, count))
            others = mine if other_start == start else gradients_of(columns)
            part = (mine @ others.T).to("cpu", torch.float64)
            kernel[rows.start : rows.stop, columns.start : columns.stop] = part
            kernel[columns.start : columns.stop, rows.start : rows.stop] = part.T
    return kernel


def kernel_rank(kernel: torch.Tensor) -> int:
    """The approximate rank of the gradients whose kernel (N, N) it is: 99% of the kernel's trace."""
    eigenvalues = torch.linalg.eigvalsh(kernel.to(torch.float64)).flip(0)
    return approximate_rank(eigenvalues.clamp(min=0).sqrt())
