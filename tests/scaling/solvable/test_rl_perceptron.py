"""Simulated perceptrons: beside their equations, three simulations of one law, self-averaging, schedules."""

import numpy as np
import pytest
import torch

from rlscale.analysis.theory.perceptron_schedules import Schedule
from rlscale.analysis.theory.rl_perceptron import reward_rule, solve
from rlscale.scaling.errors import InputError
from rlscale.scaling.solvable.rl_perceptron import Students, credit, simulate, squared_lengths

RULES = {
    "all": reward_rule("all-correct", 4, penalty=0.1),
    "n of T": reward_rule("n-of-t", 4, 3, penalty=0.1),
    "sub-reward": reward_rule("sub-reward", 4, 2, rate=0.7, bonus=0.3),
    "breadcrumbs": reward_rule("breadcrumbs", 4, bonus=0.2),
}
KEEPS = {
    "inputs": (64, 40, torch.float32),
    "weights": (100, 60, torch.float32),
    "overlaps": (300, 64, torch.float64),
}


def within(sample: np.ndarray, exact: float, allowed: float) -> bool:
    """The mean is within 3 standard errors and what is left out at finite D."""
    return abs(sample.mean() - exact) <= 3 * sample.std(ddof=1) / np.sqrt(len(sample)) + allowed


@pytest.mark.parametrize("keeps", KEEPS)
@pytest.mark.parametrize("name", RULES)
def test_students_follow_the_equations(name, keeps):
    """Within 3 standard errors + O(1/sqrt(D)), here 0.1/sqrt(D) of ρ and as much of Q in proportion."""
    dimension, count, dtype = KEEPS[keeps]
    exact = solve(RULES[name], [5.0])
    found = simulate(RULES[name], [5.0], Students(dimension, count, keeps=keeps, seed=3, dtype=dtype))
    allowed = 0.1 / np.sqrt(dimension)
    assert within(found.rho[0], exact.rho[0], allowed)
    assert within(found.q[0], exact.q[0], allowed * exact.q[0])
    assert found.interactions[0] == 5 * dimension * 4


@pytest.mark.parametrize(
    ("rule", "alpha", "r", "q"),
    [
        (reward_rule("all-correct", 5), 20, (1.395, 0.034), (6.21, 0.19)),
        (reward_rule("all-correct", 8, penalty=0.05), 20, (0.0399, 0.0047), (0.0911, 0.0053)),
        (reward_rule("n-of-t", 6, 4, penalty=0.1), 12, (3.817, 0.053), (46.6, 0.8)),
        (reward_rule("sub-reward", 6, 3, rate=0.7, bonus=0.3), 12, (0.454, 0.012), (2.177, 0.038)),
        (reward_rule("breadcrumbs", 6, bonus=0.05), 12, (0.690, 0.014), (5.195, 0.059)),
    ],
    ids=["all", "penalty", "n of T", "sub-reward", "breadcrumbs"],
)
def test_the_known_simulations_are_found_again(rule, alpha, r, q):
    """D = 300, Q0 = 1, ρ0 = 0: the means known from 8 students and their errors."""
    found = simulate(rule, [alpha], Students(300, 64, seed=11))
    for sample, (mean, error) in ((found.r[0], r), (found.q[0], q)):
        assert abs(sample.mean() - mean) <= 3 * np.hypot(error, sample.std(ddof=1) / 8)


def test_rewards_are_credited_as_the_protocols_say():
    right = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], dtype=torch.bool)
    assert credit(right, RULES["all"]).tolist() == pytest.approx(
        np.repeat([[1.0], [-0.1], [-0.1]], 4, axis=1)
    )
    assert credit(right, RULES["n of T"], 2.0).tolist() == [[2.0] * 4] * 3
    expected = [[1, 1, 0.7, 0.7], [0.3, 0.3, 0, 0], [0, 0, 0, 0]]
    assert credit(right, RULES["sub-reward"]).numpy() == pytest.approx(np.array(expected))
    expected = [[1.8, 1.6, 1.4, 1.2], [0.6, 0.4, 0.2, 0.2], [0.6, 0.6, 0.4, 0.2]]
    assert credit(right, RULES["breadcrumbs"]).numpy() == pytest.approx(np.array(expected))


def test_students_average_themselves():
    """The variance between students falls as 1/D."""
    rule = reward_rule("n-of-t", 3, 2)
    found = [simulate(rule, [4.0], Students(d, 1500, seed=5)) for d in (50, 200)]
    for name in ("rho", "q"):
        small, large = (getattr(each, name)[0].var() for each in found)
        assert small / large == pytest.approx(4, rel=0.2)


def test_squared_lengths_have_the_moments_of_chi_squared():
    drawn = squared_lengths(7, 40_000, torch.Generator().manual_seed(1)).numpy()
    assert drawn.min() > 0
    assert drawn.mean() == pytest.approx(7, abs=4 * np.sqrt(14 / 40_000))
    assert drawn.var() == pytest.approx(14, rel=0.06)
    assert ((drawn - 7) ** 3).mean() == pytest.approx(8 * 7, rel=0.15)


@pytest.mark.parametrize("keeps", KEEPS)
def test_a_start_is_exactly_what_was_asked_for(keeps):
    found = simulate(RULES["all"], [0.0], Students(20, 3, keeps=keeps, rho0=0.3, q0=2.0, dtype=torch.float64))
    assert found.rho == pytest.approx(np.full((1, 3), 0.3), abs=1e-12)
    assert found.q == pytest.approx(np.full((1, 3), 2.0), abs=1e-12)


@pytest.mark.parametrize("keeps", KEEPS)
def test_the_same_seed_gives_the_same_students(keeps):
    one, same, other = (
        simulate(RULES["all"], [0.5, 1.0], Students(20, 4, keeps=keeps, seed=seed)).rho for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("keeps", ["weights", "overlaps"])
@pytest.mark.parametrize(
    "kinds", [("optimal", "optimal"), ("constant", "optimal"), ("polynomial", "polynomial")]
)
def test_spherical_students_follow_schedules(kinds, keeps):
    schedule = Schedule(0.5, 2, *kinds, decay=0.02, growth=0.2, whole=True)
    rule, start = reward_rule("all-correct", 2, rate=0.5), {"rho0": 0.3, "spherical": True}
    exact = solve(rule, [10.0], control=schedule, **start)
    students = Students(100, 64, keeps=keeps, seed=2, **start)
    found = simulate(rule, [10.0], students, control=schedule)
    assert found.q[0] == pytest.approx(np.ones(64))
    assert within(found.rho[0], exact.rho[0], 0.1 / np.sqrt(100))
    assert found.interactions[0] > 1000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dimension": 0}, "dimension D of the perceptron is 0"),
        ({"count": 0}, "number of students"),
        ({"rho0": 2.0}, "rho0"),
        ({"q0": -1.0}, "q0"),
    ],
)
def test_wrong_students_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Students(**{"dimension": 10, "count": 2, **fields})


def test_wrong_times_and_rates_are_refused():
    for times in ([], [-1.0], [2.0, 1.0], [0.001, 1.0], [1.0, 1.001]):
        with pytest.raises(InputError, match="alpha") as caught:
            simulate(RULES["all"], times, Students(10, 2))
        assert caught.value.code == "invalid_number"
    with pytest.raises(InputError, match="no longer finite"):
        simulate(reward_rule("n-of-t", 2, 1, rate=1e200), [1.0], Students(10, 2))
    with pytest.raises(InputError, match="no schedules"):
        simulate(RULES["breadcrumbs"], [1.0], Students(10, 2), control=Schedule(1.0, 4))
