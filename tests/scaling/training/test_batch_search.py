"""The greedy batch-size search: how forks are judged, and a few of them done."""

import itertools
import json
import math

import pytest
import torch
import yaml
from command_line import run

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.training.batch_search import (
    MIN_ITERATIONS,
    Fork,
    judged,
    reseeded,
    search_batch_size,
    summarize,
)
from rlscale.scaling.training.run import Run


def bandit(**agent):
    values = {"task": "digits-bandit", "interactions": 10_000, "model": {"width": 0.05}}
    return run_config({**values, "agent": {"rollout_steps": 64, "minibatches": 4, **agent}}, source="test")


def forks_at(*doublings, envs=1, last=10**6):
    """Forks of which those at the given interactions doubled."""
    forks = []
    for e in sorted({*doublings, 0, last}):
        forks.append(Fork(e, envs, 0.5, 0.5, 0.1, doubled=e in doublings))
        envs *= 1 + forks[-1].doubled
    return forks


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.8])
def test_doublings_of_a_power_law_give_it_back(exponent):
    wanted = AgentConfig(batch_growth={"exponent": exponent, "reference": 50_000})
    doublings = [round(50_000 * 2 ** (k / exponent)) for k in (1, 2, 3)]
    found = summarize(AgentConfig(), forks_at(*doublings))
    assert found.growth.exponent == pytest.approx(exponent, abs=1e-3)
    assert found.growth.reference == pytest.approx(50_000, rel=1e-3)
    again = AgentConfig(**found.agent_values())
    for e in (0, 60_000, 10**6, 10**7):
        assert again.num_envs_at(e) == wanted.num_envs_at(e)


def test_doublings_at_the_start_belong_to_the_smallest_batch():
    found = summarize(AgentConfig(rollout_steps=64), forks_at(0, 10_000, 40_000))
    assert (found.num_envs, found.doublings) == (2, ((10_000, 256), (40_000, 512)))
    assert found.growth.exponent == pytest.approx(0.5)


def test_an_exponent_above_1_is_held_at_1_through_the_doublings_middle():
    found = summarize(AgentConfig(), forks_at(10_000, 11_000))
    assert found.growth.exponent == 1.0
    middle = math.sqrt(10_000 * 11_000)
    assert middle / found.growth.reference == pytest.approx(2**1.5, rel=1e-3)


@pytest.mark.parametrize("doublings", [(), (5000,)])
def test_fewer_than_two_doublings_determine_no_power_law(doublings):
    found = summarize(AgentConfig(), forks_at(*doublings))
    assert found.growth is None
    assert found.agent_values()["batch_growth"]["exponent"] == 0


def test_a_fork_is_kept_only_if_it_is_better_by_more_than_chance():
    small = [0.50, 0.52, 0.54]
    error = math.sqrt(2 * 0.0004 / 3)
    for gain in (-0.1, 0.0, 1.9 * error, 2.1 * error, 0.2):
        fork = judged(100, 4, [small, [value + gain for value in small]], 2.0)
        assert fork.doubled == (gain > 2 * error)
        assert fork.standard_error == pytest.approx(error)
    assert not judged(0, 1, [small, small], 0.0).doubled  # a tie keeps the batch


def test_other_streams_leave_the_networks_and_change_what_is_drawn():
    config = bandit()
    run = Run(config)
    run.iterate()
    state = run.save()

    def after(checkpoint):
        fork = Run(config)
        fork.restore(checkpoint)
        before = [p.clone() for p in fork.agent.model.parameters()]
        fork.iterate(envs=2)
        return before, [p.clone() for p in fork.agent.model.parameters()]

    same, other, again = (after(reseeded(state, (1, seed))) for seed in (0, 1, 0))
    for mine, theirs in zip(same[0], run.agent.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert all(torch.equal(a, b) for a, b in zip(same[1], again[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(same[1], other[1], strict=True))


def test_the_search_moves_on_from_the_fork_it_keeps():
    config = bandit()
    told = []
    options = {"interactions": 4000, "fork_interactions": 1000, "seeds": 2, "on_fork": told.append}
    found = search_batch_size(config, **options)
    assert list(found.forks) == told
    assert told[0].interactions == 0
    for before, after in itertools.pairwise(told):
        length = after.interactions - before.interactions
        assert length >= max(1000, MIN_ITERATIONS * 2 * before.num_envs * 64)
        assert after.num_envs == before.num_envs * (2 if before.doubled else 1)
    assert all(0 <= fork.small <= 1 and fork.standard_error >= 0 for fork in told)
    assert search_batch_size(config, **options) == found


@pytest.mark.parametrize(
    ("agent", "options", "words"),
    [
        ({"batch_growth": {"exponent": 0.5}}, {}, "leave it out"),
        ({"minibatches": 3, "rollout_steps": 63}, {}, "power of 2"),
        ({"algorithm": "ppg", "num_envs": 4}, {}, "batch_growth is for ppo"),
        ({}, {"seeds": 1}, "at least 2"),
        ({}, {"fork_interactions": 0}, "at least 1"),
        ({}, {"standard_errors": math.nan}, "0 or more"),
    ],
)
def test_what_cannot_be_searched_is_refused(agent, options, words):
    with pytest.raises(InputError, match=words):
        search_batch_size(bandit(**agent), **{"interactions": 1000, "fork_interactions": 100, **options})


def test_the_command_prints_each_fork_and_yaml_for_a_config(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "{task: digits-bandit, interactions: 2000, model: {width: 0.05}, "
        "agent: {rollout_steps: 64, minibatches: 4}}"
    )
    options = ["--fork-interactions", "1000", "--seeds", "2", "--json", "found.json", "--device", "cpu"]
    done = run("batch-search", "run.yaml", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text())
    lines = [line for line in done.stdout.splitlines() if line.startswith("E ")]
    assert [line.endswith("keeps 2B") for line in lines] == [fork["doubled"] for fork in found["forks"]]
    printed = yaml.safe_load("\n".join(done.stdout.splitlines()[len(lines) :]))
    assert printed["agent"] == found["agent"]
    assert AgentConfig(**printed["agent"]).num_envs == found["agent"]["num_envs"]
