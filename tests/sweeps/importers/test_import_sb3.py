"""Logs of stable-baselines3: episodes become rows of equal intervals, and a restart is never guessed."""

import io
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rlscale.analysis.curves.load import load_curves
from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.sb3 import INTERVALS, curve_of_episodes
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.curves import curves_table

#: The columns in the order in which PPO's logger first sees them.
PROGRESS = (
    "time/time_elapsed,rollout/ep_len_mean,time/fps,time/iterations,rollout/ep_rew_mean,time/total_timesteps,"
    "train/value_loss,train/approx_kl"
)


def write_monitor(path, episodes, *, t_start=1.7e9, env_id="CartPole-v1", extra=""):
    """(return, length, seconds since the start) of each episode, as the Monitor wrapper writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"#{json.dumps({'t_start': t_start, 'env_id': env_id})}", f"r,l,t{extra and ',' + extra}"]
    lines += [f"{r},{length},{t}{extra and ',True'}" for r, length, t in episodes]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_progress(path, rows, header=PROGRESS):
    """(seconds, steps, return) of each dump; the first has no training yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header] + [
        f"{t},23.7,890,1,{r},{steps},{'' if i == 0 else 99.5}," for i, (t, steps, r) in enumerate(rows)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


def test_episodes_of_parallel_environments_are_put_in_order_of_the_wall_clock(
    imported, logs, tmp_path, sizes
):
    """Environment 1 started 5 s later, so its first episode ended after the second of environment 0."""
    write_monitor(logs / "run" / "0.monitor.csv", [(1.0, 10, 1), (2.0, 20, 5.5), (4.0, 5, 9)], t_start=1000)
    write_monitor(logs / "run" / "1.monitor.csv", [(3.0, 30, 2), (5.5, 7, 4.5)], t_start=1005)
    result = imported(logs, sizes=sizes("run: 100"))
    table = RunStore(tmp_path / "store").read_curve("imported", "run")
    assert table["interactions"].to_pylist() == [10, 30, 60, 65, 72]
    assert table["return_mean"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.5]
    assert table["episode_length_mean"].to_pylist() == [10, 20, 30, 5, 7]
    assert table["wall_seconds"].to_pylist() == [1.0, 5.5, 7.0, 9.0, 9.5]
    assert table["episodes"].to_pylist() == [1] * 5
    assert result.runs[0].columns == {"num_params": 100, "task": "CartPole-v1"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(1, 10**6)), min_size=1, max_size=2000))
