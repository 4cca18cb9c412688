"""Interquartile means and performance profiles, by the definitions of Agarwal et al. 2021."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.statistics.seeds import (
    interquartile_mean,
    interquartile_mean_interval,
    performance_profile,
    performance_profile_band,
)

SCORES = st.lists(st.floats(-100, 100), min_size=5, max_size=30).map(np.array)


def test_a_quarter_is_left_out_at_each_end():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, -50.0, 4.0, 5.0, 6.0])) == pytest.approx(3.5)
    # Of five scores one is left out at each end, as scipy and rliable round.
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 1e9])) == pytest.approx(2.0)


@given(SCORES, st.floats(0.1, 10), st.floats(-5, 5))
def test_it_lies_within_the_scores_and_follows_their_scale(scores, factor, shift):
    middle = float(interquartile_mean(scores))
    assert scores.min() - 1e-9 <= middle <= scores.max() + 1e-9
    assert interquartile_mean(factor * scores + shift) == pytest.approx(factor * middle + shift, abs=1e-6)


@given(SCORES)
def test_a_profile_falls_from_all_runs_to_none(scores):
    levels = np.linspace(scores.min() - 1, scores.max() + 1, 40)
    profile = performance_profile(scores, levels)
    assert profile[0] == 1
    assert profile[-1] == 0
    assert (np.diff(profile) <= 0).all()
    counted = [sum(score > level for score in scores.tolist()) / len(scores) for level in levels.tolist()]
    assert profile.tolist() == pytest.approx(counted)


def test_intervals_hold_the_truth_nine_times_in_ten_and_narrow_with_seeds():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        low, high = interquartile_mean_interval(rng.normal(size=40))
        held.append(low <= 0 <= high)
    assert 0.83 <= np.mean(held) <= 0.96
    few, many = (np.ptp(interquartile_mean_interval(rng.normal(size=count))) for count in (10, 160))
    assert many < 0.5 * few


def test_a_band_holds_its_profile_and_is_the_same_again():
    scores, levels = np.random.default_rng(1).normal(size=12), np.linspace(-2, 2, 9)
    low, high = performance_profile_band(scores, levels)
    profile = performance_profile(scores, levels)
    assert (low <= profile).all()
    assert (profile <= high).all()
    assert np.array_equal(performance_profile_band(scores, levels), [low, high])


def test_seeds_that_agree_leave_no_interval():
    assert interquartile_mean_interval(np.full(6, 0.25)) == (0.25, 0.25)
