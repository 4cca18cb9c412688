"""Sweep specs: what a grid expands to, and what is refused."""

import copy
import itertools
import json

import pytest
import yaml

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.spec import SweepSpec, expand, load_spec, parse_spec

BASE = {"task": "digits-bandit", "interactions": 1000, "agent": {"minibatches": 4}}


def spec(axes, base=BASE, **others) -> SweepSpec:
    return parse_spec({"name": "s", "base": base, "axes": axes, **others}, source="s.yaml")


def problem(axes, base=BASE, **others) -> str:
    with pytest.raises(InputError) as caught:
        expand(spec(axes, base, **others), source="s.yaml")
    text = str(caught.value)
    assert text.startswith("s.yaml")
    assert "\n" not in text
    return text


def test_axes_alone_give_their_product_in_order():
    configs = expand(spec({"width": [0.05, 0.1], "seed": [0, 1, 2]}))
    points = [(config.model.width, config.seed) for config in configs]
    assert points == list(itertools.product([0.05, 0.1], [0, 1, 2]))
    assert len({config.run_id for config in configs}) == 6


def test_axes_in_one_group_go_together():
    configs = expand(spec([{"width": [0.05, 0.1], "interactions": [2000, 1000]}, {"seed": [0, 1]}]))
    points = {(config.model.width, config.interactions, config.seed) for config in configs}
    assert points == {(0.05, 2000, 0), (0.05, 2000, 1), (0.1, 1000, 0), (0.1, 1000, 1)}


def test_a_spec_without_axes_is_one_run():
    (config,) = expand(spec({}))
    assert (config.task, config.interactions, config.agent.minibatches) == ("digits-bandit", 1000, 4)


@pytest.mark.parametrize(
    ("alias", "path", "values"),
    [
        ("width", "model.width", [0.05, 0.1]),
        ("depth", "model.depth", [1, 2]),
        ("horizon", "agent.horizon", [1, 8]),
        ("learning_rate", "agent.learning_rate", [1e-3, 1e-4]),
        ("algorithm", "agent.algorithm", ["ppo", "ppo-ewma"]),
        ("family", "model.family", ["mnist-cnn"]),
    ],
)
def test_an_alias_names_the_same_runs_as_its_dotted_name(alias, path, values):
    assert expand(spec({alias: values})) == expand(spec({path: values}))


def test_a_dotted_axis_reaches_nested_fields_and_keeps_their_siblings():
    configs = expand(spec({"agent.batch_growth.exponent": [0.0, 0.5]}))
    assert [config.agent.batch_growth.exponent for config in configs] == [0.0, 0.5]
    assert {config.agent.minibatches for config in configs} == {4}


def test_a_whole_group_can_be_an_axis():
    configs = expand(spec({"model": [{"width": 0.05}, {"width": 0.1, "depth": 2}]}))
    assert [(config.model.width, config.model.depth) for config in configs] == [(0.05, 1), (0.1, 2)]


def test_an_axis_overrides_the_base():
    (config,) = expand(spec({"width": [0.1]}, {**BASE, "model": {"width": 1, "depth": 2}}))
    assert (config.model.width, config.model.depth) == (0.1, 2)


def test_expanding_leaves_base_and_axes_as_they_were():
    values = {
        "name": "s",
        "base": copy.deepcopy(BASE),
        "axes": [{"model": [{"width": 0.05}, {"width": 0.1}]}, {"agent.clip": [0.1, 0.2]}, {"seed": [0, 1]}],
    }
    before = copy.deepcopy(values)
    parsed = parse_spec(values, source="s.yaml")
    dumped = parsed.model_dump(mode="json")
    assert expand(parsed) == expand(parsed)
    assert values == before
    assert parsed.model_dump(mode="json") == dumped


