"""A table is the same curves to ``rlscale fit`` and to ``rlscale curves import``, or the same refusal."""

import io
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.analysis.curves.load import load_curves
from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.importers.readers.runs import ReadOptions

ROWS = "a,100,10,0.1\na,100,20,0.2\nb,200,10,0.3\nb,200,20,0.4\n"
CSV = f"run_id,num_params,interactions,return_mean\n{ROWS}"
WITH_GAPS = CSV.replace("100,20", ",20").replace("200,10", "NA,10")


def parquet(**replaced: pa.Array) -> bytes:
    columns = {
        "run_id": ["a", "a", "b", "b"],
        "num_params": [100, 100, 200, 200],
        "interactions": [10, 20, 10, 20],
        "return_mean": [0.1, 0.2, 0.3, 0.4],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns | replaced), sink)
    return sink.getvalue().to_pybytes()


SAME = {
    "plain": ("x.csv", CSV, {}),
    "any ending": ("x.txt", CSV, {}),
    "semicolons and decimal commas": ("x.csv", CSV.replace(",", ";").replace(".", ","), {}),
    "tabs in UTF-16": ("x.tsv", CSV.replace(",", "\t").encode("utf-16"), {}),
    "spaces around names": ("x.csv", CSV.replace("num_params,", " num_params ,"), {}),
    "spaces around runs": ("x.csv", CSV.replace("a,100,20", " a ,100,20"), {}),
    "a size in some rows": ("x.csv", WITH_GAPS, {}),
    "an unnamed index": ("x.csv", "," + CSV.strip().replace("\n", "\n0,"), {}),
    "unused columns of one name": ("x.csv", CSV.replace("\n", ",x,x\n"), {}),
    "a break in a quoted cell": ("x.csv", CSV.replace("\n", ',"x\ny"\n'), {}),
    "Parquet by its content": ("x.csv", parquet(), {}),
    "numbers as bytes": ("x.parquet", parquet(interactions=pa.array([b"10", b"20", b"10", b"20"])), {}),
    "another name": ("x.csv", CSV.replace("num_params", "n"), {"num_params": "n"}),
    "one column for two": ("x.csv", CSV, {"episodes": "interactions"}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "columns"), SAME.values(), ids=SAME)
def test_fit_and_import_read_the_same_curves(tmp_path, name, content, columns):
    path, store = tmp_path / name, tmp_path / "store"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    import_curves(path, store, ImportOptions(read=ReadOptions(columns)))
    for curves in (load_curves(path, columns=columns), load_curves(store)):
        assert curves.run_ids == ("a", "b")
        np.testing.assert_array_equal(curves.run_sizes, [100, 200])
        np.testing.assert_array_equal(curves.interactions, [10, 20, 10, 20])
        np.testing.assert_array_equal(curves.returns, [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("word", ["NA", "nan", "null", "-NaN", "<NA>", "#N/A", "none", " "])
def test_a_word_for_no_value_is_no_value_and_may_name_a_run(tmp_path, word):
    path = tmp_path / "x.csv"
    path.write_text(
        f"run_id,num_params,task,interactions,return_mean\nNA,5,{word},1,0.5\nNA,5,{word},2,{word}\n"
    )
    result = import_curves(path, tmp_path / "store", ImportOptions())
    assert [(run.name, run.columns) for run in result.runs] == [("NA", {"num_params": 5})]
    curves = load_curves(path)
    assert curves.run_ids == ("NA",)
    assert curves.table["task"].isna().all()
    assert curves.notes[:1] == ("1 row without a return was skipped.",)


REFUSED = {
    "no run": ("x.csv", CSV.replace("b,200,10", ",200,10"), "invalid_value"),
    "a word for a number": ("x.csv", CSV.replace("b,200,10", "b,200,many"), "invalid_value"),
    "thousands": ("x.csv", CSV.replace("b,200,10", 'b,200,"1,000"'), "invalid_value"),
    "a list": ("x.parquet", parquet(interactions=pa.array([[1]] * 4)), "invalid_value"),
    "two sizes": ("x.csv", CSV.replace("b,200,10", "b,201,10"), "invalid_value"),
    "a step twice": ("x.csv", CSV + "b,200,20,0.5\n", None),
    "a column twice": ("x.csv", CSV.replace("\n", ",run_id\n"), "duplicate_column"),
    "no column": ("x.csv", CSV.replace("return_mean", "return"), "missing_column"),
    "a short row": ("x.csv", CSV + "b,200,30\n", "unreadable_file"),
    "header only": ("x.csv", CSV.splitlines()[0] + "\n", "no_rows"),
    "nothing": ("x.csv", "", "no_rows"),
    "an unknown packing": ("x.csv.xz", lzma.compress(CSV.encode()), "unreadable_file"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "code"), REFUSED.values(), ids=REFUSED)
def test_fit_and_import_refuse_the_same_tables_for_the_same_reason(tmp_path, name, content, code):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as of_fit:
        load_curves(path)
    with pytest.raises(InputError) as of_import:
        import_curves(
            path, tmp_path / "store", ImportOptions(format="parquet" if "parquet" in name else "csv")
        )
    if code is not None:
        assert of_fit.value.code == of_import.value.code == code
        assert str(of_fit.value) == str(of_import.value)


def test_a_learning_rate_that_changes_within_a_run_can_be_fitted(tmp_path):
    frame = pd.read_csv(io.StringIO(CSV)).assign(learning_rate=[1e-3, 1e-4, 1e-3, 1e-4])
    frame.to_csv(tmp_path / "x.csv", index=False)
    np.testing.assert_array_equal(load_curves(tmp_path / "x.csv").table["learning_rate"], [1e-3, 1e-3])
    with pytest.raises(InputError, match="give each run one learning_rate"):
        import_curves(tmp_path / "x.csv", tmp_path / "store", ImportOptions())
