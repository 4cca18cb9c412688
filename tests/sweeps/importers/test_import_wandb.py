"""CSV exports of Weights & Biases, wide and long: what each column means, and what is missing."""

import csv

import pytest

from rlscale.scaling.errors import InputError

METRIC = "charts/episodic_return"


def write(path, header, *rows):
    """A file as the site exports it: every cell quoted."""
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return path


@pytest.fixture
def export(tmp_path):
    return tmp_path / "wandb_export_2026-01-01T12_00_00.000+00_00.csv"


def three(run, metric=METRIC):
    """The columns that the site writes for one run."""
    return [f"{run} - {metric}", f"{run} - {metric}__MIN", f"{run} - {metric}__MAX"]


def test_a_wide_export_has_a_run_in_every_third_column(imported, curve, export, sizes):
    header = ["global_step", *three("deft-sun-1"), *three("n2M - seed 3")]
    rows = [
        (100, 1.5, 1, 2, "", "", ""),
        (150, "", "", "", 7.5, 7, 8),
        (200, 2.5, 2, 3, 8.5, 8, 9),
        (300, "NaN", "", "", "", "", ""),
    ]
    result = imported(write(export, header, *rows), sizes=sizes("{deft-sun-1: 1M, 'n2M*': 2M}"))
    assert result.format == "wandb"
    assert [(run.name, run.columns["num_params"]) for run in result.runs] == [
        ("deft-sun-1", 10**6),
        ("n2M - seed 3", 2 * 10**6),
    ]
    assert curve("deft-sun-1") == ([100, 200, 300], [1.5, 2.5, None])
    assert curve(result.runs[1].run_id) == ([150, 200], [7.5, 8.5])


def test_thinned_histories_give_a_warning_with_the_rows_that_runs_have(imported, export, sizes):
    rows = [(100 * i, 1.0, 1, 1, 2.0 if i < 4 else "", 2, 2) for i in range(1, 6)]
    path = write(export, ["global_step", *three("a"), *three("b")], *rows)
    result = imported(path, sizes=sizes("'*': 100"))
    (note,) = [note for note in result.notes if "scan_history" in note]
    assert "3 to 5 rows" in note
    assert "500" in note


def test_an_export_may_end_without_a_line_break(imported, curve, export, sizes):
    path = write(export, ["Step", *three("a")], (10, 1, 1, 1), (20, 2, 2, 2))
    path.write_bytes(path.read_bytes().rstrip())
    imported(path, sizes=sizes("a: 100"))
    assert curve("a") == ([10, 20], [1.0, 2.0])


@pytest.mark.parametrize(("step", "warned"), [("Step", True), ("global_step", False), ("frames", False)])
def test_the_count_of_log_calls_gives_a_warning(imported, curve, export, sizes, step, warned):
    result = imported(write(export, [step, *three("a")], (10, 1, 1, 1)), sizes=sizes("a: 100"))
    assert curve("a") == ([10], [1.0])
    (note,) = [note for note in result.notes if note.startswith(f"Interactions are read from {step}, ")]
    assert ("counts calls of wandb.log" in note) is warned


def test_the_columns_of_a_custom_axis_are_not_taken_for_metrics(imported, curve, export, sizes):
    header = ["train/frames", *three("a", "_step"), *three("a")]
    imported(write(export, header, (10, 1, 1, 1, 5.5, 5, 6)), sizes=sizes("a: 100"))
    assert curve("a") == ([10], [5.5])


def test_several_metrics_need_a_choice(imported, curve, export, sizes):
    path = write(export, ["Step", *three("a"), *three("a", "eval - score")], (10, 1, 1, 1, 2, 2, 2))
    with pytest.raises(InputError, match=rf"has 2 metrics: {METRIC}, score; choose the return with --tag"):
        imported(path)
    imported(path, sizes=sizes("a: 100"), tag="eval - score")
    assert curve("a") == ([10], [2.0])
    with pytest.raises(InputError, match="no column 'RUN - loss'; it has: Step, a - charts"):
        imported(path, tag="loss")


def test_a_run_that_logged_nothing_is_skipped(imported, export, sizes):
    path = write(export, ["Step", *three("a"), *three("b")], (10, 1, 1, 1, "", "", ""))
    result = imported(path, sizes=sizes("a: 100"))
    assert [(run.name, run.reason) for run in result.skipped] == [("b", f"nothing in b - {METRIC}")]


def test_two_runs_of_one_name_are_refused(imported, export):
    path = write(export, ["Step", *three("a"), *three("a")], (10, 1, 1, 1, 2, 2, 2))
    with pytest.raises(InputError, match=f"more than one column 'a - {METRIC}'"):
        imported(path)


