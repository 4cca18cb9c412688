r"""How TD learning moves a table of values (Lyle et al. 2022, "Learning dynamics and generalization in RL").

With P the transition matrix of a policy over n states, R its expected rewards and γ the discount, expected TD
updates with small steps are the flow

    dV/dt = -(I - γP) V + R,        V_t = exp(-t (I - γP)) (V_0 - V_π) + V_π,        V_π = (I - γP)^-1 R.

If P e_i = l_i e_i, the error's part along e_i decays as exp(-t (1 - γ l_i)). Of a reversible P, l_i says
how smooth e_i is between neighbouring states (its Dirichlet energy is 1 - l_i), so what is rough is learned
first and what is smooth last. ``operator`` is the matrix A of a flow dV/dt = -A (V - V_π): I - γP for
one-step targets. Other targets, and states visited unequally often, have other operators.

Values and rewards have shape (n,), matrices (n, n), eigenvalues (n,); time counts updates times their step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from rlscale.analysis.arrays import Floats

_TOLERANCE = 1e-10  # by how much detailed balance may fail by rounding


def ring_walk(num_states: int) -> Floats:
    """P of a random walk to either neighbour on a ring; its eigenvalues are cos(2πk/n), of Fourier modes."""
    if num_states < 3:
        raise ValueError(f"a ring of {num_states} states has no two neighbours: use 3 or more")
    right = np.roll(np.eye(num_states), 1, axis=1)
    return 0.5 * (right + right.T)


def stationary_distribution(transitions: ArrayLike) -> Floats:
    """d with d P = d, of an irreducible P."""
    p = np.asarray(transitions, float)
    equations = np.vstack([p.T - np.eye(len(p)), np.ones(len(p))])
    return np.asarray(np.linalg.lstsq(equations, np.r_[np.zeros(len(p)), 1.0], rcond=None)[0])


def true_values(transitions: ArrayLike, rewards: ArrayLike, gamma: float) -> Floats:
    """V_π = (I - γP)^-1 R."""
    return np.asarray(np.linalg.solve(one_step_operator(transitions, gamma), np.asarray(rewards, float)))


# -- operators of a flow ----------------------------------------------------------


def one_step_operator(transitions: ArrayLike, gamma: float) -> Floats:
    """I - γP, of targets r + γ V(s')."""
    p = np.asarray(transitions, float)
    return np.eye(len(p)) - gamma * p


def n_step_operator(transitions: ArrayLike, gamma: float, steps: int) -> Floats:
    """I - (γP)^n, of targets with n rewards."""
    p = np.asarray(transitions, float)
    return np.asarray(np.eye(len(p)) - np.linalg.matrix_power(gamma * p, steps))


def lambda_operator(transitions: ArrayLike, gamma: float, lam: float) -> Floats:
    """(I - λγP)^-1 (I - γP), of λ-returns; the identity at λ = 1."""
    p = np.asarray(transitions, float)
    return np.asarray(np.linalg.solve(np.eye(len(p)) - lam * gamma * p, one_step_operator(p, gamma)))


def sampled_operator(operator: ArrayLike, visits: ArrayLike) -> Floats:
    """diag(d) A: each state is updated as often as the policy visits it, d of shape (n,).

    Its eigenvectors are others than those of P unless all states are visited equally often.
    """
    return np.asarray(np.asarray(visits, float)[:, None] * np.asarray(operator, float))


# -- learning ---------------------------------------------------------------------


def flow(operator: ArrayLike, values: ArrayLike, initial: ArrayLike, times: Sequence[float]) -> Floats:
    """V_t = exp(-tA) (V_0 - V_π) + V_π at each time, (times, n); also of a P with complex eigenvalues.

    Args:
        values: V_π.
        initial: V_0.
    """
    a, goal = np.asarray(operator, float), np.asarray(values, float)
    error = np.asarray(initial, float) - goal
    return np.array([expm(-t * a) @ error + goal for t in times]).reshape(len(times), len(goal))


def synchronous_steps(
    operator: ArrayLike, values: ArrayLike, initial: ArrayLike, step_size: float, steps: Sequence[int]
) -> Floats:
    """V after each number of expected updates V += α A (V_π - V), (steps, n).

    α = 1 with ``one_step_operator`` is value iteration: V <- R + γ P V.
    """
    goal = np.asarray(values, float)
    once = np.eye(len(goal)) - step_size * np.asarray(operator, float)
    error = np.asarray(initial, float) - goal
    return np.array([np.linalg.matrix_power(once, k) @ error + goal for k in steps]).reshape(len(steps), -1)


def largest_stable_step(operator: ArrayLike) -> float:
    """The α below which synchronous updates converge: the least ``2 Re μ / |μ|²`` of A's eigenvalues.

    With one-step targets and eigenvalues of P in [-1, 1] that is at least 2/(1 + γ).
    """
    eigenvalues = np.linalg.eigvals(np.asarray(operator, float))
    return float(np.min(2 * eigenvalues.real / np.abs(eigenvalues) ** 2))


# -- rates along the eigenvectors of P --------------------------------------------


def one_step_rates(eigenvalues: ArrayLike, gamma: float) -> NDArray[np.generic]:
    """1 - γ l, the eigenvalues of ``one_step_operator``."""
    return np.asarray(1 - gamma * np.asarray(eigenvalues))


def n_step_rates(eigenvalues: ArrayLike, gamma: float, steps: int) -> NDArray[np.generic]:
    """1 - (γ l)^n, the eigenvalues of ``n_step_operator``."""
    return np.asarray(1 - (gamma * np.asarray(eigenvalues)) ** steps)


def lambda_rates(eigenvalues: ArrayLike, gamma: float, lam: float) -> NDArray[np.generic]:
    """(1 - γ l)/(1 - γ λ l), the eigenvalues of ``lambda_operator``: all 1 at λ = 1 (Monte Carlo)."""
    discounted = gamma * np.asarray(eigenvalues)
    return np.asarray((1 - discounted) / (1 - lam * discounted))


def rate_ratio(gamma: float) -> float:
    """(1 + γ)/(1 - γ): how much faster than the smoothest mode (l = 1) the roughest (l = -1) is learned."""
    return (1 + gamma) / (1 - gamma)


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and eigenvectors of a reversible P, the smoothest first.

    Attributes:
        eigenvalues: l, (n,), falling from 1.
        modes: (n, n), a column each, orthonormal in <u, v>_d = sum d u v.
        visits: d, the stationary distribution.
    """

    eigenvalues: Floats
    modes: Floats
    visits: Floats

    def coefficients(self, values: ArrayLike) -> Floats:
        """a_i = <e_i, V>_d of values (..., n)."""
        return np.asarray((np.asarray(values, float) * self.visits) @ self.modes)


def spectrum(transitions: ArrayLike) -> Spectrum:
    """The spectrum of a reversible, irreducible P, by the symmetric matrix D^1/2 P D^-1/2.

    Raises:
        ValueError: if d(s) P(s, s') is not symmetric, so that eigenvalues may be complex; use ``flow``.
    """
    p = np.asarray(transitions, float)
    visits = stationary_distribution(p)
    traffic = visits[:, None] * p
    if np.abs(traffic - traffic.T).max() > _TOLERANCE:
        raise ValueError("the chain is not reversible: d(s) P(s, s') differs from d(s') P(s', s)")
    root = np.sqrt(visits)
    eigenvalues, vectors = np.linalg.eigh(0.5 * (traffic + traffic.T) / np.outer(root, root))
    return Spectrum(eigenvalues[::-1], (vectors / root[:, None])[:, ::-1], visits)


# -- smoothness -------------------------------------------------------------------


def dirichlet_energy(values: ArrayLike, transitions: ArrayLike, visits: ArrayLike) -> Floats:
    """1/2 sum d(s) P(s, s') (V(s) - V(s'))² of values (..., n): half the mean squared change in a step."""
    v = np.asarray(values, float)
    traffic = np.asarray(visits, float)[:, None] * np.asarray(transitions, float)
    return np.asarray(0.5 * np.einsum("st,...st->...", traffic, (v[..., :, None] - v[..., None, :]) ** 2))


def roughness(values: ArrayLike, transitions: ArrayLike, visits: ArrayLike) -> Floats:
    """Dirichlet energy over ||V||²_d: between 0 (constant) and 2 (alternating); NaN of zero values."""
    norms = (np.asarray(values, float) ** 2) @ np.asarray(visits, float)
    with np.errstate(invalid="ignore"):
        return np.asarray(dirichlet_energy(values, transitions, visits) / norms)
