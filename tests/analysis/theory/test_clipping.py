"""The two-state example of the clip: golden values of the paper's setting, and what always holds."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.theory.clipping import two_state_ratios


@pytest.mark.parametrize(
    ("feature", "alpha", "theta", "last"),
    [
        (0.3, 3.0, (0.0, 0.0), (1.1339, 1.3834)),
        (1.0, 3.0, (0.0, 0.0), (1.6351, 1.9780)),
        (1.0, -1.0, (0.0, 0.0), (0.8872, 1.1128)),
        (0.3, 0.5, (0.0, 0.0), (1.1993, 1.1007)),
        (0.11631, 3.0, (0.51526, -0.44138), (1.1032, 1.2534)),
    ],
)
def test_golden_values_after_twenty_updates(feature, alpha, theta, last):
    ratios = two_state_ratios(feature, alpha, theta=theta)
    assert ratios.shape == (21, 2)
    np.testing.assert_allclose(ratios[0], 1.0)
    np.testing.assert_allclose(ratios[-1], last, atol=5e-5)


def test_opposed_features_interfere():
    first = two_state_ratios(1.0, -1.0)[1]
    np.testing.assert_allclose(first, [1.6351, 0.3649], atol=5e-5)
    swings = two_state_ratios(0.3, -1.0)
    np.testing.assert_allclose(
        [swings.min(axis=0), swings.max(axis=0)], [[1, 0.9298], [1.0702, 1]], atol=5e-5
    )


features = st.floats(0.05, 1.5)


@given(features, st.floats(0.1, 4.0))
def test_aligned_features_only_raise_both_ratios(feature, alpha):
    assert np.all(np.diff(two_state_ratios(feature, alpha), axis=0) >= -1e-12)


@given(features, st.floats(-2.0, 3.0), st.floats(0.05, 0.5))
def test_a_step_raises_its_own_state_or_is_zero_because_it_is_clipped(feature, alpha, clip):
    ratios = two_state_ratios(feature, alpha, clip=clip)
    for update, (before, after) in enumerate(itertools.pairwise(ratios)):
        state = update % 2
        if before[state] >= 1 + clip:
            np.testing.assert_array_equal(after, before)
        else:
            assert after[state] >= before[state] - 1e-12


def test_the_logits_follow_gradient_ascent_on_the_clipped_objective():
    """One update against a numerical gradient of min(rho, clip(rho)) in theta."""
    f, step = 0.7, 1.5

    def probability(theta):
        logits = np.array(theta) * f
        return np.exp(logits[0]) / np.exp(logits).sum()

    old, h = probability((0.2, -0.1)), 1e-6
    gradient = [
        (probability((0.2 + h, -0.1)) - probability((0.2 - h, -0.1))) / (2 * h * old),
        (probability((0.2, -0.1 + h)) - probability((0.2, -0.1 - h))) / (2 * h * old),
    ]
    moved = (0.2 + step * gradient[0], -0.1 + step * gradient[1])
    found = two_state_ratios(f, 2.0, theta=(0.2, -0.1), step=step, updates=1)[1, 0]
    assert found == pytest.approx(probability(moved) / old, rel=1e-6)


def test_a_state_without_features_never_moves():
    np.testing.assert_array_equal(two_state_ratios(0.5, 0.0)[:, 1], 1.0)
