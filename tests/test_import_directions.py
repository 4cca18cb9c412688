"""Imports run one way: sweeps -> scaling; analysis -> sweeps.store through analysis.curves alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("scaling", "sweeps", "analysis")
COMPOSITION_ROOT = "scaling.cli"


def imports_of(path: Path) -> set[str]:
    """Absolute names of everything a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports_any(module: str, *packages: str) -> list[str]:
    return sorted(
        name
        for name in imports_of(MODULES[module])
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    )


def members(package: str) -> list[str]:
    return [name for name in MODULES if name.split(".")[0] == package and name != COMPOSITION_ROOT]


@pytest.mark.parametrize("module", members("scaling"))
def test_scaling_imports_neither_sweeps_nor_analysis_nor_ray(module: str) -> None:
    assert imports_any(module, "sweeps", "analysis", "ray") == []


@pytest.mark.parametrize("module", members("sweeps"))
def test_sweeps_does_not_import_analysis_and_only_its_ray_modules_import_ray(module: str) -> None:
    assert imports_any(module, "analysis") == []
    if not module.startswith("sweeps.ray_"):
        assert imports_any(module, "ray") == []


@pytest.mark.parametrize("module", ["sweeps.schema", "sweeps.store"])
def test_the_store_needs_neither_torch_nor_gymnasium(module: str) -> None:
    assert imports_any(module, "torch", "gymnasium") == []
    assert imports_any(module, "scaling") == [n for n in imports_any(module, "scaling.errors")]


@pytest.mark.parametrize("module", members("analysis"))
def test_analysis_reaches_the_store_through_curves_alone(module: str) -> None:
    assert imports_any(module, "torch", "ray", "gymnasium") == []
    allowed = (
        ("scaling.errors.", "scaling.terminal.") if module.endswith("commands") else ("scaling.errors.",)
    )
    assert [n for n in imports_any(module, "scaling") if not n.startswith(allowed)] == []
    reached = imports_any(module, "sweeps")
    if module == "analysis.curves":
        assert all(name.startswith(("sweeps.store", "sweeps.schema")) for name in reached)
    else:
        assert reached == []


def test_environments_and_models_do_not_import_each_other() -> None:
    for module in members("scaling"):
        if module.startswith("scaling.envs"):
            assert imports_any(module, "scaling.models", "scaling.agents") == [], module
        if module.startswith("scaling.models"):
            assert imports_any(module, "scaling.envs", "scaling.agents") == [], module


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    for module in MODULES:
        assert imports_any(module, "scaling.cli") == [], module


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["scaling.cli"], ["torch", "ray", "pandas", "matplotlib"]),
        (["sweeps.store", "sweeps.schema"], ["torch", "ray", "gymnasium"]),
        (members("analysis"), ["torch", "ray", "gymnasium"]),
        (["scaling.train"], ["ray"]),
    ],
)
def test_importing_stays_light(modules: list[str], absent: list[str]) -> None:
    code = f"import sys, {', '.join(modules)}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
