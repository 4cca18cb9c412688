"""Progress of long computations: told in order, without a change of their result."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.progress import shared_out, told, watched_by

CURVES = SyntheticSweep(sizes=(1e4, 2e4, 4e4, 8e4), points=30, noise=0.02).curves(np.random.default_rng(0))


def test_each_step_is_told_when_it_is_done_and_nobody_need_watch():
    heard = []
    with watched_by(lambda *said: heard.append(said)):
        for step in told("steps", "ab", 2):
            heard.append(step)
    assert heard == [("steps", 0, 2), "a", ("steps", 1, 2), "b", ("steps", 2, 2)]
    assert list(told("steps", "ab", 2)) == ["a", "b"]
    assert len(heard) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_work_that_is_shared_out_comes_back_in_order_and_is_told(workers):
    heard = []
    with watched_by(lambda what, done, total: heard.append((done, total))):
        assert shared_out("powers", math.pow, [(2, 3), (3, 2), (5, 0)], workers) == [8, 9, 1]
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_interruption_while_work_is_shared_out_drops_what_is_left():
    def interrupt(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with watched_by(interrupt), pytest.raises(KeyboardInterrupt):
        shared_out("powers", math.pow, [(2, n) for n in range(1000)], 2)


def test_a_watched_fit_is_the_same_fit():
    estimator = JointScalingFit(replicates=20, check_replicates=20)
    heard = []
    with watched_by(lambda *said: heard.append(said)):
        watched = estimator.fit(CURVES)
    assert watched == estimator.fit(CURVES)
    assert ("fits of resampled runs", 20, 20) in heard
    for what in {what for what, _, _ in heard}:
        ends = [(done, total) for name, done, total in heard if name == what]
        assert ends[0][0] == 0
        assert ends[-1][0] == ends[-1][1]
