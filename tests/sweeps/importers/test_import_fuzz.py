"""Any source is either stored correctly or refused in a sentence."""

import json
import math
import tempfile
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.importers.readers.runs import FORMATS, ReadOptions
from rlscale.sweeps.store.run_store import RunStore

fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

MONITOR = b'#{"t_start": 1.5, "env_id": "x"}\nr,l,t\n1.5,10,0.1\n2.5,20,0.2\n'
SB3 = b"time/total_timesteps,rollout/ep_rew_mean\n256,1.5\n512,2.5\n"
RLLIB = b"training_iteration,timesteps_total,episode_reward_mean\n1,10,1.5\n2,20,2.5\n"
WIDE = b'"Step","a - x","a - x__MIN"\n1,1.5,1\n2,2.5,2\n'
LONG = b"_step,global_step,x,run\n0,10,1.5,a\n1,20,2.5,a\n"
LINES = (
    b'{"run_id": "a", "num_params": 5, "interactions": 1, "return_mean": 1.5}\n'
    b'{"run_id": "a", "num_params": 5, "interactions": 2, "return_mean": null}\n'
)
TIDY = b"run_id,num_params,interactions,return_mean\na,5,1,1.5\na,5,2,2.5\nb,7,1,0.5\n"


def events() -> bytes:
    """An event file of two points."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            for step in (1, 2):
                value = summary_pb2.Summary.Value(tag="rollout/ep_rew_mean", simple_value=step + 0.5)
                event = event_pb2.Event(wall_time=step, step=step, summary=summary_pb2.Summary(value=[value]))
                RecordWriter(file).write(event.SerializeToString())
            content = path.read_bytes() if not file.flush() else b""
    return content


def parquet() -> bytes:
    """The tidy file as Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        frame = pd.DataFrame(
            {"run_id": ["a", "a"], "num_params": 5, "interactions": [1, 2], "return_mean": 1.5}
        )
        frame.to_parquet(path)
        return path.read_bytes()


#: A source of each kind: the file's name in its folder, and what it holds.
SOURCES = {
    "tidy": ("curves.csv", TIDY),
    "parquet": ("curves.parquet", parquet()),
    "lines": ("curves.jsonl", LINES),
    "events": ("events.out.tfevents.1.host", events()),
    "monitor": ("monitor.csv", MONITOR),
    "sb3": ("progress.csv", SB3),
    "rllib": ("progress.csv", RLLIB),
    "wide": ("wandb.csv", WIDE),
    "long": ("wandb.csv", LONG),
}


