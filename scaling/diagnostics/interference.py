"""Interference: how learning a value in one state moves the values of others (Lyle et al. 2022).

Row i of an update matrix is what one step on the loss of state x_i alone does to the values of all n
states. A diagonal matrix is memorisation: each state is learned for itself. Rank one is the other extreme:
whatever is learned anywhere moves all values together. To first order, with loss (V(x_i) - y_i)²/2,

    U_ij = η (y_i - V(x_i)) K_ij,        K_ij = <grad V(x_i), grad V(x_j)>,

where K is the tangent kernel of the values (``tangent.kernel_of``).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch

from rlscale.scaling.diagnostics.representation import approximate_rank, effective_rank


def first_order_updates(kernel: torch.Tensor, errors: torch.Tensor, step_size: float) -> torch.Tensor:
    """U_ij = η δ_i K_ij of a plain gradient step on (V - y)²/2.

    Args:
        errors: (n,), δ_i = y_i - V(x_i).
    """
    return step_size * errors[:, None].to(kernel.dtype) * kernel


def applied_updates(
    values: Callable[[], torch.Tensor],
    loss_of: Callable[[int], torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> torch.Tensor:
    """U (n, n), float64, by real steps of an optimiser; parameters and its state are as before afterwards.

    With momentum a row also holds what the steps before had begun, the same for every state.

    Args:
        values: the values (n,) of the states under the present parameters.
        loss_of: the loss of state i alone.
        optimizer: the run's own, with its moments.
    """
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kept, state = [parameter.detach().clone() for parameter in moved], deepcopy(optimizer.state_dict())
    rows = []
    with torch.no_grad():
        before = values().to(torch.float64)
    for i in range(len(before)):
        optimizer.zero_grad(set_to_none=True)
        loss_of(i).backward()
        optimizer.step()
        with torch.no_grad():
            rows.append(values().to(torch.float64) - before)
            for parameter, old in zip(moved, kept, strict=True):
                parameter.copy_(old)
        optimizer.load_state_dict(deepcopy(state))  # which would otherwise keep tensors of the copy
    optimizer.zero_grad(set_to_none=True)
    return torch.stack(rows)


def normalized(matrix: torch.Tensor) -> torch.Tensor:
    """U_ij / U_ii, of the rows that move their own state; (m, n) with m <= n."""
    own = matrix.diagonal()
    return matrix[own != 0] / own[own != 0, None]


@dataclass(frozen=True)
class Interference:
    """What an update matrix of n states says.

    Attributes:
        approximate_rank: singular values that hold 99% of the squares; 1 .. n.
        effective_rank: exponential of their entropy; 1 .. n.
        off_diagonal: mean of |U_ij / U_ii| over i != j: 0 if each state is learned for itself, 1 if all move
            together. NaN if no state moves.
        silent_states: how many do not move their own value; they are left out of ``off_diagonal``.
    """

    approximate_rank: int
    effective_rank: float
    off_diagonal: float
    silent_states: int


def interference(matrix: torch.Tensor) -> Interference:
    """The measures of an update matrix, or of a kernel, (n, n)."""
    count = len(matrix)
    sigma = torch.linalg.svdvals(matrix.to(torch.float64))
    relative = normalized(matrix).abs()
    others = relative.sum() - len(relative)  # without the diagonal, which is 1
    return Interference(
        approximate_rank=approximate_rank(sigma),
        effective_rank=effective_rank(sigma),
        off_diagonal=float(others / (len(relative) * (count - 1))) if len(relative) else float("nan"),
        silent_states=count - len(relative),
    )
