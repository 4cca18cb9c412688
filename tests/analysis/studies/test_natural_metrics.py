"""Natural metrics: a planted power of I is found, named and bounded; impossible limits are refused."""

import numpy as np
import pytest

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.studies.natural_metrics import ELO_K, parse_metric, study_metric, transformed
from rlscale.scaling.errors import InputError

SWEEP = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), points=60)


def planted(make, noise: float = 0.0) -> Curves:
    """Curves whose return is ``make(log I)`` by the true law."""
    curves = SWEEP.curves(np.random.default_rng(0))
    log_i = np.log(SWEEP.law.intrinsic(curves.run_sizes[curves.run_index], curves.interactions))
    values = make(log_i - log_i.mean())
    shocks = np.random.default_rng(1).standard_normal(len(values))
    return curves.with_returns(values + noise * shocks)


def fitted(curves: Curves, replicates: int = 0) -> FitResult:
    return JointScalingFit(replicates=replicates).fit(curves)


def success(log_i, q=0.45, best=10.0):
    return best / (1 + np.exp(-q * log_i))


@pytest.fixture(scope="module")
def coinrun() -> tuple[Curves, FitResult]:
    """Failures to successes as I^-0.45, the form found for CoinRun."""
    curves = planted(success, noise=0.05)
    return curves, fitted(curves, replicates=60)


def test_the_exponent_of_the_fail_to_success_ratio_is_recovered(coinrun):
    study = study_metric(*coinrun, parse_metric("fail-ratio:min=0,max=10"))
    (line,) = study.candidates
    low, high = line.intervals["q"]
    assert low < high
    assert line.q == pytest.approx(0.45, abs=0.02)
    assert low - 0.01 < 0.45 < high + 0.01
    assert line.r_squared > 0.99
    assert abs(line.curvature) < 0.05


def test_auto_prefers_the_planted_metric_and_calls_the_others_curved(coinrun):
    study = study_metric(*coinrun, parse_metric("auto:max=10"))
    assert study.best == "fail-ratio" == study.candidates[0].name
    assert {line.name for line in study.candidates} == {"fail-ratio", "log-failure", "return"}
    plain = next(line for line in study.candidates if line.name == "return")
    assert plain.r_squared < study.candidates[0].r_squared
    failure = next(line for line in study.candidates if line.name == "log-failure")
    assert failure.curvature_p < 0.1
    assert "min = 0 since no return is negative" in study.candidates[0].chosen


def test_a_maximum_that_is_not_given_is_found_from_the_line():
    curves = planted(success)
    (line,) = study_metric(curves, fitted(curves), parse_metric("fail-ratio:min=0")).candidates
    assert line.constants["max"] == pytest.approx(10.0, rel=0.01)
    assert "straightest" in line.chosen
    assert line.intervals == {}
    assert line.curvature_p is None


def test_elo_rises_with_the_logarithm_of_intrinsic_performance():
    curves = planted(lambda log_i: 0.6 * log_i / ELO_K)
    (line,) = study_metric(curves, fitted(curves), parse_metric("elo")).candidates
    assert line.q == pytest.approx(0.6, rel=0.01)
    assert line.constants == {"k": pytest.approx(np.log(10) / 400)}
    assert np.exp(transformed("elo", line.constants, np.array([400.0])))[0] == pytest.approx(0.1)


def test_the_scale_of_trueskill_is_fitted_or_given():
    curves = planted(lambda log_i: 2.5 * log_i)
    fit = fitted(curves)
    (free,) = study_metric(curves, fit, parse_metric("trueskill")).candidates
    assert free.q == pytest.approx(1.0)
    assert free.constants["k"] == pytest.approx(1 / 2.5, rel=0.01)
    (given,) = study_metric(curves, fit, parse_metric("trueskill:k=0.2")).candidates
    assert given.q == pytest.approx(0.5, rel=0.01)


def test_a_return_at_the_limit_is_left_out_and_counted():
    curves = planted(lambda log_i: np.minimum(success(log_i), 7.0))
    (line,) = study_metric(curves, fitted(curves), parse_metric("log-failure:max=7")).candidates
    assert line.num_left_out > 0


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("fail-ratio:max=7", r"A return of 7\.\d+ is above max=7"),
        ("fail-ratio:min=2,max=10", r"A mean return of 1\.\d+ is below min=2"),
    ],
)
def test_impossible_limits_are_refused_naming_the_return(typed, message):
    curves = planted(success)
    with pytest.raises(InputError, match=message):
        study_metric(curves, fitted(curves), parse_metric(typed))


def test_negative_returns_ask_for_a_minimum():
    curves = planted(lambda log_i: log_i)
    with pytest.raises(InputError, match="needs the lowest possible return"):
        study_metric(curves, fitted(curves), parse_metric("fail-ratio:max=100"))
    assert len(study_metric(curves, fitted(curves), parse_metric("auto")).candidates) == 2


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("loss", "is not known: choose return, log-failure, fail-ratio, elo, trueskill, auto"),
        ("fail-ratio:low=0", "takes min=NUMBER and max=NUMBER"),
        ("fail-ratio:max=ten", "cannot be used"),
        ("fail-ratio:max=inf", "cannot be used"),
        ("fail-ratio:min=3,max=3", "min must be below max"),
        ("elo:k=1", "elo takes no constants"),
        ("trueskill:k=-1", "k must be positive"),
    ],
)
def test_a_metric_that_makes_no_sense_is_refused(typed, message):
    with pytest.raises(InputError, match=message):
        parse_metric(typed)
