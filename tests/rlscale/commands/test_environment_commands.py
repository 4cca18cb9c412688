"""Commands with environments and modules of one's own, and a store that names modules to no avail."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from attempts import claim_run

from rlscale.commands.cluster import entrypoint_of
from rlscale.scaling.config.run import load_run_config
from rlscale.scaling.modules import name_modules
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_store import RunStore, rows_equal

OWN_CODE = Path(__file__).parents[2] / "scaling" / "own_code.py"
AGENT = {"algorithm": "ppo", "horizon": 99, "num_envs": 4, "rollout_steps": 64, "minibatches": 4}


def write_config(folder, **changes):
    values = {
        "task": "gymnasium:CartPole-v1",
        "interactions": 8192,
        "checkpoints": 8,
        "agent": AGENT,
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def folder(tmp_path):
    """A working folder that holds a module of one's own."""
    shutil.copy(OWN_CODE, tmp_path / "own_code.py")
    return tmp_path


def only_record(folder):
    [record] = RunStore(folder / "store").runs()
    return record


def test_a_run_in_cartpole_that_is_killed_goes_on_bit_for_bit(start, rlscale, tmp_path):
    path = write_config(tmp_path)
    config = load_run_config(path)
    undisturbed = RunStore(tmp_path / "undisturbed", create=True)
    writer = claim_run(undisturbed, config)
    assert train(config, writer) == "done"
    command = start("train", path, "--store", tmp_path / "store")
    command.until(lambda: list(tmp_path.glob("store/**/part-000001.*.parquet")), "a second checkpoint")
    command.kill()
    assert command.process.returncode == -signal.SIGKILL
    done = rlscale("train", path, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    record = only_record(tmp_path)
    assert record.attempts[-1].from_interactions > 0
    assert record.provenance["resume"] == "exact"
    curve = RunStore(tmp_path / "store").read_curve("single", config.run_id)
    assert rows_equal(curve, undisturbed.read_curve("single", config.run_id))


def test_a_config_of_ones_own_names_its_modules_itself(rlscale, folder):
    model = {"family": "own_code:MyTrunk"}
    path = write_config(folder, task="own_code:Base", model=model, interactions=1024)
    done = rlscale("train", path, "--store", folder / "store", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = only_record(folder)
    assert (record.status, record.provenance["resume"]) == ("done", "episode_boundary")
    assert record.columns["family"] == "own_code:MyTrunk"


def test_a_module_registers_environments_before_the_config_is_read(rlscale, folder):
    path = write_config(folder, task="gymnasium:Own/Counting-v4", interactions=1024)
    done = rlscale("train", path, "--store", folder / "store", cwd=folder)
    assert done.returncode == 2
    assert "gymnasium has no environment Own/Counting-v4" in " ".join(done.stderr.split())
    done = rlscale("train", path, "--store", folder / "store", "--import", "own_code", cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("own_code:OutOfItsSpace", "breaks the contract of gymnasium's environments"),
        ("own_code:Breaks", "ZeroDivisionError: the wheel came off, own_code.py line"),
        ("own_code:NotFinite", "an observation that is not finite"),
        ("own_code:Unbounded", "a box without bounds"),
        ("no_such_module:Env", "The module no_such_module cannot be imported on"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(rlscale, folder, task, words):
    done = rlscale("train", write_config(folder, task=task), "--store", folder / "store", cwd=folder)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_run_that_measures_itself_stores_what_it_found(rlscale, folder):
    path = write_config(folder, interactions=1024, diagnostics={"every": 512, "batch": 256})
    done = rlscale("train", path, "--store", folder / "store", cwd=folder)
    assert done.returncode == 0, done.stderr
    curve = RunStore(folder / "store").read_curve("single", only_record(folder).run_id)
    measured = [row is not None for row in curve["policy_approximate_rank"].to_pylist()]
    assert measured == [True, True, False, True]  # iterations of 256: the first, 512 and 1024
    assert set(curve["policy_features"].drop_null().to_pylist()) == {64.0}


def test_a_feature_penalty_without_named_features_is_said_in_one_sentence(rlscale, folder):
    agent = AGENT | {"feature_penalty": {"coefficient": 1}}
    model = {"family": "own_code:Unnamed"}
    path = write_config(folder, task="own_code:Base", model=model, agent=agent)
    done = rlscale("train", path, "--store", folder / "store", cwd=folder)
    assert done.returncode == 2
    assert "agent.feature_penalty needs a family that names its pre_activations" in " ".join(
        done.stderr.split()
    )
    assert "Traceback" not in done.stderr


def write_spec(folder, **base):
    path = folder / "spec.yaml"
    values = {"task": "own_code:Remembers", "interactions": 1024, "checkpoints": 2, "agent": AGENT, **base}
    axes = {"family": ["mlp", "own_code:MyTrunk"], "seed": [0]}
    path.write_text(yaml.safe_dump({"name": "own", "base": values, "axes": axes}))
    return path


@pytest.mark.ray
def test_a_sweep_passes_the_modules_to_its_workers(rlscale, folder):
    path = write_spec(folder)
    done = rlscale("sweep", "run", path, "--store", folder / "store", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    records = list(RunStore(folder / "store").runs("own"))
    assert [record.status for record in records] == ["done"] * 2
    assert {record.columns["family"] for record in records} == {"mlp", "own_code:MyTrunk"}
    done = rlscale("sweep", "status", folder / "store", "--import", "own_code", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_a_job_on_a_cluster_gets_the_modules_on_its_command_line():
    name_modules(["own_code"])
    words = entrypoint_of("python", "s3://bucket/runs", "own", "cpu", None).split()
    assert "--import=own_code" in words


EVIL = "import pathlib\npathlib.Path(__file__).with_suffix('.imported').touch()\n"


def hostile_store(folder, base):
    """A store whose spec and whose failed run name a module that lies in the working folder."""
    (folder / "evil.py").write_text(EVIL)
    store = RunStore(folder / "store", create=True)
    config = {"interactions": 1024, "seed": 0, "agent": AGENT, **base}
    store.write_spec("hostile", {"name": "hostile", "base": config, "axes": [{"seed": [0]}]})
    writer = store.claim(
        "hostile",
        "0" * 16,
        config=config,
        columns={"num_params": 10, "task": base["task"], "family": "mlp"},
        provenance={},
        host="there",
        pid=1,
    )
    rows = [
        {"interactions": i, "episodes": 1, "return_mean": float(i), "wall_seconds": 1.0, "train_flops": 1.0}
        for i in (1, 2)
    ]
    writer.fail("it failed", code="failed", rows=rows, index=0)
    return folder / "store"


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({"task": "evil:Env"}, "add --import evil"),
        ({"task": "gymnasium:evil:Env-v0"}, "--import evil"),
        ({"task": "gymnasium:CartPole-v1", "model": {"family": "evil:Net"}}, "add --import evil"),
    ],
)
@pytest.mark.parametrize(
    ("command", "refuses"),
    [
        (["sweep", "resume", "STORE"], True),
        (["sweep", "retry", "STORE"], True),
        (["sweep", "status", "STORE"], True),
        (["curves", "show", "STORE"], False),
        (["curves", "export", "STORE", "--out", "all.parquet"], False),
        (["fit", "STORE"], False),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_nothing_in_a_store_chooses_code_to_run(rlscale, tmp_path, base, words, command, refuses):
    store = hostile_store(tmp_path, base)
    done = rlscale(*(str(store) if word == "STORE" else word for word in command), cwd=tmp_path)
    assert not (tmp_path / "evil.imported").exists()
    assert "Traceback" not in done.stderr
    if refuses:
        assert done.returncode == 2
        assert words in " ".join(done.stderr.split())


def test_the_same_store_is_used_once_its_module_is_named(rlscale, tmp_path):
    store = hostile_store(tmp_path, {"task": "evil:Env"})
    (tmp_path / "evil.py").write_text(EVIL + "from own_code import Base as Env\n")
    shutil.copy(OWN_CODE, tmp_path / "own_code.py")
    path = tmp_path / "status.json"
    done = rlscale("sweep", "status", store, "--import", "evil", "--json", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "evil.imported").exists()
    assert json.loads(path.read_text())["sweeps"][0]["sweep"] == "hostile"
