"""A late start in words, for the terminal and the report."""

from __future__ import annotations

from rlscale.analysis.fit.late_start import LateStart
from rlscale.analysis.formatting.numbers import brief_number, interval_text


def late_start_sentence(late: LateStart | None) -> str:
    """Where learning starts and what the fit did about it; empty if nothing was found or looked for."""
    if late is None or late.onset is None or late.gate == "none":
        return ""
    known = [onset for onset in late.onset_by_size if onset is not None]
    how = "at once" if late.gate == "sharp" else "gradually"
    sizes = interval_text((min(known), max(known)), brief_number)
    return (
        f"Learning starts late and {how}, at {brief_number(late.onset)} interactions (sizes: {sizes}). The "
        f"law holds for the interactions that count, after a delay of {brief_number(late.delay)}; without "
        f"the delay nu = {late.nu_without:.4f}."
    )
