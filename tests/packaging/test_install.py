"""What an install adds to an environment: one name and all it needs, whatever the working folder contains."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("rlscale", "analysis", "scaling", "sweeps", "pyproject.toml", "README.md", "LICENSE")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

ONE_NAME = """
import sys, rlscale, rlscale.cli
print(rlscale.JointScalingFit, rlscale.RunStore)
files = [m.__file__ for m in sys.modules.values() if m.__name__.split(".")[0] == "rlscale" and m.__file__]
assert len(files) == len(set(map(__import__("os").path.realpath, files))), "a module has two names"
"""


def run(*words: str | Path, cwd: Path | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, its links kept, so that building leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("source")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a source distribution, as an index would serve both."""
    out = tmp_path_factory.mktemp("dist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    run(sys.executable, "-c", build, cwd=source)
    (sdist,) = out.glob("*.tar.gz")
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, sdist)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with rlscale installed, that sees this one's dependencies."""
    folder = tmp_path_factory.mktemp(request.param)
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    interpreter = folder / "bin" / "python"
    site = Path(run(interpreter, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [*PIP, "--python", str(interpreter), "install", "--no-deps", "--no-build-isolation"]
    install += ["--ignore-installed"]
    if request.param == "wheel":
        run(*install, request.getfixturevalue("wheel"))
    else:
        run(*install, "--editable", source)
    return interpreter


@pytest.fixture(params=["folders", "packages"])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A working folder with folders of the names that rlscale's own have in its repository."""
    for name in ("analysis", "scaling", "sweeps"):
        (tmp_path / name).mkdir()
        if request.param == "packages":
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError('this is not rlscale')\n")
    return tmp_path


def test_the_api_and_both_ways_to_the_command_work_beside_folders_of_the_same_names(
    python: Path, beside: Path
) -> None:
    assert "rlscale.analysis.fit.joint_fit.JointScalingFit" in run(python, "-c", ONE_NAME, cwd=beside)
    for command in ([python.parent / "rlscale"], [python, "-m", "rlscale"]):
        assert "forecast" in run(*command, "--help", cwd=beside)


def test_no_other_top_level_name_is_installed(python: Path, tmp_path: Path) -> None:
    code = """
import importlib.util
print([name for name in ("analysis", "scaling", "sweeps") if importlib.util.find_spec(name)])
"""
    assert run(python, "-c", code, cwd=tmp_path).strip() == "[]"


def test_the_wheel_has_one_package_with_its_data_and_license(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"rlscale"}
    wanted = {
        "rlscale/py.typed",
        "rlscale/__init__.pyi",
        "rlscale/analysis/reports/report.html.j2",
        "rlscale/analysis/reports/scripts/forecast.js",
        "rlscale/analysis/reports/scripts/uplot-1.6.32/LICENSE",
        "rlscale/sweeps/specs/demo.yaml",
    }
    assert wanted <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("analysis/**/*.py")}
    assert {f"rlscale/{module}" for module in modules} <= set(names)
