"""Policies beside independent computations of sampling, densities, entropies and divergences."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, Independent, Normal, TransformedDistribution, kl_divergence
from torch.distributions.transforms import TanhTransform
from torch.nn import functional as F

from rlscale.scaling.models.distributions import LEAST_DEVIATION, action_head, log_slope
from rlscale.scaling.tasks.catalog import Continuous, Discrete, MultiDiscrete

BOX = Continuous((-2.0, 0.0), (1.0, 4.0))
SPACES = (Discrete(4), MultiDiscrete((3, 2, 4)), BOX)
HEADS = [action_head(space) for space in SPACES] + [action_head(BOX, "normal")]


def outputs_of(head, *batch, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, head.num_outputs, generator=generator, dtype=dtype)


@pytest.mark.parametrize("head", HEADS)
def test_shapes_and_types_are_those_that_the_head_says(head):
    rng = np.random.default_rng(0)
    policy = head(outputs_of(head, 7, dtype=torch.float32))
    action = policy.sample(head.noise(rng, 7))
    assert (action.shape, action.dtype) == ((7, *head.shape), head.dtype)
    assert head.for_task(action).shape == action.shape
    rows = head(outputs_of(head, 2, 3, dtype=torch.float32))
    assert rows.log_prob(action[:6].reshape(2, 3, *head.shape)).shape == (2, 3)
    assert rows.entropy().shape == rows.kl_from(rows).shape == (2, 3)


@pytest.mark.parametrize("head", HEADS)
def test_entropy_and_divergence_are_means_over_samples(head):
    draws = 200_000
    outputs, old_outputs = outputs_of(head, 1), outputs_of(head, 1, seed=1)
    policy, old = head(outputs.expand(draws, -1)), head(old_outputs.expand(draws, -1))
    action = old.sample(head.noise(np.random.default_rng(0), draws))
    surprise, gain = -old.log_prob(action), old.log_prob(action) - policy.log_prob(action)
    for sample, exact in ((surprise, old.entropy()[0]), (gain, policy.kl_from(old)[0])):
        error = sample.std() / draws**0.5
        assert abs(sample.mean() - exact) < 4.5 * error
    assert policy.kl_from(policy).abs().max() < 1e-12


@pytest.mark.parametrize("entropy_weight", [0.0, -0.7])
@pytest.mark.parametrize("head", HEADS)
def test_slopes_are_the_gradients_of_autograd(head, entropy_weight):
    outputs = (2 * outputs_of(head, 5, 3)).requires_grad_()
    policy, rng = head(outputs), np.random.default_rng(1)
    action = head(outputs.flatten(0, 1)).sample(head.noise(rng, 15)).unflatten(0, (5, 3)).detach()
    weight = torch.from_numpy(rng.standard_normal((5, 3)))
    total = (weight * policy.log_prob(action) + entropy_weight * policy.entropy()).sum()
    (expected,) = torch.autograd.grad(total, outputs, retain_graph=True)
    with torch.no_grad():
        found = policy.slopes(action, weight, entropy_weight)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_choices_are_drawn_independently_and_in_the_order_of_the_space():
    head = action_head(MultiDiscrete((2, 3)))
    logits = torch.log(torch.tensor([[0.3, 0.7, 0.2, 0.5, 0.3]])).expand(60_000, -1)
    policy = head(logits)
    action = policy.sample(head.noise(np.random.default_rng(0), 60_000)).numpy()
    counts = np.histogram2d(action[:, 0], action[:, 1], bins=(2, 3))[0]
    expected = np.outer([0.3, 0.7], [0.2, 0.5, 0.3]) * 60_000
    assert stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 1e-3
    one = Categorical(logits=logits[:1, :2]).log_prob(torch.tensor([1]))
    other = Categorical(logits=logits[:1, 2:]).log_prob(torch.tensor([2]))
    assert policy.log_prob(torch.tensor([[1, 2]]))[0].item() == pytest.approx((one + other).item(), rel=1e-6)


def torchs(outputs):
    mean, raw = outputs.chunk(2, -1)
    return TransformedDistribution(
        Normal(mean, F.softplus(raw) + LEAST_DEVIATION), TanhTransform(cache_size=1)
    )


def test_the_log_density_of_tanh_normal_is_torchs():
    head = action_head(Continuous((-1.0,) * 3, (1.0,) * 3))
    outputs = outputs_of(head, 50)
    x = outputs_of(head, 50, seed=1)[:, :3]
    ours = head(outputs).log_prob(x)
    torch.testing.assert_close(ours, torchs(outputs).log_prob(torch.tanh(x)).sum(-1), rtol=1e-9, atol=1e-9)


def test_the_divergence_of_tanh_normals_is_that_of_the_normals():
    head = action_head(Continuous((-1.0,) * 2, (1.0,) * 2))
    new, old = outputs_of(head, 5), outputs_of(head, 5, seed=1)
    expected = kl_divergence(*(Independent(torchs(o).base_dist, 1) for o in (old, new)))
    torch.testing.assert_close(head(new).kl_from(head(old)), expected)


def test_the_divergence_of_choices_is_finite_and_has_a_gradient_where_a_probability_rounds_to_zero():
    """KL((1/2, 1/2) || softmax(1000, 0)) = 500 - ln 2; its gradient is softmax(1000, 0) - (1/2, 1/2)."""
    logits = torch.tensor([1000.0, 0.0], requires_grad=True)
    head = action_head(Discrete(2))
    divergence = head(logits).kl_from(head(torch.zeros(2)))
    divergence.backward()
    assert divergence.item() == pytest.approx(500 - np.log(2))
    assert logits.grad.tolist() == pytest.approx([0.5, -0.5])
    assert head(torch.zeros(2)).kl_from(head(logits.detach())).item() == pytest.approx(np.log(2))


def test_elsewhere_the_divergence_of_choices_is_torchs_bit_for_bit():
    new, old = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0))
    expected = kl_divergence(Categorical(logits=old), Categorical(logits=new))
    head = action_head(Discrete(6))
    assert torch.equal(head(new).kl_from(head(old)), expected)


@pytest.mark.parametrize("mean", [0.0, 0.7, -3.0])
@pytest.mark.parametrize("deviation", [0.01, 0.5, 1.5])
def test_the_entropy_of_tanh_normal_is_its_integral(mean, deviation):
    raw = np.log(np.expm1(deviation - LEAST_DEVIATION))
    policy = action_head(Continuous((-1.0,), (1.0,)))(torch.tensor([mean, raw], dtype=torch.float64))
    normal = stats.norm(mean, deviation)
    slope = normal.expect(lambda x: 2 * (np.log(2) - x - np.logaddexp(0, -2 * x)))
    assert policy.entropy().item() == pytest.approx(normal.entropy() + slope, abs=2e-3)


def test_densities_are_finite_where_tanh_rounds_to_one():
    x = torch.tensor([-200.0, -20.0, 0.0, 20.0, 200.0], requires_grad=True)
    slope = log_slope(x)
    slope.sum().backward()
    assert slope[2].item() == pytest.approx(0.0, abs=1e-6)
    assert slope[3].item() == pytest.approx(2 * np.log(2) - 40, rel=1e-6)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(x.grad).all()


def test_a_normal_policy_is_torchs_normal_of_what_was_stored():
    head = action_head(Continuous((-3.0,) * 2, (1.0,) * 2), "normal")
    outputs, old_outputs = outputs_of(head, 50), outputs_of(head, 50, seed=1)
    torchs_own, old = (Independent(Normal(o[:, :2], o[:, 2:].exp()), 1) for o in (outputs, old_outputs))
    x = 3 * outputs_of(head, 50, seed=2)[:, :2]
    policy = head(outputs)
    torch.testing.assert_close(policy.log_prob(x), torchs_own.log_prob(x))
    torch.testing.assert_close(policy.entropy(), torchs_own.entropy())
    torch.testing.assert_close(policy.kl_from(head(old_outputs)), kl_divergence(old, torchs_own))
    torch.testing.assert_close(policy.parameters(), torch.cat([outputs[:, :2], outputs[:, 2:].exp()], -1))


def test_a_normal_policys_actions_are_cut_at_the_bounds_and_as_they_are_between():
    head = action_head(BOX, "normal")
    actions = head.for_task(torch.tensor([[0.0, 0.0], [0.5, -0.5], [1.1, 9.0], [-1.1, -9.0]]))
    np.testing.assert_allclose(actions[:2], [[-0.5, 2.0], [0.25, 1.0]], rtol=1e-6)
    np.testing.assert_array_equal(actions[2:], np.array([[1.0, 4.0], [-2.0, 0.0]], np.float32))


def test_continuous_actions_are_scaled_to_the_bounds_and_stay_within():
    head = action_head(Continuous((-2.0, 0.0), (1.0, 0.1)))
    actions = head.for_task(torch.tensor([[0.0, 0.0], [50.0, 50.0], [-50.0, -50.0]]))
    np.testing.assert_allclose(actions[0], [-0.5, 0.05], rtol=1e-6)
    np.testing.assert_array_equal(actions[1], np.array([1.0, 0.1], np.float32))
    np.testing.assert_array_equal(actions[2], np.array([-2.0, 0.0], np.float32))
