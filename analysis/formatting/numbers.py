"""Numbers, intervals, bytes and durations as text. Nothing else in the toolkit formats them.

Each function takes a number in its base unit and returns text for people; ``None`` is a number that is not
known. The examples are tests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from rlscale.analysis.records import Interval

_COUNT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_LARGEST_COUNT = 1e15  # from here on a power of ten is easier to read
_SMALLEST_COUNT = 1e-4
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# -- single numbers ---------------------------------------------------------------


def compact_count(value: float, digits: int = 3) -> str:
    """A count with a unit of thousands, for columns, axes and legends.

    >>> [compact_count(n) for n in (950, 8192, 999_500, 1_234_567, 4e9)]
    ['950', '8.19k', '1M', '1.23M', '4B']
    """
    size = abs(value)
    if size >= _LARGEST_COUNT or 0 < size < _SMALLEST_COUNT:
        return brief_number(value, f".{digits}g")
    for limit, unit in _COUNT_UNITS:
        if size >= 0.9995 * limit:
            return _significant(value / limit, digits) + unit
    return _significant(value, digits)


def _significant(value: float, digits: int) -> str:
    """``digits`` significant figures, never as a power of ten."""
    text = f"{float(f'{value:.{digits}g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def brief_number(value: float, form: str = ".3g") -> str:
    """A number of any size for a terminal, where powers of ten are written with an e.

    >>> [brief_number(x) for x in (0.5, 1.234e6, 2e-5)], brief_number(0.12345, ".4f")
    (['0.5', '1.23e6', '2e-05'], '0.1235')
    """
    return f"{value:{form}}".replace("e+0", "e").replace("e+", "e")


def fixed_point(value: float, digits: int) -> str:
    """``digits`` decimals and a typographic minus sign, for the report.

    >>> fixed_point(-0.1234, 2)
    '−0.12'
    """
    return with_minus_signs(f"{value:.{digits}f}")


def scientific(value: float, digits: int = 2) -> str:
    """A power of ten in Unicode, for the report.

    >>> [scientific(x) for x in (1e12, 6.4e12, 2e-3)]
    ['10¹²', '6.4 × 10¹²', '2 × 10⁻³']
    """
    factor, exponent = _factor_and_exponent(value, digits)
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if factor == "1" else f"{factor} × {power}"


def typeset_number(value: float, digits: int = 3) -> str:
    """A number of any size for the report: a power of ten where its decimals would be long.

    >>> [typeset_number(x) for x in (0.5, -1.234, 1e4, 2e-5)]
    ['0.5', '−1.23', '10⁴', '2 × 10⁻⁵']
    """
    size = abs(value)
    if size == 0 or 1e-4 <= size < 1e4:
        return with_minus_signs(_significant(value, digits))
    return with_minus_signs(scientific(value, digits))


def typeset_powers(text: str) -> str:
    """Numbers such as 1.2e6 in a sentence as powers of ten, but those of options as they are typed.

    >>> typeset_powers("at 1.2e6 interactions, 1e-05 of it, not 4.34e3; see --flops 1e15")
    'at 1.2 × 10⁶ interactions, 10⁻⁵ of it, not 4340; see --flops 1e15'
    """

    def power(match: re.Match[str]) -> str:
        option, number = match.groups()
        return match[0] if option else typeset_number(float(number), digits=4)

    return re.sub(r"(--[\w-]+[ =])?(?<![\w.])(\d+(?:\.\d+)?e[+-]?\d+)(?!\w)", power, text)


def scientific_mathtext(value: float, digits: int = 3) -> str:
    r"""The same in matplotlib's mathematical notation, for figures.

    >>> [scientific_mathtext(x) for x in (1e12, 6.4e12)]
    ['$10^{12}$', '$6.4\\times 10^{12}$']
    """
    factor, exponent = _factor_and_exponent(value, digits)
    power = f"10^{{{exponent}}}"
    return f"${power}$" if factor == "1" else rf"${factor}\times {power}$"


def _factor_and_exponent(value: float, digits: int) -> tuple[str, int]:
    factor, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return factor.rstrip("0").rstrip(".") if "." in factor else factor, int(exponent)


def percent(share: float | None) -> str:
    """A share in whole percent; empty if it is not known.

    >>> percent(0.256), percent(None)
    ('26%', '')
    """
    return "" if share is None else f"{share:.0%}"


def simple_fraction(share: float) -> str:
    """A share as one over a whole number where it is one.

    >>> simple_fraction(1 / 64), simple_fraction(0.03)
    ('1/64', '0.03')
    """
    parts = round(1 / share) if share > 0 else 0
    return f"1/{parts}" if parts and math.isclose(1 / share, parts, rel_tol=1e-5) else f"{share:g}"


def counted(number: int, noun: str) -> str:
    """A whole number of things.

    >>> counted(1, "run"), counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def with_minus_signs(text: str) -> str:
    """Numbers in ``text`` with the typographic minus sign.

    >>> with_minus_signs("-0.1 to 0.2")
    '−0.1 to 0.2'
    """
    return re.sub(r"-(?=\d)", "−", text)


# -- intervals --------------------------------------------------------------------


def interval_text(
    interval: Interval | None, write: str | Callable[[float], str] = ".3g", *, between: str = " to "
) -> str:
    """Both ends of an interval; ``unknown`` without one.

    Args:
        interval: (low, high).
        write: how an end is written: a format for ``brief_number``, or a function such as ``compact_count``.
        between: what stands between the ends.

    >>> interval_text((0.41, 0.5), ".2f"), interval_text((1200, 3.4e6), compact_count), interval_text(None)
    ('0.41 to 0.50', '1.2k to 3.4M', 'unknown')
    """
    if interval is None:
        return "unknown"
    return between.join(
        brief_number(end, write) if isinstance(write, str) else write(end) for end in interval
    )


# -- bytes and time ---------------------------------------------------------------


def byte_size(number: float) -> str:
    """Bytes in three digits.

    >>> byte_size(45_100_000), byte_size(27_200_000_000)
    ('45.1 MB', '27.2 GB')
    """
    return f"{number / 1e9:.3g} GB" if number >= 0.9995e9 else f"{number / 1e6:.3g} MB"


def duration(seconds: float | None) -> str:
    """A length of time in two units, for a sentence; ``?`` if it is not known.

    >>> duration(12), duration(200), duration(18600), duration(None)
    ('12 s', '3 min 20 s', '5 h 10 min', '?')
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def brief_duration(seconds: float | None) -> str:
    """A length of time in one unit, for a narrow column; ``?`` if it is not known.

    >>> brief_duration(100), brief_duration(9000), brief_duration(200_000), brief_duration(None)
    ('100 s', '2.5 h', '2.31 d', '?')
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def rate_per_second(rate: float | None) -> str:
    """Interactions a second; ``?/s`` if it is not known.

    >>> rate_per_second(8192.0), rate_per_second(None)
    ('8.19k/s', '?/s')
    """
    return "?/s" if rate is None else f"{compact_count(rate)}/s"
