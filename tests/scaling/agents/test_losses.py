"""The decoupled objective against the paper's form, sample by sample."""

import math

import numpy as np
import pytest
import torch

from rlscale.scaling.agents.losses import explained_variance, policy_loss, policy_loss_slope, value_loss

OPTIONS = {"clip": 0.2, "kl_penalty": 0.0, "importance_cap": 100.0}


def paper_loss(new, behaviour, proximal, advantage, *, clip, kl_penalty, importance_cap):
    """-mean (pi_prox/pi_behav) min(r A, clip(r) A) + beta mean (log r)^2 / 2, with r = pi/pi_prox."""
    total = 0.0
    for logp, logp_b, logp_p, a in zip(new, behaviour, proximal, advantage, strict=True):
        pi, pi_b, pi_p = math.exp(logp), math.exp(logp_b), math.exp(logp_p)
        if importance_cap > 0 and pi / pi_b > importance_cap:
            pi_b = pi / importance_cap
        r = pi / pi_p
        inner = r * a
        if clip > 0:
            inner = min(inner, min(max(r, 1 - clip), 1 + clip) * a)
        total += -(pi_p / pi_b) * inner + kl_penalty * 0.5 * math.log(r) ** 2
    return total / len(advantage)


def random_batch(seed, spread=0.5, size=64):
    rng = np.random.default_rng(seed)
    proximal = rng.uniform(-3, -0.1, size)
    new, behaviour = proximal + rng.normal(0, spread, (2, size))
    return [torch.tensor(x, dtype=torch.float64) for x in (new, behaviour, proximal, rng.normal(0, 1, size))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip", [0.0, 0.05, 0.2, 0.9])
@pytest.mark.parametrize("kl_penalty", [0.0, 1.0])
@pytest.mark.parametrize("importance_cap", [0.0, 1.1, 100.0])
def test_loss_equals_the_papers_form(seed, clip, kl_penalty, importance_cap):
    batch = random_batch(seed)
    options = {"clip": clip, "kl_penalty": kl_penalty, "importance_cap": importance_cap}
    loss, _ = policy_loss(*batch, **options)
    assert loss.item() == pytest.approx(paper_loss(*(x.tolist() for x in batch), **options), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip", [0.0, 0.05, 0.2, 0.9])
@pytest.mark.parametrize("kl_penalty", [0.0, 1.0])
@pytest.mark.parametrize("importance_cap", [0.0, 1.1, 100.0])
@pytest.mark.parametrize("is_averaged", [True, False])
def test_the_slope_of_the_loss_is_that_of_autograd(seed, clip, kl_penalty, importance_cap, is_averaged):
    new, behaviour, proximal, advantage = random_batch(seed)
    batch = new.requires_grad_(), behaviour, proximal if is_averaged else behaviour, advantage
    options = {"clip": clip, "kl_penalty": kl_penalty, "importance_cap": importance_cap}
    loss, expected = policy_loss(*batch, **options)
    with torch.no_grad():
        slope, diagnostics = policy_loss_slope(*batch, **options)
    torch.testing.assert_close(slope, torch.autograd.grad(loss, new)[0], rtol=1e-12, atol=1e-15)
    assert diagnostics.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(diagnostics[name].to(value.dtype), value, rtol=1e-12, atol=1e-15)


def test_without_an_ewma_the_loss_is_that_of_ppo():
    """With proximal = behaviour: -mean min(r A, clip(r) A), r = pi/pi_behaviour."""
    new, behaviour, _, advantage = random_batch(1)
    loss, _ = policy_loss(new, behaviour, behaviour, advantage, **OPTIONS)
    ratio = np.exp(new.numpy() - behaviour.numpy())
    ppo = np.minimum(ratio * advantage.numpy(), np.clip(ratio, 0.8, 1.2) * advantage.numpy())
    assert loss.item() == pytest.approx(-ppo.mean(), rel=1e-12)


def test_importance_cap_bounds_the_weight_and_keeps_the_gradient():
    new = torch.tensor([math.log(0.5)], dtype=torch.float64, requires_grad=True)
    behaviour = torch.tensor([math.log(0.5) - math.log(1e4)], dtype=torch.float64)
    loss, diagnostics = policy_loss(
        new, behaviour, new.detach(), torch.tensor([-2.0]), clip=0.0, kl_penalty=0.0, importance_cap=100.0
    )
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert new.grad.item() == pytest.approx(200.0)
    assert diagnostics["importance_fraction"].item() == 1.0


def test_importance_cap_zero_bounds_nothing():
    new, behaviour = torch.tensor([-0.5]), torch.tensor([-12.5])
    loss, diagnostics = policy_loss(
        new, behaviour, new, torch.tensor([1.0]), clip=0.0, kl_penalty=0.0, importance_cap=0.0
    )
    assert loss.item() == pytest.approx(-math.exp(12.0), rel=1e-5)
    assert diagnostics["importance_fraction"].item() == 0.0


def test_clip_zero_leaves_the_importance_weighted_advantage():
    new, behaviour, proximal, advantage = random_batch(2)
    loss, diagnostics = policy_loss(
        new, behaviour, proximal, advantage, clip=0.0, kl_penalty=0.0, importance_cap=0.0
    )
    assert loss.item() == pytest.approx(
        -np.mean(np.exp(new.numpy() - behaviour.numpy()) * advantage.numpy()), rel=1e-12
    )
    assert diagnostics["clip_fraction"].item() == 0.0


def test_gradient_of_the_kl_term_is_the_log_ratio_over_the_batch_size():
    new, behaviour, proximal, _ = random_batch(3)
    new.requires_grad_()
    nothing = torch.zeros_like(new)
    loss, _ = policy_loss(new, behaviour, proximal, nothing, clip=0.0, kl_penalty=1.7, importance_cap=100.0)
    loss.backward()
    expected = 1.7 * (new.detach().numpy() - proximal.numpy()) / new.numel()
    np.testing.assert_allclose(new.grad.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("clip", [0.0, 1 - 1e-12], ids=["eps off", "eps beyond every ratio"])
def test_without_clipping_and_kl_the_proximal_policy_does_not_matter(clip):
    new, behaviour, proximal, advantage = random_batch(4, spread=0.1)
    results = []
    for shift in (0.0, 0.15, -0.15):
        parameter = new.clone().requires_grad_()
        loss, _ = policy_loss(
            parameter,
            behaviour,
            proximal + shift,
            advantage,
            clip=clip,
            kl_penalty=0.0,
            importance_cap=100.0,
        )
        loss.backward()
        results.append((loss.item(), parameter.grad.numpy()))
    for loss, gradient in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-12)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-10)


def test_the_proximal_policy_matters_as_soon_as_it_clips_or_penalises():
    new, behaviour, proximal, advantage = random_batch(4)
    for options in ({"clip": 0.2, "kl_penalty": 0.0}, {"clip": 0.0, "kl_penalty": 1.0}):
        here, _ = policy_loss(new, behaviour, proximal, advantage, importance_cap=100.0, **options)
        there, _ = policy_loss(new, behaviour, proximal + 0.3, advantage, importance_cap=100.0, **options)
        assert abs(here.item() - there.item()) > 1e-3


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "moves"),
    [(0.3, 1.0, False), (0.3, -1.0, True), (-0.3, 1.0, True), (-0.3, -1.0, False), (0.1, 1.0, True)],
)
def test_clipping_stops_the_gradient_only_where_the_step_would_go_further_out(log_ratio, advantage, moves):
    new = torch.tensor([-1.0], requires_grad=True)
    other = new.detach() - log_ratio
    loss, _ = policy_loss(new, other, other, torch.tensor([advantage]), **OPTIONS)
    loss.backward()
    assert new.grad.item() == pytest.approx(-advantage * math.exp(log_ratio) if moves else 0.0, rel=1e-6)


