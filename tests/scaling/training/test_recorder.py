"""From episodes to rows: a pause loses nothing, counts nothing twice and moves nothing."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.scaling.training.recorder import CurveRecorder


def record(sizes, rows_per_decade, seed=0, recorder=None, start=0):
    """Feed iterations of ``sizes`` steps; returns the rows with the returns that should be in them."""
    rng = np.random.default_rng(seed)
    recorder = recorder or CurveRecorder(rows_per_decade)
    rows, interval, interactions = [], [], start
    for size in sizes:
        returns = rng.normal(size=size)
        recorder.add(returns, 1.0, {"entropy": float(size)})
        interval.append(returns)
        interactions += size
        if recorder.is_due(interactions):
            row = recorder.close_row(interactions, wall_seconds=0.0, train_flops=2.0 * interactions)
            rows.append((row, interval))
            interval = []
    return rows, interval


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    rows_per_decade=st.sampled_from([1, 3, 10, 100]),
)
@settings(deadline=None, max_examples=50)
def test_rows_partition_the_episodes_exactly(sizes, rows_per_decade):
    rows, rest = record(sizes, rows_per_decade)
    assert sum(row["episodes"] for row, _ in rows) + sum(map(len, rest)) == sum(sizes)
    for row, interval in rows:
        returns = np.concatenate(interval)
        assert row["episodes"] == returns.size
        assert row["return_mean"] == pytest.approx(returns.mean(), abs=1e-12)
        assert row["return_std"] == pytest.approx(returns.std(), abs=1e-7)
        assert row["episode_length_mean"] == 1.0
        assert row["entropy"] == pytest.approx(np.mean([len(part) for part in interval]))


def test_rows_are_log_spaced_in_interactions():
    """Beyond the iterations that are longer than a bucket there is one row a 1/10 decade."""
    rows, _ = record([10] * 2000, rows_per_decade=10)
    at = [row["interactions"] for row, _ in rows]
    assert at == sorted(set(at))
    buckets = [math.floor(10 * math.log10(e)) for e in at]
    assert buckets == sorted(set(buckets))
    late = [e for e in at if e >= 1000]
    assert len(late) == 14  # 1000 to 20,000 is 1.3 decades, both ends included
    for a, b in itertools.pairwise(late):
        assert b / a == pytest.approx(10**0.1, rel=0.02)


def test_early_rows_are_one_an_iteration():
    rows, rest = record([512] * 10, rows_per_decade=100)
    assert [row["interactions"] for row, _ in rows] == [512 * k for k in range(1, 11)]
    assert rest == []


def test_a_row_without_episodes_has_null_returns_not_zero():
    recorder = CurveRecorder(10)
    recorder.add(np.zeros(0), np.zeros(0), {"entropy": 1.0})
    row = recorder.close_row(100, wall_seconds=1.0, train_flops=2.0)
    assert row["episodes"] == 0
    assert row["return_mean"] is row["return_std"] is row["episode_length_mean"] is None
    assert row["entropy"] == 1.0


def test_episode_lengths_are_averaged_over_episodes():
    recorder = CurveRecorder(10)
    recorder.add(np.array([1.0, 2.0]), np.array([10, 20]), {})
    recorder.add(np.array([3.0]), np.array([60]), {})
    row = recorder.close_row(90, wall_seconds=0.0, train_flops=0.0)
    assert row["episode_length_mean"] == 30.0
    assert row["return_mean"] == 2.0
    assert row["return_std"] == pytest.approx(math.sqrt(2 / 3))


def test_a_diagnostic_is_averaged_over_the_iterations_that_have_it():
    recorder = CurveRecorder(10)
    for diagnostics in ({"entropy": 1.0}, {"entropy": 3.0, "clone_kl": 0.5}, {}):
        recorder.add(np.zeros(1), 1.0, diagnostics)
    row = recorder.close_row(3, wall_seconds=0.0, train_flops=0.0)
    assert (row["entropy"], row["clone_kl"]) == (2.0, 0.5)
    recorder.add(np.zeros(1), 1.0, {"entropy": 1.0})
    assert "clone_kl" not in recorder.close_row(4, wall_seconds=0.0, train_flops=0.0)


def test_an_evaluation_is_in_the_next_row_alone_and_outlasts_a_pause():
    recorder = CurveRecorder(10)
    recorder.add(np.ones(2), 1.0, {})
    recorder.add_evaluation(np.array([100.0]))
    recorder.add_evaluation(np.array([4.0, 8.0]))  # the latest counts
    resumed = CurveRecorder(10)
    resumed.load_state_dict(json.loads(json.dumps(recorder.state_dict())))
    for each in (recorder, resumed):
        row = each.close_row(2, wall_seconds=0.0, train_flops=0.0)
        assert (row["eval_return_mean"], row["eval_episodes"], row["return_mean"]) == (6.0, 2.0, 1.0)
        each.add(np.ones(2), 1.0, {})
        assert "eval_return_mean" not in each.close_row(4, wall_seconds=0.0, train_flops=0.0)


def test_a_resumed_recorder_closes_the_same_rows():
    sizes = [7, 30, 1, 12, 50, 3, 3, 80, 20]
    whole, _ = record(sizes, 10)
    for cut in range(1, len(sizes)):
        rng = np.random.default_rng(0)
        first = CurveRecorder(10)
        rows, interactions, current = [], 0, first
        for i, size in enumerate(sizes):
            if i == cut:  # through JSON, as in a checkpoint
                current = CurveRecorder(10)
                current.load_state_dict(json.loads(json.dumps(first.state_dict())))
            current.add(rng.normal(size=size), 1.0, {"entropy": float(size)})
            interactions += size
            if current.is_due(interactions):
                rows.append(current.close_row(interactions, wall_seconds=0.0, train_flops=2.0 * interactions))
        assert rows == [row for row, _ in whole]
