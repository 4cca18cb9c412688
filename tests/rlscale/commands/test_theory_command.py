"""Settings with a known answer from the command line."""

import json

import numpy as np
import pytest
from command_line import run


def test_td_on_a_ring_prints_stores_and_draws_what_is_learned_first(tmp_path):
    options = ["--states", 12, "--gamma", 0.9, "--lambda", 0, "--times", "0.5,2,8"]
    written = ["--json", tmp_path / "td.json", "--figure", tmp_path / "td.png"]
    done = run("theory", "td", *options, *written)
    assert done.returncode == 0, done.stderr
    assert "19 times as fast" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.endswith(".")) <= 80
    value = json.loads((tmp_path / "td.json").read_text())
    eigenvalues = np.array(value["eigenvalues"])
    assert eigenvalues == pytest.approx(np.cos(2 * np.pi * np.arange(7) / 12))
    for moment in value["flow"]:
        left = np.exp(-moment["time"] * (1 - 0.9 * eigenvalues))
        assert moment["error_left"] == pytest.approx(left)
    for moment in value["value_iteration"]:
        assert moment["error_left"] == pytest.approx(np.abs(0.9 * eigenvalues) ** moment["time"], abs=1e-12)
    roughness = [moment["roughness"] for moment in value["flow"]]
    assert value["reward_roughness"] > roughness[0] > roughness[1] > roughness[2] > value["value_roughness"]
    assert (tmp_path / "td.png").read_bytes().startswith(b"\x89PNG")


def test_rates_under_markov_noise_are_printed_stored_and_drawn_beside_the_predicted(tmp_path):
    written = ["--json", tmp_path / "td.json", "--figure", tmp_path / "td.png"]
    done = run("theory", "td", "--example", "markov", "--steps", 1000, "--runs", 40, *written)
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines() if not line.endswith(".")) <= 80
    value = json.loads((tmp_path / "td.json").read_text())
    rates = {(each["method"], each["noise"]): each for each in value["rates"]}
    assert len(rates) == 10
    for each in rates.values():
        assert each["squared_error"][-1] == pytest.approx(each["ratio"] * each["predicted"][-1])
        assert each["ratio_interval"][0] < each["ratio"] < each["ratio_interval"][1]
    mean = rates["mean reward", "markov"]["predicted"], rates["mean reward", "independent"]["predicted"]
    assert mean[0][-1] > 2 * mean[1][-1]
    assert (tmp_path / "td.png").read_bytes().startswith(b"\x89PNG")


def test_bairds_counterexample_diverges_and_is_repaired(tmp_path):
    written = ["--json", tmp_path / "td.json", "--figure", tmp_path / "td.png"]
    done = run("theory", "td", "--example", "baird", "--steps", 500, "--runs", 20, *written)
    assert done.returncode == 0, done.stderr
    assert "diverged" in done.stdout
    value = json.loads((tmp_path / "td.json").read_text())
    assert [each["factor"] > 1 for each in value["expected"]] == [True, False, False]
    assert [each["method"] for each in value["sampled"]] == ["TD", "gradient TD"]
    assert (tmp_path / "td.png").read_bytes().startswith(b"\x89PNG")


