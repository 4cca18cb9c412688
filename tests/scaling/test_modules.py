"""A person's own modules: named by her, imported once, and never because a store says so."""

import sys

import pytest

from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import load_class, modules_in, name_modules, named_modules


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def write(folder, name, text):
    (folder / f"{name}.py").write_text(text)
    return name


def code_of(call):
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.code


def test_a_named_module_is_imported_from_the_folder_given(folder):
    module = write(folder, "own_first", "class Thing: pass\nclass Other(Thing): pass\nvalue = 3\n")
    assert code_of(lambda: load_class(f"{module}:Thing", object)) == "module_not_named"
    assert module not in sys.modules
    name_modules([module], folder)
    assert module in named_modules()
    assert load_class(f"{module}:Other", load_class(f"{module}:Thing", object)).__name__ == "Other"
    for name in ("value", "Missing"):
        assert code_of(lambda name=name: load_class(f"{module}:{name}", object)) == "not_such_a_class"


def test_a_module_that_is_loaded_but_not_named_is_refused():
    assert "os" in sys.modules
    assert code_of(lambda: load_class("os:PathLike", object)) == "module_not_named"


def test_the_folder_does_not_hide_installed_packages(folder):
    write(folder, "numpy", "raise SystemExit\n")
    name_modules([write(folder, "own_beside", "import numpy\nsize = numpy.ones(3).size\n")], folder)
    assert sys.modules["own_beside"].size == 3


@pytest.mark.parametrize("text", ["import no_such_package", "1 / 0", "def"])
def test_a_module_that_does_not_import_is_said_with_its_own_words(folder, text):
    module = write(folder, f"own_broken_{len(text)}", text + "\n")
    with pytest.raises(InputError, match=f"The module {module} cannot be imported on") as caught:
        name_modules([module], folder)
    assert caught.value.code == "module_not_importable"
    assert module not in named_modules()


@pytest.mark.parametrize(
    ("values", "modules"),
    [
        ({"task": "a.b:Env"}, ["a.b"]),
        ({"task": "gymnasium:CartPole-v1", "model": {"family": "nets:Net"}}, ["nets"]),
        (
            {"base": {"task": "digits-bandit"}, "axes": {"family": ["mlp", "nets:A", "more:B"]}},
            ["nets", "more"],
        ),
        ({"axes": [{"model.family": ["nets:A"]}, {"model": [{"family": "nets2:A"}]}]}, ["nets", "nets2"]),
        ({"name": "x:Y", "agent": {"algorithm": "a:B"}, "task": 3}, []),
    ],
)
def test_configs_and_specs_name_modules_as_task_and_family_alone(values, modules):
    assert list(modules_in(values)) == modules
