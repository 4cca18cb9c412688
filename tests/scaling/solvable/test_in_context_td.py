"""Prompts, layers and the TD loss, against the formulas word by word and against the construction."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlscale.analysis.theory import in_context_td as theory
from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.solvable.in_context_td import (
    Batch,
    Prompts,
    Transformer,
    attended_values,
    batch_td,
    draw_batch,
    linear_values,
    query_weights,
    td_loss,
)
from rlscale.scaling.solvable.reward_processes import Chain, draw_process


def random_prompts(d, n, count, seed):
    made = torch.Generator().manual_seed(seed)
    context = torch.rand(count, 2 * d + 1, n, generator=made, dtype=torch.float64) * 2 - 1
    query = torch.rand(count, d, generator=made, dtype=torch.float64) * 2 - 1
    return Prompts(context, query)


def random_weights(d, layers, seed):
    made = torch.Generator().manual_seed(seed + 1)
    shape = (2, layers, 2 * d + 1, 2 * d + 1)
    return 0.3 * torch.randn(shape, generator=made, dtype=torch.float64) / (2 * d + 1) ** 0.5


def layers_of(P, Q):
    return list(zip(P, Q, strict=True))


def td_weights(d, alpha, layers=1):
    P = torch.zeros(layers, 2 * d + 1, 2 * d + 1, dtype=torch.float64)
    Q = torch.zeros_like(P)
    P[:, -1, -1] = 1.0
    Q[:, :d, :d] = -alpha * torch.eye(d, dtype=torch.float64)
    Q[:, :d, d : 2 * d] = alpha * torch.eye(d, dtype=torch.float64)
    return P, Q


# -- the layers -------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 4), n=st.integers(1, 12), layers=st.integers(1, 5), seed=st.integers(0, 10**6))
@example(d=1, n=1, layers=1, seed=0)
@example(d=4, n=30, layers=3, seed=1)
def test_moments_give_what_columns_give(d, n, layers, seed):
    prompts, (P, Q) = random_prompts(d, n, 2, seed), random_weights(d, layers, seed)
    by_columns = attended_values(prompts, layers_of(P, Q), softmax=False)
    assert torch.allclose(
        linear_values(prompts.moments(), prompts.query, layers_of(P, Q), n), by_columns, atol=1e-12
    )
    mask = np.diag([1.0] * n + [0.0])
    for k in range(2):
        z = np.zeros((2 * d + 1, n + 1))
        z[:, :n], z[:d, n] = prompts.context[k], prompts.query[k]
        heads = [(theory.Head(p, q, mask),) for p, q in zip(P.numpy(), Q.numpy(), strict=True)]
        exact = -theory.forward(z, heads, n)[-1, -1, -1]
        assert by_columns[k].item() == pytest.approx(exact, abs=1e-12)


def test_softmax_is_over_what_a_column_attends_to():
    """Entry by entry: the query is among the scores, but nothing is taken from it."""
    d, n = 2, 4
    prompts, (P, Q) = random_prompts(d, n, 1, 3), 3 * random_weights(d, 2, 3)
    z = np.zeros((2 * d + 1, n + 1))
    z[:, :n], z[:d, n] = prompts.context[0], prompts.query[0]
    for p, q in zip(P.numpy(), Q.numpy(), strict=True):
        new = z.copy()
        for j in range(n + 1):
            scores = np.array([z[:, i] @ q @ z[:, j] for i in range(n + 1)])
            share = np.exp(scores) / np.exp(scores).sum()
            for i in range(n):
                new[:, j] += share[i] * (p @ z[:, i]) / n
        z = new
    assert attended_values(prompts, layers_of(P, Q), softmax=True).item() == pytest.approx(
        -z[-1, -1], abs=1e-12
    )


@pytest.mark.parametrize("layers", [1, 3, 15])
def test_with_the_weights_of_td_layers_are_the_reference(layers):
    d, n, alpha = 3, 20, 0.4
    rng = np.random.default_rng(0)
    context = theory.context_of(*rng.uniform(-1, 1, (2, n, d)), rng.uniform(-1, 1, n))
    columns = theory.prompt(context, rng.uniform(-1, 1, (1, d)), 0.9)
    prompts = Prompts(torch.as_tensor(columns[:, :n])[None], torch.as_tensor(columns[:d, n])[None])
    w = batch_td(prompts.moments(), torch.tensor(alpha, dtype=torch.float64), layers, n)
    exact = theory.updates("td", context, [alpha * np.eye(d)] * layers, gamma=0.9)[-1]
    assert w[0].numpy() == pytest.approx(exact, abs=1e-12)
    slope = query_weights(prompts.moments(), layers_of(*td_weights(d, alpha, layers)), n)
    assert slope[0, :d].numpy() == pytest.approx(exact, abs=1e-12)


def test_values_are_linear_in_the_query_and_independent_of_other_prompts():
    chosen = InContextConfig(features=3, length=7)
    transformer = Transformer(chosen, torch.Generator().manual_seed(0), dtype=torch.float64)
    prompts = random_prompts(3, 7, 5, 0)
    values = transformer(prompts)
    for k in range(5):
        alone = transformer(Prompts(prompts.context[k : k + 1], 2 * prompts.query[k : k + 1]))
        assert alone.item() == pytest.approx(2 * values[k].item(), abs=1e-15)


@pytest.mark.parametrize(("weights", "own"), [("auto-regressive", 1), ("sequential", 4)])
def test_initial_weights(weights, own):
    """Xavier's normal with gain 0.1, over the number of layers that have weights of their own."""
    chosen = InContextConfig(features=10, layers=4, weights=weights)
    found = Transformer(chosen, torch.Generator().manual_seed(1))
    assert found.P.shape == found.Q.shape == (own, 21, 21)
    expected = torch.empty(400, 21, 21)
    for matrix in expected:
        torch.nn.init.xavier_normal_(matrix, gain=0.1 / own, generator=torch.Generator().manual_seed(2))
    both = torch.cat([found.P, found.Q])
    assert both.std().item() == pytest.approx(expected.std().item(), rel=0.1)


