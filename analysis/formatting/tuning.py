"""Sentences about a tuning study, for the terminal and for the heading of the final spec."""

from __future__ import annotations

from rlscale.analysis.studies.tuning.final_spec import rounded
from rlscale.analysis.studies.tuning.study import SizeResult, TuningStudy


def heading(study: TuningStudy) -> str:
    """Where the rates of the final spec come from, in a few lines."""
    tuning, rates = study.tuning, study.rates
    lines = [
        f"Learning rates by rlscale sweep tune, sweep {study.sweep}: {len(rates)} base rates of {rates[0]:g}",
        f"to {rates[-1]:g}, {len(tuning.seeds)} seeds, {tuning.interactions:g} of each run's length. "
        f"Best rate and its 90% interval:",
    ]
    for result in study.sizes:
        if result.best is not None:
            lines.append(f"  {result.size.label}: {rounded(result.best.rate):g} ({rate_interval(result)})")
    lines += [f"Warning: {warning}" for warning in study.warnings]
    return "\n".join(" ".join(line.split("\n")) for line in lines)


def rate_interval(result: SizeResult) -> str:
    """The interval of the best rate, marked where only the grid ends it."""
    best = result.best
    if best is None or best.interval is None:
        return "unknown"
    at_low, at_high = result.ends_of_grid(best.interval)
    low, high = best.interval
    return f"{'≤ ' if at_low else ''}{low:.3g} to {'≥ ' if at_high else ''}{high:.3g}"
