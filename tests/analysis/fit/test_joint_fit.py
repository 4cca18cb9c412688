"""The joint fit recovers known exponents, ignores the scale of returns, and says when it cannot know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SHAPES, SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.objectives import PaperObjective, ReturnObjective, mid_compute
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.fit.search import SearchOptions
from rlscale.analysis.points.preprocess import Preprocessor
from rlscale.scaling.errors import FitDidNotConverge, InputError

SIZES = tuple(4e4 * 2.0 ** np.arange(8))
OBJECTIVES = ["return", "paper"]
TRUTHS = [(0.3, 0.5, 1e-3), (0.6, 0.4, 1.0), (0.5, 0.5, 0.3)]
RESCALINGS = {
    "exp": lambda r: np.exp(8 * r),
    "sigmoid": lambda r: expit(6 * (r - 0.5)),
    "cube": lambda r: (r - 0.5) ** 3,
}


def sweep(**options) -> SyntheticSweep:
    return SyntheticSweep(**{"sizes": SIZES, "seeds": 1, **options})


def exponents(curves: Curves, **options) -> np.ndarray:
    law = JointScalingFit(**options).estimate(curves).law
    return np.array([law.alpha_N, law.alpha_E, law.nu])


@pytest.fixture(scope="module")
def fitted() -> FitResult:
    curves = sweep(seeds=3, noise=0.02).curves(np.random.default_rng(0))
    return JointScalingFit(replicates=40, seed=1).fit(curves)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ceiling"])
@pytest.mark.parametrize(("alpha_N", "alpha_E", "N_c"), TRUTHS)
def test_exponents_of_noise_free_curves_are_recovered(objective, shape, alpha_N, alpha_E, N_c):
    truth = SyntheticSweep(alpha_N=alpha_N, alpha_E=alpha_E, N_c=N_c, shape=shape, seeds=1)
    found = exponents(truth.curves(np.random.default_rng(0)), objective=objective)
    np.testing.assert_allclose(found, [alpha_N, alpha_E, alpha_E / (alpha_N + alpha_E)], atol=1e-3)


@pytest.mark.parametrize(
    ("objective", "noise", "tolerance"),
    [("return", 0.0, 2e-3), ("return", 0.005, 0.05), ("paper", 0.0, 0.02)],
)
@pytest.mark.parametrize(("alpha_N", "alpha_E", "N_c"), TRUTHS)
def test_a_plateau_at_the_top_is_harmless(objective, noise, tolerance, alpha_N, alpha_E, N_c):
    truth = SyntheticSweep(alpha_N=alpha_N, alpha_E=alpha_E, N_c=N_c, shape="ceiling", noise=noise)
    found = exponents(truth.curves(np.random.default_rng(0)), objective=objective)
    nu = alpha_E / (alpha_N + alpha_E)
    np.testing.assert_allclose(found, [alpha_N, alpha_E, nu], atol=tolerance)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_optimum_of_noise_free_curves_is_recovered(objective):
    truth = sweep()
    law = JointScalingFit(objective=objective).estimate(truth.curves(np.random.default_rng(0))).law
    assert law.N_opt(1e13) == pytest.approx(float(truth.law.N_opt(1e13)), rel=2e-3)
    assert law.log_N_c == pytest.approx(truth.law.log_N_c, abs=0.05)


# The paper's objective smooths returns, which a rescaling that is flat somewhere (the cube) interferes with.
@pytest.mark.parametrize(("objective", "tolerance"), [("return", 1e-9), ("paper", 0.02)])
@pytest.mark.parametrize("name", RESCALINGS)
def test_rescaling_noise_free_returns_leaves_the_exponents(objective, tolerance, name):
    curves = sweep().curves(np.random.default_rng(0))
    rescaled = curves.with_returns(RESCALINGS[name](curves.returns))
    before, after = (exponents(c, objective=objective) for c in (curves, rescaled))
    np.testing.assert_allclose(after, before, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", RESCALINGS)
@pytest.mark.parametrize(("shape", "noise"), [("linear", 0.05), ("saturating", 0.03), ("sigmoid", 0.05)])
def test_rescaling_noisy_returns_leaves_the_exponents_of_the_return_objective(name, shape, noise):
    curves = sweep(shape=shape, noise=noise, seeds=3).curves(np.random.default_rng(4))
    rescaled = curves.with_returns(RESCALINGS[name](curves.returns))
    np.testing.assert_allclose(exponents(rescaled), exponents(curves), atol=1e-9)


@pytest.mark.parametrize("name", ["exp", "sigmoid"])
@pytest.mark.parametrize("shape", ["linear", "saturating"])
def test_rescaling_noisy_returns_hardly_moves_the_exponents_of_the_paper_objective(name, shape):
    curves = sweep(shape=shape, noise=0.02, seeds=3).curves(np.random.default_rng(4))
    rescaled = curves.with_returns(RESCALINGS[name](curves.returns))
    before, after = (exponents(c, objective="paper") for c in (curves, rescaled))
    np.testing.assert_allclose(after, before, rtol=0, atol=0.02)


def test_noise_moves_the_exponents_little():
    rng = np.random.default_rng(5)
    errors = [exponents(sweep(noise=0.02, seeds=3).curves(rng)) - [0.3, 0.5, 0.625] for _ in range(5)]
    assert np.abs(np.mean(errors, axis=0)).max() < 0.03


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_gradient_of_the_paper_objective_agrees_with_central_differences(noise):
    curves = sweep(noise=noise, seeds=2).curves(np.random.default_rng(6))
    points = Preprocessor(curves).points()
    objective = PaperObjective(points, mid_compute(points))
    for theta in ([0.3, -0.5, 13.0], [-1.0, 0.4, 12.0], [1.5, -1.0, 15.0]):
        theta = np.array(theta)
        _, gradient = objective.loss_and_gradient(theta)
        numeric = [
            (objective.loss(theta + step) - objective.loss(theta - step)) / 2e-5 for step in 1e-5 * np.eye(3)
        ]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-7)


def test_the_true_law_leaves_nothing_unexplained_without_noise():
    truth = sweep()
    points = Preprocessor(truth.curves(np.random.default_rng(0))).points()
    law = truth.law
    log_c0 = mid_compute(points)
    theta = law.stated_at(log_c0).theta
    assert ReturnObjective(points, log_c0).loss(theta) < 1e-6
    assert PaperObjective(points, log_c0).loss(theta) < 1e-6


def test_logging_more_often_does_not_change_the_fit():
    coarse, fine = (exponents(sweep(points=n).curves(np.random.default_rng(0))) for n in (500, 4000))
    np.testing.assert_allclose(coarse, fine, atol=2e-3)


def test_the_units_of_size_and_experience_do_not_matter_to_the_exponents():
    curves = sweep(noise=0.02, seeds=2).curves(np.random.default_rng(7))
    other = Curves(
        **{
            **curves.__dict__,
            "run_sizes": curves.run_sizes * 123.0,
            "interactions": curves.interactions * 4.0,
        }
    )
    np.testing.assert_allclose(exponents(other), exponents(curves), rtol=0, atol=1e-9)


def test_more_seeds_at_one_size_do_not_tilt_noise_free_fits():
    curves = sweep().curves(np.random.default_rng(0))
    runs = [*range(curves.num_runs), 7, 7, 7]
    lengths = np.bincount(curves.run_index)
    uneven = Curves(
        run_ids=tuple(f"r{i}" for i in range(len(runs))),
        run_sizes=curves.run_sizes[runs],
        run_index=np.repeat(np.arange(len(runs)), lengths[runs]),
        interactions=np.concatenate([curves.curve(r)[0] for r in runs]),
        returns=np.concatenate([curves.curve(r)[1] for r in runs]),
        table=curves.table.iloc[runs],
    )
    even_points, uneven_points = Preprocessor(curves).points(), Preprocessor(uneven).points()
    np.testing.assert_allclose(uneven_points.weight, even_points.weight, rtol=1e-9)
    np.testing.assert_allclose(uneven_points.returns, even_points.returns, rtol=1e-9)


def test_fitting_leaves_the_curves_alone():
    curves = sweep(noise=0.02).curves(np.random.default_rng(8))
    before = curves.returns.copy(), curves.interactions.copy()
    JointScalingFit().estimate(curves)
    np.testing.assert_array_equal(curves.returns, before[0])
    np.testing.assert_array_equal(curves.interactions, before[1])


# -- preprocessing ----------------------------------------------------------------


def test_early_training_is_cut_relative_to_the_longest_run_of_each_size():
    curves = sweep(seeds=1).curves(np.random.default_rng(0))
    longer = curves.run_sizes[curves.run_index] == SIZES[-1]
    stretched = Curves(
        **{**curves.__dict__, "interactions": np.where(longer, 100.0, 1.0) * curves.interactions}
    )
    points = Preprocessor(stretched, early_exclusion=1 / 8).points()
    for size, factor in ((0, 1), (len(SIZES) - 1, 100)):
        assert np.exp(points.log_e[points.size == size].min()) == pytest.approx(factor * 1e8 / 8, rel=0.05)


def test_weights_are_uniform_in_log_experience():
    points = Preprocessor(
        sweep(points=2000).curves(np.random.default_rng(0)), early_exclusion=1 / 64
    ).points()
    mine = points.size == 0
    middle = np.median(points.log_e[mine])
    share = points.weight[mine & (points.log_e < middle)].sum() / points.weight[mine].sum()
    spans = (middle - np.log(1e8 / 64)) / np.log(64)
    assert share == pytest.approx(spans, abs=0.01)
    assert points.weight.sum() == pytest.approx(1)


def test_smoothing_does_not_shift_a_curve():
    curves = sweep(points=2000).curves(np.random.default_rng(0))
    points = Preprocessor(curves, smoothing=0.5).points()
    assert np.abs(points.smooth_returns - points.returns).max() < 1e-4


def test_smoothing_reduces_noise():
    noisy = sweep(points=2000, noise=0.05, correlation=0.0)
    clean = Preprocessor(replace(noisy, noise=0.0).curves(np.random.default_rng(0))).points()
    points = Preprocessor(noisy.curves(np.random.default_rng(0))).points()
    assert np.std(points.smooth_returns - clean.returns) < 0.6 * np.std(points.returns - clean.returns)


# -- the result -------------------------------------------------------------------


def test_a_good_sweep_is_identified_with_intervals_around_the_estimates(fitted):
    assert fitted.identified
    assert set(fitted.intervals) >= {
        "alpha_N",
        "alpha_E",
        "beta",
        "nu",
        "log10_N_c",
        "log10_E_c",
        "N_opt_ref",
    }
    for name, (low, high) in fitted.intervals.items():
        assert low < high
        if name in ("nu", "alpha_N", "alpha_E"):
            assert low - 0.1 < getattr(fitted, name) < high + 0.1
    assert fitted.size_limited_share == pytest.approx(
        np.dot(fitted.points.weight, fitted.points.size_limited)
    )


def test_the_constants_of_a_result_belong_together(fitted):
    assert 1 / fitted.beta == pytest.approx(1 / fitted.alpha_N + 1 / fitted.alpha_E)
    assert fitted.nu == pytest.approx(fitted.alpha_E / (fitted.alpha_N + fitted.alpha_E))
    assert fitted.law.N_c == pytest.approx(fitted.N_c, rel=1e-6)
    assert fitted.law.E_c == pytest.approx(fitted.E_c, rel=1e-6)
    assert fitted.law.N_opt(fitted.compute_ref) == pytest.approx(fitted.N_opt_ref)
    n, e = fitted.points.N, fitted.points.E
    terms = (fitted.N_c / n) ** fitted.alpha_N + (fitted.E_c / e) ** fitted.alpha_E
    np.testing.assert_allclose(fitted.points.intrinsic, terms ** (-1 / fitted.beta), rtol=1e-6)
    assert (fitted.points.intrinsic <= n * e * (1 + 1e-9)).all()


def test_the_fitted_return_follows_the_measured_one(fitted):
    residual = fitted.points.return_ - fitted.points.fitted_return
    assert np.sqrt(np.average(residual**2, weights=fitted.points.weight)) < 0.03
    assert np.all(np.diff(fitted.monotone_map.return_) > 0)
    assert np.all(np.diff(fitted.monotone_map.intrinsic) > 0)


def test_a_result_survives_json(fitted, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(fitted.model_dump_json())
    assert read_fit(path) == fitted
    assert {"return", "intrinsic"} == set(fitted.model_dump(mode="json")["monotone_map"])


def test_the_other_objective_and_other_cuts_are_reported(fitted):
    assert fitted.other_objective.objective == "paper"
    assert "nu" in fitted.other_objective.intervals
    assert [f.early_exclusion for f in fitted.exclusion_fits] == [1 / 32, 1 / 16, 1 / 8]
    worst = max(abs(f.nu - fitted.nu) for f in fitted.exclusion_fits)
    assert fitted.systematic["nu"] == pytest.approx(worst)


# -- warnings ---------------------------------------------------------------------


def codes(**options) -> tuple[bool, list[str]]:
    curves = sweep(**{"noise": 0.01, "seeds": 2, **options}).curves(np.random.default_rng(9))
    result = JointScalingFit(replicates=40).fit(curves)
    assert len(result.warnings) == len(result.warning_codes)
    return result.identified, result.warning_codes


def test_curves_short_of_every_optimum_do_not_identify_the_exponents():
    identified, found = codes(max_interactions=1e5, N_c=1e-3)
    assert not identified
    assert found[0] in ("optimum_outside_data", "at_bound", "one_size_frontier")


def test_curves_all_limited_by_size_do_not_identify_the_exponents():
    identified, _ = codes(max_interactions=1e12)
    assert not identified


def test_returns_that_are_only_noise_do_not_identify_the_exponents():
    curves = sweep(seeds=2).curves(np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(size=curves.num_points)
    result = JointScalingFit(replicates=40).fit(curves.with_returns(noise))
    assert not result.identified
    assert "poor_fit" in result.warning_codes


def test_few_narrow_sizes_with_one_seed_are_told():
    _, found = codes(sizes=(3e5, 6e5, 1.2e6), seeds=1)
    assert {"few_sizes", "narrow_sizes", "one_seed"} <= set(found)


def test_a_late_start_of_learning_gets_a_warning():
    _, found = codes(noise=0.002, late_start=0.02, seeds=3)
    assert "late_start" in found


def test_a_good_sweep_gets_no_warning():
    assert codes(noise=0.01, seeds=3) == (True, [])


def test_no_bootstrap_means_no_intervals_and_says_so():
    curves = sweep(noise=0.01).curves(np.random.default_rng(0))
    result = JointScalingFit(replicates=0).fit(curves)
    assert result.intervals == {}
    assert "no_intervals" in result.warning_codes


# -- failures ---------------------------------------------------------------------


def test_a_search_cut_short_says_what_was_tried_and_what_to_do():
    curves = sweep(noise=0.02).curves(np.random.default_rng(0))
    estimator = JointScalingFit(search=SearchOptions(num_polish=1, max_evaluations=5, max_rounds=1))
    with pytest.raises(FitDidNotConverge, match=r"starting points.*loss of.*add sizes or longer runs"):
        estimator.estimate(curves)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_sizes_are_refused(count):
    curves = sweep(sizes=SIZES[:count]).curves(np.random.default_rng(0))
    with pytest.raises(InputError, match=rf"has {count} size.*at least 3"):
        JointScalingFit().estimate(curves)


def test_constant_returns_are_refused():
    curves = sweep().curves(np.random.default_rng(0))
    with pytest.raises(InputError, match="do not vary"):
        JointScalingFit().estimate(curves.with_returns(np.ones(curves.num_points)))


@pytest.mark.parametrize(
    "option",
    [
        {"objective": "loss"},
        {"early_exclusion": -0.1},
        {"early_exclusion": 0.9},
        {"bin_width": 0.0},
        {"replicates": 3},
    ],
)
def test_options_out_of_range_are_refused_by_name(option):
    with pytest.raises(InputError, match=next(iter(option))):
        JointScalingFit(**option)
