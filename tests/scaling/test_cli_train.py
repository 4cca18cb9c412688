"""``rlscale train`` as a user runs it: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from scaling import cli
from scaling.config import load_run_config
from scaling.train import run_columns, train
from sweeps.store import RunStore, rows_equal

ROOT = Path(__file__).parents[2]
CONFIG = {
    "task": "digits-bandit",
    "interactions": 24_576,
    "seed": 1,
    "checkpoints": 20,
    "model": {"width": 0.05},
}


def write_config(folder, **changes):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG | changes))
    return path


def start(folder, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "scaling.cli", "train", "config.yaml", "--store", "store", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_part(process, folder, index):
    """Until the part file appears; the process must not end before."""
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"store/**/part-{index:06d}.parquet")):
        assert time.monotonic() < deadline, "no part file in 300 s"
        try:
            process.wait(timeout=0.01)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the run ended early: {process.communicate()}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The curve of the run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    config = load_run_config(write_config(folder))
    store = RunStore(folder / "store", create=True)
    writer = store.claim(
        "single",
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=run_columns(config),
        provenance={},
        host="here",
        pid=1,
    )
    assert train(config, writer) == "done"
    return store.read_curve("single", config.run_id)


def stored(folder):
    [record] = RunStore(folder / "store").runs()
    return record, RunStore(folder / "store").read_curve(record.sweep, record.run_id)


def finish(folder, whole):
    process = start(folder)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "done" in output
    record, curve = stored(folder)
    assert record.status == "done"
    interactions = curve["interactions"].to_pylist()
    assert interactions == sorted(set(interactions))
    assert sum(curve["episodes"].to_pylist()) == interactions[-1] == 24_576
    assert rows_equal(curve, whole)
    return record


def test_a_process_killed_outright_goes_on_bit_equal_with_each_row_once(tmp_path, whole):
    write_config(tmp_path)
    process = start(tmp_path)
    wait_for_part(process, tmp_path, 1)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    record, curve = stored(tmp_path)
    assert record.status == "running"  # nobody was left to say otherwise
    assert 0 < curve.num_rows < whole.num_rows
    record = finish(tmp_path, whole)
    assert len(record.attempts) == 2
    assert record.attempts[1].from_interactions > 0


def test_a_terminated_process_stores_what_it_has_and_can_go_on(tmp_path, whole):
    write_config(tmp_path)
    process = start(tmp_path)
    wait_for_part(process, tmp_path, 0)
    process.terminate()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "run the same command again to go on" in " ".join(output.split())
    record, curve = stored(tmp_path)
    assert record.status == "stopped"
    assert 0 < record.interactions < 24_576
    assert 0 < curve.num_rows < whole.num_rows
    finish(tmp_path, whole)


def test_a_diverging_run_exits_with_1_and_a_reason_and_keeps_its_rows(tmp_path):
    write_config(tmp_path, agent={"learning_rate": 1e30})
    process = start(tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in errors
    record, curve = stored(tmp_path)
    assert record.status == "failed"
    assert "learning_rate" in record.reason
    assert record.reason in " ".join(errors.split())
    assert curve.num_rows >= 1


def rlscale(monkeypatch, *arguments):
    """The exit status of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["rlscale", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_an_absent_gpu_exits_with_2_and_a_sentence(tmp_path, monkeypatch, capsys):
    path = write_config(tmp_path)
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s", "--device", "cuda") == 2
    assert "no CUDA GPU here; use --device cpu" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_an_unknown_key_exits_with_2_and_names_file_and_key(tmp_path, monkeypatch, capsys):
    path = write_config(tmp_path, agent={"lr": 1e-3})
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert "'agent.lr'" in message
    assert "learning_rate" in message


def test_a_store_that_is_a_file_exits_with_2(tmp_path, monkeypatch, capsys):
    path = write_config(tmp_path)
    (tmp_path / "s").write_text("not a store")
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 2
    assert "is a file, not a store" in capsys.readouterr().err
    assert (tmp_path / "s").read_text() == "not a store"


def test_a_width_too_small_exits_with_2_before_anything_is_stored(tmp_path, monkeypatch, capsys):
    path = write_config(tmp_path, model={"width": 0.01})
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 2
    assert "at least 0.0125" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_missing_config_exits_with_2(tmp_path, monkeypatch, capsys):
    assert rlscale(monkeypatch, "train", tmp_path / "none.yaml", "--store", tmp_path / "s") == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err


def test_a_finished_run_is_not_done_again(tmp_path, monkeypatch, capsys):
    path = write_config(tmp_path, interactions=512)
    config = load_run_config(path)
    store = RunStore(tmp_path / "s", create=True)
    writer = store.claim(
        "single",
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=run_columns(config),
        provenance={},
        host="here",
        pid=1,
    )
    train(config, writer)
    before = store.read_run("single", config.run_id)
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 0
    assert "done already" in " ".join(capsys.readouterr().out.split())
    assert store.read_run("single", config.run_id) == before
