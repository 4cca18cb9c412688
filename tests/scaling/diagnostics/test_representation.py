"""Metrics of a penultimate layer: known matrices, invariants, and independent computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlscale.scaling.diagnostics.representation import (
    absolute_rank,
    approximate_rank,
    dead_units,
    effective_rank,
    mean_norm,
    pytorch_rank,
    singular_values,
    srank,
)

seeds = st.integers(0, 2**32 - 1)


def ranks(features):
    sigma = singular_values(features)
    shape = tuple(features.shape)
    return {
        "approximate": approximate_rank(sigma),
        "effective": effective_rank(sigma),
        "srank": srank(sigma),
        "absolute": absolute_rank(sigma, shape[0]),
        "pytorch": pytorch_rank(sigma, shape),
    }


def random_features(seed, rows=40, units=12):
    return torch.randn(rows, units, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("units", "most"), [(512, 507), (64, 64)])
def test_identity_features_have_full_rank_up_to_the_share_of_one_percent(units, most):
    """floor(0.99 D) + 1 for the two ranks that count shares, D for the others."""
    assert most == math.floor(0.99 * units) + 1
    found = ranks(torch.eye(units))
    assert found.pop("effective") == pytest.approx(units, rel=1e-9)
    assert found == {"approximate": most, "srank": most, "absolute": units, "pytorch": units}


def test_the_absolute_rank_of_identity_features_falls_with_many_units():
    sigma = torch.ones(10_001, dtype=torch.float64)
    assert absolute_rank(sigma, 10_001) == 0  # 1/sqrt(N) is below 0.01
    assert absolute_rank(sigma[:9_000], 9_000) == 9_000


def test_features_of_rank_one_have_rank_one_by_every_definition():
    found = ranks(torch.outer(torch.linspace(1, 2, 50), torch.linspace(-1, 3, 9)))
    assert found.pop("effective") == pytest.approx(1.0, abs=1e-4)
    assert set(found.values()) == {1}


def test_zero_features_have_rank_zero_and_no_nan():
    assert set(ranks(torch.zeros(20, 6)).values()) == {0}


@given(seeds, st.floats(0.001, 1000))
def test_scaling_leaves_relative_ranks(seed, factor):
    features = random_features(seed)
    one, other = ranks(features), ranks(features * factor)
    assert one.pop("effective") == pytest.approx(other.pop("effective"), rel=1e-6)
    del one["absolute"], other["absolute"]
    assert one == other


def test_scaling_down_lowers_the_absolute_rank():
    features = random_features(0)
    assert ranks(features)["absolute"] == 12
    assert ranks(features * 1e-3)["absolute"] == 0


@given(seeds, st.integers(1, 30), st.integers(1, 30))
def test_singular_values_and_rank_are_those_of_numpy(seed, rows, units):
    features = random_features(seed, rows, units)
    expected = np.linalg.svd(features.numpy().astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(singular_values(features), expected, atol=1e-6 * expected[0])
    assert pytorch_rank(singular_values(features), (rows, units)) == torch.linalg.matrix_rank(features)


@given(seeds)
def test_ranks_lie_between_one_and_the_units_and_do_not_depend_on_order(seed):
    features = random_features(seed) @ torch.diag(torch.logspace(0, -3, 12))
    found = ranks(features)
    assert all(1 <= rank <= 12 + 1e-9 for rank in found.values())
    shuffled = ranks(features.flip(0)[:, torch.randperm(12, generator=torch.Generator().manual_seed(1))])
    assert found.pop("effective") == pytest.approx(shuffled.pop("effective"), rel=1e-6)
    assert found == shuffled


def test_thresholds_by_hand():
    """Squares 9, 1, 0.09 are shares 0.892, 0.991: two values are above 99% (0.9911). Values 3, 1, 0.3 are
    shares 0.698, 0.930, 1: three."""
    sigma = torch.tensor([3.0, 1.0, 0.3], dtype=torch.float64)
    assert (approximate_rank(sigma), srank(sigma)) == (2, 3)
    shares = np.array([3, 1, 0.3]) / 4.3
    assert effective_rank(sigma) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))
    assert absolute_rank(sigma, 2_500) == 2  # 0.06, 0.02, 0.006


def test_the_norm_is_the_mean_over_observations():
    assert mean_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]])) == 2.5


@pytest.mark.parametrize(
    ("activation", "values", "dead"),
    [
        ("relu", [[0.0, 0.0, 1.0], [0.0, 2.0, 1.0]], 1),  # a constant unit is not dead
        ("gelu", [[0.0, -0.1, 0.0], [0.0, 2.0, 1e-9]], 1),
        ("tanh", [[1.0, -1.0, 0.2], [1.0, 1.0, 0.2005]], 2),  # deviations 0, 1.4, 0.0004
        ("tanh", [[0.0, 0.0, 0.0], [0.002, 0.001, 1.0]], 1),  # deviations 0.0014, 0.0007, 0.7
        ("leaky-relu", [[-0.1, -0.1, 0.0], [-0.2, 1.0, -0.1]], 1),
    ],
)
def test_dead_units_by_activation(activation, values, dead):
    assert dead_units(torch.tensor(values), activation) == dead
