"""Odd and wrong curves: files that are none, values that are none, runs that do not fit together."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlscale.analysis.curves.curve_set import require_fittable
from rlscale.analysis.curves.load import curves_from_frame, load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import read_fit
from rlscale.analysis.forecast.sizes import forecast
from rlscale.cli import app
from rlscale.scaling.errors import InputError


def table(runs: int = 4, rows: int = 5) -> pd.DataFrame:
    """One run a size, returns in 0..1."""
    return pd.DataFrame(
        {
            "run_id": np.repeat([f"r{i}" for i in range(runs)], rows),
            "num_params": np.repeat(1000 * 2 ** np.arange(runs), rows),
            "interactions": np.tile(100 * np.arange(1, rows + 1), runs),
            "return_mean": np.linspace(0, 1, runs * rows),
        }
    )


CSV = table().to_csv(index=False)
TSV = CSV.replace(",", "\t")


def refused(source, text: str, **options) -> None:
    with pytest.raises(InputError, match=text) as caught:
        load_curves(source, **options) if isinstance(source, Path) else curves_from_frame(source)
    assert "\n" not in str(caught.value).strip()


def notes_of(frame: pd.DataFrame) -> str:
    return " ".join(curves_from_frame(frame).notes)


# -- files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mark.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("windows.csv", CSV.replace("\n", "\r\n").encode()),
        ("UPPER.CSV", CSV.encode()),
        ("tabs.tsv", CSV.replace(",", "\t").encode()),
        ("bars.txt", CSV.replace(",", "|").encode()),
        ("semicolons.csv", CSV.replace(",", ";").encode()),
        ("excel.csv", CSV.replace(",", ";").replace(".", ",").encode("utf-16")),
        ("comma.tsv", CSV.replace(",", "\t").replace(".", ",").encode()),
        ("utf16.csv.gz", gzip.compress(CSV.encode("utf-16"))),
        ("packed.csv.gz", gzip.compress(CSV.encode())),
        ("wider.csv", "\n".join(row + ",x" for row in CSV.split()).replace("x", "x,x").encode()),
    ],
)
def test_a_csv_file_is_read_however_it_was_written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    curves = load_curves(tmp_path / name)
    np.testing.assert_array_equal(curves.returns, table()["return_mean"])
    assert curves.run_ids == ("r0", "r1", "r2", "r3")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("blanks.csv", CSV.replace(",", " "), "lacks the column 'run_id'"),
        ("thousands.tsv", TSV.replace("\t1000\t", "\t1,000\t"), r"\(1,000\) is not a number; .* thousands"),
        (
            "two.tsv",
            TSV.replace("\t1.0\n", "\t0,99\n").replace("0.05", "0,05"),
            r"\(0,05\d+\) is not a number; .* decimal point",
        ),
        ("thousands.csv", CSV.replace(",1000,", ',"1,000",'), r"\(1,000\) is not a number; .* thousands sep"),
        (
            "unquoted.csv",
            CSV.replace(",1000,", ",1,000,"),
            "not a readable CSV file .*Expected 4 columns, got 5",
        ),
        ("comma.csv", CSV.replace(",1.0\n", ',"0,99"\n'), r"\(0,99\) is not a number; .* decimal point"),
        ("short.csv", CSV.replace("r1,2000,100,", "r1,2000,100 "), "Expected 4 columns, got 3"),
        ("twice.csv", CSV.replace("num_params,", "return_mean,"), "lacks the column 'num_params'"),
        ("dates.csv", CSV.replace(",100,", ",2026-01-01,"), r"\(2026-01-01\) is not a number"),
        ("half.csv", CSV.encode("utf-16")[:-1], "not a readable CSV file"),
        ("cut.csv.gz", gzip.compress(CSV.encode())[:-20], "not a readable CSV file"),
        ("plain.csv.gz", CSV, "not a readable CSV file"),
        ("text.parquet", CSV, "not a readable Parquet file .*another ending if it is CSV"),
        ("magic.csv", b"PAR1" + CSV.encode(), "not a readable Parquet file"),
        ("blank.csv", "\n", "not a readable CSV file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_remedy(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(tmp_path / name, text)


def test_names_that_look_like_numbers_stay_names(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(CSV.replace("r0", "1").replace("r1", "001").replace("r2", "NA").replace("r3", "1e0"))
    assert load_curves(path).run_ids == ("001", "1", "1e0", "NA")


def columns(**replaced: pa.Array) -> pa.Table:
    return pa.table({**{name: pa.array(table()[name]) for name in table()}, **replaced})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (columns(return_mean=pa.array([[1.0]] * 20)), "column return_mean: holds list.*one value a row"),
        (columns(run_id=pa.array([{"a": 1}] * 20)), "column run_id: holds struct"),
        (columns(return_mean=pa.array([True] * 20)), r"\(True\) is not a number; .* truth value"),
        (columns(interactions=pa.array([datetime.datetime(2026, 1, 1)] * 20)), "00:00:00.* is not a number"),
        (columns(num_params=pa.array(["many"] * 20)), r"row 1 \(and 19 more\).*\(many\) is not a number"),
        (columns(run_id=pa.array(["", *["a"] * 19])), "column run_id, row 1: the value is empty"),
        (columns(return_mean=pa.nulls(20)), "run r0: no row has a return_mean"),
        (
            columns(interactions=pa.nulls(20)),
            r"interactions, row 1 .*\(empty\) must be a finite number",
        ),
        (
            pa.Table.from_arrays(
                [*columns().columns, pa.array(range(20))], [*columns().column_names, "run_id"]
            ),
            "has 2 columns named 'run_id'; keep one",
        ),
    ],
)
def test_a_column_that_cannot_be_used_is_told(tmp_path, content, text):
    pq.write_table(content, tmp_path / "curves.parquet")
    refused(tmp_path / "curves.parquet", text)


@pytest.mark.parametrize(
    "content",
    [
        columns(run_id=pa.array(table()["run_id"]).dictionary_encode()),
        columns(run_id=pa.array(table()["run_id"], pa.large_string())),
        columns(run_id=pa.array([name.encode() for name in table()["run_id"]])),
        columns(num_params=pa.array([f" {n} " for n in table()["num_params"]])),
        columns(num_params=pa.array([decimal.Decimal(int(n)) for n in table()["num_params"]])),
        columns(interactions=pa.array(table()["interactions"].astype("uint64"))),
        columns(other=pa.array([[1.0]] * 20)),
    ],
)
def test_types_that_mean_the_same_give_the_same_curves(tmp_path, content):
    pq.write_table(content, tmp_path / "curves.parquet")
    found, wanted = load_curves(tmp_path / "curves.parquet"), curves_from_frame(table())
    assert found.run_ids == wanted.run_ids
    for name in ("run_sizes", "run_index", "interactions", "returns"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_damaged_page_of_a_parquet_file_is_told(tmp_path):
    path = tmp_path / "curves.parquet"
    table().to_parquet(path)
    content = bytearray(path.read_bytes())
    content[30:60] = b"\xff" * 30
    path.write_bytes(bytes(content))
    refused(path, "not a readable Parquet file")


def test_a_folder_that_is_no_store_is_told(tmp_path):
    (tmp_path / "curves.csv").write_text(CSV)
    refused(tmp_path, "holds no run: it is empty or no store; give a store .* or a Parquet or CSV file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
def test_what_may_not_be_read_is_told(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(CSV)
    path.chmod(0)
    os.seteuid(65534)
    try:
        refused(path, r"cannot be read \(Permission denied\); give a file that you may read")
    finally:
        os.seteuid(0)


def test_a_renaming_to_a_column_that_is_not_known_is_told(tmp_path):
    (tmp_path / "curves.csv").write_text(CSV)
    refused(tmp_path / "curves.csv", "there is no column 'params' to fill", columns={"params": "num_params"})


# -- values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("return_mean", [[1.0]] * 20, r"\(\[1\.0\]\) is not a number"),
        ("return_mean", [1j] * 20, "is not a number"),
        ("return_mean", [pd.Timedelta("1s")] * 20, "is not a number"),
        ("return_mean", [True, *[0.5] * 19], "truth value"),
        ("interactions", [-1.0] * 20, "must be positive"),
        ("run_id", [None] * 20, r"column run_id, row 1 \(and 19 more\): the value is empty"),
        ("task", ["a", "b"] * 10, r"column task, row 2 .*\(b\) differs from .*\(a\); give each run one task"),
        ("status", ["done", "running"] * 10, r"column status, row 2 .*\(running\) differs"),
        ("horizon", ["long"] * 20, r"column horizon, row 1 .*\(long\) is not a number"),
        ("status", [None] * 20, r"no run that is done \(4 none\)"),
    ],
)
def test_values_of_a_frame_that_cannot_be_used_are_told(column, values, text):
    refused(table().assign(**{column: values}), text)


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", None, np.nan, pd.NA])
def test_what_stands_for_no_return_is_skipped(missing):
    frame = table().astype({"return_mean": object})
    frame.loc[3, "return_mean"] = missing
    curves = curves_from_frame(frame)
    assert curves.notes == ("1 row without a return was skipped.",)
    assert curves.num_points == 19


# -- runs -------------------------------------------------------------------------


def test_sizes_that_differ_by_rounding_are_one_size_and_told():
    frame = pd.concat([table(), table().assign(run_id="s" + table()["run_id"])])
    frame["num_params"] = np.where(frame["run_id"] == "s0", 1000.4, frame["num_params"])
    frame = frame.replace({"run_id": {"sr0": "s0"}})
    frame.loc[(frame["run_id"] == "s0"), "num_params"] = 1000.4
    curves = curves_from_frame(frame)
    np.testing.assert_array_equal(curves.sizes, [1000, 2000, 4000, 8000])
    assert curves.notes == ("Sizes 1000, 1000.4 differ by less than 0.5% and count as one, 1000.",)


def test_the_size_that_most_runs_have_stands_for_the_others():
    frame = table().astype({"num_params": float})
    frame["num_params"] = frame["run_id"].map({"r0": 1000.0, "r1": 1001.0, "r2": 1001.0, "r3": 1005.01})
    np.testing.assert_array_equal(curves_from_frame(frame).run_sizes, [1001, 1001, 1001, 1005.01])


def test_sizes_one_percent_apart_stay_apart_and_are_told():
    frame = table().astype({"num_params": float})
    frame["num_params"] = frame["run_id"].map({"r0": 1000.0, "r1": 1010.0, "r2": 4000.0, "r3": 8000.0})
    curves = curves_from_frame(frame)
    assert len(curves.sizes) == 4
    assert "Sizes 1000 and 1010 are close, yet count as different" in curves.notes[0]


def test_a_run_on_another_scale_is_named():
    frame = table()
    frame.loc[frame["run_id"] == "r2", "return_mean"] *= 100
    assert "Returns of r2 (up to 73.7) are on another scale than those of most runs" in notes_of(frame)


def test_a_run_far_below_the_others_of_its_size_is_named_and_an_agent_that_learned_nothing_is_not():
    frame = table()
    frame["num_params"] = frame["run_id"].map({"r0": 1000, "r1": 2000, "r2": 4000, "r3": 4000})
    frame.loc[frame["run_id"] == "r3", "return_mean"] /= 1000
    assert "Returns of r3" in notes_of(frame)
    frame = table()
    frame.loc[frame["run_id"] == "r0", "return_mean"] /= 1000
    assert notes_of(frame) == ""


def test_runs_of_one_size_that_end_far_apart_are_told():
    frame = pd.concat([table(), table().assign(run_id="s" + table()["run_id"])])
    frame = frame[(frame["run_id"] != "sr1") | (frame["interactions"] <= 100)]
    assert "Runs of size 2000 end between 100 and 500 interactions" in notes_of(frame)
    assert "1 run has a single row" in notes_of(frame)


@pytest.mark.parametrize(("column", "said"), [("num_params", "Sizes"), ("interactions", "Numbers of inter")])
def test_a_unit_that_is_not_the_same_everywhere_is_asked_about(column, said):
    frame = table().astype({column: float})
    frame.loc[frame["run_id"] == "r3", column] *= 1e6
    assert f"{said}" in notes_of(frame)
    assert "check that all have the same unit" in notes_of(frame)


def test_a_run_of_one_name_that_is_another_in_another_sweep_is_refused():
    other = table().assign(sweep="b", num_params=table()["num_params"] * 2)
    refused(
        pd.concat([table().assign(sweep="a"), other]),
        "run r0: num_params is not the same in each .*sweep='a'",
    )


def test_runs_without_a_setting_go_with_the_others_and_are_told():
    frame = table().assign(horizon=np.repeat([8.0, np.nan], 10))
    assert notes_of(frame) == "2 runs without a horizon were used with the others."


# -- what a fit needs -------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (table().assign(return_mean=0.1), r"returns do not vary \(0\.1 to 0\.1\)"),
        (table().assign(return_mean=0.1 * (1 + 1e-16 * np.arange(20))), "returns do not vary"),
        (table().assign(return_mean=1e-300 * np.arange(20)), "vary by less than 1e-100; state them in"),
        (table(rows=1), "no size has returns at more than one number of interactions"),
        (table(runs=2), "has 2 sizes .* at least 3"),
    ],
)
def test_curves_that_cannot_determine_a_law_are_refused(frame, text):
    with pytest.raises(InputError, match=text):
        require_fittable(curves_from_frame(frame))


def test_a_fit_of_another_version_is_told(tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps({"kind": "rlscale fit", "schema_version": 99}))
    with pytest.raises(
        InputError, match=r"fit\.json has schema_version 99, this version reads \d+; write one"
    ):
        read_fit(path)


def test_a_compute_that_is_none_is_told():
    curves = SyntheticSweep(points=30, seeds=1).curves(np.random.default_rng(0))
    fit = JointScalingFit(replicates=0).fit(curves)
    for compute in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="Compute must be a positive"):
            forecast(fit, [compute])


def test_the_command_line_picks_a_task_of_a_mixture(tmp_path):
    path, out = tmp_path / "curves.csv", tmp_path / "fit.json"
    frame = curves_frame(SyntheticSweep(points=30, seeds=1).curves(np.random.default_rng(0)))
    other = frame.assign(run_id="m" + frame["run_id"], task="maze", horizon=64)
    pd.concat([frame.assign(task="digits", horizon=8), other]).to_csv(path, index=False)
    picked = ["--task", "maze", "--horizon", "64", "--bootstrap", "0", "--json", str(out)]
    runner = CliRunner()
    refusal = runner.invoke(app, ["fit", str(path), "--bootstrap", "0"]).exception
    assert isinstance(refusal, InputError)
    assert "mixes 2 values of task (digits, maze)" in str(refusal)
    assert "pick one with --task digits" in str(refusal)
    assert runner.invoke(app, ["fit", str(path), *picked]).exit_code == 0
    provenance = read_fit(out).provenance
    assert (provenance.task, provenance.horizon, provenance.sweep) == ("maze", 64.0, None)
    assert all(run.startswith("m") for run in provenance.run_ids)
