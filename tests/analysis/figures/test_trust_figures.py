"""Figures show the numbers that they are given."""

import math

import numpy as np

from rlscale.analysis.figures.trust import plot_band, plot_two_states
from rlscale.analysis.theory.clipping import two_state_ratios


def test_the_two_states_are_the_lines_and_the_clip_the_dotted_ones():
    ax = plot_two_states(0.3, 3.0)
    low, high, x, y = ax.lines
    assert (low.get_ydata()[0], high.get_ydata()[0]) == (0.9, 1.1)
    np.testing.assert_array_equal(np.transpose([x.get_ydata(), y.get_ydata()]), two_state_ratios(0.3, 3.0))


def test_a_band_holds_all_runs_and_skips_what_none_measured():
    nan = math.nan
    ax = plot_band([1, 2, 3, 4], [[1.0, nan, 5.0, nan], [3.0, nan, nan, 8.0]], colour="black")
    [mean] = ax.lines
    np.testing.assert_array_equal(mean.get_xydata(), [[1, 2], [3, 5], [4, 8]])
    low, high = ax.collections[0].get_datalim(ax.transData).intervaly
    assert (low, high) == (1.0, 8.0)


def test_a_geometric_mean_is_that_of_logarithms():
    ax = plot_band([1], [[1.0], [100.0]], colour="black", geometric=True)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [10.0])
