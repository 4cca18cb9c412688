"""``rlscale fit`` and ``rlscale forecast`` as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run

from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame


@pytest.fixture(scope="module")
def curves_csv(tmp_path_factory) -> Path:
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.01, points=100)
    path = tmp_path_factory.mktemp("curves") / "curves.csv"
    curves_frame(sweep.curves(np.random.default_rng(0))).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fit_json(curves_csv) -> Path:
    path = curves_csv.with_name("fit.json")
    done = run("fit", curves_csv, "--bootstrap", 40, "--seed", 3, "--json", path)
    assert done.returncode == 0, done.stderr
    path.with_suffix(".txt").write_text(done.stdout)
    return path


def test_fit_prints_the_exponents_with_their_intervals_and_a_verdict(fit_json):
    text = fit_json.with_suffix(".txt").read_text()
    for word in ("alpha_N", "alpha_E", "nu", "90% interval", "Identified: yes"):
        assert word in text
    value = json.loads(fit_json.read_text())
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["nu"])
    shown = [float(cell) for cell in row if cell[0].isdigit()]
    wanted = [value["nu"], *value["intervals_total"]["nu"], *value["intervals"]["nu"]]
    assert shown == pytest.approx(wanted, abs=5e-5)  # the total interval comes first


def test_fit_writes_everything_the_design_lists(fit_json):
    value = json.loads(fit_json.read_text())
    names = (
        "alpha_N alpha_E beta N_c E_c nu intervals objective identified num_points num_runs num_sizes range "
        "warnings monotone_map options schema_version"
    )
    assert set(names.split()) <= set(value)
    assert set(value["range"]) == {"N", "E", "C", "return"}
    assert set(value["monotone_map"]) == {"return", "intrinsic"}
    assert (value["num_runs"], value["num_sizes"], value["num_points"]) == (24, 8, 2400)
    assert value["nu"] == pytest.approx(0.625, abs=0.05)
    assert value["options"]["seed"] == 3
    assert value["options"]["early_exclusion"] == 1 / 64


def test_the_same_seed_gives_the_same_file(curves_csv, fit_json, tmp_path):
    again = tmp_path / "again.json"
    assert (
        run("fit", curves_csv, "--bootstrap", 40, "--seed", 3, "--workers", 1, "--json", again).returncode
        == 0
    )
    assert again.read_text() == fit_json.read_text()


def test_fit_reads_renamed_columns_and_takes_its_options(curves_csv, tmp_path):
    text = curves_csv.read_text().replace("num_params", "n", 1).replace("interactions", "steps", 1)
    renamed, out = tmp_path / "renamed.csv", tmp_path / "fit.json"
    renamed.write_text(text)
    options = ["--objective", "paper", "--early-exclusion", "1/16", "--bootstrap", "0", "--json", out]
    done = run("fit", renamed, "--columns", "num_params=n,interactions=steps", *options)
    assert done.returncode == 0, done.stderr
    assert "There are no intervals" in done.stdout
    value = json.loads(out.read_text())
    assert value["objective"] == "paper"
    assert value["options"]["early_exclusion"] == 1 / 16


def test_forecast_prints_and_writes_a_row_for_each_compute(fit_json, tmp_path):
    out = tmp_path / "forecast.json"
    arguments = ["--compute", "1e12", "--compute", "1e18", "--env-cost", "1e7", "--json", out]
    done = run("forecast", fit_json, *arguments)
    assert done.returncode == 0, done.stderr
    assert "extrapolation" in done.stdout
    first, second = json.loads(out.read_text())["forecasts"]
    assert {"compute", "N_opt", "E_opt", "intervals", "extrapolation", "return"} <= set(first)
    assert first["extrapolation"] == 0
    assert second["extrapolation"] > 3
    assert second["return"] is None
    assert second["N_with_env_cost"] > second["N_opt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere.parquet"], "nowhere.parquet does not exist"),
        (["fit", "CSV", "--size", "flops"], "lacks the column 'flops_forward'"),
        (["fit", "CSV", "--size", "neurons"], "choose params or params_total or flops"),
        (["fit", "CSV", "--objective", "loss"], "choose return or paper"),
        (["fit", "CSV", "--columns", "num_params"], "not of the form OURS=THEIRS"),
        (["fit", "CSV", "--columns", "num_params=n,num_params=m"], "names num_params twice"),
        (["fit", "CSV", "--early-exclusion", "most"], "is not a share"),
        (["fit", "CSV", "--early-exclusion", "1/0"], "is not a share"),
        (["fit", "CSV", "--bootstrap", "3"], "--bootstrap must be 0, or at least 20"),
        (["fit", "CSV", "--sweep", "x"], "lacks the column 'sweep'"),
        (["fit", "CSV", "--early-exclusion", "0.6"], "--early-exclusion must be between 0 and 1/2: got 0.6"),
        (["fit", "CSV", "--bootstrap", "0", "--json", "/nowhere/fit.json"], "there is no folder /nowhere"),
        (["fit", "CSV", "--bootstrap", "0", "--json", "FOLDER"], "is a folder; name the file to write"),
        (["backtest", "CSV", "--law-draws", "5"], "--law-draws belongs to --laws"),
        (["forecast", "nowhere.json", "--compute", "1e12"], "nowhere.json cannot be read"),
        (["forecast", "CSV", "--compute", "1e12"], "is not JSON"),
        (["forecast", "FIT", "--compute", "-1"], "Compute must be a positive"),
        (["forecast", "FIT", "--compute", "1e12", "--env-cost", "-1"], "cost in parameters must be 0 or"),
        (["forecast", "FIT", "--return", "0.5", "--env-cost", "9"], "--env-cost belongs to --compute"),
        (["forecast", "FIT"], "give a compute, a budget or a return"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_status_2(curves_csv, fit_json, arguments, message):
    named = {"CSV": str(curves_csv), "FIT": str(fit_json), "FOLDER": str(curves_csv.parent)}
    done = run(*(named.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_late_start_is_said_and_can_be_ignored(tmp_path):
    sweep = SyntheticSweep(
        sizes=tuple(4e4 * 2.0 ** np.arange(6)),
        noise=0.01,
        points=80,
        first_interactions=1e8 / 4096,
        late_start=0.01,
    )
    curves, out = tmp_path / "curves.csv", tmp_path / "fit.json"
    curves_frame(sweep.curves(np.random.default_rng(0))).to_csv(curves, index=False)
    looked = run("fit", curves, "--bootstrap", 20, "--json", out)
    assert looked.returncode == 0, looked.stderr
    assert "Learning starts late" in looked.stdout
    value = json.loads(out.read_text())
    assert value["late_start"]["gate"] == "sharp"
    assert "late_start" in value["warning_codes"]
    ignored = run("fit", curves, "--bootstrap", 0, "--late-start", "ignore", "--json", out)
    assert ignored.returncode == 0, ignored.stderr
    assert json.loads(out.read_text())["late_start"] is None
    refused = run("fit", curves, "--late-start", "never")
    assert refused.returncode == 2
    assert "--late-start" in refused.stderr
