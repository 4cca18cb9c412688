"""``rlscale sweep auto`` as a user runs it."""

import json

import pytest
import yaml

from rlscale.sweeps.store.run_store import RunStore

SPEC = {
    "name": "small-auto",
    "base": {"task": "digits-bandit", "rows_per_decade": 40, "agent": {"rollout_steps": 128}},
    "auto": {"width": [0.02, 0.06], "interactions": [1000, 4000], "seeds": [2, 2], "budget": 1.2e7},
}


@pytest.fixture
def spec_path(tmp_path):
    path = tmp_path / "auto.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


@pytest.mark.ray
def test_a_sweep_chooses_its_runs_trains_them_and_says_why_it_stops(rlscale, spec_path, tmp_path):
    store = tmp_path / "runs"
    told = tmp_path / "last.json"
    done = rlscale("sweep", "auto", spec_path, "--store", store, "--json", told, columns=200)
    assert done.stderr == ""
    assert "Round 1: Nothing is measured yet: 5 sizes of equal cost, 2 seeds each." in done.stdout
    assert "Stopped: " in done.stdout
    last = json.loads(told.read_text())
    assert (last["kind"], last["action"]) == ("rlscale decision", "stop")
    identified = last["law"] is not None and last["law"]["identified"]
    assert done.returncode == (0 if identified else 1)
    assert last["planned"] <= last["budget"]
    records = list(RunStore(store).runs("small-auto"))
    assert {record.status for record in records} <= {"paused", "done"}
    assert len(records) == sum(len(size["seeds"]) for size in last["sizes"])

    again = rlscale("sweep", "auto", spec_path, "--store", store)
    assert (again.returncode, again.stderr) == (done.returncode, "")
    assert "Round" not in again.stdout
    assert [record.attempts for record in RunStore(store).runs("small-auto")] == [r.attempts for r in records]

    status = rlscale("sweep", "status", store)
    assert f"{len(records)} paused" in status.stdout
    shown = rlscale("curves", "show", store)
    assert shown.returncode == 0, shown.stderr


def test_wrong_bounds_are_refused_before_anything_starts(rlscale, tmp_path):
    path = tmp_path / "auto.yaml"
    path.write_text(yaml.safe_dump({**SPEC, "auto": {**SPEC["auto"], "width": [0.06, 0.02], "hours": 1}}))
    done = rlscale("sweep", "auto", path, "--store", tmp_path / "runs")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the first number of width must be at most the second" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
