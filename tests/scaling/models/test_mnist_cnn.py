"""The family ``mnist-cnn``: sizes, initial weights, and arithmetic that is faster but the same."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rlscale.scaling.config.model import ModelConfig, step_size
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import Inputs, Network
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.models.mnist_cnn import MnistCnn, max_pool_2x2, mnist_cnn_shape
from rlscale.scaling.models.trunk import normed
from rlscale.scaling.tasks.catalog import Discrete


def network(width=0.2, depth=1, shape=(1, 28, 28), outputs=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    trunk = MnistCnn(mnist_cnn_shape(width, depth), shape, generator)
    return Network(trunk, {"logits": outputs}, generator)


def output(net, observation):
    """(batch, outputs) of single observations (batch, channels, height, width)."""
    none = torch.zeros(observation.shape[0], 1)
    return net(Inputs(observation[:, None], none, none[:, :0]))[:, 0]


@pytest.mark.parametrize("width", [0.025, 0.2, 1.0])
@pytest.mark.parametrize("depth", [1, 3])
def test_each_units_weights_have_exactly_the_norm_of_their_layer(width, depth):
    net = network(width, depth)
    trunk = net.trunk
    scales = [(trunk.conv1, 1.0), (trunk.conv2, 1.0), *((layer, 1.4) for layer in trunk.dense)]
    for layer, scale in [*scales, (net.heads["logits"], 0.1)]:
        norms = layer.weight.detach().double().flatten(1).square().sum(1).sqrt()
        np.testing.assert_allclose(norms.numpy(), scale, rtol=1e-6)
        assert layer.bias.abs().max() == 0.0


def test_normed_weights_have_a_deviation_of_scale_over_the_root_of_the_fan_in():
    layer = normed(nn.Linear(400, 300), 1.4, torch.Generator().manual_seed(0))
    assert layer.weight.std().item() == pytest.approx(1.4 / math.sqrt(400), rel=0.01)


def test_one_seed_gives_one_network_and_policy_and_value_differ():
    one, same, other = (
        build_actor_critic(
            ModelConfig(width=0.1), (1, 8, 8), Discrete(10), torch.Generator().manual_seed(seed)
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(one.policy.trunk.dense[0].weight, same.policy.trunk.dense[0].weight)
    assert not torch.equal(one.policy.trunk.dense[0].weight, other.policy.trunk.dense[0].weight)
    assert not torch.equal(one.policy.trunk.dense[0].weight, one.value.trunk.dense[0].weight)


@pytest.mark.parametrize("depth", [1, 2])
def test_weights_are_drawn_layer_by_layer_the_policys_then_the_values(depth):
    """Stored runs start again from their seed: the order of the draws is part of what a run is."""
    model = build_actor_critic(
        ModelConfig(width=0.1, depth=depth), (1, 8, 8), Discrete(10), torch.Generator().manual_seed(7)
    )
    generator = torch.Generator().manual_seed(7)
    for net, outputs in ((model.policy, 10), (model.value, 1)):
        dense = [nn.Linear(8 * 2 * 2, 100), *(nn.Linear(100, 100) for _ in range(depth - 1))]
        layers = [
            (nn.Conv2d(1, 4, 5), 1.0),
            (nn.Conv2d(4, 8, 3), 1.0),
            *((layer, 1.4) for layer in dense),
            (nn.Linear(100, outputs), 0.1),
        ]
        expected = [normed(layer, scale, generator).weight for layer, scale in layers]
        weights = [weight for name, weight in net.named_parameters() if name.endswith("weight")]
        for one, other in zip(weights, expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("width", "channels", "dense"),
    [(1, (40, 80), 1000), (0.025, (1, 2), 25), (0.125, (5, 10), 125), (math.sqrt(8), (113, 226), 2828)],
)
def test_width_multiplies_channels_and_dense_units(width, channels, dense):
    shape = mnist_cnn_shape(width, 1)
    assert (shape.channels, shape.dense) == (channels, dense)


def test_width_without_a_channel_is_an_input_error_with_the_least_width():
    with pytest.raises(InputError, match=r"0\.0125"):
        mnist_cnn_shape(0.0124, 1)
    assert mnist_cnn_shape(0.0125, 1).channels == (1, 1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (1, 9, 11)])
@pytest.mark.parametrize("depth", [1, 2])
def test_networks_fit_images_of_any_size(shape, depth):
    net = network(0.1, depth, shape)
    observation = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    assert net.trunk(observation).shape == (3, net.trunk.num_features) == (3, 100)
    assert output(net, observation).shape == (3, 10)
    assert output(net, observation).dtype == torch.float32


def test_forward_is_conv_relu_pool_conv_relu_pool_dense_relu_head():
    net = network(0.2, 2)
    observation = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    x = observation.double() / 255
    for conv in (net.trunk.conv1, net.trunk.conv2):
        padding = conv.weight.shape[-1] // 2
        x = F.max_pool2d(F.relu(F.conv2d(x, conv.weight.double(), conv.bias.double(), padding=padding)), 2)
    x = x.flatten(1)
    for layer in net.trunk.dense:
        x = F.relu(x @ layer.weight.double().T + layer.bias.double())
    head = net.heads["logits"]
    expected = x @ head.weight.double().T + head.bias.double()
    np.testing.assert_allclose(
        output(net, observation).detach().numpy(), expected.detach().numpy(), atol=1e-5
    )


@pytest.mark.parametrize("size", [(28, 28), (14, 14), (7, 9), (8, 5), (2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_without_gradients_is_torchs_bit_for_bit(size, layout):
    x = torch.randn(3, 5, *size, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    with torch.no_grad():
        ours = max_pool_2x2(x)
    assert torch.equal(ours, F.max_pool2d(x, 2))
    assert torch.equal(ours, max_pool_2x2(x))


def test_outputs_are_the_same_with_and_without_gradients():
    net = network(0.2)
    observation = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        without = output(net, observation)
    np.testing.assert_allclose(output(net, observation).detach().numpy(), without.numpy(), atol=1e-6)


def test_memory_layout_changes_neither_the_function_nor_its_gradient():
    net = network(0.2)
    assert net.trunk.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    plain = network(0.2).to(memory_format=torch.contiguous_format)
    assert not plain.trunk.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    observation = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8)
    outputs = [output(each, observation) for each in (net, plain)]
    np.testing.assert_allclose(outputs[0].detach().numpy(), outputs[1].detach().numpy(), atol=1e-5)
    for each in outputs:
        each.square().sum().backward()
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("width", [0.025, 0.25, 1.0, 2.0, math.sqrt(8)])
def test_step_size_falls_as_one_over_the_root_of_the_width(width):
    assert step_size(3e-4, ModelConfig(width=width)) == pytest.approx(3e-4 * width**-0.5, rel=1e-12)


@pytest.mark.parametrize("width", [0.0125, 0.025, 0.08, 0.1, 0.25])
def test_two_networks_side_by_side_compute_what_each_computes_alone(width):
    generator = torch.Generator().manual_seed(3)
    model = build_actor_critic(ModelConfig(width=width, depth=2), (1, 28, 28), Discrete(10), generator)
    observation = torch.randint(0, 256, (37, 1, 28, 28), generator=generator, dtype=torch.uint8)
    weights = torch.randn(37, 10, generator=generator)
    policy, value = model.policy, model.value

    def outputs_and_gradients(logits, values):
        gradients = torch.autograd.grad(
            (logits * weights).sum() + values.square().sum(), list(model.parameters())
        )
        return [logits, values, *gradients]

    features = policy.trunk.features_of_both(value.trunk, observation)
    together = outputs_and_gradients(policy.heads["logits"](features[0]), value.heads["value"](features[1]))
    apart = outputs_and_gradients(output(policy, observation), output(value, observation))
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
