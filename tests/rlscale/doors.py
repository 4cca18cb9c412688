"""Every command that reads what people give it, with inputs that are valid, and ways to spoil them.

``tests/rlscale/test_front_doors.py`` tries dozens of spoilt inputs, ``benchmarks/front_doors.py`` thousands.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from hypothesis import strategies as st

from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame

# -- commands ---------------------------------------------------------------------

#: Tiny fits: one process, few draws or none.
_FIT = ("--bootstrap", "0", "--workers", "1")
_DRAWN = ("--bootstrap", "20", "--workers", "1")

CONFIG = {
    "task": "digits-bandit",
    "interactions": 600,
    "checkpoints": 2,
    "model": {"width": 0.02},
    "agent": {"num_envs": 32},
}
SPEC = {"name": "s", "base": CONFIG, "axes": {"model.width": [0.02, 0.04], "seed": [0, 1]}}


@dataclass(frozen=True)
class Door:
    """A command line.

    Attributes:
        words: the command with its arguments; ``{table}`` stands for a file of curves of any kind.
        reads: the files among them, that can be spoilt.
        writes: what it may change: files, and folders with all in them.
        options: further options with good values, each of which can be spoilt.
        may_fail: whether status 1 is an answer too: what a check found, or runs that failed.
    """

    words: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    may_fail: bool = False


_OF_CURVES = (
    ("--size", "params"),
    ("--early-exclusion", "1/64"),
    ("--late-start", "auto"),
    ("--columns", "num_params=num_params"),
    ("--run-columns", "seed"),
    ("--duplicates", "mean"),
    ("--task", "t"),
    ("--horizon", "4"),
    ("--seed", "3"),
)
DOORS = {
    "fit": Door(
        ("fit", "{table}", *_FIT, "--json", "out.json"),
        ("{table}",),
        ("out.json",),
        (
            *_OF_CURVES,
            ("--by", "task"),
            ("--metric", "auto"),
            ("--unhealthy", "cut"),
            ("--objective", "paper"),
        ),
    ),
    "fit with draws": Door(("fit", "{table}", *_DRAWN, "--json", "out.json"), ("{table}",), ("out.json",)),
    "fit a store": Door(
        ("fit", "store", "--sweep", "imported", *_FIT, "--json", "out.json"),
        ("store",),
        ("out.json",),
        (("--sweep", "s"), ("--task", "t"), ("--size", "flops")),
    ),
    "forecast": Door(
        ("forecast", "fit.json", "--compute", "1e9", "--json", "out.json"),
        ("fit.json",),
        ("out.json",),
        (
            ("--compute", "1e12"),
            ("--flops", "1e15"),
            ("--gpu-hours", "3"),
            ("--gpu-flops", "1e14"),
            ("--utilization", "0.3"),
            ("--flops-per-param-interaction", "6"),
            ("--return", "0.5"),
            ("--env-cost", "100"),
            ("--reference-return", "0.4"),
            ("--reference-interactions", "1e5"),
        ),
    ),
    "forecast, sealed": Door(
        ("forecast", "fit.json", "--seal", "sealed.json", "--curves", "{table}", "--at", "3000:300000"),
        ("fit.json", "{table}"),
        ("sealed.json",),
        (("--at", "3000:200000:2"), ("--compute", "1e9"), ("--title", "a title")),
    ),
    "forecast score": Door(
        ("forecast", "score", "statement.json", "--curves", "other.csv", "--json", "out.json"),
        ("statement.json", "other.csv"),
        ("out.json",),
        (("--size", "params"), ("--columns", "num_params=num_params")),
    ),
    "suggest": Door(
        ("suggest", "fit.json", "--budget", "1e10", "--json", "out.json"),
        ("fit.json",),
        ("out.json",),
        (("--budget", "1e11"), ("--target-compute", "1e12")),
    ),
    "backtest": Door(
        ("backtest", "{table}", *_FIT, "--json", "out.json"),
        ("{table}",),
        ("out.json",),
        (
            ("--hold-out-sizes", "1"),
            ("--compute-cutoff", "1e9"),
            ("--cutoff-share", "0.3"),
            ("--size", "params"),
            ("--early-exclusion", "1/64"),
        ),
    ),
    "horizon": Door(
        ("horizon", "horizons.csv", *_FIT, "--json", "out.json"),
        ("horizons.csv",),
        ("out.json",),
        (("--level", "0.5"), ("--predict", "1e4:8"), ("--early-exclusion", "1/64")),
    ),
    "horizon, again": Door(
        ("horizon", "horizon.json", "--json", "out.json"),
        ("horizon.json",),
        ("out.json",),
        (("--predict", "1e4:8"),),
    ),
    "compare": Door(
        ("compare", "{table}", "other.csv", "--bootstrap", "20", "--json", "out.json"),
        ("{table}", "other.csv"),
        ("out.json",),
        (
            ("--factor", "1.5"),
            ("--early-exclusion", "1/64"),
            ("--seal", "sealed.json"),
            ("--compute", "1e9"),
            ("--by", "task"),
            ("--size", "params"),
        ),
    ),
    "report": Door(
        ("report", "{table}", *_FIT, "--no-backtest", "--out", "page.html"),
        ("{table}",),
        ("page.html", "page_figures"),
    ),
    "report of a fit": Door(
        ("report", "curves.csv", "--fit", "fit.json", "--no-backtest", "--out", "page.html"),
        ("curves.csv", "fit.json"),
        ("page.html", "page_figures"),
    ),
    "import": Door(
        ("curves", "import", "{table}", "--store", "new", "--json", "out.json"),
        ("{table}",),
        ("new", "out.json"),
        (
            ("--format", "csv"),
            ("--columns", "num_params=num_params"),
            ("--run-columns", "seed"),
            ("--duplicates", "last"),
            ("--tag", "x"),
            ("--sizes", "sizes.yaml"),
            ("--size-pattern", "n(?P<num_params>\\d+)"),
            ("--steps-scale", "0.25"),
            ("--sweep", "other"),
            ("--task", "t"),
        ),
    ),
    "import logs": Door(
        ("curves", "import", "logs", "--store", "new", "--sizes", "sizes.yaml", "--json", "out.json"),
        ("logs", "sizes.yaml"),
        ("new", "out.json"),
    ),
    "show": Door(("curves", "show", "store"), ("store",), (), (("--sweep", "imported"),)),
    "export": Door(
        ("curves", "export", "store", "--out", "out.parquet"),
        ("store",),
        ("out.parquet",),
        (("--sweep", "s"),),
    ),
    "plan": Door(
        ("sweep", "plan", "spec.yaml", "--no-estimate", "--json", "out.json"), ("spec.yaml",), ("out.json",)
    ),
    "status": Door(
        ("sweep", "status", "store", "--json", "out.json"),
        ("store",),
        ("out.json",),
        (("--sweep", "s"), ("--sweep", "imported")),
    ),
    "retry": Door(("sweep", "retry", "finished"), ("finished",), (), (("--sweep", "imported"),)),
    "check": Door(
        ("sweep", "check", "store", "--json", "out.json"), ("store",), ("out.json",), may_fail=True
    ),
    "repair": Door(("sweep", "check", "store", "--repair"), ("store",), ("store",), may_fail=True),
    "rescale": Door(
        ("config", "rescale", "config.yaml", "--by", "2", "--out", "out.yaml"),
        ("config.yaml",),
        ("out.yaml",),
        (("--by", "4"),),
    ),
    "train": Door(
        ("train", "config.yaml", "--store", "new", "--device", "cpu"),
        ("config.yaml",),
        ("new",),
        (("--sweep", "x"), ("--device", "cpu")),
    ),
    "train on": Door(
        ("train", "config.yaml", "--store", "store", "--sweep", "s", "--device", "cpu"),
        ("store",),
        ("store",),
        may_fail=False,
    ),
    "theory td": Door(
        ("theory", "td", "--states", "10", "--json", "out.json"),
        (),
        ("out.json",),
        (
            ("--gamma", "0.9"),
            ("--lambda", "0.5"),
            ("--n-step", "3"),
            ("--times", "1,3"),
            ("--example", "ring"),
            ("--states", "20"),
        ),
    ),
    "theory perceptron": Door(
        ("theory", "perceptron", "solve", "--json", "out.json"),
        (),
        ("out.json",),
        (
            ("--steps", "3"),
            ("--rate", "0.5"),
            ("--penalty", "0.1"),
            ("--needed", "2"),
            ("--bonus", "0.1"),
            ("--rho0", "0.1"),
            ("--q0", "2"),
            ("--alpha", "1,10"),
            ("--front", "1,2"),
            ("--rtol", "1e-6"),
        ),
    ),
}
TABLES = ("curves.csv", "curves.parquet", "curves.jsonl", "wide.csv")


def fill(place: Path) -> None:
    """Put a valid input of every kind into a folder."""
    from horizon_sweep import horizon_frame

    frame = _frame(seed=0)
    frame.to_csv(place / "curves.csv", index=False)
    frame.to_parquet(place / "curves.parquet", index=False)
    frame.to_json(place / "curves.jsonl", orient="records", lines=True)
    _wide(frame).to_csv(place / "wide.csv", index=False)
    other = _frame(seed=1).assign(return_mean=lambda table: table["return_mean"] * 0.9)
    other.assign(run_id="other-" + other["run_id"]).to_csv(place / "other.csv", index=False)
    small = horizon_frame((1.0, 4.0), noise=0.1, points=20)
    small[small["num_params"].isin(sorted(small["num_params"].unique())[:4])].to_csv(
        place / "horizons.csv", index=False
    )
    (place / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (place / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    (place / "sizes.yaml").write_text("'*': {num_params: 1000, task: t}\n")
    for run in ("a", "b"):
        (place / "logs" / run).mkdir(parents=True)
        (place / "logs" / run / "monitor.csv").write_text(
            '#{"t_start": 1.5, "env_id": "x"}\nr,l,t\n1.5,10,0.1\n2.5,20,0.2\n'
        )
    for words in (
        ("fit", "curves.csv", *_DRAWN, "--json", "fit.json"),
        ("forecast", "fit.json", "--seal", "statement.json", "--at", "3000:200000", "--compute", "1e9"),
        ("horizon", "horizons.csv", *_DRAWN, "--json", "horizon.json"),
        ("curves", "import", "curves.csv", "--store", "store"),
        ("curves", "import", "curves.csv", "--store", "finished"),
        ("train", "config.yaml", "--store", "store", "--sweep", "s", "--device", "cpu"),
    ):
        answer = ask(words, place)
        assert answer.status == 0, answer.err
    _half_a_run(place / "store")
    (place / "store" / "sweep=s" / "spec.json").write_text(json.dumps(SPEC))
    (place / "store" / "sweep=s" / "drivers").mkdir()
    (place / "store" / "sweep=s" / "drivers" / "abc.json").write_text(json.dumps(_driver()))


def _frame(seed: int) -> pd.DataFrame:
    """A small sweep: three runs of four sizes."""
    sweep = SyntheticSweep(
        sizes=(1000.0, 3000.0, 9000.0, 27000.0),
        seeds=2,
        points=16,
        max_interactions=1e6,
        noise=0.02,
        N_c=0.01,
    )
    frame = curves_frame(sweep.curves(np.random.default_rng(seed)))
    whole = {name: frame[name].round().astype(int) for name in ("num_params", "interactions")}
    return frame.assign(**whole, task="t", seed=seed)


def _wide(frame: pd.DataFrame) -> pd.DataFrame:
    """With more of the columns that a table may have."""
    return frame.assign(
        status="done",
        horizon=4.0,
        learning_rate=1e-3,
        flops_per_interaction=6.0 * frame["num_params"],
        flops_forward=2.0 * frame["num_params"],
        return_low=-1.0,
        return_high=2.0,
        sweep="w",
        wall_seconds=1.0,
    )


def _half_a_run(store: Path) -> None:
    """A second run of the sweep ``s`` that was interrupted after its first checkpoint."""
    from attempts import claim_run

    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.training.train import train
    from rlscale.sweeps.store.run_store import RunStore

    writer = claim_run(RunStore(store), run_config({**CONFIG, "seed": 1}, source="doors"), "s")
    reached = [0]
    train(
        run_config({**CONFIG, "seed": 1}, source="doors"),
        writer,
        on_progress=lambda interactions, _: reached.append(interactions),
        should_stop=lambda: reached[-1] >= 300,
    )


def _driver() -> dict[str, Any]:
    from rlscale.sweeps.running.drivers import DriverRecord

    time = "2026-01-01T00:00:00.000+00:00"
    return DriverRecord(driver_id="abc", host="h", pid=5, started=time, updated=time).model_dump()


# -- answers ----------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a command did: its exit status, and what it printed."""

    status: int
    out: str
    err: str


