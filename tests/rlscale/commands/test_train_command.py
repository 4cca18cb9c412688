"""``rlscale train`` as a user runs it: real processes, real signals."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from attempts import claim_run
from command_line import run

from rlscale import cli
from rlscale.scaling.config.run import load_run_config
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_store import RunStore, rows_equal

ROOT = Path(__file__).parents[3]
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


def start(folder, *options, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "rlscale.cli", "train", "config.yaml", "--store", "store", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def wait_for_part(process, folder, index):
    """Until the part file appears; the process must not end before."""
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"store/**/part-{index:06d}.*.parquet")):
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
    writer = claim_run(store, config)
    assert train(config, writer) == "done"
    return store.read_curve("single", config.run_id)


def stored(folder):
    [record] = RunStore(folder / "store").runs()
    return record, RunStore(folder / "store").read_curve(record.sweep, record.run_id)


def finish(folder, whole):
    done = run("train", "config.yaml", "--store", "store", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
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
    assert "run the same command again to continue" in " ".join(output.split())
    record, curve = stored(tmp_path)
    assert record.status == "stopped"
    assert 0 < record.interactions < 24_576
    assert 0 < curve.num_rows < whole.num_rows
    finish(tmp_path, whole)


def test_a_diverging_run_exits_with_1_and_a_reason_and_keeps_its_rows(tmp_path):
    write_config(tmp_path, agent={"learning_rate": 1e30})
    ended = run("train", "config.yaml", "--store", "store", cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    record, curve = stored(tmp_path)
    assert record.status == "failed"
    assert "learning_rate" in record.reason
    assert record.reason in " ".join(ended.stderr.split())
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
    writer = claim_run(store, config)
    train(config, writer)
    before = store.read_run("single", config.run_id)
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 0
    assert "done already" in " ".join(capsys.readouterr().out.split())
    assert store.read_run("single", config.run_id) == before


PROCGEN = {
    "task": "procgen-coinrun-easy",
    "interactions": 128,
    "evaluation_episodes": 0,
    "model": {"width": 0.0625, "depth": 1},
    "agent": {
        "algorithm": "ppg-ewma",
        "phasic": {"policy_iterations": 2, "auxiliary_epochs": 1, "sequences": 4},
        "horizon": 1999,
        "num_envs": 4,
        "rollout_steps": 16,
        "minibatches": 4,
    },
}


def write_procgen_config(folder, model=None, agent=None, **changes):
    values = PROCGEN | changes
    values["model"] = PROCGEN["model"] | (model or {})
    values["agent"] = PROCGEN["agent"] | (agent or {})
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_procgen_trains_and_more_threads_than_cores_give_a_warning(tmp_path):
    cores = len(os.sched_getaffinity(0))
    write_procgen_config(tmp_path, threads=cores + 1)
    done = run("train", "config.yaml", "--store", "store", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "procgen-coinrun-easy" in done.stdout
    [warning] = done.stderr.splitlines()
    assert warning.startswith(f"rlscale: warning: threads is {cores + 1}, but there are {cores} cores here")
    record, curve = stored(tmp_path)
    assert (record.status, record.interactions) == ("done", 128)
    assert curve["clone_kl"].to_pylist()[-1] is not None


WRONG = {
    "unknown game": ({"task": "procgen-coinrunner-easy"}, "'task': Procgen has no game 'coinrunner'"),
    "unknown mode": ({"task": "procgen-coinrun-memory"}, "'task'.*no mode 'memory'"),
    "zero levels": ({"levels": {"num_levels": 0}}, "num_levels is 0"),
    "minibatches": ({"agent": {"minibatches": 3}}, r"'agent'.*minibatches \(3\) must divide num_envs \(4\)"),
    "chunks of time": ({"agent": {"minibatches": 12}}, r"'agent'.*rollout_steps \(16\) into equal chunks"),
    "sequences": ({"agent": {"phasic": {"sequences": 7}}}, r"'agent.*phasic.sequences \(7\) must divide"),
    "depth 0": ({"model": {"depth": 0}}, "'model.depth'.*greater than or equal to 1"),
    "no horizon": ({"agent": {"horizon": 1}}, "agent.horizon is 1"),
    "narrow": ({"model": {"width": 0.01}}, "Width 0.01.*at least 0.03125"),
}


@pytest.mark.parametrize(("changes", "told"), WRONG.values(), ids=WRONG)
def test_what_procgen_cannot_run_exits_with_2_and_a_sentence(tmp_path, monkeypatch, capsys, changes, told):
    path = write_procgen_config(tmp_path, **changes)
    assert rlscale(monkeypatch, "train", path, "--store", tmp_path / "s") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(told, message), message
    assert message.count("rlscale: ") == 1
    assert not (tmp_path / "s").exists()


GIB = 1024**3


def test_a_batch_beyond_the_memory_exits_with_2_and_a_smaller_one(tmp_path):
    write_procgen_config(tmp_path, agent={"rollout_steps": 1_000_000}, interactions=8_000_000)
    process = start(
        tmp_path,
        "--device",
        "cpu",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (16 * GIB, 16 * GIB)),
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    assert "memory does not suffice" in errors
    assert "try agent.num_envs 2 (now 4) or fewer agent.phasic.policy_iterations" in " ".join(errors.split())
    [record] = RunStore(tmp_path / "store").runs()
    assert record.status == "failed"
    assert record.reason in " ".join(errors.split())


OUT_OF_MEMORY_AND_BACK = """
import resource, sys
from pathlib import Path
from rlscale.scaling.config.run import load_run_config
from rlscale.scaling.errors import InputError
from rlscale.scaling.training.facts import run_columns
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_store import RunStore

config = load_run_config(Path("config.yaml"))

def attempt(store, on_progress=lambda *_: None):
    keys = {"config": config.model_dump(mode="json"), "columns": run_columns(config), "provenance": {}}
    claimed = store.claim("s", config.run_id, **keys, host="", pid=1)
    return train(config, claimed, on_progress=on_progress)

def limit(bytes_more):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + bytes_more, -1))

store = RunStore("limited", create=True)
try:
    attempt(store, lambda interactions, _: limit(16 * 1024**2) if interactions else None)
except InputError as error:
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print(error)
print(store.read_run("s", config.run_id).status, store.read_run("s", config.run_id).interactions)
print(attempt(store), [a.from_interactions for a in store.read_run("s", config.run_id).attempts])
print(store.read_curve("s", config.run_id)["interactions"].to_pylist())
"""


def test_a_run_that_ran_out_of_memory_goes_on_where_there_is_more(tmp_path):
    """The batch grows 16-fold in the second iteration, which memory is then too small for."""
    growth = {"exponent": 1.0, "reference": 16}
    agent = {"algorithm": "ppo-ewma", "phasic": None, "num_envs": 1, "rollout_steps": 256, "minibatches": 1}
    write_procgen_config(tmp_path, agent=agent | {"batch_growth": growth}, interactions=300, checkpoints=100)
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY_AND_BACK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told, status, ending, rows = done.stdout.splitlines()
    assert "memory does not suffice" in told
    assert status == "failed 256"
    assert ending == "done [0, 256]"
    assert rows == "[256, 4352]"
