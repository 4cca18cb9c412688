"""Sealed forecasts hold what comes, and say how sure they are."""

from dataclasses import replace

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.forecast.record import curves_hash
from rlscale.analysis.forecast.scoring import score
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.studies.sealing import RunToCome, outer, seal
from rlscale.scaling.errors import InputError

#: Ten sizes with eleven seeds: three seeds of the first eight are known when the statement is sealed.
WORLD = SyntheticSweep(
    sizes=tuple(4e4 * 2.0 ** np.arange(10)),
    seeds=11,
    shape="saturating",
    noise=0.02,
    points=60,
    first_interactions=1e5,
)
LARGEST = WORLD.sizes[7]
STEPS = (1e6, 1e7, 9e7)
PLACES = [RunToCome(size, steps, 8) for size in (WORLD.sizes[3], *WORLD.sizes[8:]) for steps in STEPS]


@pytest.fixture(scope="module")
def world():
    return WORLD.curves(np.random.default_rng(0))


@pytest.fixture(scope="module")
def curves(world):
    known = (world.run_sizes <= LARGEST) & (world.table["seed"].to_numpy() < 3)
    return world.with_rows(known[world.run_index])


@pytest.fixture(scope="module")
def fit(curves):
    return JointScalingFit(replicates=60, check_replicates=20).fit(curves)


@pytest.fixture(scope="module")
def sealed(fit, curves):
    return seal(fit, curves, PLACES, computes=[1e14], title="a test")


def of(sealed, quantity):
    return [item for item in sealed.items if item.quantity == quantity]


def width(item):
    low, high = item.interval
    return high - low


def test_a_statement_holds_every_return_nu_and_each_optimum(fit, curves, sealed):
    assert [item.quantity for item in sealed.items] == [*["return", "mean_return"] * 9, "nu", "N_opt"]
    assert sealed.sha256 == sealed.hash()
    assert sealed.curves.sha256 == curves_hash(curves)
    assert sealed.curves.run_ids == sorted(curves.run_ids)
    (nu,), (optimum,) = of(sealed, "nu"), of(sealed, "N_opt")
    assert nu.interval == pytest.approx(percentile_interval(fit.bootstrap.nu), rel=1e-6)
    assert optimum.interval[0] < float(WORLD.law.N_opt(1e14)) < optimum.interval[1]


def test_new_runs_lie_in_their_intervals_and_the_forecast_beats_the_nearest_size(world, sealed):
    returns = sealed.model_copy(update={"items": of(sealed, "return")})
    new = world.with_rows((world.table["seed"].to_numpy() >= 3)[world.run_index])
    (tally,) = score(returns, new).tallies
    assert tally.outcomes == 9 * 8
    # The draws of one law and one map err together, so this is no binomial share of nine in ten.
    assert tally.hits / tally.outcomes > 0.8
    assert tally.crps < tally.baselines["nearest_size"]


def test_a_mean_is_surer_than_a_run_and_a_known_size_than_a_new_one(sealed):
    single, mean = of(sealed, "return"), of(sealed, "mean_return")
    assert np.mean([width(item) for item in mean]) < np.mean([width(item) for item in single])
    assert all(item.runs == 8 for item in mean)
    known, _, new = np.array([width(item) for item in single]).reshape(3, 3)
    assert known.mean() < new.mean()


def test_what_lies_beyond_the_sizes_is_called_so(sealed):
    for item in of(sealed, "return"):
        times = round(item.N / LARGEST)
        assert (item.beyond or "").startswith(f"{times} times above all sizes" if times > 1 else "")
    assert "extrapolation" in sealed.warning_codes


def test_more_noise_between_runs_makes_wider_intervals(fit, curves, sealed):
    rng = np.random.default_rng(1)
    shaken = curves.returns + rng.normal(0, 0.1, curves.num_runs)[curves.run_index]
    noisy = seal(fit, curves.with_returns(shaken), PLACES[:3])
    for calm, wild in zip(of(sealed, "return"), of(noisy, "return"), strict=False):
        assert width(wild) > 1.5 * width(calm)


def test_the_same_seed_gives_the_same_items(fit, curves, sealed):
    assert seal(fit, curves, PLACES[:1]).items[0] == sealed.items[0]
    assert seal(fit, curves, PLACES[:1], seed=1).items[0] != sealed.items[0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"at": [], "computes": []}, "nothing_to_forecast"),
        ({"at": [RunToCome(-1.0, 1e6)]}, "invalid_number"),
        ({"at": [RunToCome(1e6, float("nan"))]}, "invalid_number"),
        ({"at": [RunToCome(1e6, 1e6, 0)]}, "invalid_number"),
        ({"computes": [0.0]}, "invalid_number"),
        ({"at": [RunToCome(1000 * LARGEST, 1e6)]}, "too_few_sizes"),
    ],
)
def test_what_cannot_be_forecast_is_refused(fit, curves, change, code):
    with pytest.raises(InputError) as refused:
        seal(fit, curves, **{"at": PLACES[:1], **change})
    assert refused.value.code == code


def test_a_fit_without_draws_and_curves_of_another_fit_are_refused(fit, curves):
    with pytest.raises(InputError, match="replicates=1000") as refused:
        seal(JointScalingFit(replicates=0).fit(curves), curves, PLACES[:1])
    assert refused.value.code == "no_bootstrap"
    fewer = curves.with_rows(curves.run_index > 0)
    with pytest.raises(InputError, match="does not hold the runs of the fit") as refused:
        seal(fit, fewer, PLACES[:1])
    assert refused.value.code == "curves_of_another_fit"
    with pytest.raises(InputError, match="does not hold the runs of the fit"):
        seal(fit, replace(curves, size="flops"), PLACES[:1])


def test_the_outer_of_two_samples_has_the_outer_quantiles():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0.3, 1, 4000), rng.normal(0, 3, 4000)
    found = outer(narrow, wide)
    for level in (0.05, 0.25, 0.75, 0.95):
        ends = np.quantile(narrow, level), np.quantile(wide, level)
        assert np.quantile(found, level) == pytest.approx(min(ends) if level < 0.5 else max(ends), abs=0.02)
