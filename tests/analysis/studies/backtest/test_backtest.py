"""A backtest predicts what it never saw, says how well, and says when it tests nothing."""

import io
import json

import numpy as np
import pytest
from command_line import run
from rich.console import Console

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.figures.backtest import backtest_figure
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.extended_map import ExtendedMap
from rlscale.analysis.formatting.backtest import reach_text, said, summary, verdict
from rlscale.analysis.reports.backtest import (
    BacktestSection,
    backtest_figures,
    default_section,
    section_context,
)
from rlscale.analysis.reports.figures import png_of
from rlscale.analysis.studies.backtest.result import BacktestResult
from rlscale.analysis.studies.backtest.splits import (
    cutoff_for,
    default_splits,
    held_out_rows,
    hold_out_compute,
    hold_out_sizes,
)
from rlscale.analysis.studies.backtest.study import backtest
from rlscale.scaling.errors import InputError
from rlscale.terminal.backtest import print_backtest

SIZES = tuple(4e4 * 2.0 ** np.arange(7))
POINT = JointScalingFit(replicates=0)
DRAWN = JointScalingFit(replicates=20)


def sweep(shape: str = "linear", noise: float = 0.0, seeds: int = 1, sizes=SIZES, points: int = 60) -> Curves:
    made = SyntheticSweep(sizes=sizes, seeds=seeds, points=points, noise=noise, shape=shape)
    return made.curves(np.random.default_rng(0))


@pytest.fixture(scope="module")
def noisy() -> Curves:
    return sweep(noise=0.02, seeds=2)


@pytest.fixture(scope="module")
def result(noisy) -> BacktestResult:
    return backtest(noisy, default_splits(noisy, DRAWN), DRAWN)


@pytest.mark.parametrize("shape", ["linear", "saturating"])
def test_without_noise_held_out_returns_are_predicted_within_a_hundredth(shape):
    curves = sweep(shape)
    splits = [hold_out_sizes(curves, 2), hold_out_compute(curves, cutoff_for(curves, 1 / 3, POINT))]
    for found in backtest(curves, splits, POINT).splits:
        error = np.abs(np.array(found.points.predicted) - found.points.return_)
        assert error.max() < 1e-2
        assert found.returns.mean_absolute < found.returns.naive_mean_absolute / 5
        assert found.optimum.against_full_fit < 0.01
        assert found.frontier is not None
        assert found.frontier.mean_absolute < 1e-2


@pytest.mark.parametrize("kind", ["sizes", "compute"])
def test_held_out_returns_never_reach_a_prediction(noisy, kind):
    split = hold_out_sizes(noisy, 1) if kind == "sizes" else hold_out_compute(noisy, 1e13)
    rows = held_out_rows(noisy, split)
    assert 0 < rows.sum() < len(rows)
    altered = noisy.returns.copy()
    altered[rows] = np.random.default_rng(1).permutation(altered[rows]) * 3 + 7
    one, other = (
        backtest(curves, [split], DRAWN).splits[0] for curves in (noisy, noisy.with_returns(altered))
    )
    assert one.points != other.points
    # Rows are summed in the order of their returns, so the E of an average may differ in its last digit.
    for name in ("E", "predicted", "low", "high", "naive", "beyond_map"):
        np.testing.assert_allclose(getattr(one.points, name), getattr(other.points, name), rtol=1e-12)
    assert one.training == other.training
    optima = [[point.N_opt for point in found.optimum_points] for found in (one, other)]
    np.testing.assert_allclose(*optima, rtol=1e-12)


def test_the_two_parts_of_a_split_are_all_rows_and_share_none(noisy):
    for split in default_splits(noisy, POINT):
        rows = held_out_rows(noisy, split)
        train, test = noisy.with_rows(~rows), noisy.with_rows(rows)
        assert train.num_points + test.num_points == noisy.num_points
        compute = train.run_sizes[train.run_index] * train.interactions
        if split.cutoff is not None:
            assert compute.max() <= split.cutoff
        else:
            assert not set(train.sizes) & set(split.sizes)


def test_held_out_compute_lies_beyond_the_cutoff_and_the_frontier_reaches_it(result):
    found = result.splits[1]
    compute = np.array(found.points.N) * np.array(found.points.E)
    assert compute.min() > found.split.cutoff * 0.999
    assert found.frontier is not None
    assert min(found.frontier_points.compute) > found.split.cutoff
    assert found.beyond_map_share > 0.5
    assert any("a guess" in warning for warning in found.warnings)


def test_intervals_hold_the_prediction_and_most_of_what_was_held_out(result):
    for found in result.splits:
        points = found.points
        assert np.all(np.array(points.low) <= np.array(points.high))
        assert found.returns.coverage > 0.5
        errors = np.array(points.predicted) - points.return_
        assert found.returns.mean_absolute == pytest.approx(np.average(np.abs(errors), weights=points.weight))
        assert found.returns.bias == pytest.approx(np.average(errors, weights=points.weight))


def test_what_a_split_cannot_test_is_said():
    """The largest size is never best here: all are trained equally long and too short for it."""
    made = SyntheticSweep(sizes=SIZES, seeds=1, points=60, N_c=1e-5).curves(np.random.default_rng(0))
    found = backtest(made, [hold_out_sizes(made, 1)], POINT).splits[0]
    assert found.frontier is None
    assert any("best at no compute" in warning for warning in found.warnings)
    assert any("does not determine the exponents" in warning for warning in found.warnings)


