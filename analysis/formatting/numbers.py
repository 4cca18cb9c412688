"""Numbers, intervals, bytes and durations as text: the one place that formats them."""

from __future__ import annotations

import math

from rlscale.analysis.records import Interval


def count_text(value: float, digits: int = 3) -> str:
    """1234567 as ``1.23M``."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * limit and value < 1e15:
            return f"{_significant(value / limit, digits)}{unit}"
    return _significant(value, digits) if value < 1e15 else f"{value:.{digits - 1}e}"


def _significant(value: float, digits: int) -> str:
    """``digits`` significant figures, never as a power of ten for what is below 1000."""
    text = f"{float(f'{value:.{digits}g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


#: What each measure of size counts.
SIZE_NAMES = {"params": "parameters", "params_total": "with value net", "flops": "forward FLOPs"}

#: Unit of each choice of size.
UNITS = {"params": "parameters", "params_total": "parameters", "flops": "FLOP"}


def interval_text(interval: Interval | None, form: str) -> str:
    """``0.4 to 0.5``, or ``unknown``."""
    return "unknown" if interval is None else " to ".join(brief_number(end, form) for end in interval)


def brief_number(value: float, form: str = ".3g") -> str:
    """1.2e6 for 1.2e+06: a terminal is 80 columns wide."""
    return f"{value:{form}}".replace("e+0", "e").replace("e+", "e")


def compact_count(number: float) -> str:
    """A count in three digits: 950, 8.19k, 1.2M, 3G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def byte_size(number: float) -> str:
    """Bytes in three digits: 45.1 MB, 27.2 GB."""
    return f"{number / 1e9:.3g} GB" if number >= 0.9995e9 else f"{number / 1e6:.3g} MB"


def duration(seconds: float | None) -> str:
    """A length of time for people: 12 s, 3 min 20 s, 5 h 10 min; '?' if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