def ask(words: tuple[str, ...], place: Path) -> Answer:
    """Run a command in this process, in the folder ``place``."""
    from rlscale.cli import main

    out, err = io.StringIO(), io.StringIO()
    before, status = sys.argv, 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = ["rlscale", *words]
    try:
        with chdir(place), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        err.write(traceback.format_exc())
        status = 1
    finally:
        sys.argv = before
        for number, handler in handlers.items():  # training takes them
            signal.signal(number, handler)
    return Answer(status, out.getvalue(), err.getvalue())


_NOT_A_NUMBER = re.compile(r"(?<![\w./\\'\"-])[+-]?(nan|inf|infinity)(?![\w./\\'\"-])", re.IGNORECASE)
_WARNINGS = re.compile(r"rlscale: warning: .*\n")


def faults(answer: Answer, door: Door) -> list[str]:
    """What is wrong with an answer; nothing if it is a result, or one sentence that refuses the input."""
    found = []
    if answer.status not in ((0, 1, 2) if door.may_fail else (0, 2)):
        found.append(f"status {answer.status}")
    said = _WARNINGS.sub("", answer.err)
    for word in ("Traceback", "Warning: ", "Error: invalid"):
        if word in said:
            found.append(f"{word!r} on stderr")
    if answer.status == 0 and _NOT_A_NUMBER.search(answer.out):
        found.append("prints a number that is none")
    if answer.status == 0 and said.strip():
        found.append("says something on stderr besides warnings")
    if answer.status == 2 and not _is_one_sentence(said):
        found.append("does not refuse in one sentence")
    for text in (answer.out, answer.err):
        if not all(character.isprintable() or character == "\n" for character in text):
            found.append("prints characters that a terminal obeys")
    return found


