"""The tutorial's files and commands, run as a reader would, with shorter runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from command_line import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.M | re.S)
    assert found is not None
    return found[1]


@pytest.mark.ray
def test_the_tutorial_goes_from_a_class_to_a_law(tmp_path: Path) -> None:
    code, spec = block("python"), block("yaml")
    statements = [line for line in code.splitlines() if line and not line.startswith(('"""', "import"))]
    assert len(statements) <= 40
    (tmp_path / "teacher.py").write_text(code)
    assert "interactions: 40000" in spec
    (tmp_path / "teacher.yaml").write_text(spec.replace("interactions: 40000", "interactions: 3000"))
    lines = block("bash").replace("--bootstrap 200", "--bootstrap 20").splitlines()
    assert [line.split()[1] for line in lines] == ["sweep", "fit", "forecast", "report"]
    for line in lines[:3]:  # the tests of reports draw many
        done = run(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    fit = json.loads((tmp_path / "fit.json").read_text())
    assert (fit["num_sizes"], fit["num_runs"]) == (6, 12)
