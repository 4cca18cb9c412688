"""The bootstrap draws whole runs, from one seed whatever the number of workers, and covers the truth."""

import numpy as np
import pytest

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.bootstrap import bootstrap, intervals
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.points.resampling import resample, scheme_for
from rlscale.analysis.statistics.intervals import percentile_interval

SIZES = tuple(4e4 * 2.0 ** np.arange(8))


def draws(
    curves: Curves, *, seed: int = 0, replicates: int = 40, workers: int = 1, objective: str = "return"
):
    estimate = JointScalingFit(objective=objective).estimate(curves)
    found = bootstrap(
        curves,
        estimate.preprocessor,
        objective=objective,
        theta=estimate.law.theta,
        log_c0=estimate.law.log_c0,
        replicates=replicates,
        rng=np.random.default_rng(seed),
        workers=workers,
    )
    return found, estimate.law.log_c0


def noisy(seeds: int = 3, seed: int = 0, noise: float = 0.03) -> Curves:
    return SyntheticSweep(sizes=SIZES, seeds=seeds, noise=noise).curves(np.random.default_rng(seed))


def test_seeds_are_drawn_within_their_size():
    curves = noisy()
    for _ in range(20):
        counts = resample(curves, "seeds", np.random.default_rng(_))
        np.testing.assert_array_equal(np.bincount(curves.size_index, weights=counts), 3)


def test_sizes_are_drawn_with_all_their_seeds_and_at_least_three_remain():
    curves = SyntheticSweep(sizes=SIZES[:3], seeds=2).curves(np.random.default_rng(0))
    for seed in range(20):
        counts = resample(curves, "sizes", np.random.default_rng(seed))
        np.testing.assert_array_equal(counts, 1)


@pytest.mark.parametrize(("seeds", "scheme"), [(1, "sizes"), (2, "seeds"), (4, "seeds")])
def test_sizes_are_drawn_only_where_there_is_one_seed_a_size(seeds, scheme):
    assert scheme_for(noisy(seeds)) == scheme


def test_the_same_seed_gives_the_same_draws_whatever_the_number_of_workers():
    curves = noisy()
    alone, _ = draws(curves, replicates=24)
    together, _ = draws(curves, replicates=24, workers=2)
    other, _ = draws(curves, replicates=24, seed=1)
    assert alone == together
    assert alone != other


def test_without_noise_the_draws_hardly_differ():
    found, log_c0 = draws(noisy(noise=0.0))
    assert np.std([law.theta for law in found.laws(log_c0)], axis=0).max() < 1e-3


def test_more_noise_widens_the_intervals():
    widths = []
    for noise in (0.01, 0.04):
        found, log_c0 = draws(noisy(noise=noise), replicates=60)
        low, high = intervals(found.laws(log_c0))["nu"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


# 95% quantiles of Student's distribution, 8 sizes x (seeds - 1) degrees of freedom, and of the normal one.
@pytest.mark.parametrize(
    ("seeds", "widening"), [(2, 2**0.5 * 1.85955 / 1.64485), (3, 1.5**0.5 * 1.74588 / 1.64485)]
)
def test_draws_are_widened_for_few_seeds(seeds, widening):
    found, _ = draws(noisy(seeds), replicates=20)
    assert found.widening == pytest.approx(widening, rel=1e-5)


def test_no_replicates_means_no_intervals():
    found, log_c0 = draws(noisy(), replicates=0)
    assert found.scheme == "none"
    assert intervals(found.laws(log_c0)) == {}


@pytest.mark.parametrize("objective", ["return", "paper"])
def test_most_intervals_contain_the_truth(objective):
    covered = []
    for seed in range(12):
        found, log_c0 = draws(noisy(seed=100 + seed), replicates=40, objective=objective)
        low, high = intervals(found.laws(log_c0))["nu"]
        covered.append(low <= 0.625 <= high)
    assert np.mean(covered) >= 0.65  # nominal 0.9 over 12 sweeps; three standard errors below


def test_the_place_of_the_optimum_is_far_better_known_than_the_constants():
    found, log_c0 = draws(noisy(), replicates=60)
    known = intervals(found.laws(log_c0))
    place = np.log10(known["N_opt_ref"][1] / known["N_opt_ref"][0])
    constant = known["log10_N_c"][1] - known["log10_N_c"][0]
    assert constant > 5 * place


@pytest.mark.parametrize("count", [20, 80, 1000])
def test_a_further_draw_falls_into_the_percentile_interval_with_its_level(count):
    rng = np.random.default_rng(0)
    draws_, further = rng.normal(size=(count, 4000)), rng.normal(size=4000)
    low, high = percentile_interval(draws_)
    assert np.mean((low <= further) & (further <= high)) == pytest.approx(0.9, abs=0.015)
