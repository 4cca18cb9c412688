"""What a return takes, the limits of infinite width and data, and the price of the environment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.returns import at_returns, sample_efficiency
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

PAPER = PowerLaw.from_constants(0.3, 0.5, 1e-3)
TRUTH = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), noise=0.01, points=120)


@pytest.fixture(scope="module")
def fit() -> FitResult:
    return JointScalingFit(replicates=40).fit(TRUTH.curves(np.random.default_rng(0)))


def true_intrinsic(value: float) -> float:
    """I of a return of the synthetic sweep, whose returns are linear in log I."""
    e = TRUTH.max_interactions * np.arange(1, TRUTH.points + 1) / TRUTH.points
    log_i = np.log(TRUTH.law.intrinsic(np.asarray(TRUTH.sizes)[:, None], e[None, :]))
    return float(np.exp(log_i.min() + value * (log_i.max() - log_i.min())))


def test_infinite_width_needs_the_interactions_of_an_independent_computation():
    assert float(PAPER.E_inf(1e13)) == pytest.approx(2201215.7, rel=1e-6)
    assert PAPER.width_gain == pytest.approx(15653089.1 / 2201215.7, rel=1e-6)
    assert PowerLaw.from_constants(0.5, 0.5, 1.0).width_gain == pytest.approx(4.0)


@given(st.floats(0.1, 2), st.floats(0.1, 2), st.floats(5, 30))
def test_the_limits_of_the_law_undo_each_other(alpha_n, alpha_e, decades):
    law = PowerLaw.from_constants(alpha_n, alpha_e, 10.0)
    i = 10.0**decades
    assert float(law.intrinsic_infinite_width(law.E_inf(i))) == pytest.approx(i, rel=1e-6)
    assert float(law.intrinsic_infinite_experience(law.N_inf(i))) == pytest.approx(i, rel=1e-6)
    assert float(law.E_opt(i)) / float(law.E_inf(i)) == pytest.approx(law.width_gain, rel=1e-6)
    assert float(law.N_inf(i)) < float(law.N_opt(i))


@pytest.mark.parametrize(
    ("ratio", "larger", "overspend"), [(1, 1.85, 1.151), (1e2, 23.67, 3.338), (1e4, 632.9, 5.536)]
)
def test_ignoring_the_environments_cost_overspends_by_the_golden_factors(ratio, larger, overspend):
    found = PAPER.env_cost_overspend(1e13, ratio * float(PAPER.N_opt(1e13)))
    assert found == (pytest.approx(larger, rel=2e-3), pytest.approx(overspend, rel=2e-3))


def test_the_overspend_has_an_interval(fit):
    (item,) = forecast(fit, [1e13], env_cost=1e8).forecasts
    low, high = item.intervals["overspend"]
    assert 1 < low <= item.overspend * 1.05
    assert item.overspend <= high * 1.05


def test_a_return_takes_what_the_true_law_says(fit):
    for item in at_returns(fit, [0.3, 0.6, 0.85]):
        i = true_intrinsic(item.return_)
        assert item.intrinsic == pytest.approx(i, rel=0.25)
        assert item.E_opt == pytest.approx(float(TRUTH.law.E_opt(i)), rel=0.25)
        assert item.E_inf == pytest.approx(float(TRUTH.law.E_inf(i)), rel=0.4)
        assert item.N_opt * item.E_opt == pytest.approx(item.intrinsic)
        assert item.E_opt / item.E_inf == pytest.approx(item.width_gain)
        for name in ("intrinsic", "N_opt", "E_opt", "E_inf", "N_inf", "width_gain"):
            low, high = item.intervals[name]
            assert low < high


def test_intervals_of_what_the_data_show_are_narrower_than_those_of_the_limits(fit):
    (item,) = at_returns(fit, [0.6])

    def width(name: str) -> float:
        low, high = item.intervals[name]
        return float(np.log(high / low))

    assert width("intrinsic") < width("E_inf")


def test_sample_efficiency_is_against_infinite_width(fit):
    (item,) = at_returns(fit, [0.6])
    found = sample_efficiency(fit, 0.6, 1e3)
    assert found.E_inf == item.E_inf
    assert found.ratio == pytest.approx(item.E_inf / 1e3)
    assert found.intervals["ratio"] == pytest.approx(tuple(e / 1e3 for e in item.intervals["E_inf"]))


@pytest.mark.parametrize("value", [-1.0, 5.0, float("nan"), float("inf")])
def test_a_return_outside_the_map_is_refused_with_its_range(fit, value):
    with pytest.raises(InputError, match=r"lies outside the fitted map, which knows returns from 0\.\d+ to"):
        at_returns(fit, [value])


@pytest.mark.parametrize("steps", [0.0, -5.0, float("nan"), float("inf")])
def test_interactions_of_a_reference_must_make_sense(fit, steps):
    with pytest.raises(InputError, match="reference's interactions must be a positive, finite number"):
        sample_efficiency(fit, 0.6, steps)
