"""The health of runs in words, for the terminal and the report."""

from __future__ import annotations

from rlscale.analysis.fit.findings import HealthStudy, RunHealth
from rlscale.analysis.formatting.numbers import brief_number, counted

#: What the law is fitted to with each treatment of unhealthy runs.
TREATMENTS = {
    "keep": "all rows of all runs",
    "cut": "unhealthy runs until they fell ill",
    "drop": "healthy runs only",
}
_SIGNS = {
    "return": "lost its return",
    "variance": "policy ignores the state",
    "rank": "rank of features collapsed",
    "dead_units": "units are dead",
}


def health_sentence(study: HealthStudy) -> str:
    """How many runs are healthy, and by what."""
    by = "returns and representations" if study.measured else "returns"
    if not study.runs:
        return f"All {counted(study.num_healthy, 'run')} are healthy by their {by}."
    states = {state: sum(run.state == state for run in study.runs) for state in ("degrading", "collapsed")}
    ill = " and ".join(f"{count} {state}" for state, count in states.items() if count)
    verb = "is" if study.num_healthy == 1 else "are"
    return f"By their {by}, {counted(study.num_healthy, 'run')} {verb} healthy, {ill}."


def signs_text(run: RunHealth) -> str:
    """``lost its return from 12k; …``, in order of time."""
    signs = sorted(run.signs.items(), key=lambda item: item[1])
    return "; ".join(f"{_SIGNS[sign]} from {brief_number(at)}" for sign, at in signs)
