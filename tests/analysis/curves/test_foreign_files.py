"""Files of other people: JSON lines, no column of runs, repeated rows, groups, losses."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import run

from rlscale.analysis.curves.load import curves_from_frame, load_by, load_by_horizon, load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.figures.fit import plot_frontier
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.importers.readers.runs import ReadOptions

ROWS = [
    {"model": m, "seed": s, "env": e, "num_params": n, "interactions": E, "return_mean": R}
    for m, s, e, n, E, R in [
        ("small", 0, "maze", 100, 10, 0.1),
        ("small", 0, "maze", 100, 20, 0.2),
        ("small", 0, "maze", 100, 20, 0.4),
        ("small", 1, "maze", 100, 10, 0.2),
        ("large", 0, "maze", 200, 10, 0.3),
    ]
]


def written(path, rows=ROWS):
    frame = pd.DataFrame(rows)
    if ".jsonl" in path.name:
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def store_of(path, store, **options):
    import_curves(path, store, ImportOptions(read=ReadOptions(**options)))
    return load_curves(store)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet", "x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize(("duplicates", "merged"), [("mean", 0.3), ("last", 0.4)])
def test_columns_tell_runs_apart_and_repeated_rows_become_one_in_every_format(
    tmp_path, name, duplicates, merged
):
    path = written(tmp_path / name)
    options = {"run_columns": ("model", "seed"), "duplicates": duplicates}
    curves = load_curves(path, **options)
    assert curves.run_ids == ("model=large, seed=0", "model=small, seed=0", "model=small, seed=1")
    np.testing.assert_allclose(curves.returns, [0.3, 0.1, merged, 0.2])
    assert curves.notes[0].startswith("2 rows that share a run and its interactions, ")
    imported = store_of(path, tmp_path / "store", **options)
    np.testing.assert_allclose(np.sort(imported.returns), np.sort(curves.returns))
    assert sorted(imported.run_sizes) == sorted(curves.run_sizes)


def test_a_repeated_row_is_refused_with_the_option_that_merges_it_by_fit_and_by_import(tmp_path):
    path = written(tmp_path / "x.csv")
    said = []
    for attempt in (
        lambda: load_curves(path, run_columns=["model", "seed"]),
        lambda: store_of(path, tmp_path / "store", run_columns=("model", "seed")),
    ):
        with pytest.raises(
            InputError, match=r"row 3.*occurs twice.*duplicates='mean'.*duplicates='last'"
        ) as e:
            attempt()
        said.append(str(e.value))
    assert said[0] == said[1]


def test_a_row_without_a_return_does_not_hide_one_with_a_return():
    frame = pd.DataFrame(
        {"run_id": "a", "num_params": 5, "interactions": [1, 2, 2, 2], "return_mean": [1.0, 2.0, 4.0, None]}
    )
    assert list(curves_from_frame(frame, duplicates="last").returns) == [1.0, 4.0]
    assert list(curves_from_frame(frame, duplicates="mean").returns) == [1.0, 3.0]


def test_rows_that_go_back_are_still_refused_where_merging_would_mix_two_attempts():
    steps = [1, 2, 3, 2, 4]  # the last row of step 2 comes after step 3
    frame = pd.DataFrame({"run_id": "a", "num_params": 5, "interactions": steps, "return_mean": steps})
    assert list(curves_from_frame(frame, duplicates="mean").interactions) == [1, 2, 3, 4]
    with pytest.raises(InputError, match=r"is not above the one before"):
        curves_from_frame(frame, duplicates="last")


def test_without_a_column_of_runs_the_refusal_names_both_remedies(tmp_path):
    path = written(tmp_path / "x.csv")
    with pytest.raises(
        InputError, match=r"columns=\{'run_id': 'NAME'\}.*run_columns=\['model', 'seed'\].*each-row"
    ):
        load_curves(path)
    with pytest.raises(InputError, match=r"has no column 'sed' to tell runs apart"):
        load_curves(path, run_columns=["model", "sed"])
    each = load_curves(path, run_columns=["each-row"])
    assert each.run_ids == ("row 1", "row 2", "row 3", "row 4", "row 5")


def test_run_columns_may_be_named_as_in_the_file_or_as_in_the_schema(tmp_path):
    path = written(tmp_path / "x.csv", [{**row, "task": "t"} for row in ROWS])
    names = {"algorithm": "model"}
    by_ours = load_curves(
        path, columns=names, run_columns=["algorithm", "seed"], duplicates="mean", algorithm="small"
    )
    assert by_ours.run_ids == ("model=small, seed=0", "model=small, seed=1")


@pytest.mark.parametrize(
    "rows", ['[{"run_id": "a"}]', '{"run_id": "a", "num_params"', '{"run_id": {"x": 1}}']
)
def test_json_that_is_no_table_is_refused_in_a_sentence(tmp_path, rows):
    path = tmp_path / "x.jsonl"
    path.write_text(rows)
    with pytest.raises(
        InputError, match=r"one object a line|not a readable JSON lines file|lacks the column"
    ):
        load_curves(path)


def test_json_lines_hold_gaps_words_for_no_value_and_numbers_that_begin_late(tmp_path):
    path = tmp_path / "x.log"  # known by its first byte
    rows = [{"run_id": 7, "num_params": 5, "interactions": i + 1, "return_mean": None} for i in range(9)]
    rows += [
        {"run_id": 7, "interactions": 10, "return_mean": 1},
        {"run_id": 7, "interactions": 11, "return_mean": 0.5},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    curves = load_curves(path)
    assert (curves.run_ids, list(curves.returns)) == (("7",), [1.0, 0.5])


def test_import_rounds_fractional_steps_as_fine_as_the_fit_needs_and_says_so(tmp_path):
    path = written(
        tmp_path / "x.csv",
        [{"run_id": "a", "num_params": 5, "interactions": e, "return_mean": e} for e in (100.4, 200.5)],
    )
    result = import_curves(path, tmp_path / "store", ImportOptions())
    assert list(load_curves(tmp_path / "store").interactions) == [100, 200]
    assert any("moved to the nearest step: their step is not a whole number" in note for note in result.notes)
    path = written(
        tmp_path / "y.csv", [{"run_id": "a", "num_params": 5, "interactions": 0.25, "return_mean": 1}]
    )
    with pytest.raises(InputError, match=r"--steps-scale, e.g. 1e6 if it counts millions"):
        import_curves(path, tmp_path / "store", ImportOptions())
    import_curves(path, tmp_path / "store", ImportOptions(steps_scale=1e6, sweep="y"))
    assert load_curves(tmp_path / "store", sweep="y").interactions == [250_000]


# -- groups -------------------------------------------------------------------------


def grouped() -> pd.DataFrame:
    """Two environments of four sizes, and a third of two; columns that are no groups."""
    sweep = SyntheticSweep(sizes=tuple(4e4 * 4.0 ** np.arange(4)), seeds=2, noise=0.01, points=30)
    parts = []
    for place, env in enumerate(["coin run", "maze", "tiny"]):
        frame = curves_frame(sweep.curves(np.random.default_rng(place)))
        frame = frame[frame["num_params"] < (1e5 if env == "tiny" else 1e9)]
        parts.append(frame.assign(run_id=env + frame["run_id"], env_name=env))
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(
        model="m" + frame["num_params"].astype(str),  # one a size
        seed_name="s0",
        note=frame["run_id"] + "!",  # one a run
        stage=np.where(frame["interactions"] > 5e7, "late", "early"),  # varies within a run
        level=3,
    )


def test_columns_that_divide_the_runs_are_named_and_no_others(tmp_path):
    path = tmp_path / "x.parquet"
    grouped().to_parquet(path)
    assert load_curves(path).groups == (("env_name", ("coin run", "maze", "tiny")),)
    by_number = grouped().assign(level=grouped()["env_name"].map({"coin run": 1, "maze": 2, "tiny": 3}))
    assert [name for name, _ in curves_from_frame(by_number).groups] == ["env_name", "level"]


def test_each_group_is_read_as_if_it_were_alone(tmp_path):
    frame, path = grouped(), tmp_path / "x.csv"
    frame.to_csv(path, index=False)
    found = load_by(path, "env_name")
    assert list(found) == ["coin run", "maze", "tiny"]
    for env, curves in found.items():
        alone = curves_from_frame(frame[frame["env_name"] == env])
        assert not isinstance(curves, InputError)
        assert curves.run_ids == alone.run_ids
        np.testing.assert_array_equal(curves.returns, alone.returns)
        assert curves.groups == ()
        assert curves.source == f"{path}, env_name {env}"
    with pytest.raises(InputError, match=r"has no column 'stage' with one value in each run"):
        load_by(path, "stage")


def test_groups_by_a_setting_need_no_selection_of_it(tmp_path):
    path = tmp_path / "x.csv"
    grouped().rename(columns={"env_name": "task"}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"pick one with task='coin run', or fit each of load_by\("):
        load_curves(path)
    assert list(load_by(path, "task")) == ["coin run", "maze", "tiny"]
    assert list(load_by(path, "task", task="maze")) == ["maze"]


def test_fit_by_prints_one_table_and_writes_each_fit(tmp_path):
    path, out = tmp_path / "x.csv", tmp_path / "by.json"
    grouped().to_csv(path, index=False)
    done = run("fit", path, "--by", "env_name", "--bootstrap", 20, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "not fitted" in done.stdout
    value = json.loads(out.read_text())
    assert (value["kind"], value["by"]) == ("rlscale fit by", "env_name")
    assert list(value["fits"]) == ["coin run", "maze"]
    assert value["refused"]["tiny"]["code"] == "too_few_sizes"
    for fit in value["fits"].values():
        assert fit["kind"] == "rlscale fit"
        assert f"{fit['nu']:.3f}" in done.stdout


# -- losses -------------------------------------------------------------------------


def test_a_loss_is_negated_and_everything_else_is_as_for_returns(tmp_path):
    frame = grouped().query("env_name == 'maze'").assign(return_low=0.0, return_high=2.0)
    losses = frame.assign(return_mean=-frame["return_mean"], return_low=-2.0, return_high=0.0)
    returns, negated = curves_from_frame(frame), curves_from_frame(losses, minimize=True)
    np.testing.assert_array_equal(negated.returns, returns.returns)
    assert (negated.minimize, returns.minimize) == (True, False)
    assert negated.return_bounds == returns.return_bounds == (0.0, 2.0)
    assert "times -1" in negated.notes[0]
    point = JointScalingFit(replicates=0)
    of_returns, of_losses = point.fit(returns), point.fit(negated)
    assert (of_losses.options["minimize"], of_returns.options["minimize"]) == (True, False)
    assert (of_losses.nu, of_losses.range) == (of_returns.nu, of_returns.range)
    assert plot_frontier(of_losses).get_ylabel() == "Return $R$ = - loss"


def test_options_of_files_are_refused_for_a_store_in_a_sentence(tmp_path):
    path, store = (
        written(tmp_path / "x.csv", [{**row, "run_id": i} for i, row in enumerate(ROWS)]),
        tmp_path / "store",
    )
    import_curves(path, store, ImportOptions())
    for options, word in (
        ({"run_columns": ["seed"]}, "run_columns"),
        ({"duplicates": "mean"}, "duplicates"),
    ):
        with pytest.raises(InputError, match=f"is a store.*leave out {word}"):
            load_curves(store, **options)
    assert load_curves(store, minimize=True).returns.max() < 0
    assert list(load_by(store, "seed")) == ["0", "1"]
    with pytest.raises(InputError, match=r"lacks the column 'horizon'|horizon must be"):
        load_by_horizon(store, minimize=True)