def _is_one_sentence(said: str) -> bool:
    """One line of rlscale's, one for each problem of a config, or what click says of options it refuses."""
    lines = said.strip().splitlines()
    if len(lines) > 2 and lines[0].endswith(f" has {len(lines) - 1} problems:"):
        return all(line.startswith("  - ") for line in lines[1:])
    return (len(lines) == 1 and lines[0].startswith("rlscale: ") and len(lines[0]) > 12) or (
        bool(lines) and lines[0].startswith("Usage: ")
    )


def check_results(place: Path, door: Door) -> list[str]:
    """What is wrong with the files that a command wrote."""
    found = []
    for name in door.writes:
        path = place / name
        if name.endswith(".json") and path.is_file():
            try:
                json.loads(path.read_text(), parse_constant=_refuse)
            except ValueError as error:
                found.append(f"{name}: {error}")
        if name.endswith(".html") and path.is_file():
            text = re.sub(r"<(script|style|svg).*?</\1>|<[^>]*>", " ", path.read_text(), flags=re.DOTALL)
            if _NOT_A_NUMBER.search(text):
                found.append(f"{name} shows a number that is none")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def contents(place: Path, besides: tuple[str, ...] = ()) -> dict[str, bytes | None]:
    """Every file and folder in a folder but some, files with what they hold."""
    found: dict[str, bytes | None] = {}
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = Path(folder, name)
            place_of = path.relative_to(place)
            if place_of.parts[0] not in besides:
                is_file = path.is_file() and not path.is_symlink()
                found[str(place_of)] = path.read_bytes() if is_file else None
    return found


