"""Logarithms on the grid: shifts are exact, and units shift."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlscale.analysis.points.fixed_logs import logs_on_grid, on_grid

GRID = 2.0**-26


@given(arrays(float, 5, elements=st.floats(-300, 300)), st.integers(-(2**33), 2**33))
def test_a_shift_by_multiples_of_the_grid_is_exact(values, steps):
    snapped = on_grid(values)
    assert np.abs(snapped - values).max() <= GRID / 2
    np.testing.assert_array_equal(on_grid(snapped), snapped)
    np.testing.assert_array_equal((snapped + steps * GRID) - steps * GRID, snapped)
    # Halfway between two multiples too.
    np.testing.assert_array_equal(on_grid(snapped + GRID / 2 + steps * GRID), snapped + GRID + steps * GRID)


@given(
    st.lists(st.integers(1, 10**9), min_size=2, max_size=9),
    st.sampled_from([2, 1000, 10**6]),
)
def test_a_unit_that_keeps_whole_numbers_whole_shifts_all_alike(values, factor):
    values = np.array(values, float)
    logs, scaled = logs_on_grid(values), logs_on_grid(values * factor)
    np.testing.assert_allclose(logs, np.log(values), rtol=0, atol=GRID)
    np.testing.assert_array_equal(np.diff(logs), np.diff(scaled))


def test_numbers_further_apart_than_a_double_reaches_have_logarithms():
    np.testing.assert_allclose(logs_on_grid(np.array([1e-300, 1e300])), np.log([1e-300, 1e300]), atol=GRID)
