r"""TD learning inside a linear transformer, by construction (Wang et al. 2024, arXiv 2405.13861).

The prompt Z holds a column (φ_i; γφ'_i; r_i) for each of n transitions, and (φ_q; 0; 0) for each query:
2d + 1 rows of n + q columns. A layer of linear attention has heads (P, Q, M),

    Z <- Z + (1/n) sum over heads of P Z M (Z^T Q Z).

With the weights of ``constructed_layer``, l layers compute l batch updates of w from w_0 = 0, and the last
row of a query's column is -w_l^T φ_q (with average reward, +w_l^T φ_q). By induction on l, the last row of a
context's column is the TD error δ_i(w_l) = r_i + γ w_l^T φ'_i - w_l^T φ_i.

The updates are those of ``updates``, w += (1/n) C sum_i δ_i e_i, with C the preconditioner (α I for a step
size α) and

    td                  e_i = γλ e_(i-1) + φ_i, TD(λ); e_i = φ_i at λ = 0
    residual-gradient   e_i = φ_i - γφ'_i
    average-reward      e_i = φ_i, γ = 1 and r_i less the mean of r_1 .. r_i

M zeroes the rows of queries, so no column attends to a query: several of them in one prompt have the values
that each would have in a prompt of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats
from rlscale.scaling.errors import InputError

Method = Literal["td", "residual-gradient", "average-reward"]


@dataclass(frozen=True)
class Context:
    """Transitions that a prompt holds: φ (n, d), φ' (n, d) and r (n,), in the order of the trajectory."""

    features: Floats
    successors: Floats
    rewards: Floats

    @property
    def length(self) -> int:
        """n, the number of transitions."""
        return len(self.rewards)

    @property
    def num_features(self) -> int:
        """d, the number of features of a state."""
        return self.features.shape[1]


@dataclass(frozen=True)
class Head:
    """P and Q, square, as large as the prompt has rows, and M, square, as large as it has columns."""

    P: Floats
    Q: Floats
    M: Floats


Layer = tuple[Head, ...]


def context_of(features: ArrayLike, successors: ArrayLike, rewards: ArrayLike) -> Context:
    """A context of transitions, checked.

    Raises:
        InputError: if it is shorter than 1 (code ``context_too_short``), or its parts differ in length or in
            their number of features (code ``feature_size``).
    """
    phi, after, r = (np.asarray(each, float) for each in (features, successors, rewards))
    if phi.size == 0 or r.size == 0:
        raise InputError(
            f"A context of {r.size} transitions with features {phi.shape} holds nothing to learn from: give "
            "at least 1 transition with 1 feature.",
            code="context_too_short",
        )
    if phi.ndim != 2 or after.shape != phi.shape or r.shape != phi.shape[:1]:
        raise InputError(
            f"Features {phi.shape}, successors {after.shape} and rewards {r.shape} do not fit: give them as "
            "(n, d), (n, d) and (n,).",
            code="feature_size",
        )
    return Context(phi, after, r)


# -- the prompt and the layer -----------------------------------------------------


def prompt(context: Context, queries: ArrayLike, gamma: float, *, memory: bool = False) -> Floats:
    """Z, (2d + 1, n + q): the discount is part of it, and rewards are its last row.

    Args:
        queries: φ_q, (q, d) or (d,) for one.
        memory: a further row of zeros below, which the construction for average reward writes to.

    Raises:
        InputError: if the queries have another number of features than the context (code ``feature_size``).
    """
    phi_q = np.atleast_2d(np.asarray(queries, float))
    n, d = context.length, context.num_features
    if phi_q.ndim != 2 or phi_q.shape[1] != d:
        raise InputError(
            f"A query of {phi_q.shape[-1]} features does not fit a context whose states have {d}: "
            "give as many.",
            code="feature_size",
        )
    z = np.zeros((2 * d + 1 + memory, n + len(phi_q)))
    z[:d] = np.vstack([context.features, phi_q]).T
    z[d : 2 * d, :n] = gamma * context.successors.T
    z[2 * d, :n] = context.rewards
    return z


def attend(z: Floats, layer: Layer, length: int) -> Floats:
    """The layer's output Z + (1/n) sum P Z M (Z^T Q Z), n being the context's length.

    Raises:
        InputError: if a head is made for a prompt of another size (code ``feature_size``).
    """
    rows, columns = z.shape
    for head in layer:
        if not head.P.shape == head.Q.shape == (rows, rows) or head.M.shape != (columns, columns):
            raise InputError(
                f"A head with P {head.P.shape}, Q {head.Q.shape} and M {head.M.shape} does not fit a prompt "
                f"of {rows} rows and {columns} columns: make it for the prompt's features and context.",
                code="feature_size",
            )
    return z + sum((head.P @ z @ head.M) @ (z.T @ head.Q @ z) for head in layer) / length


def forward(z: Floats, layers: Sequence[Layer], length: int) -> Floats:
    """Z before the first layer and after each, (layers + 1, rows, columns)."""
    states = [z]
    for layer in layers:
        states.append(attend(states[-1], layer, length))
    return np.array(states)


# -- the construction -------------------------------------------------------------


