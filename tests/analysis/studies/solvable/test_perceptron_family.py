"""RL perceptrons of many sizes: their curves beside the equations, and their scaling law."""

from math import pi, sqrt

import numpy as np
import pytest

from rlscale.analysis.studies.solvable.perceptron_family import StudentFamily
from rlscale.analysis.theory.rl_perceptron import correctness, reward_rule, solve
from rlscale.scaling.errors import InputError


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
def test_curves_are_those_of_the_equations_under_the_steepest_rate(steps):
    """The integral of the family beside LSODA in (rho, Q), with the rate put in by a control."""
    family, dimension = StudentFamily(4096, 0.5, steps), 128
    seen = family.seen(dimension)

    def control(alpha: float, rho: float, q: float) -> tuple[float, float]:
        rate = steps * seen * (1 - rho**2) * sqrt(q) / (sqrt(2 * pi) * rho * correctness(seen * rho))
        return rate, steps

    alphas = np.array([1.0, 10.0, 100.0])
    rule = reward_rule("all-correct", steps)
    exact = solve(rule, alphas, rho0=0.1, spherical=True, control=control, seen=seen)
    interactions = alphas * steps * dimension
    assert family.returns(dimension, interactions) == pytest.approx(1 - exact.error, abs=1e-6)
    for level, spent in zip(1 - exact.error, interactions, strict=True):
        assert family.interactions_to(float(level), dimension) == pytest.approx(spent, rel=1e-4)


@pytest.mark.parametrize("power", [0.25, 0.5, 0.75, 1.0])
def test_two_steps_have_an_elementary_curve(power):
    family = StudentFamily(1000, power, rho0=0.01)
    for dimension in (10, 200):
        interactions = np.geomspace(3e3, 1e6, 7)
        miss = (1000 / dimension) ** power
        miss = miss + 2 * pi * 1000 ** (2 * power) * dimension ** (1 - 2 * power) / interactions
        expected = [correctness(overlap) for overlap in miss**-0.5]
        assert family.returns(dimension, interactions) == pytest.approx(expected, abs=2e-4)


def test_a_half_is_the_law_of_size_and_experience():
    """Returns are one function of the law's intrinsic performance, at all sizes and interactions."""
    family = StudentFamily(4096, 0.5, rho0=0.01)
    law = family.law()
    assert (law.alpha_N, law.alpha_E, law.nu, law.beta) == pytest.approx((1 / 2, 1, 2 / 3, 1 / 3))
    log_i, overlap = [], []
    for dimension in (16, 64, 256, 1024):
        for interactions in (3e3, 1e4, 1e5):
            log_i.append(float(law.log_intrinsic(np.log(dimension), np.log(interactions))))
            overlap.append(-np.cos(np.pi * float(family.returns(dimension, interactions))))
    fitted = np.polyfit(log_i, np.log(overlap), 1)  # overlap^-2 is I^-beta up to a factor: slope beta/2
    assert fitted[0] == pytest.approx(1 / 6, rel=2e-3)
    assert np.polyval(fitted, log_i) == pytest.approx(np.log(overlap), abs=5e-3)


@pytest.mark.parametrize("power", [0.25, 0.5, 0.75])
def test_the_optimal_size_has_its_exponent(power):
    family = StudentFamily(10**6, power, rho0=0.001)
    computes = np.geomspace(1e8, 1e10, 5)
    sizes = [family.N_opt(compute) for compute in computes]
    expected = (computes * power / (4 * pi * (1 - power) * 1e6**power)) ** family.nu
    assert sizes == pytest.approx(expected, rel=0.01)
    if power == 0.5:
        assert sizes == pytest.approx([family.law().N_opt(compute) for compute in computes], rel=0.01)


def test_where_all_inputs_weigh_the_same_larger_is_better_up_to_the_teacher():
    family = StudentFamily(500, 1.0)
    assert [family.N_opt(compute) for compute in (1e5, 1e6, 1e7)] == pytest.approx([500] * 3, rel=1e-3)


def test_equal_dimensions_have_no_frontier():
    """Where teacher and student have one dimension, curves collapse in E/D: a return costs C like D^2."""
    spent = [StudentFamily(d, 1.0).interactions_to(0.9, d) for d in (10, 100, 1000)]
    assert np.array(spent) / spent[0] == pytest.approx([1, 10, 100])


def test_the_horizon_multiplies_interactions_while_little_is_learned():
    two, *longer = (StudentFamily(10**6, 0.5, steps, rho0=0.01) for steps in (2, 4, 6))
    first = two.interactions_to(0.501, 100)
    ratios = [family.interactions_to(0.501, 100) / first for family in longer]
    assert ratios == pytest.approx([4, 16], rel=0.02)
    assert two.interactions_to(0.999, 100) == float("inf")
    assert two.ceiling(100) == pytest.approx(correctness(0.1))


def test_wrong_families_are_refused():
    with pytest.raises(InputError, match=r"power of the students is 1\.5") as caught:
        StudentFamily(100, 1.5)
    assert caught.value.code == "invalid_number"
    with pytest.raises(InputError, match="do not obey the law") as caught:
        StudentFamily(100, 0.5, steps=3).law()
    assert caught.value.code == "invalid_law"
