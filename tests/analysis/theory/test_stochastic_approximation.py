"""TD methods as one iteration: textbook updates, fixed points, rates under Markov noise, Baird's example."""

import numpy as np
import pytest

from rlscale.analysis.theory import stochastic_approximation as sa
from rlscale.analysis.theory import td_dynamics as td
from rlscale.analysis.theory.td_examples import baird_demo

GAMMA = 0.6


def sticky(seed, n=4):
    rng = np.random.default_rng(seed)
    chain = 0.6 * np.eye(n) + 0.4 * rng.dirichlet(np.ones(n), n)
    return chain, rng.normal(size=n), rng.uniform(-1, 1, (n, 2)), rng


def test_outcomes_follow_each_other_as_the_chain_does():
    chain, _, _, rng = sticky(0)
    outcomes = sa.chain_transitions(chain)
    noise = outcomes.noise
    assert noise.transitions.sum(axis=1) == pytest.approx(np.ones(len(noise.visits)))
    assert noise.visits @ noise.transitions == pytest.approx(noise.visits)
    found = noise.sample(500, 200, rng)
    assert np.array_equal(outcomes.successor[found[:-1]], outcomes.state[found[1:]])
    counts = np.bincount(found.ravel(), minlength=len(noise.visits)) / found.size
    assert counts == pytest.approx(noise.visits, abs=0.01)
    assert np.bincount(outcomes.state, noise.visits) == pytest.approx(td.stationary_distribution(chain))
    apart = noise.independent().sample(500, 200, rng)
    assert np.bincount(apart.ravel(), minlength=len(noise.visits)) / apart.size == pytest.approx(
        noise.visits, abs=0.01
    )


def test_directions_are_the_textbook_updates_of_each_outcome():
    """Written for one transition at a time, as they stand in the books."""
    _, rewards, x, rng = sticky(1)
    process = rng.dirichlet(np.ones(4), (4, 2))
    b, pi = rng.dirichlet(np.ones(2), 4), rng.dirichlet(np.ones(2), 4)
    outcomes = sa.transitions_of(process, b)
    every = np.arange(len(outcomes.state))
    policies = {"target": pi, "behaviour": b}
    v = rng.normal(size=4)
    many = np.broadcast_to(v, (len(every), 4))
    of_td = sa.td_problem(outcomes, x, rewards, GAMMA, **policies).direction(many[:, :2], every)
    of_tdc = sa.gradient_td_problem(outcomes, x, rewards, GAMMA, ratio=3, **policies).direction(many, every)
    of_mean = sa.average_reward_problem(outcomes, x, rewards, speed=0.5).direction(many[:, :3], every)
    w, u = v[:2], v[2:]
    for y, (s, a, after) in enumerate(zip(outcomes.state, outcomes.action, outcomes.successor, strict=True)):
        rho = pi[s, a] / b[s, a]
        delta = rewards[s] + GAMMA * w @ x[after] - w @ x[s]
        assert of_td[y] == pytest.approx(rho * delta * x[s])
        assert of_tdc[y, :2] == pytest.approx(rho * (delta * x[s] - GAMMA * x[after] * (x[s] @ u)))
        assert of_tdc[y, 2:] == pytest.approx(3 * (rho * delta - x[s] @ u) * x[s])
        error = rewards[s] - v[2] + w @ x[after] - w @ x[s]
        assert of_mean[y] == pytest.approx([*(error * x[s]), 0.5 * (rewards[s] - v[2])])


def test_fixed_points_are_the_known_ones():
    chain, rewards, x, rng = sticky(2)
    outcomes, visits = sa.chain_transitions(chain), td.stationary_distribution(chain)
    table = sa.td_problem(outcomes, np.eye(4), rewards, GAMMA)
    assert table.goal == pytest.approx(td.true_values(chain, rewards, GAMMA))
    assert table.matrix == pytest.approx(td.sampled_operator(td.one_step_operator(chain, GAMMA), visits))
    w = sa.td_problem(outcomes, x, rewards, GAMMA).goal
    backup = rewards + GAMMA * chain @ x @ w
    project = x @ np.linalg.solve(x.T @ (visits[:, None] * x), x.T * visits)
    assert x @ w == pytest.approx(project @ backup)
    relative = sa.average_reward_problem(outcomes, np.eye(4)[:, 1:], rewards).goal
    values, mean = np.r_[0, relative[:3]], relative[3]
    assert mean == pytest.approx(visits @ rewards)
    assert values - chain @ values == pytest.approx(rewards - mean)  # Poisson's equation
    process, by_action = rng.dirichlet(np.ones(4), (4, 3)), rng.normal(size=(4, 3))
    q = np.zeros((4, 3))
    for _ in range(200):
        q = by_action + 0.9 * process @ q.max(axis=1)
    assert sa.optimal_values(process, by_action, 0.9) == pytest.approx(q)


