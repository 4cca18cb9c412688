"""The presets against what the papers state, and as a user gets at them."""

import json
from pathlib import Path

import pytest
import yaml

from rlscale.scaling.config.model import step_size
from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.presets import SUMMARIES, find_spec, preset_values
from rlscale.sweeps.specs.spec import expand, load_spec

DATA = Path(__file__).parents[3] / "data"
PROCGEN = [
    f"procgen-{game}-{mode}-{axis}"
    for game in ("coinrun", "starpilot", "fruitbot")
    for mode in ("easy", "hard")
    for axis in ("width", "depth")
]

CONTROL = ["atari-width", "atari-depth", "mujoco-width", "mujoco-depth"]


def runs(name):
    return expand(find_spec(name))


def sizes(name, field):
    return sorted({getattr(config.model, field) for config in runs(name)})


def test_there_is_one_preset_for_every_experiment():
    others = ["mnist-width", "mnist-horizon", "procgen-maze-memory-width"]
    solvable = ["rl-perceptron", "rl-perceptron-horizon"]
    assert sorted(SUMMARIES) == sorted(PROCGEN + CONTROL + others + solvable)
    assert len(set(SUMMARIES.values())) == len(SUMMARIES)


@pytest.mark.parametrize("name", PROCGEN)
def test_procgen_has_the_hyperparameters_of_the_papers(name):
    for config in runs(name):
        agent, phasic = config.agent, config.agent.phasic
        assert config.task == name.rpartition("-")[0]
        assert (config.interactions, config.levels.num_levels) == (200_000_000, None)
        assert (config.model.family, agent.algorithm, agent.architecture) == ("impala", "ppg-ewma", "dual")
        assert agent.num_envs * agent.rollout_steps == 65_536
        assert (agent.rollout_steps, agent.minibatches) == (256, 8)
        assert (agent.epochs_policy, agent.epochs_value) == (1, 1)
        assert (agent.learning_rate, agent.adam_betas, agent.adam_eps) == (5e-4, (0.9, 0.999), 1e-8)
        assert (agent.clip, agent.kl_penalty, agent.importance_cap) == (0, 1, 100)
        assert (agent.value_coef, agent.entropy_coef) == (0.5, 0.01)
        assert agent.gamma == pytest.approx(0.999, rel=1e-12)
        assert agent.gae_lambda == 0.95
        assert agent.ewma_decay == pytest.approx(8 / 9)
        assert (agent.normalize_reward, agent.normalize_advantage, agent.advantage_decay) == (True, True, 0)
        assert agent.batch_growth.exponent == 0
        assert (phasic.policy_iterations, phasic.auxiliary_epochs, phasic.clone_coef) == (32, 6, 1)
        assert (phasic.value_coef, phasic.sequences, phasic.learning_rate) == (1, 16, 5e-4)


@pytest.mark.parametrize("name", [n for n in [*PROCGEN, "procgen-maze-memory-width"] if n.endswith("width")])
def test_widths_give_a_64th_to_8_times_the_parameters_in_factors_of_2(name):
    ratios = [width**2 for width in sizes(name, "width")]
    assert ratios == pytest.approx([2.0**k for k in range(-6, 4)], rel=1e-5)
    assert sizes(name, "depth") == [2]
    assert len(runs(name)) == 30


@pytest.mark.parametrize("name", [n for n in PROCGEN if n.endswith("depth")])
def test_depths_are_1_to_64_blocks_at_a_quarter_width(name):
    assert sizes(name, "depth") == [1, 2, 4, 8, 16, 32, 64]
    assert sizes(name, "width") == [0.25]
    steps = {config.model.depth: step_size(5e-4, config.model) for config in runs(name)}
    assert steps[2] == pytest.approx(1e-3)  # 1/sqrt(width)
    assert steps[32] / steps[2] == pytest.approx(0.5)  # depth^(-1/4)


def test_the_stand_in_for_dota_is_on_policy_and_uses_data_once():
    for config in runs("procgen-maze-memory-width"):
        agent = config.agent
        assert config.model.is_recurrent
        assert config.task == "procgen-maze-memory"
        assert (agent.algorithm, agent.epochs_policy, agent.epochs_value) == ("ppo", 1, 1)
        assert (agent.clip, agent.kl_penalty, agent.phasic) == (0.2, 0, None)
        assert agent.batch_growth.exponent == 0


