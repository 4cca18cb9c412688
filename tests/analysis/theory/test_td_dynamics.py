"""TD's flow against integration, its spectrum against closed forms, its rates against expected updates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlscale.analysis.theory import td_dynamics as td

RING = td.ring_walk(50)
GAMMAS = st.floats(0.0, 0.99)


@st.composite
def chains(draw, reversible=False):
    """An irreducible P of 2 to 6 states; reversible if its traffic between states is symmetric."""
    n = draw(st.integers(2, 6))
    weights = draw(arrays(float, (n, n), elements=st.floats(0.05, 1.0)))
    weights = weights + weights.T if reversible else weights
    return weights / weights.sum(axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(chain=chains(), gamma=GAMMAS, seed=st.integers(0, 99))
def test_the_flow_solves_its_differential_equation(chain, gamma, seed):
    """B4 (5): many small Euler steps of dV/dt = -(I - γP)V + R come to the formula's values."""
    rewards, initial = np.random.default_rng(seed).normal(size=(2, len(chain)))
    goal = td.true_values(chain, rewards, gamma)
    assert goal == pytest.approx(rewards + gamma * chain @ goal)
    values = initial.copy()
    for _ in range(4000):
        values += 5e-4 * (rewards + gamma * chain @ values - values)
    exact = td.flow(td.one_step_operator(chain, gamma), goal, initial, [2.0])[0]
    assert values == pytest.approx(exact, abs=2e-3 * np.abs(initial - goal).max())


def test_the_eigenvalues_of_a_ring_are_cosines():
    expected = np.sort(np.cos(2 * np.pi * np.arange(50) / 50))[::-1]
    assert td.spectrum(RING).eigenvalues == pytest.approx(expected, abs=1e-14)
    with pytest.raises(ValueError, match="3 or more"):
        td.ring_walk(2)


