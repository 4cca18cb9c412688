"""Numbers as text: the examples of the docstrings, and where a unit begins."""

from __future__ import annotations

import doctest
import math

import pytest

from rlscale.analysis.formatting import numbers
from rlscale.analysis.formatting.numbers import byte_size, compact_count, duration


def test_the_examples_are_right() -> None:
    found = doctest.testmod(numbers)
    assert found.attempted > 10
    assert found.failed == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"),
        (18600, "5 h 10 min"), (90061, "25 h 01 min"), (None, "?"), (math.inf, "?"), (math.nan, "?"),
    ],
)  # fmt: skip
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"), (7.25, "7.25"), (950, "950"), (999.6, "1k"), (8000, "8k"), (8192, "8.19k"),
        (999_499, "999k"), (999_500, "1M"), (1_234_567, "1.23M"), (4_000_000_000, "4B"),
        (-1234, "-1.23k"), (2e-5, "2e-05"), (3e16, "3e16"),
    ],
)  # fmt: skip
def test_counts_read_well(number, words):
    assert compact_count(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(45_100_000, "45.1 MB"), (999_400_000, "999 MB"), (999_600_000, "1 GB"), (27_200_000_000, "27.2 GB")],
)
def test_memory_reads_well(number, words):
    assert byte_size(number) == words
