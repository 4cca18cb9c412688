"""Sizes by the names of runs: what a mapping or a pattern says, and contradictions refused."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.sizes import parse_count


@pytest.fixture
def bare(tidy):
    """A file without sizes, of the runs small-s0, small-s1 and large."""
    return tidy(num_params=None, run_id=["small-s0"] * 3 + ["small-s1"] * 2 + ["large"])


def columns_of(result):
    return {run.name: dict(run.columns) for run in result.runs}


YAML = "small-*: 12k\nlarge: {num_params: 1.5M, num_params_total: 3000000, flops_forward: 3.0e6, task: t}\n"
CSV = "run,num_params,num_params_total,flops_forward,task\nsmall-*,12k,,,\nlarge,1.5M,3000000,3.0e6,t\n"
JSON = json.dumps(
    {
        "small-*": 12_000,
        "large": {"num_params": 1.5e6, "num_params_total": 3_000_000, "flops_forward": 3e6, "task": "t"},
    }
)


@pytest.mark.parametrize(
    ("name", "text"), [("s.yaml", YAML), ("s.yml", YAML), ("s.csv", CSV), ("s.json", JSON)]
)
def test_a_mapping_gives_sizes_and_other_run_columns(imported, bare, sizes, name, text):
    small = {"num_params": 12_000}
    large = {"num_params": 1_500_000, "num_params_total": 3_000_000, "flops_forward": 3e6, "task": "t"}
    result = imported(bare, sizes=sizes(text, name))
    assert columns_of(result) == {"small-s0": small, "small-s1": small, "large": large}
    assert all(type(values["num_params"]) is int for values in columns_of(result).values())


@pytest.mark.parametrize("header", ["run", "run_id", "name"])
def test_the_column_of_runs_in_a_csv_mapping_has_several_names(imported, bare, sizes, header):
    result = imported(bare, sizes=sizes(f"{header},num_params\n*,5\n", "s.csv"))
    assert {values["num_params"] for values in columns_of(result).values()} == {5}


def test_every_entry_that_matches_counts(imported, bare, sizes):
    """One glob gives the size, another the seed, a name the task."""
    text = "small-*: 10\nlarge: 20\n'*-s1': {seed: 1}\nsmall-s0: {task: t}\n"
    assert columns_of(imported(bare, sizes=sizes(text))) == {
        "small-s0": {"num_params": 10, "task": "t"},
        "small-s1": {"num_params": 10, "seed": 1},
        "large": {"num_params": 20},
    }


def test_a_name_with_the_characters_of_a_glob_is_still_a_name(imported, tidy, sizes):
    path = tidy(num_params=None, run_id=["net[64]"] * 3 + ["net[128]"] * 2 + ["rest"])
    result = imported(path, sizes=sizes("'net[64]': 10\n'net[128]': 20\nrest: 30\n"))
    assert [run.columns["num_params"] for run in result.runs] == [10, 20, 30]


def test_a_pattern_reads_sizes_and_other_columns_off_the_names(imported, tidy):
    names = ["w8_n1.5k_s0"] * 3 + ["w8_n2M_s1"] * 2 + ["w8_n7_s12"]
    pattern = r"w(?P<width>\d+)_n(?P<num_params>[\d.]+[kMB]?)_s(?P<seed>\d+)"
    assert columns_of(imported(tidy(num_params=None, run_id=names), size_pattern=pattern)) == {
        "w8_n1.5k_s0": {"width": 8.0, "num_params": 1500, "seed": 0},
        "w8_n2M_s1": {"width": 8.0, "num_params": 2_000_000, "seed": 1},
        "w8_n7_s12": {"width": 8.0, "num_params": 7, "seed": 12},
    }


def test_file_pattern_and_mapping_may_agree(imported, tidy, sizes):
    path = tidy(run_id=["n100"] * 3 + ["n200"] * 2 + ["n400"])
    result = imported(path, sizes=sizes("n100: 100"), size_pattern=r"n(?P<num_params>\d+)")
    assert [run.columns["num_params"] for run in result.runs] == [100, 200, 400]


def test_patterns_that_match_no_run_are_reported(imported, bare, sizes):
    result = imported(bare, sizes=sizes("'*': 10\nhuge: 20\nhuger: 30\n"))
    assert any(note.endswith("names 2 patterns that no run matches: huge, huger.") for note in result.notes)


REFUSED = {
    "no run matches": ("tiny: 5", "matches no run: it names tiny, the runs are small-s0, small-s1, large"),
    "two sizes": (
        "'*': 5\nlarge: 6",
        r"Run large has two values of num_params: 5 \(.*entry \*\) and 6 \(.*large",
    ),
    "two seeds": ("'*': {num_params: 5, seed: 1}\nlarge: {seed: 2}", "two values of seed: 1"),
    "one name twice": ("large: 5\nlarge: 6", "'large' occurs twice"),
    "one column twice": ("large: {seed: 1, seed: 2}", "'seed' occurs twice"),
    "some without": ("large: 5", "2 runs without a size: small-s0, small-s1; give num_params with --sizes"),
    "zero": ("'*': 0", r"entry \*, run small-s0: num_params is 0; it must be positive"),
    "negative": ("'*': -5", "num_params is -5; it must be positive"),
    "NaN": ("'*': .nan", "num_params is nan, not a finite number"),
    "infinite": ("'*': .inf", "num_params is inf, not a finite number"),
    "a fraction": ("'*': 0.5", "num_params is 0.5, not a whole number"),
    "too large": ("'*': 1.0e+30", "num_params is 1e[+]30, not a whole number below"),
    "nothing": ("'*':", r"entry \*: it has no size"),
    "a word": ("'*': many", "'many' is not a number such as 12000, 12k, 1.5M or 2B"),
    "a truth": ("'*': yes", "num_params is True, not a finite number"),
    "a list": ("'*': [1]", "not a finite number"),
    "an unknown column": ("'*': {params: 5}", "there is no run column 'params'; there are: task, algorithm"),
    "the status": ("'*': {num_params: 5, status: done}", "there is no run column 'status'"),
    "half a letter": ('"*": {num_params: 5, task: "\\ud800"}', "task is .*, which is not text"),
    "a name that is a list": ("'*': {num_params: 5, task: [a]}", "task is .'a'., not a name"),
    "not a mapping": ("[1, 2]", "must give each run its size"),
    "empty": ("{}", "is empty; give each run a size"),
    "not YAML": ("a: [", "cannot be read"),
    "not a date": ("a: 2001-99-99", "cannot be read"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_an_impossible_mapping_is_refused(imported, bare, sizes, tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        imported(bare, sizes=sizes(text))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs one column 'run' .*; it has: none"),
        ("n,num_params\nx,5\n", "needs one column 'run'"),
        ("run,name,num_params\nx,y,5\n", "needs one column 'run'"),
        ("run,num_params,num_params\nx,5,5\n", "two columns of one name"),
        ("run,size\nx,5\n", "there is no run column 'size'"),
        ("run,num_params\nx\n", "row 1: 1 values for 2 columns"),
        ("run,num_params\nlarge,5\nlarge,6\n", "two values of num_params: 5 .*row 1.* and 6 .*row 2"),
    ],
)
def test_an_impossible_csv_mapping_is_refused(imported, bare, sizes, text, message):
    with pytest.raises(InputError, match=message):
        imported(bare, sizes=sizes(text, "s.csv"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", '{"a": 1, "a": 2}', "'a' occurs twice"),
        ("s.json", "{", "cannot be read"),
        ("s.json", "[" * 100_000, "cannot be read"),
        ("s.yaml", "[" * 400, "cannot be read"),
        ("s.txt", "a 1", r"give a file that ends in \.csv, \.yaml"),
    ],
)
def test_a_mapping_of_another_kind_is_refused(imported, bare, sizes, name, text, message):
    with pytest.raises(InputError, match=message):
        imported(bare, sizes=sizes(text, name))


def test_a_mapping_that_is_missing_or_is_not_text_is_refused(imported, bare, tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml cannot be read: No such file"):
        imported(bare, sizes=tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.yaml is not a text file"):
        imported(bare, sizes=tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<num_params>", "is not a regular expression"),
        (r"(\d+)", "has no group num_params; write"),
        (r"(?P<num_params>\d+)(?P<colour>)", "there is no run column 'colour'"),
        (r"N(?P<num_params>\d+)", "matches no run; the runs are small-s0"),
        ("(?P<num_params>small)", "'small' is not a number"),
        (r"s(?P<num_params>\d)", "num_params is 0; it must be positive"),
        (r"-s(?P<num_params>1)", "2 runs without a size: small-s0, large"),
    ],
)
def test_an_impossible_pattern_is_refused(imported, bare, pattern, message):
    with pytest.raises(InputError, match=message):
        imported(bare, size_pattern=pattern)


def test_the_files_sizes_are_not_contradicted_silently(imported, tidy, sizes):
    with pytest.raises(
        InputError, match=r"Run a has two values of num_params: 100 \(.*csv\) and 5 \(.*entry a"
    ):
        imported(tidy(), sizes=sizes("a: 5"))


@settings(deadline=None)
@given(st.decimals(0, 10**9, places=3), st.sampled_from(["", "k", "K", "m", "M", "b", "B"]))
def test_counts_are_exact(number, suffix):
    factor = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}[suffix.lower()]
    assert Decimal(parse_count(f" {number}{suffix} ", "test")) == number * factor


@pytest.mark.parametrize("text", ["", "k", "1..2", "12kk", "-5", "+5", "1e400", "0x10", "nan", "1,000", "½"])
def test_other_words_are_not_counts(text):
    with pytest.raises(InputError, match="is not a number such as"):
        parse_count(text, "test")
