"""TD as stochastic approximation, in numbers: rates under Markov noise, and Baird's counterexample."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, Interval, Record
from rlscale.analysis.theory.stochastic_approximation import (
    Baird,
    Problem,
    average_reward_problem,
    baird,
    chain_transitions,
    decreasing_steps,
    emphatic_matrix,
    gradient_td_problem,
    iterate,
    limit_covariance,
    linear_problem,
    q_learning_problem,
    td_problem,
    transitions_of,
)

_NORMAL_90 = 1.6449  # half the width of a two-sided interval of 90%, in standard errors
_STATES, _ACTIONS, _GAMMA = 4, 2, 0.5
_BAIRD_GAMMA, _BAIRD_STEP, _BAIRD_RATIO = 0.99, 0.005, 10.0
_BLOWN_UP = 1e6  # value errors beyond are left out: they go on to infinity


# -- rates under Markov noise -----------------------------------------------------


class MethodRate(Record):
    """A method under one kind of noise.

    Attributes:
        method: its name.
        noise: ``independent`` or ``markov``.
        scale, delay: a and k_0 of its steps a/(k + k_0).
        squared_error: E |v_k - v*|² over the runs, at the demo's ``at``.
        predicted: tr Σ / (k + k_0) at the same k.
        ratio: measured over predicted at the end.
        ratio_interval: of 90%, over runs.
    """

    method: str
    noise: Literal["independent", "markov"]
    scale: float
    delay: float
    squared_error: StoredFloats
    predicted: StoredFloats
    ratio: float
    ratio_interval: Interval


class MarkovDemo(Record):
    """What ``rlscale theory td --example markov`` measures.

    Attributes:
        steps, runs, seed: the setting.
        at: numbers of updates at which errors are taken.
        rates: by method and noise.
    """

    kind: Literal["rlscale theory td markov"] = "rlscale theory td markov"
    schema_version: int = SCHEMA_VERSION
    steps: int
    runs: int
    seed: int
    at: StoredFloats
    rates: list[MethodRate]


def markov_demo(steps: int = 10_000, *, runs: int = 200, seed: int = 0) -> MarkovDemo:
    """Run each method with independent and with Markov noise, beside the error that the theory predicts.

    Args:
        steps: updates, 100 or more.
        runs: independent runs, 20 or more.
        seed: of the chain, the rewards and the noise.
    """
    rng = np.random.default_rng(seed)
    at = np.unique(np.geomspace(10, steps, 25).round().astype(int))
    rates = []
    for method, problem in _problems(rng).items():
        rates.append(_rate(method, "independent", problem.independent(), at, runs, rng))
        rates.append(_rate(method, "markov", problem, at, runs, rng))
    return MarkovDemo(steps=steps, runs=runs, seed=seed, at=at, rates=rates)


def _problems(rng: np.random.Generator) -> dict[str, Problem]:
    """On a random chain that tends to stay where it is, so that successive outcomes resemble each other."""
    chain = 0.5 * np.eye(_STATES) + 0.5 * rng.dirichlet(np.ones(_STATES), _STATES)
    process = 0.5 * np.eye(_STATES)[:, None] + 0.5 * rng.dirichlet(np.ones(_STATES), (_STATES, _ACTIONS))
    rewards, by_action = rng.normal(size=_STATES), rng.normal(size=(_STATES, _ACTIONS))
    outcomes = chain_transitions(chain)
    table = np.eye(_STATES)
    here = rewards[outcomes.state][:, None]
    behaviour = np.full((_STATES, _ACTIONS), 1 / _ACTIONS)
    return {
        "mean reward": linear_problem(outcomes.noise, here, np.ones((len(here), 1, 1))),
        "tabular TD": td_problem(outcomes, table, rewards, _GAMMA),
        "linear TD": td_problem(outcomes, rng.uniform(-1, 1, (_STATES, 2)), rewards, _GAMMA),
        "average-reward TD": average_reward_problem(outcomes, table[:, 1:], rewards),
        "Q-learning": q_learning_problem(process, behaviour, by_action, _GAMMA)[0],
    }


def _rate(
    method: str,
    noise: Literal["independent", "markov"],
    problem: Problem,
    at: np.ndarray,
    runs: int,
    rng: np.random.Generator,
) -> MethodRate:
    """With a = 1/slowest eigenvalue, and k_0 about a, so that the first step is about 1."""
    scale = float(1 / np.linalg.eigvals(problem.matrix).real.min())
    delay = 0.0 if scale <= 1 + 1e-9 else float(np.ceil(scale))
    alphas = decreasing_steps(scale, int(at[-1]), delay=delay)
    start = np.zeros_like(problem.goal)
    found = iterate(problem, start, alphas, runs=runs, rng=rng, at=at.tolist())
    squared = ((found - problem.goal) ** 2).sum(axis=2)
    predicted = np.trace(limit_covariance(problem, scale)) / (at + delay)
    ratios = squared[-1] / predicted[-1]
    half = _NORMAL_90 * ratios.std(ddof=1) / np.sqrt(runs)
    return MethodRate(
        method=method,
        noise=noise,
        scale=scale,
        delay=delay,
        squared_error=squared.mean(axis=1),
        predicted=predicted,
        ratio=float(ratios.mean()),
        ratio_interval=(float(ratios.mean() - half), float(ratios.mean() + half)),
    )


# -- Baird's counterexample -------------------------------------------------------


class BairdMethod(Record):
    """A method on the counterexample, by its expected updates.

    Attributes:
        method: its name.
        slowest: least real part of the eigenvalues of A that move values; below 0 it diverges.
        factor: of the error in the long run, by an update.
        at, value_error: root mean squared value error after as many updates, until it has blown up.
    """

    method: str
    slowest: float
    factor: float
    at: StoredFloats
    value_error: StoredFloats


class BairdRuns(Record):
    """Runs with sampled transitions.

    Attributes:
        method: its name.
        at: numbers of updates.
        low, median, high: least, median and largest value error of the runs.
    """

    method: str
    at: StoredFloats
    low: StoredFloats
    median: StoredFloats
    high: StoredFloats


class BairdDemo(Record):
    """What ``rlscale theory td --example baird`` measures.

    Attributes:
        steps, runs, seed: of the sampled runs.
        gamma: discount.
        step_size: α of all methods.
        ratio: η of TDC, by which its second weights move faster.
        expected: by expected updates; emphatic TD has these alone.
        sampled: by transitions of the behaviour along a trajectory.
    """

    kind: Literal["rlscale theory td baird"] = "rlscale theory td baird"
    schema_version: int = SCHEMA_VERSION
    steps: int
    runs: int
    seed: int
    gamma: float
    step_size: float
    ratio: float
    expected: list[BairdMethod]
    sampled: list[BairdRuns]


def baird_demo(steps: int = 3000, *, runs: int = 50, seed: int = 0) -> BairdDemo:
    """Off-policy linear TD, gradient TD (TDC) and emphatic TD on Baird's counterexample.

    Args:
        steps: updates of the sampled runs, 100 or more.
        runs: 20 or more.
        seed: of the sampled runs.
    """
    case = baird()
    visits = np.full(len(case.features), 1 / len(case.features))
    problems = _baird_problems(case)
    emphatic = emphatic_matrix(case.process, case.target, case.features, visits, _BAIRD_GAMMA)
    matrices = {name: problem.matrix for name, problem in problems.items()} | {"emphatic TD": emphatic}
    rng = np.random.default_rng(seed)
    return BairdDemo(
        steps=steps,
        runs=runs,
        seed=seed,
        gamma=_BAIRD_GAMMA,
        step_size=_BAIRD_STEP,
        ratio=_BAIRD_RATIO,
        expected=[_expected(name, matrix, case) for name, matrix in matrices.items()],
        sampled=[_sampled(name, problem, case, steps, runs, rng) for name, problem in problems.items()],
    )


def _baird_problems(case: Baird) -> dict[str, Problem]:
    outcomes, rewards = transitions_of(case.process, case.behaviour), np.zeros(len(case.features))
    policies = {"target": case.target, "behaviour": case.behaviour}
    return {
        "TD": td_problem(outcomes, case.features, rewards, _BAIRD_GAMMA, **policies),
        "gradient TD": gradient_td_problem(
            outcomes, case.features, rewards, _BAIRD_GAMMA, ratio=_BAIRD_RATIO, **policies
        ),
    }


def _start(case: Baird, size: int) -> Floats:
    """The example's weights, and zeros for what else a method keeps."""
    return np.r_[case.initial, np.zeros(size - len(case.initial))]


