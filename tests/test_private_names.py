"""A name with a leading underscore is used in its own module alone, by the packages and by their tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scaling", "sweeps", "analysis", "rlscale", "tests", "benchmarks", "docs")

#: The private interfaces of other libraries that we use, and the modules that alone may do so.
OF_OTHERS = {
    "sweeps/running/ray_private.py": "ray",
    "scaling/tasks/procgen/private.py": "procgen",
    "scaling/tasks/gymnasium/private.py": "gymnasium",
}
#: Functions of torch that its own optimisers are made of, and that have no public name.
TORCH = {"torch._foreach_lerp_"}
#: Documented, in spite of its name.
PUBLIC = {"os._exit"}


def sources() -> list[str]:
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    )


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def made_in(tree: ast.Module) -> set[str]:
    """Every name that a module defines or assigns, attributes among them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def private_names_of_others(tree: ast.Module) -> Iterator[str]:
    """Private names that a module imports, or that it reads or sets on what another module made."""
    own = made_in(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                parts = [*(module or "").split("."), *(each.name for each in names)]
                yield from (f"{module}: {part}" for part in parts if is_private(part))
            case ast.Import(names=names):
                yield from (each.name for each in names if any(map(is_private, each.name.split("."))))
            case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                pass
            case ast.Attribute(attr=name, ctx=context) if is_private(name):
                if name not in own or (isinstance(context, ast.Store) and not is_of_self(node)):
                    yield ast.unparse(node)


def is_of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


@pytest.mark.parametrize("source", sources())
def test_private_names_stay_in_their_module(source: str) -> None:
    found = set(private_names_of_others(ast.parse((ROOT / source).read_text())))
    if source not in OF_OTHERS:
        assert found - TORCH - PUBLIC == set()


@pytest.mark.parametrize("source", OF_OTHERS)
def test_private_names_of_a_library_are_of_that_library_alone(source: str) -> None:
    tree = ast.parse((ROOT / source).read_text())
    imported = {
        module.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (module := node.module)
        and any(map(is_private, module.split(".")))
    }
    assert imported <= {OF_OTHERS[source]}
    assert not any("rlscale" in name for name in private_names_of_others(tree))
