"""Statements keep their seal, and their scores are those of the textbooks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from rlscale.analysis.curves.curve_set import join_curves
from rlscale.analysis.curves.load import curves_from_frame, load_curves
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.record import (
    LEVELS,
    Item,
    SealedCurves,
    Statement,
    canonical_json,
    curves_hash,
    read_statement,
)
from rlscale.analysis.forecast.scoring import return_near, score
from rlscale.scaling.errors import InputError

NEW_SIZE = 5e6


def item(quantity="return", centre=0.5, spread=0.1, **fields):
    """A forecast whose quantiles are those of a normal distribution."""
    quantiles = {f"{level:g}": centre + spread * float(norm.ppf(level)) for level in LEVELS}
    where = {"N": NEW_SIZE, "E": 1e5} if quantity in ("return", "mean_return") else {}
    return Item(quantity=quantity, quantiles=quantiles, baselines={"naive": 0.4}, **{**where, **fields})


def statement(*items, known=(), sealed="2026-01-02T00:00:00+00:00"):
    return Statement(
        sealed=sealed,
        rlscale_version="0",
        title="a test",
        task=None,
        algorithm=None,
        size="params",
        curves=SealedCurves(source="old.csv", sha256="0", run_ids=list(known)),
        fit_sha256="0",
        options={},
        items=list(items) or [item()],
        warnings=[],
        warning_codes=[],
    ).with_seal()


def runs(returns, *, size=NEW_SIZE, last=1.1e5, prefix="new"):
    """A run for each value: a curve with that return at every step up to ``last``."""
    steps = np.geomspace(1e4, last, 60)
    frames = [
        pd.DataFrame(
            {"run_id": f"{prefix}-{i}", "num_params": size, "interactions": steps, "return_mean": value}
        )
        for i, value in enumerate(returns)
    ]
    return curves_from_frame(pd.concat(frames), source="the new runs")


def written(path, value):
    path.write_text(json.dumps(value.model_dump(mode="json")))
    return path


# -- the seal -----------------------------------------------------------------------


def test_a_statement_survives_its_file_in_any_layout(tmp_path):
    one = statement()
    path = written(tmp_path / "a.json", one)
    assert read_statement(path) == one
    shuffled = dict(reversed(json.loads(path.read_text()).items()))
    path.write_text(json.dumps(shuffled, indent=7))
    assert read_statement(path) == one


@given(
    st.sampled_from(["title", "sealed", "fit_sha256", "sha256", "items", "options", "curves"]),
    st.integers(0, 18),
)
def test_whatever_is_changed_is_noticed(tmp_path_factory, field, place):
    path = written(tmp_path_factory.mktemp("s") / "a.json", statement())
    value = json.loads(path.read_text())
    if field == "items":
        quantiles = value["items"][0]["quantiles"]
        quantiles[list(quantiles)[place]] += 1e-9
    elif field == "options":
        value["options"]["seed"] = place
    elif field == "curves":
        value["curves"]["run_ids"] = [f"run-{place}"]
    else:
        value[field] += "0"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match="not as it was sealed") as refused:
        read_statement(path)
    assert refused.value.code == "tampered_statement"


def test_canonical_json_has_one_form_and_only_finite_numbers():
    assert canonical_json({"b": [1.5, None], "ä": "é"}) == '{"b":[1.5,null],"ä":"é"}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_the_hash_of_curves_is_that_of_their_values(tmp_path):
    frame = curves_frame(SyntheticSweep(sizes=(1e3, 2e3, 4e3), points=5).curves(np.random.default_rng(0)))
    frame.to_parquet(tmp_path / "a.parquet")
    frame.sort_values("run_id", ascending=False, kind="stable").to_csv(tmp_path / "b.csv", index=False)
    found = curves_hash(load_curves(tmp_path / "a.parquet"))
    assert curves_hash(load_curves(tmp_path / "b.csv")) == found
    frame.loc[3, "return_mean"] += 1e-12
    assert curves_hash(curves_from_frame(frame)) != found


@pytest.mark.parametrize(
    "quantiles", [{"0.05": 1.0}, {"0.05": 1.0, "0.95": 0.5}, {"0.05": 0, "0.95": 1, "2": 3}]
)
def test_quantiles_that_are_none_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles"):
        Item(quantity="nu", quantiles=quantiles, baselines={})


# -- scores -------------------------------------------------------------------------


def crps_by_integration(distribution, y):
    """∫ (F(x) - 1[x ≥ y])² dx, the definition."""
    below = quad(lambda x: distribution.cdf(x) ** 2, y - 5, y)[0]
    return below + quad(lambda x: distribution.sf(x) ** 2, y, y + 5)[0]


@pytest.mark.parametrize("y", [0.5, 0.55, 0.35, 0.8])
def test_crps_is_that_of_the_distribution_as_well_as_19_quantiles_tell(y):
    (one,) = score(statement(), runs([y])).items[0].outcomes
    assert one.crps == pytest.approx(crps_by_integration(norm(0.5, 0.1), y), rel=0.06, abs=0.002)
    pinball = [
        2 * max(q * (y - x), (q - 1) * (y - x))
        for q, x in zip(LEVELS, item().quantiles.values(), strict=True)
    ]
    assert one.crps == pytest.approx(np.mean(pinball))


def test_the_interval_score_adds_twenty_times_the_miss_to_the_width():
    low, high = item().interval
    inside, outside = score(statement(), runs([0.5, high + 0.01])).items[0].outcomes
    assert (inside.hit, outside.hit) == (True, False)
    assert inside.interval_score == pytest.approx(high - low)
    assert outside.interval_score == pytest.approx(high - low + 20 * 0.01)


def test_honest_quantiles_are_hit_nine_times_in_ten_and_beat_a_wrong_number():
    found = score(statement(), runs(np.random.default_rng(0).normal(0.5, 0.1, 400)))
    (tally,) = found.tallies
    assert tally.outcomes == 400
    assert tally.hits / 400 == pytest.approx(0.9, abs=0.04)
    assert tally.crps < tally.baselines["naive"]


# -- what is measured -----------------------------------------------------------------


def test_a_return_is_the_mean_of_the_window_around_its_steps():
    steps = np.array([90.0, 96.0, 100.0, 104.0, 110.0])
    returns = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    assert return_near(steps, returns, 100.0) == pytest.approx(2.0)
    assert return_near(steps[:2], returns[:2], 100.0) is None  # ends before
    assert return_near(np.array([1.0, 200.0]), np.array([0.0, 1.0]), 100.0) is None  # nothing near


def test_runs_that_the_statement_knew_are_no_outcome():
    curves = runs([0.5, 0.6])
    found = score(statement(known=["new-0"]), curves)
    assert [one.run_id for one in found.items[0].outcomes] == ["new-1"]
    with pytest.raises(InputError, match="no run that the statement did not know") as refused:
        score(statement(known=["new-0", "new-1"]), curves)
    assert refused.value.code == "no_new_runs"


def test_a_mean_is_measured_once_all_its_runs_are():
    one = statement(item("mean_return", runs=3))
    (short,) = score(one, runs([0.4, 0.5])).items
    assert short.missing == "new runs at 100,000 steps: 2, forecast for 3"
    (done,) = score(one, runs([0.4, 0.5, 0.9])).items
    assert done.outcomes[0].measured == pytest.approx(0.6)


def test_what_the_curves_lack_is_not_measured_yet():
    found = score(statement(item(), item(N=1e9), item(E=1e9)), runs([0.5]))
    assert [bool(one.outcomes) for one in found.items] == [True, False, False]
    assert found.items[1].missing == "no new run of 1,000,000,000"
    assert found.items[2].missing == "no new run of 5,000,000 reaches 1,000,000,000 steps"
    assert "not_measured_yet" in found.warning_codes


def test_nu_and_the_optimum_are_those_of_a_fit_of_old_and_new_runs():
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), points=40)
    old = sweep.curves(np.random.default_rng(0))
    new = runs_renamed(replace(sweep, sizes=(NEW_SIZE,)).curves(np.random.default_rng(1)))
    known = statement(item("nu"), item("N_opt", centre=5.0, compute=1e13), known=old.run_ids)
    alone = score(known, new)
    assert "18 of the sealed runs are not among the curves" in alone.items[0].missing
    both = join_curves([new, old])
    found = score(known, both)
    nu, optimum = found.items
    law = JointScalingFit().estimate(both).law
    assert nu.outcomes[0].measured == pytest.approx(law.nu)
    assert optimum.outcomes[0].measured == pytest.approx(float(law.N_opt(1e13)))

    # In decades: the baseline says 0.4 parameters.
    assert optimum.outcomes[0].baselines["naive"] == pytest.approx(np.log10(law.N_opt(1e13) / 0.4))


@pytest.mark.parametrize("noise", [0.02, 5.0])
def test_a_fit_that_does_not_determine_nu_is_said_to_score_it_in_vain(noise):
    old = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), points=60, noise=noise).curves(
        np.random.default_rng(0)
    )
    found = score(statement(item("nu"), known=old.run_ids), join_curves([runs_renamed(old), old]))
    assert len(found.items[0].outcomes) == 1
    assert ("refit_not_identified" in found.warning_codes) == (noise == 5.0)


def runs_renamed(curves):
    ids = tuple(f"new-{run_id}" for run_id in curves.run_ids)
    return replace(curves, run_ids=ids, table=curves.table.set_axis(list(ids)))


def test_joined_curves_hold_each_run_once():
    old, new = runs([0.1, 0.2], prefix="old"), runs([0.3], size=2e6)
    both = join_curves([new, old, new])
    assert both.run_ids == ("new-0", "old-0", "old-1")
    assert both.run_sizes.tolist() == [2e6, NEW_SIZE, NEW_SIZE]
    for run, value in enumerate([0.3, 0.1, 0.2]):
        assert set(both.curve(run)[1]) == {value}


# -- times ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started", "code"),
    [
        ({"new-0": "2026-01-03T00:00:00.000+00:00", "new-1": "2026-01-04T00:00:00.000+00:00"}, None),
        (
            {"new-0": "2026-01-03T00:00:00.000+00:00", "new-1": "2026-01-01T23:00:00.000+00:00"},
            "sealed_after_runs",
        ),
        (
            {"new-0": "2026-01-02T00:30:00.000+01:00", "new-1": "2026-01-04T00:00:00.000+00:00"},
            "sealed_after_runs",
        ),
        ({"new-0": "2026-01-03T00:00:00.000+00:00"}, "run_times_unknown"),
        (None, "run_times_unknown"),
    ],
)
def test_a_statement_that_came_after_the_runs_is_said_to(started, code):
    found = score(statement(), runs([0.5, 0.6]), started=started)
    assert found.warning_codes == ([] if code is None else [code])
    assert (found.first_row is None) == (code == "run_times_unknown")


def test_another_measure_of_size_is_refused():
    with pytest.raises(InputError, match="size='params'") as refused:
        score(statement(), replace(runs([0.5]), size="flops"))
    assert refused.value.code == "other_size"
