"""Small policies in numpy act as they do in torch."""

import numpy as np
import pytest
import torch

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.distributions import action_head
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.models.quick import MOST_MULTIPLICATIONS, quick_outputs
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.tasks.catalog import Continuous, Discrete, MultiDiscrete

BOX = Continuous((-1.0, 0.0), (1.0, 4.0))
#: Actions, and the policy if they are numbers between bounds.
ACTIONS = [(Discrete(5),), (MultiDiscrete((2, 4, 3)),), (BOX,), (BOX, "normal")]


def networks(actions=ACTIONS[0], *, units=16, architecture="dual", **model):
    config = ModelConfig(family="mlp", width=units / 64, **model)
    generator = torch.Generator().manual_seed(0)
    space, box_policy = (*actions, "tanh-normal")[:2]
    return build_actor_critic(
        config, (3,), space, generator, box_policy=box_policy, architecture=architecture
    )


@pytest.mark.parametrize("architecture", ["dual", "shared"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_numpy_gives_torchs_outputs_also_after_the_weights_have_changed(actions, activation, architecture):
    model = networks(actions, activation=activation, depth=3, architecture=architecture)
    outputs = quick_outputs(model, 8)
    observation = np.random.default_rng(1).standard_normal((8, 3)).astype(np.float32)
    for _ in range(2):
        with torch.no_grad():
            expected, _, _ = model.act(flat_inputs(torch.from_numpy(observation)))
            np.testing.assert_allclose(outputs(observation), expected.numpy(), rtol=1e-5, atol=1e-6)
            for parameter in model.parameters():
                parameter.mul_(1.5).add_(0.1)


@pytest.mark.parametrize("actions", ACTIONS)
def test_numpy_draws_what_torch_samples(actions):
    head, rng = action_head(*actions), np.random.default_rng(2)
    outputs = (3 * rng.standard_normal((500, head.num_outputs))).astype(np.float32)
    noise = head.noise(rng, 500)
    drawn, sampled = head.draw(outputs, noise), head(torch.from_numpy(outputs)).sample(noise)
    assert torch.from_numpy(drawn).dtype == sampled.dtype
    np.testing.assert_allclose(drawn, sampled.numpy(), rtol=1e-5, atol=1e-6)


def test_choices_without_probability_are_never_drawn():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]] * 3, np.float32)
    drawn = action_head(Discrete(5)).draw(logits, np.array([0.0, 0.5, np.nextafter(1.0, 0.0)]))
    assert drawn.tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    ("rows", "model"),
    [
        (8, {"recurrent": "lstm"}),
        (8, {"layer_norm": True}),
        (MOST_MULTIPLICATIONS // 16**2 + 1, {}),
    ],
    ids=["memory", "normalised layers", "many rows"],
)
def test_other_networks_and_many_rows_are_left_to_torch(rows, model):
    assert quick_outputs(networks(**model), rows) is None