def test_rows_are_the_means_over_equal_intervals_of_steps(episodes):
    """Against a loop that knows only the definition."""
    returns, lengths = (np.array(column) for column in zip(*episodes, strict=True))
    curve = curve_of_episodes(returns.astype(float), lengths, np.arange(len(returns), dtype=float))
    total, expected = int(lengths.sum()), {}
    steps = 0
    for reward, length in episodes:
        steps += length
        interval = -(-steps * INTERVALS // total)  # interval k holds ((k - 1) total, k total] / INTERVALS
        expected.setdefault(interval, []).append((steps, reward, length))
    assert len(curve) == len(expected) <= INTERVALS
    for row, group in zip(curve.to_dict("records"), expected.values(), strict=True):
        step, rewards, spans = zip(*group, strict=True)
        assert row["interactions"] == step[-1]
        assert row["episodes"] == len(group)
        assert row["return_mean"] == pytest.approx(np.mean(rewards))
        assert row["return_std"] == pytest.approx(np.std(rewards))
        assert row["episode_length_mean"] == pytest.approx(np.mean(spans))
    assert curve["episodes"].sum() == len(episodes)
    assert curve["interactions"].iloc[-1] == total


def test_a_long_run_has_at_most_as_many_rows_as_intervals(imported, logs, sizes):
    rng = np.random.default_rng(0)
    episodes = [
        (round(float(r), 6), int(n), i)
        for i, (r, n) in enumerate(zip(rng.random(5000), rng.integers(1, 99, 5000), strict=True))
    ]
    write_monitor(logs / "run" / "monitor.csv", episodes)
    result = imported(logs, sizes=sizes("run: 100"))
    assert 200 < result.runs[0].rows <= INTERVALS
    assert result.runs[0].interactions == sum(length for _, length, _ in episodes)
    assert any("averaged over 256 equal intervals" in note for note in result.notes)


def test_a_single_environment_that_was_resumed_goes_on_in_the_order_of_the_file(
    imported, logs, tmp_path, sizes
):
    write_monitor(logs / "run" / "monitor.csv", [(1.0, 10, 1), (2.0, 10, 5), (3.0, 10, 0.5), (4.0, 10, 2)])
    imported(logs, sizes=sizes("run: 100"))
    table = RunStore(tmp_path / "store").read_curve("imported", "run")
    assert table["return_mean"].to_pylist() == [1.0, 2.0, 3.0, 4.0]
    assert table["interactions"].to_pylist() == [10, 20, 30, 40]
    assert table["wall_seconds"].to_pylist() == [1.0, 5.0, 5.0, 6.5]


def test_parallel_environments_that_were_resumed_are_refused(imported, logs):
    write_monitor(logs / "run" / "0.monitor.csv", [(1.0, 10, 1), (2.0, 10, 5), (3.0, 10, 0.5)])
    write_monitor(logs / "run" / "1.monitor.csv", [(1.0, 10, 2)])
    with pytest.raises(InputError, match=r"0\.monitor\.csv, row 3: the time goes back"):
        imported(logs)


def test_an_unfinished_last_line_is_left_out_and_reported(imported, curve, logs, sizes):
    path = write_monitor(logs / "run" / "monitor.csv", [(1.0, 10, 1), (2.0, 10, 2)], extra="is_success")
    path.write_text(path.read_text() + "3.0,1")
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([10, 20], [1.0, 2.0])
    assert any("1 row of 1 run left out: they were cut off" in note for note in result.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("r,l,t\n1,2,3\n", "its first line must be"),
        ("#{}\nr,l,t\n1,2,3\n", "its first line must be"),
        ('#{"t_start": "now"}\nr,l,t\n1,2,3\n', "its first line must be"),
        ('#{"t_start": 0}\nr,l,t\n1,0,3\n', "column l, row 1: no episode has 0 steps"),
        ('#{"t_start": 0}\nr,l,t\n1,2,3\n1,2.5,3\n', "column l, row 2: no episode has 2.5 steps"),
        ('#{"t_start": 0}\nr,l,t\ninf,2,3\n', "column r, row 1: 'inf' is not a finite number"),
        ('#{"t_start": 0}\nr,l,t\n1,2,soon\n', "column t, row 1: 'soon' is not a finite number"),
        ('#{"t_start": 0}\nr,l,t\n1,2,3\n1,2\n', "row 2: 2 values for 3 columns"),
        ('#{"t_start": 0}\nr,l\n1,2\n', "has no column 't'"),
    ],
)
def test_a_monitor_file_that_is_not_as_it_is_written_is_refused(imported, logs, content, message):
    path = write_monitor(logs / "run" / "monitor.csv", [])
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        imported(logs)


def test_a_run_whose_log_was_written_just_now_is_marked_until_it_is_imported_again(
    imported, curve, logs, sizes, tmp_path
):
    old = write_monitor(logs / "old" / "monitor.csv", [(1.0, 10, 1)])
    os.utime(old, (0, 0))
    growing = write_monitor(logs / "growing" / "monitor.csv", [(1.0, 10, 1), (2.0, 10, 2)])
    first = imported(logs, sizes=sizes("'*': 100"))
    assert {run.name: run.still_trained for run in first.runs} == {"growing": True, "old": False}
    assert any(note.startswith("1 run may still be trained: growing; ") for note in first.notes)
    store = tmp_path / "store"
    loaded = load_curves(store)
    assert any("perhaps still being trained (growing): import again" in note for note in loaded.notes)
    (record,) = [each for each in RunStore(store).runs() if each.run_id == "growing"]
    assert "may still train" in table_text(curves_table(RunStore(store), "imported", [record]))

    write_monitor(growing, [(1.0, 10, 1), (2.0, 10, 2), (3.0, 10, 3)])
    os.utime(growing, (0, 0))
    again = imported(logs, sizes=sizes("'*': 100"))  # it grew, so this needs no --replace
    assert {run.name: run.outcome for run in again.runs} == {"growing": "replaced", "old": "already there"}
    assert curve("growing") == ([10, 20, 30], [1.0, 2.0, 3.0])
    assert not any("still" in note for note in (*again.notes, *load_curves(store).notes))


def table_text(table) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_a_run_without_a_finished_episode_is_skipped(imported, logs, sizes):
    write_monitor(logs / "early" / "monitor.csv", [])
    write_monitor(logs / "good" / "monitor.csv", [(1.0, 10, 1)])
    result = imported(logs, sizes=sizes("'*': 100"))
    assert [(run.name, run.reason) for run in result.skipped] == [("early", "no episode was finished")]


def test_progress_gives_the_mean_return_at_environment_steps(imported, curve, logs, tmp_path, sizes):
    write_progress(logs / "run" / "progress.csv", [(0, 256, ""), (1, 512, 22.5), (2, 768, 23.25)])
    result = imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([512, 768], [22.5, 23.25])
    table = RunStore(tmp_path / "store").read_curve("imported", "run")
    assert table["wall_seconds"].to_pylist() == [1.0, 2.0]
    assert table["episode_length_mean"].to_pylist() == [23.7, 23.7]
    assert any("means over the last 100 episodes" in note for note in result.notes)


