"""``rlscale compare`` in a process of its own: two files, a column, what it writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import run

from rlscale.analysis.curves.synthetic import SyntheticPair, SyntheticSweep, curves_frame
from rlscale.analysis.studies.compare.result import read_comparison
from rlscale.commands.compare import compare
from rlscale.scaling.errors import InputError

PAIR = SyntheticPair(
    SyntheticSweep(
        sizes=tuple(4e4 * 2.0 ** np.arange(6)), seeds=3, points=40, first_interactions=1e6, noise=0.02
    ),
    factor=2.0,
)


def frame(side: str, **columns: object) -> pd.DataFrame:
    curves = PAIR.curves(np.random.default_rng(0))["ab".index(side)]
    table = curves_frame(curves).assign(**columns)
    seeds = dict(zip(curves.run_ids, curves.table["seed"], strict=True))
    return table.assign(seed=table["run_id"].map(seeds), run_id=f"{side}-" + table["run_id"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    frame("a", task="t").to_csv(folder / "a.csv", index=False)
    frame("b", task="t").to_csv(folder / "b.csv", index=False)
    frame("b", task="another").to_csv(folder / "other.csv", index=False)
    both = pd.concat([frame("a", learning_rate=1e-3), frame("b", learning_rate=5e-4)])
    both.to_parquet(folder / "both.parquet")
    return folder


def test_two_files_give_a_table_json_a_figure_and_a_page(folder: Path, tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"found.{kind}" for kind in ("json", "png", "html")}
    done = run(
        *("compare", folder / "a.csv", folder / "b.csv", "--bootstrap", 100),
        *("--json", paths["json"], "--figure", paths["png"], "--report", paths["html"]),
    )
    assert done.returncode == 0, done.stderr
    assert f"{folder / 'b.csv'} is better" in done.stdout
    assert "seeds suffice to see one of 1.2" in done.stdout
    found = read_comparison(paths["json"])
    assert found.multiplier == pytest.approx(2.0, rel=0.25)
    assert found.verdict == "b_better"
    assert found.paired
    assert found.tasks == ["t"]
    assert paths["png"].read_bytes().startswith(b"\x89PNG")
    page = paths["html"].read_text()
    assert "<svg" in page
    assert "is better" in page
    assert (tmp_path / "found_figures" / "comparison.png").exists()


def test_two_values_of_a_column_are_compared_in_the_order_asked_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    values = ("--by", "learning_rate", "--a", "5e-4", "--b", "0.001", "--bootstrap", 0, "--json", out)
    done = run("compare", folder / "both.parquet", *values)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert (found["a"]["name"], found["b"]["name"]) == ("5e-4", "0.001")
    assert found["multiplier"] == pytest.approx(0.5, rel=0.25)
    assert found["interval"] is None


def test_what_is_wrong_is_one_sentence_and_exit_status_2(folder: Path) -> None:
    done = run("compare", folder / "a.csv", folder / "a.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("rlscale: Run a-run-0000 belongs to")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("names", "options", "code"),
    [
        (["a.csv", "other.csv"], {}, "different_tasks"),
        (["a.csv"], {}, "missing_option"),
        (["a.csv", "b.csv"], {"value_a": "1"}, "missing_option"),
        (["a.csv", "b.csv"], {"by": "seed"}, "conflicting_options"),
        (["both.parquet"], {"by": "learning_rate", "value_a": "1"}, "missing_option"),
        (["both.parquet"], {"by": "seed", "value_a": "1", "value_b": "1"}, "same_recipe"),
        (["both.parquet"], {"by": "learning_rate", "value_a": "1", "value_b": "2"}, "unknown_selection"),
        (["both.parquet"], {"by": "seed"}, "ambiguous_values"),
        (["both.parquet"], {"by": "colour"}, "missing_column"),
        (["a.csv", "b.csv"], {"figure": Path("found.txt")}, "unknown_file_format"),
        (["a.csv", "b.csv"], {"factor": 1.0}, "invalid_option"),
    ],
)
def test_each_wrong_request_has_a_code(folder: Path, names: list[str], options: dict, code: str) -> None:
    with pytest.raises(InputError) as error:
        compare(*[str(folder / name) for name in names], **options)
    assert error.value.code == code


def test_a_sealed_multiplier_is_scored_with_the_curves_of_both_recipes(folder: Path, tmp_path: Path) -> None:
    both = pd.read_parquet(folder / "both.parquet")
    both[both["seed"] < 2].to_parquet(tmp_path / "old.parquet")
    sealed = tmp_path / "sealed.json"
    done = run(
        *("compare", tmp_path / "old.parquet", "--by", "learning_rate", "--a", "0.001", "--b", "5e-4"),
        *("--bootstrap", 40, "--seal", sealed, "--title", "a rate of 0.001 over 0.0005"),
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(sealed.read_text())
    assert value["sha256"] in done.stdout
    assert [item["quantity"] for item in value["items"]] == ["multiplier"]
    done = run(
        "forecast", "score", sealed, "--curves", folder / "both.parquet", "--json", tmp_path / "s.json"
    )
    assert done.returncode == 0, done.stderr
    (item,) = json.loads((tmp_path / "s.json").read_text())["items"]
    assert item["outcomes"][0]["measured"] == pytest.approx(PAIR.factor, rel=0.2)
    refused = run("forecast", "score", sealed, "--curves", "x.csv", "--curves-b", "y.csv")
    assert refused.returncode == 2
    assert "leave out --curves-b" in " ".join(refused.stderr.split())
