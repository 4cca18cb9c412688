"""The constructed transformer against the explicit batch updates, and against the fixed point of TD."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlscale.analysis.theory import in_context_td as ic
from rlscale.analysis.theory.in_context_demo import loop_process
from rlscale.scaling.errors import InputError

METHODS = ("td", "residual-gradient", "average-reward")


def random_case(d, n, layers, seed, queries=1):
    rng = np.random.default_rng(seed)
    phi, after = rng.uniform(-1, 1, (2, n, d))
    context = ic.context_of(phi, after, rng.uniform(-1, 1, n))
    preconditioners = 0.3 * rng.normal(size=(layers, d, d)) / np.sqrt(d)
    return context, rng.uniform(-1, 1, (queries, d)), preconditioners


@pytest.mark.parametrize(("method", "lam"), [*((each, 0.0) for each in METHODS), ("td", 0.7), ("td", 1.0)])
@settings(max_examples=25, deadline=None)
@given(
    d=st.integers(1, 6),
    n=st.integers(1, 30),
    layers=st.integers(1, 8),
    queries=st.integers(1, 3),
    gamma=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
@example(d=1, n=1, layers=5, queries=1, gamma=0.9, seed=0)
@example(d=4, n=30, layers=15, queries=1, gamma=0.9, seed=1)
@example(d=1, n=7, layers=3, queries=2, gamma=1.0, seed=2)
@example(d=6, n=1, layers=3, queries=2, gamma=0.0, seed=3)
def test_layers_are_batch_updates(method, lam, d, n, layers, queries, gamma, seed):
    gamma = 1.0 if method == "average-reward" else gamma
    context, phi_q, c = random_case(d, n, layers, seed, queries)
    values = ic.in_context_values(method, context, phi_q, c, gamma=gamma, lam=lam)
    weights = ic.updates(method, context, c, gamma=gamma, lam=lam)
    assert values.shape == (layers + 1, queries)
    assert np.abs(values - weights @ phi_q.T).max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 5), n=st.integers(1, 12), gamma=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_the_last_row_of_the_context_holds_the_td_errors(d, n, gamma, seed):
    context, phi_q, c = random_case(d, n, 5, seed)
    layers = [ic.constructed_layer("td", each, n) for each in c]
    states = ic.forward(ic.prompt(context, phi_q, gamma), layers, n)
    weights = ic.updates("td", context, c, gamma=gamma)
    for z, w in zip(states, weights, strict=True):
        assert z[-1, :n] == pytest.approx(ic.td_errors("td", context, w, gamma=gamma), abs=1e-12)
    assert (states[:, :-1] == states[0, :-1]).all()


def test_one_update_by_hand():
    """d = 1, n = 2: δ = (1, 3) at w = 0, so w_1 = 0.5 (1 * 1 + 3 * 2) / 2; the trace is 1, then 2 + γλ."""
    context = ic.context_of([[1.0], [2.0]], [[2.0], [1.0]], [1.0, 3.0])
    c = [[[0.5]]]
    assert ic.updates("td", context, c, gamma=0.8)[1] == pytest.approx([0.5 * (1 + 6) / 2])
    assert ic.updates("td", context, c, gamma=0.8, lam=0.5)[1] == pytest.approx([0.5 * (1 + 3 * 2.4) / 2])
    by_residual = 0.5 * (1 * (1 - 1.6) + 3 * (2 - 0.8)) / 2
    assert ic.updates("residual-gradient", context, c, gamma=0.8)[1] == pytest.approx([by_residual])
    # The running mean of r is (1, 2), so δ = (0, 1).
    assert ic.updates("average-reward", context, c)[1] == pytest.approx([0.5 * 2 / 2])


@pytest.mark.parametrize("method", METHODS)
def test_the_wrong_sign_or_a_mask_that_shows_queries_fails(method):
    context, phi_q, _ = random_case(4, 10, 6, 5, queries=3)
    c = np.broadcast_to(0.5 * np.eye(4), (6, 4, 4))
    gamma = 1.0 if method == "average-reward" else 0.9
    expected = phi_q @ ic.updates(method, context, c, gamma=gamma)[-1]
    z = ic.prompt(context, phi_q, gamma, memory=method == "average-reward")
    layers = [ic.constructed_layer(method, each, 10, num_queries=3) for each in c]
    right = ic.output(ic.forward(z, layers, 10)[-1], method, 10)
    assert right == pytest.approx(expected, abs=1e-12)
    assert np.abs(-right - expected).max() > 1e-3  # nine orders above rounding
    unmasked = [tuple(ic.Head(h.P, h.Q, np.eye(13)) for h in layer) for layer in layers]
    assert (
        np.abs(ic.output(ic.forward(z, unmasked, 10)[-1], method, 10) - expected).max() > 1e-3
    )  # nine orders above rounding


def test_the_order_of_the_context_matters_to_traces_alone():
    context, phi_q, c = random_case(3, 8, 5, 6)
    turned = ic.Context(context.features[::-1], context.successors[::-1], context.rewards[::-1])

    def change(method, **options):
        one, other = (
            ic.in_context_values(method, each, phi_q, c, **options)[-1] for each in (context, turned)
        )
        return np.abs(one - other).max()

    assert change("td", gamma=0.9) < 1e-12
    assert change("residual-gradient", gamma=0.9) < 1e-12
    assert change("td", gamma=0.9, lam=0.5) > 1e-3
    assert change("average-reward") > 1e-3  # its mean runs along the trajectory


def test_many_layers_come_to_the_fixed_point():
    rng = np.random.default_rng(7)
    phi = rng.uniform(-1, 1, (31, 3))
    context = ic.context_of(phi[:-1], phi[1:], rng.uniform(-1, 1, 30))
    a = context.features.T @ (context.features - 0.9 * context.successors) / 30
    assert np.linalg.eigvals(a).real.min() > 0.05
    values = ic.in_context_values(
        "td", context, phi[-1], np.broadcast_to(0.5 * np.eye(3), (1500, 3, 3)), gamma=0.9
    )
    goal = ic.fixed_point(context, 0.9)
    assert np.abs(ic.td_errors("td", context, goal, gamma=0.9) @ context.features).max() < 1e-12
    assert values[-1, 0] == pytest.approx(goal @ phi[-1], abs=1e-9)


def test_without_steps_nothing_is_learned_and_lambda_zero_is_td():
    context, phi_q, c = random_case(3, 6, 4, 8)
    assert not ic.in_context_values("td", context, phi_q, 0 * c, gamma=0.9).any()
    traced = ic.constructed_layer("td", c[0], 6, decay=0.0)[0]
    assert np.array_equal(traced.M, np.diag([1.0] * 6 + [0.0]))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: ic.context_of(np.zeros((0, 3)), np.zeros((0, 3)), []), "context_too_short"),
        (lambda: ic.context_of(np.zeros((2, 0)), np.zeros((2, 0)), [1, 2]), "context_too_short"),
        (lambda: ic.context_of(np.ones((2, 3)), np.ones((2, 4)), [1, 2]), "feature_size"),
        (lambda: ic.context_of(np.ones((2, 3)), np.ones((2, 3)), [1]), "feature_size"),
        (lambda: ic.prompt(random_case(3, 4, 1, 0)[0], np.ones(4), 0.9), "feature_size"),
        (lambda: ic.constructed_layer("td", np.eye(3), 0), "context_too_short"),
        (lambda: ic.constructed_layer("td", np.ones((2, 3)), 4), "feature_size"),
        (lambda: ic.constructed_layer("residual-gradient", np.eye(3), 4, decay=0.5), "invalid_option"),
        (
            lambda: ic.updates("average-reward", random_case(3, 4, 1, 0)[0], np.eye(3)[None], gamma=0.9),
            "invalid_option",
        ),
        (
            lambda: ic.in_context_values(
                "td", random_case(3, 4, 1, 0)[0], np.ones(3), np.eye(4)[None], gamma=0.9
            ),
            "feature_size",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make, code):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


@settings(max_examples=25, deadline=None)
@given(states=st.integers(3, 15), threshold=st.floats(0, 1), seed=st.integers(0, 99))
def test_loop_processes_go_on_and_never_stand_still(states, threshold, seed):
    chain = loop_process(states, threshold, np.random.default_rng(seed))
    assert chain.sum(axis=1) == pytest.approx(np.ones(states))
    assert not np.diag(chain).any()
    assert (chain[np.arange(states), np.roll(np.arange(states), -1)] > 0).all()
    if threshold == 1:
        assert np.count_nonzero(chain) == states
