"""A data frame given straight to the fit, with the names of its columns, and what is said of a wrong one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rlscale.analysis.curves.load import as_curves, curves_from_frame, load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import speaking_of_options

CURVES = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(4)), points=30).curves(np.random.default_rng(0))
FRAME = CURVES.to_pandas()[["run_id", "num_params", "interactions", "return_mean"]]
THEIRS = {"run_id": "run", "num_params": "n", "interactions": "steps", "return_mean": "score"}


def test_a_table_with_other_names_gives_the_same_fit_as_its_curves():
    table = FRAME.rename(columns=THEIRS).sample(frac=1, random_state=0).sort_values("steps", kind="stable")
    fit = JointScalingFit(replicates=0).fit(table, **THEIRS)
    assert fit.nu == pytest.approx(JointScalingFit(replicates=0).fit(CURVES).nu, rel=1e-9)
    assert fit.provenance.source == "the DataFrame"


def test_several_columns_tell_runs_apart():
    table = FRAME.assign(
        seed=FRAME.groupby("num_params")["run_id"].transform(lambda ids: pd.factorize(ids)[0])
    )
    curves = as_curves(table.drop(columns="run_id"), run_id=["num_params", "seed"])
    assert curves.num_runs == CURVES.num_runs


def test_curves_pass_through_and_know_their_columns():
    assert as_curves(CURVES) is CURVES
    with pytest.raises(InputError, match="DataFrame only") as caught:
        as_curves(CURVES, num_params="n")
    assert caught.value.code == "conflicting_options"


def test_what_is_neither_curves_nor_a_table_is_refused():
    with pytest.raises(
        InputError, match=r"list is not curves: give a DataFrame .* rlscale.load_curves"
    ) as caught:
        JointScalingFit().fit([1, 2, 3])  # type: ignore[arg-type]
    assert caught.value.code == "not_curves"


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("run_id", "name it with run_id='NAME', or the columns .* with run_id=\\['model', 'seed'\\]"),
        ("num_params", "use num_params='NAME'"),
    ],
)
def test_a_missing_column_is_named_by_the_argument_of_the_fit(without, said):
    with pytest.raises(InputError, match=said) as caught:
        JointScalingFit().fit(FRAME.drop(columns=without))
    assert "--" not in str(caught.value)


def test_the_same_message_names_an_argument_in_python_and_an_option_at_the_command_line(tmp_path):
    path = tmp_path / "curves.csv"
    FRAME.drop(columns="num_params").to_csv(path, index=False)
    with pytest.raises(InputError, match="use columns=\\{'num_params': 'NAME'\\}"):
        load_curves(path)
    with speaking_of_options(), pytest.raises(InputError, match="use --columns num_params=NAME"):
        load_curves(path)
    twice = pd.concat([FRAME, FRAME.iloc[:1]])
    with pytest.raises(InputError, match="duplicates='mean'"):
        curves_from_frame(twice)
    assert curves_from_frame(twice, duplicates="mean").num_points == len(FRAME)


def test_a_frame_is_read_with_the_settings_of_a_file():
    losses = FRAME.assign(return_mean=-FRAME["return_mean"]).rename(columns={"num_params": "n"})
    curves = curves_from_frame(losses, columns={"num_params": "n"}, minimize=True)
    np.testing.assert_allclose(curves.returns, CURVES.returns)
    assert "minimize=True" in " ".join(curves.notes)
    with pytest.raises(InputError, match="size is 'bytes': choose one of"):
        curves_from_frame(losses, columns={"num_params": "n"}, size="bytes")  # type: ignore[arg-type]
