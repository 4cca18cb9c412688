"""The LSTM after the trunk, against torch's own LSTM on each episode alone."""

import numpy as np
import pytest
import torch
from torch import nn

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.models.recurrence import Recurrence
from rlscale.scaling.training.facts import run_columns

INPUTS, SIZE = 5, 6


@pytest.fixture
def recurrence():
    recurrence = Recurrence(INPUTS, SIZE, torch.Generator().manual_seed(0))
    with torch.no_grad():  # biases begin at 0, which would hide one that is left out
        for bias in (recurrence.cell.bias_ih, recurrence.cell.bias_hh):
            bias.copy_(0.3 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(bias.numel())))
    return recurrence


@pytest.fixture
def sequence():
    """Features, first and state of 4 rows of 9 steps; an episode begins in the first step of one."""
    generator = torch.Generator().manual_seed(1)
    first = torch.zeros(4, 9)
    first[0, 0] = first[0, 5] = first[1, 3] = first[1, 4] = first[2, 8] = 1.0
    features = torch.randn(4, 9, INPUTS, generator=generator)
    return features, first, torch.randn(4, 2 * SIZE, generator=generator)


def torchs_lstm(recurrence):
    lstm = nn.LSTM(INPUTS, SIZE, batch_first=True)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(lstm, f"{name}_l0").copy_(getattr(recurrence.cell, name))
    return lstm


def episode_by_episode(lstm, features, first, state):
    """One row: outputs (steps, size) and the state after each step; a new episode starts from nothing."""
    begin, start = 0, state
    outputs, states = [], []
    for t in range(len(first)):
        if first[t]:
            begin, start = t, torch.zeros_like(state)
        hidden, cell = (part[None, None] for part in start.chunk(2))
        output, (hidden, cell) = lstm(features[None, begin : t + 1], (hidden, cell))
        outputs.append(output[0, -1])
        states.append(torch.cat([hidden.flatten(), cell.flatten()]))
    return torch.stack(outputs), torch.stack(states)


def test_outputs_states_and_gradients_are_those_of_torchs_lstm_on_each_episode(recurrence, sequence):
    features, first, state = sequence
    lstm = torchs_lstm(recurrence)
    outputs, states = recurrence(features, first, state)
    rows = [episode_by_episode(lstm, *row) for row in zip(*sequence, strict=True)]
    expected, expected_states = (torch.stack(parts) for parts in zip(*rows, strict=True))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(states, expected_states)
    (outputs.sin().sum() + states.sum()).backward()
    (expected.sin().sum() + expected_states.sum()).backward()
    for name, parameter in recurrence.cell.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(lstm, f"{name}_l0").grad)


@pytest.mark.parametrize("cut", [1, 4, 5, 8])
def test_a_sequence_in_two_calls_is_one_sequence(recurrence, sequence, cut):
    features, first, state = sequence
    whole, states = recurrence(features, first, state)
    before, between = recurrence(features[:, :cut], first[:, :cut], state)
    after, last = recurrence(features[:, cut:], first[:, cut:], between[:, -1])
    torch.testing.assert_close(torch.cat([before, after], dim=1), whole)
    torch.testing.assert_close(torch.cat([between, last], dim=1), states)


def test_step_by_step_with_the_state_carried_is_one_sequence(recurrence, sequence):
    features, first, state = sequence
    whole, states = recurrence(features, first, state)
    for t in range(features.shape[1]):
        output, after = recurrence(features[:, t, None], first[:, t, None], state)
        state = after[:, 0]
        torch.testing.assert_close(output[:, 0], whole[:, t])
        torch.testing.assert_close(state, states[:, t])


def test_gradients_flow_back_in_time_to_the_beginning_of_the_episode(recurrence, sequence):
    features, first, state = sequence
    features, state = features.requires_grad_(), state.requires_grad_()
    outputs, _ = recurrence(features, first, state)
    episode = first.cumsum(dim=1)
    for t in range(features.shape[1]):
        gradient, to_state = torch.autograd.grad(outputs[:, t].sum(), [features, state], retain_graph=True)
        same = (episode == episode[:, t, None]) & (torch.arange(features.shape[1]) <= t)
        assert torch.equal(gradient.any(dim=2), same)
        assert torch.equal(to_state.any(dim=1), episode[:, t] == 0)


def test_each_units_weights_have_norm_1_and_biases_are_0():
    cell = Recurrence(INPUTS, SIZE, torch.Generator().manual_seed(0)).cell
    for weight, bias in ((cell.weight_ih, cell.bias_ih), (cell.weight_hh, cell.bias_hh)):
        norms = weight.detach().double().square().sum(1).sqrt()
        np.testing.assert_allclose(norms.numpy(), 1.0, rtol=1e-6)
        assert bias.abs().max() == 0.0


def sizes(family, **agent):
    config = RunConfig(
        task="procgen-maze-memory",
        interactions=1,
        model={"family": family, "width": 1 / 8},
        agent={"horizon": 1999, "minibatches": 1, **agent},
    )
    return run_columns(config)


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_the_lstm_adds_four_gates_of_two_matrices_and_two_biases(architecture):
    lstm = 4 * 32 * (32 + 32 + 1 + 1)
    with_it, without = (sizes(family, architecture=architecture) for family in ("impala-lstm", "impala"))
    networks = 2 if architecture == "dual" else 1
    assert without["num_params"] == 9_840 + 33 * 15 + (33 if architecture == "shared" else 0)
    assert with_it["num_params"] - without["num_params"] == lstm
    assert with_it["num_params_total"] - without["num_params_total"] == networks * lstm


def test_the_lstm_adds_its_multiply_adds_to_every_pass():
    """Two matrices forward; backward the gradients of both, of what comes in and of the memory."""
    with_it, without = (sizes(family, algorithm="ppo") for family in ("impala-lstm", "impala"))
    macs = 2 * 4 * 32 * 32
    assert with_it["flops_forward"] - without["flops_forward"] == 2 * macs
    passes = 1 + 3  # acting, then one epoch of a forward and a backward pass
    added = with_it["flops_per_interaction"] - without["flops_per_interaction"]
    assert added == 2 * (2 * passes * macs)