def test_diagnostics_count_what_they_say():
    log_ratio = [0.3, 0.1, -0.1, -0.3]  # log 1.2 = 0.182, log 0.8 = -0.223
    proximal = torch.full((4,), -1.0, dtype=torch.float64)
    new = proximal + torch.tensor(log_ratio, dtype=torch.float64)
    behaviour = new - torch.tensor([5.0, 4.0, 0.0, 0.0], dtype=torch.float64)  # log 100 = 4.6
    _, diagnostics = policy_loss(new, behaviour, proximal, torch.ones(4), **OPTIONS)
    assert diagnostics["clip_fraction"].item() == 0.5
    assert diagnostics["importance_fraction"].item() == 0.25
    assert diagnostics["approx_kl"].item() == pytest.approx(0.5 * sum(x * x for x in log_ratio) / 4)


def test_value_loss_is_the_plain_mean_square():
    rng = np.random.default_rng(0)
    value, target = rng.normal(size=(2, 50))
    parameter = torch.tensor(value, requires_grad=True)
    loss, diagnostics = value_loss(parameter, torch.tensor(target))
    loss.backward()
    assert loss.item() == pytest.approx(sum((v - t) ** 2 for v, t in zip(value, target, strict=True)) / 50)
    np.testing.assert_allclose(parameter.grad.numpy(), 2 * (value - target) / 50, rtol=1e-12)
    assert diagnostics["value_loss"].item() == loss.item()


def test_explained_variance_is_one_less_the_share_that_is_left():
    rng = np.random.default_rng(0)
    value, target = rng.normal(size=(2, 7, 5))
    explained = explained_variance(torch.tensor(value), torch.tensor(target)).item()
    assert explained == pytest.approx(1 - np.var(target - value) / np.var(target), rel=1e-12)
    assert explained_variance(torch.tensor(target + 3.0), torch.tensor(target)).item() == pytest.approx(1.0)


def test_constant_targets_explain_no_variance_and_are_finite():
    assert explained_variance(torch.tensor([0.1, 0.4]), torch.tensor([1.0, 1.0])).item() == 0.0
