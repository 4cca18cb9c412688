"""What the intervals of a fit hold, shared by terminal and report."""

from __future__ import annotations

from rlscale.analysis.fit.isoflop_under_law import disagrees
from rlscale.analysis.fit.result import FitResult


def held_text(fit: FitResult) -> str:
    """What the total intervals hold, a list in words; empty without a bootstrap."""
    if not fit.intervals:
        return ""
    held = [
        "other sizes" if fit.bootstrap.scheme == "sizes" else "other seeds",
        "other shares of early training",
    ]
    if fit.size_effect is not None and fit.size_effect.sigma > 0:
        held.insert(1, "differences between sizes beyond their seeds")
    if fit.delay.kind == "soft":
        held.append("no delay")
    if fit.isoflop is not None and disagrees(fit.isoflop):
        held.append("parabolas in place of the law")
    *first, last = held
    return f"{', '.join(first)} and {last}"