def test_a_wide_export_has_no_run_columns(imported, export):
    path = write(export, ["Step", *three("a")], (10, 1, 1, 1))
    with pytest.raises(InputError, match="none for seed; use --sizes"):
        imported(path, columns={"seed": "seed"})


LONG = ["_step", "_runtime", "_timestamp", "global_step", METRIC, "losses/value", "run_name", "run_id"]


def long(step, global_step, value, name="deft-sun-1", run="3k2j", loss=""):
    return (step, 0.5, 1.7e9, global_step, value, loss, name, run)


def test_a_long_history_is_read_at_global_steps(imported, curve, export, sizes):
    rows = [long(0, 100, 1), long(1, 150, "", loss=3), long(2, 200, 2)]
    rows += [long(0, 100, 5, "b", "x"), long(2, 100, 7, "b", "x")]
    result = imported(write(export, LONG, *rows), sizes=sizes("{deft-sun-1: 100, b: 200}"), tag=METRIC)
    assert curve("deft-sun-1") == ([100, 200], [1.0, 2.0])
    assert curve("b") == ([100], [6.0])  # two episodes that ended at one step
    assert not any("counts calls" in note for note in result.notes)


def test_columns_of_a_long_history_can_be_named(imported, curve, export):
    header = [*LONG, "config.seed", "config.n"]
    path = write(export, header, (*long(0, 100, 1), 7, 1000), (*long(1, 200, 2), 7, 1000))
    columns = {"run_id": "run_id", "return_mean": METRIC, "interactions": "_step"}
    columns |= {"seed": "config.seed", "num_params": "config.n"}
    result = imported(path, columns=columns)
    assert result.runs[0].columns == {"num_params": 1000, "seed": 7}
    assert curve("3k2j") == ([1], [2.0])  # step 0 is from before training
    assert any("counts calls of wandb.log" in note for note in result.notes)


def test_a_resumed_run_has_each_step_once_the_later_rows_winning(imported, curve, export, sizes):
    rows = [long(0, 100, 1), long(1, 200, 2), long(2, 300, 3), long(3, 200, 20), long(4, 250, 25)]
    result = imported(write(export, LONG, *rows), sizes=sizes("deft-sun-1: 100"), tag=METRIC)
    assert curve("deft-sun-1") == ([100, 200, 250], [1.0, 20.0, 25.0])
    assert any("2 rows of 1 run left out: a later attempt" in note for note in result.notes)


def test_two_runs_of_one_display_name_are_distinguished_by_id_or_refused(imported, export, sizes):
    path = write(export, LONG, long(0, 100, 1), long(0, 100, 2, run="other"))
    with pytest.raises(
        InputError, match="'deft-sun-1' belongs to 2 runs; tell them apart with --columns run_id=run_id"
    ):
        imported(path, tag=METRIC)
    result = imported(path, tag=METRIC, columns={"run_id": "run_id"}, sizes=sizes("'*': 100"))
    assert [run.name for run in result.runs] == ["3k2j", "other"]
    without_ids = [row[:-1] for row in (long(0, 100, 1), long(1, 200, 1), long(0, 100, 2))]
    with pytest.raises(InputError, match=r"run deft-sun-1, row 3: _step is not beyond the row before"):
        imported(write(export, LONG[:-1], *without_ids), tag=METRIC)
    without_steps = [row[2:-1] for row in (long(0, 100, 1), long(1, 200, 1), long(0, 100, 2))]
    with pytest.raises(InputError, match=r"row 3: global_step is not beyond the row before"):
        imported(write(export, LONG[2:-1], *without_steps), tag=METRIC)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["_step", METRIC], "say which column is run_id with --columns run_id=NAME"),
        (["_runtime", METRIC, "run"], "has no column of steps"),
    ],
)
def test_a_long_history_that_lacks_a_column_is_refused(imported, export, header, message):
    with pytest.raises(InputError, match=message):
        imported(write(export, header, range(len(header))), tag=METRIC)


def test_a_long_history_needs_the_name_of_its_return(imported, export):
    with pytest.raises(InputError, match=r"say which column is return_mean .*; it has: _step, _runtime"):
        imported(write(export, LONG, long(0, 100, 1)))


def test_a_run_of_a_long_history_without_the_metric_is_skipped(imported, export, sizes):
    path = write(export, LONG, long(0, 100, 1), long(0, 100, "", "b", "x"))
    result = imported(path, tag=METRIC, sizes=sizes("'*': 100"))
    assert [(run.name, run.reason) for run in result.skipped] == [("b", f"nothing in {METRIC}")]