def test_configs_share_their_equal_parts_and_are_what_each_would_be_alone():
    configs = expand(spec({"agent.clip": [0.1, 0.2], "width": [0.05, 0.1], "seed": [0, 1]}))
    assert len({id(config.agent) for config in configs}) == 2
    assert len({id(config.model) for config in configs}) == 2
    for config in configs:
        alone = {**BASE, "agent": {**BASE["agent"], "clip": config.agent.clip}}
        model = {"width": config.model.width}
        assert config == run_config({**alone, "model": model, "seed": config.seed}, source="alone")


def test_more_values_on_an_axis_keep_the_ids_of_the_other_runs():
    few = {config.run_id for config in expand(spec({"width": [0.05, 0.1], "seed": [0, 1]}))}
    many = {config.run_id for config in expand(spec({"width": [0.2, 0.05, 0.1], "seed": [1, 2, 0]}))}
    assert few < many
    assert len(many) == 9


def test_a_whole_number_and_its_float_are_one_run():
    assert expand(spec({"width": [1]})) == expand(spec({"width": [1.0]}))


def test_the_stored_form_of_a_spec_gives_the_same_runs():
    parsed = spec({"width": [0.05, 0.1], "seed": [0, 1]}, resources={"num_gpus": 0.25})
    again = parse_spec(parsed.model_dump(mode="json"), source="stored")
    assert again == parsed
    assert expand(again) == expand(parsed)


def test_a_spec_is_read_from_yaml(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "base": BASE, "axes": {"width": [0.05, 0.1]}}))
    assert load_spec(path) == spec({"width": [0.05, 0.1]})


def test_duplicate_points_are_refused_and_named():
    assert "same run (width=0.05" in problem({"width": [0.05, 0.1, 0.05]})
    assert "same run" in problem({"width": [1, 1.0]})


def test_an_empty_axis_is_refused():
    assert "the axis 'width' is empty" in problem({"width": []})


def test_an_axis_that_is_not_a_list_is_refused():
    assert "the axis 'width' needs a list" in problem({"width": 0.5})


def test_unequal_lengths_in_a_group_are_refused_with_the_lengths():
    text = problem([{"width": [0.05, 0.1], "interactions": [1, 2, 3]}])
    assert "width has 2" in text
    assert "interactions has 3" in text


@pytest.mark.parametrize(
    ("name", "meant"),
    [("widht", "width"), ("agent.learning_rat", "agent.learning_rate"), ("clip", "agent.clip")],
)
def test_a_misspelt_axis_is_refused_with_the_one_that_was_meant(name, meant):
    assert problem({name: [1]}).endswith(f"unknown axis {name!r}; did you mean {meant!r}?")


@pytest.mark.parametrize("name", ["agent.", "name", "sizes"])
def test_an_unknown_axis_is_refused_with_the_known_ones(name):
    text = problem({name: [1]})
    assert f"unknown axis {name!r}" in text
    for known in (
        "width",
        "learning_rate",
        "seed",
        "interactions",
        "agent.clip",
        "agent.batch_growth.exponent",
    ):
        assert known in text


def test_fields_of_groups_that_can_be_left_out_are_axes():
    configs = expand(spec({"diagnostics.every": [100, 200]}))
    assert [config.diagnostics.every for config in configs] == [100, 200]
    base = {"task": "rl-perceptron", "interactions": 1000}
    axes = {"perceptron.dimension": [10, 20], "perceptron.teacher.dimension": [40]}
    configs = expand(spec(axes, base))
    assert [config.perceptron.dimension for config in configs] == [10, 20]
    assert [config.perceptron.seen**2 for config in configs] == pytest.approx([1 / 4, 1 / 2])
    assert "perceptron.dimension" in problem({"perceptron.size": [1]}, base)


def test_every_axis_that_the_refusal_lists_is_accepted():
    listed = problem({"sizes": [1]}).split("known: ")[1].rstrip(".").split(", ")
    for name in listed:
        spec({name: [1]})


