"""Every code block of the README and the documentation is run or checked, and every link leads somewhere."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
import typer.main
import yaml
from command_line import run
from idx_files import write_mnist

from rlscale.cli import app
from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.sweeps.specs.spec import SweepSpec, parse_spec

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
]


class Block(NamedTuple):
    page: Path
    language: str
    text: str
    following: str  # the next block of the page, which may be the output of this one

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.splitlines()[0] if self.text else ''}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        parts = re.findall(r"^```(\S*)[^\n]*\n(.*?)^```$", page.read_text(), flags=re.M | re.S)
        for (kind, text), (after, output) in zip(parts, [*parts[1:], ("", "")], strict=False):
            if kind == language:
                found.append(Block(page, kind, text, output if after == "text" else ""))
    return found


def test_every_block_says_its_language() -> None:
    known = {"python", "bash", "yaml", "text"}
    for page in PAGES:
        opened = re.findall(r"^```([^\n]*)$", page.read_text(), flags=re.M)[::2]
        assert {one for one in opened if not one.startswith("{")} <= known, page


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs_and_prints_what_the_page_shows(block: Block, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    digits = tmp_path / "mnist"  # a block that trains on MNIST needs none of the real ones
    digits.mkdir()
    write_mnist(digits, np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8))
    env = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "RLSCALE_MNIST_DIR": str(digits)}
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == block.following


def shell_lines() -> list[str]:
    """Each distinct ``rlscale …`` line, without its comment and without brackets around what is optional."""
    lines = [line.strip() for block in blocks("bash") for line in block.text.splitlines()]
    commands = [re.sub(r"[\[\]]", "", line) for line in lines if line.startswith("rlscale ")]
    return list(dict.fromkeys(commands))


def resolved(words: list[str]) -> tuple[Any, str, list[str]]:
    """The command of the real tree, its full name, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    name = words[0]
    rest = words[1:]
    while hasattr(command, "commands"):
        part, command, rest = command.resolve_command(click.Context(command, info_name=name), rest)
        name = f"{name} {part}".rstrip()
    return command, name, rest


@pytest.mark.parametrize("line", shell_lines())
def test_a_shell_line_is_understood_by_the_command_it_names(line: str) -> None:
    words = shlex.split(line, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    command, name, rest = resolved(words)
    command.make_context(name, rest)


def test_the_first_fit_and_forecast_of_the_readme_run_and_the_table_is_theirs(tmp_path: Path) -> None:
    lines = [line for line in shell_lines() if "data/mnist_width/curves.parquet" in line and " fit " in line]
    (tmp_path / "data").symlink_to(ROOT / "data")

    def shell(line: str) -> str:
        done = run(*shlex.split(line, comments=True)[1:], columns=100, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = shell(f"{lines[0].partition('#')[0]} --bootstrap 100").splitlines()
    readme = next(block for block in blocks("bash") if "rlscale fit data/" in block.text)
    for row in readme.following.splitlines():
        words = row.split()
        (same,) = [one.split() for one in printed if one.split()[:1] == words[:1]]
        assert same[:2] == words[:2]  # the name and the estimate
        assert len(same) == len(words)
        # Bootstrap ends differ between processors: a draw may end in another of two nearly equal optima.
        for one, other in zip(same, words, strict=True):
            assert one == other or float(one) == pytest.approx(float(other), rel=0.005)
    shell("rlscale forecast fit.json --compute 1e9 --compute 1e11")


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_valid_spec_or_config(block: Block) -> None:
    values = yaml.safe_load(block.text)
    if "task" in values:
        run_config(values, source="the page")
    elif values.keys() == {"agent"}:
        AgentConfig.model_validate(values["agent"])
    else:  # a whole spec, or a part of one
        rest = {"name": "one", "base": {"task": "digits-bandit", "interactions": 1000}}
        runs = {} if "auto" in values else {"axes": {"seed": [0]}}
        parse_spec({**rest, **runs, **values}, source="the page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and "generated/" not in file.read_text():
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} links to {target}"


def test_what_the_pages_name_in_the_code_exists() -> None:
    for page in PAGES:
        for name in re.findall(r"\{py:\w+\}`~?([\w.]+)`", page.read_text()):
            module, rest = name, []
            while True:
                try:
                    found: Any = importlib.import_module(module)
                    break
                except ModuleNotFoundError:
                    module, _, last = module.rpartition(".")
                    rest.insert(0, last)
            for part in rest:
                found = getattr(found, part)


def test_the_tests_that_the_page_on_faults_names_exist() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests" / "sweeps").rglob("test_*.py"))
    rows = [
        line.rsplit("|", 2)[1]
        for line in (ROOT / "docs" / "faults.md").read_text().splitlines()
        if "|" in line
    ]
    for name in re.findall(r"`(\w+)`", " ".join(rows)):
        assert name in tests, name


def fields_of(model: Any) -> dict[str, Any]:
    """Every field of a config and of the configs within it, by its dotted name."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        found[f"{model.__name__}.{name}"] = field
        for inner in [field.annotation, *typing.get_args(field.annotation)]:
            if hasattr(inner, "model_fields"):
                found |= fields_of(inner)
    return found


def test_every_field_of_a_config_says_what_it_means() -> None:
    fields = fields_of(RunConfig) | fields_of(SweepSpec)
    assert [name for name, field in fields.items() if not field.description] == []
