"""The values of a table of curves: how numbers and names are read, and the error for one that is bad."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Words that mean "no value", in lower case. A run may still have one of them as its name.
_MISSING = {
    *("", "nan", "-nan", "na", "<na>", "n/a", "null", "none", "#na", "#n/a", "#n/a n/a"),
    *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
}
_GROUPED = re.compile(r"[+-]?\d+([ ,.'’]\d+)+")


def parse_numbers(values: pd.Series) -> tuple[Floats, Bools]:
    """Values as numbers, NaN where there is none, and which of them are given but are not numbers.

    Text counts as the number that it spells; dates, truth values and structures are not numbers.
    """
    kind = getattr(values.dtype, "kind", "O")
    if kind in "bcmM":
        return np.full(len(values), np.nan), values.notna().to_numpy()
    if kind in "iuf":
        return values.to_numpy(np.float64, na_value=np.nan), np.zeros(len(values), bool)
    if isinstance(values.dtype, pd.CategoricalDtype):
        found, wrong = parse_numbers(pd.Series(values.cat.categories))
        # A code of -1, for no value, takes the last entry.
        index = values.cat.codes.to_numpy()
        return np.append(found, np.nan)[index], np.append(wrong, False)[index]
    pairs = [parse_number(value) for value in values]
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], bool)


def parse_number(value: object) -> tuple[float, bool]:
    """One value as ``parse_numbers`` reads it."""
    if isinstance(value, bool | np.bool_ | np.ndarray | np.datetime64 | np.timedelta64):
        return math.nan, True
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return math.nan, False
    if isinstance(value, str) and value.strip().lower() in _MISSING:
        return math.nan, False
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan, True
    return found, math.isnan(found)


def codes(values: pd.Series, *, words_are_names: bool = False) -> tuple[Ints, list[str]]:
    """Values as names: the position of each among the names, -1 where there is none, and the names.

    Args:
        words_are_names: whether words such as ``NA`` are names too, and not the absence of one.
    """
    try:
        index, found = pd.factorize(values)
    except TypeError:  # values without a hash, such as lists
        index, found = pd.factorize(values.map(str))
    absent = {""} if words_are_names else _MISSING
    names = [str(value).strip() for value in found]
    distinct = dict.fromkeys(name for name in names if name.lower() not in absent)
    position = {name: place for place, name in enumerate(distinct)}
    return np.array([*(position.get(name, -1) for name in names), -1])[index], list(position)


def bad_value(
    source: str,
    run: str,
    column: str,
    row: int | None,
    count: int,
    value: object,
    fault: str,
    code: str = "invalid_value",
) -> InputError:
    """The error that names the first of some values that cannot be used.

    Args:
        row: its number; None if the run has one value.
        count: how many such values there are.
        fault: what is wrong with the value and what to do about it.
    """
    place = "" if row is None else f", row {row}"
    return InputError(
        f"{source}, run {run}, column {column}{place}{and_more(count)}: the value ({shown(value)}) {fault}.",
        code=code,
    )


def shown(value: object) -> str:
    """A value for a message."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "empty"
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def how_to_correct(value: object) -> str:
    """What to do about a value that is not a number."""
    if isinstance(value, str) and _GROUPED.fullmatch(value.strip()):
        return "write it without thousands separators and with a decimal point"
    if isinstance(value, bool | np.bool_):
        return "give a number in place of a truth value"
    return "correct or remove it"


def and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
