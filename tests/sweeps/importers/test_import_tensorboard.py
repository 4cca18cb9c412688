"""Event files: every scalar, however stored, once, and at environment steps."""

import builtins
import struct

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.plugins.scalar import metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.run_store import RunStore

TAG = "rollout/ep_rew_mean"
RAY_TAG, RAY_STEPS = "ray/tune/env_runners/episode_return_mean", "ray/tune/num_env_steps_sampled_lifetime"


def simple(tag, value):
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def tensor(tag, value, dtype=types_pb2.DT_FLOAT):
    """A scalar as TensorFlow 2 writes it."""
    return summary_pb2.Summary.Value(
        tag=tag,
        tensor=tensor_util.make_tensor_proto(value, dtype=dtype),
        metadata=metadata.create_summary_metadata(display_name="", description=""),
    )


def write_events(folder, points, *, started=1.7e9, name="host.1.0"):
    """An event file as TensorBoard's writers make it: its version, then (step, values) in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(started)}.{name}"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(event_pb2.Event(wall_time=started, file_version="brain.Event:2").SerializeToString())
        for place, (step, *values) in enumerate(points):
            summary = summary_pb2.Summary(value=values)
            event = event_pb2.Event(wall_time=started + place, step=step, summary=summary)
            writer.write(event.SerializeToString())
    return path


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


@pytest.mark.parametrize(("value_of", "points"), [(simple, 10_050), (tensor, 500)])
def test_every_scalar_is_read_none_sampled(imported, curve, logs, value_of, points):
    """TensorBoard itself keeps 10,000 scalars of a tag, and 10 tensors."""
    write_events(logs / "PPO_1", [(i, value_of(TAG, i % 97)) for i in range(1, points + 1)])
    imported(logs, size_pattern="_(?P<num_params>1)")
    assert curve("PPO_1") == (list(range(1, points + 1)), [float(i % 97) for i in range(1, points + 1)])


def test_each_folder_with_event_files_is_a_run_named_by_its_path(imported, logs, sizes):
    for name in ("exp/seed0", "exp/seed1", "other"):
        write_events(logs / name, [(10, simple(TAG, 1.0))])
    (logs / "empty").mkdir()
    result = imported(logs, sizes=sizes("{'exp/*': 100, other: 200}"))
    assert [(run.name, run.columns["num_params"]) for run in result.runs] == [
        ("exp/seed0", 100),
        ("exp/seed1", 100),
        ("other", 200),
    ]
    assert all("/" not in run.run_id for run in result.runs)
    assert any("is read as tensorboard" in note for note in result.notes)


@pytest.mark.parametrize("give", ["folder", "file"])
def test_a_single_run_is_named_by_its_folder(imported, curve, logs, sizes, give):
    path = write_events(logs / "PPO_7", [(10, simple(TAG, 1.0))])
    imported(path.parent if give == "folder" else path, sizes=sizes("PPO_7: 100"))
    assert curve("PPO_7") == ([10], [1.0])


def test_a_resumed_run_has_each_step_once_the_later_file_winning(imported, curve, logs, sizes):
    """The first attempt logged beyond the checkpoint from which the second continued."""
    folder = logs / "run"
    write_events(folder, [(s, simple(TAG, 1.0)) for s in (10, 20, 30, 40, 55)], started=1000)
    write_events(folder, [(s, simple(TAG, 2.0)) for s in (30, 41, 50)], started=3000, name="a")
    write_events(folder, [(s, simple(TAG, 3.0)) for s in (50, 60)], started=20000, name="b")
    write_events(folder, [(s, simple("train/loss", 9.0)) for s in (1, 2)], started=30000, name="c")
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([10, 20, 30, 41, 50, 60], [1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    assert any(
        "4 rows of 1 run left out: a later attempt logged the same steps" in note for note in result.notes
    )


def test_episodes_that_end_at_one_step_are_averaged_and_rows_are_sorted(imported, curve, logs, sizes):
    points = [(s, simple("charts/episodic_return", r)) for s, r in [(8, 1), (8, 4), (24, 5), (16, 3), (0, 7)]]
    write_events(logs / "run", points)
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([8, 16, 24], [2.5, 3.0, 5.0])
    assert any("2 rows of 1 run averaged with others of their run" in note for note in result.notes)
    assert any(
        "1 row of 1 run left out: they are at step 0, before training" in note for note in result.notes
    )


def test_frames_become_steps_by_a_factor(imported, curve, logs, sizes):
    write_events(logs / "run", [(400, simple(TAG, 1.0)), (801, simple(TAG, 2.0))])
    imported(logs, sizes=sizes("run: 100"), steps_scale=0.25)
    assert curve("run") == ([100, 200], [1.0, 2.0])


def test_nan_is_no_return_and_infinity_is_refused(imported, curve, logs, sizes):
    write_events(logs / "run", [(1, simple(TAG, np.nan)), (2, simple(TAG, 2.0))])
    imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([1, 2], [None, 2.0])
    write_events(logs / "run", [(3, simple(TAG, np.inf))])
    with pytest.raises(InputError, match=r"run run, column return_mean, row 1: .*infinite"):
        imported(logs, sizes=sizes("run: 100"))


def test_the_usual_tag_is_found_in_the_documented_order_and_reported(imported, curve, logs, sizes):
    values = [simple("eval/mean_reward", 5), tensor(TAG, 1), simple("train/loss", 9)]
    write_events(logs / "run", [(10, *values)])
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([10], [1.0])
    assert f"The return is the tag {TAG}; --tag would choose another: eval/mean_reward." in result.notes
    imported(logs, sizes=sizes("run: 100"), tag="eval/mean_reward", sweep="evals")
    assert curve("run", "evals") == ([10], [5.0])


def test_without_a_usual_tag_the_existing_ones_are_listed(imported, logs):
    words = tensor("text", b"words", types_pb2.DT_STRING)
    many = tensor("histogram", [1.0, 2.0])
    write_events(logs / "run", [(10, simple("my/score", 1.0), words, many)])
    with pytest.raises(InputError, match=r"none of the usual tags .*--tag; it has: my/score\.$"):
        imported(logs)
    with pytest.raises(InputError, match=r"no tag 'my/scores'; it has: my/score\.$"):
        imported(logs, tag="my/scores")


def test_a_run_without_the_tag_is_skipped_with_the_tags_it_has(imported, logs, sizes):
    write_events(logs / "good", [(10, simple(TAG, 1.0))])
    write_events(logs / "crashed", [(10, simple("train/loss", 1.0))])
    write_events(logs / "killed", []).write_bytes(b"")
    result = imported(logs, sizes=sizes("'*': 100"))
    assert [run.name for run in result.runs] == ["good"]
    assert {run.name: run.reason for run in result.skipped} == {
        "crashed": f"no tag {TAG}; it has: train/loss",
        "killed": f"no tag {TAG}; it has: none",
    }


def test_rays_iterations_are_replaced_by_its_environment_steps(imported, curve, logs, sizes):
    points = [(i, simple(RAY_TAG, 1.0 * i), simple(RAY_STEPS, 4000 * i)) for i in (1, 2, 3)]
    write_events(logs / "trial", points)
    result = imported(logs, sizes=sizes("trial: 100"))
    assert curve("trial") == ([4000, 8000, 12000], [1.0, 2.0, 3.0])
    assert any(f"Interactions are the tag {RAY_STEPS}" in note for note in result.notes)


def test_rays_iterations_are_reported_where_nothing_better_is_known(imported, curve, logs, sizes):
    write_events(logs / "trial", [(i, simple(RAY_TAG, 1.0 * i)) for i in (1, 2)])
    result = imported(logs, sizes=sizes("trial: 100"))
    assert curve("trial") == ([1, 2], [1.0, 2.0])
    assert any("may count iterations" in note for note in result.notes)


@pytest.mark.parametrize("missing", [1, 5, 40])
def test_a_file_whose_end_is_missing_gives_what_is_whole(imported, curve, logs, sizes, missing):
    path = write_events(logs / "run", [(s, simple(TAG, s)) for s in (1, 2, 3)])
    path.write_bytes(path.read_bytes()[:-missing])
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([1, 2], [1.0, 2.0])
    assert any(
        "1 row of 1 run left out: they were cut off at the end of a file" in note for note in result.notes
    )


@pytest.mark.parametrize("content", [b"words", struct.pack("<Q", 2**62) + bytes(20), bytes(100)])
def test_a_file_that_only_has_the_name_of_an_event_file_is_refused(imported, logs, content):
    write_events(logs / "run", []).write_bytes(content)
    with pytest.raises(InputError, match="is not a readable event file"):
        imported(logs)


def test_what_torch_writes_is_read(imported, curve, logs, sizes):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(logs / "run") as writer:
        writer.add_scalar(TAG, 0.5, global_step=100)
        writer.add_scalar(TAG, 0.75, global_step=200, new_style=True)
        writer.add_histogram("weights", np.arange(10), global_step=100)
        writer.add_text("hyperparameters", "|lr|1e-3|")
    imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([100, 200], [0.5, 0.75])


def test_without_tensorboard_one_sentence_says_what_to_install(imported, logs, monkeypatch):
    write_events(logs / "run", [(10, simple(TAG, 1.0))])
    true_import = builtins.__import__

    def no_tensorboard(name, *arguments, **options):
        if name.startswith("tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return true_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_tensorboard)
    with pytest.raises(InputError, match=r"pip install 'rlscale\[tensorboard\]'"):
        imported(logs)


def test_columns_are_refused_for_event_files(imported, logs):
    write_events(logs / "run", [(10, simple(TAG, 1.0))])
    with pytest.raises(InputError, match="--columns is for tables"):
        imported(logs, columns={"return_mean": TAG})


def test_a_record_keeps_the_tag_and_where_the_run_came_from(imported, logs, tmp_path):
    write_events(logs / "n10k" / "x", [(10, simple("my/score", 1.0))])
    result = imported(logs, tag="my/score", size_pattern=r"n(?P<num_params>\d+k)")
    record = RunStore(tmp_path / "store").read_run("imported", result.runs[0].run_id)
    assert record.columns == {"num_params": 10_000}
    assert record.config == {
        "imported_from": str(logs),
        "format": "tensorboard",
        "name": "n10k/x",
        "tag": "my/score",
        "still_trained": True,  # its log was written just now
    }
