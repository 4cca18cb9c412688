"""The families mlp and nature-cnn, and a person's own: sizes, initial norms, values, steps."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.model import ModelConfig, step_size
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic, own_trunk
from rlscale.scaling.models.mlp import mlp_units
from rlscale.scaling.models.nature_cnn import nature_cnn_shape
from rlscale.scaling.models.sizing import sizes_of
from rlscale.scaling.modules import name_modules
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.tasks.catalog import Continuous, Discrete

ATARI = (4, 84, 84)


@pytest.fixture(autouse=True, scope="module")
def _own_code():
    name_modules(["own_code"])


def networks(family, shape=(6,), actions=Discrete(3), seed=0, built=None, **options):
    model = ModelConfig(family=family, **options)
    return build_actor_critic(model, shape, actions, torch.Generator().manual_seed(seed), **(built or {}))


@pytest.mark.parametrize(("width", "depth"), [(1.0, 2), (0.25, 1), (2.0, 4)])
def test_parameters_and_flops_of_mlp_are_those_of_its_layers(width, depth):
    model = networks("mlp", width=width, depth=depth)
    units = round(64 * width)
    weights = 6 * units + (depth - 1) * units**2
    sizes = sizes_of(model, (6,), AgentConfig(algorithm="ppo"))
    assert sizes.num_params == weights + depth * units + units * 3 + 3
    assert sizes.flops_forward == 2 * (weights + units * 3)
    assert sizes.num_params_total == 2 * (weights + depth * units) + (units * 3 + 3) + (units + 1)


@pytest.mark.parametrize(
    ("options", "units"), [({}, 32), ({"hidden_size": 10}, 5), ({"hidden_size": 128}, 64)]
)
def test_an_lstm_has_its_hidden_size_times_the_width(options, units):
    plain, with_memory = (
        sizes_of(networks("mlp", width=0.5, **more), (6,), AgentConfig(algorithm="ppo"))
        for more in ({}, {"recurrent": "lstm", **options})
    )
    head = units * 3 + 3
    assert with_memory.num_params - plain.num_params == 4 * units * (32 + units + 2) + head - (32 * 3 + 3)
    macs = 4 * units * (32 + units) + units * 3
    assert with_memory.flops_forward - plain.flops_forward == 2 * (macs - 32 * 3)


def test_an_lstm_without_units_is_refused():
    with pytest.raises(
        InputError, match=r"an LSTM of 0 units .3 x 0.1 rounds to 0.; .* at least 0.1666"
    ) as caught:
        networks("mlp", width=0.1, recurrent="lstm", hidden_size=3)
    assert caught.value.code == "width_too_small"


@pytest.mark.parametrize(
    ("family", "shape"),
    [("mlp", (6,)), ("nature-cnn", (3, 36, 36)), ("impala", (3, 16, 16)), ("own_code:MyTrunk", (6,))],
)
def test_an_lstm_follows_the_trunk_of_every_family(family, shape):
    """Torch's own LSTM on the features of the same trunk gives the same logits."""
    model = networks(family, shape, width=0.25, recurrent="lstm", hidden_size=20)
    dtype = torch.uint8 if len(shape) == 3 else torch.float32
    observation = (torch.rand(1, 4, *shape) * 200).to(dtype)
    inputs = Inputs(observation, torch.zeros(1, 4), torch.zeros(1, model.num_state))
    lstm = torch.nn.LSTM(model.policy.trunk.num_features, 5)
    with torch.no_grad():
        for name, parameter in model.policy.recurrence.cell.named_parameters():
            getattr(lstm, f"{name}_l0").copy_(parameter)
        features, _ = lstm(model.policy.trunk(observation[0]))
        torch.testing.assert_close(
            model.policy_logits(inputs)[0], model.policy.heads["logits"](features), rtol=1e-4, atol=1e-5
        )


