"""N of models that are built as other libraries build them is that of their policy."""

from types import SimpleNamespace

import pytest
from torch import nn

import rlscale
from rlscale.scaling.errors import InputError


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def module(**parts: nn.Module) -> nn.Module:
    return nn.ModuleDict(parts)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))


MLP = linear(4, 8) + linear(8, 8)


def test_the_policy_of_stable_baselines3_counts_without_its_value_net():
    shared = mlp()
    policy = module(
        features_extractor=shared,
        pi_features_extractor=shared,
        vf_features_extractor=shared,
        mlp_extractor=module(policy_net=nn.Linear(8, 16), value_net=nn.Linear(8, 64)),
        action_net=nn.Linear(16, 2),
        value_net=nn.Linear(64, 1),
    )
    policy.log_std = nn.Parameter(nn.Linear(1, 2).bias.detach())
    wanted = MLP + linear(8, 16) + linear(16, 2) + 2
    assert rlscale.count_parameters(SimpleNamespace(policy=policy)) == wanted
    total = wanted + linear(8, 64) + linear(64, 1)
    assert rlscale.count_parameters(policy, value=True) == total


def test_targets_and_critics_of_off_policy_algorithms_do_not_count():
    sac = module(actor=mlp(), critic=mlp(), critic_target=mlp())
    dqn = module(q_net=mlp(), q_net_target=mlp())
    assert rlscale.count_parameters(sac) == rlscale.count_parameters(dqn) == MLP
    assert rlscale.count_parameters(sac, value=True) == 2 * MLP


def test_an_agent_of_cleanrl_counts_its_shared_network_and_actor():
    agent = module(network=mlp(), actor=nn.Linear(8, 2), critic=nn.Linear(8, 1))
    assert rlscale.count_parameters(agent) == MLP + linear(8, 2)
    assert rlscale.count_parameters(module(actor_mean=nn.Linear(8, 2), critic=mlp())) == linear(8, 2)


def test_an_rl_module_of_rllib_counts_its_actor_encoder_and_pi():
    encoder = module(actor_encoder=mlp(), critic_encoder=mlp())
    rl_module = module(encoder=encoder, pi=nn.Linear(8, 2), vf=nn.Linear(8, 1))
    assert rlscale.count_parameters(rl_module) == MLP + linear(8, 2)


def test_values_of_an_attention_layer_are_no_value_network():
    attention = module(query=nn.Linear(8, 8), key=nn.Linear(8, 8), value=nn.Linear(8, 8))
    model = module(trunk=attention, actor=nn.Linear(8, 2), value=nn.Linear(8, 1))
    assert rlscale.count_parameters(model) == 3 * linear(8, 8) + linear(8, 2)


@pytest.mark.parametrize("model", [object(), nn.ModuleDict(), module(critic=nn.Linear(2, 2))])
def test_what_has_no_policy_is_refused_in_a_sentence(model):
    with pytest.raises(InputError, match="give the module of its policy") as refusal:
        rlscale.count_parameters(model)
    assert refusal.value.code == "no_parameters"
