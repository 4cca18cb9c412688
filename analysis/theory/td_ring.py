"""TD on a ring of states under a random walk, reward in one of them: the formulas of ``td_dynamics`` at once.

The modes are those of Fourier: mode k has the eigenvalue cos(2πk/n). A reward in a single state has all of
them to the same amount, so the values that TD starts with, V_0 = 0, miss each by a^R/(1 - γ cos(2πk/n)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, Record
from rlscale.analysis.theory.td_dynamics import (
    Spectrum,
    flow,
    lambda_operator,
    lambda_rates,
    largest_stable_step,
    n_step_rates,
    one_step_operator,
    one_step_rates,
    ring_walk,
    roughness,
    spectrum,
    synchronous_steps,
    true_values,
)


class RingMoment(Record):
    """The values after some learning.

    Attributes:
        time: t of the flow, or the number of sweeps of value iteration.
        error_left: by mode, what is left of the error: |a_k(t) - a_k^π| / |a_k(0) - a_k^π|.
        error: norm of V_t - V_π over that of V_0 - V_π, states weighted by their visits.
        roughness: Dirichlet energy of V_t over its squared norm.
    """

    time: float
    error_left: StoredFloats
    error: float
    roughness: float


class RingDemo(Record):
    """What ``rlscale theory td`` measures; lists by mode begin with the smoothest.

    Attributes:
        num_states, gamma, lam, n_step: the setting.
        frequency: k of cos(2πk/n), one mode of each; 0 is constant.
        eigenvalues: cos(2πk/n).
        one_step_rates, lambda_rates, n_step_rates: exponential rates of the flow with these targets.
        rate_ratio: the largest over the least rate of one-step targets, at most (1 + γ)/(1 - γ).
        largest_step: step size of synchronous one-step updates below which they converge.
        values: V_π by state, the reward in state 0.
        flow: TD(λ) at the times asked for.
        value_iteration: V <- R + γPV after as many sweeps.
        value_roughness, reward_roughness: of V_π and of R.
        curve_times: times of the next three.
        one_step_curve, lambda_curve, monte_carlo_curve: roughness of V_t with these targets.
    """

    kind: Literal["rlscale theory td"] = "rlscale theory td"
    schema_version: int = SCHEMA_VERSION
    num_states: int
    gamma: float
    lam: float
    n_step: int
    frequency: StoredFloats
    eigenvalues: StoredFloats
    one_step_rates: StoredFloats
    lambda_rates: StoredFloats
    n_step_rates: StoredFloats
    rate_ratio: float
    largest_step: float
    values: StoredFloats
    flow: list[RingMoment]
    value_iteration: list[RingMoment]
    value_roughness: float
    reward_roughness: float
    curve_times: StoredFloats
    one_step_curve: StoredFloats
    lambda_curve: StoredFloats
    monte_carlo_curve: StoredFloats


def ring_demo(
    num_states: int = 50,
    *,
    gamma: float = 0.95,
    lam: float = 0.8,
    n_step: int = 5,
    times: Sequence[float] = (1, 3, 10, 30),
) -> RingDemo:
    """Learn the values of a reward in state 0 from V_0 = 0, by TD(λ) and by value iteration.

    Args:
        num_states: n, 3 or more.
        gamma: γ in [0, 1).
        lam: λ in [0, 1], of the λ-return.
        n_step: number of rewards in n-step targets.
        times: t > 0 of the flow; value iteration takes max(1, t rounded) sweeps.
    """
    chain = ring_walk(num_states)
    modes = spectrum(chain)
    rewards = np.eye(num_states)[0]
    goal, start = true_values(chain, rewards, gamma), np.zeros(num_states)
    distinct = _one_mode_of_each(modes.eigenvalues)
    sweeps = [max(1, round(t)) for t in times]
    one_step = one_step_operator(chain, gamma)
    rates = one_step_rates(modes.eigenvalues, gamma)
    curve_times = np.geomspace(min(0.1, *times), max(*times, 10 / rates.min()), 60)

    def moments(at: Sequence[float], values: Floats) -> list[RingMoment]:
        return [_moment(t, v, goal, chain, modes, distinct) for t, v in zip(at, values, strict=True)]

    def curve(at_lambda: float) -> Floats:
        values = flow(lambda_operator(chain, gamma, at_lambda), goal, start, curve_times.tolist())
        return roughness(values, chain, modes.visits)

    return RingDemo(
        num_states=num_states,
        gamma=gamma,
        lam=lam,
        n_step=n_step,
        frequency=np.arange(len(distinct)),
        eigenvalues=modes.eigenvalues[distinct],
        one_step_rates=rates[distinct],
        lambda_rates=lambda_rates(modes.eigenvalues[distinct], gamma, lam),
        n_step_rates=n_step_rates(modes.eigenvalues[distinct], gamma, n_step),
        rate_ratio=float(rates.max() / rates.min()),
        largest_step=largest_stable_step(one_step),
        values=goal,
        flow=moments(times, flow(lambda_operator(chain, gamma, lam), goal, start, times)),
        value_iteration=moments(sweeps, synchronous_steps(one_step, goal, start, 1.0, sweeps)),
        value_roughness=float(roughness(goal, chain, modes.visits)),
        reward_roughness=float(roughness(rewards, chain, modes.visits)),
        curve_times=curve_times,
        one_step_curve=curve(0.0),
        lambda_curve=curve(lam),
        monte_carlo_curve=curve(1.0),
    )


def _one_mode_of_each(eigenvalues: Floats) -> list[int]:
    """Places of the distinct eigenvalues: sine and cosine of a frequency share theirs."""
    return [0, *(np.flatnonzero(np.diff(eigenvalues) < -1e-9) + 1).tolist()]


def _moment(
    time: float, values: Floats, goal: Floats, chain: Floats, modes: Spectrum, distinct: list[int]
) -> RingMoment:
    left, at_start = modes.coefficients(values - goal), modes.coefficients(-goal)
    # Sine and cosine of a frequency are any two of their plane, so their norm is taken.
    starts = np.asarray(distinct)
    by_frequency = np.sqrt(np.add.reduceat(left**2, starts) / np.add.reduceat(at_start**2, starts))
    return RingMoment(
        time=float(time),
        error_left=by_frequency,
        error=float(np.sqrt((left**2).sum() / (at_start**2).sum())),
        roughness=float(roughness(values, chain, modes.visits)),
    )