def test_impala_with_memory_is_the_same_network_by_either_name():
    one, other = (
        networks("impala", (3, 16, 16), width=0.25, recurrent="lstm"),
        networks("impala-lstm", (3, 16, 16), width=0.25),
    )
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name])
    names = [
        ModelConfig(family="impala", recurrent="lstm"),
        ModelConfig(family="impala-lstm"),
        ModelConfig(family="own_code:MyTrunk", recurrent="lstm"),
    ]
    assert [model.family_column for model in names] == ["impala-lstm", "impala-lstm", "own_code:MyTrunk-lstm"]


def test_a_continuous_action_has_a_mean_and_a_deviation():
    model = networks("mlp", actions=Continuous((-1.0,) * 2, (1.0,) * 2))
    assert model.policy.heads["logits"].out_features == 4


@pytest.mark.parametrize("architecture", ["dual", "shared", "detach"])
def test_a_normal_policy_learns_one_deviation_for_all_states(architecture):
    actions = Continuous((-1.0,) * 2, (1.0,) * 2)
    built = {"architecture": architecture}
    model = networks("mlp", actions=actions, built=built | {"box_policy": "normal"})
    plain = networks("mlp", actions=Continuous((-1.0,), (1.0,)), built=built)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters()) + 2
    inputs = flat_inputs(torch.randn(5, 6))
    deviation = model.actions(model.policy_logits(inputs)).deviation
    assert torch.equal(deviation, torch.ones(5, 1, 2))
    action = torch.randn(5, 1, 2)
    model.actions(model.policy_logits(inputs)).log_prob(action).sum().backward()
    stateless = model.policy.heads["logits"].stateless
    mean = model.policy_logits(inputs)[..., :2].detach()
    # d log N(a; mean, e^s) / ds = (a - mean)^2 / e^2s - 1
    torch.testing.assert_close(stateless.grad, ((action - mean).square() - 1).sum((0, 1)))


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_orthogonal_weights_are_those_of_stable_baselines3(architecture):
    """Gains sqrt(2) of hidden layers, 0.01 of the policy's head and 1 of the value's; biases 0."""
    built = {"architecture": architecture, "box_policy": "normal"}
    actions = Continuous((-1.0,) * 2, (1.0,) * 2)
    model, same, other = (
        networks("mlp", actions=actions, seed=seed, built=built, initialization="orthogonal")
        for seed in (0, 0, 1)
    )
    gains = {"logits": 0.01, "value": 1.0}
    for network in model.networks:
        layers = [(layer, 2**0.5) for layer in network.trunk.dense]
        layers += [(layer, gains[name]) for name, layer in network.heads.items()]
        for layer, gain in layers:
            weight = layer.weight.detach().double()
            short = weight if weight.shape[0] <= weight.shape[1] else weight.T
            expected = gain**2 * torch.eye(len(short), dtype=torch.float64)
            torch.testing.assert_close(short @ short.T, expected, rtol=1e-5, atol=1e-5 * gain**2)
            assert not layer.bias.any()
    for one, again in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, again)
    assert not torch.equal(model.policy.trunk.dense[0].weight, other.policy.trunk.dense[0].weight)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_mlp_is_dense_layers_with_its_activation(activation):
    trunk = networks("mlp", activation=activation, width=0.5).policy.trunk
    x = torch.randn(9, 6)
    expected = x
    for layer in trunk.dense:
        expected = getattr(torch, activation)(F.linear(expected, layer.weight, layer.bias))
    torch.testing.assert_close(trunk(x), expected)


def test_nature_cnn_is_the_network_of_the_paper():
    trunk = networks("nature-cnn", ATARI).policy.trunk
    assert sum(p.numel() for p in trunk.parameters()) == 1_684_128
    x = torch.randint(0, 256, (3, *ATARI), dtype=torch.uint8)
    expected = x.float() / 255
    for conv, stride in zip(trunk.convs, (4, 2, 1), strict=True):
        expected = F.relu(F.conv2d(expected, conv.weight, conv.bias, stride=stride))
    expected = F.relu(trunk.dense[0](expected.flatten(1)))
    torch.testing.assert_close(trunk(x), expected)
    assert trunk.num_features == 512


