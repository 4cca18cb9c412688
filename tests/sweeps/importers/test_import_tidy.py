"""Tidy files: values are stored as they are, and what cannot be stored is refused with its row."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import CURVE_COLUMNS, DIAGNOSTICS, EXPORT_SCHEMA, RUN_COLUMNS


@pytest.mark.parametrize("name", ["curves.csv", "curves.csv.gz", "curves.parquet", "curves.pq"])
def test_a_tidy_file_becomes_finished_runs(imported, curve, tidy, tmp_path, name):
    if name == "curves.pq":
        tidy("curves.parquet").rename(tmp_path / name)
        result = imported(tmp_path / name)
    else:
        result = imported(tidy(name))
    assert [(run.name, run.run_id, run.columns, run.rows, run.interactions) for run in result.runs] == [
        ("a", "a", {"num_params": 100}, 3, 30),
        ("b", "b", {"num_params": 200}, 2, 20),
        ("c", "c", {"num_params": 400}, 1, 10),
    ]
    assert curve("a") == ([10, 20, 30], [0.1, 0.2, 0.3])
    records = list(RunStore(tmp_path / "store").runs())
    assert {record.status for record in records} == {"done"}
    assert records[0].config == {
        "imported_from": str(tmp_path / name),
        "format": "csv" if ".csv" in name else "parquet",
        "name": "a",
    }
    assert records[0].interactions == 30


def test_every_column_of_the_schema_comes_through_under_any_name(imported, tmp_path):
    """Each column of each type, under a name of its own, with values that a float32 would lose."""
    rng = np.random.default_rng(0)
    values = {}
    for place, (name, column) in enumerate((RUN_COLUMNS | CURVE_COLUMNS | DIAGNOSTICS).items()):
        if name == "status":
            continue
        within_run = name in RUN_COLUMNS
        if column.dtype == "string":
            values[name] = [f"{name} 1"] * 3
        elif column.dtype == "int64":
            numbers = [10**9 + 1 + place] * 3 if within_run else (10**9 * np.arange(1, 4) + place).tolist()
            values[name] = numbers
        else:
            values[name] = [0.1 + place] * 3 if within_run else rng.random(3).tolist()
    frame = pd.DataFrame({f"their {name}": column for name, column in values.items()})
    frame["their run"] = "x"
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    mapping = {name: f"their {name}" for name in values} | {"run_id": "their run"}
    imported(tmp_path / "theirs.csv", columns=mapping)
    stored = RunStore(tmp_path / "store").read_curves().to_pydict()
    assert stored == {"sweep": ["imported"] * 3, "run_id": ["x"] * 3, "status": ["done"] * 3} | values
    assert set(stored) == set(EXPORT_SCHEMA.names)


def test_an_export_of_this_toolkit_comes_back_value_by_value(imported, claim, rows_of, tmp_path):
    store = RunStore(tmp_path / "before", create=True)
    for sweep, run_id in [("s", "0123456789abcdef"), ("t", "0123456789abcdef"), ("t", "r2")]:
        columns = {"task": "digits-bandit", "seed": 3, "width": 0.1}
        writer = claim(store, run_id, sweep=sweep, columns=columns)
        writer.write_segment(0, rows_of(0, 12), b"", interactions=1200, wall_seconds=1.0)
        if run_id != "r2":
            writer.finish()
    store.export(tmp_path / "out.parquet")
    result = imported(tmp_path / "out.parquet")
    assert [(run.sweep, run.run_id) for run in result.runs] == [(s, "0123456789abcdef") for s in "st"]
    assert [(run.name, run.reason) for run in result.skipped] == [("r2", "its status is running, not done")]
    before = store.read_curves().to_pylist()
    after = RunStore(tmp_path / "store").read_curves().to_pylist()
    assert after == [row for row in before if row["status"] == "done"]
    again = imported(tmp_path / "out.parquet", store=tmp_path / "before")  # where it came from
    assert {run.outcome for run in again.runs} == {"already there"}


def test_rows_are_sorted_and_numbers_keep_their_values(imported, curve, tidy):
    imported(
        tidy(
            interactions=[30.0, 10.0, 2.0**52 + 1, 2e6, 1.0, 1e15],
            return_mean=["0.30000000000000004", "1e-300", "", "nan", "-5", 0.1],
        )
    )
    assert curve("a") == ([10, 30, 2**52 + 1], [1e-300, 0.30000000000000004, None])
    assert curve("b") == ([1, 2 * 10**6], [-5.0, None])
    assert curve("c") == ([10**15], [0.1])


def test_names_of_runs_stay_as_they_are_written(imported, tidy, tmp_path):
    names = ["007", "007", "007", "1e3", "1e3", "experiments/PPO ½"]
    result = imported(tidy(run_id=names))
    assert [run.name for run in result.runs] == ["007", "1e3", "experiments/PPO ½"]
    ids = [run.run_id for run in result.runs]
    assert ids[:2] == ["007", "1e3"]
    assert ids[2].startswith("experiments-PPO-")
    record = RunStore(tmp_path / "store").read_run("imported", ids[2])
    assert record.config["name"] == "experiments/PPO ½"


def test_extra_columns_are_ignored_and_named(imported, tidy):
    result = imported(tidy(loss=1.0, note="x"))
    assert any("loss, note" in note for note in result.notes)
    assert not any("not known" in note for note in imported(tidy(), sweep="other").notes)


def test_spaces_around_names_of_columns_do_not_count(imported, curve, tmp_path):
    (tmp_path / "x.csv").write_text("run_id, num_params , interactions,return_mean\na, 5, 1, 0.5\n")
    imported(tmp_path / "x.csv")
    assert curve("a") == ([1], [0.5])


def test_an_index_that_was_saved_without_a_name_is_just_another_column(imported, tidy):
    path = tidy()
    pd.read_csv(path).to_csv(path)
    assert any("Columns that are not known were ignored: column 1." in note for note in imported(path).notes)


def test_a_mapped_column_takes_the_place_of_one_that_has_our_name(imported, tidy, curve):
    result = imported(tidy(smooth=[1, 2, 3, 4, 5, 6]), columns={"return_mean": "smooth"})
    assert curve("a") == ([10, 20, 30], [1.0, 2.0, 3.0])
    assert any("return_mean" in note for note in result.notes)


def test_the_files_sweeps_are_kept_unless_one_is_asked_for(imported, tidy, tmp_path):
    path = tidy(sweep=["x", "x", "x", "y", "y", None])
    assert [run.sweep for run in imported(path).runs] == ["x", "y", "imported"]
    assert {run.sweep for run in imported(path, sweep="mine").runs} == {"mine"}
    twice = tidy(sweep=["x"] * 3 + ["y"] * 3, run_id="a", num_params=5, interactions=[1, 2, 3] * 2)
    with pytest.raises(InputError, match=r"'a' and 'a' would be one in the sweep all"):
        imported(twice, sweep="all")


def test_steps_are_scaled_and_rounded_with_a_note(imported, tidy, curve):
    result = imported(tidy(interactions=[4, 8, 13, 4, 8, 400]), steps_scale=0.25)
    assert curve("a")[0] == [1, 2, 3]
    assert curve("c")[0] == [100]
    assert any("1 row of 1 run moved to the nearest step" in note for note in result.notes)


def test_the_task_asked_for_counts_whatever_the_file_says(imported, tidy):
    result = imported(tidy(task="pong", seed=[0, 0, 0, 1, 1, 2]), task="breakout")
    assert [run.columns for run in result.runs] == [
        {"num_params": n, "seed": seed, "task": "breakout"} for n, seed in [(100, 0), (200, 1), (400, 2)]
    ]


def test_a_run_without_any_return_is_skipped(imported, tidy):
    result = imported(tidy(return_mean=[0.1, 0.2, 0.3, None, None, 0.4]))
    assert [run.name for run in result.runs] == ["a", "c"]
    assert [(run.name, run.reason) for run in result.skipped] == [("b", "no row has a return")]
    assert any("1 run skipped: b" in note for note in result.notes)


REFUSED = {
    "no such step": ({"interactions": [10, 20, None, 10, 20, 10]}, "column interactions, row 3: .*finite"),
    "an infinite step": ({"interactions": [10, 20, "inf", 10, 20, 10]}, "column interactions, row 3"),
    "step zero": ({"interactions": [0, 20, 30, 10, 20, 10]}, "row 1: the value .0. must be positive"),
    "a negative step": ({"interactions": [10, 20, 30, -10, 20, 10]}, "run b, column interactions, row 4"),
    "half a step": ({"interactions": [10, 20.5, 30, 10, 20, 10]}, "row 2: the value .20.5. is more than 1%"),
    "a huge step": ({"interactions": [10, 20, 1e300, 10, 20, 10]}, "row 3: .* no whole number"),
    "a word for a step": ({"interactions": [10, 20, "many", 10, 20, 10]}, "row 3: .* is not a number"),
    "a step twice": ({"interactions": [10, 20, 10, 10, 20, 10]}, "interactions, row 3: .* twice"),
    "an infinite return": ({"return_mean": [1, np.inf, 3, 1, 2, 1]}, "return_mean, row 2: .*infinite"),
    "a word for a return": ({"return_mean": [1, 2, 3, 1, "good", 1]}, "run b, column return_mean, row 5"),
    "half an episode": ({"episodes": [1, 2, 3, 4, 0.5, 1]}, "column episodes, row 5: .*not a whole number"),
    "no size": ({"num_params": None}, "3 runs without a size: a, b, c; give num_params with --sizes"),
    "an empty size": ({"num_params": [1, 1, 1, 2, 2, None]}, "1 run without a size: c"),
    "size zero": ({"num_params": [0, 0, 0, 2, 2, 4]}, "run a: num_params is 0; it must be positive"),
    "an infinite size": ({"num_params": [1, 1, 1, 2, 2, np.inf]}, "num_params is inf, not a finite"),
    "half a parameter": ({"num_params": [1, 1, 1, 2, 2, 0.5]}, "num_params is 0.5, not a whole number"),
    "two sizes": ({"num_params": [1, 1, 2, 2, 2, 4]}, r"row 3.*: the value \(2\) differs from .*\(1\)"),
    "two seeds": ({"seed": [1, 1, 1, 2, 3, 4]}, "run b, column seed, row 5: .* give each run one seed"),
    "an unnamed run": ({"run_id": ["a", "a", "a", None, "b", "c"]}, "column run_id, row 4: .* is empty"),
    "no runs": ({"run_id": None}, "lacks the column 'run_id' .*columns=.'run_id': 'NAME'"),
    "no returns": ({"return_mean": None}, "lacks the column 'return_mean'"),
    "a sweep that is a path": ({"sweep": "../x"}, "'../x' cannot be a sweep"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["curves.csv", "curves.parquet"])
@pytest.mark.parametrize(("columns", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_stored_is_refused_with_its_row_and_nothing_is_written(
    imported, tidy, tmp_path, name, columns, message
):
    if name.endswith(".parquet"):
        columns = {
            key: [None if v is None else str(v) for v in values]
            if isinstance(values, list) and any(isinstance(v, str) for v in values)
            else values
            for key, values in columns.items()
        }
    path = tidy(name, **columns)
    with pytest.raises(InputError, match=message) as caught:
        imported(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"parameters": "n"}, "no column 'parameters' to fill; there are: sweep, run_id, .*num_params"),
        ({"num_params": "n"}, "no column 'n' to use as num_params; it has: run_id, num_params"),
    ],
)
def test_an_impossible_mapping_of_columns_is_refused(imported, tidy, columns, message):
    with pytest.raises(InputError, match=message):
        imported(tidy(), columns=columns)


def test_files_that_are_not_tables_are_refused(imported, tmp_path):
    path = tmp_path / "x.csv"
    header = "run_id,num_params,interactions,return_mean\n"
    for content, message in [
        ("", "is empty; give a file with curves in it"),
        ("run_id;num_params\na;1\n", "lacks the column 'interactions'"),
        (header, "holds no rows"),
        (header + "a,1,2,3,4\n", "not a readable CSV file"),
        (header + "a,1,2,3\nb,1,2,3,4\n", "not a readable CSV file"),
        ("run_id,num_params,interactions,return_mean,run_id\na,1,2,3,a\n", "2 columns named 'run_id'"),
    ]:
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            imported(path)
    path.write_bytes(b"\xff\xfe\x00a,b")
    with pytest.raises(InputError, match="not a readable CSV file"):
        imported(path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        imported(tmp_path / "x.parquet")


def test_parquet_types_that_are_not_numbers_are_refused(imported, tmp_path):
    for column in (pa.array([True]), pa.array([0], pa.timestamp("s")), pa.array([b"x"])):
        table = pa.table({"run_id": ["a"], "num_params": [1], "interactions": column, "return_mean": [1.0]})
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(InputError, match=r"interactions, row 1: .* is not a number"):
            imported(tmp_path / "x.parquet")


def test_an_index_that_pandas_wrote_is_a_column(imported, tmp_path, curve):
    frame = pd.DataFrame({"num_params": 7, "interactions": [1, 2], "return_mean": [0.0, 1.0]})
    frame.index = pd.Index(["a", "a"], name="run_id")
    frame.to_parquet(tmp_path / "x.parquet")
    imported(tmp_path / "x.parquet")
    assert curve("a") == ([1, 2], [0.0, 1.0])
