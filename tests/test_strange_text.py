"""Names and bytes that are no plain text: said as far as they can be shown, and never obeyed."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.reports.report import write_report
from rlscale.cli import main
from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.running.drivers import DriverRecord, drivers
from rlscale.sweeps.running.missing import to_retry
from rlscale.sweeps.running.status import SweepReader
from rlscale.sweeps.store.check import check_sweep
from rlscale.sweeps.store.run_store import RunStore

STRANGE = "a\x1b[31m\u202e<b>$x^$"  # red, from right to left, bold, and mathematics


def frame(**columns) -> pd.DataFrame:
    """Two runs of four sizes."""
    sweep = SyntheticSweep(sizes=(1e3, 2e3, 4e3, 8e3), seeds=2, points=12, max_interactions=1e6, N_c=0.01)
    return curves_frame(sweep.curves(np.random.default_rng(0))).assign(**columns)


@pytest.fixture
def told(monkeypatch, capfdbinary):
    """Run the command in this process, on a terminal with an encoding; its status, output and errors."""

    def run(*arguments: object, encoding: str = "utf-8") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlscale", *map(str, arguments)])
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        try:
            main()
            status = 0
        except SystemExit as error:
            status = error.code
        for stream in streams:
            stream.flush()
        return (status, *(stream.buffer.getvalue().decode(encoding) for stream in streams))

    return run


@pytest.mark.parametrize("dtype", [pa.binary(), pa.large_binary(), pa.binary(4)])
@pytest.mark.parametrize("read", ["curves", "import"])
def test_run_ids_of_bytes_that_are_no_text_are_refused(tmp_path, dtype, read):
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    ids = pa.array([b"\xff\xfe%02d" % (row // 12) for row in range(len(table))], dtype)
    path = tmp_path / "curves.parquet"
    pq.write_table(table.set_column(0, "run_id", ids), path)
    with pytest.raises(InputError, match="column run_id: holds bytes that are no text in UTF-8"):
        load_curves(path) if read == "curves" else import_curves(path, tmp_path / "s", ImportOptions())
    pq.write_table(
        table.set_column(0, "run_id", pa.array([f"r{n // 12:02d}".encode() for n in range(96)])), path
    )
    assert load_curves(path).run_ids[0] == "r00"


def test_folders_whose_names_are_not_utf_8_are_left_out_by_name(tmp_path, claim, told):
    store = RunStore(tmp_path / "store", create=True)
    claim(store, "r1")
    sweep = os.fsencode(tmp_path / "store" / "sweep=s")
    os.mkdir(sweep + b"/run=\xff")
    os.mkdir(os.fsencode(tmp_path / "store") + b"/sweep=\xfe")
    (tmp_path / "store" / "sweep=s (copy)").mkdir()
    Path(os.fsdecode(sweep + b"/run=r1/\xff")).write_bytes(b"")
    said: list[str] = []
    assert [run.run_id for run in store.runs("s", lambda error: said.append(str(error)))] == ["r1"]
    assert ["run=\\xff has no name of a run" in each for each in said] == [True]
    assert [status.run_id for status in SweepReader(store, "s").read()] == ["r1"]
    assert to_retry(store, "s", {}) == ([], [])
    assert any("run=\\xff" in finding.problem for finding in check_sweep(store, "s"))
    status, out, err = told("sweep", "check", store.location)
    assert (status, err) == (1, "")
    assert "sweep=\\xfe has no name of a sweep" in out
    assert "sweep=s (copy) has no name of a sweep" in out


@pytest.mark.parametrize("pid", [10**30, 2**31, 0, -1, "x"])
def test_a_driver_with_an_absurd_process_is_no_driver(tmp_path, claim, pid):
    store = RunStore(tmp_path / "store", create=True)
    claim(store, "r1")
    record = DriverRecord(driver_id="abc", host="h", pid=1, started="", updated="").model_dump()
    store.write_file("s", "drivers/abc.json", json.dumps({**record, "pid": pid}).encode())
    assert drivers(store, "s") == {}
    assert SweepReader(store, "s").read_state().drivers == []


@pytest.mark.parametrize(
    "words", [("theory", "td", "--states", "10"), ("fit", "curves.csv", "--bootstrap", "0")]
)
def test_a_terminal_that_knows_ascii_only_gets_every_result(tmp_path, monkeypatch, told, words):
    monkeypatch.chdir(tmp_path)
    frame(task="é").to_csv("curves.csv", index=False)
    status, out, err = told(*words, encoding="ascii")
    assert (status, err) == (0, "")
    assert "?" in out  # in place of what it cannot show


def test_names_are_shown_and_never_obeyed_in_the_report(tmp_path):
    table = frame(task=STRANGE, algorithm=STRANGE, colour=STRANGE)
    table["run_id"] = STRANGE + table["run_id"]
    table.to_parquet(tmp_path / "curves.parquet", index=False)
    curves = load_curves(tmp_path / "curves.parquet")
    paths = write_report(curves, JointScalingFit(replicates=0).fit(curves), tmp_path / "page.html")
    for path in (paths.html, *paths.svg.values()):
        text = path.read_text()
        assert all(character.isprintable() or character == "\n" for character in text), path
        assert "<b>$x" not in text
    assert "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}&lt;b&gt;$x^$" in paths.html.read_text()


def test_names_are_shown_and_never_obeyed_in_a_terminal(tmp_path, told):
    table = frame(task=STRANGE, return_mean=np.nan)
    table["run_id"] = STRANGE + table["run_id"]
    table.to_parquet(tmp_path / "curves.parquet", index=False)
    status, out, err = told("fit", tmp_path / "curves.parquet", "--bootstrap", "0")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
