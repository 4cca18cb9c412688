"""Which rows count where training continued from a checkpoint, against a simulation row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.sweeps.importers.readers.runs import not_done_again


def story(steps, *, once):
    """Log row after row; where the steps go back, what was logged from there on is undone."""
    standing = []
    for row, step in enumerate(steps):
        again = row > 0 and (step <= steps[row - 1] if once else step < steps[row - 1])
        if again:
            standing = [earlier for earlier in standing if steps[earlier] < step]
        standing.append(row)
    return [row in standing for row in range(len(steps))]


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=20), st.booleans())
def test_a_later_attempt_undoes_what_it_does_again(steps, once):
    kept = not_done_again(np.array(steps, dtype=float), once=once)
    assert kept.tolist() == story(steps, once=once)
    assert (np.diff(np.array(steps)[kept]) >= (1 if once else 0)).all()


@pytest.mark.parametrize(("once", "expected"), [(True, [0, 2, 3]), (False, [0, 1, 2, 3])])
def test_a_step_that_occurs_twice_in_a_row_is_one_attempt_or_two(once, expected):
    kept = not_done_again(np.array([1.0, 5.0, 5.0, 9.0]), once=once)
    assert np.flatnonzero(kept).tolist() == expected
