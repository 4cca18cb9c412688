"""Refits of a sweep under other choices: thirds of training, other measures of size."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.studies.refits import fit_periods, fit_size_measures, interaction_flops, within_training
from rlscale.scaling.errors import InputError

SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(7)), points=240)
QUICK = JointScalingFit(replicates=0)


@pytest.fixture(scope="module")
def curves() -> Curves:
    made = SWEEP.curves(np.random.default_rng(0))
    n = made.run_sizes
    table = made.table.assign(
        num_params=n, num_params_total=2 * n, flops_forward=50 * n, flops_per_interaction=400 * n
    )
    return replace(made, table=table)


def test_the_thirds_of_training_share_it_out_and_each_spans_a_factor_of_four(curves):
    edges = [1 / 64, 1 / 16, 1 / 4, 1.0]
    parts = [within_training(curves, low, high) for low, high in pairwise(edges)]
    last = SWEEP.max_interactions
    assert sum(part.num_points for part in parts) == int((curves.interactions > last / 64).sum())
    for part, high in zip(parts, edges[1:], strict=True):
        assert part.interactions.max() == pytest.approx(high * last)
        assert part.num_runs == curves.num_runs


def test_noise_free_curves_have_one_law_in_all_periods(curves):
    fit = QUICK.fit(curves)
    periods = fit_periods(curves, fit, QUICK)
    assert [p.period for p in periods] == ["early", "middle", "late"]
    assert [p.span for p in periods] == [(1 / 64, 1 / 16), (1 / 16, 1 / 4), (1 / 4, 1.0)]
    for period in periods:
        assert period.nu == pytest.approx(SWEEP.law.nu, abs=0.03)


def test_each_period_has_an_interval_of_its_own(curves):
    noisy = curves.with_returns(
        SyntheticSweep(**{**SWEEP.__dict__, "noise": 0.02}).curves(np.random.default_rng(3)).returns
    )
    estimator = JointScalingFit(replicates=20)
    for period in fit_periods(noisy, estimator.fit(noisy), estimator):
        low, high = period.intervals["nu"]
        assert low < high
        assert set(period.intervals) == {"nu", "alpha_N", "alpha_E", "beta", "N_opt_ref"}


def test_a_run_that_ends_early_is_missing_from_late_training(curves):
    first = curves.run_index == 0
    kept = ~first | (curves.interactions < SWEEP.max_interactions / 8)
    cut = replace(
        curves,
        run_index=curves.run_index[kept],
        interactions=curves.interactions[kept],
        returns=curves.returns[kept],
    )
    late = within_training(cut, 0.25, 1.0)
    assert late.run_ids == curves.run_ids[1:]
    assert late.run_index.min() == 0
    assert list(late.table.index) == list(late.run_ids)


def test_periods_that_cannot_be_made_are_refused(curves):
    with pytest.raises(InputError, match="needs a start"):
        fit_periods(curves, QUICK.fit(curves), replace(QUICK, early_exclusion=0.0))
    sparse = SyntheticSweep(sizes=SWEEP.sizes, points=3).curves(np.random.default_rng(0))
    with pytest.raises(InputError, match="The early third of training cannot be fitted"):
        fit_periods(sparse, QUICK.fit(sparse), QUICK)


def test_a_measure_proportional_to_the_main_one_gives_the_same_optimum(curves):
    fit = QUICK.fit(curves)
    measures = fit_size_measures(curves, fit, QUICK)
    assert [(m.size, m.per_unit) for m in measures] == [("params_total", 2.0), ("flops", 50.0)]
    for measure in measures:
        assert measure.nu == pytest.approx(fit.nu, abs=1e-6)
        assert measure.N_opt_ref == pytest.approx(fit.N_opt_ref, rel=1e-6)


def test_the_optimum_by_flops_is_that_of_the_law_with_the_measure_put_in(curves):
    """With FLOPs as a power of parameters, F = c N^0.8, N_opt by FLOPs follows from E and N at I = C."""
    flops = 50.0 * curves.run_sizes**0.8
    bent = replace(curves, table=curves.table.assign(flops_forward=flops))
    measure = fit_size_measures(bent, QUICK.fit(bent), QUICK)[-1]
    # alpha_N becomes alpha_N / 0.8; alpha_E stays.
    expected = SWEEP.alpha_E / (SWEEP.alpha_E + SWEEP.alpha_N / 0.8)
    assert measure.nu == pytest.approx(expected, abs=0.01)
    assert measure.per_unit == pytest.approx(float(np.median(flops / curves.run_sizes)))


def test_measures_that_some_run_lacks_are_left_out(curves):
    gone = curves.table["flops_forward"].where(np.arange(curves.num_runs) > 0)
    lacking = replace(curves, table=curves.table.assign(flops_forward=gone))
    assert [m.size for m in fit_size_measures(lacking, QUICK.fit(lacking), QUICK)] == ["params_total"]


def test_training_flops_are_known_by_size_or_not_at_all(curves):
    found = interaction_flops(curves)
    assert found is not None
    assert tuple(found.N) == SWEEP.sizes
    assert found.flops == pytest.approx(400 * np.asarray(SWEEP.sizes))
    assert interaction_flops(replace(curves, table=curves.table[["num_params"]])) is None
