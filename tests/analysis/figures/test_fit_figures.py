"""Figures say what they show, in units, and leave the caller's matplotlib alone."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.figures import fit as plots
from rlscale.analysis.figures import nu as plots_nu
from rlscale.analysis.figures.style import new_figure, return_axis, return_scale_for, size_colours
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.formatting.numbers import compact_count

SIZES = tuple(4e4 * 2.0 ** np.arange(8))
FIT_PLOTS = {
    plots.plot_intrinsic: ("interactions", "Intrinsic performance"),
    plots.plot_frontier: ("Compute", "Return"),
    plots.plot_optimal_size: ("Compute", "Optimal parameters"),
    plots.plot_monotone_map: ("Intrinsic performance", "Return"),
    plots.plot_residuals: ("interactions", "Residual"),
    plots.plot_residuals_by_size: ("parameters", "Residual"),
    plots_nu.plot_nu: ("Exponent", "draws"),
    plots_nu.plot_nu_choices: ("Exponent", ""),
}


@pytest.fixture(scope="module")
def curves():
    return SyntheticSweep(sizes=SIZES, noise=0.02, points=80).curves(np.random.default_rng(0))


@pytest.fixture(scope="module")
def fit(curves):
    return JointScalingFit(replicates=20).fit(curves)


def drawn(ax) -> list[str]:
    """Labels of the ticks that are shown."""
    ax.figure.canvas.draw()
    return [text.get_text() for text in (*ax.get_xticklabels(), *ax.get_yticklabels()) if text.get_text()]


@pytest.mark.parametrize("plot", FIT_PLOTS, ids=lambda plot: plot.__name__)
def test_axes_are_labelled_and_have_readable_ticks(fit, plot):
    ax = plot(fit)
    x, y = FIT_PLOTS[plot]
    assert x.lower() in ax.get_xlabel().lower()
    assert y.lower() in ax.get_ylabel().lower()
    assert len(drawn(ax)) >= 4


@pytest.mark.parametrize("plot", FIT_PLOTS, ids=lambda plot: plot.__name__)
def test_draws_on_the_axes_given_and_returns_them(fit, plot):
    ax = Figure().add_subplot()
    assert plot(fit, ax=ax) is ax
    assert ax.has_data()


def test_compute_is_named_with_its_unit(fit):
    assert "parameters × interactions" in plots.plot_optimal_size(fit).get_xlabel()
    flops = fit.model_copy(update={"provenance": fit.provenance.model_copy(update={"size": "flops"})})
    ax = plots.plot_optimal_size(flops)
    assert "FLOPs × interactions" in ax.get_xlabel()
    assert "Optimal FLOPs" in ax.get_ylabel()


def test_tick_labels_do_not_overlap(fit, curves):
    for ax in (plots.plot_learning_curves(curves), *(plot(fit) for plot in FIT_PLOTS)):
        ax.figure.canvas.draw()
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            shown = [box for box in boxes if ax.figure.bbox.overlaps(box)]
            assert not any(a.overlaps(b) for i, a in enumerate(shown) for b in shown[i + 1 :])


def test_every_size_has_its_line_its_band_and_its_name(curves):
    ax = plots.plot_learning_curves(curves)
    (key,) = [artist for artist in ax.get_children() if isinstance(artist, Legend)]
    assert [text.get_text() for text in key.get_texts()] == [compact_count(n) for n in SIZES[::-1]]
    assert len(ax.collections) == len(SIZES)


def test_rows_before_a_late_start_are_pale(curves):
    start = float(np.median(curves.interactions))
    ax = plots.plot_learning_curves(curves, not_before=start)
    pale = [line.get_xdata() for line in ax.lines if line.get_alpha() == 0.3]
    assert len(pale) == len(SIZES)
    assert max(x.max() for x in pale) < start


def test_many_sizes_get_a_colour_bar():
    sizes = tuple(1e4 * 1.5 ** np.arange(14))
    curves = SyntheticSweep(sizes=sizes, points=20).curves(np.random.default_rng(0))
    ax = plots.plot_learning_curves(curves)
    assert len(ax.figure.axes) == 2
    assert "Parameters" in ax.figure.axes[1].get_ylabel()


def test_colours_get_steadily_lighter_with_size():
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in size_colours(SIZES)]
    assert np.all(np.diff(lightness) > 0)


def test_seed_bands_hold_mean_and_range_of_the_seeds():
    curves = SyntheticSweep(sizes=(1e4, 1e5, 1e6), seeds=3, points=30).curves(np.random.default_rng(0))
    shift = np.repeat([-0.1, 0.0, 0.1] * 3, 30)
    bands = plots.seed_bands(curves.with_returns(curves.returns + shift))
    assert [band.size for band in bands] == [1e4, 1e5, 1e6]
    for band, clean in zip(bands, plots.seed_bands(curves), strict=True):
        np.testing.assert_allclose(band.mean, clean.mean)
        np.testing.assert_allclose(band.high - band.mean, 0.1)
        np.testing.assert_allclose(band.mean - band.low, 0.1)


def test_the_optimum_is_solid_within_the_data_and_dashed_beyond(fit):
    ax = plots.plot_optimal_size(fit)
    end = fit.range.C[1]
    solid = [line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 10]
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert max(solid[0].get_xdata()) == pytest.approx(end)
    assert min(dashed[0].get_xdata()) == pytest.approx(end)
    assert max(dashed[0].get_xdata()) > 100 * end
    assert "extrapolated" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_total_interval_is_pale_and_that_of_seeds_dark_within_it(fit):
    wide = [one.model_copy(update={"nu": fit.nu + 0.2}) for one in fit.exclusion_fits]
    ax = plots.plot_optimal_size(fit.model_copy(update={"exclusion_fits": wide}))
    total, seeds = (band.get_paths()[0].get_extents() for band in ax.collections[:2])
    assert (total.y0, total.y1) == pytest.approx((min(total.y0, seeds.y0), max(total.y1, seeds.y1)))
    assert total.height > 1.2 * seeds.height
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"90% interval", "of seeds alone"} <= set(labels)


def test_without_a_bootstrap_there_is_no_band(curves):
    bare = JointScalingFit(replicates=0).fit(curves)
    labels = [text.get_text() for text in plots.plot_optimal_size(bare).get_legend().get_texts()]
    assert "90% interval" not in labels
    assert any("no bootstrap" in text.get_text() for text in plots_nu.plot_nu(bare).texts)


def test_a_dot_without_a_smaller_rival_is_hollow(fit):
    short = SyntheticSweep(sizes=SIZES, max_interactions=3e6, points=60).curves(np.random.default_rng(0))
    short_fit = JointScalingFit(replicates=0).fit(short)
    labels = [text.get_text() for text in plots.plot_optimal_size(short_fit).get_legend().get_texts()]
    assert "next smaller ended" in labels


def test_residuals_show_misfit(fit):
    assert np.sqrt(np.mean(plots.residuals_of(fit) ** 2)) < 0.3
    n = np.asarray(fit.points.N)
    bent = np.asarray(fit.points.mapped_intrinsic) * np.where(n == n.max(), 100.0, 1.0)
    points = fit.points.model_copy(update={"mapped_intrinsic": bent.tolist()})
    assert np.median(plots.residuals_of(fit.model_copy(update={"points": points}))[n == n.max()]) > 1.5


@pytest.mark.parametrize(
    ("returns", "accuracy", "scale"),
    [
        ([0.3, 0.9, 0.97], False, "failure"),
        ([0.1, 0.2, 0.99], False, "linear"),
        ([0.1, 0.2, 0.99], True, "failure"),
        ([0.1, 0.2, 0.3], True, "linear"),
        ([-3.0, 0.9, 0.97], False, "linear"),
        ([2.0, 9.0, 9.9], True, "linear"),
    ],
)
def test_accuracies_near_one_are_spaced_by_their_failure_rate(returns, accuracy, scale):
    assert return_scale_for(returns, accuracy=accuracy) == scale


def test_on_the_failure_scale_labels_are_returns_and_higher_is_better():
    ax = new_figure().add_subplot()
    ax.plot([0, 1, 2], [0.0, 0.9, 0.99])
    return_axis(ax.yaxis, [0.0, 0.9, 0.99], scale="failure")
    assert {"0", "0.5", "0.9", "0.99"} <= set(drawn(ax))
    low, middle, high = (ax.transData.transform((0, r))[1] for r in (0.0, 0.9, 0.99))
    assert high - middle == pytest.approx(middle - low)


def test_a_perfect_batch_does_not_stretch_the_failure_scale():
    ax = new_figure().add_subplot()
    return_axis(ax.yaxis, [*np.linspace(0.5, 0.97, 2000), 1.0], scale="failure")
    assert ax.get_ylim()[1] < 0.98


def test_settings_of_the_caller_stay_as_they_are(fit):
    before = dict(mpl.rcParams)
    plots.plot_frontier(fit)
    assert dict(mpl.rcParams) == before


def test_neither_pyplot_nor_a_display_is_touched():
    check = (
        "import sys, rlscale.analysis.reports.report; "
        "print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
