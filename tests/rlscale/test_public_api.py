"""The estimator and its result as they are used in a notebook."""

import json

import numpy as np
import pytest
from matplotlib.axes import Axes

import rlscale
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.figures.style import new_figure
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.forecast.sizes import optimal_size
from rlscale.scaling.errors import InputError

TRUTH = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.02, points=80)


@pytest.fixture(scope="module")
def fit() -> FitResult:
    return JointScalingFit(replicates=40, check_replicates=20).fit(TRUTH.curves(np.random.default_rng(0)))


def test_predicted_returns_are_those_of_the_map_at_the_fitted_intrinsic_performance(fit):
    n, e = np.array([8e4, 6.4e5])[:, None], np.array([1e7, 5e7])
    predicted = fit.predict_return(n, e)
    expected = np.interp(
        np.log(fit.law.intrinsic(n, e)), np.log(fit.monotone_map.intrinsic), fit.monotone_map.return_
    )
    np.testing.assert_allclose(predicted, expected)
    assert (np.diff(predicted, axis=0) > 0).all() or (np.diff(predicted, axis=1) > 0).all()


def test_predicted_returns_agree_with_the_curves(fit):
    clean = SyntheticSweep(**{**TRUTH.__dict__, "noise": 0.0, "seeds": 1}).curves(np.random.default_rng(0))
    late = clean.interactions > 5e6
    predicted = fit.predict_return(clean.run_sizes[clean.run_index][late], clean.interactions[late])
    known = np.isfinite(predicted)
    assert known.mean() > 0.9
    assert np.abs(predicted - clean.returns[late])[known].mean() < 0.02


def test_a_return_that_would_need_an_extrapolated_map_is_not_a_number(fit):
    assert np.isnan(fit.predict_return(1e12, 1e14))
    assert np.isnan(fit.predict_return([1e5, 1e12], [1e7, 1e14])).tolist() == [False, True]


def test_the_optimal_size_is_the_forecast_of_its_compute(fit):
    found = optimal_size(fit, 1e13)
    assert found.N_opt == pytest.approx(float(fit.law.N_opt(1e13)))
    low, high = found.intervals["N_opt"]
    assert low < found.N_opt < high
    assert optimal_size(fit, 1e13, env_cost=1e6).N_with_env_cost > found.N_opt
    with pytest.raises(InputError, match="positive"):
        optimal_size(fit, 0)


def test_json_survives_a_round_trip(fit, tmp_path):
    text = fit.to_json(tmp_path / "fit.json")
    assert read_fit(tmp_path / "fit.json") == fit
    assert json.loads(text)["nu"] == fit.nu


@pytest.mark.parametrize("name", ["intrinsic", "frontier", "optimal_size", "monotone_map", "residuals", "nu"])
def test_every_plot_draws_on_the_axes_it_is_given(fit, name):
    ax = new_figure().add_subplot()
    plot = getattr(rlscale, f"plot_{name}")
    assert plot(fit, ax=ax) is ax
    assert ax.get_xlabel()
    assert isinstance(plot(fit), Axes)


def test_total_intervals_hold_the_statistical_ones_and_every_refit(fit):
    for name in ("nu", "alpha_N", "alpha_E", "beta", "N_opt_ref"):
        low, high = fit.intervals_total[name]
        assert low <= fit.intervals[name][0]
        assert high >= fit.intervals[name][1]
        assert all(low <= getattr(refit, name) <= high for refit in fit.exclusion_fits)


def test_a_printed_result_is_a_summary_of_a_few_lines(fit):
    lines = str(fit).splitlines()
    assert lines[0] == fit.headline()
    assert f"{fit.nu:.3g}" in lines[0]
    assert "24 runs of 8 sizes" in lines[0]
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    for name in ("nu", "alpha_N", "alpha_E", "beta"):
        low, high = fit.intervals_total[name]
        assert [float(cell) for cell in rows[name][:3]] == pytest.approx(
            [getattr(fit, name), low, high], rel=1e-3
        )
    assert len(lines) == 12 + len(fit.warnings)
    assert len(repr(fit)) < 100
    assert len(repr(rlscale.forecast(fit, 1e13))) < 100


def test_one_compute_is_as_good_as_a_list_of_one(fit):
    assert rlscale.forecast(fit, 1e13) == rlscale.forecast(fit, [1e13])
    assert rlscale.forecast(fit, 1e13).warning_codes == fit.warning_codes


def test_a_backtest_needs_nothing_but_curves():
    curves = TRUTH.curves(np.random.default_rng(0))
    found = rlscale.backtest(curves, estimator=JointScalingFit(replicates=0))
    assert [one.split.kind for one in found.splits] == ["sizes", "compute"]
    assert all(len(one.warning_codes) == len(one.warnings) for one in found.splits)


def test_the_arrays_of_a_result_cannot_be_written(fit):
    with pytest.raises(ValueError, match="read-only"):
        fit.points.N[0] = 1.0
    assert fit.points.N.dtype == np.float64
    assert fit.points.size_limited.dtype == np.bool_
