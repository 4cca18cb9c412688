"""Norms, variance and churn."""

import numpy as np
import pytest
import torch

from rlscale.scaling.diagnostics.movement import global_norm, policy_variance, value_churn
from rlscale.scaling.models.distributions import CategoricalHead, MultiCategoricalHead, TanhNormalHead


def test_the_norm_runs_over_all_tensors():
    assert float(global_norm([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])])) == 5.0
    assert float(global_norm([])) == 0.0


def test_a_policy_that_is_the_same_everywhere_has_no_variance_whatever_its_entropy():
    same = CategoricalHead(3)(torch.zeros(5, 3)).parameters()
    assert policy_variance(same) == pytest.approx(0.0, abs=1e-15)
    sure = CategoricalHead(2)(torch.tensor([[100.0, 0.0], [0.0, 100.0]])).parameters()
    assert policy_variance(sure) == pytest.approx(0.5)  # of 0 and 1, unbiased


def test_the_parameters_of_every_kind_of_policy():
    outputs = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    choices = MultiCategoricalHead([2, 2])(outputs).parameters()
    torch.testing.assert_close(choices, torch.full((1, 4), 0.5))
    normal = TanhNormalHead([-1.0, -1.0], [1.0, 1.0])(outputs).parameters()
    deviation = np.log1p(np.e) + 1e-3
    np.testing.assert_allclose(normal, [[0.0, 0.0, deviation, deviation]], rtol=1e-6)


def test_value_churn_is_a_mean_absolute_change():
    assert value_churn(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.0])) == 1.5
