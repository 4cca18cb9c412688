"""The law against the constants worked out for it, and the lemma over its whole range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

GOLDEN = PowerLaw.from_constants(0.3, 0.5, 1e-3)
laws = st.builds(
    PowerLaw,
    nu=st.floats(0.05, 0.95),
    k=st.floats(0.1, 10),
    m=st.floats(0, 25),
    log_c0=st.floats(0, 40),
)


def test_constants_match_the_golden_numbers():
    assert GOLDEN.beta == pytest.approx(0.1875, rel=1e-12)
    assert GOLDEN.E_c == pytest.approx(29.35368256, rel=1e-9)
    assert GOLDEN.nu == pytest.approx(0.625, rel=1e-12)
    assert GOLDEN.N_c == pytest.approx(1e-3, rel=1e-12)


@pytest.mark.parametrize(("n", "e", "intrinsic"), [(1e5, 1e8, 3.19494e12), (6.2e5, 2e8, 5.14514e13)])
def test_intrinsic_matches_the_golden_numbers(n, e, intrinsic):
    assert GOLDEN.intrinsic(n, e) == pytest.approx(intrinsic, rel=1e-5)


def test_optima_match_the_golden_numbers():
    assert GOLDEN.N_opt(1e13) == pytest.approx(638851.5, rel=1e-6)
    assert GOLDEN.E_opt(1e13) == pytest.approx(15653089.1, rel=1e-6)
    assert GOLDEN.E_inf(1e13) == pytest.approx(2201215.7, rel=1e-6)


def test_constants_do_not_depend_on_the_compute_at_which_the_law_is_stated():
    moved = PowerLaw.from_constants(0.3, 0.5, 1e-3, log_c0=np.log(1e13))
    assert np.exp(moved.m) == pytest.approx(638851.5, rel=1e-6)
    for name in ("alpha_N", "alpha_E", "beta", "N_c", "E_c", "nu"):
        assert getattr(moved, name) == pytest.approx(getattr(GOLDEN, name), rel=1e-9)


@given(laws)
def test_the_constants_satisfy_equation_1(law):
    n, e = 1e5, 1e7
    terms = np.logaddexp(law.alpha_N * (law.log_N_c - np.log(n)), law.alpha_E * (law.log_E_c - np.log(e)))
    assert -terms / law.beta == pytest.approx(
        float(law.log_intrinsic(np.log(n), np.log(e))), rel=1e-9, abs=1e-7
    )


@given(laws, st.floats(0, 30), st.floats(0, 30))
def test_intrinsic_never_exceeds_compute(law, log_n, log_e):
    found = law.log_intrinsic(log_n, log_e)
    assert found <= log_n + log_e + 1e-9 * (1 + abs(log_n + log_e))


@given(laws, st.floats(0, 60))
def test_intrinsic_equals_compute_on_the_frontier(law, log_c):
    log_n = law.log_N_opt(log_c)
    assert float(law.log_intrinsic(log_n, log_c - log_n)) == pytest.approx(log_c, abs=1e-8)
    assert float(law.log_E_opt_of(log_n)) == pytest.approx(float(log_c - log_n), abs=1e-8)


@given(laws, st.floats(0, 40))
def test_a_point_is_limited_by_size_exactly_past_its_optimum(law, log_c):
    for step, limited in ((-0.1, True), (0.1, False)):
        log_n = law.log_N_opt(log_c) + step
        assert (law.size_share(log_n, log_c - log_n) > law.nu) == limited


@pytest.mark.parametrize("law", [GOLDEN, PowerLaw(0.4, 1.2, 11.0, 30.0)])
def test_limits_leave_one_term_only(law):
    e = 1e8
    assert law.intrinsic(1e300, e) == pytest.approx(float(law.intrinsic_infinite_width(e)), rel=1e-6)
    n = 1e5
    assert law.intrinsic(n, 1e300) == pytest.approx(float(law.intrinsic_infinite_experience(n)), rel=1e-6)
    assert law.intrinsic_infinite_width(law.E_inf(1e13)) == pytest.approx(1e13, rel=1e-9)


def test_interactions_for_inverts_the_law_and_is_infinite_out_of_reach():
    law = PowerLaw.from_constants(0.3, 0.5, 1e-3, log_c0=25.0)
    intrinsic = law.intrinsic(2e5, 3e7)
    assert law.interactions_for(2e5, intrinsic) == pytest.approx(3e7, rel=1e-9)
    out_of_reach = 1.01 * law.intrinsic_infinite_experience(2e5)
    assert law.interactions_for(2e5, out_of_reach) == np.inf


@pytest.mark.parametrize(
    ("ratio", "size", "overspend"), [(1, 1.85, 1.151), (1e2, 23.67, 3.338), (1e4, 632.9, 5.536)]
)
@pytest.mark.parametrize("log_c0", [0.0, 30.0])
def test_environment_cost_matches_the_golden_numbers(ratio, size, overspend, log_c0):
    law = PowerLaw.from_constants(0.3, 0.5, 1e-3, log_c0=log_c0)
    n0, e0 = float(law.N_opt(1e13)), float(law.E_opt(1e13))
    n, e = law.optimum_with_env_cost(1e13, ratio * n0)
    assert n / n0 == pytest.approx(size, rel=1e-3)
    assert e0 * (n0 + ratio * n0) / (e * (n + ratio * n0)) == pytest.approx(overspend, rel=1e-3)
    assert float(law.intrinsic(n, e)) == pytest.approx(1e13, rel=1e-9)


@given(laws, st.floats(5, 35), st.floats(-5, 15))
def test_no_neighbour_is_cheaper_than_the_optimum_with_environment_cost(law, log_i, log_ratio):
    intrinsic = np.exp(log_i)
    cost = float(np.exp(log_ratio) * law.N_opt(intrinsic))
    n, e = law.optimum_with_env_cost(intrinsic, cost)
    for factor in (0.9, 1.1):
        other = law.interactions_for(n * factor, intrinsic) * (n * factor + cost)
        assert other >= e * (n + cost) * (1 - 1e-9)


def test_a_free_environment_leaves_the_optimum_where_it_is():
    n, e = GOLDEN.optimum_with_env_cost(1e13, 0.0)
    assert n == pytest.approx(float(GOLDEN.N_opt(1e13)))
    assert e == pytest.approx(float(GOLDEN.E_opt(1e13)), rel=1e-9)


@given(laws)
def test_gradient_agrees_with_central_differences(law):
    log_n, log_e = np.array([9.0, 12.0, 15.0, 12.0]), np.array([18.0, 12.0, 15.0, 9.0])

    def at(theta):
        return PowerLaw.from_theta(theta, law.log_c0).log_intrinsic(log_n, log_e)

    theta = law.theta
    value, gradient = law.log_intrinsic_gradient(log_n, log_e)
    np.testing.assert_allclose(value, at(theta), rtol=1e-9, atol=1e-9)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        numeric = (at(theta + step) - at(theta - step)) / 2e-5
        np.testing.assert_allclose(gradient[axis], numeric, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [{"nu": 0.0}, {"nu": 1.0}, {"k": 0.0}, {"m": np.inf}])
def test_a_law_refuses_parameters_that_make_no_law(bad):
    with pytest.raises(InputError) as refused:
        PowerLaw(**{"nu": 0.5, "k": 1.0, "m": 10.0, **bad})
    assert refused.value.code == "invalid_law"


@pytest.mark.parametrize("cost", [-1.0, np.nan, np.inf])
def test_a_cost_of_the_environment_that_is_none_is_refused(cost):
    with pytest.raises(InputError, match="cost"):
        GOLDEN.optimum_with_env_cost(1e13, cost)


@given(laws, st.floats(0, 60))
def test_every_coordinate_gives_the_same_law(law, log_c):
    other = PowerLaw.from_theta(law.theta, law.log_c0)
    stored = PowerLaw.from_optimum(
        law.nu, law.k, N_opt=law.estimates()["N_opt_ref"], compute=float(np.exp(law.log_c0))
    )
    moved = law.stated_at(log_c)
    for same in (other, stored, moved):
        assert same.nu == pytest.approx(law.nu, rel=1e-12)
        assert same.k == pytest.approx(law.k, rel=1e-12)
        assert float(same.log_N_opt(20.0)) == pytest.approx(float(law.log_N_opt(20.0)), abs=1e-9)
