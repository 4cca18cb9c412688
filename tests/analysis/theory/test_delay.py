"""A law with a delay of learning: its optimum is the best of all sizes, and it nears the law without one."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rlscale.analysis.theory.delay import NO_DELAY, Delay
from rlscale.analysis.theory.power_law import PowerLaw

KINDS = ["sharp", "soft"]
LAW = PowerLaw(0.55, 0.8, float(np.log(3e4)), float(np.log(1e10)))


def delayed(kind: str, steps: float = 1e4) -> PowerLaw:
    return PowerLaw(LAW.nu, LAW.k, LAW.m, LAW.log_c0, Delay(kind, steps))


delays = st.builds(Delay, st.sampled_from(KINDS), st.floats(1e-3, 1e9))


@given(delay=delays, log_counted=st.floats(-20, 40))
def test_elapsed_is_the_inverse_of_counted(delay, log_counted):
    log_e = delay.log_elapsed(log_counted)
    # Close to a sharp start E' is a difference of nearly equal numbers.
    lost = np.exp(np.log(delay.steps) - log_counted) * 1e-14 if delay.kind == "sharp" else 0.0
    assume(lost < 1e-3)
    assert float(delay.log_counted(log_e)) == pytest.approx(log_counted, abs=2 * lost + 1e-8)


@given(delay=delays, ratio=st.floats(0.1, 1e4))
def test_the_slope_is_the_derivative(delay, ratio):
    log_e = np.log(delay.steps * (1 + ratio))
    step = 1e-5
    numeric = (delay.log_counted(log_e + step) - delay.log_counted(log_e - step)) / (2 * step)
    assert float(np.exp(delay.log_slope(log_e))) == pytest.approx(float(numeric), rel=1e-4)


def test_soft_delays_join_their_series():
    delay = Delay("soft", 1.0)
    log_e = np.linspace(np.log(1e-7), np.log(1e-3), 400)
    for values in (delay.log_counted(log_e), delay.log_slope(log_e), delay.log_elapsed(2 * log_e)):
        assert np.abs(np.diff(values, n=2)).max() < 1e-4


def test_without_a_delay_everything_is_as_before():
    log_e = np.linspace(0, 30, 7)
    assert NO_DELAY.log_counted(log_e) is log_e
    assert not NO_DELAY
    assert not NO_DELAY.log_slope(log_e).any()
    assert LAW.log_best_intrinsic(12.0) == LAW.log_least_compute(12.0) == 12.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compute", [3e8, 1e9, 1e11, 1e13])
def test_the_optimum_is_the_best_size_for_its_compute(kind, compute):
    law = delayed(kind)
    highest = np.log(compute) - (np.log(law.delay.steps) if kind == "sharp" else 0.0)
    best = minimize_scalar(
        lambda log_n: -law.log_intrinsic(log_n, np.log(compute) - log_n),
        bounds=(0, highest),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert float(law.N_opt(compute)) == pytest.approx(float(np.exp(best.x)), rel=1e-5)
    assert float(law.log_best_intrinsic(np.log(compute))) == pytest.approx(-best.fun, abs=1e-9)
    assert float(law.N_opt(compute) * law.E_opt(compute)) == pytest.approx(compute)


@pytest.mark.parametrize("kind", KINDS)
def test_optimum_least_compute_and_interactions_agree(kind):
    law = delayed(kind)
    log_c = np.log(np.geomspace(1e8, 1e14, 9))
    log_n, log_i = law.log_N_opt(log_c), law.log_best_intrinsic(log_c)
    np.testing.assert_allclose(law.log_least_compute(log_i), log_c, atol=1e-8)
    np.testing.assert_allclose(law.log_E_opt_of(log_n), log_c - log_n, atol=1e-8)
    np.testing.assert_allclose(law.log_interactions_for(log_n, log_i), log_c - log_n, atol=1e-8)
    stored = PowerLaw.from_optimum(
        law.nu, law.k, N_opt=float(np.exp(log_n[2])), compute=float(np.exp(log_c[2])), delay=law.delay
    )
    np.testing.assert_allclose(stored.log_N_opt(log_c), log_n, atol=1e-8)
    past = law.limited_by_size(log_n, log_c - log_n + np.array([[-0.01], [0.01]]))
    assert past.tolist() == [[False] * 9, [True] * 9]


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_cost_with_an_expensive_environment_is_least(kind):
    law, cost, intrinsic = delayed(kind), 1e5, 1e10
    n, e = law.optimum_with_env_cost(intrinsic, cost)
    around = n * np.exp(np.linspace(-0.5, 0.5, 101))
    costs = law.interactions_for(around, intrinsic) * (around + cost)
    assert e * (n + cost) == pytest.approx(float(costs.min()), rel=1e-9)
    assert law.env_cost_overspend(intrinsic, cost)[1] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_far_beyond_the_delay_the_law_is_the_one_without(kind):
    law = delayed(kind)
    assert float(law.N_opt(1e20) / LAW.N_opt(1e20)) == pytest.approx(1, abs=1e-3)
    assert float(law.N_opt(1e9)) < float(LAW.N_opt(1e9))  # part of the compute is lost
    assert float(law.E_inf(1e10)) > float(LAW.E_inf(1e10))


def test_before_a_sharp_start_nothing_is_learned():
    law = delayed("sharp")
    assert law.intrinsic(1e5, 9e3) == 0
    assert law.intrinsic_infinite_width(9e3) == 0
