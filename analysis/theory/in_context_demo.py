"""In-context TD in numbers: how exact the construction is, and how its error falls with the context."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, Record
from rlscale.analysis.theory.in_context_td import Method, context_of, in_context_values, updates
from rlscale.analysis.theory.stochastic_approximation import chain_transitions
from rlscale.analysis.theory.td_dynamics import true_values
from rlscale.scaling.errors import InputError

_NORMAL_90 = 1.6449  # half the width of a two-sided interval of 90%, in standard errors
_GAMMA, _LAMBDA = 0.9, 0.5
_DIVERGED = 1e6  # times the error of values 0
_EQUALITY_PROMPTS = 20
_METHODS: tuple[tuple[str, Method, float, float], ...] = (
    ("TD(0)", "td", _GAMMA, 0.0),
    (f"TD({_LAMBDA:g})", "td", _GAMMA, _LAMBDA),
    ("residual gradient", "residual-gradient", _GAMMA, 0.0),
    ("average reward", "average-reward", 1.0, 0.0),
)


class Equality(Record):
    """How far the layers of a construction are from the explicit updates.

    Attributes:
        method: its name.
        largest_value: the largest value of a query after any layer.
        largest_gap: the largest difference of a value from w^T φ_q.
    """

    method: str
    largest_value: float
    largest_gap: float


class ContextDemo(Record):
    """What ``rlscale theory context`` measures.

    Attributes:
        num_features, layers: d and L.
        gamma, step_size: γ, and α of C = α I in the reward processes.
        processes: number of reward processes.
        seed: of all that is random.
        equality: by construction, of random prompts with random C in each layer.
        context: n, numbers of transitions.
        value_error: mean over processes of the squared error of the values, states weighted by their visits.
        low, high: 90% interval of that mean, over processes.
        untrained: the same of values 0, so without context.
    """

    kind: Literal["rlscale theory context"] = "rlscale theory context"
    schema_version: int = SCHEMA_VERSION
    num_features: int
    layers: int
    gamma: float
    step_size: float
    processes: int
    seed: int
    equality: list[Equality]
    context: StoredFloats
    value_error: StoredFloats
    low: StoredFloats
    high: StoredFloats
    untrained: float


def context_demo(
    num_features: int = 5,
    *,
    layers: int = 15,
    step_size: float = 0.2,
    longest: int = 39,
    processes: int = 200,
    seed: int = 0,
) -> ContextDemo:
    """Compare layers with updates, and evaluate reward processes by the constructed TD(0) by context.

    Args:
        num_features: d.
        layers: L, each a batch update.
        step_size: α in the reward processes.
        longest: context of the last point.
        processes: random Loop processes, 20 or more.
        seed: of all that is random.

    Raises:
        InputError: if the updates diverge with this step size (code ``diverges``).
    """
    rng = np.random.default_rng(seed)
    equality = [_equality(*method, num_features, layers, longest, rng) for method in _METHODS]
    lengths = np.arange(1, longest + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.array(
            [_errors_by_context(num_features, layers, step_size, lengths, rng) for _ in range(processes)]
        )
    if not (found < _DIVERGED * found[:, 0].mean()).all():
        raise InputError(
            f"{layers} updates of step size {step_size:g} diverge with {num_features} features: "
            "choose a smaller step size.",
            code="diverges",
        )
    errors = found[:, 1:]
    half = _NORMAL_90 * errors.std(axis=0, ddof=1) / np.sqrt(processes)
    mean = errors.mean(axis=0)
    return ContextDemo(
        num_features=num_features,
        layers=layers,
        gamma=_GAMMA,
        step_size=step_size,
        processes=processes,
        seed=seed,
        equality=equality,
        context=lengths,
        value_error=mean,
        low=mean - half,
        high=mean + half,
        untrained=float(found[:, 0].mean()),
    )


def _equality(
    name: str, method: Method, gamma: float, lam: float, d: int, layers: int, n: int, rng: np.random.Generator
) -> Equality:
    largest_value = largest_gap = 0.0
    for _ in range(_EQUALITY_PROMPTS):
        phi, after = rng.uniform(-1, 1, (2, n, d))
        context = context_of(phi, after, rng.uniform(-1, 1, n))
        query = rng.uniform(-1, 1, (1, d))
        c = 0.3 * rng.normal(size=(layers, d, d)) / np.sqrt(d)
        values = in_context_values(method, context, query, c, gamma=gamma, lam=lam)
        expected = updates(method, context, c, gamma=gamma, lam=lam) @ query.T
        largest_value = max(largest_value, float(np.abs(expected).max()))
        largest_gap = max(largest_gap, float(np.abs(values - expected).max()))
    return Equality(method=name, largest_value=largest_value, largest_gap=largest_gap)


def _errors_by_context(
    d: int, layers: int, step_size: float, lengths: np.ndarray, rng: np.random.Generator
) -> Floats:
    """Of one process: the squared value error of values 0, then of those after each context."""
    chain = loop_process(int(rng.integers(5, 16)), float(rng.uniform(0.1, 0.9)), rng)
    features = rng.uniform(-1, 1, (len(chain), d))
    # Rewards whose true values are linear in the features, so that only the context limits the error.
    rewards = (np.eye(len(chain)) - _GAMMA * chain) @ features @ rng.normal(size=d)
    goal = true_values(chain, rewards, _GAMMA)
    outcomes = chain_transitions(chain)
    visits = np.bincount(outcomes.state, outcomes.noise.visits, minlength=len(chain))
    walk = outcomes.noise.sample(int(lengths[-1]), 1, rng)[:, 0]
    states, successors = outcomes.state[walk], outcomes.successor[walk]
    step = np.broadcast_to(step_size * np.eye(d), (layers, d, d))
    errors = [visits @ goal**2]
    for n in lengths:
        context = context_of(features[states[:n]], features[successors[:n]], rewards[states[:n]])
        values = in_context_values("td", context, features, step, gamma=_GAMMA)[-1]
        errors.append(visits @ (values - goal) ** 2)
    return np.array(errors)


def loop_process(num_states: int, threshold: float, rng: np.random.Generator) -> Floats:
    """P of a Loop process, (n, n): a random directed graph, from each state at least to the next on a ring.

    Weights are uniform in (0, 1); those below the threshold are no edges, nor is a state its own successor.
    """
    weights = rng.uniform(size=(num_states, num_states))
    ring = np.roll(np.eye(num_states, dtype=bool), 1, axis=1)
    weights = np.where((weights >= threshold) | ring, weights, 0.0)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