# -- inputs, spoilt ------------------------------------------------------------------

ODD_NUMBERS = (
    *(0, -1, -0.0, 1e-320, 1e-30, 1e308, -1e308, 1e60, 1e61, 2**31, 2**63, 10**30, 0.5, 3),
    *(math.nan, math.inf, -math.inf),
)
ODD_TEXTS = (
    *(
        "",
        " ",
        "nan",
        "null",
        "x" * 300,
        "a\x1b[31mred",
        "\u202eabc",
        "a\nb",
        "a\0b",
        "../../x",
        "run=x (copy)",
    ),
    *("é", "\ud800", "1e400", "1_000", "[bold]x[/bold]", "<b>&amp;</b>", "-1", "%s {0} {x}", "NaN"),
)
VALUES = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from((None, True, False, [], {}, [1], {"a": 1}, [[]])),
    st.floats(),
    st.integers(-(2**70), 2**70),
)


def spoilt_bytes(content: bytes, draw: Callable[[Any], Any]) -> bytes:
    """Bytes changed, removed, doubled or inserted at a few places, or the end cut off."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.sampled_from((0, 1, 1, 4, 64, 1000))))
        how = draw(st.sampled_from(("flip", "remove", "double", "insert", "cut")))
        if how == "flip" and content:
            bit = 1 << draw(st.integers(0, 7))
            content = content[:start] + bytes([content[start] ^ bit]) + content[start + 1 :]
        elif how == "remove":
            content = content[:start] + content[end:]
        elif how == "double":
            content = content[:end] + content[start:]
        elif how == "insert":
            content = content[:start] + draw(st.binary(max_size=6)) + content[start:]
        elif how == "cut":
            content = content[:start]
    return content


def spoilt_tree(value: Any, draw: Callable[[Any], Any]) -> Any:
    """A value as JSON or YAML has it, with a field removed, changed, renamed or added, once or twice."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        parents = list(_containers(value))
        parent = draw(st.sampled_from(parents))
        how = draw(st.sampled_from(("remove", "change", "change", "change", "add", "rename")))
        if not parent or how == "add":
            if isinstance(parent, dict):
                parent[draw(st.sampled_from(("unknown", "seed", "kind", "schema_version", "")))] = draw(
                    VALUES
                )
            else:
                parent.append(draw(VALUES))
            continue
        key = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
        if how == "remove":
            del parent[key]
        elif how == "rename" and isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        else:
            parent[key] = _near(parent[key], draw)
    return value


