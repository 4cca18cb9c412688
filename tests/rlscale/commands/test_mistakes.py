"""What the command line makes of common mistakes and wishes: misspelt names, wrong files, other formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.main
from typer.testing import CliRunner

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.cli import app
from rlscale.scaling.config.reading import load_yaml
from rlscale.scaling.config.run import load_run_config
from rlscale.scaling.errors import InputError, InvalidConfig
from rlscale.sweeps.specs.presets import find_spec
from rlscale.sweeps.specs.spec import expand, load_spec

ROOT = Path(__file__).resolve().parents[3]
FIT = ROOT / "data" / "mnist_width" / "fit.json"
RUN = "task: digits-bandit\ninteractions: 1000\n"
SPEC = "name: one\nbase: {task: digits-bandit, interactions: 1000}\naxes: {seed: [0]}\n"


def invoke(*words: object) -> str:
    """What a command prints; an error is raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def written(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


# -- configs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("1e5", 1e5), ("1E+5", 1e5), ("-2e-3", -0.002), ("1.5e3", 1500.0), ("1_0e1", 100.0)]
)
def test_a_power_of_ten_in_yaml_is_a_number(tmp_path, text, value):
    assert load_yaml(written(tmp_path, f"x: {text}\n")) == {"x": value}


@pytest.mark.parametrize("text", ["e5", "1e", "1e5x", "'1e5'", "0e_1", "a1e5"])
def test_what_only_looks_like_one_stays_text(tmp_path, text):
    assert isinstance(load_yaml(written(tmp_path, f"x: {text}\n"))["x"], str)


def test_interactions_may_be_written_as_a_power_of_ten(tmp_path):
    config = load_run_config(written(tmp_path, RUN.replace("1000", "1e5")))
    assert config.interactions == 100_000
    assert config.run_id == load_run_config(written(tmp_path, RUN.replace("1000", "100000"))).run_id
    spec = load_spec(written(tmp_path, SPEC.replace("seed: [0]", "interactions: [1e3, 2e3]")))
    assert [one.interactions for one in expand(spec)] == [1000, 2000]


def test_every_problem_of_a_config_is_told_at_once_with_what_was_meant(tmp_path):
    path = written(
        tmp_path,
        "task: digits-bandt\nmodle: {width: 2}\nagent: {horizn: 3, num_envs: x}\nwidth: 2\nzzzz: 1\n",
    )
    with pytest.raises(InvalidConfig) as caught:
        load_run_config(path)
    said = caught.value.problems
    assert len(said) == 7
    for part in (
        "there is no task 'digits-bandt'; did you mean 'digits-bandit'?",
        "'interactions' is missing",
        "'agent.num_envs': input should be a valid integer",
        "unknown key 'agent.horizn'; known here: algorithm, ",
        "Did you mean 'horizon'?",
        "Did you mean 'model'?",
        "Did you mean 'model.width'?",
    ):
        assert sum(part in problem for problem in said) == 1, part
    assert next(problem for problem in said if "'zzzz'" in problem).endswith("precision.")
    assert str(caught.value).startswith(f"{path} has 7 problems: ")


