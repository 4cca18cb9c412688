"""A late start is fitted with a delay, says so, and curves without one are fitted as ever."""

from dataclasses import replace

import numpy as np
import pytest

from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.late_start import Treatment, averaged_law, delay_weights
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.sizes import optimal_size
from rlscale.analysis.forecast.suggest import suggest
from rlscale.analysis.studies.backtest.splits import default_splits
from rlscale.analysis.studies.backtest.study import backtest
from rlscale.analysis.studies.with_studies import with_studies
from rlscale.analysis.theory.delay import Delay
from rlscale.scaling.errors import InputError

QUICK = JointScalingFit(replicates=20, check_replicates=20)
LATE = SyntheticSweep(
    sizes=tuple(4e4 * 2.0 ** np.arange(8)),
    points=90,
    first_interactions=1e8 / 4096,
    noise=0.02,
    late_start=0.01,
)
SOON = replace(LATE, late_start=0.0, first_interactions=1e8 / 128, points=48)


def curves_of(sweep: SyntheticSweep, seed: int = 0):
    return sweep.curves(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def late() -> FitResult:
    return QUICK.fit(curves_of(LATE))


def test_a_sharp_start_biases_the_plain_fit_and_not_this_one(late):
    found = late.late_start
    assert found.gate == "sharp"
    assert found.onset == pytest.approx(1e6, rel=0.1)
    assert found.not_before == 1.5 * found.onset
    assert late.range.E[0] >= found.not_before
    assert abs(late.nu - LATE.law.nu) < 0.04 < abs(found.nu_without - LATE.law.nu)
    assert found.nu_without == JointScalingFit(late_start="ignore").estimate(curves_of(LATE)).law.nu
    assert "late_start" in late.warning_codes
    assert late.identified


def test_curves_without_a_late_start_are_fitted_as_if_none_was_looked_for():
    looked, ignored = (
        replace(QUICK, late_start=choice).fit(curves_of(SOON)) for choice in ("auto", "ignore")
    )
    assert looked.late_start.gate == "none"
    assert looked.late_start.nu == looked.late_start.nu_without == looked.nu
    assert ignored.late_start is None
    unlike = {"late_start", "options"}
    assert looked.model_dump(exclude=unlike) == ignored.model_dump(exclude=unlike)


def test_the_optimum_counts_the_interactions_before_the_start(late):
    compute = float(np.sqrt(late.range.C[0] * late.range.C[1]))
    best = optimal_size(late, compute)
    grid = np.geomspace(best.N_opt / 3, best.N_opt * 3, 2001)
    reached = late.law.intrinsic(grid, compute / grid)
    assert best.N_opt == pytest.approx(float(grid[reached.argmax()]), rel=0.01)
    assert best.N_opt * best.E_opt == pytest.approx(compute)
    assert best.intervals["N_opt"][0] < best.N_opt < best.intervals["N_opt"][1]
    assert best.return_ == pytest.approx(float(late.predict_return(best.N_opt, best.E_opt)))


def test_the_result_survives_its_json_with_its_delay(late, tmp_path):
    again = FitResult.model_validate_json(late.to_json())
    assert again == late
    assert again.delay == late.delay == Delay("sharp", late.late_start.onset)
    assert np.allclose([law.m for law in again.draw_laws()], [law.m for law in late.draw_laws()])
    shares = late.bootstrap.delay / late.late_start.onset
    assert 0.8 <= shares.min() < shares.max() <= 1.1


def test_every_study_of_a_late_start_has_finite_results():
    curves = curves_of(replace(LATE, sizes=tuple(4e4 * 4.0 ** np.arange(5)), seeds=2, points=45))
    estimator = JointScalingFit(replicates=20, check_replicates=0)
    fit = estimator.fit(curves)
    assert fit.delay
    studied = with_studies(curves, fit, periods=True, metric="return")
    assert all(0 < one.nu < 1 for one in studied.periods)
    assert np.isfinite(studied.metric.candidates[0].r_squared)
    assert suggest(fit, fit.range.C[1] / 10).narrower > 1
    tested = backtest(curves, default_splits(curves, estimator)[1:], estimator)
    assert np.isfinite([one.returns.mean_absolute for one in tested.splits]).all()


def test_a_known_delay_is_used_as_it_is():
    law = QUICK.estimate(curves_of(LATE), delay=Delay("sharp", 1e6)).law
    assert law.delay == Delay("sharp", 1e6)
    assert law.nu == pytest.approx(LATE.law.nu, abs=0.04)


def test_a_soft_start_weighs_its_delays_by_their_losses():
    curves = curves_of(replace(SOON, noise=0.01))
    plain = QUICK.estimate(curves)
    treatment = Treatment(0.0, tuple(Delay("soft", share * 1e6) for share in (0.0, 1.0, 8.0)))
    laws = [QUICK.estimate(curves, delay=delay).law for delay in treatment.delays]
    weight = delay_weights(laws, plain.points)
    assert weight.sum() == pytest.approx(1)
    assert weight[0] > weight[2]
    mean = averaged_law(laws, weight)
    assert mean.nu == pytest.approx(float(weight @ [law.nu for law in laws]))
    assert mean.delay.steps == pytest.approx(float(weight @ [law.delay.steps for law in laws]))
    drawn = treatment.drawn(weight, 4000, np.random.default_rng(0))
    assert np.mean([delay.steps == 0 for delay in drawn]) == pytest.approx(weight[0], abs=0.03)


def test_a_start_in_the_last_part_of_training_is_not_identified():
    found = QUICK.fit(curves_of(replace(LATE, late_start=0.1)))
    assert not found.identified
    assert "start_too_late" in found.warning_codes


def test_learning_that_sets_in_gradually_is_not_identified_where_dense_rows_show_it():
    dense = replace(LATE, points=1000, first_interactions=None, late_start=0.0)
    ramp, none = (
        replace(JointScalingFit(), replicates=0, check_replicates=0).fit(
            curves_of(replace(dense, ramp=share))
        )
        for share in (0.03, 0.0)
    )
    assert ramp.late_start.gradual.seen
    assert not none.late_start.gradual.seen
    assert "gradual_start" in ramp.warning_codes
    assert not ramp.identified
    assert ramp.late_start.gradual.nu < ramp.nu
    assert none.identified


@pytest.mark.parametrize(("first", "said"), [(1e8 / 4096, False), (2e6, True)])
def test_a_start_before_the_first_rows_is_said_to_be_out_of_sight(first, said):
    frame = curves_frame(curves_of(replace(LATE, points=400, first_interactions=1e8 / 4096)))
    lowest = frame["return_mean"].min()  # what a policy that has learned nothing gets
    kept = frame[frame["interactions"] >= first].assign(return_low=lowest, return_high=10 + lowest)
    found = replace(QUICK, replicates=0, check_replicates=0).fit(curves_from_frame(kept))
    assert ("start_not_seen" in found.warning_codes) == said


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="late_start must be 'auto' or 'ignore'"):
        JointScalingFit(late_start="often")
