"""Nothing that a fit says depends on the units of N, E and R, or on the order of rows and runs."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult

SWEEP = SyntheticSweep(
    sizes=tuple(4e4 * 4.0 ** np.arange(4)), seeds=2, noise=0.03, points=24, first_interactions=1e6
)
CURVES = SWEEP.curves(np.random.default_rng(0))
#: Learning of these starts late.
LATE = replace(SWEEP, late_start=0.02, first_interactions=1e5, points=30).curves(np.random.default_rng(1))
FACTORS = st.floats(-6, 6).map(lambda exponent: 10.0**exponent) | st.sampled_from([1e3, 1e6])
INCREASING = {
    "exponential": lambda r: np.exp(6 * r),
    "cube": lambda r: (r - 0.4) ** 3,
}


def fitted(curves: Curves, objective: str) -> FitResult:
    return JointScalingFit(objective=objective, replicates=20, check_replicates=20).fit(curves)


def assert_same(a: FitResult, b: FitResult) -> None:
    assert a.warning_codes == b.warning_codes
    assert a.identified == b.identified
    for name in ("nu", "alpha_N", "alpha_E", "beta"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-6)
        for kind in ("intervals", "intervals_bias_corrected", "intervals_total"):
            assert getattr(a, kind)[name] == pytest.approx(getattr(b, kind)[name], abs=1e-6)


@cache
def original(objective: str, late: bool) -> FitResult:
    fit = fitted(LATE if late else CURVES, objective)
    assert (fit.late_start.gate != "none") == late
    return fit


@pytest.mark.parametrize(("objective", "late"), [("return", False), ("return", True), ("paper", False)])
@settings(max_examples=2, deadline=None, derandomize=True)
@given(of_n=FACTORS, of_e=FACTORS, of_r=FACTORS, shift=st.floats(-3, 3), seed=st.integers(0, 99))
def test_units_and_order_leave_estimates_intervals_and_codes(objective, late, of_n, of_e, of_r, shift, seed):
    before, frame = original(objective, late), curves_frame(LATE if late else CURVES)
    frame["num_params"] *= of_n
    frame["interactions"] *= of_e
    frame["return_mean"] = of_r * (frame["return_mean"] + shift)
    frame["note"] = "a column that says nothing"
    # Runs in another order, their rows among each other.
    frame = frame.sample(frac=1, random_state=seed).sort_values("interactions", kind="stable")
    after = fitted(curves_from_frame(frame), objective)
    assert_same(after, before)
    assert after.N_opt_ref / of_n == pytest.approx(before.N_opt_ref, rel=1e-6)
    assert after.compute_ref / (of_n * of_e) == pytest.approx(before.compute_ref, rel=1e-6)


@pytest.mark.parametrize("name", INCREASING)
def test_increasing_functions_of_returns_leave_the_return_objective(name):
    changed = INCREASING[name](CURVES.returns)
    np.testing.assert_array_equal(np.argsort(changed), np.argsort(CURVES.returns))
    assert_same(fitted(CURVES.with_returns(changed), "return"), original("return", late=False))


def test_curves_are_held_in_order_of_their_runs_names():
    frame = curves_frame(CURVES)
    names = {name: f"r{place:02d}" for place, name in enumerate(reversed(CURVES.run_ids))}
    renamed = curves_from_frame(frame.assign(run_id=frame["run_id"].map(names)))
    assert renamed.run_ids == tuple(sorted(names.values()))
    assert list(renamed.table.index) == list(renamed.run_ids)
    for run, name in enumerate(renamed.run_ids):
        known = CURVES.run_ids.index(next(old for old, new in names.items() if new == name))
        assert renamed.run_sizes[run] == CURVES.run_sizes[known]
        for mine, theirs in zip(renamed.curve(run), CURVES.curve(known), strict=True):
            np.testing.assert_array_equal(mine, theirs)
