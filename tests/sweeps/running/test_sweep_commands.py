"""``rlscale sweep`` and ``rlscale curves`` as a user runs them."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from rlscale.sweeps.store.run_store import RunStore, rows_equal

BASE = {"task": "digits-bandit", "interactions": 2048, "checkpoints": 4}
ONE_CPU = {"num_cpus": 1}  # also for the runs with two threads, so that a small machine holds them


def write_spec(folder: Path, axes, *, name="tiny", base=BASE, **others) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": name, "base": base, "axes": axes, **others}))
    return path


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in paths}


def records(store: Path):
    return list(RunStore(store).runs("tiny"))


# -- plan ------------------------------------------------------------------------


def test_plan_shows_runs_sizes_flops_and_time_and_starts_nothing(rlscale, tmp_path):
    path = write_spec(tmp_path, {"width": [0.05, 0.1], "seed": [0, 1, 2]})
    done = rlscale("sweep", "plan", path, "--json", tmp_path / "plan.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "width",
        "1,488",
        "4,710",
        "tiny: 6 runs, 12.3k interactions",
        "FLOP",
        " s on this machine",
    ):
        assert words in done.stdout
    *table, _, memory = done.stdout.splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80
    assert "Memory: up to" in memory
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.json", "spec.yaml"]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert (plan["sweep"], plan["runs"], plan["interactions"]) == ("tiny", 6, 6 * 2048)
    assert [(size["width"], size["num_params"], size["runs"]) for size in plan["sizes"]] == [
        (0.05, 1488, 3),
        (0.1, 4710, 3),
    ]
    assert all(0 < size["memory"]["observations"] < size["memory"]["total"] < 1e9 for size in plan["sizes"])
    assert plan["flops"] == sum(size["runs"] * size["flops"] for size in plan["sizes"])
    assert plan["slot_seconds"] == pytest.approx(
        sum(size["runs"] * size["seconds"] for size in plan["sizes"])
    )


def test_plan_without_estimate_times_nothing(rlscale, tmp_path):
    path = write_spec(tmp_path, {"width": [0.05]})
    done = rlscale("sweep", "plan", path, "--no-estimate", "--json", tmp_path / "plan.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "plan.json").read_text())["slot_seconds"] is None


# -- run, extend, fail, retry ----------------------------------------------------


@pytest.fixture(scope="module")
def swept(rlscale, tmp_path_factory):
    """A sweep that ran to its end: (folder of the store and spec, what it printed)."""
    folder = tmp_path_factory.mktemp("swept")
    path = write_spec(folder, {"width": [0.05, 0.1], "threads": [1, 2]}, resources=ONE_CPU)
    return folder, rlscale("sweep", "run", path, "--store", folder / "store")


@pytest.fixture(scope="module")
def extended(rlscale, swept, tmp_path_factory):
    """The same sweep with one more learning rate, which is absurd: (folder, files before, printed)."""
    folder, _ = swept
    before = files(folder / "store")
    axes = {"width": [0.05, 0.1], "threads": [1, 2], "learning_rate": [5e-4]}
    path = write_spec(folder, axes, resources=ONE_CPU)
    same = rlscale("sweep", "run", path, "--store", folder / "store")
    unchanged = files(folder / "store")
    path = write_spec(folder, {**axes, "learning_rate": [5e-4, 1e30]}, resources=ONE_CPU)
    return folder, before, same, unchanged, rlscale("sweep", "run", path, "--store", folder / "store")


@pytest.mark.ray
def test_a_sweep_runs_to_its_end_with_one_line_a_run(swept):
    folder, done = swept
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    first, *lines, last = done.stdout.splitlines()
    assert first == "tiny: 4 runs to do, 0 done before."
    assert last == "tiny: 4 done, 0 failed."
    stored = records(folder / "store")
    assert sorted(line.split()[1] for line in lines) == sorted(record.run_id[:8] for record in stored)
    assert {line.split()[0] for line in lines} == {"done"}
    assert {record.status for record in stored} == {"done"}


@pytest.mark.ray
def test_a_finished_sweep_holds_one_record_and_one_curve_a_run_and_its_spec(swept):
    folder, _ = swept
    runs = [f"sweep=tiny/run={record.run_id}" for record in records(folder / "store")]
    expected = {"sweep=tiny/spec.json"}
    expected |= {f"{run}/{name}" for run in runs for name in ("run.json", "curve.parquet")}
    names = set(files(folder / "store"))
    assert expected <= names
    for record in records(folder / "store"):
        curve = RunStore(folder / "store").read_curve("tiny", record.run_id)
        steps = curve.column("interactions").to_pylist()
        assert steps == sorted(set(steps))
        assert steps[-1] == record.interactions == 2048
        assert len(record.attempts) == 1
        assert record.columns["num_params"] in (1488, 4710)
        assert record.provenance["device"]


@pytest.mark.ray
def test_a_run_is_bit_identical_in_a_ray_worker_and_in_a_plain_process(swept, rlscale, tmp_path):
    folder, _ = swept
    for record in records(folder / "store"):
        if record.config["model"]["width"] != 0.1:
            continue
        path = tmp_path / f"{record.config['threads']}.yaml"
        path.write_text(yaml.safe_dump(record.config))
        done = rlscale("train", path, "--store", tmp_path / "single", "--sweep", "tiny", "--device", "cpu")
        assert done.returncode == 0, done.stderr
    singles = records(tmp_path / "single")
    assert sorted(record.config["threads"] for record in singles) == [1, 2]
    for record in singles:
        here = RunStore(tmp_path / "single").read_curve("tiny", record.run_id)
        assert rows_equal(here, RunStore(folder / "store").read_curve("tiny", record.run_id))


@pytest.mark.ray
def test_running_again_does_nothing_and_touches_no_run(extended):
    _, before, same, unchanged, _ = extended
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout.splitlines() == ["tiny: 0 runs to do, 4 done before.", "tiny: 4 done, 0 failed."]
    runs = [name for name in before if "/run=" in name]
    assert {name: unchanged[name] for name in runs} == {name: before[name] for name in runs}


@pytest.mark.ray
def test_more_values_on_an_axis_run_only_the_new_points(extended):
    folder, before, _, _, done = extended
    assert done.stdout.splitlines()[0] == "tiny: 4 runs to do, 4 done before."
    after = files(folder / "store")
    for name in before:
        if "/run=" in name:
            assert after[name] == before[name]
    assert len(records(folder / "store")) == 8


@pytest.mark.ray
def test_runs_that_fail_are_reported_with_their_reason_and_the_others_are_done(extended, rlscale, tmp_path):
    folder, *_, done = extended
    assert done.returncode == 1
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    failed = [record for record in records(folder / "store") if record.status == "failed"]
    assert {record.config["agent"]["learning_rate"] for record in failed} == {1e30}
    assert len(failed) == 4
    for record in failed:
        assert "try a smaller agent.learning_rate" in record.reason
        (line,) = [line for line in done.stdout.splitlines() if record.run_id[:8] in line]
        assert line.startswith("failed")
        assert line.endswith(record.reason)
    status = rlscale("sweep", "status", folder / "store", "--json", tmp_path / "status.json")
    assert (status.returncode, status.stderr) == (0, "")
    assert "tiny: 8 runs, 4 done, 4 failed" in status.stdout
    for record in failed:
        assert f"{record.run_id[:8]} failed: {record.reason}" in status.stdout
    (sweep,) = json.loads((tmp_path / "status.json").read_text())["sweeps"]
    assert (sweep["counts"]["done"], sweep["counts"]["failed"]) == (4, 4)
    assert {run["reason"] for run in sweep["runs"] if run["status"] == "failed"} == {r.reason for r in failed}
    assert {(run["status"], run["failure"]) for run in sweep["runs"]} == {
        ("done", None), ("failed", "non_finite_loss"),
    }  # fmt: skip


@pytest.mark.ray
def test_running_again_leaves_failed_runs_to_retry(extended, rlscale):
    folder, *_ = extended
    before = files(folder / "store")
    done = rlscale("sweep", "run", folder / "spec.yaml", "--store", folder / "store")
    assert done.returncode == 1
    assert "0 runs to do, 4 done before, 4 failed before (see: rlscale sweep retry)" in done.stdout
    assert {name: value for name, value in files(folder / "store").items() if "/run=" in name} == {
        name: value for name, value in before.items() if "/run=" in name
    }


@pytest.mark.ray
def test_retry_runs_the_failed_runs_only(extended, rlscale):
    folder, *_ = extended
    before = files(folder / "store")
    done = rlscale("sweep", "retry", folder / "store", "--sweep", "tiny")
    assert done.returncode == 1, done.stdout  # the learning rate is still absurd
    assert done.stdout.splitlines()[0] == "tiny: 4 runs to do, 0 done before."
    after = files(folder / "store")
    for record in records(folder / "store"):
        name = f"sweep=tiny/run={record.run_id}/run.json"
        if record.status == "done":
            assert after[name] == before[name]
            assert len(record.attempts) == 1
        else:
            assert len(record.attempts) == 2
            steps = RunStore(folder / "store").read_curve("tiny", record.run_id).column("interactions")
            assert steps.to_pylist() == sorted(set(steps.to_pylist()))


@pytest.mark.ray
def test_curves_are_shown_and_exported(extended, rlscale, tmp_path):
    folder, *_ = extended
    shown = rlscale("curves", "show", folder / "store")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "tiny: 8 curves, digits-bandit" in shown.stdout
    done = rlscale("curves", "export", folder / "store", "--out", tmp_path / "curves.parquet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert pq.read_table(tmp_path / "curves.parquet").equals(RunStore(folder / "store").read_curves())


def test_retry_says_when_nothing_has_failed(rlscale, tmp_path, claim):
    store = RunStore(tmp_path / "store", create=True)
    claim(store, sweep="tiny").finish()
    done = rlscale("sweep", "retry", tmp_path / "store")
    assert (done.returncode, done.stdout, done.stderr) == (0, "tiny: no run has failed.\n", "")


def test_an_empty_store_is_reported_as_empty(rlscale, tmp_path):
    (tmp_path / "store").mkdir()
    status = rlscale("sweep", "status", "store", cwd=tmp_path)
    assert (status.returncode, status.stdout) == (0, "store holds no sweeps yet.\n")
    shown = rlscale("curves", "show", "store", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "store holds no curves yet.\n")


# -- what is refused -------------------------------------------------------------


def refused(done, *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("rlscale: ")
    for word in words:
        assert word in line


WRONG = {
    "an unknown key": ({"axes": {"seed": [0]}, "base": {**BASE, "tusk": 1}}, ("unknown key 'tusk'", "task")),
    "an unknown axis": ({"axes": {"widht": [1]}}, ("unknown axis 'widht'", "width")),
    "an empty axis": ({"axes": {"width": []}}, ("the axis 'width' is empty",)),
    "a width without channels": ({"axes": {"width": [0.01]}}, ("Width 0.01 gives 0 channels", "at least")),
    "a negative seed": ({"axes": {"seed": [-1]}}, ("(seed=-1): 'seed'",)),
    "a bad name": ({"axes": {"seed": [0]}, "name": "../tiny"}, ("'name'", "cannot be a sweep name")),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_spec_is_refused_in_one_sentence_before_anything_is_stored(rlscale, tmp_path, change, words):
    path = write_spec(tmp_path, **change)
    refused(rlscale("sweep", "run", path, "--store", tmp_path / "store"), *words)
    assert not (tmp_path / "store" / "sweep=tiny").exists()


def test_a_sweep_whose_folder_is_a_link_out_of_the_store_is_refused(rlscale, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "sweep=tiny").symlink_to(outside)
    path = write_spec(tmp_path, {"seed": [0]})
    refused(rlscale("sweep", "run", path, "--store", tmp_path / "store"), "leads out", "remove the link")
    assert list(outside.iterdir()) == []


def test_a_wrong_spec_cannot_be_planned_either(rlscale, tmp_path):
    change, words = WRONG["a width without channels"]
    refused(rlscale("sweep", "plan", write_spec(tmp_path, **change)), *words)


def test_files_that_are_missing_or_not_yaml_are_refused(rlscale, tmp_path):
    refused(rlscale("sweep", "plan", tmp_path / "no.yaml"), "no.yaml cannot be read")
    broken = tmp_path / "broken.yaml"
    broken.write_text("axes: [1, {")
    refused(rlscale("sweep", "run", broken, "--store", tmp_path / "store"), "broken.yaml is not valid YAML")
    broken.write_text("- a list")
    refused(rlscale("sweep", "plan", broken), "broken.yaml must be a mapping")
    assert not (tmp_path / "store").exists()


def test_stores_that_are_files_or_missing_are_refused(rlscale, tmp_path):
    path = write_spec(tmp_path, {"seed": [0]})
    (tmp_path / "file").write_text("")
    refused(rlscale("sweep", "run", path, "--store", tmp_path / "file"), "file is a file, not a store")
    for command in (["sweep", "status"], ["sweep", "retry"], ["curves", "show"]):
        refused(rlscale(*command, tmp_path / "nowhere"), "There is no store at", "nowhere")
    refused(rlscale("curves", "export", tmp_path / "nowhere", "--out", tmp_path / "x.parquet"), "no store at")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("device", "words"), [("tpu", "choose auto, cpu or cuda"), ("cuda", "set resources.num_gpus")]
)
def test_a_device_that_does_not_fit_is_refused(rlscale, tmp_path, device, words):
    path = write_spec(tmp_path, {"seed": [0]})
    refused(rlscale("sweep", "run", path, "--store", tmp_path / "store", "--device", device), words)


@pytest.mark.ray
def test_a_run_that_no_machine_can_hold_is_refused(rlscale, tmp_path):
    path = write_spec(tmp_path, {"seed": [0]}, resources={"num_cpus": 4096})
    done = rlscale("sweep", "run", path, "--store", tmp_path / "store")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "A run asks for 4096 CPUs" in line
    assert "resources" in line


@pytest.mark.ray
def test_a_worker_computes_with_as_many_threads_as_its_run_asks_for(config_of):
    ray = pytest.importorskip("ray")
    from rlscale.sweeps.running.ray_connection import connect

    @ray.remote
    def threads(config) -> tuple[int, int]:
        import torch

        from rlscale.scaling.training.run import Run

        Run(config).iterate()
        return torch.get_num_threads(), torch.get_num_interop_threads()

    connect(None)
    try:
        for wanted in (1, 2):
            intra, _ = ray.get(
                threads.options(num_cpus=1).remote(config_of(threads=wanted, model={"width": 0.05}))
            )
            assert intra == wanted
    finally:
        ray.shutdown()
