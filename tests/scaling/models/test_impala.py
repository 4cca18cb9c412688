"""The family ``impala``: golden sizes, initial weights, and arithmetic that is faster but the same."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from rlscale.scaling.config.model import ModelConfig, step_size
from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.models.impala import ImpalaCnn, impala_shape, max_pool_3x3
from rlscale.scaling.tasks.catalog import Discrete
from rlscale.scaling.training.facts import run_columns

#: Of the default trunk on 64x64x3 images.
NUM_PARAMS = 622_144
#: Each stack's first convolution and its blocks' four, then the dense layer.
MACS = (
    9 * 64**2 * 3 * 16
    + 9 * 32**2 * (4 * 16 * 16 + 16 * 32)
    + 9 * 16**2 * (4 * 32 * 32 + 32 * 32)
    + 9 * 8**2 * 4 * 32 * 32
    + 32 * 8 * 8 * 256
)


def trunk(width=1.0, depth=2, shape=(3, 64, 64), seed=0):
    return ImpalaCnn(impala_shape(width, depth), shape, torch.Generator().manual_seed(seed))


def images(count, shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def num_params(net):
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(images(1, (3, 64, 64)))
    return counter.get_total_flops() / 2


def columns(architecture="shared", **model):
    return run_columns(
        RunConfig(
            task="procgen-coinrun-easy",
            interactions=1,
            model=model,
            agent={"architecture": architecture, "horizon": 1999},
        )
    )


class TestSizes:
    def test_default_trunk_has_622144_parameters_and_30_6_million_multiply_adds(self):
        assert num_params(trunk()) == NUM_PARAMS
        assert macs(trunk()) == MACS
        assert round(MACS, -5) == 30.6e6

    def test_with_15_logits_and_a_value_head_it_has_626256_parameters(self):
        assert columns()["num_params"] == NUM_PARAMS + 257 * 15 + 257 == 626_256

    def test_two_separate_networks_have_a_trunk_each(self):
        dual = columns("dual")
        assert dual["num_params"] == NUM_PARAMS + 257 * 15
        assert dual["num_params_total"] == 2 * NUM_PARAMS + 257 * 16

    @pytest.mark.parametrize(
        ("ratio", "channels", "dense", "num_millions", "mac_ratio"),
        [
            (1 / 64, (2, 4, 4), 32, 0.00984, 0.022),
            (1, (16, 32, 32), 256, 0.622, 1),
            (8, (45, 91, 91), 724, 5.00, 7.7),
        ],
    )
    def test_widths_span_a_64th_to_8_times_the_default(self, ratio, channels, dense, num_millions, mac_ratio):
        net = trunk(math.sqrt(ratio))
        shape = impala_shape(math.sqrt(ratio), 2)
        assert (shape.channels, shape.dense) == (channels, dense)
        assert num_params(net) / 1e6 == pytest.approx(num_millions, rel=2e-3)
        assert macs(net) / MACS == pytest.approx(mac_ratio, rel=0.02)

    def test_the_narrowest_of_them_has_9840_parameters(self):
        assert num_params(trunk(1 / 8)) == 9_840

    @pytest.mark.parametrize(
        ("depth", "parameters", "multiply_adds"),
        [
            (1, 0.93, 0.65),
            (2, 1, 1),
            (4, 1.13, 1.69),
            (8, 1.40, 3.08),
            (16, 1.94, 5.86),
            (32, 3.01, 11.4),
            (64, 5.15, 22.5),
        ],
    )
    def test_depth_adds_blocks_that_cost_more_than_they_hold(self, depth, parameters, multiply_adds):
        net = trunk(depth=depth)
        assert num_params(net) / NUM_PARAMS == pytest.approx(parameters, abs=0.005)
        assert macs(net) / MACS == pytest.approx(multiply_adds, rel=0.005)

    def test_a_depth_of_0_is_refused(self):
        with pytest.raises(InputError, match=r"model\.depth"):
            run_config(
                {"task": "procgen-coinrun-easy", "interactions": 1, "model": {"depth": 0}}, source="my.yaml"
            )

    def test_width_without_a_channel_is_an_input_error_with_the_least_width(self):
        with pytest.raises(InputError, match=r"at least 0\.03125"):
            impala_shape(0.0312, 2)
        assert impala_shape(0.03125, 2).channels == (1, 1, 1)


def norms(layer):
    return layer.weight.detach().double().flatten(1).square().sum(1).sqrt().numpy()


@pytest.mark.parametrize(("depth", "scale"), [(1, 0.7598), (2, 0.6389), (4, 0.5373), (64, 0.2686)])
def test_each_units_weights_have_exactly_the_norm_of_their_layer(depth, scale):
    exact = math.sqrt(1 / math.sqrt(3) / math.sqrt(depth))
    assert exact == pytest.approx(scale, abs=5e-5)
    generator = torch.Generator().manual_seed(0)
    model = build_actor_critic(
        ModelConfig(family="impala", width=0.25, depth=depth),
        (3, 64, 64),
        Discrete(15),
        generator,
        has_auxiliary=True,
    )
    for network in (model.policy, model.value):
        scales = [(network.trunk.dense, 1.4), *((head, 0.1) for head in network.heads.values())]
        for stack in network.trunk.stacks:
            convolutions = [conv for block in stack.blocks for conv in (block.conv1, block.conv2)]
            assert len(convolutions) == 2 * depth
            scales += [(stack.conv, 1.0), *((conv, exact) for conv in convolutions)]
        assert len(scales) == sum(isinstance(module, (nn.Linear, nn.Conv2d)) for module in network.modules())
        for layer, norm in scales:
            np.testing.assert_allclose(norms(layer), norm, rtol=1e-6)
            assert layer.bias.abs().max() == 0.0


def by_hand(net, observation):
    """The network in float64, without any of the module's own arithmetic."""

    def convolution(layer, x):
        return F.conv2d(x, layer.weight.double(), layer.bias.double(), padding=1)

    x = observation.double() / 255
    for stack in net.stacks:
        x = F.max_pool2d(convolution(stack.conv, x), kernel_size=3, stride=2, padding=1)
        for block in stack.blocks:
            residual = convolution(block.conv1, x.clamp(min=0))
            x = x + convolution(block.conv2, residual.clamp(min=0))
    flat = x.reshape(x.shape[0], -1).clamp(min=0)
    return (flat @ net.dense.weight.double().T + net.dense.bias.double()).clamp(min=0)


