"""Metrics of trained transformers against their definitions, one process and one state at a time."""

import numpy as np
import pytest
import torch

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.solvable.in_context_metrics import draw_held_out, measure, structure
from rlscale.scaling.solvable.in_context_td import Prompts, Transformer, batch_td

SMALL = {"features": 3, "states": 6, "length": 12, "held_out": 5, "layers": 2}


def case(**changes):
    settings = InContextConfig(**(SMALL | changes))
    transformer = Transformer(settings, torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        for each in transformer.parameters():
            each.mul_(4)  # so that values are not all about 0
    return settings, transformer, draw_held_out(settings, dtype=torch.float64)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("attention", ["linear", "softmax"])
def test_metrics_are_those_of_the_definitions(attention):
    _, transformer, held_out = case(attention=attention)
    alpha = torch.tensor(0.7, dtype=torch.float64)
    found = measure(transformer, alpha, held_out)
    for k in range(5):
        context, phi = held_out.prompts.context[k, 0], held_out.prompts.query[k]
        visits, truth = held_out.visits[k], held_out.values[k]
        w = batch_td((context @ context.T)[None], alpha, 2, 12)[0].numpy()
        values, slopes = [], []
        for s in range(6):
            query = phi[s].clone().requires_grad_()
            value = transformer(Prompts(context[None], query[None])).sum()
            value.backward()
            values.append(value.item())
            slopes.append(query.grad.numpy())
        v, reference = np.array(values), phi.numpy() @ w
        error = sum(visits[s] * (v[s] - truth[s]) ** 2 for s in range(6))
        assert found.returns[k] == pytest.approx(1 - error / held_out.spread)
        assert found.value_difference[k] == pytest.approx(visits @ (v - reference) ** 2)
        root = np.sqrt(visits)
        explained = np.linalg.lstsq(root[:, None] * phi.numpy(), root * v, rcond=None)[0]
        assert found.weight_similarity[k] == pytest.approx(cosine(explained, w))
        sensitivity = sum(visits[s] * cosine(slopes[s], w) for s in range(6))
        assert found.sensitivity_similarity[k] == pytest.approx(sensitivity)


def test_values_of_zero_have_the_return_0_and_true_ones_have_1():
    _, transformer, held_out = case()
    with torch.no_grad():
        transformer.P.zero_()
    assert measure(transformer, torch.tensor(0.0), held_out).returns.mean() == pytest.approx(0)
    assert held_out.spread == pytest.approx(np.mean((held_out.visits * held_out.values**2).sum(1)))


def test_with_the_weights_of_td_it_is_the_reference():
    d = 3
    _, transformer, held_out = case()
    P, Q = transformer.P.data.zero_(), transformer.Q.data.zero_()
    P[0, -1, -1] = -2.0  # the signs of P and Q flip together, and so may their scales change
    Q[0, :d, :d], Q[0, :d, d : 2 * d] = 0.25 * torch.eye(d), -0.25 * torch.eye(d)
    found = measure(transformer, torch.tensor(0.5, dtype=torch.float64), held_out)
    assert found.value_difference == pytest.approx(np.zeros(5), abs=1e-25)
    assert found.returns == pytest.approx(found.reference_returns)
    assert found.means()["weight_similarity"] == pytest.approx(1)
    assert found.means()["sensitivity_similarity"] == pytest.approx(1)
    expected = {"p_corner": 1, "p_others": 0, "q_left": -1, "q_right": 1, "q_others": 0}
    assert structure(transformer.P, transformer.Q) == pytest.approx(expected)


def test_structure_by_hand():
    """d = 1: rows (φ, γφ', r). The largest entry is 4 in P and 2 in Q."""
    P = torch.tensor([[[1.0, 0, 0], [0, -4, 0], [0, 0, 2]]])
    Q = torch.tensor([[[-2.0, 1, 0], [0, 0, 1], [0, 0, 0]]])
    expected = {"p_corner": 0.5, "p_others": 1.25 / 8, "q_left": -1, "q_right": 0.5, "q_others": 0.5 / 7}
    assert structure(P, Q) == pytest.approx(expected)
    flipped = structure(-P, -Q)
    assert flipped == pytest.approx(expected)


def test_held_out_processes_do_not_depend_on_the_context():
    short, long = (draw_held_out(InContextConfig(**(SMALL | {"length": n}))) for n in (5, 40))
    assert (short.values == long.values).all()
    assert (short.visits == long.visits).all()
    assert torch.equal(short.prompts.query, long.prompts.query)
    assert not torch.equal(short.prompts.context[0, 0], short.prompts.context[1, 0])
    assert torch.equal(short.prompts.context[..., :5], long.prompts.context[..., :5])
