"""Rescaling an agent by c against the paper's table and its own laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.rescaling import center_of_mass, decay_of_mass, decay_of_span, rescaled, span
from rlscale.scaling.errors import InputError

PROCGEN = AgentConfig(
    algorithm="ppg-ewma", horizon=1999, gae_lambda=0.95, num_envs=256, rollout_steps=256, minibatches=8
)

# c: Adam step, centre of mass, decay of the EWMA, span and decay of the advantages, n_pi
TABLE = {
    4: (2.5e-4, 32, 0.96970, 4, 0.6, 128),
    16: (1.25e-4, 128, 0.99225, 16, 0.88235, 512),
    64: (6.25e-5, 512, 0.99805, 64, 0.96923, 2048),
    256: (3.125e-5, 2048, 0.99951, 256, 0.99222, 8192),
}


@pytest.mark.parametrize("c", TABLE)
def test_the_papers_table_comes_out(c):
    step, mass, decay, advantage_span, advantage_decay, n_pi = TABLE[c]
    agent = rescaled(PROCGEN, c)
    assert agent.num_envs == 256 // c
    assert agent.learning_rate == pytest.approx(step, rel=1e-12)
    assert center_of_mass(agent.ewma_decay) == pytest.approx(mass, rel=1e-9)
    assert round(agent.ewma_decay, 5) == decay
    assert span(agent.advantage_decay) == pytest.approx(advantage_span, rel=1e-9)
    assert round(agent.advantage_decay, 5) == advantage_decay
    assert agent.phasic.policy_iterations == n_pi
    # One worker is left for every c of the table; its auxiliary minibatch is 4 sequences.
    assert (agent.phasic.sequences, agent.phasic.learning_rate) == (4, 2.5e-4)
    assert (agent.minibatches, agent.rollout_steps, agent.adam_betas) == (8, 256, (0.9, 0.999))


def test_a_phase_holds_as_many_interactions_at_every_batch_size():
    for c in (1, 2, 4, 256):
        agent = rescaled(PROCGEN, c)
        assert agent.phasic.policy_iterations * agent.num_envs * agent.rollout_steps == 32 * 65_536


def test_two_workers_keep_half_of_the_auxiliary_minibatch():
    phasic = rescaled(PROCGEN, 2).phasic
    assert phasic.sequences == 8
    assert phasic.learning_rate == pytest.approx(5e-4 / 2**0.5)


def test_dividing_by_one_changes_nothing_but_rounding():
    before, after = PROCGEN.model_dump(), rescaled(PROCGEN, 1).model_dump()
    assert after.pop("ewma_decay") == pytest.approx(before.pop("ewma_decay"))
    assert after == before


@given(st.sampled_from([(2, 2), (2, 8), (4, 4), (4, 64), (16, 16)]))
def test_rescaling_twice_is_rescaling_by_the_product(factors):
    first, second = factors
    twice, once = rescaled(rescaled(PROCGEN, first), second), rescaled(PROCGEN, first * second)
    assert twice.ewma_decay == pytest.approx(once.ewma_decay, rel=1e-9)
    assert twice.advantage_decay == pytest.approx(once.advantage_decay, rel=1e-9)
    assert twice.learning_rate == pytest.approx(once.learning_rate)
    assert twice.phasic.learning_rate == pytest.approx(once.phasic.learning_rate)
    same = {"ewma_decay", "advantage_decay", "learning_rate", "phasic"}
    assert twice.model_dump(exclude=same) == once.model_dump(exclude=same)


@given(st.floats(0, 0.9999))
def test_decays_and_their_ages_invert_each_other(decay):
    assert decay_of_mass(center_of_mass(decay)) == pytest.approx(decay, abs=1e-12)
    assert decay_of_span(span(decay)) == pytest.approx(decay, abs=1e-12)


def test_betas_move_only_when_asked():
    betas = rescaled(PROCGEN, 4, rescale_betas=True).adam_betas
    assert betas == pytest.approx((0.9**0.25, 0.999**0.25))


@pytest.mark.parametrize(
    ("agent", "c", "words"),
    [
        (PROCGEN, 512, "at most 256"),
        (PROCGEN, 3, "a divisor of it"),
        (PROCGEN, 0, "at least 1"),
        (PROCGEN.model_copy(update={"algorithm": "ppg"}), 4, "ppg-ewma"),
        (AgentConfig(algorithm="ppg-ewma", num_envs=256, phasic={"sequences": 2}), 4, "multiple of 4"),
    ],
)
def test_what_cannot_be_rescaled_is_refused(agent, c, words):
    with pytest.raises(InputError, match=words):
        rescaled(agent, c)
