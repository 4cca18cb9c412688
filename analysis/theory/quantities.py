"""Quantities that people give: sizes, interactions, compute, FLOPs, hours and costs."""

from __future__ import annotations

import math

from rlscale.scaling.errors import InputError

#: Products and powers of quantities within these bounds are finite; nothing real lies beyond.
LEAST, MOST = 1e-30, 1e60


def check_quantity(name: str, value: float, *, may_be_zero: bool = False) -> float:
    """Return a quantity that can be computed with.

    Args:
        name: what messages call it, at the beginning of a sentence.

    Raises:
        InputError: if it is negative, 0 unless that is allowed, not finite or beyond ``LEAST`` to ``MOST``
            (code ``invalid_number``).
    """
    value = float(value)
    if may_be_zero and value == 0:
        return 0.0
    if not (math.isfinite(value) and value > 0):
        wanted = "0 or a positive, finite number" if may_be_zero else "a positive, finite number"
        raise InputError(f"{name} must be {wanted}: got {value}.", code="invalid_number")
    if not LEAST <= value <= MOST:
        raise InputError(
            f"{name} must be from {LEAST:g} to {MOST:g}, beyond which nothing is real: got {value:g}.",
            code="invalid_number",
        )
    return value