def _near(value: Any, draw: Callable[[Any], Any]) -> Any:
    """Another value, often of the same kind, so that it is not refused at once."""
    if isinstance(value, bool) or value is None or draw(st.integers(0, 2)) == 0:
        return draw(VALUES)
    if isinstance(value, int):
        return draw(st.sampled_from((0, -value, value + 1, 2 * value, 10**9 * value, -1, 1)))
    if isinstance(value, float):
        factor = draw(st.sampled_from((0.0, -1.0, 0.5, 3.0, 1e-9, 1e9, 1e40, 1e-40, 1e300)))
        return value * factor
    if isinstance(value, list):
        return draw(st.sampled_from((value[:-1], value[1:], value + value, value[::-1], [])))
    return draw(VALUES)


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value[:3]:
            yield from _containers(each)


def spoilt_table(frame: pd.DataFrame, draw: Callable[[Any], Any]) -> pd.DataFrame:
    """A table with cells, columns or rows changed, removed, renamed, doubled or of another type."""
    frame = frame.astype(object)
    for _ in range(draw(st.integers(1, 3))):
        if not len(frame.columns) or not len(frame):
            break
        column = draw(st.sampled_from(list(frame.columns)))
        how = draw(
            st.sampled_from(("cell", "cell", "column", "scale", "drop", "rename", "rows", "shift", "part"))
        )
        if how == "cell":
            rows = draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=4))
            place = list(frame.columns).index(column)
            frame.iloc[rows, place] = draw(VALUES.filter(lambda value: not isinstance(value, list | dict)))
        elif how == "column":
            frame[column] = draw(VALUES.filter(lambda value: not isinstance(value, list | dict)))
        elif how == "scale":
            numbers = pd.to_numeric(frame[column], errors="coerce")
            if numbers.notna().all():
                frame[column] = numbers * draw(st.sampled_from((0, -1, 1e-12, 1e12, 1e30, 1e-300, 1e300)))
        elif how == "shift":
            numbers = pd.to_numeric(frame[column], errors="coerce")
            if numbers.notna().all():
                frame[column] = numbers + draw(st.sampled_from((-1e3, 1e6, 1e15, 0.5)))
        elif how == "drop":
            frame = frame.drop(columns=column)
        elif how == "rename":
            new = draw(st.sampled_from(("return_mean", "run_id", "status", "unknown", "horizon", "")))
            frame = frame.rename(columns={column: new})
            frame = frame.loc[:, ~frame.columns.duplicated()]
        elif how == "rows":
            order = draw(st.sampled_from(("double", "reverse", "first", "none")))
            frame = {
                "double": pd.concat([frame, frame]),
                "reverse": frame[::-1],
                "first": frame[:1],
                "none": frame[:0],
            }[order]
        elif how == "part":
            most = draw(st.integers(1, len(frame)))
            frame = frame[:most]
    return frame


