"""Forecasts on record from the command line: seal, tamper, score."""

import json

import numpy as np
import pytest
from command_line import run

from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame

SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.01, points=50, seeds=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Curves of a sweep without its last two seeds, their fit, a statement, and all the curves."""
    folder = tmp_path_factory.mktemp("record")
    frame = curves_frame(SWEEP.curves(np.random.default_rng(0)))
    frame.to_parquet(folder / "all.parquet")
    seed = frame["run_id"].str[-4:].astype(int) % SWEEP.seeds
    frame[seed < 3].to_parquet(folder / "old.parquet")
    done = run("fit", folder / "old.parquet", "--bootstrap", 20, "--json", folder / "fit.json")
    assert done.returncode == 0, done.stderr
    places = ["--at", f"{SWEEP.sizes[2]:g}:1e7:2", "--at", f"{2 * SWEEP.sizes[-1]:g}:1e8", "--compute", 1e13]
    done = run("forecast", folder / "fit.json", *places, "--seal", folder / "sealed.json")
    assert done.returncode == 0, done.stderr
    (folder / "sealed.txt").write_text(done.stdout)
    return folder


def test_sealing_shows_the_statement_and_the_forecast_beside_it(folder):
    text = (folder / "sealed.txt").read_text()
    value = json.loads((folder / "sealed.json").read_text())
    assert value["sha256"] in text
    assert "mean of 2" in text
    assert "* an extrapolation" in text
    assert "Compute-optimal sizes" in text
    assert [item["quantity"] for item in value["items"]] == ["return", "mean_return", "return", "nu", "N_opt"]
    tables = [line for line in text.splitlines() if not line.endswith((".", ":"))]
    assert max(map(len, tables)) <= 80


def test_a_statement_is_scored_and_what_is_missing_is_said(folder, tmp_path):
    out = tmp_path / "score.json"
    done = run("forecast", "score", folder / "sealed.json", "--curves", folder / "all.parquet", "--json", out)
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    assert value["kind"] == "rlscale forecast score"
    outcomes = [len(item["outcomes"]) for item in value["items"]]
    assert outcomes == [2, 1, 0, 1, 1]
    assert value["warning_codes"] == ["run_times_unknown", "not_measured_yet"]
    assert "not yet" in done.stdout
    assert "1 of 5 items are not measured yet" in " ".join(done.stdout.split())
    assert max(len(line) for line in done.stdout.splitlines() if "Warning" not in line) <= 80


def test_a_changed_statement_is_refused(folder, tmp_path):
    value = json.loads((folder / "sealed.json").read_text())
    value["items"][0]["quantiles"]["0.95"] += 1
    (tmp_path / "changed.json").write_text(json.dumps(value))
    done = run("forecast", "score", tmp_path / "changed.json", "--curves", folder / "all.parquet")
    assert done.returncode == 2
    assert "not as it was sealed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit.json", "--seal", "sealed.json", "--compute", 1e13], "a statement is not replaced"),
        (["fit.json", "--seal", "new.json", "--at", "1e6"], "is not of the form N:E or N:E:RUNS"),
        (["fit.json", "--seal", "new.json", "--at", "1e6:1e7:1.5"], "is not of the form N:E or N:E:RUNS"),
        (["fit.json", "--seal", "new.json"], "There is nothing to seal"),
        (["fit.json", "--at", "1e6:1e7"], "belong to --seal"),
        (["score", "sealed.json", "--curves", "old.parquet"], "no run that the statement did not know"),
        (["score", "fit.json", "--curves", "all.parquet"], "does not hold the result of"),
        (["score", "sealed.json"], "--curves"),
    ],
)
def test_what_cannot_be_sealed_or_scored_is_refused_in_a_sentence(folder, words, sentence):
    named = [folder / word if str(word).endswith((".json", ".parquet")) else word for word in words]
    done = run("forecast", *named)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (folder / "new.json").exists()


@pytest.mark.parametrize("words", [["--help"], []])
def test_the_help_of_forecast_is_that_of_forecasting_and_names_the_score(words):
    done = run("forecast", *words)
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "forecast [OPTIONS] {FIT.json}" in text
    assert "forecast score --help" in text


def test_options_may_come_before_the_fit(folder):
    assert run("forecast", "--compute", 1e13, folder / "fit.json").returncode == 0
