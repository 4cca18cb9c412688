"""The report's sections on the paper's further questions, from the command line and from one fit."""

import numpy as np
import pytest
from command_line import run
from horizon_sweep import horizon_frame

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.formatting.numbers import typeset_number
from rlscale.analysis.reports.figures import svg_of
from rlscale.analysis.reports.report import render
from rlscale.analysis.reports.studies import ENV_COST_RATIOS, horizon_section, studies_context, study_figures
from rlscale.analysis.studies.with_studies import estimator_of, with_studies
from rlscale.scaling.errors import InputError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Curves that know all three measures of size and their FLOPs."""
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), noise=0.01, points=50)
    frame = curves_frame(sweep.curves(np.random.default_rng(0)))
    n = frame["num_params"]
    path = tmp_path_factory.mktemp("studies") / "curves.parquet"
    frame.assign(
        num_params_total=2 * n, flops_forward=40 * n**0.9, flops_per_interaction=300 * n**0.9
    ).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def studied(source):
    """The curves, and a fit of them with every study."""
    curves = load_curves(source)
    fit = JointScalingFit(replicates=20).fit(curves)
    return curves, with_studies(curves, fit, periods=True, size_measures=True, metric="auto")


def test_the_report_shows_every_study_that_a_fit_has(studied):
    page = render(*studied, [])
    for heading in (
        "What a return takes",
        "When interactions cost more than the agent",
        "Periods of training",
        "What counts as size",
        "Natural metrics of performance",
    ):
        assert f">{heading}</h2>" in page
    assert ">The horizon</h2>" not in page


def test_the_figures_of_the_studies_can_be_drawn(studied):
    figures = study_figures(studied[1])
    assert [item.name for item in figures] == ["periods", "natural_metric"]
    for item in figures:
        assert svg_of(item.make(*studied)).startswith("<?xml")


# -- pieces -----------------------------------------------------------------------


def test_the_table_of_the_environments_cost_agrees_with_the_law(source):
    fit = JointScalingFit(replicates=0).fit(load_curves(source))
    rows = studies_context(fit)["env_cost"]
    for ratio, row in zip(ENV_COST_RATIOS, rows, strict=True):
        assert row["ratio"] == typeset_number(ratio)
        _, overspend = fit.law.env_cost_overspend(fit.compute_ref, ratio * fit.N_opt_ref)
        assert float(row["overspend"]) == pytest.approx(overspend, rel=5e-3)
        assert row["overspend_interval"] == "unknown"


def test_a_stored_fit_is_made_again_by_its_options(source):
    estimator = JointScalingFit(replicates=20, seed=5, early_exclusion=1 / 32)
    assert estimator_of(estimator.fit(load_curves(source))) == estimator


def test_studies_are_added_only_once(studied):
    curves, fit = studied
    again = with_studies(curves, fit, periods=True, size_measures=True)
    assert again.size_measures is fit.size_measures
    assert again.periods is fit.periods
    with pytest.raises(InputError, match="is not known"):
        with_studies(curves, fit, metric="loss")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    path = tmp_path_factory.mktemp("several") / "curves.parquet"
    horizon_frame((1.0, 8.0), noise=0.05, points=40, last=1e7).to_parquet(path)
    return path


def test_the_report_of_several_horizons_shows_their_study_and_says_which_is_fitted(several, tmp_path):
    out = tmp_path / "report.html"
    done = run("report", several, "--horizon", 8, "--out", out, "--bootstrap", 20, "--no-backtest")
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert ">The horizon</h2>" in text
    assert "<i>h</i> = 8" in text
    assert "Interactions to a return of" in text
    folder = tmp_path / "report_figures"
    for name in ("horizon_interactions", "horizon_optimum"):
        assert (folder / f"{name}.png").exists()


def test_what_prevents_a_study_becomes_a_sentence(several):
    curves = load_curves(several, horizon=1)
    fit = JointScalingFit(replicates=0).fit(curves)
    assert horizon_section({1.0: curves}, 1.0, fit) is None
    other = load_curves(several, horizon=8)
    section = horizon_section({1.0: curves, 0.5: other}, 1.0, fit)
    assert section.result is None
    assert "No study of the horizon was made: A horizon of 0.5" in section.skipped
    assert study_figures(fit, section) == []
    assert studies_context(fit, section)["horizon"]["fits"] == []
