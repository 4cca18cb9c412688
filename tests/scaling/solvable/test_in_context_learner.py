"""The learner of in-context-td: golden numbers, what an update is, learning, and wrong configs."""

import numpy as np
import pytest
import torch

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.solvable.in_context_learner import InContextLearner, facts, make_learner
from rlscale.scaling.solvable.in_context_td import linear_values, td_loss
from rlscale.sweeps.store.schema import CURVE_COLUMNS, IN_CONTEXT


def settings_of(**section):
    return run_config(
        {"task": "in-context-td", "interactions": 1000, "in_context": section}, source="run.yaml"
    ).settings


def learner_of(seed=0, **section) -> InContextLearner:
    return make_learner(settings_of(**section), seed=np.random.SeedSequence(seed))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, (0.41543, 0.22724)),
        ({"process": "loop", "weights": "sequential", "layers": 2}, (0.28789, 0.27033)),
        ({"process": "cartpole", "attention": "softmax", "held_out": 4}, (0.37080, 0.62347)),
    ],
    ids=["published", "sequential", "softmax"],
)
def test_golden_numbers(section, expected):
    """Loss and reference's loss of the 12th update."""
    learner = learner_of(**section)
    for _ in range(12):
        losses = learner.iterate(10**6).diagnostics
    assert (losses["td_error"], losses["reference_td_error"]) == pytest.approx(expected, rel=1e-3)


def test_an_update_is_adam_on_the_td_error_of_one_walk():
    learner = learner_of(layers=2)
    P, Q = (each.detach().clone().requires_grad_() for each in (learner.transformer.P, learner.transformer.Q))
    own = torch.optim.Adam([P, Q], lr=1e-3, weight_decay=1e-6)
    for place in range(3):
        batch = learner.batches_of(0).walk(place)
        values = linear_values(batch.prompts.moments(), batch.prompts.query, [(P[0], Q[0])] * 2, 30)
        loss = td_loss(values, batch.rewards, 0.9)
        own.zero_grad()
        loss.backward()
        own.step()
        done = learner.iterate(10**6)
        assert done.diagnostics["td_error"] == pytest.approx(loss.item())
        assert done.interactions == 30 + 1 + 64
    assert torch.allclose(learner.transformer.P, P, atol=1e-7)
    assert torch.allclose(learner.transformer.Q, Q, atol=1e-7)


def test_it_learns_towards_td():
    """One layer and values that are linear in the features, which is learned within 600 updates."""
    learner = learner_of(layers=1, representable=True, learning_rate=0.01)
    before = learner.measure()
    for _ in range(600):
        learner.iterate(10**6)
    after = learner.measure()
    assert set(after) <= CURVE_COLUMNS.keys() | IN_CONTEXT.keys()
    assert abs(before["return_mean"]) < 0.05
    assert after["return_mean"] > 0.5
    assert after["weight_similarity"] > 0.85
    assert after["p_corner"] == 1
    assert after["q_left"] < -0.8


def test_sizes():
    shared, own = (facts(settings_of(weights=each, layers=5)) for each in ("auto-regressive", "sequential"))
    assert (shared.num_params, own.num_params) == (2 * 9 * 9, 5 * 2 * 9 * 9)
    assert shared.flops_forward == own.flops_forward
    assert (shared.depth, shared.width, shared.horizon) == (5, 1, pytest.approx(19))
    # The moments of 30 columns; four layers with two products each for the layer and two for its moments,
    # and the products with a last row, which is all that is needed of the last layer.
    assert shared.flops_forward == 2 * (30 * 81 + 4 * 4 * 729 + 2 * 81 + 4 * 81)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"length": 0}, "'in_context.length': a context without transitions holds nothing to learn from"),
        (
            {"layers": 0},
            "'in_context.layers': a transformer has 1 to 128 layers; give a number in this range",
        ),
        ({"process": "maze"}, "'in_context.process': input should be 'boyan', 'loop' or 'cartpole'"),
        ({"features": 11}, "11 features do not fit 10 states"),
        ({"features": 0}, "give 1 to 10 features"),
        ({"process": "cartpole", "states": 10}, "give 16, 81 or 256"),
        ({"process": "cartpole", "representable": True}, "leave it out"),
        ({"states": 2, "features": 1}, "give 3 or more"),
        ({"depth": 3}, "unknown key 'in_context.depth'; known here: process, states"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_wrong_configs_are_one_sentence(section, sentence):
    with pytest.raises(InputError) as caught:
        settings_of(**section)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("run.yaml: ")
    assert "\n" not in str(caught.value)