def constructed_layer(
    method: Method, preconditioner: ArrayLike, length: int, *, num_queries: int = 1, decay: float = 0.0
) -> Layer:
    """The weights with which a layer is one batch update.

    Args:
        preconditioner: C, (d, d).
        length: n, the context's.
        num_queries: q, the columns that follow.
        decay: of the trace in a step, γλ of TD(λ); only for ``td``.

    Raises:
        InputError: if there is no context (code ``context_too_short``), C is not square (code
            ``feature_size``), or a trace is asked for where there is none (code ``invalid_option``).
    """
    c = np.asarray(preconditioner, float)
    if length < 1:
        raise InputError(
            f"A context of {length} transitions holds nothing to learn from: give at least 1.",
            code="context_too_short",
        )
    if c.ndim != 2 or c.shape[0] != c.shape[1]:
        raise InputError(
            f"A preconditioner of shape {c.shape} fits no features: give a row and a column for each.",
            code="feature_size",
        )
    if decay and method != "td":
        raise InputError(
            f"The update {method} has no trace: leave lambda at 0, or choose td.", code="invalid_option"
        )
    d, memory = len(c), method == "average-reward"
    rows, columns = 2 * d + 1 + memory, length + num_queries
    q = np.zeros((rows, rows))
    q[:d, : 2 * d] = np.hstack([-c.T, c.T])
    if method == "residual-gradient":
        q[d : 2 * d, : 2 * d] = np.hstack([c.T, -c.T])
    m = np.zeros((columns, columns))
    m[:length, :length] = _trace(length, decay)
    if not memory:
        return (Head(_row_to_row(rows, 2 * d, 2 * d), q, m),)
    from_reward = Head(_row_to_row(rows, 2 * d, 2 * d + 1), q, _mean_less_reward(columns) @ m)
    from_memory = Head(_row_to_row(rows, 2 * d + 1, 2 * d + 1), q, m)
    return from_reward, from_memory


def output(z: Floats, method: Method, length: int) -> Floats:
    """The values of the queries, (..., q), from the last row of prompts (..., rows, n + q)."""
    sign = 1.0 if method == "average-reward" else -1.0
    return np.asarray(sign * z[..., -1, length:])


def in_context_values(
    method: Method,
    context: Context,
    queries: ArrayLike,
    preconditioners: ArrayLike,
    *,
    gamma: float = 1.0,
    lam: float = 0.0,
) -> Floats:
    """The constructed transformer's values of queries (q, d): at first and after each layer, (L + 1, q).

    Args:
        preconditioners: C of each layer, (L, d, d).
        gamma: γ, 1 for average reward.
        lam: λ, for ``td``.

    Raises:
        InputError: as ``prompt`` and ``constructed_layer`` do, and if average reward has a discount.
    """
    _check_discount(method, gamma)
    phi_q = np.atleast_2d(np.asarray(queries, float))
    z = prompt(context, phi_q, gamma, memory=method == "average-reward")
    layers = [
        constructed_layer(method, c, context.length, num_queries=len(phi_q), decay=gamma * lam)
        for c in np.asarray(preconditioners, float)
    ]
    return output(forward(z, layers, context.length), method, context.length)


def _row_to_row(rows: int, source: int, target: int) -> Floats:
    """P that adds what one row of the prompt attends to, to another."""
    p = np.zeros((rows, rows))
    p[target, source] = 1.0
    return p


def _trace(length: int, decay: float) -> Floats:
    """decay^(i - k) for i >= k: the row δ times it has in k the weight of φ_k in sum_i δ_i e_i."""
    apart = np.arange(length)[:, None] - np.arange(length)
    return np.asarray(np.where(apart >= 0, float(decay) ** np.maximum(apart, 0), 0.0))


def _mean_less_reward(columns: int) -> Floats:
    """The matrix that turns the row r into r̄ - r, r̄_i = mean of r_1 .. r_i."""
    return np.asarray(np.triu(np.ones((columns, columns))) / np.arange(1, columns + 1) - np.eye(columns))


# -- what it must equal -----------------------------------------------------------


def updates(
    method: Method, context: Context, preconditioners: ArrayLike, *, gamma: float = 1.0, lam: float = 0.0
) -> Floats:
    """w_0 = 0, w_1, ..., w_L of the explicit batch updates w += (1/n) C sum_i δ_i e_i: (L + 1, d).

    Raises:
        InputError: if average reward has a discount (code ``invalid_option``).
    """
    _check_discount(method, gamma)
    weights = [np.zeros(context.num_features)]
    for c in np.asarray(preconditioners, float):
        errors = td_errors(method, context, weights[-1], gamma=gamma)
        total, trace = np.zeros_like(weights[-1]), np.zeros_like(weights[-1])
        for error, phi, after in zip(errors, context.features, context.successors, strict=True):
            trace = gamma * lam * trace + phi
            direction = phi - gamma * after if method == "residual-gradient" else trace
            total += error * direction
        weights.append(weights[-1] + c @ total / context.length)
    return np.array(weights)


def td_errors(method: Method, context: Context, weights: Floats, *, gamma: float = 1.0) -> Floats:
    """δ_i = r_i + γ w^T φ'_i - w^T φ_i, (n,); with average reward, γ = 1 and r_i less its running mean."""
    rewards = context.rewards
    if method == "average-reward":
        rewards = rewards - np.cumsum(rewards) / np.arange(1, context.length + 1)
    return np.asarray(rewards + (gamma * context.successors - context.features) @ weights)


def fixed_point(context: Context, gamma: float) -> Floats:
    """w with A w = b, A = (1/n) sum φ_i (φ_i - γφ'_i)^T, b = (1/n) sum r_i φ_i: where TD(0) stands still.

    Many layers with C = α I come to it if A's eigenvalues have positive real parts and α is small.
    """
    a = context.features.T @ (context.features - gamma * context.successors)
    return np.asarray(np.linalg.solve(a, context.features.T @ context.rewards))


def _check_discount(method: Method, gamma: float) -> None:
    if method == "average-reward" and gamma != 1:
        raise InputError(
            f"Average reward has no discount: set gamma to 1 in place of {gamma}.", code="invalid_option"
        )