def try_to_import(
    name: str, content: bytes, *, mapping=("sizes.yaml", b"'*': 100\n"), tag=None, **options
) -> bool:
    """Import a file; if that succeeds, all that is stored must be as it should. Returns whether it did."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        (folder / name).write_bytes(content)
        (Path(place) / mapping[0]).write_bytes(mapping[1])
        read = ReadOptions(tag=tag)
        sizes = None if name.startswith("curves") else Path(place) / mapping[0]
        options = ImportOptions(read=read, sizes=sizes, **options)
        result, refusal = None, None
        try:
            result = import_curves(folder / name, Path(place) / "store", options)
        except InputError as error:
            refusal = str(error)
        if result is None:
            assert refusal.isprintable()
            assert not (Path(place) / "store").exists()
            return False
        assert all(note.isprintable() for note in result.notes)
        json.dumps(result.as_json(), allow_nan=False)
        store = RunStore(Path(place) / "store")
        records = list(store.runs())
        assert len(records) == len(result.runs) > 0
        for record in records:
            check_stored(record.columns, store.read_curve(record.sweep, record.run_id).to_pydict())
        return True


def check_stored(columns, rows) -> None:
    assert isinstance(columns["num_params"], int)
    assert columns["num_params"] > 0
    assert all(isinstance(step, int) and step > 0 for step in rows["interactions"])
    assert rows["interactions"] == sorted(set(rows["interactions"]))
    returns = [value for value in rows["return_mean"] if value is not None]
    assert returns
    assert all(math.isfinite(value) for value in returns)
    assert not any(value != value for values in rows.values() for value in values if isinstance(value, float))


@pytest.mark.parametrize("kind", SOURCES)
def test_each_source_is_good_before_it_is_damaged(kind):
    assert try_to_import(*SOURCES[kind], tag="x" if kind == "long" else None)


@fuzz
@given(st.sampled_from(sorted(SOURCES)), st.binary(max_size=200), st.sampled_from([None, *FORMATS]))
def test_any_bytes_under_any_name_in_any_format(kind, content, kind_asked):
    try_to_import(SOURCES[kind][0], content, format=kind_asked)


@pytest.mark.parametrize("kind", SOURCES)
@fuzz
@given(data=st.data())
def test_damaged_files(kind, data):
    """Bytes changed, removed and inserted anywhere in a good file."""
    name, content = SOURCES[kind]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 8)))
        content = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    try_to_import(name, content, tag="x" if kind == "long" else None)


CELLS = st.one_of(
    st.none(),
    st.integers(-3, 30),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["", "nan", "inf", "-inf", "1e999", "-0.0", "12", "1_0", "٣", "a", "a b", "\x00", "\n", '"', ","]
    ),
    st.text(max_size=4),
    st.booleans(),
)
KNOWN = ["run_id", "num_params", "interactions", "return_mean"]
OTHERS = [
    "seed",
    "task",
    "sweep",
    "status",
    "episodes",
    "wall_seconds",
    "flops_forward",
    "learning_rate",
    "colour",
]


@pytest.mark.parametrize("name", ["curves.csv", "curves.parquet"])
@fuzz
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS, CELLS), max_size=6),
    others=st.lists(st.sampled_from(OTHERS + KNOWN), min_size=2, max_size=2),
    good=st.sets(st.sampled_from(KNOWN)),
)
def test_tables_of_anything(name, rows, others, good):
    """Some of the required columns are correct, so that the others decide."""
    frame = pd.DataFrame(rows, columns=[*KNOWN, *others], dtype=object)
    fine = {"run_id": "a", "num_params": 100, "interactions": range(1, len(rows) + 1), "return_mean": 0.5}
    for column in good:
        frame = frame.loc[:, ~frame.columns.duplicated()].assign(**{column: fine[column]})
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        with suppress(Exception):  # not every table can be written
            frame.to_csv(path, index=False) if name.endswith(".csv") else frame.to_parquet(path, index=False)
        content = path.read_bytes() if path.exists() else b""
    try_to_import(name, content)


@pytest.mark.parametrize("kind", ["monitor", "sb3", "rllib", "wide", "long"])
@fuzz
@given(data=st.data())
def test_logs_of_anything(kind, data):
    """Good headers above any cells."""
    name, content = SOURCES[kind]
    lines = content.decode().splitlines()
    head = lines[: 2 if kind == "monitor" else 1]
    width = head[-1].count(",") + 1
    cell = st.one_of(
        st.integers(0, 40).map(str), st.sampled_from(["", "nan", "inf", "-1", "0.5", "1e300", "a", "9" * 30])
    )
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=6))
    text = "\n".join([*head, *(",".join(row) for row in rows)]) + "\n"
    scale = data.draw(st.sampled_from([None, 0.25, 4.0, 1e-300, 1e300]))
    try_to_import(name, text.encode(), tag="x" if kind == "long" else None, steps_scale=scale)


NAMES = st.one_of(
    st.sampled_from(["*", "run", "r?n", "[", "[!", "[z-a]", "num_params", "seed", "task", ""]),
    st.text(max_size=3),
)
WORDS = st.one_of(st.text(max_size=4), st.sampled_from(["1k", "2M"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 10**20), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)


@fuzz
@given(st.one_of(st.dictionaries(NAMES, VALUES, max_size=4), VALUES), st.sampled_from(["yaml", "json"]))
@example({"*": {"num_params": 10, "seed": float("nan")}}, "json")
@example({"*": {"num_params": "1e99"}}, "yaml")
def test_mappings_of_anything(entries, suffix):
    text = json.dumps(entries) if suffix == "json" else yaml.safe_dump(entries)
    try_to_import("progress.csv", SB3, mapping=(f"sizes.{suffix}", text.encode()))


@fuzz
@given(st.binary(max_size=60), st.sampled_from(["sizes.yaml", "sizes.json", "sizes.csv", "sizes"]))
def test_mappings_of_any_bytes(content, name):
    try_to_import("progress.csv", SB3, mapping=(name, content))


@fuzz
@given(st.lists(st.lists(st.one_of(NAMES, st.just("12k")), min_size=1, max_size=4), max_size=4))
def test_mappings_of_any_cells(rows):
    text = "\n".join(["run,num_params,seed", *(",".join(row) for row in rows)])
    try_to_import("progress.csv", SB3, mapping=("sizes.csv", text.encode("utf-8", "surrogatepass")))


@fuzz
@given(st.text(alphabet="()[]{}?*+|\\^$.:<>=!Pn12run", max_size=10), st.booleans())
@example("(?P<num_params>" + "(" * 200, False)
@example("x{99999999999}", True)
def test_patterns_of_anything(pattern, with_group):
    """Any pattern that can be read in little time; the time that one takes is its writer's choice."""
    pattern = f"(?P<num_params>{pattern})" if with_group else pattern
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run12"
        folder.mkdir()
        (folder / "progress.csv").write_bytes(SB3)
        with suppress(InputError):
            import_curves(folder, Path(place) / "store", ImportOptions(size_pattern=pattern))
