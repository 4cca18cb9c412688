"""``rlscale sweep tune`` as a user runs it."""

import json
from pathlib import Path

import pytest
import yaml

from rlscale.sweeps.store.run_store import RunStore

BASE = {"task": "digits-bandit", "interactions": 8192, "checkpoints": 2, "agent": {"minibatches": 4}}
AXES = [{"width": [0.05, 0.1], "interactions": [8192, 4096]}, {"seed": [0, 1, 2]}]
RATES = [1e-3, 4e-3, 1e30]  # the last one is absurd


def write_spec(folder: Path, tuning) -> Path:
    path = folder / "spec.yaml"
    values = {"name": "tiny", "base": BASE, "axes": AXES, "tuning": tuning}
    path.write_text(yaml.safe_dump(values))
    return path


def tune(rlscale, folder: Path, *options):
    return rlscale("sweep", "tune", folder / "spec.yaml", "--store", folder / "store", *options)


@pytest.fixture(scope="module")
def tuned(rlscale, tmp_path_factory):
    """A tuning that ran to its end: (folder, what it printed)."""
    folder = tmp_path_factory.mktemp("tuned")
    write_spec(folder, {"learning_rate": RATES, "seeds": [0, 1], "interactions": 0.5})
    outputs = (
        "--out",
        folder / "final.yaml",
        "--json",
        folder / "tuning.json",
        "--figure",
        folder / "tuning.png",
    )
    return folder, tune(rlscale, folder, *outputs)


@pytest.fixture(scope="module")
def extended(rlscale, tuned):
    """The same with a smaller rate more: (records before, what it printed)."""
    folder, _ = tuned
    before = {record.run_id: record for record in RunStore(folder / "store").runs("tiny-tuning")}
    write_spec(folder, {"learning_rate": [2.5e-4, *RATES], "seeds": [0, 1], "interactions": 0.5})
    return before, tune(rlscale, folder, "--json", folder / "extended.json")


@pytest.mark.ray
def test_tuning_runs_each_size_at_each_rate_and_tells_the_best(tuned):
    folder, done = tuned
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny-tuning: 12 runs to do, 0 done before." in done.stdout
    assert "the best base rate of each size" in done.stdout
    assert "at learning_rate 1e+30 a loss was not finite" in done.stderr
    found = json.loads((folder / "tuning.json").read_text())
    assert [(size["width"], size["num_params"], size["tuning_interactions"]) for size in found["sizes"]] == [
        (0.05, 1488, 4096),
        (0.1, 4710, 2048),
    ]
    assert found["missing"] == 0
    for size in found["sizes"]:
        assert size["diverged"] == [[False, False], [False, False], [True, True]]
        assert size["best"]["rate"] in RATES[:2]
        # Each score is the mean return of the last tenth of a stored curve.
        assert all(0 < score < 1 for row in size["scores"][:2] for score in row)
    assert (folder / "tuning.png").read_bytes().startswith(b"\x89PNG")
    assert RunStore(folder / "store").sweeps() == ["tiny-tuning"]


@pytest.mark.ray
def test_a_score_is_that_of_the_stored_curve(tuned):
    folder, _ = tuned
    store = RunStore(folder / "store")
    found = json.loads((folder / "tuning.json").read_text())
    for record in store.runs("tiny-tuning"):
        if record.status == "failed":
            continue
        (size,) = (each for each in found["sizes"] if each["width"] == record.columns["width"])
        curve = store.read_curve("tiny-tuning", record.run_id).to_pandas()
        late = curve[curve.interactions > 0.9 * curve.interactions.max()]
        expected = (late.return_mean * late.episodes).sum() / late.episodes.sum()
        row = size["scores"][found["rates"].index(record.columns["learning_rate"])]
        assert row[record.columns["seed"]] == pytest.approx(expected)


@pytest.mark.ray
def test_the_final_spec_plans_the_sweep_with_the_best_rates(rlscale, tuned):
    folder, _ = tuned
    text = (folder / "final.yaml").read_text()
    assert text.startswith("# Learning rates by rlscale sweep tune, sweep tiny-tuning: 3 base rates")
    best = [size["best"]["rate"] for size in json.loads((folder / "tuning.json").read_text())["sizes"]]
    final = yaml.safe_load(text)
    assert final == {"name": "tiny", "base": BASE, "axes": [{**AXES[0], "learning_rate": best}, AXES[1]]}
    done = rlscale("sweep", "plan", folder / "final.yaml", "--no-estimate")
    assert "tiny: 6 runs" in done.stdout
    assert "sweep tune" not in done.stdout


@pytest.mark.ray
def test_tuned_again_with_one_more_rate_it_does_only_that(tuned, extended):
    folder, _ = tuned
    before, done = extended
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny-tuning: 4 runs to do, 8 done before, 4 failed before" in done.stdout
    after = {record.run_id: record for record in RunStore(folder / "store").runs("tiny-tuning")}
    assert len(after) == 16
    assert {run_id: after[run_id] for run_id in before} == before
    first, second = (json.loads((folder / name).read_text()) for name in ("tuning.json", "extended.json"))
    for old, new in zip(first["sizes"], second["sizes"], strict=True):
        assert new["scores"][1:] == old["scores"]


def test_the_plan_tells_what_tuning_takes(rlscale, tmp_path):
    path = write_spec(tmp_path, {"learning_rate": RATES, "seeds": [0, 1], "interactions": 0.5})
    done = rlscale("sweep", "plan", path, "--no-estimate", "--json", tmp_path / "plan.json")
    assert "rlscale sweep tune: 3 rates x 2 seeds x 2 sizes = 12 runs, 36.9k interactions" in done.stdout
    tuning = json.loads((tmp_path / "plan.json").read_text())["tuning"]
    assert (tuning["runs"], tuning["interactions"]) == (12, 6 * (4096 + 2048))


def test_without_rates_the_papers_rule_is_told_and_nothing_runs(rlscale, tmp_path):
    write_spec(tmp_path, {"seeds": [0, 1]})
    done = tune(rlscale, tmp_path, "--out", tmp_path / "final.yaml")
    assert done.returncode == 0, done.stderr
    assert "the paper's rule holds and no runs are needed" in done.stdout
    for step in (5e-4 / 0.05**0.5, 5e-4 / 0.1**0.5):
        assert f"{step:.3g}" in done.stdout
    assert yaml.safe_load((tmp_path / "final.yaml").read_text()) == {
        "name": "tiny",
        "base": BASE,
        "axes": AXES,
    }
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("tuning", "options", "words"),
    [
        ({"learning_rate": [1e-3, "x"]}, (), "'tuning.learning_rate.1'"),
        ({"learning_rate": RATES}, ("--figure", "f.doc"), "give a name that ends in .png, .pdf, .svg"),
        ({"learning_rate": RATES}, ("--out", "no/such/folder.yaml"), "there is no folder no/such"),
        ({}, ("--json", "tuning.json"), "--json and --figure need rates to tune"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(rlscale, tmp_path, tuning, options, words):
    write_spec(tmp_path, tuning)
    done = tune(rlscale, tmp_path, *options)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()