def with_biases(net, seed=5):
    """Biases begin at 0, which would hide one that is left out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize(("width", "depth"), [(1 / 32, 1), (1 / 8, 2), (0.5, 3)])
@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 20, 25)])
def test_forward_is_three_stacks_of_convolution_pool_and_residual_blocks_then_dense(width, depth, shape):
    net, observation = with_biases(trunk(width, depth, shape)), images(3, shape)
    expected = by_hand(net, observation).detach().numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(net(observation).detach().numpy(), expected, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(net(observation).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("width", [1 / 8, 0.5])
def test_gradients_are_those_of_the_float64_computation(width):
    net, observation = with_biases(trunk(width, 2, (3, 20, 25))), images(5, (3, 20, 25))
    weights = torch.randn(5, net.num_features, generator=torch.Generator().manual_seed(2))
    parameters = list(net.parameters())
    ours = torch.autograd.grad((net(observation) * weights).sum(), parameters)
    expected = torch.autograd.grad((by_hand(net, observation) * weights).sum(), parameters)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


SIZES = [(64, 64), (32, 16), (7, 9), (8, 5), (2, 3), (2, 1), (1, 1)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS, ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no_ties"])
def test_pooling_is_torchs_bit_for_bit(size, layout, dtype, ties):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, *size, generator=generator)
    if ties:
        x = x.round() - 3  # few different values, and at the border all below the padding's 0
    x = x.to(dtype).to(memory_format=layout)
    expected = F.max_pool2d(x, 3, stride=2, padding=1)
    with torch.no_grad():
        assert torch.equal(max_pool_3x3(x), expected)
    assert torch.equal(max_pool_3x3(x), expected)

    gradient = torch.randn(expected.shape, generator=generator).to(dtype)
    for upstream in (gradient, gradient.to(memory_format=torch.channels_last)):
        ours, theirs = (x.clone().requires_grad_() for _ in range(2))
        pooled = max_pool_3x3(ours)
        assert torch.equal(pooled, expected)
        pooled.backward(upstream)
        F.max_pool2d(theirs, 3, stride=2, padding=1).backward(upstream)
        assert torch.equal(ours.grad, theirs.grad)


def test_pooling_shows_what_is_not_a_number():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 3] = math.nan
    with torch.no_grad():
        assert torch.equal(max_pool_3x3(x).isnan(), F.max_pool2d(x, 3, stride=2, padding=1).isnan())


@pytest.mark.parametrize("width", [1 / 32, 1 / 8, 0.4, 0.5])
def test_two_trunks_side_by_side_compute_what_each_computes_alone(width):
    shape = (3, 20, 25)
    one, other = (with_biases(trunk(width, 2, shape, seed), seed) for seed in (3, 4))
    assert one.few_channels == (width < 0.46)
    observation = images(7, shape)
    weights = torch.randn(7, one.num_features, generator=torch.Generator().manual_seed(2))

    def features_and_gradients(mine, others):
        gradients = torch.autograd.grad(
            (mine * weights).sum() + others.square().sum(), [*one.parameters(), *other.parameters()]
        )
        return [mine, others, *gradients]

    together = features_and_gradients(*one.features_of_both(other, observation))
    apart = features_and_gradients(one(observation), other(observation))
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for a, b in zip(one.features_of_both(other, observation), apart, strict=False):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["impala", "impala-lstm"])
class TestStepSize:
    @pytest.mark.parametrize("width", [1 / 8, 0.5, 1.0, math.sqrt(8)])
    def test_falls_as_one_over_the_root_of_the_width(self, family, width):
        model = ModelConfig(family=family, width=width)
        assert step_size(5e-4, model) == pytest.approx(5e-4 * width**-0.5, rel=1e-12)

    @pytest.mark.parametrize(("depth", "factor"), [(2, 1), (32, 1 / 2), (1, 2**0.25), (64, 32**-0.25)])
    def test_falls_as_the_fourth_root_of_the_depth_from_the_default_of_2(self, family, depth, factor):
        model = ModelConfig(family=family, depth=depth)
        assert step_size(5e-4, model) == pytest.approx(5e-4 * factor, rel=1e-12)

    def test_is_proportional_to_the_residual_blocks_initial_weights(self, family):
        def steps_and_scales(depth):
            model = ModelConfig(family=family, depth=depth, width=1 / 8)
            net = build_actor_critic(model, (3, 16, 16), Discrete(15), torch.Generator()).policy
            return step_size(5e-4, model), norms(net.trunk.stacks[1].blocks[0].conv1)[0]

        (step, scale), (deeper_step, deeper_scale) = steps_and_scales(2), steps_and_scales(8)
        assert deeper_step / step == pytest.approx(deeper_scale / scale, rel=1e-6)


@pytest.mark.parametrize("width", [1 / 8, 0.5])
@pytest.mark.parametrize("family", ["impala", "impala-lstm"])
def test_bfloat16_is_for_the_trunks_arithmetic_alone(width, family):
    shape = (3, 32, 32)

    def networks(precision):
        model = ModelConfig(family=family, width=width)
        generator = torch.Generator().manual_seed(0)
        return build_actor_critic(model, shape, Discrete(15), generator, precision=precision)

    exact, rough = networks("float32"), networks("bfloat16")
    none = torch.zeros(4, 3)
    inputs = Inputs(images(12, shape).unflatten(0, (4, 3)), none, torch.zeros(4, exact.num_state))
    for one, other in ((exact.policy, rough.policy), (exact.value, rough.value)):
        state = inputs.state[:, : one.num_state]
        own = Inputs(inputs.observation, inputs.first, state)
        expected, features = one.features(own)[0], other.features(own)[0]
        assert features.dtype == torch.float32
        error = (features - expected).norm() / expected.norm()
        assert 1e-5 < error < 0.02  # not the same arithmetic, but close
    logits, values = rough(inputs)
    assert logits.dtype == values.dtype == torch.float32
    (logits.square().sum() + values.square().sum()).backward()
    for parameter in rough.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
    for one, other in zip(rough(inputs), exact(inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.01)