def test_the_derivative_of_q_learning_is_that_of_its_greedy_policy():
    _, _, _, rng = sticky(3)
    process, rewards = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2))
    problem, _ = sa.q_learning_problem(process, np.full((3, 2), 0.5), rewards, GAMMA)
    every = np.arange(len(problem.noise.visits))

    def mean(v):
        return problem.noise.visits @ problem.direction(np.broadcast_to(v, (len(every), 6)), every)

    assert mean(problem.goal) == pytest.approx(np.zeros(6), abs=1e-12)
    columns = [(mean(problem.goal + 1e-6 * e) - mean(problem.goal)) / 1e-6 for e in np.eye(6)]
    derivative = -np.array(columns).T
    assert derivative == pytest.approx(problem.matrix, abs=1e-8)


def test_summed_covariance_against_a_sum_over_lags():
    chain, _, _, rng = sticky(4)
    noise = sa.chain_transitions(chain).noise
    values = rng.normal(size=(len(noise.visits), 2))
    g = values - noise.visits @ values
    total = g.T @ (noise.visits[:, None] * g)
    power = np.eye(len(g))
    for _ in range(300):
        power = power @ noise.transitions
        lagged = (noise.visits[:, None] * g).T @ power @ g
        total += lagged + lagged.T
    assert noise.summed_covariance(values) == pytest.approx(total)
    alone = g.T @ (noise.visits[:, None] * g)
    assert noise.independent().summed_covariance(values) == pytest.approx(alone)
    assert np.trace(total) > 1.5 * np.trace(alone)  # the chain stays where it is


@pytest.mark.parametrize("kind", ["independent", "markov"])
def test_linear_td_converges_at_the_predicted_rate(kind):
    """400 runs; a mean of squares of about 2 free numbers has a standard error below 5%."""
    chain, rewards, x, rng = sticky(5)
    problem = sa.td_problem(sa.chain_transitions(chain), x, rewards, GAMMA)
    problem = problem if kind == "markov" else problem.independent()
    assert problem.converges()
    a = 1 / np.linalg.eigvals(problem.matrix).real.min()
    delay, at = np.ceil(a), [1000, 4000]
    found = sa.iterate(problem, [0, 0], sa.decreasing_steps(a, 4000, delay=delay), runs=400, rng=rng, at=at)
    errors = ((found - problem.goal) ** 2).sum(axis=2) * (np.array(at)[:, None] + delay)
    predicted = np.trace(sa.limit_covariance(problem, a))
    half = 3 * errors.std(axis=1) / 20
    assert np.abs(errors.mean(axis=1) - predicted)[1] < half[1] + 0.02 * predicted
    assert errors.mean(axis=1)[1] == pytest.approx(errors.mean(axis=1)[0], abs=half.sum())  # so it is 1/k


def test_dependence_matters_to_linear_td_and_not_to_a_table():
    """At v* of a table, TD errors are martingale differences: no covariance between successive ones."""
    chain, rewards, x, _ = sticky(5)
    outcomes = sa.chain_transitions(chain)
    table, linear = (sa.td_problem(outcomes, features, rewards, GAMMA) for features in (np.eye(4), x))
    for problem, same in ((table, True), (linear, False)):
        markov, apart = (
            np.trace(each.noise.summed_covariance(each.directions_at_goal()))
            for each in (problem, problem.independent())
        )
        assert bool(abs(markov / apart - 1) < 1e-9) is same


