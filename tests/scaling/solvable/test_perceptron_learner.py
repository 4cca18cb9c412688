"""The RL perceptron as a run: its curve beside the equations, schedules, sizes, and what is refused."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rlscale.analysis.theory import perceptron_schedules
from rlscale.analysis.theory.rl_perceptron import all_correct_drift, overlap_rate, reward_rule, solve
from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import InputError, NonFiniteLoss
from rlscale.scaling.solvable.perceptron_schedule import optimal_rate, optimal_steps, scheduled
from rlscale.scaling.training.facts import run_columns
from rlscale.scaling.training.solvable_run import SolvableRun

PROTOCOLS = {
    "all-correct": {"steps": 3, "penalty": 0.1},
    "n-of-t": {"steps": 4, "needed": 3, "penalty": 0.1},
    "sub-reward": {"steps": 4, "needed": 2, "rate": 0.7, "bonus": 0.3},
    "breadcrumbs": {"steps": 4, "bonus": 0.2},
}


def config_of(interactions: int = 10**9, *, seed: int = 0, **perceptron: object) -> RunConfig:
    values = {"task": "rl-perceptron", "interactions": interactions, "seed": seed, "perceptron": perceptron}
    return run_config({**values, "rows_per_decade": 10}, source="test")


def rows_until(config: RunConfig, interactions: int) -> list[dict]:
    run, rows = SolvableRun(config), []
    while run.interactions < interactions:
        run.iterate()
        if run.recorder.is_due(run.interactions):
            rows.append(run.close_row())
    return rows if run.recorder.is_empty else [*rows, run.close_row()]


def within(mean: float, error: float, exact: float, allowed: float) -> bool:
    """The mean is within 3 standard errors and what is left out at finite D."""
    return abs(mean - exact) <= 3 * error + allowed


@pytest.mark.parametrize("seen", [1.0, 0.5])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_curve_of_a_run_follows_the_equations(protocol, seen):
    """Within 3 standard errors + 0.2/sqrt(D) of the overlap and of the share of right steps."""
    dimension, students, options = 100, 64, PROTOCOLS[protocol]
    teacher = {} if seen == 1 else {"dimension": 4 * dimension}
    config = config_of(
        protocol=protocol, dimension=dimension, students=students, rho0=0.0, teacher=teacher, **options
    )
    assert config.perceptron.seen == seen
    *_, before, row = rows_until(config, 5 * dimension * options["steps"])
    rule = reward_rule(protocol, **{"rate": 1.0, **options})
    alpha = row["interactions"] / dimension / options["steps"]
    exact = solve(rule, np.linspace(0, alpha, 200), seen=seen)
    allowed = 0.2 / np.sqrt(dimension)
    error = row["perceptron_overlap_std"] / np.sqrt(students)
    assert within(row["perceptron_overlap"], error, seen * exact.rho[-1], allowed)
    assert row["perceptron_error"] == pytest.approx(exact.error[-1], abs=allowed)
    assert row["perceptron_q"] == pytest.approx(exact.q[-1], rel=2 * allowed)
    # The row's returns are those of the episodes since the row before.
    since = np.linspace(alpha * before["interactions"] / row["interactions"], alpha, 50)
    accuracy = 1 - solve(rule, since, seen=seen).error.mean()
    error = row["return_std"] / np.sqrt(row["episodes"])
    assert within(row["return_mean"], error, accuracy, allowed)


@pytest.mark.parametrize("keeps", ["inputs", "weights", "overlaps"])
def test_the_simulations_have_one_law_where_a_part_of_the_teacher_is_seen(keeps):
    students = 100
    config = config_of(
        dimension=64, students=students, steps=2, rho0=0.0, keeps=keeps, teacher={"dimension": 128}
    )
    *_, row = rows_until(config, 6 * 64 * 2)
    exact = solve(reward_rule("all-correct", 2), [row["interactions"] / 128], seen=0.5**0.5)
    error = row["perceptron_overlap_std"] / np.sqrt(students)
    assert within(row["perceptron_overlap"], error, exact.seen * exact.rho[0], 0.1 / 8)
    assert row["perceptron_q"] == pytest.approx(exact.q[0], rel=0.1)


def test_students_average_themselves_in_many_dimensions():
    """The spread of the overlap falls as 1/sqrt(D): by 4 from D to 16 D."""
    spreads = [
        rows_until(config_of(dimension=d, students=256, steps=2, rho0=0.0), 5 * d * 2)[-1][
            "perceptron_overlap_std"
        ]
        for d in (16, 256)
    ]
    assert spreads[0] / spreads[1] == pytest.approx(4, rel=0.2)


def test_random_starts_are_overlaps_of_random_directions():
    for keeps in ("weights", "overlaps"):
        run = SolvableRun(config_of(dimension=25, students=4000, keeps=keeps))
        overlap = run.learner.measure()["perceptron_overlap"], run.learner.measure()["perceptron_overlap_std"]
        assert overlap[0] == pytest.approx(0, abs=3 * 0.2 / 4000**0.5)
        assert overlap[1] == pytest.approx(0.2, rel=0.05)
        assert run.learner.measure()["perceptron_q"] == pytest.approx(1.0)


def test_runs_of_one_seed_do_not_share_their_noise():
    """Rows of two sizes with one seed are as far apart as those of two seeds."""
    options = {"students": 500, "steps": 2, "rho0": 0.0, "rate": 1e-9}  # nothing is learned
    returns = [
        np.array(
            [row["return_mean"] for row in rows_until(config_of(dimension=d, seed=seed, **options), 400)]
        )
        for d, seed in ((16, 0), (17, 0), (16, 1))
    ]
    apart = [np.std(returns[0] - other) for other in returns[1:]]
    assert apart[0] == pytest.approx(apart[1], rel=0.5)
    assert apart[0] > np.std(returns[0])


def test_interactions_are_steps_and_sizes_are_dimensions():
    config = config_of(1000, dimension=30, students=3, steps=7)
    rows = rows_until(config, 1000)
    assert rows[0]["interactions"] == 7
    assert rows[0]["episodes"] == 3
    assert 1000 <= rows[-1]["interactions"] < 1007
    assert sum(row["episodes"] for row in rows) == 3 * rows[-1]["interactions"] / 7
    columns = run_columns(config)
    assert (columns["num_params"], columns["horizon"], columns["algorithm"]) == (30, 7.0, "all-correct")
    assert columns["flops_forward"] == 60


# -- schedules --------------------------------------------------------------------


def test_schedules_are_those_of_the_theory():
    for rho, q in ((0.4, 1.0), (0.05, 3.0), (0.99, 40.0)):
        assert optimal_rate(rho, q, 5, 1.0) == pytest.approx(perceptron_schedules.optimal_rate(rho, q, 5))
        assert optimal_steps(rho, q, 0.8, 1.0) == pytest.approx(
            perceptron_schedules.optimal_steps(rho, q, 0.8)
        )
    assert optimal_steps(0.4, 1.0, 0.8, 1.0) == pytest.approx(0.97341, abs=1e-5)
    assert optimal_rate(0.4, 1.0, 5, 1.0) == pytest.approx(6.63861, abs=1e-5)


@pytest.mark.parametrize(("rho", "q", "seen"), [(0.3, 1.0, 0.5), (0.8, 2.0, 0.7), (0.6, 1.0, 1.0)])
def test_optimal_schedules_are_the_steepest_rise_of_the_equations(rho, q, seen):
    def rise(rate: float, steps: float) -> float:
        return overlap_rate(rho, q, *all_correct_drift(rho, q, steps=steps, rate=rate, seen=seen))

    rate = minimize_scalar(lambda x: -rise(x, 5), bounds=(0.01, 100), method="bounded").x
    assert optimal_rate(rho, q, 5, seen) == pytest.approx(rate, rel=1e-4)
    steps = minimize_scalar(lambda x: -rise(0.8, x), bounds=(0.01, 100), method="bounded").x
    assert optimal_steps(rho, q, 0.8, seen) == pytest.approx(steps, rel=1e-3)


def test_polynomial_and_optimal_schedules_are_in_force_along_a_run():
    options = {"dimension": 50, "students": 4, "steps": 3, "rho0": 0.2}
    schedule = {"rate": "polynomial", "decay": 0.5, "steps": "polynomial", "growth": 2.0, "most_steps": 9}
    settings = config_of(**options, schedule=schedule).perceptron
    assert scheduled(settings, 2.0, 0.5, 1.0) == (0.5, 7)
    assert scheduled(settings, 100.0, 0.5, 1.0) == (pytest.approx(1 / 51), 9)
    row = rows_until(config_of(**options, schedule=schedule), 3000)[-1]
    assert row["perceptron_steps"] == 9
    assert row["episode_length_mean"] > 3
    both = {"rate": "optimal", "steps": "optimal"}
    row = rows_until(config_of(**options, spherical=True, schedule=both), 20_000)[-1]
    assert row["perceptron_q"] == pytest.approx(1.0)
    assert row["perceptron_overlap"] > 0.97
    assert row["perceptron_steps"] > 5


# -- what is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("perceptron", "text"),
    [
        ({"dimension": 0}, "'perceptron.dimension': input should be greater than or equal to 4"),
        ({"steps": 0}, "'perceptron.steps': input should be greater than or equal to 1"),
        ({"rate": -1.0}, "'perceptron.rate': input should be greater than 0"),
        ({"rate": float("inf")}, "'perceptron.rate': input should be a finite number"),
        ({"steps": 3, "needed": 4, "protocol": "n-of-t"}, "needed is 4 of 3 steps: give 1 to 3"),
        ({"steps": 3, "needed": 2}, "all-correct needs all 3 steps right"),
        ({"protocol": "breadcrumbs", "penalty": 0.1}, "leave it out for breadcrumbs"),
        ({"bonus": 0.1}, "leave it out for all-correct"),
        ({"dimension": 100, "teacher": {"dimension": 50}}, "teacher.dimension .50. is below dimension .100."),
        ({"teacher": {"power": 0.5}}, "give teacher.dimension too"),
        ({"schedule": {"rate": "polynomial"}}, "schedule.rate is polynomial: give decay above 0"),
        ({"schedule": {"growth": 1.0}}, "leave growth out, or set schedule.steps to polynomial"),
        ({"schedule": {"rate": "optimal"}}, "give rho0"),
        (
            {"protocol": "n-of-t", "schedule": {"rate": "polynomial", "decay": 1.0}},
            "schedule is for all-correct",
        ),
        ({"schedule": {"kind": "optimal"}}, "unknown key 'perceptron.schedule.kind'"),
        ({"size": 3}, "unknown key 'perceptron.size'"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(perceptron, text):
    with pytest.raises(InputError, match=text) as caught:
        config_of(**perceptron)
    assert caught.value.code == "invalid_config"


def test_an_optimal_schedule_that_leaves_its_range_is_refused():
    settings = config_of(rho0=0.1, schedule={"rate": "optimal"}).perceptron
    with pytest.raises(InputError, match=r"it is -0\.1 at alpha 3") as caught:
        scheduled(settings, 3.0, -0.1, 1.0)
    assert caught.value.code == "schedule_out_of_range"


def test_students_that_grow_without_bound_end_the_run():
    run = SolvableRun(config_of(steps=1, rate=1e160, students=20))
    with pytest.raises(NonFiniteLoss, match=r"try a smaller perceptron\.rate"):
        run.iterate()