@settings(max_examples=25, deadline=None)
@given(chain=chains(reversible=True), gamma=GAMMAS, seed=st.integers(0, 99), time=st.floats(0, 20))
def test_each_mode_decays_at_its_own_rate(chain, gamma, seed, time):
    modes = td.spectrum(chain)
    assert modes.modes.T @ np.diag(modes.visits) @ modes.modes == pytest.approx(np.eye(len(chain)), abs=1e-9)
    rewards, initial = np.random.default_rng(seed).normal(size=(2, len(chain)))
    goal = td.true_values(chain, rewards, gamma)
    now = td.flow(td.one_step_operator(chain, gamma), goal, initial, [time])[0]
    rates = td.one_step_rates(modes.eigenvalues, gamma)
    expected = np.exp(-time * rates) * modes.coefficients(initial - goal)
    assert modes.coefficients(now - goal) == pytest.approx(expected, abs=1e-9)
    assert modes.coefficients(rewards) == pytest.approx(rates * modes.coefficients(goal), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(chain=chains(reversible=True), seed=st.integers(0, 99))
def test_the_smoothness_of_a_mode_is_its_eigenvalue(chain, seed):
    modes = td.spectrum(chain)
    energies = td.dirichlet_energy(modes.modes.T, chain, modes.visits)
    assert energies == pytest.approx(1 - modes.eigenvalues, abs=1e-9)
    values = np.random.default_rng(seed).normal(size=len(chain))
    inner = (values * modes.visits) @ (values - chain @ values)
    assert float(td.dirichlet_energy(values, chain, modes.visits)) == pytest.approx(inner)
    assert 0 <= td.roughness(values, chain, modes.visits) <= 2 + 1e-12


@settings(max_examples=25, deadline=None)
@given(chain=chains(reversible=True), gamma=st.floats(0, 0.9), steps=st.integers(1, 5), lam=st.floats(0, 1))
def test_rates_of_longer_targets_are_the_eigenvalues_of_their_expected_update(chain, gamma, steps, lam):
    """The expected targets are written as sums over the rewards to come, as they are defined."""
    modes = td.spectrum(chain)
    of_n = [np.linalg.matrix_power(gamma * chain, n) for n in range(250)]  # 0.9^249 is 4e-12
    weights = (1 - lam) * lam ** np.arange(249)
    lambda_return = sum(weight * power for weight, power in zip(weights, of_n[1:], strict=True))
    of_lambda, of_steps = td.lambda_operator(chain, gamma, lam), td.n_step_operator(chain, gamma, steps)
    assert of_lambda == pytest.approx(np.eye(len(chain)) - lambda_return, abs=1e-9)
    assert of_steps == pytest.approx(np.eye(len(chain)) - of_n[steps])
    for operator, rates in (
        (of_lambda, td.lambda_rates(modes.eigenvalues, gamma, lam)),
        (of_steps, td.n_step_rates(modes.eigenvalues, gamma, steps)),
    ):
        assert operator @ modes.modes == pytest.approx(modes.modes * rates, abs=1e-8)


def test_limits_of_the_rates():
    eigenvalues = np.linspace(-1, 1, 9)
    one = td.one_step_rates(eigenvalues, 0.99)
    assert td.lambda_rates(eigenvalues, 0.99, 0.0) == pytest.approx(one)
    assert td.n_step_rates(eigenvalues, 0.99, 1) == pytest.approx(one)
    assert td.lambda_rates(eigenvalues, 0.99, 1.0) == pytest.approx(np.ones(9))
    assert one.max() / one.min() == pytest.approx(td.rate_ratio(0.99)) == pytest.approx(199)


@settings(max_examples=25, deadline=None)
@given(chain=chains(), gamma=st.floats(0.1, 0.99), seed=st.integers(0, 99))
def test_synchronous_updates_converge_below_the_bound_and_not_above(chain, gamma, seed):
    operator = td.one_step_operator(chain, gamma)
    bound = td.largest_stable_step(operator)
    assert bound >= 2 / (1 + gamma) - 1e-9
    factors = {share: np.abs(1 - share * bound * np.linalg.eigvals(operator)).max() for share in (0.99, 1.01)}
    assert factors[0.99] < 1 < factors[1.01]


def test_step_factors_and_value_iteration_on_the_ring():
    gamma, step = 0.9, 0.3
    rewards = np.random.default_rng(0).normal(size=50)
    goal, operator = td.true_values(RING, rewards, gamma), td.one_step_operator(RING, gamma)
    modes = td.spectrum(RING)
    after = td.synchronous_steps(operator, goal, np.zeros(50), step, [7])[0]
    shrunk = (1 - step * (1 - gamma * modes.eigenvalues)) ** 7 * modes.coefficients(-goal)
    assert modes.coefficients(after - goal) == pytest.approx(shrunk, abs=1e-12)
    values = np.zeros(50)
    for _ in range(5):
        values = rewards + gamma * RING @ values
    assert td.synchronous_steps(operator, goal, np.zeros(50), 1.0, [5])[0] == pytest.approx(values)


def test_a_chain_that_is_not_reversible_has_no_real_spectrum_but_a_flow():
    turning = np.roll(np.eye(5), 1, axis=1)
    with pytest.raises(ValueError, match="not reversible"):
        td.spectrum(turning)
    operator = td.one_step_operator(turning, 0.9)
    errors = np.linalg.norm(td.flow(operator, np.zeros(5), [1, 0, 0, 0, 0], np.arange(0, 60, 5.0)), axis=1)
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < np.exp(-55 * (1 - 0.9))


def test_sampled_updates_follow_another_matrix_with_the_same_end():
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.05, 1, (4, 4)) ** 3
    chain = (weights + weights.T) / (weights + weights.T).sum(axis=1, keepdims=True)
    visits, rewards = td.stationary_distribution(chain), rng.normal(size=4)
    assert visits @ chain == pytest.approx(visits)
    goal, operator = td.true_values(chain, rewards, 0.9), td.one_step_operator(chain, 0.9)
    sampled = td.sampled_operator(operator, visits)
    values = np.zeros(4)  # each visit moves its own state alone
    for _ in range(4000):
        values += 1e-3 * visits * (rewards + 0.9 * chain @ values - values)
    assert td.flow(sampled, goal, np.zeros(4), [4.0])[0] == pytest.approx(values, abs=2e-3)
    assert td.flow(sampled, goal, np.zeros(4), [1e4])[0] == pytest.approx(goal)
    modes = td.spectrum(chain).modes
    mixed = np.linalg.solve(modes, sampled @ modes)
    assert np.abs(mixed - np.diag(np.diag(mixed))).max() > 1e-3
    assert td.sampled_operator(operator, np.full(4, 0.25)) == pytest.approx(operator / 4)


def test_roughness_of_zero_values_is_undefined_and_of_constants_zero():
    modes = td.spectrum(RING)
    found = td.roughness(np.array([np.zeros(50), np.ones(50), (-1.0) ** np.arange(50)]), RING, modes.visits)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0, 2], abs=1e-12)
