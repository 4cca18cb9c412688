"""Laws with and without runs that collapsed, from Python, the command line and in the report."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import run

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.health import health_figure
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.reports.health import HealthSection
from rlscale.analysis.reports.report import render
from rlscale.analysis.studies.health.runs import assess_health
from rlscale.analysis.studies.health.study import fit_with_health, used_for
from rlscale.scaling.errors import InputError

SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), noise=0.01, points=60)
POINT = JointScalingFit(replicates=0)


@pytest.fixture(scope="module")
def curves() -> Curves:
    """Two of three runs of each of the three largest sizes collapse at 10% of training, and measured it."""
    whole = SWEEP.curves(np.random.default_rng(0))
    ill_runs = [run for run in range(whole.num_runs) if whole.run_sizes[run] >= whole.sizes[-3] and run % 3]
    last = max(whole.interactions)
    ill = np.isin(whole.run_index, ill_runs) & (whole.interactions > 0.1 * last)
    returns = np.where(ill, 0.2 * whole.returns, whole.returns)
    return replace(
        whole.with_returns(returns),
        metrics={
            "policy_variance": np.where(ill, 1e-4, 0.08),
            "policy_approximate_rank": np.where(ill, 2.0, 20.0),
            "policy_features": np.full(whole.num_points, 64.0),
            "policy_preactivation_norm": np.where(ill, 300.0, 10.0),
        },
    )


@pytest.fixture(scope="module")
def source(curves, tmp_path_factory):
    path = tmp_path_factory.mktemp("health") / "curves.parquet"
    curves_frame(curves).assign(**curves.metrics).to_parquet(path)
    return path


def test_metrics_are_read_beside_the_returns(curves, source):
    found = load_curves(source)
    assert set(found.metrics) == set(curves.metrics)
    for name, values in curves.metrics.items():
        np.testing.assert_array_equal(found.metric(name), values)
    assert np.isnan(found.metric("excess_ratio")).all()


def test_the_law_without_collapsed_runs_is_that_of_the_healthy_sweep(curves):
    truth = SWEEP.law.nu
    used, kept = fit_with_health(curves, POINT)
    assert used is curves
    nus = {how: refit.nu for how, refit in kept.health.refits.items()}
    assert nus["keep"] == kept.nu
    assert abs(nus["cut"] - truth) < 0.05
    assert abs(nus["drop"] - truth) < 0.05
    assert abs(nus["keep"] - truth) > 0.2
    assert "unhealthy_runs" in kept.warning_codes
    assert [run.state for run in kept.health.runs] == ["collapsed"] * 6
    assert {frozenset(run.signs) for run in kept.health.runs} == {frozenset({"return", "variance", "rank"})}
    assert kept.health.num_healthy == 12


@pytest.mark.parametrize("how", ["cut", "drop"])
def test_a_treated_fit_says_so_and_is_of_what_is_left(curves, how):
    used, fit = fit_with_health(curves, POINT, how)
    assert fit.num_points == used.num_points < curves.num_points
    assert fit.num_runs == (18 if how == "cut" else 12)
    assert fit.nu == POINT.fit(used).nu == fit.health.refits[how].nu
    assert fit.options["unhealthy"] == how
    assert "unhealthy_runs" not in fit.warning_codes
    assert used_for(curves, fit).num_points == used.num_points


def test_a_healthy_sweep_is_fitted_as_ever():
    whole = SWEEP.curves(np.random.default_rng(1))
    used, fit = fit_with_health(whole, POINT, "drop")
    assert used is whole
    assert (fit.health.runs, fit.health.refits, fit.health.num_healthy) == ([], {}, 18)
    assert fit.model_copy(update={"health": None, "options": POINT.fit(whole).options}) == POINT.fit(whole)


def test_too_few_healthy_sizes_are_refused_with_the_remedy(curves):
    every = np.where(curves.interactions > 0.3 * curves.interactions.max(), 0.1, 1.0)
    with pytest.raises(InputError, match=r"With unhealthy runs treated by drop: .* Or keep them\.") as error:
        fit_with_health(curves.with_returns(curves.returns * every), POINT, "drop")
    assert error.value.code == "too_few_sizes"


def test_the_command_prints_each_law_and_stores_them(source, tmp_path):
    out = tmp_path / "fit.json"
    done = run("fit", source, "--bootstrap", 0, "--unhealthy", "cut", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "By their returns and representations, 12 runs are healthy, 6 collapsed." in done.stdout
    for words in ("Runs that do not train well", "With and without them", "lost its return from"):
        assert words in done.stdout
    stored = json.loads(out.read_text())
    assert stored["options"]["unhealthy"] == "cut"
    assert set(stored["health"]["refits"]) == {"keep", "cut", "drop"}
    assert len(stored["health"]["runs"]) == 6


def test_an_unknown_treatment_is_refused(source):
    done = run("fit", source, "--unhealthy", "heal")
    assert done.returncode == 2
    assert "--unhealthy 'heal' is not known: choose keep or cut or drop." in " ".join(done.stderr.split())


def test_the_report_has_a_page_of_health(curves, tmp_path):
    used, fit = fit_with_health(curves, POINT, "cut")
    section = HealthSection(curves, assess_health(curves))
    page = render(used, fit, [], health=section)
    for words in (">Health of the runs</h2>", "unhealthy runs until they fell ill (this report)"):
        assert words in page
    assert page.count("<td>collapsed</td>") == 6
    assert "Health of the runs" not in render(used, fit, [])
    write_figure(health_figure(curves, section.health), tmp_path / "health.png")
    assert (tmp_path / "health.png").stat().st_size > 10_000