def test_depth_of_nature_cnn_is_dense_layers_and_width_is_channels_and_units():
    shape = nature_cnn_shape(0.5, 3)
    assert (shape.channels, shape.dense, shape.depth) == ((16, 32, 32), 256, 3)
    trunk = networks("nature-cnn", ATARI, width=0.5, depth=3).policy.trunk
    assert [layer.out_features for layer in trunk.dense] == [256] * 3


@pytest.mark.parametrize(("family", "shape"), [("mlp", (6,)), ("nature-cnn", ATARI)])
def test_each_units_initial_weights_have_the_norm_of_the_reference(family, shape):
    trunk = networks(family, shape, width=0.5).policy.trunk
    for layer in trunk.dense:
        np.testing.assert_allclose(layer.weight.norm(dim=1).detach(), 1.4, rtol=1e-5)
    for conv in getattr(trunk, "convs", ()):
        np.testing.assert_allclose(conv.weight.flatten(1).norm(dim=1).detach(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("mlp", (6,)),
        ("nature-cnn", ATARI),
        ("impala", (3, 64, 64)),
        ("mnist-cnn", (1, 28, 28)),
        ("own_code:MyTrunk", (6,)),
    ],
)
def test_pre_activations_name_submodules_and_the_last_one_gives_the_features(family, shape):
    trunk = networks(family, shape).policy.trunk
    seen = {}
    modules = dict(trunk.named_modules())
    for name in trunk.pre_activations:
        modules[name].register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output.clone()})
        )
    dtype = torch.uint8 if len(shape) == 3 else torch.float32
    features = trunk((torch.rand(5, *shape) * 200).to(dtype))
    assert list(seen) == list(trunk.pre_activations)
    last = list(seen.values())[-1]
    activate = torch.tanh if family == "mlp" else torch.relu
    torch.testing.assert_close(features, activate(last))


@pytest.mark.parametrize("memory", [{}, {"recurrent": "lstm", "hidden_size": 128}])
@pytest.mark.parametrize("family", ["mlp", "nature-cnn", "own_code:MyTrunk"])
def test_adams_step_falls_with_the_width_alone(family, memory):
    name_modules(["own_code"])
    step = step_size(1e-3, ModelConfig(family=family, width=4.0, depth=3, **memory))
    assert step == pytest.approx(5e-4)


def test_layers_without_units_and_images_that_are_too_small_are_refused():
    for call, code in (
        (lambda: mlp_units(0.001), "width_too_small"),
        (lambda: nature_cnn_shape(0.01, 1), "width_too_small"),
        (lambda: networks("nature-cnn", (3, 35, 64)), "image_too_small"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == code


def test_a_family_of_ones_own_gets_width_and_depth_and_the_runs_seed():
    one, same, other = (networks("own_code:MyTrunk", seed=seed, width=0.5) for seed in (1, 1, 2))
    assert one.policy.trunk.num_features == 16
    weights = [model.policy.trunk.module.first.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], one.value.trunk.module.first.weight)
    assert sizes_of(one, (6,), AgentConfig()).num_params == 16 * 7 + 3 * 17


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WrongSize", "maps 2 observations to \\(2, 32\\) instead of .* \\(2, 33\\)"),
        ("NoSize", "num_features"),
        ("WrongNames", "names pre_activations that it has not \\(module.second\\)"),
    ],
)
def test_a_family_that_is_no_trunk_is_refused(name, words):
    with pytest.raises(InputError, match=words) as caught:
        own_trunk(ModelConfig(family=f"own_code:{name}"), (6,), torch.Generator())
    assert caught.value.code == "invalid_family"


def test_a_class_that_is_no_module_is_refused():
    with pytest.raises(InputError, match="not a class that extends torch") as caught:
        own_trunk(ModelConfig(family="own_code:Base"), (6,), torch.Generator())
    assert caught.value.code == "not_such_a_class"
