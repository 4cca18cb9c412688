"""Configs: what is rejected with which message, and what a run's id depends on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.config.agent import AgentConfig, BatchGrowth, PhasicConfig
from rlscale.scaling.config.run import RunConfig, load_run_config, run_config, with_later_fields
from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import name_modules

BASE = {"task": "digits-bandit", "interactions": 1000}
PROCGEN = {"task": "procgen-coinrun-easy", "interactions": 1000, "agent": {"horizon": 1999}}
PPG = {"algorithm": "ppg", "horizon": 1999, "num_envs": 8}


def procgen(**values):
    """A Procgen config with other values; those of its agent are merged."""
    return PROCGEN | values | {"agent": PROCGEN["agent"] | values.get("agent", {})}


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return BASE | value


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("steps", "interactions"),
        ("agent.lr", "learning_rate"),
        ("agent.batch_growth.power", "exponent"),
        ("levels.first", "start_level"),
    ],
)
def test_an_unknown_key_is_named_with_the_keys_known_there(path, known):
    with pytest.raises(InputError) as caught:
        run_config(nested(path, 1), source="my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert f"'{path}'" in message
    assert known in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("interactions", "many"),
        ("interactions", 0),
        ("interactions", 10.5),
        ("interactions", None),
        ("task", "atari"),
        ("seed", -1),
        ("agent", "ppo"),
        ("agent.algorithm", "dqn"),
        ("agent.horizon", 0.5),
        ("agent.clip", 1.0),
        ("agent.learning_rate", float("nan")),
        ("agent.learning_rate", -1e-4),
        ("agent.ewma_decay", 1.0),
        ("agent.num_envs", [1, 2]),
        ("model.width", 0),
        ("model.width", float("inf")),
        ("model.depth", 1.5),
        ("model.depth", 0),
        ("model.depth", 65),
        ("model.family", "resnet"),
        ("model.family", ["impala"]),
        ("agent.algorithm", ["ppg"]),
        ("agent.architecture", "twin"),
        ("precision", "float16"),
        ("evaluation_episodes", -1),
        ("levels", None),
        ("levels.num_levels", "many"),
    ],
)
def test_a_wrong_value_is_reported_with_its_field(path, value):
    with pytest.raises(InputError, match=path.replace(".", r"\.")):
        run_config(nested(path, value), source="my.yaml")


def test_a_missing_field_is_named():
    with pytest.raises(InputError, match="'interactions' is missing"):
        run_config({"task": "digits-bandit"}, source="my.yaml")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"minibatches": 3, "num_envs": 4}, r"minibatches \(3\) must divide num_envs \(4\)"),
        ({"minibatches": 6, "num_envs": 4}, r"minibatches \(6\) must be a multiple of num_envs \(4\)"),
        ({"minibatches": 8, "num_envs": 1, "rollout_steps": 500}, r"rollout_steps \(500\)"),
        ({"adam_betas": (0.9, 1.0)}, "adam_betas"),
        ({"minibatches": 7, "minibatch_of": "steps"}, r"minibatches \(7\) must divide .* \(512\)"),
        ({"normalize_advantage_of": "minibatch", "advantage_decay": 0.5}, "advantage_decay is for"),
        ({"clip": 0.0, "epochs_policy": 2, "epochs_value": 2}, "clip > 0 or kl_penalty > 0"),
        # 9 minibatches of 3 environments are 3 chunks each; after a doubling 6 do not divide 9.
        (
            {"minibatches": 9, "num_envs": 3, "rollout_steps": 9, "batch_growth": {"exponent": 0.5}},
            "batch_growth",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_rejected(options, problem):
    with pytest.raises(InputError, match=problem):
        run_config(BASE | {"agent": options}, source="my.yaml")


@pytest.mark.parametrize(
    "options",
    [
        {"minibatches": 8, "num_envs": 1, "rollout_steps": 512},
        {"minibatches": 2, "num_envs": 6, "batch_growth": {"exponent": 1.0}},
        {"minibatches": 12, "num_envs": 3, "rollout_steps": 8, "batch_growth": {"exponent": 0.5}},
        {"clip": 0.0, "kl_penalty": 1.0, "epochs_policy": 3, "epochs_value": 3},
    ],
)
def test_options_that_fit_together_are_accepted(options):
    run_config(BASE | {"agent": options}, source="my.yaml")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (procgen(task="atari"), "procgen-<game>-<mode>, such as procgen-coinrun-easy"),
        (procgen(task="procgen-doom-easy"), "no game 'doom'; choose one of bigfish"),
        (procgen(task="procgen-coinrun"), "write procgen-<game>-<mode>"),
        (procgen(task="procgen-coinrun-memory"), "coinrun has no mode 'memory'; choose one of easy, hard"),
        (procgen(levels={"num_levels": 0}), "'levels': num_levels is 0: use 1 or more"),
        (procgen(levels={"start_level": 5}), "'levels': start_level is 5 but num_levels is not given"),
        (procgen(levels={"num_levels": 3, "start_level": -1}), "'levels': start_level is -1"),
        (procgen(levels={"num_levels": 3, "start_level": 2**31}), "Procgen's levels end at 2,147,483,647"),
        (procgen(task="procgen-maze-exploration", levels={"num_levels": 1}), "one fixed level"),
        (BASE | {"levels": {"num_levels": 200}}, "has no levels: leave levels and evaluation_episodes out"),
        (BASE | {"evaluation_episodes": 10}, "has no levels: leave levels and evaluation_episodes out"),
        (procgen(levels=None), "'levels' must hold fields .known there: num_levels, start_level., not None"),
        (
            BASE | {"model": {"family": "impala"}},
            "model.family impala does not fit .* needs mnist-cnn",
        ),
        (
            procgen(model={"family": "mnist-cnn"}),
            "mnist-cnn does not fit .* needs impala or",
        ),
        (procgen(agent={"horizon": 1}), "agent.horizon is 1, a discount of 0; .* 1999"),
        ({"task": "procgen-coinrun-easy", "interactions": 1}, "agent.horizon is 1"),
        (
            procgen(model={"family": "impala-lstm"}, agent={"num_envs": 4, "minibatches": 8}),
            r"agent.minibatches \(8\) must divide agent.num_envs \(4\)",
        ),
    ],
)
def test_a_task_that_does_not_fit_the_config_is_refused_with_the_remedy(config, problem):
    with pytest.raises(InputError, match=problem) as caught:
        run_config(config, source="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")


@pytest.mark.parametrize(
    "config",
    [
        procgen(levels={"num_levels": 200}),
        procgen(levels={"num_levels": 500, "start_level": 100}, evaluation_episodes=10),
        procgen(task="procgen-maze-exploration"),
        procgen(task="procgen-maze-memory", model={"family": "impala-lstm"}, agent={"num_envs": 8}),
        procgen(model={"family": "impala-lstm"}, agent={"num_envs": 8, "minibatches": 2}),
        procgen(agent=PPG | {"algorithm": "ppg-ewma"}, precision="bfloat16"),
    ],
)
def test_procgen_configs_that_fit_are_accepted(config):
    assert run_config(config, source="").model.family.startswith("impala")


class TestPhases:
    @pytest.mark.parametrize("algorithm", ["ppg", "ppg-ewma"])
    @pytest.mark.parametrize("given", [{}, {"phasic": None}, {"phasic": {}}])
    def test_ppg_has_the_papers_auxiliary_phase_by_default(self, algorithm, given):
        agent = AgentConfig(algorithm=algorithm, **given)
        assert agent.phasic == agent.auxiliary == PhasicConfig()
        phases = agent.auxiliary
        assert (phases.policy_iterations, phases.auxiliary_epochs, phases.clone_coef) == (32, 6, 1.0)
        assert agent.is_phasic
        assert agent.uses_ewma == (algorithm == "ppg-ewma")

    @pytest.mark.parametrize("off", ["policy_iterations", "auxiliary_epochs"])
    def test_no_iterations_or_no_epochs_give_ppo(self, off):
        agent = AgentConfig(algorithm="ppg", phasic={off: 0})
        assert agent.auxiliary is None

    @pytest.mark.parametrize("algorithm", ["ppo", "ppo-ewma"])
    def test_ppo_has_none_and_refuses_one(self, algorithm):
        assert AgentConfig(algorithm=algorithm).phasic is None
        for phasic in ({}, {"auxiliary_epochs": 6}, PhasicConfig()):
            with pytest.raises(InputError, match=r"'agent'.*belongs to the algorithms ppg and ppg-ewma"):
                run_config(BASE | {"agent": {"algorithm": algorithm, "phasic": phasic}}, source="")

    def test_the_default_algorithm_is_ppo(self):
        with pytest.raises(InputError, match="belongs to the algorithms ppg"):
            run_config(BASE | {"agent": {"phasic": {}}}, source="")

    @pytest.mark.parametrize(
        ("phasic", "num_envs", "fits"),
        [
            ({}, 8, True),
            ({"sequences": 5}, 8, False),
            ({"sequences": 5}, 10, True),
            ({"sequences": 16, "policy_iterations": 2}, 4, False),
            ({"sequences": 8, "policy_iterations": 2}, 4, True),
            ({"sequences": 5, "auxiliary_epochs": 0}, 8, True),
        ],
    )
    def test_minibatches_of_whole_rollouts_must_divide_what_a_phase_stores(self, phasic, num_envs, fits):
        config = procgen(agent=PPG | {"num_envs": num_envs, "minibatches": 1, "phasic": phasic})
        if fits:
            run_config(config, source="")
        else:
            with pytest.raises(InputError, match=r"phasic.sequences .* must divide policy_iterations"):
                run_config(config, source="")

    def test_the_batch_does_not_grow_between_phases(self):
        growing = PPG | {"batch_growth": {"exponent": 0.5}}
        with pytest.raises(InputError, match="batch_growth is for ppo and ppo-ewma"):
            run_config(procgen(agent=growing), source="")
        run_config(procgen(agent=growing | {"phasic": {"auxiliary_epochs": 0}}), source="")
        run_config(procgen(agent=growing | {"algorithm": "ppo"}), source="")

    def test_an_unknown_key_is_named_with_the_keys_known_there(self):
        with pytest.raises(InputError, match=r"'agent.phasic.n_pi'; known here: policy_iterations, "):
            run_config(procgen(agent=PPG | {"phasic": {"n_pi": 32}}), source="")


@pytest.mark.parametrize(
    ("config", "family", "depth"),
    [
        (BASE, "mnist-cnn", 1),
        (PROCGEN, "impala", 2),
        (procgen(model={"width": 0.5}), "impala", 2),
        (procgen(model={"family": "impala-lstm"}, agent={"num_envs": 8}), "impala-lstm", 2),
        (procgen(model={"depth": 1}), "impala", 1),
    ],
)
def test_family_and_depth_have_the_defaults_of_their_task(config, family, depth):
    model = run_config(config, source="").model
    assert (model.family, model.depth) == (family, depth)
    assert model.is_recurrent == (family == "impala-lstm")


@pytest.mark.parametrize("text", ["[1, 2]", "task: [", "\x00", "just words"])
def test_a_file_that_is_not_a_yaml_mapping_is_an_input_error(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=str(path)):
        load_run_config(path)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_run_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("horizon", [1, 2, 4, 7.5, 256])
def test_gamma_is_one_minus_two_over_the_horizon_plus_one(horizon):
    gamma = AgentConfig(horizon=horizon).gamma
    assert gamma == pytest.approx((horizon - 1) / (horizon + 1), rel=1e-12, abs=1e-15)


def leaves(values, prefix=()):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


OTHER_VALUES = {
    "task": "mnist-bandit",
    "algorithm": "ppo",
    "adam_betas": [0.8, 0.999],
    "minibatches": 4,
    "num_envs": 2,
    "rollout_steps": 1024,
    "ewma_decay": 0.5,
    "clip": 0.1,
    "gae_lambda": 0.9,
    "advantage_decay": 0.5,
    "exponent": 0.25,
    "architecture": "shared",
    "precision": "bfloat16",
    "recurrent": "lstm",
    "minibatch_of": "steps",
    "normalize_advantage_of": "minibatch",
    "feature_penalty": {"coefficient": 1.0},
    "reward_mask": 0.9,
    "diagnostics": {"every": 1000},
}
OTHER_VALUES_OF_PROCGEN = OTHER_VALUES | {
    "task": "procgen-coinrun-hard",
    "family": "impala-lstm",
    "algorithm": "ppg-ewma",
    "num_envs": 16,
    "policy_iterations": 64,
    "sequences": 8,
}
ONLY_FOR_PROCGEN = {"model.family", "levels.num_levels", "levels.start_level", "evaluation_episodes"}
ONLY_FOR_PPO = {"agent.batch_growth.exponent"}
ONLY_FOR_MLP = {"model.activation", "model.layer_norm", "model.initialization"}
ONLY_WITH_MEMORY = {"model.recurrent", "model.hidden_size"}
ONLY_FOR_GYMNASIUM = {"wrappers.atari", "wrappers.time", "wrappers.survival", "agent.normalize_observation"}
ONLY_FOR_NUMBERS = {"agent.policy"}


def fields(config, *, without):
    paths = [path for path, _ in leaves(RunConfig.model_validate(config).model_dump(mode="json"))]
    assert without <= set(map(".".join, paths))
    return [path for path in paths if ".".join(path) not in without]


def assert_run_id_changes(config, path, others):
    base = RunConfig.model_validate(config)
    changed = base.model_dump(mode="json")
    place = changed
    for part in path[:-1]:
        place = place[part]
    old = place[path[-1]]
    if path[-1] in others:
        place[path[-1]] = others[path[-1]]
    else:
        place[path[-1]] = (not old) if isinstance(old, bool) else old * 2 + 1
    other = RunConfig.model_validate(changed)
    assert other != base
    assert other.run_id != base.run_id


@pytest.mark.parametrize(
    "path",
    fields(
        BASE,
        without=ONLY_FOR_PROCGEN
        | ONLY_FOR_MLP
        | ONLY_WITH_MEMORY
        | ONLY_FOR_GYMNASIUM
        | ONLY_FOR_NUMBERS
        | {"agent.phasic"},
    ),
    ids=".".join,
)
def test_run_id_changes_with_every_field_of_a_bandit(path):
    assert_run_id_changes(BASE, path, OTHER_VALUES)


PHASIC_PROCGEN = procgen(agent=PPG, levels={"num_levels": 200, "start_level": 5})


@pytest.mark.parametrize(
    "path",
    fields(
        PHASIC_PROCGEN,
        without=ONLY_FOR_PPO | ONLY_FOR_MLP | ONLY_FOR_GYMNASIUM | ONLY_FOR_NUMBERS | {"model.hidden_size"},
    ),
    ids=".".join,
)
def test_run_id_changes_with_every_field_of_procgen(path):
    assert_run_id_changes(PHASIC_PROCGEN, path, OTHER_VALUES_OF_PROCGEN)


CARTPOLE = {"task": "gymnasium:CartPole-v1", "interactions": 1000, "agent": {"horizon": 99}}
WITH_MEMORY = {
    "model": {"recurrent": "lstm", "hidden_size": 32},
    "agent": {"horizon": 99, "num_envs": 8, "minibatches": 1},
}
OTHER_VALUES_OF_CARTPOLE = OTHER_VALUES | {
    "task": "gymnasium:CartPole-v0",
    "family": "own_code:MyTrunk",
    "activation": "relu",
    "initialization": "orthogonal",
    "normalize_observation": "running",
}


@pytest.mark.parametrize(
    "path",
    fields(
        CARTPOLE | WITH_MEMORY,
        without=ONLY_FOR_PROCGEN - {"model.family"}
        | ONLY_FOR_NUMBERS
        | {"agent.phasic", "model.recurrent", "agent.minibatch_of", "wrappers.atari", "wrappers.survival"},
    ),
    ids=".".join,
)
def test_run_id_changes_with_every_field_of_an_environment(path):
    name_modules(["own_code"])
    assert_run_id_changes(CARTPOLE | WITH_MEMORY, path, OTHER_VALUES_OF_CARTPOLE)


def test_the_kind_of_policy_is_for_actions_that_are_numbers():
    pendulum = CARTPOLE | {"task": "gymnasium:Pendulum-v1"}
    normal = pendulum | {"agent": {"horizon": 99, "policy": "normal"}}
    as_before = pendulum | {"agent": {"horizon": 99, "policy": "tanh-normal"}}
    assert run_config(pendulum, source="").run_id == run_config(as_before, source="").run_id
    assert run_config(normal, source="").run_id != run_config(as_before, source="").run_id
    with pytest.raises(InputError, match=r"agent.policy normal is for actions that are numbers, .* leave it"):
        run_config(CARTPOLE | {"agent": normal["agent"]}, source="test")
    with pytest.raises(InputError, match=r"'agent.policy': input should be 'tanh-normal' or 'normal'"):
        run_config(pendulum | {"agent": {"horizon": 99, "policy": "beta"}}, source="test")


@pytest.mark.parametrize(("family", "task"), [("impala", PROCGEN), ("mnist-cnn", BASE)])
def test_orthogonal_weights_are_for_one_family(family, task):
    model = {"family": family, "initialization": "orthogonal"}
    with pytest.raises(InputError, match=f"initialization orthogonal is for .* leave it out for {family}"):
        run_config(task | {"model": model}, source="")


def test_a_wrapper_that_was_added_later_leaves_earlier_run_ids_as_they_were():
    with_time = CARTPOLE | {"wrappers": {"time": True}}
    config = run_config(with_time, source="")
    stored = config.model_dump(mode="json")
    del stored["wrappers"]["survival"]
    assert run_config(stored, source="").run_id == config.run_id == "78e8c1401c6f61e3"
    assert with_later_fields(stored) == config.model_dump(mode="json")
    surviving = with_time | {"wrappers": {"time": True, "survival": {"points": 1, "steps": 9}}}
    assert run_config(surviving, source="").run_id != config.run_id


def test_layer_norm_is_for_two_families():
    for family, task in (("impala", PROCGEN), ("mnist-cnn", BASE)):
        with pytest.raises(InputError, match=f"layer_norm is for .* leave it out for {family}"):
            run_config(task | {"model": {"family": family, "layer_norm": True}}, source="")


def test_run_id_changes_with_memory():
    agent = {"agent": WITH_MEMORY["agent"]}
    models = [{}, {"recurrent": "lstm"}, {"recurrent": "lstm", "hidden_size": 64}]
    configs = [run_config(CARTPOLE | agent | {"model": model}, source="") for model in models]
    assert len({config.run_id for config in configs}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "gymnasium:Cartpole-v1"},
            "'task': gymnasium has no environment .* did you mean CartPole-v1",
        ),
        ({"agent": {}}, "agent.horizon is 1, a discount of 0; 99 is gamma 0.98"),
        (
            {"model": {"family": "impala"}},
            "model.family impala does not fit gymnasium:CartPole-v1, .* needs mlp",
        ),
        (
            {"model": {"family": "mlp", "activation": "elu"}},
            "'model.activation': input should be 'tanh' or 'relu'",
        ),
        ({"model": {"family": "somewhere:Net"}}, "'model.family': somewhere:Net needs code of the module"),
        ({"levels": {"num_levels": 3}}, "has no levels"),
        ({"diagnostics": {"every": 0}}, "'diagnostics.every': input should be greater than or equal to 1"),
        ({"diagnostics": {"every": 9, "batch": 1}}, "'diagnostics.batch': .* greater than or equal to 2"),
        ({"diagnostics": {"batch": 8}}, "'diagnostics.every' is missing"),
        (
            {"diagnostics": {"every": 9, "each": 9}},
            "unknown key 'diagnostics.each'; known here: every, batch",
        ),
        (
            {"agent": {"horizon": 99, "feature_penalty": {"layers": "last"}}},
            "'agent.feature_penalty.coefficient' is missing",
        ),
        (
            {"agent": {"horizon": 99, "feature_penalty": {"coefficient": 1, "layers": "first"}}},
            "'agent.feature_penalty.layers': input should be 'last' or 'all'",
        ),
        ({"agent": {"horizon": 99, "reward_mask": 1.0}}, "'agent.reward_mask': input should be less than 1"),
        (WITH_MEMORY | {"model": {"recurrent": "gru"}}, "'model.recurrent': input should be 'lstm'"),
        (WITH_MEMORY | {"model": {"hidden_size": 32}}, "hidden_size is the LSTM's: add recurrent: lstm"),
        (
            WITH_MEMORY | {"model": {"recurrent": "lstm", "hidden_size": 0}},
            "'model.hidden_size': input should",
        ),
        (
            WITH_MEMORY | {"agent": {"horizon": 99, "num_envs": 4, "minibatches": 8}},
            r"whole rollouts of single environments: agent.minibatches \(8\) must divide .*num_envs \(4\)",
        ),
    ],
)
def test_a_config_of_an_environment_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        run_config(CARTPOLE | changes, source="test")


def test_the_run_id_of_an_environment_stays():
    assert run_config(CARTPOLE, source="").run_id == "f38e961852ccfa26"


def test_the_run_id_of_the_first_family_with_memory_stays():
    """Computed before memory was a field of its own."""
    config = procgen(model={"family": "impala-lstm"}, agent={"num_envs": 8})
    assert run_config(config, source="").run_id == "480e685c0b4e2890"


def test_memory_is_not_for_bandits():
    agent = {"agent": {"minibatches": 1}}
    with pytest.raises(InputError, match=r"is a bandit, .* leave model.recurrent out"):
        run_config(BASE | agent | {"model": {"recurrent": "lstm"}}, source="test")


def test_one_lstm_is_enough():
    model = {"family": "impala-lstm", "recurrent": "lstm"}
    with pytest.raises(InputError, match="impala-lstm has an LSTM already; leave recurrent out"):
        run_config(procgen(model=model, agent={"num_envs": 8}), source="test")


def test_the_activation_is_for_the_family_that_has_one():
    with pytest.raises(InputError, match="activation is for the family mlp; leave it out for mnist-cnn"):
        run_config(BASE | {"model": {"activation": "relu"}}, source="test")


def test_the_code_of_a_refused_module_is_kept():
    for values in (CARTPOLE | {"task": "somewhere:Env"}, CARTPOLE | {"model": {"family": "somewhere:Net"}}):
        with pytest.raises(InputError) as caught:
            run_config(values, source="test")
        assert caught.value.code == "module_not_named"


def test_run_id_distinguishes_all_levels_from_some_and_one_game_from_another():
    configs = [
        PROCGEN,
        procgen(levels={"num_levels": 200}),
        procgen(levels={"num_levels": 200, "start_level": 1}),
        procgen(task="procgen-starpilot-easy"),
        procgen(evaluation_episodes=10),
        procgen(agent={"num_envs": 8}),
        procgen(agent=PPG),
        procgen(agent=PPG | {"phasic": {"auxiliary_epochs": 0}}),
        procgen(agent={"num_envs": 8, "architecture": "detach"}),
    ]
    assert len({run_config(config, source="").run_id for config in configs}) == len(configs)


@pytest.mark.parametrize(
    ("config", "run_id"),
    [
        (BASE, "5f0522cf49829ac6"),
        (BASE | {"agent": {"horizon": 3}}, "cc9e930601628b91"),
        (BASE | {"model": {"width": 0.25}}, "837f60fa1a6ffad3"),
        (
            {
                "task": "mnist-bandit",
                "interactions": 3_000_000,
                "seed": 4,
                "model": {"width": 0.5, "depth": 2},
            },
            "dacd8bb7fb4191ec",
        ),
        (
            BASE
            | {
                "agent": {
                    "algorithm": "ppo",
                    "num_envs": 8,
                    "batch_growth": {"exponent": 0.5, "reference": 5000},
                    "adam_betas": (0.8, 0.99),
                }
            },
            "f4d463d9a7eb52b7",
        ),
        (
            BASE
            | {
                "threads": 2,
                "checkpoints": 5,
                "rows_per_decade": 30,
                "agent": {
                    "epochs_policy": 3,
                    "epochs_value": 2,
                    "normalize_reward": True,
                    "clip": 0,
                    "kl_penalty": 1,
                },
            },
            "b31baee9a6e166d8",
        ),
    ],
)
def test_run_ids_of_the_first_stores_stay(config, run_id):
    """Computed before architectures, phases, levels, evaluation and precision were fields."""
    assert run_config(config, source="").run_id == run_id
    everything = json.loads(run_config(config, source="").model_dump_json())
    assert run_config(everything, source="").run_id == run_id


def test_run_id_is_the_same_however_the_config_is_written():
    short = run_config(BASE | {"model": {"width": 1}, "seed": 0}, source="")
    full = RunConfig.model_validate(json.loads(RunConfig(**BASE).model_dump_json()))
    assert short.run_id == full.run_id == RunConfig(**dict(reversed(BASE.items()))).run_id


def test_run_id_is_stable_across_processes():
    code = (
        "from rlscale.scaling.config.run import RunConfig;"
        "print(RunConfig(task='digits-bandit', interactions=1000, agent={'horizon': 3}).run_id)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[3],
        env={"PYTHONHASHSEED": "7"},
    )
    assert other.stdout.strip() == RunConfig(**BASE, agent={"horizon": 3}).run_id


def test_batch_doubles_where_the_power_law_has_doubled():
    agent = AgentConfig(num_envs=2, minibatches=2, batch_growth=BatchGrowth(exponent=0.5, reference=1000))
    # B/B_min = (E/1000)^0.5 reaches 2, 4, 8 at E = 4000, 16000, 64000
    for interactions, envs in [
        (0, 2),
        (1000, 2),
        (3999, 2),
        (4000, 4),
        (15_999, 4),
        (16_000, 8),
        (64_000, 16),
    ]:
        assert agent.num_envs_at(interactions) == envs


@given(
    exponent=st.floats(0, 1),
    reference=st.integers(1, 10**6),
    envs=st.integers(1, 64),
    interactions=st.integers(0, 10**12),
)
@settings(deadline=None)
def test_batch_never_exceeds_the_power_law_nor_falls_below_the_least(exponent, reference, envs, interactions):
    agent = AgentConfig(
        num_envs=envs,
        minibatches=1,
        batch_growth=BatchGrowth(exponent=exponent, reference=reference),
    )
    factor = agent.num_envs_at(interactions) / envs
    law = max(1.0, (interactions / reference) ** exponent)
    assert factor >= 1
    assert factor <= law * (1 + 1e-9)
    assert factor * 2 > law * (1 - 1e-9)
    assert bin(int(factor)).count("1") == 1  # whole doublings


def test_batch_without_growth_stays():
    assert AgentConfig(num_envs=3, minibatches=3).num_envs_at(10**9) == 3
