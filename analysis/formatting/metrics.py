"""The constants of a metric of performance as text."""

from __future__ import annotations

from rlscale.analysis.fit.findings import StraightLine
from rlscale.analysis.formatting.numbers import interval_text


def constants_text(line: StraightLine) -> str:
    """``min = 0, max = 10``; a constant that the data decided with its interval."""
    parts = []
    for name in sorted(line.constants, reverse=True):
        interval = line.intervals.get(name)
        bounds = f" [{interval_text(interval, '.4g')}]" if interval else ""
        parts.append(f"{name} = {line.constants[name]:.4g}{bounds}")
    return ", ".join(parts)
