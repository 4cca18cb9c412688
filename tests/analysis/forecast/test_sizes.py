"""Forecasts from a stored fit: the law's optima, their intervals, and what is an extrapolation."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.forecast.result import ForecastResult, read_forecast
from rlscale.analysis.forecast.sizes import forecast, optimal_size
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.scaling.errors import InputError
from rlscale.terminal.forecast import print_forecast

TRUTH = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.01)


@pytest.fixture(scope="module")
def fit() -> FitResult:
    return JointScalingFit(replicates=60).fit(TRUTH.curves(np.random.default_rng(0)))


def test_the_optimum_is_near_the_truth_and_its_product_is_the_compute(fit):
    found = forecast(fit, [1e12, 1e13]).forecasts
    for item in found:
        assert item.N_opt == pytest.approx(float(TRUTH.law.N_opt(item.compute)), rel=0.1)
        assert item.N_opt * item.E_opt == pytest.approx(item.compute)
        low, high = item.intervals["N_opt"]
        assert low < high
        assert item.intervals["E_opt"] == pytest.approx((item.compute / high, item.compute / low), rel=1e-6)


def test_intervals_grow_with_the_distance_from_the_data(fit):
    found = forecast(fit, [fit.compute_ref, 1e17, 1e20]).forecasts
    widths = [np.log10(item.intervals["N_opt"][1] / item.intervals["N_opt"][0]) for item in found]
    assert widths[0] < widths[1] < widths[2]


def test_extrapolation_is_counted_in_decades_on_both_sides(fit):
    low, high = fit.range.C
    result = forecast(fit, [low, high, 100 * high, low / 10])
    assert [item.extrapolation for item in result.forecasts] == pytest.approx([0, 0, 2, 1])
    assert sum("extrapolation" in warning for warning in result.warnings) == 2


def test_the_return_is_that_of_the_frontier_where_it_was_seen_and_else_unknown(fit):
    inside, beyond = forecast(fit, [1e13, 1e18]).forecasts
    measured = np.interp(np.log(1e13), np.log(fit.frontier.compute), fit.frontier.return_)
    assert inside.return_ == pytest.approx(measured, abs=0.03)
    assert beyond.return_ is None
    assert inside.return_extrapolated is None
    low, high = inside.intervals["return"]
    assert low <= inside.return_ <= high
    low, high = beyond.return_extrapolated.interval
    assert low <= beyond.return_extrapolated.estimate <= high
    assert beyond.return_extrapolated.estimate > fit.monotone_map.return_[-1]
    assert "return" not in beyond.intervals


def test_a_return_that_continues_the_map_is_marked_where_people_read_it(fit):
    console = Console(width=80, record=True, file=io.StringIO())
    print_forecast(forecast(fit, [1e13, 1e18]), console)
    text = console.export_text()
    assert "* The increasing map is continued" in text
    estimate = forecast(fit, 1e18).forecasts[0].return_extrapolated.estimate
    assert f"{estimate:.4g}*" in text
    assert "…" not in text


def test_a_costly_environment_asks_for_a_larger_model(fit):
    plain = forecast(fit, [1e13]).forecasts[0]
    costly = forecast(fit, [1e13], env_cost=100 * plain.N_opt).forecasts[0]
    assert plain.N_with_env_cost is None
    assert costly.N_with_env_cost > 10 * plain.N_opt
    assert fit.predict_intrinsic(costly.N_with_env_cost, costly.E_with_env_cost) == pytest.approx(
        1e13, rel=1e-6
    )
    assert costly.overspend > 2
    low, high = costly.intervals["N_with_env_cost"]
    assert low < costly.N_with_env_cost < high * 1.2


def test_a_free_environment_changes_nothing(fit):
    item = forecast(fit, [1e13], env_cost=0.0).forecasts[0]
    assert item.N_with_env_cost == pytest.approx(item.N_opt)
    assert item.overspend == pytest.approx(1)


@pytest.mark.parametrize("compute", [0.0, -1.0, np.nan, np.inf])
def test_a_compute_that_is_none_is_refused(fit, compute):
    with pytest.raises(InputError, match="Compute must be"):
        forecast(fit, [compute])


def test_no_compute_and_a_negative_cost_are_refused(fit):
    with pytest.raises(InputError, match=r"computes=\[1e12\]"):
        forecast(fit, [])
    with pytest.raises(InputError, match="cost"):
        forecast(fit, [1e12], env_cost=-1.0)


def test_a_forecast_carries_the_fit_s_warnings_and_survives_json(fit, tmp_path):
    doubtful = fit.model_copy(update={"warnings": ["Beware."], "identified": False})
    result = forecast(doubtful, [1e12])
    assert result.warnings == ["Beware."]
    assert not result.identified
    path = tmp_path / "forecast.json"
    path.write_text(result.model_dump_json())
    assert read_forecast(path) == result
    assert "return" in json.loads(path.read_text())["forecasts"][0]
    assert ForecastResult.model_validate_json(path.read_text()) == result


def test_the_stored_fit_is_enough_for_the_same_forecast(fit, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(fit.model_dump_json())
    assert forecast(read_fit(path), [1e15], env_cost=1e6) == forecast(fit, [1e15], env_cost=1e6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[1, 2]", "does not hold the result"),
        ('{"alpha_N": 0.5}', "does not hold the result"),
        ('{"kind": "rlscale forecast"}', "does not hold the result"),
        ('{"kind": "rlscale fit", "schema_version": 99}', "schema_version 99"),
        ('{"kind": "rlscale fit", "schema_version": 1}', "damaged: field"),
    ],
)
def test_a_file_that_holds_no_fit_is_refused(tmp_path, text, message):
    path = tmp_path / "fit.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_fit(path)
    assert str(path) in str(caught.value)


def test_a_fit_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_fit(tmp_path / "none.json")


# -- the model-free frontier ------------------------------------------------------


def test_the_model_free_frontier_follows_the_optimum_of_the_law():
    truth = SyntheticSweep(sizes=tuple(2e4 * 2.0 ** np.arange(10)), seeds=1)
    frontier = efficient_frontier(Preprocessor(truth.curves(np.random.default_rng(0))).points())
    compute, n = np.array(frontier.compute), np.array(frontier.N)
    middle = (compute > 1e12) & (compute < 1e14)
    ratio = n[middle] / truth.law.N_opt(compute[middle])
    assert np.abs(np.log2(ratio)).max() < 0.6  # sizes are a factor of two apart
    assert frontier.num_sizes >= 8


def test_the_model_free_frontier_only_rises():
    points = Preprocessor(TRUTH.curves(np.random.default_rng(3))).points()
    frontier = efficient_frontier(points)
    assert (np.diff(frontier.return_) > 0).all()
    assert (np.diff(frontier.compute) > 0).all()


def test_where_one_size_is_always_best_the_frontier_says_so():
    curves = TRUTH.curves(np.random.default_rng(0))
    smaller_is_better = -np.log(curves.run_sizes[curves.run_index]) + 0.1 * np.log(curves.interactions)
    frontier = efficient_frontier(Preprocessor(curves.with_returns(smaller_is_better)).points())
    assert frontier.num_sizes < 8


def test_intervals_of_the_optimum_hold_refits_with_other_cuts(fit):
    compute = 100 * fit.compute_ref
    found = optimal_size(fit, compute)
    low, high = found.intervals_total["N_opt"]
    assert low <= found.intervals["N_opt"][0]
    assert high >= found.intervals["N_opt"][1]
    for refit in fit.exclusion_fits:
        assert low <= refit.N_opt_ref * 100**refit.nu <= high
    for kind in (found.intervals, found.intervals_bias_corrected, found.intervals_total):
        assert kind["E_opt"] == pytest.approx([compute / end for end in reversed(kind["N_opt"])])