def test_the_map_continues_on_the_scale_that_looking_back_prefers():
    x = np.linspace(0, 8, 400)
    weight = np.full(400, 1 / 400)
    for scale, returns in (("failure", 1 - np.exp(-0.4 * x)), ("linear", 0.05 + 0.1 * x)):
        made = ExtendedMap.through(x[:300], returns[:300], weight[:300])
        assert made.scale == scale
        np.testing.assert_allclose(made.return_of(x), returns, atol=5e-3)
        assert made.beyond(x).sum() == pytest.approx(100, abs=3)
    assert ExtendedMap.through(x, 40 * x - 3, weight).scale == "linear"


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda c: hold_out_sizes(sweep(sizes=SIZES[:3]), 1), "has 3 sizes: holding out 1 leaves fewer"),
        (lambda c: hold_out_sizes(c, 0), "count must be 1 or more"),
        (lambda c: hold_out_compute(c, 1e30), "lies outside the compute of"),
        (lambda c: hold_out_compute(c, float("nan")), "lies outside the compute of"),
        (lambda c: hold_out_compute(c, 1.1e11), "sizes have points below the cutoff"),
        (lambda c: cutoff_for(c, 1.5, POINT), "share must be above 0"),
    ],
)
def test_splits_that_cannot_be_are_refused(noisy, attempt, message):
    with pytest.raises(InputError, match=message):
        attempt(noisy)


def test_a_backtest_survives_json_and_prints_within_80_columns(result):
    assert BacktestResult.model_validate_json(result.model_dump_json()) == result
    console = Console(width=80, record=True, file=io.StringIO())
    print_backtest(result, console)
    text = console.export_text()
    for words in ("Held out: the largest size", "Held out: compute above", "baseline", "N_opt"):
        assert words in text
    assert "…" not in text


def test_what_a_backtest_says_depends_on_whether_predictions_hold(result):
    by_size, by_compute = result.splits
    assert "It holds in the backtest over" in reach_text(result.splits)
    assert "No backtest in compute" in reach_text([by_size])
    worse = by_compute.returns.model_copy(update={"naive_mean_absolute": 0.0})
    narrow = by_compute.returns.model_copy(update={"coverage": 0.5})
    for returns in (worse, narrow):
        failed = by_compute.model_copy(update={"returns": returns})
        assert "But it fails the backtest over" in reach_text([by_size, failed])
    assert f"copying the next size: {by_size.returns.naive_mean_absolute:.2g}" in said(by_size)
    assert ", 20 draws)" in summary(by_size, 20)


def test_the_report_shows_the_default_backtest_or_says_why_not(noisy):
    fit = JointScalingFit(replicates=0).fit(noisy)
    section = default_section(noisy, fit, draws=0)
    assert [item["title"][:11] for item in section_context(section)] == ["the largest", "compute abo"]
    assert section.result.splits == backtest(noisy, None, POINT).splits  # as rlscale backtest
    figures = backtest_figures(section)
    assert [figure.name for figure in figures] == ["backtest_sizes", "backtest_compute"]
    assert png_of(figures[0].make(noisy, fit), dpi=40).startswith(b"\x89PNG")
    few = sweep(sizes=SIZES[:3])
    refused = default_section(few, JointScalingFit(replicates=0).fit(few))
    assert refused.result is None
    assert refused.skipped.startswith("No backtest was made: synthetic has 3 sizes")
    assert backtest_figures(refused) == []
    assert section_context(BacktestSection(None)) == []


def test_both_panels_are_drawn_without_a_bootstrap():
    curves = sweep()
    found = backtest(curves, [hold_out_sizes(curves, 1)], POINT).splits[0]
    assert found.returns.coverage is None
    left, right, *_ = backtest_figure(found, size="params").axes
    assert left.get_xlabel().startswith("Environment interactions")
    assert "N_{opt}" in right.get_ylabel()


def test_laws_are_scored_on_the_same_points_with_differences_from_ours(noisy, result):
    found = backtest(noisy, [hold_out_compute(noisy, 1e14)], POINT, laws=True, law_draws=4).splits[0]
    scores = {score.name: score for score in found.laws}
    assert set(scores) == {"lemma", "neighbour", "copying", "shifted", "anchored", "chinchilla", "sigmoid"}
    assert scores["neighbour"].mean_absolute == pytest.approx(found.returns.mean_absolute, rel=0.05)
    assert scores["copying"].mean_absolute == pytest.approx(found.returns.naive_mean_absolute, rel=0.05)
    for always in found.predictors:
        assert always.mean_absolute == pytest.approx(scores[always.name].mean_absolute, rel=0.05)
    assert [s.mean_absolute for s in found.laws] == sorted(s.mean_absolute for s in found.laws)
    for name, score in scores.items():
        expected = score.mean_absolute - scores["lemma"].mean_absolute
        assert score.difference == pytest.approx(expected)
        assert (score.difference_interval is None) == (name == "lemma")
    assert verdict(found.laws).startswith("Best here:")
    console = Console(width=80, record=True, file=io.StringIO())
    longest = [score.model_copy(update={"mean_absolute": 0.00975}) for score in found.laws]
    shown = found.model_copy(update={"laws": longest})
    print_backtest(result.model_copy(update={"splits": [shown]}), console)
    assert "…" not in console.export_text()


def test_the_command_writes_what_it_prints_and_refuses_what_it_cannot_do(tmp_path, noisy):
    path, out = tmp_path / "curves.csv", tmp_path / "backtest.json"
    curves_frame(noisy).to_csv(path, index=False)
    done = run("backtest", path, "--hold-out-sizes", 1, "--bootstrap", 0, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "Held out: the largest size" in done.stdout
    value = json.loads(out.read_text())
    assert value["kind"] == "rlscale backtest"
    assert value["splits"][0]["split"]["sizes"] == [SIZES[-1]]
    refused = run("backtest", path, "--compute-cutoff", "1e12", "--cutoff-share", "0.2")
    assert refused.returncode == 2
    assert "give one of them" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
