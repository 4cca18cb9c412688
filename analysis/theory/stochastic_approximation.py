r"""TD methods as one iteration with finite Markov noise, v_(k+1) = v_k + α_k h(v_k, Y_(k+1)).

The noise Y runs through finitely many outcomes: transitions (s, s') or (s, a, s') of a chain, or the
same outcomes drawn independently. With h̄(v) = E h(v, Y) over their stationary distribution, v* its zero and
A the negative derivative of h̄ there, small or decreasing steps follow dv/dt = h̄(v); they converge if all
eigenvalues of A have positive real parts. With α_k = a/(k + k_0), and a so large that all eigenvalues of aA
have real parts above 1/2, k E (v_k - v*)(v_k - v*)^T tends to the Σ of

    (aA - I/2) Σ + Σ (aA - I/2)^T = a² Γ,    Γ = sum over all lags l of Cov[h(v*, Y_0), h(v*, Y_l)]

(Kushner and Yin 2003, chapter 10): independent noise has lag 0 alone, so dependence shows in Γ. The law of
large numbers along the chain is the case h(v, y) = f(y) - v, a = 1: a mean over k outcomes, of variance Γ/k.

Iterates have shape (runs, d): independent runs side by side. Outcomes are numbered 0 .. m-1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_continuous_lyapunov

from rlscale.analysis.arrays import Floats
from rlscale.analysis.theory.td_dynamics import stationary_distribution

Outcomes = NDArray[np.intp]
Direction = Callable[[Floats, Outcomes], Floats]


# -- noise ------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """A stationary chain of outcomes.

    Attributes:
        transitions: T, (m, m): row y has the probabilities of the outcome after y.
        visits: μ, (m,), with μ T = μ.
    """

    transitions: Floats
    visits: Floats

    def independent(self) -> Noise:
        """The same outcomes as often, each drawn without regard to the one before."""
        return Noise(np.broadcast_to(self.visits, self.transitions.shape).copy(), self.visits)

    def sample(self, steps: int, runs: int, rng: np.random.Generator) -> Outcomes:
        """(steps, runs) outcomes of chains that begin in their stationary distribution."""
        rows = _cumulated(self.transitions)
        now = np.searchsorted(_cumulated(self.visits), rng.random(runs), side="right")
        found = np.empty((steps, runs), dtype=np.intp)
        for step, uniform in enumerate(rng.random((steps, runs))):
            found[step] = now
            now = (rows[now] <= uniform[:, None]).sum(axis=1)
        return found

    def summed_covariance(self, values: ArrayLike) -> Floats:
        """Γ, (d, d): covariances of values (m, d) of the outcomes, summed over lags of either sign.

        The sum over positive lags is E g(Y_0) (T Z g)(Y_0)^T with Z = (I - T + 1 μ^T)^-1 and g of mean 0.
        """
        g = np.asarray(values, float)
        g = g - self.visits @ g
        fundamental = np.eye(len(g)) - self.transitions + self.visits
        later = self.transitions @ np.linalg.solve(fundamental, g)
        weighted = self.visits[:, None] * g
        return np.asarray(weighted.T @ g + weighted.T @ later + later.T @ weighted)


def _cumulated(probabilities: Floats) -> Floats:
    """Their running sums over the last axis, the last set to 1, which rounding may miss."""
    sums = np.cumsum(probabilities, axis=-1)
    sums[..., -1] = 1.0
    return sums


@dataclass(frozen=True)
class Transitions:
    """Outcomes (s, a, s') of a policy that acts in a finite process, those with positive probability.

    Attributes:
        state, action, successor: of each outcome, (m,).
        noise: the chain of outcomes along a trajectory.
    """

    state: Outcomes
    action: Outcomes
    successor: Outcomes
    noise: Noise


def transitions_of(process: ArrayLike, behaviour: ArrayLike) -> Transitions:
    """The outcomes of a behaviour b(a|s), (n, actions), in a process p(s'|s, a), (n, actions, n).

    Together they make an irreducible chain of states.
    """
    p, b = np.asarray(process, float), np.asarray(behaviour, float)
    joint = b[:, :, None] * p  # of (a, s') given s
    state, action, successor = np.nonzero(joint)
    follow = joint[state, action, successor]
    chain = np.where(successor[:, None] == state, follow, 0.0)
    visits = stationary_distribution(joint.sum(axis=1))[state] * follow
    return Transitions(state, action, successor, Noise(chain, visits))


def chain_transitions(chain: ArrayLike) -> Transitions:
    """The outcomes (s, s') of a Markov chain P, (n, n); its only action is 0."""
    p = np.asarray(chain, float)
    return transitions_of(p[:, None, :], np.ones((len(p), 1)))


# -- the iteration ----------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """What a method follows.

    Attributes:
        noise: the outcomes.
        direction: h: iterates (runs, d) and an outcome for each (runs,) to (runs, d).
        goal: v*, (d,), where the expected direction is 0.
        matrix: A, (d, d), the negative derivative of the expected direction at v*.
    """

    noise: Noise
    direction: Direction
    goal: Floats
    matrix: Floats

    def independent(self) -> Problem:
        """The same with independent outcomes."""
        return Problem(self.noise.independent(), self.direction, self.goal, self.matrix)

    def directions_at_goal(self) -> Floats:
        """h(v*, y) of each outcome, (m, d)."""
        outcomes = np.arange(len(self.noise.visits))
        return self.direction(np.broadcast_to(self.goal, (len(outcomes), len(self.goal))), outcomes)

    def converges(self) -> bool:
        """Whether the eigenvalues of A have positive real parts, so that small steps lead to v*."""
        return bool(np.linalg.eigvals(self.matrix).real.min() > 0)


def iterate(
    problem: Problem,
    initial: ArrayLike,
    step_sizes: ArrayLike,
    *,
    runs: int,
    rng: np.random.Generator,
    at: Sequence[int] | None = None,
) -> Floats:
    """v_k of independent runs, (len(at), runs, d).

    Args:
        initial: v_0, (d,).
        step_sizes: α_0, α_1, ..., (steps,).
        at: the k to return, rising; by default the last alone.
    """
    alphas = np.asarray(step_sizes, float)
    wanted = {k: row for row, k in enumerate([len(alphas)] if at is None else at)}
    v = np.broadcast_to(np.asarray(initial, float), (runs, len(problem.goal))).copy()
    found = np.empty((len(wanted), *v.shape))
    outcomes = problem.noise.sample(len(alphas), runs, rng)
    for k in range(len(alphas) + 1):
        if k in wanted:
            found[wanted[k]] = v
        if k < len(alphas):
            v += alphas[k] * problem.direction(v, outcomes[k])
    return found


def decreasing_steps(scale: float, steps: int, *, delay: float = 0.0) -> Floats:
    """α_k = a/(k + 1 + k_0), (steps,)."""
    return np.asarray(scale / (np.arange(1, steps + 1) + delay))


def limit_covariance(problem: Problem, scale: float) -> Floats:
    """Σ of α_k = a/(k + k_0), (d, d): the limit of k E (v_k - v*)(v_k - v*)^T.

    Raises:
        ValueError: if a is too small, so that the error does not fall as 1/k.
    """
    drift = scale * problem.matrix - 0.5 * np.eye(len(problem.goal))
    slowest = np.linalg.eigvals(problem.matrix).real.min()
    if slowest * scale <= 0.5:
        raise ValueError(
            f"steps of {scale:g}/k are too small for a slowest eigenvalue of {slowest:.3g}: "
            "their product must exceed 1/2"
        )
    noise = problem.noise.summed_covariance(problem.directions_at_goal())
    return np.asarray(solve_continuous_lyapunov(drift, scale**2 * noise))


# -- methods whose direction is linear --------------------------------------------


def linear_problem(noise: Noise, offsets: ArrayLike, matrices: ArrayLike) -> Problem:
    """h(v, y) = b_y - A_y v, b (m, d) and A (m, d, d); v* solves the mean equations, by least squares."""
    b, a = np.asarray(offsets, float), np.asarray(matrices, float)
    mean_a, mean_b = np.tensordot(noise.visits, a, 1), noise.visits @ b

    def direction(v: Floats, y: Outcomes) -> Floats:
        return np.asarray(b[y] - np.einsum("rij,rj->ri", a[y], v))

    return Problem(noise, direction, np.linalg.lstsq(mean_a, mean_b, rcond=None)[0], mean_a)


def td_problem(
    outcomes: Transitions,
    features: ArrayLike,
    rewards: ArrayLike,
    gamma: float,
    *,
    target: ArrayLike | None = None,
    behaviour: ArrayLike | None = None,
) -> Problem:
    """Linear TD, h = ρ (r + γ x'^T w - x^T w) x; features I are a table.

    Args:
        features: x of each state, (n, d).
        rewards: r of leaving each state, (n,).
        target: π(a|s), (n, actions), whose values are learned, if not those of the behaviour; ρ = π/b.
        behaviour: b(a|s), (n, actions), where there is a target.
    """
    x, after, rho, r = _of_outcomes(outcomes, features, rewards, target, behaviour)
    return linear_problem(outcomes.noise, (rho * r)[:, None] * x, _outer(rho[:, None] * x, x - gamma * after))


def average_reward_problem(
    outcomes: Transitions, features: ArrayLike, rewards: ArrayLike, *, speed: float = 1.0
) -> Problem:
    """TD without a discount, of v = (w, r̄): h = ((r - r̄ + x'^T w - x^T w) x, c (r - r̄)), c = ``speed``.

    The features may not make up a constant, since relative values are known up to one.
    """
    x, after, _, r = _of_outcomes(outcomes, features, rewards, None, None)
    m, d = x.shape
    a = np.zeros((m, d + 1, d + 1))
    a[:, :d, :d] = _outer(x, x - after)
    a[:, :d, d] = x
    a[:, d, d] = speed
    return linear_problem(outcomes.noise, np.hstack([r[:, None] * x, speed * r[:, None]]), a)


def gradient_td_problem(
    outcomes: Transitions,
    features: ArrayLike,
    rewards: ArrayLike,
    gamma: float,
    *,
    target: ArrayLike,
    behaviour: ArrayLike,
    ratio: float = 1.0,
) -> Problem:
    """TDC (Sutton et al. 2009), of v = (w, u): h = (ρ (δ x - γ x' x^T u), η (ρ δ - x^T u) x), η = ``ratio``.

    u estimates E[x x^T]^-1 E[ρ δ x], by which the update becomes the gradient of the projected Bellman error.
    """
    x, after, rho, r = _of_outcomes(outcomes, features, rewards, target, behaviour)
    m, d = x.shape
    of_td = _outer(rho[:, None] * x, x - gamma * after)
    a = np.zeros((m, 2 * d, 2 * d))
    a[:, :d, :d] = of_td
    a[:, :d, d:] = gamma * _outer(rho[:, None] * after, x)
    a[:, d:, :d] = ratio * of_td
    a[:, d:, d:] = ratio * _outer(x, x)
    b = (rho * r)[:, None] * x
    return linear_problem(outcomes.noise, np.hstack([b, ratio * b]), a)


def _of_outcomes(
    outcomes: Transitions,
    features: ArrayLike,
    rewards: ArrayLike,
    target: ArrayLike | None,
    behaviour: ArrayLike | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """x and x' (m, d), ρ and r (m,) of each outcome."""
    phi, r = np.asarray(features, float), np.asarray(rewards, float)
    rho = np.ones(len(outcomes.state))
    if target is not None:
        by_action = np.asarray(target, float) / np.asarray(behaviour, float)
        rho = by_action[outcomes.state, outcomes.action]
    return phi[outcomes.state], phi[outcomes.successor], rho, r[outcomes.state]


def _outer(left: Floats, right: Floats) -> Floats:
    return left[:, :, None] * right[:, None, :]


def emphatic_matrix(
    process: ArrayLike, target: ArrayLike, features: ArrayLike, visits: ArrayLike, gamma: float
) -> Floats:
    """A of expected emphatic TD (Sutton et al. 2016): X^T diag(f) (I - γP_π) X, f = (I - γP_π^T)^-1 d.

    Its eigenvalues have positive real parts whatever the behaviour's visits d, (n,). Of sampled updates the
    products of ratios have so large a variance that only the expected ones are of use on Baird's example.
    """
    x = np.asarray(features, float)
    p = np.einsum("sa,sat->st", np.asarray(target, float), np.asarray(process, float))
    operator = np.eye(len(p)) - gamma * p
    emphasis = np.linalg.solve(operator.T, np.asarray(visits, float))
    return np.asarray(x.T @ (emphasis[:, None] * (operator @ x)))


# -- Q-learning -------------------------------------------------------------------


def q_learning_problem(
    process: ArrayLike, behaviour: ArrayLike, rewards: ArrayLike, gamma: float
) -> tuple[Problem, Transitions]:
    """Q-learning of a table, flattened to n * actions: h = (r + γ max_b Q(s', b) - Q(s, a)) e_(s, a).

    A is that of the policy that is greedy at Q*, which must be the only one.

    Args:
        process: ``p(s'|s, a)``, (n, actions, n).
        behaviour: ``b(a|s)``, (n, actions), all positive.
        rewards: r(s, a), (n, actions).
    """
    p, r = np.asarray(process, float), np.asarray(rewards, float)
    outcomes = transitions_of(p, behaviour)
    n, actions = r.shape
    goal = optimal_values(p, r, gamma)
    place = outcomes.state * actions + outcomes.action

    def direction(v: Floats, y: Outcomes) -> Floats:
        rows = np.arange(len(v))
        best = v.reshape(-1, n, actions)[rows, outcomes.successor[y]].max(axis=1)
        h = np.zeros_like(v)
        h[rows, place[y]] = r.ravel()[place[y]] + gamma * best - v[rows, place[y]]
        return h

    visits = np.bincount(place, weights=outcomes.noise.visits, minlength=n * actions)
    greedy = np.eye(actions)[goal.argmax(axis=1)]
    next_pair = (p[:, :, :, None] * greedy).reshape(n * actions, n * actions)
    matrix = visits[:, None] * (np.eye(n * actions) - gamma * next_pair)
    return Problem(outcomes.noise, direction, goal.ravel(), matrix), outcomes


def optimal_values(process: ArrayLike, rewards: ArrayLike, gamma: float) -> Floats:
    """Q*, (n, actions), by policy iteration."""
    p, r = np.asarray(process, float), np.asarray(rewards, float)
    n = len(r)
    policy = r.argmax(axis=1)
    while True:
        chosen = np.arange(n), policy
        values = np.linalg.solve(np.eye(n) - gamma * p[chosen], r[chosen])
        q = r + gamma * p @ values
        better = np.where(q.max(axis=1) > q[chosen] + 1e-12, q.argmax(axis=1), policy)
        if (better == policy).all():
            return np.asarray(q)
        policy = better


# -- Baird's counterexample -------------------------------------------------------


@dataclass(frozen=True)
class Baird:
    """Seven states, two actions, eight weights (Baird 1995; Sutton and Barto 2018, section 11.2), rewards 0.

    One action leads to the last state, and is all that the target policy does; the other leads to one of the
    first six, and is done 6 times in 7 by the behaviour. All true values are 0 and can be represented.
    """

    process: Floats
    behaviour: Floats
    target: Floats
    features: Floats
    initial: Floats


def baird() -> Baird:
    """The counterexample, with the weights that it starts from."""
    n = 7
    process = np.zeros((n, 2, n))
    process[:, 0, : n - 1] = 1 / (n - 1)
    process[:, 1, n - 1] = 1.0
    behaviour = np.tile([(n - 1) / n, 1 / n], (n, 1))
    target = np.tile([0.0, 1.0], (n, 1))
    features = np.hstack([2 * np.eye(n), np.ones((n, 1))])
    features[-1, -2:] = [1.0, 2.0]
    initial = np.ones(n + 1)
    initial[-2] = 10.0
    return Baird(process, behaviour, target, features, initial)
