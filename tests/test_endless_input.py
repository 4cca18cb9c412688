"""Input that does not end, or that multiplies itself, is refused in one sentence; nothing waits for it."""

import os
from itertools import pairwise

import pytest

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.fit.result import read_fit
from rlscale.scaling.config.reading import load_yaml
from rlscale.scaling.errors import InputError
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