def test_the_command_line_lists_them_below_each_other(tmp_path):
    path = written(tmp_path, "task: digits-bandit\nlenght: 3\n")
    command = [sys.executable, "-m", "rlscale", "train", path, "--store", tmp_path / "store"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    heading, *rows = done.stderr.splitlines()
    assert heading == f"rlscale: {path} has 2 problems:"
    assert [row[:4] for row in rows] == ["  - ", "  - "]
    assert not (tmp_path / "store").exists()


def test_misspelt_axes_and_presets_are_recognised(tmp_path):
    with pytest.raises(InvalidConfig) as caught:
        load_spec(written(tmp_path, SPEC.replace("seed: [0]", "widht: [1], clip: [0.1], horizon: []")))
    assert caught.value.problems == (
        "unknown axis 'widht'; did you mean 'width'?",
        "unknown axis 'clip'; did you mean 'agent.clip'?",
        "the axis 'horizon' is empty; give it values or remove it.",
    )
    with pytest.raises(InputError, match="Did you mean 'mnist-width'"):
        find_spec("mnist-widht")


def test_a_run_and_a_sweep_that_are_mistaken_for_each_other_point_to_the_right_command(tmp_path):
    path = written(tmp_path, SPEC)
    with pytest.raises(InputError, match=f"run it with rlscale sweep run {path} --store") as caught:
        invoke("train", path, "--store", tmp_path / "store")
    assert caught.value.code == "not_a_run"
    with pytest.raises(InputError, match="read it with load_spec"):
        load_run_config(path)
    path = written(tmp_path, RUN)
    with pytest.raises(InputError, match=f"train it with rlscale train {path} --store") as caught:
        invoke("sweep", "plan", path)
    assert caught.value.code == "not_a_spec"


# -- the help ---------------------------------------------------------------------------


def test_the_help_has_panels_and_names_no_type_of_flags():
    text = invoke("--help")
    assert [name for name in ("Measure", "Analyse", "Curves", "Cluster") if f"─ {name} ─" in text] == [
        "Measure",
        "Analyse",
        "Curves",
        "Cluster",
    ]
    assert "─ Commands ─" not in text
    assert "--install-completion" in text

    def every(command, words):
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from every(inner, [*words, name] if name else words)

    for words in every(typer.main.get_command(app), []):
        assert "<bool>" not in invoke(*words, "--help"), words


# -- forecasts, exports, reports, and files from elsewhere ----------------------------------


def test_returns_within_the_map_are_answered_beside_one_that_is_not(tmp_path):
    out = tmp_path / "f.json"
    printed = invoke("forecast", FIT, "--return", 0.9, "--return", 5, "--json", out)
    result = json.loads(out.read_text())
    assert [item["return"] for item in result["returns"]] == [0.9]
    assert "return_outside_map" in result["warning_codes"]
    assert "A return of 5 lies outside the fitted map" in printed
    with pytest.raises(InputError, match="A return of 5 lies outside"):
        invoke("forecast", FIT, "--return", 5)
    assert "A return of 5 lies outside" in invoke("forecast", FIT, "--compute", 1e9, "--return", 5)


@pytest.mark.parametrize("ending", [".pdf", ".PDF", ".md", ".ipynb"])
def test_a_report_of_another_kind_is_refused_before_the_work_with_the_name_to_give(tmp_path, ending):
    with pytest.raises(InputError, match=r"a report is one HTML file; name it .*out\.html") as caught:
        invoke("report", tmp_path / "nowhere.csv", "--out", tmp_path / f"out{ending}")
    assert caught.value.code == "unknown_file_format"
    assert ("print it to a PDF" in str(caught.value)) == (ending.lower() == ".pdf")


def test_an_export_to_csv_has_the_rows_of_one_to_parquet(tmp_path):
    curves = SyntheticSweep(sizes=(1e4, 2e4, 4e4), points=12).curves(np.random.default_rng(0))
    curves.to_pandas().to_csv(tmp_path / "in.csv", index=False)
    invoke("curves", "import", tmp_path / "in.csv", "--store", tmp_path / "store")
    for name in ("out.csv", "out.parquet"):
        invoke("curves", "export", tmp_path / "store", "--out", tmp_path / name)
    one, other = (
        pd.read_csv(tmp_path / "out.csv", float_precision="round_trip"),
        pd.read_parquet(tmp_path / "out.parquet"),
    )
    pd.testing.assert_frame_equal(
        one.dropna(axis=1, how="all"), other.dropna(axis=1, how="all"), check_dtype=False, check_exact=True
    )
    np.testing.assert_array_equal(load_curves(tmp_path / "out.csv").returns, curves.returns)


def test_a_fit_reads_standard_input(tmp_path):
    curves = SyntheticSweep(sizes=(1e4, 2e4, 4e4), points=20).curves(np.random.default_rng(0))
    out = tmp_path / "fit.json"
    command = [sys.executable, "-m", "rlscale", "fit", "-", "--bootstrap", "0", "--json", str(out)]
    table = curves.to_pandas().to_csv(index=False)
    done = subprocess.run(command, input=table, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["provenance"]["source"] == "standard input"
    assert result["num_points"] == curves.num_points
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert done.returncode == 2
    assert "is empty" in done.stderr
