"""The further questions of the paper from the command line: studies of a fit, budgets, returns."""

import json

import numpy as np
import pytest
from command_line import run

from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Curves that know all three measures of size and their FLOPs."""
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), noise=0.01, points=50)
    frame = curves_frame(sweep.curves(np.random.default_rng(0)))
    n = frame["num_params"]
    path = tmp_path_factory.mktemp("studies") / "curves.parquet"
    frame.assign(
        num_params_total=2 * n, flops_forward=40 * n**0.9, flops_per_interaction=300 * n**0.9
    ).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def fit_json(source):
    """A fit with every study, by the command line."""
    out = source.with_name("fit.json")
    options = ["--periods", "--compare-sizes", "--metric", "auto", "--bootstrap", 20]
    done = run("fit", source, *options, "--json", out)
    assert done.returncode == 0, done.stderr
    out.with_suffix(".txt").write_text(done.stdout)
    return out


def test_fit_prints_every_study_that_was_asked_for(fit_json):
    text = fit_json.with_suffix(".txt").read_text()
    for word in (
        "Periods of training",
        "Measures of size",
        "Natural metrics",
        "log-failure",
        "with value net",
    ):
        assert word in text
    tables = [line for line in text.splitlines() if not line.endswith(".")]
    assert max(map(len, tables)) <= 80


def test_fit_stores_every_study_with_intervals(fit_json):
    value = json.loads(fit_json.read_text())
    assert [item["period"] for item in value["periods"]] == ["early", "middle", "late"]
    assert [item["size"] for item in value["size_measures"]] == ["params_total", "flops"]
    assert all(len(item["intervals"]["nu"]) == 2 for item in value["periods"] + value["size_measures"])
    assert value["metric"]["best"] == value["metric"]["candidates"][0]["name"]
    assert len(value["interaction_flops"]["N"]) == 6


def test_forecasts_answer_for_budgets_returns_and_a_reference(fit_json, tmp_path):
    out = tmp_path / "forecast.json"
    budget = ["--flops", "1e16", "--gpu-hours", "2", "--gpu-flops", "1e13", "--utilization", "0.25"]
    reference = ["--reference-return", "0.6", "--reference-interactions", "1000"]
    done = run("forecast", fit_json, *budget, "--return", "0.5", *reference, "--json", out)
    assert done.returncode == 0, done.stderr
    for word in (
        "1e16 FLOPs buy",
        "2 GPU hours buy",
        "What a return of 0.5 takes",
        "times as sample efficient",
    ):
        assert word in done.stdout
    value = json.loads(out.read_text())
    assert [item["budget"]["unit"] for item in value["forecasts"]] == ["flops", "gpu-hours"]
    assert value["returns"][0]["return"] == 0.5
    assert value["sample_efficiency"]["intervals"]["ratio"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forecast", "FIT", "--gpu-hours", "3"], "add e.g. --gpu-flops 1e14 --utilization 0.3"),
        (["forecast", "FIT", "--compute", "inf"], "Compute must be a positive, finite number"),
        (["forecast", "FIT", "--reference-return", "0.5"], "A reference needs both"),
        (["fit", "CURVES", "--metric", "fail-ratio:max=0.5"], "is above max=0.5"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_status_2(source, fit_json, arguments, message):
    named = {"FIT": str(fit_json), "CURVES": str(source)}
    extra = ["--bootstrap", "0"] if arguments[0] == "fit" else []
    done = run(*(named.get(argument, argument) for argument in arguments), *extra)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