def test_unknown_keys_are_refused_with_the_known_ones():
    known = "name, base, axes, resources, tuning, auto, max_runs"
    assert f"unknown key 'axis'; known here: {known}." in problem({}, axis={})
    assert "unknown key 'resources.cpus'; known here: num_cpus" in problem({}, resources={"cpus": 1})
    assert "unknown key 'agent.clop'; known here: algorithm" in problem({}, {**BASE, "agent": {"clop": 1}})
    assert "unknown key 'tusk'" in problem({}, {**BASE, "tusk": 1})


@pytest.mark.parametrize(
    "axes",
    [{"width": [1], "model.width": [2]}, [{"width": [1]}, {"width": [2]}], [{"seed": [1]}, {"seed": [1]}]],
)
def test_an_axis_given_twice_is_refused(axes):
    assert "is given twice" in problem(axes)


def test_an_axis_inside_another_is_refused():
    text = problem({"agent.clip": [0.1], "agent": [{"clip": 0.2}]})
    assert "'agent.clip' is part of the axis 'agent'" in text


def test_a_bad_value_names_its_point_of_the_grid():
    text = problem({"width": [0.05, -1], "seed": [3]})
    assert text.startswith("s.yaml (width=-1, seed=3): 'model.width'")


def test_a_combination_that_does_not_fit_names_its_point():
    text = problem({"agent.num_envs": [1, 3], "agent.minibatches": [2]})
    assert "agent.num_envs=3" in text
    assert "minibatches (2)" in text


@pytest.mark.parametrize(
    ("name", "written"), [("width", "model: {width: ...}"), ("agent.clip", "agent: {clip: ...}")]
)
def test_short_and_dotted_names_in_the_base_are_refused_with_the_way_to_write_them(name, written):
    assert written in problem({}, {**BASE, name: 0.1})


def test_a_base_that_blocks_an_axis_is_refused():
    assert "needs 'model' of 'base' to be a group" in problem({"width": [1]}, {**BASE, "model": 3})


@pytest.mark.parametrize("name", ["", "../x", "/tmp/x", "a/b", "a b", ".x", "a\n", "x" * 129])
def test_a_name_that_is_not_a_folder_name_is_refused(name):
    with pytest.raises(InputError, match="cannot be a sweep name"):
        parse_spec({"name": name, "base": BASE, "axes": {}}, source="s.yaml")


@pytest.mark.parametrize("missing", ["name", "base", "axes"])
def test_a_missing_field_is_named(missing):
    values = {"name": "s", "base": BASE, "axes": {}}
    del values[missing]
    with pytest.raises(InputError, match=f"'{missing}' is missing; add it"):
        parse_spec(values, source="s.yaml")


def test_a_spec_that_was_stored_expands_to_the_same_configs_without_doing_it_again():
    made = spec({"width": [0.05, 1], "seed": [0, 1]})
    stored = parse_spec(json.loads(json.dumps(made.model_dump(mode="json"))), source="the stored spec")
    assert expand(stored) is expand(made)
    assert [config.model.width for config in expand(spec({"width": [0.05, 2]}))] == [0.05, 2]
    assert expand(made) == expand(stored)


def test_axes_that_make_more_runs_than_allowed_are_refused_before_any_is_made():
    axes = {"seed": list(range(1000)), "agent.learning_rate": [1e-6 * i for i in range(1, 1001)]}
    spec = parse_spec({"name": "s", "base": BASE, "axes": axes}, source="s.yaml")
    with pytest.raises(InputError, match="the axes make 1,000,000 runs, more than max_runs allows") as caught:
        expand(spec, source="s.yaml")
    assert caught.value.code == "too_many_runs"
    few = parse_spec({"name": "s", "base": BASE, "axes": {"seed": [0, 1]}, "max_runs": 2}, source="s.yaml")
    assert len(expand(few)) == 2
    with pytest.raises(InputError, match=r"the axes make 3 runs, more than max_runs allows \(2\)"):
        expand(parse_spec({**few.model_dump(mode="json"), "axes": {"seed": [0, 1, 2]}}, source="s.yaml"))
