"""The decisions of a closed loop as lines for a terminal."""

from __future__ import annotations

from rlscale.analysis.formatting.numbers import compact_count
from rlscale.loop.decisions import Decision

_SHARE = ".0%"


def decision_lines(decision: Decision) -> list[str]:
    """What a loop decided: the law so far, what it trains next, and why."""
    law = decision.law
    lines = []
    if law is not None:
        low, high = law.nu_interval
        n_low, n_high = law.N_opt_interval
        known = "identified" if law.identified else f"not identified ({', '.join(law.warning_codes)})"
        lines.append(
            f"nu = {law.nu:.3f} ({low:.3f} to {high:.3f}), {known}; N_opt at {law.target_compute:.2g} = "
            f"{compact_count(law.N_opt)} ({compact_count(n_low)} to {compact_count(n_high)})."
        )
    spent = f"{decision.spent / decision.budget:{_SHARE}} of the budget is spent"
    if decision.action == "stop":
        return [*lines, f"Stopped: {decision.reason} ({spent}.)"]
    planned = f"{(decision.planned - decision.spent) / decision.budget:{_SHARE}}"
    lines.append(f"Round {decision.number}: {decision.reason} ({spent}; these runs take {planned}.)")
    for size in decision.sizes:
        lines.append(
            f"  N {compact_count(size.N)} (width {size.width:g}): {len(size.seeds)} "
            f"run{'' if len(size.seeds) == 1 else 's'} to {compact_count(size.interactions)} interactions"
        )
    return lines
