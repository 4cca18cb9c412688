"""Runs of tasks that bring their own learner: configs, rows, and going on from where they were saved."""

import json

import pytest

from rlscale.scaling.config.run import RunConfig, run_config, with_later_fields
from rlscale.scaling.costs.measure import measure
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.catalog import SOLVABLE_TASKS
from rlscale.scaling.training.facts import provenance, run_columns
from rlscale.scaling.training.train import make_run
from rlscale.sweeps.store.schema import RUN_COLUMNS

TASKS = list(SOLVABLE_TASKS)
#: Of 2,000 interactions; an update of in-context-td takes 95.
LEAST_ROWS = {"rl-perceptron": 50, "in-context-td": 20}


def config_of(task: str, interactions: int = 2000, **others: object) -> RunConfig:
    return run_config({"task": task, "interactions": interactions, **others}, source="test")


@pytest.mark.parametrize("task", TASKS)
def test_config_has_its_own_section_and_none_of_an_agent(task):
    values = config_of(task).model_dump(mode="json")
    assert SOLVABLE_TASKS[task].section in values
    assert not {"agent", "model", "levels", "wrappers", "diagnostics"} & set(values)
    again = run_config(json.loads(json.dumps(values)), source="again")
    assert again.run_id == config_of(task).run_id
    assert with_later_fields(values) == values


@pytest.mark.parametrize("key", ["agent", "model", "levels", "wrappers", "diagnostics", "precision"])
def test_keys_of_agents_are_rejected_by_name(key):
    with pytest.raises(InputError, match=f"leave {key} out") as caught:
        config_of("rl-perceptron", **{key: {}})
    assert "perceptron sets" in str(caught.value)


def test_a_section_of_another_task_is_rejected():
    with pytest.raises(InputError, match="perceptron is for rl-perceptron: leave it out for digits-bandit"):
        config_of("digits-bandit", perceptron={})
    assert "perceptron" not in config_of("digits-bandit").model_dump()


@pytest.mark.parametrize("task", TASKS)
def test_run_columns_are_known_before_it_starts(task):
    config = config_of(task)
    columns = run_columns(config)
    assert set(columns) == set(RUN_COLUMNS) - {"status"}
    assert columns["num_params"] > 0
    measured = measure(config, timed=True)
    assert measured.columns == columns
    assert measured.memory.total > 0
    assert measured.seconds > 0
    assert provenance("cpu", config.entry)["resume"] == "exact"


@pytest.mark.parametrize("task", TASKS)
def test_it_goes_on_bit_for_bit(task):
    config = config_of(task)
    whole, parts = make_run(config), make_run(config)

    def rows_of(run, resumed_after=None):
        rows = []
        while run.interactions < config.interactions:
            run.iterate()
            if run.recorder.is_due(run.interactions):
                rows.append(run.close_row() | {"wall_seconds": 0.0})
            if resumed_after is not None and run.interactions >= resumed_after:
                checkpoint, resumed_after = run.save(), None
                run = make_run(config)
                run.restore(checkpoint)
        return rows

    expected = rows_of(whole)
    assert len(expected) > LEAST_ROWS[task]
    assert rows_of(parts, resumed_after=777) == expected


def test_commands_about_agents_refuse_it():
    with pytest.raises(InputError, match="brings its own learner") as caught:
        _ = config_of("rl-perceptron").task_entry
    assert caught.value.code == "own_learner"