def test_mnist_has_the_papers_rollouts_and_lambda():
    for config in (*runs("mnist-width"), *runs("mnist-horizon")):
        agent = config.agent
        assert (config.task, config.model.family) == ("mnist-bandit", "mnist-cnn")
        assert (agent.algorithm, agent.architecture) == ("ppo-ewma", "dual")
        assert (agent.num_envs * agent.rollout_steps, agent.gae_lambda) == (512, 1)
        assert (agent.clip, agent.kl_penalty) == (0, 1)
    assert sizes("mnist-horizon", "width") == sizes("mnist-width", "width")
    assert {config.agent.horizon for config in runs("mnist-width")} == {1}
    by_horizon = {config.agent.horizon: config for config in runs("mnist-horizon")}
    assert sorted(by_horizon) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert [by_horizon[h].agent.gamma for h in (1, 2, 256)] == pytest.approx([0, 1 / 3, 255 / 257])
    lengths = [by_horizon[h].interactions for h in sorted(by_horizon)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("name", CONTROL)
def test_control_has_the_hyperparameters_of_the_paper(name):
    """Moalla et al. 2024, tables of hyperparameters."""
    pytest.importorskip("ale_py" if name.startswith("atari") else "mujoco")
    for config in runs(name):
        agent = config.agent
        assert (agent.algorithm, agent.architecture, agent.adam_betas) == ("ppo", "dual", (0.9, 0.999))
        assert agent.gamma == pytest.approx(0.99)
        assert (agent.gae_lambda, agent.value_coef, agent.max_grad_norm) == (0.95, 0.5, 0.5)
        assert (agent.normalize_advantage, agent.normalize_advantage_of) == (True, "minibatch")
        assert (agent.minibatch_of, agent.kl_penalty, agent.batch_growth.exponent) == ("steps", 0, 0)
        assert not agent.normalize_reward
        batch = agent.num_envs * agent.rollout_steps
        shape = config.task_entry.observations.shape
        if name.startswith("atari"):
            assert (agent.num_envs, batch, batch // agent.minibatches) == (8, 1024, 256)
            assert (agent.epochs_policy, agent.epochs_value, agent.clip) == (4, 4, 0.1)
            assert (agent.learning_rate, agent.entropy_coef, agent.sign_reward) == (2.5e-4, 0.01, True)
            assert (shape, config.model.family) == ((4, 84, 84), "nature-cnn")
            atari = config.wrappers.atari
            assert (atari.frame_skip, atari.sticky, atari.noops) == (3, 0.25, 0)
            assert (atari.fire, atari.life_ends, atari.max_frames) == (False, False, 108_000)
            assert config.interactions * 3 == pytest.approx(100e6, rel=1e-6)
        else:
            assert (agent.num_envs, batch, batch // agent.minibatches) == (2, 2048, 64)
            assert (agent.epochs_policy, agent.epochs_value, agent.clip) == (10, 10, 0.2)
            assert (agent.learning_rate, agent.entropy_coef, agent.sign_reward) == (3e-4, 0, False)
            assert (shape, config.model.family, config.model.activation) == ((12,), "mlp", "tanh")
            assert agent.normalize_observation == "random-steps"
            assert config.interactions == 5_000_000
    axis = name.rpartition("-")[2]
    assert len(sizes(name, axis)) == {"width": 10, "depth": 5}[axis]
    default = {"atari-depth": 1, "mujoco-depth": 2}.get(name, 1.0)
    assert default in sizes(name, axis)  # the paper's own network is one of them


@pytest.mark.parametrize("name", ["mnist-width", "mnist-horizon"])
def test_what_the_paper_leaves_open_on_mnist_is_that_of_the_stored_sweeps(name):
    path = DATA / name.replace("-", "_") / "spec.yaml"
    stored = load_spec(path).base["agent"]
    preset = preset_values(name)["base"]["agent"]
    assert {field: preset[field] for field in stored} == stored


@pytest.mark.parametrize(
    ("name", "stored"), [("rl-perceptron", "spec"), ("rl-perceptron-horizon", "horizon")]
)
def test_the_perceptrons_are_those_of_the_stored_sweeps(name, stored):
    assert yaml.safe_load((DATA / "rl_perceptron" / f"{stored}.yaml").read_text()) == preset_values(name)


def test_an_unknown_name_lists_the_existing_ones():
    with pytest.raises(InputError, match=r"procgen-starpilot.*presets: mnist-width, mnist-horizon, procgen-"):
        preset_values("procgen-starpilot")
    with pytest.raises(InputError, match=r"neither a file nor a preset.*procgen-coinrun-easy-width"):
        find_spec("procgen-coinrun-width")


def test_the_list_has_a_line_for_each(rlscale):
    lines = rlscale("sweep", "presets", columns=120).stdout.splitlines()
    for name, summary in SUMMARIES.items():
        assert any(line.startswith(name) and summary in line for line in lines)


def test_a_shown_preset_is_its_spec(rlscale, tmp_path):
    printed = rlscale("sweep", "show", "procgen-fruitbot-hard-depth").stdout
    assert yaml.safe_load(printed) == preset_values("procgen-fruitbot-hard-depth")
    path = tmp_path / "mine.yaml"
    assert rlscale("sweep", "show", "procgen-fruitbot-hard-depth", "--out", path).stdout == ""
    assert path.read_text() == printed
    assert expand(load_spec(path)) == runs("procgen-fruitbot-hard-depth")


def test_a_preset_is_planned_and_its_cost_shown(rlscale, tmp_path):
    path = tmp_path / "plan.json"
    done = rlscale("sweep", "plan", "procgen-starpilot-easy-width", "--no-estimate", "--json", path)
    assert done.returncode == 0
    plan = json.loads(path.read_text())
    assert (plan["runs"], plan["interactions"]) == (30, 30 * 200_000_000)
    assert "procgen-starpilot-easy-width: 30 runs, 6B interactions" in done.stdout
    assert plan["slot_seconds"] is None


def test_a_wrong_name_ends_with_status_2(rlscale):
    done = rlscale("sweep", "plan", "procgen-starpilot")
    assert done.returncode == 2
    assert "neither a file nor a preset" in done.stderr
