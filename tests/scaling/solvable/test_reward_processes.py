"""Random reward processes: what is drawn, where walks go, and their true values against long walks."""

import gymnasium
import numpy as np
import pytest

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.solvable.reward_processes import CartPole, Chain, draw_process, stationary


def drawn(seed=0, **settings):
    return draw_process(InContextConfig(**settings), np.random.default_rng(seed))


def cart_pole(**changes):
    """That of gymnasium, with the tiles of a coarse grid."""
    build = {
        "right": 0.5,
        "gravity": 9.8,
        "cart": 1.0,
        "pole": 0.1,
        "length": 0.5,
        "force": 10.0,
        "tau": 0.02,
    }
    rng = np.random.default_rng(1)
    return CartPole(bins=2, rewards=rng.uniform(-1, 1, 16), features=np.eye(16), **(build | changes))


@pytest.mark.parametrize("process", ["boyan", "loop"])
@pytest.mark.parametrize("seed", range(5))
def test_chains_are_irreducible_and_have_the_edges_of_their_kind(process, seed):
    chain = drawn(seed, process=process, states=8)
    assert isinstance(chain, Chain)
    p = chain.transitions
    assert p.sum(axis=1) == pytest.approx(np.ones(8))
    assert (np.linalg.matrix_power(p + np.eye(8), 16) > 0).all()
    if process == "boyan":
        allowed = np.zeros((8, 8), bool)
        for i in range(6):
            allowed[i, [i + 1, i + 2]] = True
        allowed[6, 7] = allowed[7] = True
        assert ((p > 0) == allowed).all()
    else:
        assert (np.diagonal(p) == 0).all()
        assert (p[np.arange(8), (np.arange(8) + 1) % 8] > 0).all()
    assert (np.abs(chain.features) <= 1).all()
    assert (np.abs(chain.rewards) <= 1).all()


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_the_threshold_is_the_share_of_edges_left_out(threshold, share):
    p = drawn(process="loop", states=60, threshold=threshold).transitions
    beside = ~np.eye(60, dtype=bool) & ~np.roll(np.eye(60, dtype=bool), 1, axis=1)
    assert (p[beside] > 0).mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("process", ["boyan", "loop"])
def test_values_and_visits_are_those_of_long_walks(process):
    chain, gamma = drawn(3, process=process, states=5, features=3), 0.6
    visits, values = chain.truth(gamma, np.random.default_rng(0))
    assert visits == pytest.approx(stationary(chain.transitions))
    assert visits @ chain.transitions == pytest.approx(visits)
    states, rewards = chain.walk(4000, 60, np.random.default_rng(1))
    returns = (rewards * gamma ** np.arange(60)).sum(axis=1)
    for s in range(5):
        sample = returns[states[:, 0] == s]
        assert abs(sample.mean() - values[s]) < 4 * sample.std() / np.sqrt(len(sample))
    assert np.bincount(states[:, -1], minlength=5) / 4000 == pytest.approx(visits, abs=0.04)
    assert (rewards == chain.rewards[states[:, :-1]]).all()


@pytest.mark.parametrize("process", ["boyan", "loop"])
def test_representable_values_are_linear_in_the_features(process):
    chain = drawn(5, process=process, representable=True)
    values = chain.truth(0.9, np.random.default_rng(0))[1]
    weights = np.linalg.lstsq(chain.features, values, rcond=None)[0]
    assert chain.features @ weights == pytest.approx(values, abs=1e-10)


def test_cart_and_pole_move_as_in_gymnasium():
    theirs = gymnasium.make("CartPole-v1").unwrapped
    theirs.reset(seed=0)
    process, rng = cart_pole(), np.random.default_rng(0)
    body = np.array([0.1, -0.3, 0.02, 0.1])
    for right in rng.random(12) < 0.5:
        theirs.state = tuple(body)
        theirs.step(int(right))
        body = process.moved(body[:, None], np.array([10.0 if right else -10.0]))[:, 0]
        assert body == pytest.approx(np.array(theirs.state), abs=1e-12)


def test_tiles_count_position_first_and_hold_what_is_beyond():
    process = cart_pole()
    bodies = np.array([[-1, -1, -0.1, -1], [-1, -1, -0.1, 1], [1, -1, -0.1, -1], [1, 9, 0.1, 9]]).T
    assert process.tiles(bodies).tolist() == [0, 1, 8, 15]


def test_a_fallen_pole_begins_anew_and_rewards_are_of_the_tile_that_is_come_to():
    process = cart_pole(right=1.0, force=15.0, tau=0.05)
    states, rewards = process.walk(3, 200, np.random.default_rng(0))
    assert (rewards == process.rewards[states[:, 1:]]).all()
    velocity = states // 4 % 2  # pushed to the right it only grows, but where it begins anew
    assert (np.diff(velocity, axis=1) < 0).any()


def test_tiles_have_measured_values():
    """Other walks find the same visits and values."""
    process, gamma = drawn(2, process="cartpole"), 0.9
    visits, values = process.truth(gamma, np.random.default_rng(0))
    again = process.truth(gamma, np.random.default_rng(1))
    assert visits.sum() == pytest.approx(1)
    assert visits == pytest.approx(again[0], abs=0.03)
    assert visits @ (values - again[1]) ** 2 < 0.01 * (visits @ values**2)
