"""The proximal network against an explicit weighted sum."""

import numpy as np
import pytest
import torch
from torch import nn

from rlscale.scaling.agents.ewma import EwmaModel
from rlscale.scaling.config.agent import AgentConfig


def walk(layer, ewma, updates, seed=0):
    """Move the layer at random and update the average; returns all of the layer's weights so far."""
    rng = np.random.default_rng(seed)
    history = [layer.weight.detach().clone().numpy()]
    for _ in range(updates):
        with torch.no_grad():
            layer.weight.add_(torch.tensor(rng.normal(size=layer.weight.shape)))
        ewma.update()
        history.append(layer.weight.detach().clone().numpy())
    return history


@pytest.mark.parametrize("decay", [0.3, 8 / 9, 0.999])
def test_average_equals_the_explicit_weighted_sum(decay):
    layer = nn.Linear(3, 2).double()
    ewma = EwmaModel(layer, decay)
    history = walk(layer, ewma, 40)
    weights = decay ** np.arange(len(history) - 1, -1, -1.0)
    expected = sum(w * theta for w, theta in zip(weights, history, strict=True)) / weights.sum()
    np.testing.assert_allclose(ewma.network.weight.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("decay", [0.5, 8 / 9])
def test_total_weight_follows_its_closed_form(decay):
    ewma = EwmaModel(nn.Linear(1, 1), decay)
    assert ewma.weight == 1.0
    for t in range(1, 30):
        ewma.update()
        assert ewma.weight == pytest.approx((1 - decay ** (t + 1)) / (1 - decay), rel=1e-12)


def test_decay_zero_is_the_current_network_exactly():
    layer = nn.Linear(5, 4).double()
    ewma = EwmaModel(layer, 0.0)
    walk(layer, ewma, 7)
    assert torch.equal(ewma.network.weight, layer.weight)


def test_reset_forgets_the_past():
    layer = nn.Linear(5, 4).double()
    ewma = EwmaModel(layer, 0.9)
    walk(layer, ewma, 7)
    assert not torch.equal(ewma.network.weight, layer.weight)
    ewma.reset()
    assert ewma.weight == 1.0
    assert torch.equal(ewma.network.weight, layer.weight)
    assert torch.equal(ewma.network.bias, layer.bias)


def test_averages_take_no_gradient_and_leave_the_source_alone():
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    ewma = EwmaModel(layer, 0.9)
    ewma.update()
    assert not any(p.requires_grad for p in ewma.network.parameters())
    assert all(p.requires_grad for p in layer.parameters())
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("divisor", "decay"), [(1, 8 / 9), (4, 0.96970), (16, 0.99225), (64, 0.99805), (256, 0.99951)]
)
def test_centre_of_mass_of_8_times_c_reproduces_the_papers_decays(divisor, decay):
    centre = 8 * divisor
    assert centre / (1 + centre) == pytest.approx(decay, abs=5e-6)


@pytest.mark.parametrize("divisor", [1, 4, 16])
def test_average_lags_a_steady_ramp_by_its_centre_of_mass(divisor):
    centre = 8 * divisor
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    ewma = EwmaModel(layer, centre / (1 + centre))
    for step in range(1, 40 * centre):
        with torch.no_grad():
            layer.weight.fill_(step)
        ewma.update()
    assert layer.weight.item() - ewma.network.weight.item() == pytest.approx(centre, rel=1e-6)


def test_default_decay_has_a_centre_of_mass_of_one_iterations_minibatches():
    config = AgentConfig()
    assert config.ewma_decay / (1 - config.ewma_decay) == pytest.approx(config.minibatches)


def test_restored_average_goes_on_as_if_never_stopped():
    layer = nn.Linear(3, 3).double()
    ewma = EwmaModel(layer, 0.9)
    walk(layer, ewma, 5)
    restored = EwmaModel(layer, 0.9)
    restored.load_state_dict(ewma.state_dict())
    with torch.no_grad():
        layer.weight.mul_(1.5)
    ewma.update()
    restored.update()
    assert restored.weight == ewma.weight
    assert torch.equal(restored.network.weight, ewma.network.weight)
