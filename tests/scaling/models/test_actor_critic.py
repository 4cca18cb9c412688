"""Policy and value networks: what each loss trains, and that all methods agree."""

import itertools

import pytest
import torch

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.models.actor_critic import Inputs
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.rollout import Rows
from rlscale.scaling.tasks.catalog import Discrete

ARCHITECTURES = ("dual", "shared", "detach")
FAMILIES = ("mnist-cnn", "impala", "impala-lstm")
SHAPE = (3, 16, 16)


def networks(family="impala", architecture="dual", width=1 / 8, has_auxiliary=True, seed=0):
    return build_actor_critic(
        ModelConfig(family=family, width=width, depth=1),
        SHAPE,
        Discrete(5),
        torch.Generator().manual_seed(seed),
        architecture=architecture,
        has_auxiliary=has_auxiliary,
    )


def some_inputs(model, rows=6, steps=4, seed=1):
    """Random images, episodes that begin here and there, and a memory of what was before."""
    generator = torch.Generator().manual_seed(seed)
    return Inputs(
        torch.randint(0, 256, (rows, steps, *SHAPE), generator=generator, dtype=torch.uint8),
        (torch.rand(rows, steps, generator=generator) < 0.3).float(),
        torch.randn(rows, model.num_state, generator=generator),
    )


def step_of(inputs, t, state):
    return Inputs(inputs.observation[:, t, None], inputs.first[:, t, None], state)


