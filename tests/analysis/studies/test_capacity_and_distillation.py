"""Means over targets and students with intervals, against scipy."""

import numpy as np
import pytest
from scipy import stats

from rlscale.analysis.figures.capacity import capacity_figure
from rlscale.analysis.statistics.intervals import mean_interval
from rlscale.analysis.studies.capacity import CapacityResult, capacity_result, capacity_run
from rlscale.analysis.studies.distillation import distillation_result


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(3, 2, 7)
    expected = stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)


def run_of(losses, num_params=10):
    return capacity_run(
        sweep="s",
        run_id=f"r{num_params}",
        columns={"num_params": num_params},
        interactions=[0, 50, 100],
        losses={"actor": losses, "critic": 2 * losses},
        curve=([10, 100], [1.0, 3.0]),
    )


def test_capacity_losses_are_geometric_means_and_their_growth_is_paired_by_target():
    losses = np.random.default_rng(1).lognormal(-5, 2, (4, 3))
    losses[:, 2] = 30 * losses[:, 0]  # every target by the same factor, however different they are
    run = run_of(losses)
    assert [point.actor.value for point in run.points] == pytest.approx(stats.gmean(losses, axis=0))
    low, high = run.points[1].critic.interval
    assert low < run.points[1].critic.value < high
    assert np.log([low, high]) == pytest.approx(mean_interval(np.log(2 * losses[:, 1])))
    assert run.actor_growth.value == pytest.approx(30)
    assert run.actor_growth.interval == pytest.approx((30, 30))


def test_one_target_has_no_interval_and_says_so():
    result = capacity_result([run_of(np.full((1, 3), 0.1))], 1)
    assert result.warning_codes == ["one_target"]
    assert result.runs[0].points[0].actor.interval is None
    assert capacity_result([], 2).warnings == []
    assert CapacityResult.model_validate_json(result.model_dump_json()) == result


def test_losses_of_zero_and_enormous_ones_are_finite_numbers():
    run = run_of(np.array([[0.0, 1e-9, 1e30], [0.0, 1.0, 1e-30]]))
    CapacityResult.model_validate_json(capacity_result([run], 2).model_dump_json())


def test_the_figure_has_returns_and_both_losses_over_the_same_interactions():
    losses = np.random.default_rng(1).lognormal(-5, 2, (4, 3))
    figure = capacity_figure(capacity_result([run_of(losses), run_of(3 * losses, 1000)], 4))
    top, actor, critic = figure.axes
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 2]
    assert actor.get_yscale() == critic.get_yscale() == "log"
    assert "interactions" in critic.get_xlabel()
    assert top.get_xlim() == critic.get_xlim()


def test_teachers_and_students_have_intervals_of_their_own():
    rng = np.random.default_rng(2)
    teacher, students = rng.normal(size=40), rng.normal(size=(3, 40))
    result = distillation_result(
        {"return_new": teacher},
        [{"return_new": each} for each in students],
        losses=[0.1, 0.2, 0.3],
        sweep="s",
        run_id="r",
        task="t",
        interactions=5,
    )
    measure = result.measures[0]
    assert (measure.teacher, measure.mean) == pytest.approx((teacher.mean(), students.mean()))
    assert measure.teacher_interval == pytest.approx(mean_interval(teacher))
    assert measure.students_interval == pytest.approx(mean_interval(students.mean(axis=1)))
    alone = {"sweep": "s", "run_id": "r", "task": "t", "interactions": 5}
    one = distillation_result({"x": teacher}, [{"x": teacher}], losses=[0.1], **alone)
    assert one.warning_codes == ["one_student"]
    assert one.measures[0].students_interval is None
    few = {"divergence_mixed_0.5": [0.0, 0.1], "same_action_mixed_0.5": [1.0, 0.8], "return_new": [0.0, 1.0]}
    low, share, free = distillation_result(few, [few, few], losses=[0.1], **alone).measures
    assert low.teacher_interval[0] == 0
    assert share.teacher_interval[1] == 1
    assert free.teacher_interval[0] < 0
