"""The notebooks of the documentation, which run when it is built (``docs/conf.py``)."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_what_it_prints_and_is_a_page(path):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path, "code"))
    assert f"\nnotebooks/{path.stem}\n" in (DOCS / "index.md").read_text()
    (heading, *_) = cells(path, "markdown")
    assert heading["source"][0].startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_files_that_a_notebook_reads_and_links_exist(path):
    code = "\n".join("".join(cell["source"]) for cell in cells(path, "code"))
    text = "\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    for name in [*re.findall(r'"(\.\./[^"]+)"', code), *re.findall(r"\]\((\.\./[^)#]+)", text)]:
        assert (path.parent / name).exists(), name
    plain = [
        cell["source"] for cell in cells(path, "code") if not "".join(cell["source"]).startswith(("%", "!"))
    ]
    for lines in plain:
        ast.parse("".join(lines))


def test_all_notebooks_run_when_the_site_is_built():
    conf = (DOCS / "conf.py").read_text()
    assert 'nb_execution_mode = "force"' in conf
    assert "nb_execution_raise_on_error = True" in conf
