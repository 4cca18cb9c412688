"""Input that does not end, or that multiplies itself, is refused in one sentence; nothing waits for it."""

import bz2
import gzip
import os
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.fit.result import read_fit
from rlscale.scaling.config.reading import load_yaml
from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.digits.images import read_idx
from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.specs.spec import load_spec
from rlscale.sweeps.store.run_store import RunStore

READERS = {
    "curves": load_curves,
    "a fit": read_fit,
    "a spec": load_spec,
    "a config": load_yaml,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_in_place_of_a_file_is_refused(tmp_path, read, kind):
    path = tmp_path / "input"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a pipe or a device") as caught:
        read(path)
    assert caught.value.code == "not_a_file"


@pytest.mark.parametrize("name", ["progress.csv", "monitor.csv", "events.out.tfevents.1.host", "x.csv"])
def test_a_pipe_in_a_folder_of_logs_is_refused(tmp_path, name):
    (tmp_path / "logs" / "run").mkdir(parents=True)
    os.mkfifo(tmp_path / "logs" / "run" / name)
    with pytest.raises(InputError):
        import_curves(tmp_path / "logs", str(tmp_path / "store"), ImportOptions())


@pytest.mark.parametrize("name", ["run.json", "lease-000001-0123abcd.json", "curve.parquet"])
def test_a_pipe_in_a_store_costs_its_run_only(tmp_path, claim, name):
    store = RunStore(tmp_path / "store", create=True)
    claim(store, "r1")
    claim(store, "r2")
    folder = tmp_path / "store" / "sweep=s" / "run=r1"
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    left_out = []
    found = [record.run_id for record in store.runs("s", left_out.append)]
    assert "r2" in found
    assert len(found) + len(left_out) == 2


def test_yaml_whose_aliases_multiply_is_refused(tmp_path):
    levels = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise(levels)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    (tmp_path / "loop.yaml").write_text("a: &a [*a]")
    (tmp_path / "fine.yaml").write_text("a: &a [1, 2]\nb: *a\nc: {<<: &d {x: 1}, y: 2}")
    for name in ("bomb", "loop"):
        with pytest.raises(InputError, match=r"once its aliases .* are written out") as caught:
            load_yaml(tmp_path / f"{name}.yaml")
        assert caught.value.code == "too_large"
    assert load_yaml(tmp_path / "fine.yaml") == {"a": [1, 2], "b": [1, 2], "c": {"x": 1, "y": 2}}


def test_a_config_of_many_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "large.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="too many for what it should hold"):
        load_yaml(path)


TABLE = "run_id,num_params,interactions,return_mean\n"


def compressed(path, kind: str) -> None:
    """A small file that unpacks to far more than a table of curves would: 300 MB, all the same."""
    line = b'{"run_id": "a", "num_params": 5}\n' if kind.startswith("jsonl") else b"a,5,1,1.5\n"
    block = line * (1 << 17)
    pack = gzip.compress if kind.endswith("gz") else bz2.compress
    packed = pack(block)
    path.write_bytes(pack(TABLE.encode()) + packed * (300_000_000 // len(block)))


@pytest.mark.parametrize("kind", ["csv.gz", "csv.bz2", "jsonl.gz"])
@pytest.mark.parametrize("read", ["curves", "import"])
def test_a_compressed_file_that_would_fill_the_memory_is_refused_unread(tmp_path, kind, read):
    path = tmp_path / f"bomb.{kind}"
    compressed(path, kind)
    with pytest.raises(InputError, match=r"bomb\.\w+\.\w+ holds over 50 times as many bytes") as caught:
        load_curves(path) if read == "curves" else import_curves(path, tmp_path / "store", ImportOptions())
    assert caught.value.code == "too_large"


def test_a_parquet_file_of_many_equal_rows_is_refused_by_its_footer(tmp_path):
    rows = pa.table({"run_id": ["a"] * 1_000_000, "num_params": [5] * 1_000_000})
    with pq.ParquetWriter(tmp_path / "bomb.parquet", rows.schema) as writer:
        for _ in range(10):
            writer.write_table(rows)
    with pytest.raises(InputError, match="holds over 50 times as many bytes"):
        load_curves(tmp_path / "bomb.parquet")


def test_a_compressed_file_of_measured_curves_is_read(tmp_path):
    """Forty runs that differ in little compress well."""
    rows = [
        f"run-{n}-{s},{1000 * 2**n},{100 * e},0.{e}{n}\n"
        for n in range(4)
        for s in range(10)
        for e in range(1, 50)
    ]
    (tmp_path / "curves.csv.gz").write_bytes(gzip.compress((TABLE + "".join(rows)).encode(), 9))
    assert len(load_curves(tmp_path / "curves.csv.gz").run_ids) == 40


def test_a_digit_file_that_unpacks_to_too_much_is_refused(tmp_path):
    (tmp_path / "images.gz").write_bytes(gzip.compress(bytes(51_000_000), 1))
    with pytest.raises(InputError, match="which none of MNIST's files does"):
        read_idx(tmp_path / "images.gz")
