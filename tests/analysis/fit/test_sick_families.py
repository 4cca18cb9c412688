"""One ill run or size is seen and named; good families, and families under other units, are left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.bootstrap import Draws, intervals
from rlscale.analysis.fit.findings import IsoflopCheck, NuProfile
from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED, Evidence, warnings_for
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import OtherObjective
from rlscale.analysis.fit.sick_families import SICK, family_warnings
from rlscale.analysis.points.frontier import efficient_frontier
from rlscale.analysis.theory.power_law import PowerLaw

SWEEP = SyntheticSweep(
    alpha_N=0.3,
    alpha_E=0.5,
    N_c=1e-3,
    sizes=tuple(4e4 * 2.0 ** np.arange(7)),
    points=48,
    first_interactions=1e8 / 128,
    noise=0.02,
)
POINT = JointScalingFit(replicates=0)
TUNING = Path(__file__).parents[3] / "data" / "mnist_tuning" / "curves.parquet"


def drawn(seed: int = 0, sweep: SyntheticSweep = SWEEP) -> Curves:
    return sweep.curves(np.random.default_rng(seed))


def found(curves: Curves) -> dict[str, str]:
    estimate = POINT.estimate(curves)
    return dict(family_warnings(curves, estimate.preprocessor, estimate.points, estimate.law))


def changed(curves: Curves, rows, returns) -> Curves:
    return curves.with_returns(np.where(rows, returns, curves.returns))


def of_size(curves: Curves, place: int):
    return (curves.run_sizes == curves.sizes[place])[curves.run_index]


def shifted(curves: Curves, place: int, factor: float) -> Curves:
    """The curves with one size at I / factor: on a linear map a shift of the return."""
    log_i = SWEEP.law.log_intrinsic(np.log(curves.run_sizes[curves.run_index]), np.log(curves.interactions))
    return changed(
        curves, of_size(curves, place), curves.returns - np.log(factor) / (log_i.max() - log_i.min())
    )


@pytest.mark.parametrize("seed", range(4))
def test_good_families_are_left_alone(seed):
    assert found(drawn(seed)) == {}


@pytest.mark.parametrize("place", range(7))
def test_a_mistuned_size_is_named_wherever_it_stands(place):
    curves = drawn()
    said = found(shifted(curves, place, 4))
    assert f"Size {curves.sizes[place]:.4g} has" in said["size_apart"]
    assert "times less" in said["size_apart"]


@pytest.mark.parametrize("place", [3, 6])
def test_a_larger_size_below_the_next_smaller_is_named_with_both(place):
    curves = drawn()
    said = found(shifted(curves, place, 8))["larger_is_worse"]
    assert f"Size {curves.sizes[place]:.4g} lies below size {curves.sizes[place - 1]:.4g} at 1" in said


@pytest.mark.parametrize("run", [0, 10, 20])
def test_a_collapsed_run_is_named(run):
    curves = drawn()
    late = (curves.run_index == run) & (curves.interactions > 6e7)
    said = found(changed(curves, late, curves.returns.min()))["run_apart"]
    assert said.startswith(f"Run {curves.run_ids[run]} ends far below the other runs of size")


@pytest.mark.parametrize("place", range(7))
def test_a_size_whose_runs_all_collapse_is_named(place):
    curves = drawn()
    late = of_size(curves, place) & (curves.interactions > 6e7)
    said = found(changed(curves, late, curves.returns.min()))["returns_fall"]
    assert f"The returns of size {curves.sizes[place]:.4g} end below earlier ones" in said


def test_codes_do_not_depend_on_the_scale_of_the_returns():
    curves = shifted(drawn(), 3, 8)
    assert found(curves.with_returns(np.exp(3 * curves.returns))).keys() == found(curves).keys()
    assert found(curves.with_returns(1e6 * curves.returns - 3)).keys() == found(curves).keys()


def test_families_with_one_seed_without_noise_and_of_few_sizes_are_judged_too():
    one_seed = drawn(sweep=replace(SWEEP, seeds=1))
    assert found(one_seed) == {}
    assert found(shifted(one_seed, 3, 8)).keys() >= {"larger_is_worse", "size_apart"}
    clean = drawn(sweep=replace(SWEEP, noise=0.0))
    assert found(clean) == {}
    assert "size_apart" in found(shifted(clean, 3, 4))
    three = drawn(sweep=replace(SWEEP, sizes=SWEEP.sizes[::3]))
    assert found(three) == {}
    assert "larger_is_worse" in found(shifted(three, 2, 30))


def test_a_sick_family_is_not_identified():
    result = POINT.fit(shifted(drawn(), 6, 8))
    assert {"larger_is_worse", "size_apart"} <= set(result.warning_codes)
    assert not result.identified
    assert SICK <= NOT_IDENTIFIED


def test_losses_are_recognised_and_minimize_cures_them():
    curves = drawn()
    said = found(curves.with_returns(-curves.returns))
    assert list(said) == ["looks_like_losses"]
    assert (
        "falls with training in 21 of 21 runs: if it is a loss, use minimize=True"
        in said["looks_like_losses"]
    )
    wrongly = replace(curves.with_returns(-curves.returns), minimize=True)
    assert "return_mean rises with training" in found(wrongly)["looks_like_losses"]


def test_groups_fitted_together_are_named_and_do_not_decide_identification():
    said = found(replace(drawn(), groups=(("env_name", ("maze", "coin run")),)))
    assert "load_by(source, 'env_name')" in said["groups_fitted_together"]
    assert "groups_fitted_together" not in NOT_IDENTIFIED


# -- real curves --------------------------------------------------------------------


def mnist(size: int | None, rate: float) -> Curves:
    """MNIST at five widths, all at the base rate 0.002, or one at another."""
    frame = pd.read_parquet(TUNING)
    wanted = np.where(frame["num_params"] == size, rate, 0.002)
    return curves_from_frame(frame[frame["learning_rate"] == wanted])


def test_well_tuned_mnist_is_left_alone():
    assert found(mnist(None, 0.002)) == {}


@pytest.mark.parametrize(("size", "rate"), [(40_710, 0.0005), (160_386, 0.0005), (160_386, 0.008)])
def test_one_width_of_mnist_at_four_times_or_a_quarter_of_its_rate_is_named(size, rate):
    assert f"Size {size:.4g} has" in found(mnist(size, rate))["size_apart"]


def test_the_smallest_width_of_mnist_at_four_times_its_rate_is_seen_but_its_neighbour_named():
    """Two of its three seeds learn next to nothing, and the others agree about as well without either."""
    assert found(mnist(826, 0.008))["size_apart"].startswith("Size 2781 has")


# -- contradictions -----------------------------------------------------------------


def evidence(*, nu=0.6, draws_nu=(0.55, 0.65), draws_k=(0.8, 0.8), other_nu=0.6) -> Evidence:
    """A good fit but for the given estimates, and draws spread evenly over the given ranges."""
    curves = drawn()
    estimate = POINT.estimate(curves)
    log_c0, count = estimate.law.log_c0, 99
    laws = [
        PowerLaw(float(a), float(b), estimate.law.m, log_c0)
        for a, b in zip(np.linspace(*draws_nu, count), np.linspace(*draws_k, count), strict=True)
    ]
    other = PowerLaw(other_nu, 0.8, estimate.law.m, log_c0).estimates()
    del other["N_c"], other["E_c"]
    return Evidence(
        curves=curves,
        points=estimate.points,
        law=PowerLaw(nu, 0.8, estimate.law.m, log_c0),
        unexplained=0.01,
        bounds_hit=[],
        draws=Draws.of("seeds", laws),
        intervals=intervals(laws),
        systematic={"nu": 0.0},
        other=OtherObjective(objective="paper", intervals={}, loss=0.1, **other),
        isoflop=IsoflopCheck(vertices=[], nu=None, nu_interval=None),
        frontier=efficient_frontier(estimate.points),
        late_start=None,
        profile=NuProfile(nu=np.array([0.1, 0.6, 0.9]), loss=np.array([0.5, 0.1, 0.5])),
        sick=[],
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"draws_nu": (0.02, 0.65)}, None),  # some draws there, but not the end of the interval
        ({"draws_nu": (0.02, 0.3), "nu": 0.1, "other_nu": 0.1}, None),
        ({"draws_nu": (0.0199, 0.0201), "nu": 0.02, "other_nu": 0.02}, "interval_at_bound"),
        ({"draws_nu": (0.5, 0.98), "nu": 0.7}, None),
        ({"draws_nu": (0.98, 0.98), "nu": 0.98}, "interval_at_bound"),
        ({"draws_k": (0.8, 30.0)}, None),
        ({"draws_k": (0.02, 0.02)}, "interval_at_bound"),
        ({"draws_nu": (0.7, 0.8)}, "estimate_outside_interval"),
        ({"draws_nu": (0.4, 0.5)}, "estimate_outside_interval"),
        ({"nu": 0.95, "draws_nu": (0.93, 0.96), "other_nu": 0.05}, "objectives_opposite"),
        ({"nu": 0.05, "draws_nu": (0.04, 0.06), "other_nu": 0.95}, "objectives_opposite"),
        ({"other_nu": 0.05}, None),  # noise alone drives the paper's objective to an end
    ],
)
def test_contradictions_within_a_fit_say_that_it_is_not_identified(changes, code):
    codes = {code for code, _ in warnings_for(evidence(**changes))}
    mine = codes & {"interval_at_bound", "estimate_outside_interval", "objectives_opposite"}
    assert mine == ({code} if code else set())
    assert mine <= NOT_IDENTIFIED


def test_a_size_that_ends_before_a_late_start_is_passed_over():
    sweep = SyntheticSweep(noise=0.03, points=120, max_interactions=1e8, late_start=0.02, seeds=2)
    curves = sweep.curves(np.random.default_rng(0))
    largest = curves.run_sizes[curves.run_index] == curves.sizes[-1]
    short = curves.with_rows(~largest | (curves.interactions <= 2e6))
    fit = JointScalingFit(replicates=20, check_replicates=0).fit(short)
    assert fit.late_start.gate != "none"
    assert fit.points.N.max() < curves.sizes[-1]
    assert "size_apart" not in fit.warning_codes
