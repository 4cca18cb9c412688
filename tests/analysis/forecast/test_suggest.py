"""Suggested runs cost what they may, promise more for more, and are worth more than repeating the sweep."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from command_line import run
from rich.console import Console

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.bootstrap import Draws
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.candidates import candidate_groups
from rlscale.analysis.forecast.design import DesignModel, Group, measured_groups
from rlscale.analysis.forecast.plan import Left, Plan, best_plan
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.forecast.suggest import Suggestion, suggest, why_unspent
from rlscale.analysis.forecast.widths import width_of
from rlscale.scaling.errors import InputError
from rlscale.terminal.suggestion import print_suggestion

SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), points=40, noise=0.03)
OWN_COMPUTE = SWEEP.max_interactions * sum(SWEEP.sizes) * SWEEP.seeds


@pytest.fixture(scope="module")
def fit() -> FitResult:
    return JointScalingFit(replicates=24).fit(SWEEP.curves(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def suggestion(fit) -> Suggestion:
    return suggest(fit, OWN_COMPUTE)


@pytest.fixture(scope="module")
def model(fit) -> DesignModel:
    return DesignModel.of(fit, fit.law, 10 * fit.range.C[1])


def width(interval: tuple[float, float]) -> float:
    return float(np.log(interval[1] / interval[0]))


def test_runs_cost_no_more_than_the_budget_and_what_they_say(suggestion):
    assert 0 < suggestion.spent <= suggestion.budget
    assert sum(run.compute for run in suggestion.runs) == pytest.approx(suggestion.spent)
    for planned in suggestion.runs:
        assert planned.compute == pytest.approx(planned.N * planned.E * planned.seeds)
        assert planned.new_size == (not np.isclose(planned.N, SWEEP.sizes).any())
        assert (planned.longer_by is None) == planned.new_size


def test_before_is_what_a_forecast_says_and_after_is_narrower_than_repeating(fit, suggestion):
    (forecasted,) = forecast(fit, [suggestion.target_compute]).forecasts
    np.testing.assert_allclose(suggestion.interval_before, forecasted.intervals["N_opt"])
    assert suggestion.target_compute == pytest.approx(10 * fit.range.C[1])
    after, repeated = width(suggestion.interval_after), width(suggestion.interval_by_repeating)
    assert after < repeated < width(suggestion.interval_before)
    assert suggestion.narrower == pytest.approx(width(suggestion.interval_before) / after)
    assert repeated == pytest.approx(width(suggestion.interval_before) / np.sqrt(2), rel=0.01)


def test_more_budget_never_promises_less(fit):
    found = [suggest(fit, OWN_COMPUTE * share) for share in (0.01, 0.2, 2)]
    widths = [width(one.interval_after) for one in found]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.8 * widths[0]


def test_every_larger_budget_promises_at_least_as_much_and_is_spent(fit, model):
    """Budgets close to each other, by one law: what is left over must not undo the promise."""
    measured = measured_groups(fit)
    candidates = candidate_groups(fit, measured)
    budgets = OWN_COMPUTE * np.geomspace(0.3, 1.0, 6)
    plans = [best_plan([model], measured, candidates, budget) for budget in budgets]
    shrinkage = [plan.shrinkage for plan in plans]
    assert shrinkage == sorted(shrinkage, reverse=True)
    shares = [sum(g.compute for g in p.groups) / b for p, b in zip(plans, budgets, strict=True)]
    assert max(shares) <= 1
    assert min(shares) > 0.85
    assert np.median(shares) > 0.95


def test_more_seeds_of_everything_lower_the_variance_but_not_below_the_misfit(fit, model):
    def variance(factor: int) -> float:
        sums = [model.moments([Group(g.size, g.length, g.seeds * factor)]) for g in measured_groups(fit)]
        a, b = (sum(parts) for parts in zip(*sums, strict=True))
        return float(model.variances(a[None], b[None])[0])

    one, four, many = variance(1), variance(4), variance(10**6)
    assert one > four > many > 0
    assert one - many == pytest.approx(4 * (four - many), rel=0.01)


def test_runs_no_other_size_reaches_teach_nothing_by_themselves(fit, model):
    """Beyond the measured log I the map is free, so a lone run there only draws the map."""
    groups = measured_groups(fit)
    parts = {group.size: model.moments([group]) for group in groups}
    total = (sum(a for a, _ in parts.values()), sum(b for _, b in parts.values()))
    reach = groups[-1]
    far = model.moments([Group(reach.size * 2, reach.length * 3, 100)])
    wide = model.moments([Group(reach.size * 2, reach.length / 4, 100)])
    base, alone, overlapping = model.variances(
        *(np.stack([total[i], total[i] + far[i], total[i] + wide[i]]) for i in (0, 1))
    )
    assert overlapping < base
    assert overlapping < alone


def test_the_measured_runs_are_read_from_the_fit(fit):
    groups = measured_groups(fit)
    assert [group.size for group in groups] == pytest.approx(SWEEP.sizes)
    assert {group.seeds for group in groups} == {SWEEP.seeds}
    assert [group.length for group in groups] == pytest.approx([SWEEP.max_interactions] * 8, rel=0.02)
    assert sum(group.compute for group in groups) == pytest.approx(OWN_COMPUTE, rel=0.02)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.02, "smaller sizes and longer runs"), (0.98, "larger sizes")]
)
def test_without_identification_only_runs_that_would_show_the_optimum_are_suggested(fit, share, expected):
    doubtful = fit.model_copy(
        update={
            "identified": False,
            "size_limited_share": share,
            "warnings": ["No optimum is seen."],
            "warning_codes": ["poor_fit"],
        }
    )
    found = suggest(doubtful, OWN_COMPUTE)
    assert not found.identified
    assert expected in found.warnings[0]
    assert "No optimum is seen." in found.warnings
    assert found.warning_codes == ["one_side_only", "poor_fit", "extrapolation"]
    middle = np.median(SWEEP.sizes)
    assert all((middle < run.N) == (share > 0.5) for run in found.runs)
    if share < 0.5:
        assert all(run.new_size or run.longer_by > 1 for run in found.runs)


@pytest.mark.parametrize(
    ("budget", "target", "message"),
    [
        (0.0, None, "budget must be a positive"),
        (float("inf"), None, "budget must be a positive"),
        (1e15, -1.0, "target must be a positive"),
        (1.0, None, "give a larger budget"),
    ],
)
def test_what_cannot_be_planned_is_refused(fit, budget, target, message):
    with pytest.raises(InputError, match=message):
        suggest(fit, budget, target=target)


def test_a_fit_without_draws_is_refused(fit):
    with pytest.raises(InputError, match="fit again with replicates=1000") as refused:
        suggest(fit.model_copy(update={"bootstrap": Draws.of("none", [])}), OWN_COMPUTE)
    assert refused.value.code == "no_bootstrap"


def test_a_suggestion_survives_json_and_prints_within_80_columns(suggestion):
    assert Suggestion.model_validate_json(suggestion.model_dump_json()) == suggestion
    console = Console(width=80, record=True, file=io.StringIO())
    print_suggestion(suggestion, console)
    text = console.export_text()
    assert "90% interval" in text
    assert "…" not in text


def test_the_command_writes_what_it_prints_and_refuses_another_version(fit, tmp_path: Path):
    path, out = tmp_path / "fit.json", tmp_path / "suggestion.json"
    path.write_text(fit.model_dump_json())
    done = run("suggest", path, "--budget", OWN_COMPUTE / 20, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "times narrower" in done.stdout
    value = json.loads(out.read_text())
    assert value["kind"] == "rlscale suggest"
    assert value["spent"] <= OWN_COMPUTE / 20
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 999}))
    refused = run("suggest", path, "--budget", OWN_COMPUTE)
    assert refused.returncode == 2
    assert "schema_version 999" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_size_of_the_sweep_has_its_width_and_others_are_on_lines_between():
    sizes, widths = [100.0, 400.0, 1600.0], [0.1, 0.2, 0.4]  # N ~ width^2
    assert width_of(400.0 * (1 + 1e-9), sizes, widths) == 0.2
    assert [width_of(n, sizes, widths) for n in (25.0, 900.0, 6400.0)] == pytest.approx([0.05, 0.3, 0.8])
    assert width_of(100.0, sizes, []) is None


def test_a_plan_says_why_it_leaves_budget(fit):
    groups = candidate_groups(fit, measured_groups(fit))
    cheapest = min(group.compute for group in groups)
    spent = suggest(fit, 0.3 * OWN_COMPUTE, widths=np.sqrt(SWEEP.sizes))
    assert all(runs.width is not None for runs in spent.runs)
    assert (spent.why_unspent == "") == (spent.budget - spent.spent < 0.01 * spent.budget)
    plan = Plan([groups[0]] * 3, 0.5, most_left=0.98)
    told = {left: why_unspent(replace(plan, left=left), 5.0, 100.0, cheapest) for left in get_args(Left)}
    assert told["groups"].endswith("a plan has at most 3 groups of runs; fit with these, then suggest again.")
    assert told["cost"].startswith("5 of the budget is left: no run that would help costs as little")
    assert told["gain"].endswith("would narrow the interval by only 2.0%.")


def test_no_new_size_is_below_one_parameter(fit):
    tiny = fit.model_copy(
        update={"provenance": fit.provenance.model_copy(update={"sizes": fit.provenance.sizes / 4e4})}
    )
    points = fit.points.model_copy(update={"N": fit.points.N / 4e4})
    tiny = tiny.model_copy(update={"points": points})
    assert min(group.size for group in candidate_groups(tiny, measured_groups(tiny))) == pytest.approx(1.0)