def test_prompts_of_another_size_are_refused():
    transformer = Transformer(InContextConfig(features=4))
    with pytest.raises(InputError, match="5 features do not fit a transformer made for 4") as caught:
        transformer(Prompts(torch.zeros(1, 11, 3), torch.zeros(1, 5)))
    assert caught.value.code == "feature_size"


# -- prompts and the loss ---------------------------------------------------------


def test_a_prompt_is_a_window_of_a_walk():
    """A ring 0 -> 1 -> 2 -> ... with reward s on leaving s: every entry is known."""
    states, gamma, n, steps = 7, 0.5, 3, 5
    ring = np.roll(np.eye(states), 1, axis=1)
    phi = np.random.default_rng(0).uniform(-1, 1, (states, 2))
    start = np.eye(states)[4]
    process = Chain(ring, start, np.arange(states, dtype=float), phi)
    chosen = InContextConfig(length=n, gamma=gamma, features=2, states=states)
    batch = draw_batch(
        process, chosen, steps=steps, walks=2, rng=np.random.default_rng(0), dtype=torch.float64
    )
    assert batch.prompts.context.shape == (2, steps + 1, 5, n)
    for walk, k in itertools.product(range(2), range(steps + 1)):
        for i in range(n):
            s = (4 + k + i) % states
            column = [*phi[s], *(gamma * phi[(s + 1) % states]), s]
            assert batch.prompts.context[walk, k, :, i].tolist() == pytest.approx(column)
        query = (4 + k + n + 1) % states
        assert batch.prompts.query[walk, k].tolist() == phi[query].tolist()
        if k < steps:
            assert batch.rewards[walk, k] == query


def test_td_loss_by_hand_and_its_gradient():
    values = torch.tensor([1.0, 2.0, -1.0], requires_grad=True)
    loss = td_loss(values, torch.tensor([0.5, 1.0]), 0.5)
    loss.backward()
    # errors 0.5 + 0.5 * 2 - 1 = 0.5 and 1 - 0.5 - 2 = -1.5; a target has no gradient
    assert loss.item() == pytest.approx((0.25 + 2.25) / 2)
    assert values.grad.tolist() == pytest.approx([-0.5, 1.5, 0.0])


