"""Configs: what is rejected and how it is told, and what a run's id depends on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import AgentConfig, BatchGrowth, RunConfig, load_run_config, run_config
from scaling.errors import InputError

BASE = {"task": "digits-bandit", "interactions": 1000}


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return BASE | value


@pytest.mark.parametrize(
    ("path", "known"),
    [("steps", "interactions"), ("agent.lr", "learning_rate"), ("agent.batch_growth.power", "exponent")],
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
    ],
)
def test_a_wrong_value_is_told_by_its_field(path, value):
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


@pytest.mark.parametrize("text", ["[1, 2]", "task: [", "\x00", "just words"])
def test_a_file_that_is_no_yaml_mapping_is_an_input_error(tmp_path, text):
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
}
FIELDS = [
    path for path, _ in leaves(RunConfig(**BASE).model_dump(mode="json")) if path != ("model", "family")
]


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_run_id_changes_with_every_field(path):
    base = RunConfig(**BASE)
    changed = base.model_dump(mode="json")
    place = changed
    for part in path[:-1]:
        place = place[part]
    old = place[path[-1]]
    if path[-1] in OTHER_VALUES:
        place[path[-1]] = OTHER_VALUES[path[-1]]
    else:
        place[path[-1]] = (not old) if isinstance(old, bool) else old * 2 + 1
    other = RunConfig.model_validate(changed)
    assert other != base
    assert other.run_id != base.run_id


def test_run_id_is_the_same_however_the_config_is_written():
    short = run_config(BASE | {"model": {"width": 1}, "seed": 0}, source="")
    full = RunConfig.model_validate(json.loads(RunConfig(**BASE).model_dump_json()))
    assert short.run_id == full.run_id == RunConfig(**dict(reversed(BASE.items()))).run_id


def test_run_id_is_stable_across_processes():
    code = (
        "from scaling.config import RunConfig;"
        "print(RunConfig(task='digits-bandit', interactions=1000, agent={'horizon': 3}).run_id)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
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
