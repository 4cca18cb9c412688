"""The catalogue: tasks by name, and that a task is one entry and one module."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlscale.scaling.config.run import run_config
from rlscale.scaling.costs.measure import measure
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks import catalog
from rlscale.scaling.tasks.catalog import (
    SOLVABLE_TASKS,
    TASKS,
    Discrete,
    Images,
    Task,
    find_task,
    return_bounds,
)
from rlscale.scaling.tasks.data_folder import DataFolder
from rlscale.scaling.tasks.registry import make_bandit, prepare_task
from rlscale.scaling.training.facts import run_columns
from rlscale.scaling.training.run import Run


@pytest.fixture
def made_up(monkeypatch):
    """A task that is added by one entry; ``made_up_task`` is its module."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    entry = Task(
        name="bright-half",
        kind="bandit",
        observations=Images((2, 8, 8)),
        actions=Discrete(2),
        families=("mnist-cnn",),
        module="made_up_task",
        return_low=0.0,
        return_high=1.0,
    )
    monkeypatch.setitem(catalog.TASKS, entry.name, entry)
    return entry.name


def test_a_task_is_one_entry_and_one_module(made_up):
    config = run_config({"task": made_up, "interactions": 4096, "model": {"width": 0.05}}, source="test")
    prepare_task(made_up)
    columns = run_columns(config)
    assert (columns["return_low"], columns["return_high"]) == (0.0, 1.0)
    assert measure(config, timed=True).seconds > 0
    run = Run(config)
    for _ in range(8):
        run.iterate()
    assert run.close_row()["return_mean"] > 0.6


def test_every_task_has_a_family_and_a_module_for_its_kind():
    for name, task in TASKS.items():
        assert task.name == name
        assert task.default_family in task.families
        assert task.kind in ("bandit", "environment")


def test_the_bandits_agree_with_their_entries():
    task = TASKS["digits-bandit"]
    bandit = make_bandit(task.name)
    assert bandit.observation_shape == task.observations.shape
    assert bandit.num_actions == task.actions.count


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        (
            "cartpole",
            "unknown_task",
            f"use mnist-bandit, digits-bandit, {', '.join(SOLVABLE_TASKS)} or procgen-<game>-<mode>, such as",
        ),
        ("procgen-doom-easy", "unknown_task", "has no game 'doom'"),
        ("procgen-bigfish-memory", "unknown_task", "has no mode 'memory'"),
        ("procgen-coinrun", "unknown_task", "write procgen-<game>-<mode>"),
    ],
)
def test_an_unknown_task_is_refused_with_the_existing_ones(name, code, text):
    with pytest.raises(InputError, match=text) as caught:
        find_task(name)
    assert caught.value.code == code


def test_bounds_of_returns_are_those_of_the_entry():
    assert return_bounds("mnist-bandit") == (0.0, 1.0)
    assert return_bounds("procgen-coinrun-easy") == return_bounds("no-such-bandit") == (None, None)
    assert return_bounds(float("nan")) == return_bounds(None) == (None, None)


def test_the_catalogue_loads_neither_torch_nor_gymnasium():
    code = (
        "import sys; import rlscale.scaling.tasks.catalog; "
        "print([m for m in ('torch', 'gymnasium', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_folders_are_searched_in_order_and_a_folder_put_first_stays_first_once(monkeypatch):
    folder = DataFolder("RLSCALE_TEST_DIR", Path("data/default"))
    monkeypatch.setenv("RLSCALE_TEST_DIR", "of-environment")
    assert folder.places() == [Path("of-environment"), Path("data/default")]
    for _ in range(2):
        folder.put_first(Path("given"))
    folder.put_first(None)
    assert folder.places() == [Path("given"), Path("of-environment"), Path("data/default")]
    assert folder.places(Path("nearer"))[0] == Path("nearer")
