"""The health of runs: each sign by itself, what is no sign, and what is left of unhealthy runs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.curves.curve_set import METRICS, Curves
from rlscale.analysis.studies.health.runs import (
    assess_health,
    held_from,
    share_lost,
    trailing_mean,
    without_unhealthy,
)

E = np.arange(1, 101) * 100.0
RISING = 1 - np.exp(-E / 2000)
FINE = {
    "policy_features": np.full(100, 64.0),
    "policy_approximate_rank": np.full(100, 20.0),
    "policy_dead_share": np.full(100, 0.1),
    "policy_variance": np.full(100, 0.08),
    "policy_preactivation_norm": np.full(100, 3.0),
    "excess_ratio": np.full(100, 2.0),
}


def curves_of(*runs: np.ndarray, **metrics: np.ndarray) -> Curves:
    """Runs of one size each; the metrics are those of the last one, the others' are fine."""
    count = len(runs)
    return Curves(
        run_ids=tuple(f"r{i}" for i in range(count)),
        run_sizes=10.0 ** np.arange(1, count + 1),
        run_index=np.repeat(np.arange(count), 100),
        interactions=np.tile(E, count),
        returns=np.concatenate(runs),
        table=pd.DataFrame(index=[f"r{i}" for i in range(count)]),
        metrics={
            name: np.concatenate([np.tile(FINE[name], count - 1), metrics.get(name, FINE[name])])
            for name in METRICS
        }
        if metrics
        else {},
    )


def falling_to(share: float, start: float = 6000.0) -> np.ndarray:
    """A run that loses all but ``share`` of its return from ``start`` on, within 500 steps."""
    return RISING * (1 - (1 - share) * np.clip((E - start) / 500, 0, 1))


@pytest.mark.parametrize(
    ("share", "state"), [(1.0, "healthy"), (0.85, "healthy"), (0.6, "degrading"), (0.3, "collapsed")]
)
def test_a_lost_return_is_seen_in_any_curve_and_dated(share, state):
    healthy, run = assess_health(curves_of(RISING, falling_to(share)))
    assert healthy.state == "healthy"
    assert (healthy.began, healthy.signs) == (None, {})
    assert run.state == state
    if state != "healthy":
        assert set(run.signs) == {"return"}
        assert 6000 < run.began <= 7100
        assert run.began == run.signs["return"]


def test_a_fall_that_a_run_recovers_from_is_no_sign():
    dip = RISING * np.where((E > 4000) & (E < 6000), 0.2, 1.0)
    assert assess_health(curves_of(RISING, dip))[1].state == "healthy"


FROM_60 = np.arange(100) >= 60


@pytest.mark.parametrize(
    ("name", "ill", "sign"),
    [
        ("policy_variance", 0.0, "variance"),
        ("policy_approximate_rank", 3.0, "rank"),
        ("policy_dead_share", 0.97, "dead_units"),
    ],
)
def test_a_lost_representation_is_degrading_and_with_a_lost_return_collapsed(name, ill, sign):
    metric = {name: np.where(FROM_60, ill, FINE[name])}
    run = assess_health(curves_of(RISING, RISING, **metric))[-1]
    assert (run.state, set(run.signs)) == ("degrading", {sign})
    assert E[60] <= run.began <= E[66]  # the mean over 5% of training follows later
    worse = assess_health(curves_of(RISING, falling_to(0.7), **metric))[-1]
    assert (worse.state, set(worse.signs)) == ("collapsed", {"return", sign})


def test_few_directions_from_the_beginning_are_no_illness():
    low = {"policy_approximate_rank": np.full(100, 3.0), "policy_dead_share": np.full(100, 0.9)}
    assert assess_health(curves_of(RISING, RISING, **low))[-1].state == "healthy"


def test_metrics_of_some_rows_are_enough():
    sparse = np.where(np.arange(100) % 10 == 0, np.where(FROM_60, 0.0, 0.08), np.nan)
    run = assess_health(curves_of(RISING, RISING, policy_variance=sparse))[-1]
    assert run.signs == {"variance": E[60]}


def test_noise_and_curves_without_a_trend_are_no_illness():
    rng = np.random.default_rng(0)
    noisy = RISING + rng.normal(0, 0.15, 100)
    flat = rng.normal(0.05, 0.02, 100)
    assert [run.state for run in assess_health(curves_of(RISING, noisy, flat))] == ["healthy"] * 3


@given(
    st.lists(st.floats(-5, 5), min_size=8, max_size=40),
    st.floats(0.1, 100),
    st.floats(-100, 100),
)
def test_what_is_lost_does_not_depend_on_the_unit_of_the_return(values, unit, origin):
    returns = np.round(np.array(values), 3)
    e = np.arange(1.0, len(returns) + 1)
    spread = float(np.ptp(returns)) or 1.0
    lost = share_lost(e, returns, spread)
    again = share_lost(e, unit * returns + origin, unit * spread)
    assert (lost >= 0).all()
    # A loss at the very bound may fall on either side of it.
    np.testing.assert_allclose(again[(lost > 0) & (again > 0)], lost[(lost > 0) & (again > 0)], rtol=1e-6)


def test_trailing_means_are_of_the_last_twentieth_of_training():
    np.testing.assert_allclose(trailing_mean(E, E)[[0, 3, 99]], [100, 250, np.mean(E[95:])])
    values = np.full(100, np.nan)
    values[[10, 11]] = 1.0, 3.0
    found = trailing_mean(E, values)
    assert np.isnan(found[:10]).all()
    assert found[[10, 11, 14, 15, 16, 99]].tolist() == [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]


def test_a_sign_is_dated_by_where_it_last_began():
    holds = np.array([True, False, True, True])
    assert held_from(np.array([1.0, 2, 3, 4]), holds) == 3
    assert held_from(np.array([1.0, 2, 3, 4]), ~holds) is None
    assert held_from(np.array([1.0, 2, 3, 4]), np.ones(4, bool)) == 1


def test_cut_keeps_what_an_unhealthy_run_did_before_and_drop_nothing_of_it():
    curves = curves_of(RISING, falling_to(0.2), policy_variance=FINE["policy_variance"])
    health = assess_health(curves)
    cut = without_unhealthy(curves, health, whole_runs=False)
    drop = without_unhealthy(curves, health, whole_runs=True)
    assert (cut.run_ids, drop.run_ids) == (("r0", "r1"), ("r0",))
    assert cut.curve(0)[0].tolist() == drop.curve(0)[0].tolist() == E.tolist()
    assert cut.curve(1)[0].max() < health[1].began
    assert len(cut.metric("policy_variance")) == cut.num_points
