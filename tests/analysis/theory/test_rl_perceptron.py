"""The equations of the RL perceptron: golden numbers, the overlap identity, limits, and expectations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.theory.rl_perceptron import (
    LEAST_TOLERANCE,
    all_correct_drift,
    breadcrumbs_drift,
    correctness,
    drift,
    n_of_t_drift,
    overlap_equation,
    overlap_rate,
    reward_rule,
    solve,
    sub_reward_drift,
)
from rlscale.scaling.errors import InputError

rhos = st.floats(-0.999, 0.999)
norms = st.floats(0.01, 1e3)
rates = st.floats(0.01, 3)
horizons = st.integers(1, 20)

RULES = {
    "all": reward_rule("all-correct", 5),
    "all with a penalty": reward_rule("all-correct", 8, penalty=0.05),
    "n of T": reward_rule("n-of-t", 6, 4, penalty=0.1),
    "sub-reward": reward_rule("sub-reward", 6, 3, rate=0.7, bonus=0.3),
    "breadcrumbs": reward_rule("breadcrumbs", 6, bonus=0.05),
}


@pytest.mark.parametrize(
    ("name", "alpha", "r", "q"),
    [
        ("all", 20, 1.384, 6.157),
        ("all with a penalty", 20, 0.0463, 0.0953),
        ("n of T", 12, 3.792, 46.24),
        ("sub-reward", 12, 0.4517, 2.1726),
        ("breadcrumbs", 12, 0.6908, 5.1726),
    ],
)
def test_learning_curves_have_the_known_values(name, alpha, r, q):
    """The column of the ODEs in the table of simulation checks."""
    found = solve(RULES[name], [alpha])
    assert found.r[0] == pytest.approx(r, rel=5e-4, abs=5e-5)
    assert found.q[0] == pytest.approx(q, rel=5e-4, abs=5e-5)


SPEED_ACCURACY = {
    7: (0.215, 0.352, 0.466, 0.565, 0.625),
    9: (0.224, 0.519, 0.705, 0.805, 0.852),
    11: (0.034, 0.165, 0.819, 0.946, 0.969),
    12: (0.006, 0.025, 0.169, 0.980, 0.993),
    13: (0.0005, 0.002, 0.010, 0.149, 0.9997),
}


@pytest.mark.parametrize("needed", SPEED_ACCURACY)
def test_fewer_steps_needed_are_learned_sooner_and_end_lower(needed):
    found = solve(reward_rule("n-of-t", 13, needed), [5, 20, 100, 1000, 10_000])
    digits = [4 if needed == 13 and place in (0, 4) else 3 for place in range(5)]
    for value, known, places in zip(found.rho, SPEED_ACCURACY[needed], digits, strict=True):
        assert value == pytest.approx(known, abs=0.51 * 10.0**-places)


@given(rhos, norms, rates, st.floats(0, 3), horizons, st.data())
def test_the_overlap_equation_is_that_of_r_and_q(rho, q, rate, penalty, steps, data):
    needed = data.draw(st.integers(1, steps))
    of_r, of_q = n_of_t_drift(rho, q, steps=steps, needed=needed, rate=rate, penalty=penalty)
    expected = overlap_rate(rho, q, of_r, of_q)
    found = overlap_equation(rho, q, steps=steps, needed=needed, rate=rate, penalty=penalty)
    scale = (rate + penalty) / np.sqrt(q) + (rate**2 + penalty**2) / q
    assert abs(found - expected) <= 1e-12 * scale


@given(rhos, norms, rates, st.floats(0, 3), horizons)
def test_all_correct_is_t_of_t(rho, q, rate, penalty, steps):
    one = all_correct_drift(rho, q, steps=steps, rate=rate, penalty=penalty)
    other = n_of_t_drift(rho, q, steps=steps, needed=steps, rate=rate, penalty=penalty)
    assert one == pytest.approx(other, rel=1e-11, abs=1e-12)


@given(rhos, norms, rates, horizons)
def test_without_a_bonus_the_other_protocols_are_all_correct(rho, q, rate, steps):
    expected = pytest.approx(all_correct_drift(rho, q, steps=steps, rate=rate), rel=1e-11)
    assert sub_reward_drift(rho, q, steps=steps, needed=1, rate=rate, bonus=0.0) == expected
    assert breadcrumbs_drift(rho, q, steps=steps, rate=rate, bonus=0.0) == expected


@given(rhos, norms, rates, rates)
def test_with_one_step_every_bonus_adds_to_the_rate(rho, q, rate, bonus):
    expected = pytest.approx(all_correct_drift(rho, q, steps=1, rate=rate + bonus), rel=1e-11)
    assert sub_reward_drift(rho, q, steps=1, needed=1, rate=rate, bonus=bonus) == expected
    assert breadcrumbs_drift(rho, q, steps=1, rate=rate, bonus=bonus) == expected


@given(rhos, norms, rates, rates, horizons)
def test_a_sub_reward_for_all_steps_adds_to_the_rate(rho, q, rate, bonus, steps):
    """True of the corrected noise of the final reward, T η1² P^T/T², at every η1."""
    expected = all_correct_drift(rho, q, steps=steps, rate=rate + bonus)
    found = sub_reward_drift(rho, q, steps=steps, needed=steps, rate=rate, bonus=bonus)
    assert found == pytest.approx(expected, rel=1e-11)


@given(rhos, norms, st.floats(0.01, 100))
def test_lengths_and_rates_have_no_scale_of_their_own(rho, q, scale):
    """Rates and student c times as large: dR is c times, dQ c² times as large."""
    of_r, of_q = drift(RULES["n of T"], rho, q)
    larger = reward_rule("n-of-t", 6, 4, rate=scale, penalty=0.1 * scale)
    assert drift(larger, rho, q * scale**2) == pytest.approx((scale * of_r, scale**2 * of_q), rel=1e-9)


def credited(name: str, right: np.ndarray) -> np.ndarray:
    """G_t from which steps are right, (episodes, T): the protocols word by word."""
    rule, every = RULES[name], right.all(axis=1, keepdims=True)
    if name == "sub-reward":
        first = right[:, :3].all(axis=1, keepdims=True) & (np.arange(6) < 3)
        return 0.7 * every + 0.3 * first
    if name == "breadcrumbs":
        return every + 0.05 * right[:, ::-1].cumsum(axis=1)[:, ::-1]
    paid = right.sum(axis=1, keepdims=True) >= rule.needed
    return np.where(paid, rule.rate, -rule.penalty) * np.ones(right.shape)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_drifts_are_the_expectations_of_an_episode(name, rho):
    """Monte Carlo over λ and ν, which are normal with variances Q and 1: within 4 standard errors."""
    rng, q, steps, episodes = np.random.default_rng(7), 2.0, RULES[name].steps, 200_000
    unit = rng.standard_normal((episodes, steps))
    nu = rho * unit + np.sqrt(1 - rho**2) * rng.standard_normal((episodes, steps))
    lam = np.sqrt(q) * unit
    g = credited(name, np.sign(lam) == np.sign(nu))
    of_r = (g * np.sign(lam) * nu).mean(axis=1)
    of_q = 2 * (g * np.abs(lam)).mean(axis=1) + (g**2).sum(axis=1) / steps**2
    for sample, exact in zip((of_r, of_q), drift(RULES[name], rho, q), strict=True):
        assert abs(sample.mean() - exact) < 4 * sample.std() / np.sqrt(episodes)


def test_from_a_random_start_the_rise_halves_with_every_further_step():
    """Section 4: dρ/dα = η1 2^(1-T)/(s sqrt(Q)) at ρ = 0."""
    for steps in (1, 2, 6, 11):
        found = overlap_equation(0.0, 4.0, steps=steps, needed=steps, rate=0.5)
        assert found == pytest.approx(0.5 * 2.0 ** (1 - steps) / np.sqrt(2 * np.pi * 4))


def test_late_lengths_and_misses_follow_the_asymptotics():
    """Section 6: sqrt(Q) ~ η1 sqrt(2/π) α, and α (1-ρ) rises by π/4T a unit of ln α."""
    alphas = np.array([1e6, 1e7])
    found = solve(reward_rule("all-correct", 3, rate=0.5), alphas, rtol=1e-11)
    missing = 1 - np.sqrt(found.q) / (0.5 * np.sqrt(2 / np.pi) * alphas)
    # 1 - P falls as sqrt((ln α)/α), and what was not learned on the way is of that order.
    assert 0 < missing[1] < 0.0015
    assert missing[0] / missing[1] == pytest.approx(np.sqrt(10), rel=0.1)
    rise = np.diff(alphas * (1 - found.rho))[0] / np.log(10)
    assert rise == pytest.approx(np.pi / 12, rel=0.03)


def test_correctness_goes_from_0_to_1():
    assert [correctness(rho) for rho in (-1, 0, 1)] == [0, 0.5, 1]


def test_a_curve_begins_at_its_start():
    found = solve(RULES["all"], [0.0, 1.0], rho0=0.2, q0=3.0)
    assert (found.rho[0], found.q[0], found.r[0]) == pytest.approx((0.2, 3.0, 0.2 * np.sqrt(3)))
    assert solve(RULES["all"], [0.0], rho0=0.2).rho == pytest.approx([0.2])
    assert found.error[1] == pytest.approx(1 - correctness(found.rho[1]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "steps of the perceptron is 0"),
        ({"protocol": "n-of-t", "needed": 6}, "needed of the perceptron is 6: give 1 to 5"),
        ({"needed": 4}, "all-correct needs all 5 steps right"),
        ({"rate": -1.0}, "rate of the perceptron is -1.0"),
        ({"rate": float("nan")}, "rate of the perceptron is nan"),
        ({"penalty": -0.1}, "not negative"),
        ({"bonus": 0.1}, "only sub-reward and breadcrumbs"),
        ({"protocol": "breadcrumbs", "penalty": 0.1}, "only all-correct and n-of-t"),
        ({"protocol": "other"}, "protocol of the perceptron is other"),
    ],
)
def test_wrong_rules_are_refused(fields, words):
    with pytest.raises(InputError, match=words) as caught:
        reward_rule(**{"protocol": "all-correct", "steps": 5, **fields})
    assert caught.value.code == "wrong_reward_rule"


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (RULES["all"], {"rtol": LEAST_TOLERANCE / 2}),
        (reward_rule("all-correct", 8, rate=1e150), {}),
        (reward_rule("all-correct", 8, rate=1e200), {}),
    ],
    ids=["below double precision", "steps too small", "overflow"],
)
def test_a_tolerance_out_of_reach_is_an_error_and_never_nan(rule, options):
    with pytest.raises(InputError, match="rtol") as caught:
        solve(rule, [1e4], **options)
    assert caught.value.code == "unreachable_tolerance"


@pytest.mark.parametrize(
    ("alphas", "options"),
    [([], {}), ([-1.0], {}), ([2.0, 1.0], {}), ([1.0], {"rho0": 1.5}), ([1.0], {"q0": 0.0})],
)
def test_wrong_starts_and_times_are_refused(alphas, options):
    with pytest.raises(InputError) as caught:
        solve(RULES["all"], alphas, **options)
    assert caught.value.code == "invalid_number"
