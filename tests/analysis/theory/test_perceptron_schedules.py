"""Schedules of rate and horizon of the RL perceptron: golden numbers, optimality, asymptotics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rlscale.analysis.theory.perceptron_schedules import (
    Schedule,
    free_steps,
    late_miss,
    late_power,
    late_slope,
    optimal_rate,
    optimal_steps,
)
from rlscale.analysis.theory.rl_perceptron import all_correct_drift, overlap_rate, reward_rule, solve
from rlscale.scaling.errors import InputError

BOTH = Schedule(0.5, 8, "optimal", "optimal")
TABLE = [
    (Schedule(0.5, 8), (0.070, 0.394, 0.9648)),
    (Schedule(0.5, 2), (0.798, 0.877, 0.877)),
    (Schedule(0.5, 8, steps_kind="optimal"), (0.845, 0.993, 0.9988)),
    (Schedule(0.5, 8, rate_kind="optimal"), (0.737, 0.9935, 0.99955)),
    (BOTH, (0.896, 0.9960, 0.99994)),
]


def spherical(schedule, alphas):
    rule = reward_rule("all-correct", 8, rate=0.5)
    return solve(rule, alphas, rho0=0.05, spherical=True, control=schedule)


@pytest.mark.parametrize(("schedule", "known"), TABLE)
def test_schedules_reach_the_known_overlaps(schedule, known):
    found = spherical(schedule, [10, 100, 1000])
    for value, text in zip(found.rho, known, strict=True):
        digits = len(f"{text:g}".partition(".")[2])
        assert value == pytest.approx(text, abs=0.51 * 10.0 ** -max(digits, 3))


def test_optima_have_the_known_values():
    assert optimal_steps(0.4, 1.0, 0.8) == pytest.approx(0.97341, abs=5e-6)
    assert optimal_rate(0.4, 1.0, 5) == pytest.approx(6.63861, abs=5e-6)


def rise(rho, q, rate, steps):
    return overlap_rate(rho, q, *all_correct_drift(rho, q, steps=steps, rate=rate))


@given(st.floats(0.05, 0.98), st.floats(0.1, 50), st.floats(0.1, 5), st.floats(1, 15))
def test_optima_are_those_of_the_rise_of_the_overlap(rho, q, rate, steps):
    """Against a numerical search over the logarithm of the one that is free."""
    by_rate = minimize_scalar(lambda x: -rise(rho, q, np.exp(x), steps), bounds=(-9, 9), method="bounded")
    assert np.exp(by_rate.x) == pytest.approx(optimal_rate(rho, q, steps), rel=1e-3)
    by_steps = minimize_scalar(lambda x: -rise(rho, q, rate, np.exp(x)), bounds=(-6, 6), method="bounded")
    assert np.exp(by_steps.x) == pytest.approx(optimal_steps(rho, q, rate), rel=1e-3)
    best = free_steps(rho)
    top = rise(rho, q, optimal_rate(rho, q, best), best)
    assert top >= rise(rho, q, optimal_rate(rho, q, steps), steps) * (1 - 1e-12)


def test_late_misses_follow_the_asymptotics():
    """π/(Tα) at one horizon, 8e²/α² with both free, where T grows in proportion to α."""
    one = spherical(TABLE[3][0], [1e3, 1e4, 1e5])
    ratios = (1 - one.rho) / [late_miss(alpha, steps=8) for alpha in one.alpha]
    assert ratios[2] < 1.02
    assert ratios[0] - 1 > 3 * (ratios[1] - 1) > 9 * (ratios[2] - 1) > 0
    both = spherical(BOTH, [1e3, 1e4])
    assert (1 - both.rho[0]) * 1e6 == pytest.approx(55.4, abs=0.05)
    assert (1 - both.rho[1]) / late_miss(1e4) == pytest.approx(1, abs=0.01)
    (rate0, steps0), (rate1, steps1) = (BOTH(0.0, rho, 1.0) for rho in both.rho)
    assert steps1 / steps0 == pytest.approx(10, rel=0.05)
    assert rate1 / rate0 == pytest.approx(0.1, rel=0.05)


def test_the_late_rise_with_n_of_t_has_the_stated_power():
    """1-ρ ~ (ln α)^(-2/(T-n)): which a doubling of ln α shows up to its corrections."""
    assert late_power(13, 12) == -2
    assert late_slope(5) == pytest.approx(np.pi / 20)
    near = solve(reward_rule("n-of-t", 2, 1), [1e8, 1e16])
    power = np.diff(np.log(1 - near.rho))[0] / np.log(2)
    assert power == pytest.approx(late_power(2, 1), rel=0.25)


def test_a_free_norm_changes_the_rate_but_not_what_it_is_beside_the_length():
    """With a free norm sqrt(Q) grows, so η does too; η/sqrt(Q) at a given overlap is the same."""
    for rho in (0.2, 0.9):
        assert optimal_rate(rho, 9.0, 4) / 3 == pytest.approx(optimal_rate(rho, 1.0, 4))
    free = solve(reward_rule("all-correct", 8), [10, 100], rho0=0.05, control=BOTH)
    assert free.q[-1] > 1
    assert free.rho == pytest.approx(spherical(BOTH, [10, 100]).rho, rel=1e-6)


def test_polynomial_schedules_beat_what_stays_constant():
    """Section 8c: T(t) = T0 + a t^b and η = η0/(1 + c t)."""
    grows = Schedule(0.5, 2, "polynomial", "polynomial", decay=0.02, growth=0.2, power=1.0)
    assert grows(50.0, 0.5, 1.0) == pytest.approx((0.25, 12.0))
    polynomial = spherical(grows, [1000]).rho[0]
    constant = [spherical(Schedule(0.5, steps), [1000]).rho[0] for steps in (1, 2, 4, 8, 12)]
    assert polynomial > max(constant)


@given(st.floats(0.01, 0.999), st.floats(0.1, 10), st.sampled_from([each for each, _ in TABLE]))
def test_whole_steps_are_rounded_and_at_least_one(rho, q, schedule):
    rate, steps = schedule(1.0, rho, q)
    whole = Schedule(**{**schedule.__dict__, "whole": True})(1.0, rho, q)
    assert steps >= 1
    assert whole[1] == round(steps)
    if schedule.rate_kind == "optimal":
        assert whole[0] == pytest.approx(optimal_rate(rho, q, whole[1]))
    else:
        assert whole[0] == rate


@pytest.mark.parametrize(
    "fields",
    [
        {"rate": 0.0},
        {"rate": -1.0},
        {"steps": 0.5},
        {"decay": -0.1},
        {"growth": -1.0},
        {"power": 0.0},
        {"rate_kind": "best"},
    ],
)
def test_schedules_that_leave_their_range_are_refused(fields):
    with pytest.raises(InputError, match=f"{next(iter(fields))} of the schedule") as caught:
        Schedule(**{"rate": 1.0, "steps": 2, **fields})
    assert caught.value.code == "schedule_out_of_range"


def test_an_optimal_schedule_needs_an_overlap():
    with pytest.raises(InputError, match="larger rho0") as caught:
        solve(reward_rule("all-correct", 8), [1.0], control=BOTH)
    assert caught.value.code == "schedule_out_of_range"
    with pytest.raises(InputError, match="no schedules"):
        solve(reward_rule("breadcrumbs", 8), [1.0], control=Schedule(1.0, 8))
