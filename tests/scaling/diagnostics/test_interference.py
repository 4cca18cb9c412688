"""Update matrices against closed forms: a linear network, a table, and one shared parameter."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.diagnostics.interference import (
    applied_updates,
    first_order_updates,
    interference,
    normalized,
)
from rlscale.scaling.diagnostics.tangent import kernel_of

STATES = 6


def network(seed: int = 0) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()


def test_of_linear_values_the_kernel_is_the_features_and_a_step_is_the_first_order():
    features = torch.randn(STATES, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model, goal = torch.nn.Linear(3, 1, bias=False).double(), torch.linspace(-1, 1, STATES).double()

    def values() -> torch.Tensor:
        return model(features).squeeze(-1)

    kernel = kernel_of(values(), model.parameters())
    torch.testing.assert_close(kernel, features @ features.T)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    applied = applied_updates(values, lambda i: 0.5 * (values()[i] - goal[i]).square(), optimizer)
    torch.testing.assert_close(applied, first_order_updates(kernel, (goal - values()).detach(), 0.05))
    torch.testing.assert_close(normalized(applied), normalized(kernel))
    assert interference(kernel).approximate_rank <= 3


def test_a_table_is_learned_state_by_state():
    table = torch.nn.Parameter(torch.zeros(STATES))
    measured = interference(kernel_of(1.0 * table, [table]))
    assert (measured.approximate_rank, measured.off_diagonal) == (STATES, 0.0)
    assert measured.effective_rank == pytest.approx(STATES)


def test_one_parameter_for_all_states_moves_them_together():
    shared = torch.nn.Parameter(torch.ones(()))
    measured = interference(kernel_of(shared.expand(STATES), [shared]))
    assert (measured.approximate_rank, measured.silent_states) == (1, 0)
    assert measured.effective_rank == pytest.approx(1)
    assert measured.off_diagonal == pytest.approx(1)


def test_states_that_do_not_move_are_counted_and_left_out():
    weight = torch.nn.Parameter(torch.ones(2))
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    measured = interference(kernel_of(features @ weight, [weight]))
    assert measured.silent_states == 1
    assert measured.off_diagonal == pytest.approx(0.5)
    nothing = interference(torch.zeros(3, 3))
    assert (nothing.approximate_rank, nothing.silent_states) == (0, 3)
    assert math.isnan(nothing.off_diagonal)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_kernels_are_symmetric_and_small_steps_are_of_first_order(seed):
    model = network(seed)
    inputs, goal = torch.randn(2, STATES, 3, dtype=torch.float64)
    kernel = kernel_of(model(inputs).squeeze(-1), model.parameters())
    torch.testing.assert_close(kernel, kernel.T)
    assert torch.linalg.eigvalsh(kernel).min() > -1e-9

    def values() -> torch.Tensor:
        return model(inputs).squeeze(-1)

    step = 1e-6
    optimizer = torch.optim.SGD(model.parameters(), lr=step)
    applied = applied_updates(values, lambda i: 0.5 * (values()[i] - goal[i, 0]).square(), optimizer)
    first = first_order_updates(kernel, (goal[:, 0] - values()).detach(), step)
    torch.testing.assert_close(applied, first, rtol=1e-3, atol=1e-10)


def test_measuring_leaves_network_and_optimiser_as_they_were():
    model, inputs = network(), torch.randn(STATES, 3, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    step()
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    moments = [state["exp_avg"].clone() for state in optimizer.state.values()]
    applied = applied_updates(
        lambda: model(inputs).squeeze(-1), lambda i: model(inputs[i]).square().sum(), optimizer
    )
    assert applied.abs().min() > 0
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    after = [state["exp_avg"] for state in optimizer.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(after, moments, strict=True))
    assert {float(state["step"]) for state in optimizer.state.values()} == {1.0}
    step()
    assert not torch.equal(model[0].weight, saved["0.weight"])