def _value_errors(weights: Floats, case: Baird) -> Floats:
    """Root mean squared values of weights (..., d or more), as true values are 0."""
    values = weights[..., : len(case.initial)] @ case.features.T
    return np.asarray(np.sqrt((values**2).mean(axis=-1)))


def _expected(name: str, matrix: Floats, case: Baird) -> BairdMethod:
    once = np.eye(len(matrix)) - _BAIRD_STEP * matrix
    at = np.unique(np.geomspace(1, 1e9, 73).round().astype(int))
    start = _start(case, len(matrix))
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.array([np.linalg.matrix_power(once, int(k)) @ start for k in at])
        errors = _value_errors(weights, case)
    shown = np.cumprod(errors < _BLOWN_UP).astype(bool)
    eigenvalues, vectors = np.linalg.eig(matrix)
    # There are more weights than states: along some directions nothing that has a value changes.
    moving = eigenvalues[np.abs(case.features @ vectors[: len(case.initial)]).max(axis=0) > 1e-9]
    return BairdMethod(
        method=name,
        slowest=float(moving.real.min()),
        factor=float(np.abs(1 - _BAIRD_STEP * moving).max()),
        at=at[shown],
        value_error=errors[shown],
    )


def _sampled(
    name: str, problem: Problem, case: Baird, steps: int, runs: int, rng: np.random.Generator
) -> BairdRuns:
    at = np.unique(np.geomspace(1, steps, 40).round().astype(int))
    start, alphas = _start(case, len(problem.goal)), np.full(steps, _BAIRD_STEP)
    errors = _value_errors(iterate(problem, start, alphas, runs=runs, rng=rng, at=at.tolist()), case)
    return BairdRuns(
        method=name,
        at=at,
        low=errors.min(axis=1),
        median=np.median(errors, axis=1),
        high=errors.max(axis=1),
    )