def spoil(place: Path, name: str, draw: Callable[[Any], Any]) -> None:
    """Spoil one of the inputs of ``fill``."""
    path = place / name
    if path.is_dir():
        _spoil_folder(path, draw)
    elif path.suffix in (".json", ".yaml"):
        _spoil_tree(path, draw)
    elif draw(st.integers(0, 3)) == 0:
        path.write_bytes(spoilt_bytes(path.read_bytes(), draw))
    elif path.suffix == ".parquet":
        _write_parquet(spoilt_table(pd.read_parquet(path), draw), path)
    else:
        _write_text(spoilt_table(_read(path), draw), path)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)


def _write_text(frame: pd.DataFrame, path: Path) -> None:
    lines = path.suffix == ".jsonl"
    text = (
        "".join(json.dumps(row, default=str) + "\n" for row in frame.to_dict("records"))
        if lines
        else frame.to_csv(index=False)
    )
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    try:
        frame.convert_dtypes().to_parquet(path, index=False)
    except Exception:  # values of several types in one column: then as text
        frame.map(lambda value: str(value).encode(errors="replace").decode()).to_parquet(path, index=False)


def _spoil_tree(path: Path, draw: Callable[[Any], Any]) -> None:
    content = path.read_bytes()
    if draw(st.integers(0, 4)) == 0:
        path.write_bytes(spoilt_bytes(content, draw))
        return
    value = spoilt_tree(yaml.safe_load(content) if path.suffix == ".yaml" else json.loads(content), draw)
    text = yaml.safe_dump(value) if path.suffix == ".yaml" else json.dumps(value)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _spoil_folder(folder: Path, draw: Callable[[Any], Any]) -> None:
    """One or two of its files are spoilt, emptied, removed, or made a pipe, a folder or another file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in draw(st.lists(st.sampled_from(files), min_size=1, max_size=2, unique=True)):
        how = draw(
            st.sampled_from(("spoil", "spoil", "spoil", "swap", "empty", "remove", "pipe", "folder", "stray"))
        )
        if how == "spoil" and path.suffix in (".json", ".parquet", ".csv"):
            tree = path.suffix == ".json"
            _spoil_tree(path, draw) if tree else path.write_bytes(spoilt_bytes(path.read_bytes(), draw))
        elif how == "spoil":
            path.write_bytes(spoilt_bytes(path.read_bytes(), draw))
        elif how == "swap":
            path.write_bytes(draw(st.sampled_from([each for each in files if each.is_file()])).read_bytes())
        elif how == "empty":
            path.write_bytes(b"")
        elif how == "stray":
            name = draw(st.sampled_from((b" (copy)", b"\xff", "\u202e".encode(), b"\x1b[31m")))
            shutil.copytree(path.parent, str(path.parent) + os.fsdecode(name), dirs_exist_ok=True)
        else:
            path.unlink()
            if how == "pipe":
                os.mkfifo(path)
            elif how == "folder":
                path.mkdir()


def spoilt_options(options: tuple[tuple[str, str], ...], draw: Callable[[Any], Any]) -> list[str]:
    """Some of the options, with good or odd values."""
    words: list[str] = []
    for _ in range(draw(st.integers(1, 3)) if options else 0):
        name, good = draw(st.sampled_from(options))
        odd = st.one_of(
            st.sampled_from(ODD_NUMBERS).map(str),
            st.sampled_from([text for text in ODD_TEXTS if "\0" not in text]),
            st.floats().map(str),
            st.integers(-(2**70), 2**70).map(str),
            st.just(good),
            st.just(good),
            st.sampled_from(("-" + good, good + good, good[:-1], good + ",x", good.upper())),
        )
        words += [name, draw(odd)]
    return words


@dataclass(frozen=True)
class Try:
    """One command line, and which of its inputs is spoilt."""

    door: str
    words: tuple[str, ...]
    spoils: str | None


@st.composite
def tries(draw: Callable[[Any], Any], names: tuple[str, ...] = tuple(DOORS)) -> Try:
    """A command line with odd options, or with one of its inputs spoilt, or both.

    Args:
        names: of the doors to choose from.
    """
    name = draw(st.sampled_from(names))
    door, table = DOORS[name], draw(st.sampled_from(TABLES))
    words = [word.replace("{table}", table) for word in door.words]
    reads = [each.replace("{table}", table) for each in door.reads]
    has_odd_options = bool(door.options) and (not reads or draw(st.integers(0, 2)) == 0)
    if has_odd_options:
        words += spoilt_options(door.options, draw)
    is_spoilt = reads and (not has_odd_options or draw(st.integers(0, 3)) == 0)
    return Try(name, tuple(words), draw(st.sampled_from(reads)) if is_spoilt else None)


class Case:
    """A try in a folder of its own: the inputs are spoilt, then the command is asked."""

    def __init__(self, attempt: Try, place: Path, draw: Callable[[Any], Any]) -> None:
        self.attempt, self.place, self.door = attempt, place, DOORS[attempt.door]
        if attempt.spoils is not None:
            spoil(place, attempt.spoils, draw)
        self._before = contents(place, self.door.writes)

    def ask(self) -> Answer:
        return ask(self.attempt.words, self.place)

    def faults(self, answer: Answer) -> list[str]:
        """What is wrong with an answer, with the files it wrote and those it should have let alone."""
        before, after = self._before, contents(self.place, self.door.writes)
        names = sorted(before.keys() | after.keys())
        changed = [name for name in names if before.get(name, b"-") != after.get(name, b"-")]
        return [
            *faults(answer, self.door),
            *check_results(self.place, self.door),
            *(f"changed {name}" for name in changed),
        ]
