"""``rlscale curves import`` as a user runs it, and what the other commands make of the runs."""

import json
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rlscale.analysis.curves.load import load_curves, read_store_record
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.reports.text import versions
from rlscale.sweeps.store.run_store import RunStore


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The CSV of a sweep whose law is known, under names of its own."""
    law = SyntheticSweep(
        noise=0.02, sizes=tuple(float(n) for n in 2 ** np.arange(10, 17)), seeds=2, points=50
    )
    frame = curves_frame(law.curves(np.random.default_rng(0)))
    names = {"run_id": "run", "num_params": "n", "interactions": "steps", "return_mean": "ret"}
    path = tmp_path_factory.mktemp("sweep") / "theirs.csv"
    frame.rename(columns=names).to_csv(path, index=False)
    return path


COLUMNS = "num_params=n,interactions=steps,return_mean=ret,run_id=run"


@pytest.fixture(scope="module")
def stored(rlscale, sweep):
    """(store, what importing it printed)."""
    store = sweep.parent / "store"
    out = ("--store", store, "--json", sweep.parent / "import.json")
    done = rlscale("curves", "import", sweep, "--columns", COLUMNS, *out)
    assert done.returncode == 0, done.stderr
    return store, done


def test_import_says_what_it_read_and_what_it_stored(sweep, stored):
    store, done = stored
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{sweep} is read as csv, as its content suggests.",
        f"{store}: 14 runs (14 imported) of 7 sizes with 700 rows, in the sweep imported.",
    ]
    value = json.loads((sweep.parent / "import.json").read_text())
    assert len(value["runs"]) == 14
    assert {run["outcome"] for run in value["runs"]} == {"imported"}


def test_a_fit_of_the_store_is_the_fit_of_the_file(rlscale, sweep, stored, tmp_path):
    store, _ = stored
    fits = []
    for source, options in [(store, []), (sweep, ["--columns", COLUMNS])]:
        out = tmp_path / "fit.json"
        done = rlscale("fit", source, *options, "--bootstrap", 0, "--json", out)
        assert done.returncode == 0, done.stderr
        fits.append(json.loads(out.read_text()))
    for name in ("alpha_N", "alpha_E", "beta", "N_c", "E_c", "nu", "num_points", "num_runs", "num_sizes"):
        assert fits[0][name] == fits[1][name]


def test_imported_curves_are_shown_counted_and_exported(rlscale, sweep, stored, tmp_path):
    store, _ = stored
    shown = rlscale("curves", "show", store)
    assert shown.returncode == 0, shown.stderr
    assert "imported: 14 curves" in shown.stdout
    assert "run-0013" in shown.stdout
    status = rlscale("sweep", "status", store)
    assert "imported: 14 runs, 14 done" in status.stdout, status.stderr
    RunStore(store).export(tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pandas()
    theirs = pd.read_csv(sweep, float_precision="round_trip")
    assert table["return_mean"].tolist() == theirs["ret"].tolist()
    assert table["interactions"].tolist() == theirs["steps"].tolist()


def test_a_report_finds_the_provenance_of_imported_runs(stored):
    store, _ = stored
    record = read_store_record(store)
    assert {run.run_id for run in record.runs} == set(load_curves(store).run_ids)
    assert ("imported by", "", f"rlscale {version('rlscale')}") in versions(record)


def test_a_folder_of_logs_and_a_pattern_are_enough(rlscale, tmp_path):
    for width in (1, 2, 4):
        folder = tmp_path / "logs" / f"ppo_n{width}.5k_s0"
        folder.mkdir(parents=True)
        rows = "".join(f"{i},{256 * i},{0.5 * i}\n" for i in range(1, 4))
        (folder / "progress.csv").write_text(
            f"time/iterations,time/total_timesteps,rollout/ep_rew_mean\n{rows}"
        )
    pattern = r"n(?P<num_params>[\d.]+k)_s(?P<seed>\d+)"
    command = ("curves", "import", "logs", "--store", "store", "--size-pattern", pattern, "--sweep", "ppo")
    done = rlscale(*command, "--task", "pong", "--steps-scale", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "logs is read as sb3" in done.stdout
    assert "store: 3 runs (3 imported) of 3 sizes with 9 rows, in the sweep ppo." in done.stdout
    again = rlscale(*command, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == (
        "rlscale: Run ppo_n1.5k_s0 of the sweep ppo is in store already with another curve, size or "
        "setting; use --replace, or another --sweep to keep both.\n"
    )
    shown = rlscale("curves", "show", "store", cwd=tmp_path)
    assert "ppo: 3 curves, pong" in shown.stdout
    assert "ppo_n1.5k_s0" in shown.stdout


def test_event_files_are_read_from_the_command_line(rlscale, tmp_path):
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    from tensorboard.compat.proto import event_pb2, summary_pb2

    folder = tmp_path / "logs" / "n100"
    folder.mkdir(parents=True)
    with (folder / "events.out.tfevents.1.host").open("wb") as file:
        value = summary_pb2.Summary.Value(tag="rollout/ep_rew_mean", simple_value=1.0)
        event = event_pb2.Event(wall_time=1.0, step=10, summary=summary_pb2.Summary(value=[value]))
        writer.RecordWriter(file).write(event.SerializeToString())
    pattern = r"n(?P<num_params>\d+)"
    done = rlscale("curves", "import", "logs", "--store", "store", "--size-pattern", pattern, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is read as tensorboard" in done.stdout
    assert "1 run (1 imported) of 1 size with 1 row" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv does not exist; give a file of curves or a folder of runs."),
        (
            ["bad.csv", "--task", "t"],
            "bad.csv, run a, column interactions, row 2: the value (many) is not a number; "
            "correct or remove it.",
        ),
        (
            ["good.csv", "--size-pattern", "("],
            "--size-pattern '(' is not a regular expression: missing ), unterminated subpattern at "
            "position 0.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(rlscale, tmp_path, arguments, message):
    (tmp_path / "good.csv").write_text("run_id,interactions,return_mean\na,1,1\n")
    (tmp_path / "bad.csv").write_text("run_id,interactions,return_mean\na,1,1\na,many,1\n")
    done = rlscale("curves", "import", *arguments, "--store", "store", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"rlscale: {message}\n")
    assert not (tmp_path / "store").exists()


def test_the_base_install_is_enough_for_all_but_event_files(tmp_path):
    """None of the extras is loaded, so none needs to be installed."""
    texts = {
        "curves.csv": "run_id,interactions,return_mean\na,1,1\n",
        "progress.csv": "training_iteration,timesteps_total,episode_reward_mean\n1,10,1\n",
        "monitor.csv": '#{"t_start": 1}\nr,l,t\n1,1,1\n',
        "wandb.csv": "Step,a - x,a - x__MIN\n10,1,1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    frame = pd.DataFrame({"run_id": ["a"], "interactions": [1], "return_mean": [1.0]})
    frame.to_parquet(tmp_path / "curves.parquet")
    (tmp_path / "sizes.yaml").write_text("'*': 100")
    code = f"""
import sys
from rlscale.cli import main
for name in {[*texts, "curves.parquet"]}:
    sys.argv = ["rlscale", "curves", "import", name, "--store", "store", "--sizes", "sizes.yaml"]
    sys.argv += ["--sweep", name]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
print([name for name in ("torch", "ray", "tensorboard", "gymnasium", "sklearn") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.count("1 run (1 imported)") == 5