class TestGradients:
    """Which parameters a loss reaches: of the networks, their trunks and LSTMs count as bodies."""

    @staticmethod
    def reached(model, loss):
        """Parts of the networks all of whose parameters get a gradient; the rest must get none.

        A gradient of zeros is none to a body, but not to a head: Adam's momentum would move it.
        """
        model.zero_grad(set_to_none=True)
        loss.backward()
        reached = {}
        for name, parameter in model.named_parameters():
            network, kind, *rest = name.split(".")
            part = f"{network}.{rest[0]}" if kind == "heads" else f"{network}.body"
            is_reached = parameter.grad is not None and bool(parameter.grad.any())
            assert is_reached or kind != "heads" or parameter.grad is None
            reached.setdefault(part, set()).add(is_reached)
        assert all(len(of_part) == 1 for of_part in reached.values()), reached
        return {part for part, of_part in reached.items() if True in of_part}

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_policy_loss_reaches_the_policys_body_and_head(self, family, architecture):
        model = networks(family, architecture)
        inputs = some_inputs(model)
        for logits in (model(inputs)[0], model.policy_logits(inputs), model.auxiliary(inputs)[0]):
            loss = torch.distributions.Categorical(logits=logits).log_prob(torch.tensor(1)).sum()
            assert self.reached(model, loss) == {"policy.body", "policy.logits"}

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        ("architecture", "parts"),
        [
            ("dual", {"value.body", "value.value"}),
            ("shared", {"policy.body", "policy.value"}),
            ("detach", {"policy.value"}),
        ],
    )
    def test_value_loss_stops_at_the_features_under_detach_alone(self, family, architecture, parts):
        model = networks(family, architecture)
        inputs = some_inputs(model)
        for values in (model(inputs)[1], model.values(inputs)[0], model.auxiliary(inputs)[1]):
            assert self.reached(model, (values - 1).square().sum()) == parts

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_auxiliary_loss_reaches_the_policys_body_and_its_own_head(self, family, architecture):
        model = networks(family, architecture)
        loss = (model.auxiliary(some_inputs(model))[2] - 1).square().sum()
        assert self.reached(model, loss) == {"policy.body", "policy.auxiliary"}

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_policy_phase_leaves_the_auxiliary_head_without_a_gradient(self, architecture):
        model = networks(architecture=architecture)
        logits, values = model(some_inputs(model))
        parts = self.reached(model, logits.square().sum() + (values - 1).square().sum())
        assert "policy.auxiliary" not in parts
        assert {"policy.body", "policy.logits"} < parts

    def test_dual_networks_share_no_storage(self):
        model = networks("impala-lstm")
        storages = [
            {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
            for network in (model.policy, model.value)
        ]
        assert storages[0].isdisjoint(storages[1])

    @pytest.mark.parametrize("architecture", ["shared", "detach"])
    def test_one_network_holds_both_heads_elsewhere(self, architecture):
        model = networks(architecture=architecture)
        assert model.value is None
        assert set(model.policy.heads) == {"logits", "value", "auxiliary"}

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_without_ppg_there_is_no_auxiliary_head(self, architecture):
        assert "auxiliary" not in networks(architecture=architecture, has_auxiliary=False).policy.heads


@pytest.mark.parametrize(
    ("family", "architecture", "width"),
    [
        *itertools.product(FAMILIES, ARCHITECTURES, [1 / 8]),
        ("impala", "dual", 0.5),
        ("impala-lstm", "dual", 0.5),
    ],
)
class TestAgreement:
    def test_acting_step_by_step_gives_the_logits_and_values_of_the_whole_rows(
        self, family, architecture, width
    ):
        model = networks(family, architecture, width)
        inputs = some_inputs(model)
        with torch.no_grad():
            logits, values = model(inputs)
            state = inputs.state
            for t in range(inputs.first.shape[1]):
                acting, value, state = model.act(step_of(inputs, t, state))
                torch.testing.assert_close(acting, logits[:, t], rtol=1e-4, atol=1e-5)
                assert (value is None) == (architecture == "dual" and not model.policy.trunk.few_channels)
                if value is not None:
                    torch.testing.assert_close(value, values[:, t], rtol=1e-4, atol=1e-5)

    def test_values_alone_and_logits_alone_are_those_of_both(self, family, architecture, width):
        model = networks(family, architecture, width)
        inputs = some_inputs(model)
        for logits, values in (
            (model.policy_logits(inputs), model.values(inputs)[0]),
            model.auxiliary(inputs)[:2],
        ):
            torch.testing.assert_close(logits, model(inputs)[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(values, model(inputs)[1], rtol=1e-4, atol=1e-5)

    def test_rows_a_few_at_a_time_give_what_all_together_give(self, family, architecture, width):
        model = networks(family, architecture, width)
        inputs = some_inputs(model)
        rows = Rows(inputs.observation, inputs.first, inputs.state)
        parts = list(rows.parts(8, torch.device("cpu")))  # 2 of 6 rows of 4 steps
        assert [part.first.shape[0] for part in parts] == [2, 2, 2]
        for ask in (model.forward, model.auxiliary, model.values):
            pieces = zip(*(ask(part.inputs) for part in parts), strict=True)
            for whole, piece in zip(ask(inputs), pieces, strict=True):
                torch.testing.assert_close(whole, torch.cat(piece), rtol=1e-4, atol=1e-5)


def test_another_networks_logits_can_be_asked_for():
    model, other = networks("impala-lstm", seed=0), networks("impala-lstm", seed=1)
    inputs = some_inputs(model)
    assert torch.equal(model.policy_logits(inputs, other.policy), other.policy_logits(inputs))
    assert not torch.equal(model.policy_logits(inputs, other.policy), model.policy_logits(inputs))


class TestState:
    @pytest.mark.parametrize("family", ["mnist-cnn", "impala"])
    def test_networks_without_memory_have_none(self, family):
        model = networks(family)
        assert model.num_state == 0
        assert model.values(some_inputs(model))[1].shape == (6, 4, 0)

    @pytest.mark.parametrize(("architecture", "count"), [("dual", 2), ("shared", 1), ("detach", 1)])
    def test_each_network_remembers_two_numbers_for_each_dense_unit(self, architecture, count):
        assert networks("impala-lstm", architecture).num_state == count * 2 * 32

    def test_acting_of_a_narrow_agent_moves_both_parts(self):
        model = networks("impala-lstm")
        inputs = some_inputs(model, steps=1)
        mine = model.policy.num_state
        _, value, acted = model.act(inputs)
        values, valued = model.values(inputs)
        torch.testing.assert_close(value, values[:, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(acted[:, mine:], valued[:, 0, mine:], rtol=1e-4, atol=1e-5)

    def test_acting_moves_the_policys_part_and_valuing_the_values(self):
        model = networks("impala-lstm", width=1 / 2)
        inputs = some_inputs(model, steps=1)
        mine = model.policy.num_state
        _, _, acted = model.act(inputs)
        valued = model.values(inputs)[1][:, 0]
        assert torch.equal(acted[:, mine:], inputs.state[:, mine:])
        assert (acted[:, :mine] != inputs.state[:, :mine]).any(dim=1).all()
        assert torch.equal(valued[:, :mine], inputs.state[:, :mine])
        assert (valued[:, mine:] != inputs.state[:, mine:]).any(dim=1).all()

    @pytest.mark.parametrize("architecture", ["shared", "detach"])
    def test_one_network_has_one_state_however_it_is_asked(self, architecture):
        model = networks("impala-lstm", architecture)
        inputs = some_inputs(model, steps=1)
        torch.testing.assert_close(model.act(inputs)[2], model.values(inputs)[1][:, 0])

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_the_memory_matters_until_an_episode_begins(self, architecture):
        model = networks("impala-lstm", architecture)
        inputs = some_inputs(model, rows=1)
        first = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
        one, other = (
            model(Inputs(inputs.observation, first, state)) for state in (inputs.state, -inputs.state)
        )
        for a, b in zip(one, other, strict=True):
            assert not torch.isclose(a[0, :2], b[0, :2]).any()
            assert torch.equal(a[0, 2:], b[0, 2:])
