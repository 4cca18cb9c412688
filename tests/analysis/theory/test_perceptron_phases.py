"""Fixed points and phases of the RL perceptron: golden numbers, definitions, where students end."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlscale.analysis.theory.perceptron_phases import (
    boundary,
    critical_ratio,
    fixed_points,
    phase_of,
    standstill,
)
from rlscale.analysis.theory.rl_perceptron import drift, reward_rule, solve
from rlscale.scaling.errors import InputError

CRITICAL = {
    2: 8.471,
    3: 1.954,
    4: 0.7823,
    5: 0.3767,
    6: 0.1960,
    8: 0.05764,
    10: 0.01730,
    12: 0.005123,
    13: 0.002768,
    15: 0.000796,
}


@pytest.mark.parametrize("steps", CRITICAL)
def test_critical_ratios_are_the_known_ones(steps):
    assert critical_ratio(steps) == pytest.approx(CRITICAL[steps], rel=6e-4)


def twice(steps: int):
    return reward_rule("all-correct", steps, penalty=2 * critical_ratio(steps))


@pytest.mark.parametrize(("steps", "low", "high"), [(5, 0.1037, 0.7761), (8, 0.0492, 0.5617)])
def test_above_the_boundary_a_stable_and_an_unstable_student_stand_still(steps, low, high):
    stable, unstable = fixed_points(twice(steps))
    assert (stable.rho, unstable.rho) == pytest.approx((low, high), abs=6e-5)
    assert (stable.stable, unstable.stable) == (True, False)
    for point in (stable, unstable):
        assert drift(twice(steps), point.rho, point.q) == pytest.approx((0, 0), abs=1e-12)


def test_the_start_decides_where_a_student_ends():
    rule = twice(5)
    caught = solve(rule, [1000.0])
    assert (caught.rho[0], caught.q[0]) == pytest.approx((0.1037, 0.0118), abs=6e-5)
    assert solve(rule, [1e4], rho0=0.9).rho[0] > 0.999


@pytest.mark.parametrize(("steps", "times"), [(5, 1.044), (8, 1.242), (13, 1.511)])
def test_just_above_the_boundary_the_length_of_the_start_still_saves_a_student(steps, times):
    """A start at ρ0 = 0, Q0 = 1 is captured only above these multiples of r_c."""
    ends = []
    for factor in (times - 0.002, times + 0.002):
        rule = reward_rule("all-correct", steps, penalty=factor * critical_ratio(steps))
        ends.append(solve(rule, [3e5], rtol=1e-10).rho[0])
    assert ends[0] > 0.99
    assert ends[1] < 0.7


def test_the_final_overlap_jumps_where_a_penalty_first_captures():
    """Section 8b: T = 8, from about 1 to .097 at η2 = .0716."""
    free, caught = (
        solve(reward_rule("all-correct", 8, penalty=penalty), [3e5], rtol=1e-10).rho[0]
        for penalty in (0.0714, 0.0718)
    )
    assert free > 0.999
    assert caught == pytest.approx(0.097, abs=1e-3)


def test_below_the_boundary_nothing_stands_still():
    for steps in (2, 5, 8):
        ratio = critical_ratio(steps)
        assert fixed_points(reward_rule("all-correct", steps, penalty=0.999 * ratio)) == []
        assert len(fixed_points(reward_rule("all-correct", steps, penalty=1.0001 * ratio))) == 2
        assert (phase_of(steps, 0.99 * ratio), phase_of(steps, 1.01 * ratio)) == ("easy", "hybrid-hard")


@pytest.mark.parametrize(("steps", "needed"), [(5, 4), (8, 6), (13, 9), (13, 12)])
def test_the_boundary_of_n_of_t_separates_students_that_are_caught(steps, needed):
    ratio = critical_ratio(steps, needed)
    assert fixed_points(reward_rule("n-of-t", steps, needed, penalty=0.99 * ratio)) == []
    stable, unstable = fixed_points(reward_rule("n-of-t", steps, needed, penalty=1.5 * ratio))
    assert (stable.stable, unstable.stable) == (True, False)
    near = solve(
        reward_rule("n-of-t", steps, needed, penalty=1.5 * ratio),
        [300.0],
        rho0=0.9 * stable.rho,
        q0=stable.q,
    )
    assert near.rho[0] == pytest.approx(stable.rho, rel=1e-3)


def test_the_ratio_alone_decides():
    """κ depends on η2/η1 only; the fixed overlaps too, and Q on the square of the rates."""
    one, other = (fixed_points(reward_rule("all-correct", 6, rate=c, penalty=0.5 * c)) for c in (1.0, 3.0))
    assert [point.rho for point in one] == pytest.approx([point.rho for point in other])
    assert [9 * point.q for point in one] == pytest.approx([point.q for point in other])


def test_what_one_right_step_pays_is_always_easy():
    assert [critical_ratio(steps, 1) for steps in (1, 2, 6, 13)] == [np.inf] * 4
    assert standstill(1.0, steps=7, needed=7) == 1


@given(st.floats(1e-3, 0.999), st.integers(2, 15), st.data())
def test_standing_overlaps_have_a_norm(rho, steps, data):
    """Where dR/dα = 0, penalties outweigh the gain in dQ/dα, so that some Q is stationary too."""
    needed = data.draw(st.integers(1, steps))
    kappa = standstill(rho, steps=steps, needed=needed)
    assume(1e-9 < kappa < 1 - 1e-9)
    rule = reward_rule("n-of-t", steps, needed, penalty=kappa / (1 - kappa))
    of_r, short = drift(rule, rho, 1e-12)
    assert abs(of_r) < 1e-9 * (1 + rule.penalty)
    assert short > 0 > drift(rule, rho, 1e30)[1]


def test_the_boundary_falls_with_the_horizon_and_rises_with_what_is_forgiven():
    strict, lenient = boundary(range(3, 12)), boundary(range(3, 12), missing=1)
    assert (np.diff(strict) < 0).all()
    assert (np.diff(lenient) < 0).all()
    assert (lenient > strict).all()


@pytest.mark.parametrize("wrong", [(0, None), (3, 0), (3, 4)])
def test_wrong_horizons_are_refused(wrong):
    with pytest.raises(InputError) as caught:
        critical_ratio(*wrong)
    assert caught.value.code == "wrong_reward_rule"
    with pytest.raises(InputError, match="no penalty"):
        fixed_points(reward_rule("breadcrumbs", 3, bonus=0.1))
