"""The ordered list of folders: a module imports only from its own folder and from folders above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("scaling", "sweeps", "analysis", "rlscale")

#: From the ground up. A folder stands for all that lies in it and is not listed by itself.
FLOORS = (
    ("scaling/errors", "scaling/files", "scaling/machine", "scaling/modules", "scaling/wording"),
    ("scaling/tasks",),
    ("scaling/config",),
    ("scaling/models",),
    ("scaling/rollouts",),
    ("scaling/diagnostics", "scaling/agents"),
    ("scaling/training",),
    ("scaling/costs", "scaling/solvable"),
    ("sweeps/store",),
    ("sweeps/specs", "sweeps/importers/readers"),
    ("sweeps/importers",),
    ("sweeps/running",),
    ("sweeps/doctor",),
    ("analysis/choices", "analysis/arrays", "analysis/records", "analysis/progress"),
    ("analysis/formatting/numbers",),
    ("analysis/results",),
    ("analysis/statistics", "analysis/theory"),
    ("analysis/curves",),
    ("analysis/points",),
    ("analysis/fit",),
    ("analysis/forecast",),
    ("analysis/studies",),
    ("analysis/formatting",),
    ("analysis/figures",),
    ("analysis/reports",),
    ("rlscale/loop",),
    ("rlscale/terminal",),
    ("rlscale/commands",),
    ("rlscale/cli", "rlscale/__main__", "rlscale"),
)
#: A result leads on to the next step by a method of its own, where a person looks for it: the only import
#: that points up, made when the method is called.
LEADS_ON = {"analysis/fit/result": {"analysis/forecast/result", "analysis/forecast/sizes"}}
HEIGHT = {place: height for height, floor in enumerate(FLOORS) for place in floor}

#: Who alone may import a library that is slow to load, or that only one part of the house is about.
LIBRARIES = {
    "torch": ("scaling/",),
    "gymnasium": ("scaling/",),
    "ray": ("sweeps/running/ray_", "sweeps/doctor/ray_"),
    "typer": ("rlscale/",),
    "rich": ("rlscale/",),
    "matplotlib": ("analysis/figures/", "analysis/reports/"),
}


def modules() -> dict[str, Path]:
    """Every module of the repository as ``folder/name``, with its file."""
    return {
        str(path.relative_to(ROOT).with_suffix("")): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.relative_to(ROOT).parents if parent.name)
        and not any((ROOT / parent).is_symlink() for parent in path.relative_to(ROOT).parents)
    }


MODULES = modules()


def imported_by(module: str) -> set[str]:
    """Everything a module imports, anywhere in it: ``folder/name`` of ours, dotted names of others."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        else:
            continue
        found |= {ours(name) or name for name in names}
    return found - LEADS_ON.get(module, set())


def ours(name: str) -> str | None:
    """The module of ours that an imported name is, or lies in; None if it is another's."""
    parts = name.split(".")
    if parts[0] != "rlscale":
        return None
    path = "/".join(parts[1:] if len(parts) > 1 and parts[1] in PACKAGES else parts)
    while path and path not in MODULES:
        path = path.rpartition("/")[0]
    return path or None


def height(module: str) -> int:
    """The floor of a module: that of the nearest folder listed, the module itself included."""
    place = module.removesuffix("/__init__")
    while place not in HEIGHT:
        place, _, _ = place.rpartition("/")
        assert place, f"{module} lies on no floor; name its folder in FLOORS"
    return HEIGHT[place]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__init__")])
def test_imports_point_down_the_floors(module: str) -> None:
    above = {name for name in imported_by(module) if name in MODULES and height(name) > height(module)}
    assert above == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {
        module
        for module in MODULES
        if any(name.split(".")[0] == library for name in imported_by(module) if name not in MODULES)
    }
    assert {module for module in users if not module.startswith(LIBRARIES[library])} == set()


def test_the_analysis_reaches_the_store_through_curves_and_tuning_alone() -> None:
    for module in MODULES:
        if module.startswith("analysis/") and not module.startswith(
            ("analysis/curves/", "analysis/studies/tuning/")
        ):
            reached = {name for name in imported_by(module) if name.startswith(("sweeps/", "scaling/"))}
            assert reached <= {"scaling/errors", "scaling/files", "scaling/wording"}, module


def test_what_leads_on_is_imported_only_when_it_is_called() -> None:
    for module in LEADS_ON:
        body = ast.parse(MODULES[module].read_text()).body
        at_start = {node.module for node in body if isinstance(node, ast.ImportFrom)}
        assert not {ours(str(name)) for name in at_start} & LEADS_ON[module]


def test_no_import_cycle() -> None:
    uses = {module: {name for name in imported_by(module) if name in MODULES} for module in MODULES}
    left = dict(uses)
    while free := [module for module, names in left.items() if not names & left.keys() - {module}]:
        for module in free:
            del left[module]
    assert left == {}


EVERY_ANALYSIS_MODULE = "import " + ", ".join(
    "rlscale." + name.removesuffix("/__init__").replace("/", ".")
    for name in MODULES
    if name.startswith("analysis/")
)

FIT_OF_A_FILE = "from rlscale.commands.fit import fit; from rlscale.scaling.errors import InputError\n"
FIT_OF_A_FILE += "try: fit('nowhere.csv')\nexcept InputError: pass\n"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import rlscale.cli", ["torch", "ray", "pandas", "matplotlib", "pydantic"]),
        (EVERY_ANALYSIS_MODULE, ["torch", "ray", "gymnasium"]),
        (FIT_OF_A_FILE, ["torch", "ray", "matplotlib", "statsmodels"]),
        ("import rlscale; rlscale.JointScalingFit", ["torch", "ray", "gymnasium"]),
        ("import rlscale; rlscale.RunStore", ["torch", "ray", "gymnasium"]),
        ("import rlscale; rlscale.train", ["ray"]),
    ],
    ids=["command line", "analysis", "fit", "estimator", "store", "training"],
)
def test_importing_stays_light(code: str, absent: list[str]) -> None:
    code = f"import sys\n{code}\nprint([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
