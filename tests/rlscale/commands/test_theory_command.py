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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gamma", "1"], "--gamma must be at least 0 and below 1"),
        (["--times", "1,x"], "positive numbers with commas"),
        (["--figure", "td.doc"], ".png, .pdf, .svg"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, words):
    done = run("theory", "td", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
