"""Results as a notebook and a Python session show them, and as data frames."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rlscale
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.records import Columns
from rlscale.analysis.results import Result, Shown, frame_of_columns
from rlscale.analysis.studies.backtest.result import BacktestResult
from rlscale.analysis.studies.fits_by import fit_by
from rlscale.analysis.studies.horizon.result import read_horizon

#: The method that a notebook calls to show a value.
CELL = "_repr_html_"
DATA = Path(__file__).resolve().parents[2] / "data"
SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(5)), seeds=1, noise=0.02, points=30)


@pytest.fixture(scope="module")
def curves() -> rlscale.Curves:
    return SWEEP.curves(np.random.default_rng(0))


@pytest.fixture(scope="module")
def stored() -> rlscale.FitResult:
    return rlscale.read_fit(DATA / "mnist_width" / "fit.json")


@pytest.fixture(scope="module")
def few(stored: rlscale.FitResult) -> rlscale.FitResult:
    """The same fit with its first draws only, from which a forecast takes less time."""
    drawn = stored.bootstrap
    part = {name: getattr(drawn, name)[:25] for name in ("nu", "k", "m", "delay")}
    return stored.model_copy(update={"bootstrap": drawn.model_copy(update={**part, "replicates": 25})})


@pytest.fixture(scope="module")
def results(curves: rlscale.Curves, stored: rlscale.FitResult, few: rlscale.FitResult) -> dict[str, Shown]:
    plain = rlscale.JointScalingFit(replicates=0)
    forecast = few.forecast([1e9, 1e13], returns=[0.9], env_cost=100.0)
    return {
        "curves": curves,
        "fit": stored,
        "fits by": fit_by("task", {"a": curves}, plain.fit),
        "forecast": forecast,
        "optimal size": rlscale.optimal_size(few, 1e13),
        "return": forecast.returns[0],
        "suggestion": rlscale.suggest(few, 1e9),
        "backtest": rlscale.backtest(curves, [rlscale.hold_out_sizes(curves, 1)], plain),
        "comparison": rlscale.read_comparison(DATA / "ppo_vs_ewma" / "comparison.json"),
        "horizon": read_horizon(DATA / "mnist_horizon" / "horizon.json"),
    }


KINDS = (
    *("curves", "fit", "fits by", "forecast", "optimal size", "return", "suggestion", "backtest"),
    *("comparison", "horizon"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_a_line_in_a_session_and_a_table_in_a_notebook(results, kind):
    result = results[kind]
    line = repr(result)
    assert line == f"<{type(result).__name__}: {result.headline()}>"
    assert "\n" not in line
    assert len(line) < 320
    cell = getattr(result, CELL)()
    assert html.escape(result.headline()) in cell
    assert "<table" in cell
    assert len(cell) < 20_000
    for caution in result.cautions():
        assert html.escape(caution) in cell
        assert caution in str(result)


@pytest.mark.parametrize("kind", KINDS)
def test_summaries_and_frames_are_data_frames_with_rows(results, kind):
    for frame in (results[kind].summary(), results[kind].to_frame()):
        assert isinstance(frame, pd.DataFrame)
        assert len(frame) > 0
        assert frame.columns.is_unique


@pytest.mark.parametrize("kind", KINDS)
def test_dir_names_the_fields_and_methods_of_the_result_and_nothing_of_pydantic(results, kind):
    result = results[kind]
    names = {name for name in dir(result) if not name.startswith("_")}
    assert {"summary", "to_frame"} <= names
    if isinstance(result, Result):
        fields = set(type(result).model_fields) - {"kind", "schema_version"}
        assert fields <= names
        assert not {name for name in names if name.startswith("model_")} | names & {"dict", "json", "copy"}


def test_a_cell_escapes_what_a_file_is_called(curves):
    named = rlscale.curves_from_frame(curves.to_pandas(), source="<script>alert(1)</script>")
    assert "<script>" not in getattr(named, CELL)()
    assert "&lt;script&gt;" in getattr(named, CELL)()


def test_the_summary_of_a_fit_gives_its_widest_interval_and_the_bootstraps(stored):
    table = stored.summary()
    for name in ("nu", "alpha_N", "alpha_E", "beta", "N_opt_ref"):
        row = table.loc[name]
        assert row["estimate"] == getattr(stored, name)
        assert (row["low"], row["high"]) == stored.intervals_total[name]
        assert (row["bootstrap_low"], row["bootstrap_high"]) == stored.intervals[name]
    assert table.loc["nu", "systematic"] == stored.systematic["nu"]
    assert table.loc["log10_N_c", ["low", "high"]].tolist() == list(stored.intervals["log10_N_c"])


def test_a_fit_without_draws_has_no_interval_and_no_draws(curves):
    fit = rlscale.JointScalingFit(replicates=0).fit(curves)
    assert fit.total_interval("nu") is None
    assert fit.summary()[["low", "high"]].isna().all(axis=None)
    assert re.match(r"nu = [\d.]+, ", fit.headline())
    assert fit.draws().empty


def test_points_and_draws_are_those_of_the_fit(stored):
    points = stored.to_frame()
    assert points.columns.tolist()[:3] == ["N", "E", "return"]
    np.testing.assert_array_equal(points["return"], stored.points.return_)
    draws = stored.draws()
    assert len(draws) == stored.bootstrap.replicates
    np.testing.assert_allclose(draws["nu"], stored.bootstrap.nu)
    low, high = stored.intervals["nu"]
    np.testing.assert_allclose(np.quantile(draws["nu"], [0.05, 0.95]), [low, high], atol=1e-3)


def test_a_forecast_is_reached_from_the_fit_and_has_a_row_for_each_compute(few):
    mine = few.forecast([1e9, 1e13], env_cost=100.0)
    assert mine == rlscale.forecast(few, [1e9, 1e13], env_cost=100.0)
    table = mine.to_frame()
    assert table["compute"].tolist() == [1e9, 1e13]
    assert table["N_opt"].tolist() == [item.N_opt for item in mine.forecasts]
    assert table["N_opt_low"].tolist() == [item.intervals_total["N_opt"][0] for item in mine.forecasts]
    assert table["return_extrapolated"].tolist() == [False, True]
    assert few.forecast(returns=[0.9, 0.95]).to_frame()["return"].tolist() == [0.9, 0.95]
    assert "*" in str(mine)


def test_a_backtest_lists_every_held_out_point(results):
    backtest = results["backtest"]
    assert isinstance(backtest, BacktestResult)
    frame = backtest.to_frame()
    assert len(frame) == sum(len(each.points.N) for each in backtest.splits)
    weight = frame["weight"] / frame["weight"].sum()
    error = (weight * (frame["predicted"] - frame["return"]).abs()).sum()
    assert backtest.summary()["mean_absolute"].iloc[0] == pytest.approx(error)


def test_columns_of_different_length_are_refused_before_they_become_a_frame(stored):
    assert isinstance(stored.points, Columns)
    assert frame_of_columns(stored.points).shape == (stored.num_binned_points, 8)


def test_curves_survive_a_round_trip_through_a_data_frame():
    curves = rlscale.load_curves(DATA / "mnist_width" / "curves.parquet")
    frame = curves.to_pandas()
    assert frame.columns.is_unique
    again = rlscale.curves_from_frame(frame)
    np.testing.assert_array_equal(again.returns, curves.returns)
    np.testing.assert_array_equal(again.interactions, curves.interactions)
    assert again.run_ids == curves.run_ids
    pd.testing.assert_frame_equal(again.table, curves.table, check_dtype=False)