def test_td_in_context_is_exact_and_its_error_falls_with_the_context(tmp_path):
    written = ["--json", tmp_path / "td.json", "--figure", tmp_path / "td.png"]
    done = run("theory", "context", "--processes", 30, "--longest", 20, *written)
    assert done.returncode == 0, done.stderr
    value = json.loads((tmp_path / "td.json").read_text())
    assert len(value["equality"]) == 4
    assert all(each["largest_gap"] < 1e-12 < 1e-2 < each["largest_value"] for each in value["equality"])
    assert value["high"][-1] < value["low"][0]
    assert value["high"][-1] < value["untrained"]
    assert (tmp_path / "td.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gamma", "1"], "--gamma must be at least 0 and below 1"),
        (["--times", "1,x"], "positive numbers with commas"),
        (["--figure", "td.doc"], ".png, .pdf, .svg"),
        (["--example", "square"], "choose ring or markov or baird"),
        (["--example", "baird", "--gamma", "0.9"], "--gamma has no part in the example baird"),
        (["--steps", "200"], "choose --example markov or baird"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, words):
    done = run("theory", "td", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def perceptron(tmp_path, command, *options):
    """The JSON of a command that also draws its figure, and what it prints."""
    written = ["--json", tmp_path / "p.json", "--figure", tmp_path / "p.png"]
    done = run("theory", "perceptron", command, *options, *written)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((tmp_path / "p.json").read_text()), done.stdout


def test_perceptron_curves_are_solved_and_compared_by_steps_needed(tmp_path):
    options = ["--protocol", "n-of-t", "--steps", 13, "--needed", 11, "--front", "7,12"]
    value, shown = perceptron(tmp_path, "solve", *options, "--alpha", "20,100")
    assert value["asked"]["overlap"] == pytest.approx([0.165, 0.819], abs=6e-4)
    assert [curve["name"] for curve in value["front"]] == ["7", "12"]
    assert value["front"][1]["overlap"][-1] == pytest.approx(0.169, abs=6e-4)
    assert "11 of 13 steps" in shown


def test_perceptron_phases_have_their_boundary_and_fixed_points(tmp_path):
    value, shown = perceptron(tmp_path, "phase", "--horizons", "8,5,2", "--ratio", 0.7533)
    assert [row["steps"] for row in value["rows"]] == [2, 5, 8]
    assert [row["phase"] for row in value["rows"]] == ["easy", "hybrid-hard", "hybrid-hard"]
    low, high = value["rows"][1]["fixed_points"]
    assert (low["overlap"], high["overlap"]) == pytest.approx((0.1037, 0.7761), abs=1e-4)
    assert "8.471" in shown


def test_perceptron_schedules_are_compared(tmp_path):
    value, shown = perceptron(tmp_path, "schedule", "--alpha", "10,100")
    ends = {each["name"]: each["asked"] for each in value["schedules"]}
    assert ends["optimal"] == pytest.approx([0.896, 0.9960], abs=6e-4)
    assert ends["constant"] == pytest.approx([0.070, 0.394], abs=6e-4)
    assert "optimal-steps" in shown


def test_perceptrons_are_simulated_beside_their_equations(tmp_path):
    options = ["--dimension", 100, "--steps", 3, "--alpha", "1,3", "--schedule", "optimal", "--rho0", 0.2]
    options += ["--spherical"]
    value, shown = perceptron(tmp_path, "simulate", *options)
    for name in ("overlap", "norm"):
        apart = np.abs(np.subtract(value[f"{name}_mean"], value["theory"][name]))
        assert (apart <= 3 * np.array(value[f"{name}_error"]) + 0.1 * 100**-0.5).all()
    assert "64 students of D = 100" in shown


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("solve", ["--steps", "0"], "steps of the perceptron is 0"),
        ("solve", ["--protocol", "n-of-t", "--steps", "5", "--needed", "6"], "give 1 to 5"),
        ("solve", ["--rate", "-1"], "rate of the perceptron is -1"),
        ("solve", ["--rtol", "1e-20"], "cannot be reached"),
        ("phase", ["--horizons", "2,3", "--missing", "2"], "give 1 to 2"),
        ("phase", ["--ratio", "-1"], "not negative"),
        ("schedule", ["--growth", "-1"], "growth of the schedule"),
        ("schedule", ["--rho0", "0"], "larger rho0"),
        ("simulate", ["--dimension", "0"], "dimension D of the perceptron is 0"),
        ("simulate", ["--students", "1"], "needs 2 or more"),
    ],
)
def test_wrong_perceptrons_are_refused_in_a_sentence(command, options, words):
    done = run("theory", "perceptron", command, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--features", 0], "--features"),
        (["--longest", 0], "--longest"),
        (["--step", "nan"], "--step must be above 0"),
        (["--step", 9, "--layers", 150, "--longest", 3, "--processes", 20], "choose a smaller step size"),
    ],
)
def test_contexts_that_hold_or_teach_nothing_are_refused(options, words):
    done = run("theory", "context", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