# -- the invariant set ------------------------------------------------------------


def signed_permutations(d):
    for order in itertools.permutations(range(d)):
        for signs in itertools.product((1.0, -1.0), repeat=d):
            yield torch.diag(torch.tensor(signs, dtype=torch.float64))[list(order)]


def expected_loss(P, Q, batch, gamma):
    """The loss, averaged exactly over all signs and orders of the features, which leave their law alone."""
    d, n = batch.prompts.query.shape[-1], batch.prompts.length
    losses = []
    for g in signed_permutations(d):
        of_all = torch.block_diag(g, g, torch.ones(1, 1, dtype=torch.float64))
        turned = Prompts(of_all @ batch.prompts.context, batch.prompts.query @ g.T)
        losses.append(
            td_loss(linear_values(turned.moments(), turned.query, layers_of(P, Q), n), batch.rewards, gamma)
        )
    return torch.stack(losses).mean()


def trained(P, Q, *, layers, d, lr, updates=20):
    """P and Q after expected updates on random processes, all layers sharing them."""
    chosen = InContextConfig(features=d, length=8, states=5, layers=layers)
    P, Q = P.clone().requires_grad_(), Q.clone().requires_grad_()
    steps = torch.optim.SGD([P, Q], lr=lr)
    for k in range(updates):
        rng = np.random.default_rng(k)
        drawn = draw_batch(draw_process(chosen, rng), chosen, steps=16, walks=1, rng=rng, dtype=torch.float64)
        batch = Batch(*vars(drawn.walk(0)).values())
        steps.zero_grad()
        shape = (layers, *P.shape[1:])
        expected_loss(P.expand(shape), Q.expand(shape), batch, chosen.gamma).backward()
        steps.step()
    return P.detach()[0], Q.detach()[0]


def off_blocks(matrix, d):
    """The largest entry of what is no multiple of the unit matrix in a block, or in the last corner."""
    rest = matrix.clone()
    for at, along in itertools.product((0, d), repeat=2):
        block = rest[at : at + d, along : along + d]
        block -= block.diagonal().mean() * torch.eye(d, dtype=torch.float64)
    rest[-1, -1] = 0
    return rest.abs().max().item()


def test_td_weights_belong_to_an_invariant_set_of_the_expected_update():
    """One layer: P keeps its corner alone, and what acts on the query keeps multiples of the unit matrix.

    The multiple c' that acts on successors leaves TD's 0: the set has three numbers, corner, c and c'.
    """
    d, (P0, Q0) = 3, td_weights(3, 0.5)
    P, Q = trained(P0, Q0, layers=1, d=d, lr=0.3)
    moved = [P[-1, -1] - 1, Q[0, 0] + 0.5, Q[d, 0]]
    assert all(abs(each) > 1e-3 for each in moved)
    assert (P - P0[0]).flatten()[:-1].abs().max() < 1e-12
    assert off_blocks(Q, d) < 1e-12
    assert Q[-1, -1] == 0
    assert (Q[:, d:] == Q0[0][:, d:]).all()  # they act on the query's successor, which is 0


def test_layers_that_share_weights_keep_multiples_of_the_unit_matrix():
    d, (P0, Q0) = 2, td_weights(2, 0.5)
    P, Q = trained(P0, Q0, layers=3, d=d, lr=0.3)
    assert off_blocks(P, d) < 1e-12
    assert off_blocks(Q, d) < 1e-12
    assert abs(P[0, 0]) > 1e-4  # but P does not keep its corner alone


def test_away_from_the_set_nothing_is_kept():
    d, (P0, Q0) = 2, td_weights(2, 0.5)
    Q0[:, 0, 1] += 0.2
    _, Q = trained(P0, Q0, layers=1, d=d, updates=1, lr=0.3)
    assert off_blocks(Q, d) > 0.1
