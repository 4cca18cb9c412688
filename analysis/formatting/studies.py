"""Sentences about the studies of one fit, for terminal and report."""

from __future__ import annotations

from rlscale.analysis.fit.findings import StraightLine
from rlscale.analysis.formatting.numbers import interval_text

PERIODS = (
    "Each third of the logarithm of interactions, from the end of the excluded start to the end of each "
    "size's longest run, is fitted separately. The thirds agree if the law has settled."
)
SIZE_MEASURES = (
    "Each measure is divided by its median per unit of the first over the runs, so that compute and optimal "
    "sizes can be compared."
)


def constants_text(line: StraightLine) -> str:
    """``min = 0, max = 10``, with an interval for each constant that was fitted to the data."""
    parts = []
    for name in sorted(line.constants, reverse=True):
        interval = line.intervals.get(name)
        bounds = f" [{interval_text(interval, '.4g')}]" if interval else ""
        parts.append(f"{name} = {line.constants[name]:.4g}{bounds}")
    return ", ".join(parts)
