"""Ratios after an update, and divergences, exact and from samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlscale.scaling.diagnostics.trust import kl_k1, kl_k3, ratio_statistics
from rlscale.scaling.models.distributions import CategoricalHead, NormalHead, TanhNormalHead

log_ratios = st.lists(st.floats(-3, 3), min_size=1, max_size=50).map(torch.tensor)


def test_ratios_by_hand():
    found = ratio_statistics(torch.log(torch.tensor([0.5, 0.7, 1.0, 1.15, 1.3, 1.5])), 0.2)
    assert found == pytest.approx(
        {
            "ratio_max": 1.5,
            "ratio_min": 0.5,
            "ratio_mean": 6.15 / 6,
            "ratio_std": math.sqrt(sum((x - 6.15 / 6) ** 2 for x in (0.5, 0.7, 1, 1.15, 1.3, 1.5)) / 6),
            "ratio_above": 1.4,
            "ratio_below": 0.6,
            "excess_ratio": 1.4 / 0.6,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize(
    ("ratios", "clip", "absent"),
    [
        ([1.0, 1.1], 0.2, {"ratio_above", "ratio_below", "excess_ratio"}),
        ([1.0, 1.5], 0.2, {"ratio_below", "excess_ratio"}),
        ([0.1, 1.1], 0.2, {"ratio_above", "excess_ratio"}),
        ([0.1, 9.0], 0.0, {"ratio_above", "ratio_below", "excess_ratio"}),  # no clipping, no bound
    ],
)
def test_what_is_not_defined_is_absent(ratios, clip, absent):
    found = ratio_statistics(torch.log(torch.tensor(ratios)), clip)
    assert {"ratio_above", "ratio_below", "excess_ratio"} - set(found) == absent


@given(log_ratios, st.floats(0.05, 0.5))
def test_the_excess_ratio_is_at_least_that_of_the_clip(log_ratio, clip):
    found = ratio_statistics(log_ratio, clip)
    assert found.get("excess_ratio", math.inf) >= (1 + clip) / (1 - clip)
    tolerance = 1e-9 * found["ratio_max"]
    assert found["ratio_min"] - tolerance <= found["ratio_mean"] <= found["ratio_max"] + tolerance


@given(log_ratios)
def test_k3_is_never_negative_and_no_update_is_no_divergence(log_ratio):
    assert kl_k3(log_ratio) >= 0
    assert kl_k1(torch.zeros(3)) == kl_k3(torch.zeros(3)) == 0


def test_ratios_stay_finite_where_a_probability_vanishes():
    log_ratio = torch.tensor([-math.inf, -200.0, 300.0])
    found = ratio_statistics(log_ratio, 0.1)
    assert (found["ratio_min"], found["ratio_max"]) == pytest.approx((1e-7, 1e9))
    assert math.isfinite(kl_k1(log_ratio))
    assert math.isfinite(kl_k3(log_ratio))


BOUNDS = [-1.0, -2.0], [1.0, 2.0]


@pytest.mark.parametrize("head", [CategoricalHead(4), TanhNormalHead(*BOUNDS), NormalHead(*BOUNDS)])
def test_both_estimates_agree_with_the_exact_divergence(head):
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(1, 4, generator=generator).expand(200_000, 4)
    old, new = head(outputs), head(outputs + 0.3 * torch.randn(4, generator=generator))
    action = old.sample(head.noise(np.random.default_rng(1), 200_000))
    log_ratio = new.log_prob(action) - old.log_prob(action)
    exact = float(new.kl_from(old).mean())
    for estimate in (kl_k1(log_ratio), kl_k3(log_ratio)):
        assert estimate == pytest.approx(exact, abs=5 * float(log_ratio.std()) / 200_000**0.5)
