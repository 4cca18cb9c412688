"""What a fit finds of curves that follow the perceptron's equations."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from rlscale.analysis.figures.solvable.perceptron_family import family_figure, horizon_figure
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import read_fit
from rlscale.analysis.studies.solvable.perceptron_family import StudentFamily
from rlscale.analysis.studies.solvable.perceptron_recovery import (
    agreement,
    crossing_times,
    curves_of_equations,
    local_nu,
    recovered_exponents,
    recovered_sizes,
)
from rlscale.sweeps.specs.presets import find_spec
from rlscale.sweeps.specs.spec import expand

DATA = Path(__file__).parents[4] / "data" / "rl_perceptron"
FAMILY = StudentFamily(4096, 0.5, rho0=0.001)
LENGTHS = {size: int(6 * 256 * np.pi * size**0.5) for size in (32, 64, 128, 256, 512, 1024)}


@pytest.fixture(scope="module")
def curves():
    rng = np.random.default_rng(3)
    return curves_of_equations(
        lambda _: FAMILY, LENGTHS, seeds=3, students=512, rows_per_decade=20, rng=rng, first=200
    )


@pytest.fixture(scope="module")
def fit(curves):
    return JointScalingFit(replicates=100, check_replicates=20).fit(curves)


def test_curves_of_the_equations_have_their_design_and_follow_them(curves):
    assert curves.num_runs == 18
    assert curves.sizes.tolist() == list(LENGTHS)
    e, _ = curves.curve(int(np.flatnonzero(curves.run_sizes == 32)[0]))
    assert (e[0], e[-1]) == (200, LENGTHS[32])
    for each in agreement(curves, FAMILY):
        assert abs(each.relative_error) < 0.01
        assert each.largest_difference < 0.006


def test_agreement_sees_curves_that_are_wrong(curves):
    wrong = curves.with_returns(0.5 + 1.05 * (curves.returns - 0.5))
    for each, right in zip(agreement(wrong, FAMILY), agreement(curves, FAMILY), strict=True):
        assert each.relative_error == pytest.approx(1.05 * (1 + right.relative_error) - 1)


def test_a_fit_finds_the_exponents_and_the_sizes(fit):
    assert fit.identified
    by_name = {each.name: each for each in recovered_exponents(fit, FAMILY.law())}
    assert list(by_name) == ["nu", "alpha_N", "alpha_E", "beta"]
    assert by_name["nu"].estimate == pytest.approx(2 / 3, abs=0.02)
    assert by_name["alpha_N"].estimate == pytest.approx(0.5, rel=0.06)
    assert by_name["alpha_E"].estimate == pytest.approx(1.0, rel=0.06)
    for each in recovered_sizes(fit, FAMILY, [1e6, 1e7]):
        assert each.truth == pytest.approx(FAMILY.law().N_opt(float(each.name[6:-1])), rel=0.01)
        assert each.estimate == pytest.approx(each.truth, rel=0.05)
        assert each.inside == (each.interval[0] <= each.truth <= each.interval[1])


def test_the_slope_of_the_optimal_size_between_computes_is_nu():
    assert local_nu(FAMILY, (1e6, 1e7)) == pytest.approx(2 / 3, abs=1e-3)


def test_crossings_that_were_measured_are_put_beside_the_equations():
    families = {1.0: StudentFamily(4096, 0.5, 1), 4.0: StudentFamily(4096, 0.5, 4)}
    found = crossing_times([(0.55, 64, 1.0, 900.0), (0.55, 64, 4.0, None)], families)
    assert [(each.horizon, each.measured) for each in found] == [(1.0, 900.0)]
    assert families[1.0].returns(64, found[0].exact) == pytest.approx(0.55, abs=1e-6)


def test_figures_show_every_size_and_horizon(curves, fit):
    figure = family_figure(curves, fit, FAMILY)
    assert isinstance(figure, Figure)
    left, right, *_ = figure.axes
    assert len([line for line in left.lines if len(line.get_xdata()) == 200]) == len(LENGTHS)
    assert [text.get_text() for text in right.get_legend().texts] == ["equations", "fit", "90% interval"]
    families = {h: StudentFamily(4096, 0.5, int(h)) for h in (1.0, 2.0, 4.0)}
    times = crossing_times([(0.55, 64, h, 900.0) for h in families], families)
    left, right = horizon_figure(times, families, 64).axes
    assert left.get_xticks().tolist() == [1, 2, 4]
    assert [text.get_text() for text in right.get_legend().texts] == ["$T = 1$", "$T = 2$", "$T = 4$"]


def test_the_stored_fit_of_the_measured_sweep_holds_the_true_exponent():
    fit = read_fit(DATA / "fit.json")
    by_name = {each.name: each.inside for each in recovered_exponents(fit, FAMILY.law())}
    assert by_name["nu"]
    assert by_name["beta"]
    assert by_name["alpha_N"]
    assert fit.identified


@pytest.mark.parametrize(
    ("preset", "file"), [("rl-perceptron", "curves"), ("rl-perceptron-horizon", "horizon")]
)
def test_the_measured_curves_are_those_of_the_presets(preset, file):
    stored = set(pq.read_table(DATA / f"{file}.parquet", columns=["run_id"]).column("run_id").to_pylist())
    assert stored == {config.run_id for config in expand(find_spec(preset))}
