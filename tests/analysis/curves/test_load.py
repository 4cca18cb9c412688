"""Curves from files and stores: what is read, what is left out, and each mistake in one sentence."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rlscale.analysis.curves.curve_set import require_sizes
from rlscale.analysis.curves.load import (
    curves_from_frame,
    load_by,
    load_by_horizon,
    load_curves,
    read_store_record,
)
from rlscale.analysis.curves.selection import Selection
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import CURVE_SCHEMA


def table(runs: int = 4, rows: int = 5) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": np.repeat([f"r{i}" for i in range(runs)], rows),
            "num_params": np.repeat(1000 * 2 ** np.arange(runs), rows),
            "interactions": np.tile(100 * np.arange(1, rows + 1), runs),
            "return_mean": np.linspace(0, 1, runs * rows),
        }
    )


def refused(path, text: str, **options) -> None:
    """The error is one sentence, names the file, and has ``text`` in it."""
    with pytest.raises(InputError, match=text) as caught:
        load_curves(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value).strip()


@pytest.fixture
def csv(tmp_path):
    def write(frame: pd.DataFrame) -> str:
        path = tmp_path / "curves.csv"
        frame.to_csv(path, index=False)
        return str(path)

    return write


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_gives_back_the_curves_written_to_it(tmp_path, kind):
    curves = SyntheticSweep(noise=0.1, points=20).curves(np.random.default_rng(0))
    path = tmp_path / f"curves.{kind}"
    frame = curves_frame(curves)
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    loaded = load_curves(path)
    assert loaded.run_ids == curves.run_ids
    np.testing.assert_array_equal(loaded.run_sizes, curves.run_sizes)
    np.testing.assert_array_equal(loaded.interactions, curves.interactions)
    np.testing.assert_array_equal(loaded.returns, curves.returns)
    assert loaded.notes == ()


def test_rows_of_runs_may_be_interleaved(csv):
    frame = table().sort_values("interactions", kind="stable")
    loaded = load_curves(csv(frame))
    for run in range(4):
        np.testing.assert_array_equal(loaded.curve(run)[0], [100, 200, 300, 400, 500])
        np.testing.assert_array_equal(loaded.curve(run)[1], np.linspace(0, 1, 20)[5 * run : 5 * run + 5])


def test_columns_can_have_other_names(csv):
    renamed = table().rename(columns={"num_params": "n", "interactions": "steps"})
    loaded = load_curves(csv(renamed), columns={"num_params": "n", "interactions": "steps"})
    np.testing.assert_array_equal(loaded.sizes, [1000, 2000, 4000, 8000])


@pytest.mark.parametrize(
    ("size", "column"), [("params_total", "num_params_total"), ("flops", "flops_forward")]
)
def test_the_size_can_be_another_column(csv, size, column):
    frame = table()
    frame[column] = frame["num_params"] * 3.5
    np.testing.assert_array_equal(load_curves(csv(frame), size=size).sizes, [3500, 7000, 14000, 28000])


def test_rows_without_a_return_are_skipped_and_counted(csv):
    frame = table()
    frame.loc[[1, 7], "return_mean"] = np.nan
    loaded = load_curves(csv(frame))
    assert loaded.num_points == 18
    assert loaded.notes == ("2 rows without a return were skipped.",)


# -- mistakes ---------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "nowhere.csv", "does not exist")


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "empty.csv").touch()
    refused(tmp_path / "empty.csv", "is empty")


def test_a_file_of_a_header_only_is_named(csv):
    refused(csv(table().iloc[:0]), "holds no rows")


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = tmp_path / "cut.parquet"
    table().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "not a readable Parquet file")


def test_a_file_that_is_neither_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("these are no curves")
    refused(tmp_path / "notes.txt", "not a readable CSV file")


@pytest.mark.parametrize("column", ["run_id", "num_params", "interactions", "return_mean"])
def test_a_missing_column_is_named_with_the_remedy(csv, column):
    refused(csv(table().drop(columns=column)), f"lacks the column '{column}'.*columns=.'{column}': 'NAME'")


def test_a_renaming_of_a_column_that_is_not_there_is_told(csv):
    refused(csv(table()), "no column 'n'", columns={"num_params": "n"})


@pytest.mark.parametrize("column", ["num_params", "interactions", "return_mean"])
def test_text_in_a_number_column_is_named_by_row_and_value(csv, column):
    frame = table().astype({column: object})
    frame.loc[3, column] = "lots"
    refused(csv(frame), rf"column {column}, row 4.*\(lots\) is not a number")


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("return_mean", np.inf, r"\(inf\) is infinite"),
        ("return_mean", -np.inf, r"\(-inf\) is infinite"),
        ("return_mean", 1e308, r"\(1e\+308\) is beyond 1e\+100"),
        ("interactions", 0, r"\(0\) must be positive"),
        ("interactions", -5, r"\(-5\) must be positive"),
        ("interactions", np.nan, r"\(empty\) must be a finite number"),
        ("interactions", np.inf, r"\(inf\) must be a finite number"),
        ("interactions", 1e308, r"\(1e\+308\) is not between 1e-30 and 1e\+30"),
        ("interactions", 1e-300, "is not between"),
        ("num_params", 0, "must be positive"),
        ("num_params", -1, "must be positive"),
        ("num_params", np.nan, r"\(empty\) must be a finite number"),
        ("num_params", np.inf, "must be a finite number"),
        ("num_params", 1e308, "is not between"),
    ],
)
def test_a_value_that_cannot_be_is_named_by_run_row_and_column(csv, column, value, text):
    frame = table().astype({column: float})
    rows = [6] if column != "num_params" else frame["run_id"] == "r1"
    frame.loc[rows, column] = value
    row = "" if column == "num_params" else ", row 7"
    refused(csv(frame), f"run r1, column {column}{row}: the value.* {text}")


def test_a_row_given_twice_is_named(csv):
    frame = table()
    refused(
        csv(pd.concat([frame, frame.iloc[[8]]])),
        r"run r1, .* row 21: the value \(400\) occurs twice",
    )


def test_steps_that_go_backwards_are_named(csv):
    frame = table()
    frame.loc[8, "interactions"] = 250
    refused(csv(frame), r"run r1, column interactions, row 9: the value \(250\) is not above the one before")


def test_a_size_that_changes_within_a_run_is_named(csv):
    frame = table()
    frame.loc[12, "num_params"] = 17
    refused(csv(frame), r"run r2, column num_params, row 13: the value \(17\) differs from .* \(4000\)")


def test_a_run_without_any_return_is_named(csv):
    frame = table()
    frame.loc[frame["run_id"] == "r3", "return_mean"] = np.nan
    refused(csv(frame), "run r3: no row has a return_mean")


def test_a_row_without_a_run_is_named(csv):
    frame = table().astype({"run_id": object})
    frame.loc[2, "run_id"] = None
    refused(csv(frame), "column run_id, row 3.*is empty")


@pytest.mark.parametrize("column", ["task", "algorithm", "horizon"])
def test_runs_with_laws_of_their_own_are_not_mixed(csv, column):
    frame = table()
    frame[column] = np.where(frame["run_id"] == "r0", 1, 2)
    refused(csv(frame), f"mixes 2 values of {column}")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_sizes_are_told(count):
    with pytest.raises(InputError, match=rf"{count} size.*at least 3"):
        require_sizes(curves_from_frame(table(runs=count)))


def test_an_unknown_kind_of_size_is_told(csv):
    with pytest.raises(InputError, match="params, params_total, flops"):
        load_curves(csv(table()), size="neurons")


# -- stores -----------------------------------------------------------------------


def store_with(tmp_path, runs: dict[str, tuple[str, str]]) -> RunStore:
    """A store whose runs have the (sweep, status) given, each of a size of its own."""
    store = RunStore(tmp_path / "store", create=True)
    for position, (run_id, (sweep, status)) in enumerate(runs.items()):
        rows = [
            {"sweep": sweep, "run_id": run_id, "interactions": 100 * i, "return_mean": float(i)}
            for i in (1, 2, 3)
        ]
        columns = {"num_params": 1000 * 2**position, "task": "bandit", "family": "mlp"}
        record = RunRecord(sweep=sweep, run_id=run_id, status=status, config={}, columns=columns)
        store.add_curve(record, pa.Table.from_pylist(rows, schema=CURVE_SCHEMA))
    return store


def test_only_runs_that_are_done_are_used_of_a_store(tmp_path):
    store = store_with(
        tmp_path, {"a": ("s", "done"), "b": ("s", "failed"), "c": ("s", "done"), "d": ("s", "running")}
    )
    curves = load_curves(store.location)
    assert curves.run_ids == ("a", "c")
    assert curves.notes == ("2 runs were left out: not done (1 failed, 1 running).",)
    assert list(curves.table["task"]) == ["bandit", "bandit"]


def test_a_sweep_can_be_chosen(tmp_path):
    store = store_with(tmp_path, {"a": ("s", "done"), "b": ("t", "done"), "c": ("t", "done")})
    assert load_curves(store.location).num_runs == 3
    assert load_curves(store.location, sweep="t").run_ids == ("b", "c")
    refused(store.location, "no sweep named 'u'", sweep="u")


def test_a_store_without_a_finished_run_is_told(tmp_path):
    store = store_with(tmp_path, {"a": ("s", "failed"), "b": ("s", "running")})
    refused(store.location, r"no run that is done \(1 failed, 1 running\)")


def test_an_empty_store_is_told(tmp_path):
    refused(RunStore(tmp_path / "store", create=True).location, "it is empty")


def test_an_export_gives_the_curves_of_its_store(tmp_path):
    store = store_with(tmp_path, {"a": ("s", "done"), "b": ("s", "failed"), "c": ("t", "done")})
    path = tmp_path / "export.parquet"
    store.export(path)
    exported, stored = load_curves(path), load_curves(store.location)
    assert exported.run_ids == stored.run_ids == ("a", "c")
    np.testing.assert_array_equal(exported.returns, stored.returns)
    assert exported.notes == ("1 run was left out: not done (1 failed).",)
    assert load_curves(path, sweep="t").run_ids == ("c",)


def test_a_run_found_in_two_sweeps_is_used_once(csv):
    frame = pd.concat([table().assign(sweep="a"), table().assign(sweep="b")])
    curves = load_curves(csv(frame))
    assert curves.num_points == 20
    assert curves.notes == ("4 runs found in more than one sweep were used once.",)


def test_columns_of_a_store_cannot_be_renamed(tmp_path):
    store = store_with(tmp_path, {"a": ("s", "done")})
    refused(store.location, "fixed names", columns={"num_params": "n"})


# -- choosing ---------------------------------------------------------------------


def mixed() -> pd.DataFrame:
    """Four sizes of each of two tasks, the second with another horizon."""
    first = table().assign(task="digits", algorithm="ppo", horizon=8.0)
    second = table().assign(task="maze", algorithm="ppo", horizon=64.0)
    second["run_id"] = "m" + second["run_id"]
    return pd.concat([first, second])


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({"task": "digits"}, ("r0", "r1", "r2", "r3")),
        ({"horizon": 64}, ("mr0", "mr1", "mr2", "mr3")),
        ({"task": "maze", "algorithm": "ppo", "horizon": 64 * (1 + 1e-12)}, ("mr0", "mr1", "mr2", "mr3")),
    ],
)
def test_one_task_or_horizon_can_be_chosen(csv, options, runs):
    curves = load_curves(csv(mixed()), **options)
    assert curves.run_ids == runs
    assert curves.selection == Selection(**options)


def test_a_mixture_is_refused_with_what_there_is_and_the_option_that_picks_one(csv):
    refused(csv(mixed()), r"mixes 2 values of task \(digits, maze\).*pick one with task='digits'")
    refused(csv(mixed().drop(columns="task")), r"mixes 2 values of horizon \(8, 64\).*horizon=8.0")


def tuned(*sweeps: str) -> pd.DataFrame:
    """The same four runs in each of these sweeps, under ids of their own."""
    return pd.concat(
        [table().assign(sweep=name, run_id=lambda t, name=name: name + t["run_id"]) for name in sweeps]
    )


def test_a_tuning_sweep_beside_the_sweep_that_it_tuned_is_left_out(csv):
    curves = load_curves(csv(tuned("maze", "maze-tuning")))
    assert curves.run_ids == ("mazer0", "mazer1", "mazer2", "mazer3")
    assert curves.selection == Selection(sweep="maze")
    assert curves.notes == ("4 runs of maze-tuning, which tuned the learning rates of maze, were left out.",)
    assert load_curves(csv(tuned("maze", "maze-tuning")), sweep="maze-tuning").num_points == 20
    assert load_curves(csv(tuned("maze-tuning"))).notes == ()
    assert set(load_by(csv(tuned("maze", "maze-tuning")), "sweep")) == {"maze", "maze-tuning"}


@pytest.mark.parametrize("sweeps", [("maze", "other", "maze-tuning"), ("other", "maze-tuning")])
def test_a_tuning_sweep_beside_others_is_refused_with_their_names(csv, sweeps):
    refused(csv(tuned(*sweeps)), f"beside others: .*{sweeps[0]} \\(4 runs\\).*pick one sweep with --sweep")


def test_a_sweep_that_is_tuned_but_not_done_is_not_replaced_by_its_tuning(csv):
    frame = tuned("maze", "maze-tuning")
    frame["status"] = np.where(frame["sweep"] == "maze", "running", "done")
    refused(csv(frame), r"holds no run that is done \(4 running\)")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"task": "chess"}, "no run of task 'chess'; it has: digits, maze"),
        ({"algorithm": "dqn"}, "no run of algorithm 'dqn'; it has: ppo"),
        ({"horizon": 9.0}, "no run of horizon 9; it has: 8, 64"),
        ({"horizon": 8.0, "task": "maze"}, "no run of horizon 8; it has: 64"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(csv, options, text):
    refused(csv(mixed()), text, **options)


def test_what_has_no_column_cannot_be_chosen(csv):
    refused(csv(table()), "lacks the column 'task'", task="digits")


def test_each_horizon_can_be_read_apart(csv):
    by_horizon = load_by_horizon(csv(mixed().drop(columns="task")))
    assert list(by_horizon) == [8.0, 64.0]
    assert by_horizon[8.0].run_ids == ("r0", "r1", "r2", "r3")
    assert by_horizon[64.0].selection == Selection(horizon=64.0)
    assert list(load_by_horizon(csv(mixed()), task="maze")) == [64.0]


def test_horizons_that_are_not_known_cannot_be_read_apart(csv):
    with pytest.raises(InputError, match="lacks the column 'horizon'"):
        load_by_horizon(csv(table()))
    some = mixed().drop(columns="task")
    some.loc[some["run_id"] == "r1", "horizon"] = np.nan
    with pytest.raises(InputError, match="run r1: horizon must be a finite number"):
        load_by_horizon(csv(some))


def test_runs_of_a_store_can_be_chosen(tmp_path):
    store = store_with(tmp_path, {"a": ("s", "done"), "b": ("s", "done"), "c": ("s", "failed")})
    record = store.read_run("s", "b")
    table = store.read_curve("s", "b")
    store.add_curve(record.model_copy(update={"columns": {**record.columns, "task": "maze"}}), table)
    refused(store.location, "mixes 2 values of task")
    curves = load_curves(store.location, task="maze")
    assert curves.run_ids == ("b",)
    assert [run.run_id for run in read_store_record(store.location, curves.selection).runs] == ["b"]


def test_a_size_below_one_parameter_is_refused(csv):
    frame = table()
    frame["num_params"] /= 1e4  # in tens of thousands
    refused(csv(frame), r"run r0.*num_params.*below one parameter; state sizes in parameters")
    frame["flops_forward"] = 2 * frame["num_params"]
    assert load_curves(csv(frame), size="flops").run_sizes.max() < 2


@pytest.mark.parametrize(
    ("widths", "known"),
    [
        ([0.1, 0.2, 0.3, 0.4], True),
        ([0.1, 0.1, 0.3, 0.4], False),
        ([0.1, None, 0.3, 0.4], False),
    ],
)
def test_widths_are_known_where_each_size_has_its_own(csv, widths, known):
    frame = table()
    frame["width"] = frame["run_id"].map(dict(zip(["r0", "r1", "r2", "r3"], widths, strict=True)))
    found = load_curves(csv(frame)).widths
    assert (found is not None) == known
    if known:
        assert found.tolist() == widths
    assert load_curves(csv(table())).widths is None