def test_means_along_the_chain_obey_the_law_of_large_numbers():
    chain, rewards, _, rng = sticky(6)
    outcomes = sa.chain_transitions(chain)
    here = rewards[outcomes.state][:, None]
    problem = sa.linear_problem(outcomes.noise, here, np.ones((len(here), 1, 1)))
    found = sa.iterate(problem, [0], sa.decreasing_steps(1, 3000), runs=300, rng=rng, at=[3000])[0, :, 0]
    variance = outcomes.noise.summed_covariance(here)[0, 0] / 3000
    assert np.trace(sa.limit_covariance(problem, 1)) / 3000 == pytest.approx(variance)
    assert found.mean() == pytest.approx(
        td.stationary_distribution(chain) @ rewards, abs=4 * (variance / 300) ** 0.5
    )
    assert found.var() == pytest.approx(variance, rel=4 * (2 / 300) ** 0.5)


def test_q_learning_reaches_the_optimal_values():
    _, _, _, rng = sticky(7)
    process, rewards = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2))
    problem, _ = sa.q_learning_problem(process, np.full((3, 2), 0.5), rewards, GAMMA)
    a = 1 / np.linalg.eigvals(problem.matrix).real.min()
    steps = sa.decreasing_steps(a, 4000, delay=a)
    found = sa.iterate(problem, np.zeros(6), steps, runs=200, rng=rng)[0]
    predicted = np.trace(sa.limit_covariance(problem, a)) / (4000 + a)
    assert ((found - problem.goal) ** 2).sum(axis=1).mean() == pytest.approx(predicted, rel=0.25)


def test_steps_that_are_too_small_for_the_rate_are_refused():
    chain, rewards, x, _ = sticky(5)
    with pytest.raises(ValueError, match="must exceed 1/2"):
        sa.limit_covariance(sa.td_problem(sa.chain_transitions(chain), x, rewards, GAMMA), 0.1)


def test_bairds_example_diverges_and_is_repaired():
    """Weights and features of Sutton and Barto, figure 11.1; off-policy TD grows by 1 + 0.24 α an update."""
    case = sa.baird()
    values = case.features @ case.initial
    assert values.tolist() == [3, 3, 3, 3, 3, 3, 12]
    demo = baird_demo(1000, runs=20)
    by_name = {each.method: each for each in demo.expected}
    assert by_name["TD"].slowest < 0 < by_name["gradient TD"].slowest < by_name["emphatic TD"].slowest
    assert by_name["TD"].factor > 1 > by_name["gradient TD"].factor > by_name["emphatic TD"].factor
    grown = by_name["TD"]
    rate = np.diff(np.log(grown.value_error[-2:])) / np.diff(grown.at[-2:])
    assert rate == pytest.approx(np.log(grown.factor), rel=1e-3)
    for repaired in ("gradient TD", "emphatic TD"):
        assert by_name[repaired].value_error[-1] < 1e-6
    td_runs, gradient_runs = demo.sampled
    assert td_runs.low[-1] > 2 * td_runs.high[0]
    assert gradient_runs.median[-1] < gradient_runs.median[0]
    assert gradient_runs.high[-1] < td_runs.low[-1]


def test_expected_updates_of_bairds_td_are_those_of_its_chain():
    """The chain of the behaviour visits all states equally often, and A is X^T D (I - γP_π) X."""
    case = sa.baird()
    outcomes = sa.transitions_of(case.process, case.behaviour)
    policies = {"target": case.target, "behaviour": case.behaviour}
    problem = sa.td_problem(outcomes, case.features, np.zeros(7), 0.99, **policies)
    assert np.bincount(outcomes.state, outcomes.noise.visits) == pytest.approx(np.full(7, 1 / 7))
    to_last = np.zeros((7, 7))
    to_last[:, -1] = 1
    assert problem.matrix == pytest.approx(case.features.T @ (np.eye(7) - 0.99 * to_last) @ case.features / 7)
    assert not problem.converges()
    on_policy = np.ones(7) / 7 @ np.linalg.inv(np.eye(7) - 0.99 * to_last)
    emphatic = sa.emphatic_matrix(case.process, case.target, case.features, np.full(7, 1 / 7), 0.99)
    by_hand = case.features.T @ np.diag(on_policy) @ (np.eye(7) - 0.99 * to_last) @ case.features
    assert emphatic == pytest.approx(by_hand)
