"""Acting: sampling, and rollouts beside stepping one observation at a time."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import torch
from learners import CPU, bandit_collector, small_networks
from scipy import stats
from torch.distributions import Categorical

from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.models.distributions import sample
from rlscale.scaling.models.families import build_actor_critic
from rlscale.scaling.rollouts.environments import EnvironmentCollector
from rlscale.scaling.rollouts.policy import policy_of
from rlscale.scaling.tasks.catalog import Discrete
from rlscale.scaling.tasks.digits.bandit import DigitBanditVectorEnv
from rlscale.scaling.tasks.procgen.games import ProcgenEnv
from rlscale.scaling.tasks.procgen.names import ProcgenTask


def test_sampling_follows_the_distribution():
    weights = np.array([0.4, 0.02, 0.2, 0.0, 0.3, 0.08])
    draws = 100_000
    policy = Categorical(probs=torch.tensor(weights).expand(draws, -1))
    actions = sample(policy, np.random.default_rng(0).random(draws)).numpy()
    counts = np.bincount(actions, minlength=len(weights))
    assert counts[3] == 0
    possible = weights > 0
    assert stats.chisquare(counts[possible], draws * weights[possible]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("uniform", "action"),
    [(0.0, 0), (np.nextafter(0.25, 0), 0), (0.25, 1), (0.5, 1), (0.75, 2), (np.nextafter(1.0, 0), 2)],
)
def test_sampling_is_exact_at_the_edges(uniform, action):
    policy = Categorical(probs=torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64))
    assert sample(policy, np.array([uniform])).item() == action


@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.999])
def test_sampling_never_takes_an_impossible_action_at_the_front(uniform):
    policy = Categorical(probs=torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
    assert sample(policy, np.array([uniform])).item() == 2


def test_sampling_never_takes_an_impossible_action_at_the_back():
    """In float32 the largest uniform number below 1 rounds to 1."""
    policy = Categorical(probs=torch.tensor([[0.5, 0.5, 0.0]]))
    assert sample(policy, np.array([np.nextafter(1.0, 0)])).item() == 1


def test_sampling_is_row_by_row():
    probs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert sample(Categorical(probs=probs), np.array([0.7, 0.2, 0.6])).tolist() == [0, 1, 1]


def logits_of(model, observation):
    return model.policy.heads["logits"](model.policy.trunk(torch.as_tensor(observation)))


def value_of(model, observation):
    network = model.value or model.policy
    return network.heads["value"](network.trunk(torch.as_tensor(observation)))[:, 0].numpy()


def choose(logits, uniform):
    """Actions by inverting the distribution function, and their log-probabilities."""
    logp = (logits - logits.logsumexp(-1, keepdim=True)).numpy()
    action = (np.exp(logp).cumsum(-1) < uniform[:, None]).sum(-1)
    return action, logp[np.arange(len(action)), action]


@pytest.mark.parametrize("architecture", ["dual", "shared"])
@pytest.mark.parametrize(("envs", "steps"), [(1, 40), (5, 12)])
def test_a_whole_bandit_rollout_as_one_batch_changes_nothing(random_digits, envs, steps, architecture):
    """The same images, actions, rewards, values and log-probabilities as stepping the vector environment."""
    model = small_networks(architecture=architecture)
    collector = bandit_collector(random_digits, contexts=11, actions=12)
    env = DigitBanditVectorEnv(random_digits, num_envs=envs, episode_length=None)
    observation, _ = env.reset(seed=11)
    rng = np.random.default_rng(12)
    for _ in range(2):  # the second rollout begins where the first ended
        rollout, returns, lengths = collector.collect(model, envs=envs, steps=steps, needs_bootstrap=True)
        for t in range(steps):
            with torch.no_grad():
                logits, value = logits_of(model, observation), value_of(model, observation)
            action, logp = choose(logits, rng.random(envs))
            np.testing.assert_array_equal(rollout.observation[t].numpy(), observation)
            np.testing.assert_array_equal(rollout.action[t].numpy(), action)
            np.testing.assert_allclose(rollout.logp[t].numpy(), logp, atol=1e-5)
            np.testing.assert_allclose(rollout.value[t].numpy(), value, atol=1e-6)
            observation, reward, _, _, _ = env.step(action)
            np.testing.assert_array_equal(rollout.reward[t], reward)
        with torch.no_grad():
            last = value_of(model, observation)
        np.testing.assert_allclose(rollout.value[-1].numpy(), last, atol=1e-6)
        np.testing.assert_array_equal(returns, rollout.reward.ravel())  # each step is an episode
        assert lengths.tolist() == [1] * steps * envs


def test_without_bootstrap_the_value_after_the_last_step_is_zero(random_digits):
    rollout, _, _ = bandit_collector(random_digits).collect(
        small_networks(), envs=3, steps=4, needs_bootstrap=False
    )
    assert rollout.value[-1].tolist() == [0.0, 0.0, 0.0]
    assert rollout.value[:-1].abs().min() > 0


FRUITBOT = ProcgenTask("fruitbot", "hard")  # random play ends its episodes soon


def games(index, size):
    return ProcgenEnv(task=FRUITBOT, num_envs=size, seed=index, num_levels=50, num_threads=0)


def environment_collector(group_size, actions=4):
    rng = np.random.default_rng(actions)
    return EnvironmentCollector(lambda index: games(index, group_size), group_size, rng, CPU)


def procgen_networks(architecture="dual", seed=0, width=0.0625):
    generator = torch.Generator().manual_seed(seed)
    model = build_actor_critic(
        ModelConfig(family="impala", width=width, depth=1),
        (3, 64, 64),
        Discrete(15),
        generator,
        architecture=architecture,
    )
    with torch.no_grad():
        model.policy.heads["logits"].weight.mul_(10)
    return model


class StepByStep:
    """The same play written down one step at a time: what a rollout should hold."""

    def __init__(self, model, group_size, actions=4):
        self.model, self.group_size, self.rng = model, group_size, np.random.default_rng(actions)
        self.groups = []
        self.totals, self.lengths = {}, {}

    def play(self, envs, steps):
        while len(self.groups) * self.group_size < envs:
            self.groups.append(games(len(self.groups), self.group_size))
        columns = [self.look()]
        episodes = [[] for _ in self.groups]
        for _ in range(steps):
            for g, group in enumerate(self.groups):
                now = columns[-1][g]
                now["action"], now["logp"] = choose(now["logits"], self.rng.random(self.group_size))
                group.act(now["action"])
            columns.append(self.look())
            for g, seen in enumerate(columns[-1]):
                episodes[g] += self.ended(g, seen)
        return columns, [episode for of_group in episodes for episode in of_group]

    @torch.no_grad()
    def look(self):
        seen = []
        for group in self.groups:
            observed = group.observe()
            images = torch.from_numpy(observed.observation.copy()).permute(0, 3, 1, 2)
            seen.append(
                {
                    "observation": images.numpy(),
                    "first": observed.first,
                    "reward": observed.reward,
                    "logits": logits_of(self.model, images),
                    "value": value_of(self.model, images),
                }
            )
        return seen

    def ended(self, group, seen):
        found = []
        for e in range(self.group_size):
            place = group, e
            self.totals[place] = self.totals.get(place, 0.0) + seen["reward"][e]
            self.lengths[place] = self.lengths.get(place, 0) + 1
            if seen["first"][e]:
                found.append((self.totals.pop(place), self.lengths.pop(place)))
        return found


def column(columns, name):
    """(steps, envs, ...) of all groups side by side."""
    return np.stack([np.concatenate([seen[name] for seen in groups]) for groups in columns])


def assert_same_play(collected, expected):
    rollout, returns, lengths = collected
    columns, episodes = expected
    acted = columns[:-1]
    np.testing.assert_array_equal(rollout.observation.numpy(), column(acted, "observation"))
    np.testing.assert_array_equal(rollout.action.numpy(), column(acted, "action"))
    np.testing.assert_array_equal(rollout.reward, column(columns[1:], "reward"))
    np.testing.assert_array_equal(rollout.first.numpy(), column(columns, "first"))
    np.testing.assert_allclose(rollout.logp.numpy(), column(acted, "logp"), atol=1e-5)
    np.testing.assert_allclose(rollout.value.numpy(), column(columns, "value"), atol=1e-5)
    p = np.exp(column(acted, "logits").astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    assert rollout.entropy.item() == pytest.approx(-(p * np.log(p)).sum(-1).mean(), rel=1e-5)
    assert list(zip(returns, lengths, strict=True)) == episodes


@pytest.mark.parametrize(
    ("architecture", "group_size"), [("dual", 4), ("shared", 4), ("dual", 2), ("detach", 2)]
)
@pytest.mark.parametrize("width", [0.0625, 0.5])  # values while acting, and of whole rollouts
def test_rollouts_are_those_of_stepping_one_by_one(width, architecture, group_size):
    """One group of environments or two; the second rollout begins where the first ended."""
    model, envs, steps = procgen_networks(architecture, width=width), 4, 40
    collector, by_hand = environment_collector(group_size), StepByStep(model, group_size)
    episodes = 0
    for _ in range(2):
        collected = collector.collect(model, envs=envs, steps=steps, needs_bootstrap=True)
        assert_same_play(collected, by_hand.play(envs, steps))
        episodes += collected[1].size
    assert episodes > 5
    assert collected[0].first[0].sum() < envs  # an episode went over from the first rollout


def test_a_batch_that_grows_adds_groups_and_goes_on_with_the_others():
    model = procgen_networks()
    collector, by_hand = environment_collector(2), StepByStep(model, 2)
    for envs in (2, 4, 4):
        collected = collector.collect(model, envs=envs, steps=20, needs_bootstrap=True)
        assert_same_play(collected, by_hand.play(envs, 20))


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_bit_equal(one, other):
    for ours, theirs in zip(one, other, strict=True):
        if dataclasses.is_dataclass(ours):
            ours, theirs = vars(ours), vars(theirs)
            assert list(ours) == list(theirs)
            for name in ours:
                np.testing.assert_array_equal(np.asarray(ours[name]), np.asarray(theirs[name]))
        else:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("envs", [2, 4])
def test_a_restored_collector_goes_on_as_if_never_stopped(envs):
    model = procgen_networks()
    collector, restored = environment_collector(2), environment_collector(2, actions=99)
    collector.collect(model, envs=2, steps=30, needs_bootstrap=True)
    restored.load_state_dict(through_a_file(collector.state_dict()))
    for _ in range(2):
        one, other = (
            c.collect(model, envs=envs, steps=40, needs_bootstrap=True) for c in (collector, restored)
        )
        assert_bit_equal(one, other)
    assert one[1].size > 0


def test_a_restored_bandit_collector_goes_on_as_if_never_stopped(random_digits):
    model = small_networks()
    collector, restored = bandit_collector(random_digits), bandit_collector(random_digits, 98, 99)
    collector.collect(model, envs=3, steps=7, needs_bootstrap=True)
    restored.load_state_dict(through_a_file(collector.state_dict()))
    one, other = (c.collect(model, envs=3, steps=7, needs_bootstrap=True) for c in (collector, restored))
    assert_bit_equal(one, other)


def test_a_state_taken_before_the_first_step_is_a_beginning():
    model = procgen_networks()
    fresh, restored = environment_collector(2), environment_collector(2, actions=99)
    restored.load_state_dict(through_a_file(fresh.state_dict()))
    one, other = (c.collect(model, envs=2, steps=5, needs_bootstrap=True) for c in (fresh, restored))
    assert_bit_equal(one, other)


def test_a_state_of_groups_of_another_size_is_refused_with_the_remedy():
    collector = environment_collector(2)
    collector.collect(procgen_networks(), envs=4, steps=1, needs_bootstrap=True)
    with pytest.raises(InputError, match=r"groups of 2, this device in groups of 4.*--device"):
        environment_collector(4).load_state_dict(collector.state_dict())


@pytest.mark.parametrize("architecture", ["dual", "shared"])
def test_the_policy_to_evaluate_samples_what_the_networks_say(architecture):
    model = procgen_networks(architecture)
    before = copy.deepcopy(model.state_dict())
    act, rng = policy_of(model, np.random.default_rng(5), CPU), np.random.default_rng(5)
    for envs in (3, 3, 2):  # as many environments as it is shown
        observed = games(7, envs).observe()
        with torch.no_grad():
            images = torch.from_numpy(observed.observation).permute(0, 3, 1, 2)
            expected, _ = choose(logits_of(model, images), rng.random(envs))
        np.testing.assert_array_equal(act(observed.observation, observed.first), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