def test_a_monitor_file_is_preferred_unless_a_column_of_progress_is_asked_for(imported, curve, logs, sizes):
    write_progress(logs / "run" / "progress.csv", [(1, 512, 22.5)])
    write_monitor(logs / "run" / "monitor.csv", [(1.0, 10, 1)])
    mapping = sizes("run: 100")
    imported(logs, sizes=mapping)
    assert curve("run") == ([10], [1.0])
    imported(logs, sizes=mapping, tag="rollout/ep_rew_mean", sweep="asked")
    assert curve("run", "asked") == ([512], [22.5])
    imported(logs / "run" / "progress.csv", sizes=mapping, columns={"return_mean": "time/fps"}, sweep="fps")
    assert curve("run", "fps") == ([512], [890.0])
    with pytest.raises(InputError, match=r"monitor\.csv has one return; leave out --tag"):
        imported(logs / "run" / "monitor.csv", tag="r")


@pytest.mark.parametrize(("steps", "told"), [(40, None), (10, "4 times"), (160, "0.25 times"), ("", None)])
def test_monitors_that_count_other_steps_than_progress_are_reported(imported, logs, sizes, steps, told):
    """The frames that a wrapper skips, or one file of the four that there should be."""
    write_progress(logs / "run" / "progress.csv", [(1, steps, 22.5)])
    write_monitor(logs / "run" / "0.monitor.csv", [(1.0, 10, 1), (2.0, 30, 2)])
    notes = [note for note in imported(logs, sizes=sizes("run: 100")).notes if "other steps" in note]
    assert len(notes) == (told is not None)
    assert all(f"{told} as many in run: frames that a wrapper skips" in note for note in notes)


def test_a_monitor_file_of_another_name_is_known_by_its_first_line(imported, curve, tmp_path, sizes):
    path = write_monitor(tmp_path / "run" / "episodes.csv", [(1.0, 10, 1), (2.0, 30, 2)])
    imported(path, sizes=sizes("run: 100"))
    assert curve("run") == ([10, 40], [1.0, 2.0])


def test_a_step_count_that_starts_again_is_refused_with_its_row(imported, logs):
    write_progress(logs / "run" / "progress.csv", [(1, 512, 1), (2, 1024, 2), (1, 512, 1)])
    with pytest.raises(
        InputError, match=r"row 3: time/total_timesteps starts again at 512; .*reset_num_timesteps"
    ):
        imported(logs)


def test_dumps_at_one_step_are_one_row(imported, curve, logs, sizes):
    write_progress(logs / "run" / "progress.csv", [(1, 512, 1), (2, 512, 3), (3, 1024, 5)])
    imported(logs, sizes=sizes("run: 100"))
    assert curve("run") == ([512, 1024], [2.0, 5.0])


def test_a_missing_column_is_refused_with_the_existing_ones(imported, logs):
    write_progress(logs / "run" / "progress.csv", [(1, 512, 1)])
    with pytest.raises(
        InputError, match="no column 'reward'; it has: time/time_elapsed, rollout/ep_len_mean"
    ):
        imported(logs, tag="reward")
    with pytest.raises(InputError, match="both name the return"):
        imported(logs, tag="time/fps", columns={"return_mean": "time/fps"})
    with pytest.raises(InputError, match="a log has no column for num_params; give it with --sizes"):
        imported(logs, columns={"num_params": "n"})


def test_what_the_library_itself_writes_is_read(imported, logs, sizes):
    """Its Monitor and its CSV logger, where it is installed."""
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    logger = pytest.importorskip("stable_baselines3.common.logger")
    (logs / "run").mkdir(parents=True)
    writer = monitor.ResultsWriter(
        str(logs / "run" / "0"), header={"t_start": 5.0, "env_id": "None"}, extra_keys=("is_success",)
    )
    for i in range(3):
        writer.write_row({"r": float(i), "l": 10, "t": 0.5 * i, "is_success": True})
    writer.close()
    log = logger.CSVOutputFormat(str(logs / "run" / "progress.csv"))
    log.write({"time/total_timesteps": 16}, {"time/total_timesteps": ()})
    values = {"rollout/ep_rew_mean": 7.5, "time/total_timesteps": 32}
    log.write(values, {key: () for key in values})
    log.close()
    mapping = sizes("run: 100")
    assert imported(logs, sizes=mapping).runs[0].interactions == 30
    progress = imported(logs, sizes=mapping, tag="rollout/ep_rew_mean", sweep="progress")
    assert (progress.runs[0].rows, progress.runs[0].interactions) == (1, 32)
