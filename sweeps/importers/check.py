"""From runs as found to curves as the store keeps them, or one sentence about what cannot be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.runs import Skipped, SourceRun
from rlscale.sweeps.store.schema import CURVE, CURVE_SCHEMA, DIAGNOSTICS, RUN

Floats = NDArray[np.float64]

_LARGEST_EXACT = 2.0**53  # below it every whole number is a float64
_LARGEST = 2.0**63  # of int64
_TYPES = {column.name: column.type for column in (*CURVE, *DIAGNOSTICS, *RUN)}
_POSITIVE = ("num_params", "num_params_total", "flops_forward", "flops_per_interaction")
_MISSING = ("", "nan", "none", "null", "n/a", "na")


@dataclass(frozen=True)
class CheckedCurve:
    """A curve that can be stored: rows in order of ``interactions``, each step once.

    Attributes:
        table: columns and types of ``CURVE_SCHEMA`` apart from the keys, which are still null.
        counts: rows that were changed or left out, by the keys of ``COUNTED``.
    """

    run: SourceRun
    table: pa.Table = field(repr=False)
    counts: Mapping[str, int]


def check_curve(run: SourceRun, steps_scale: float | None = None) -> CheckedCurve | Skipped:
    """Check the rows of one run.

    Args:
        steps_scale: environment steps for one step of the source, e.g. 0.25 if that counts frames
            of which the agent sees every fourth.

    Returns:
        The curve, or why the run has none.

    Raises:
        InputError: naming the source, the run, the row and the remedy.
    """
    counts: Counter[str] = Counter(run.counts)
    frame = pd.DataFrame(
        {str(column): _numbers(run, str(column), run.rows[column]) for column in run.rows.columns},
        index=run.rows.index,
    )
    frame["interactions"] = _steps(run, frame["interactions"], steps_scale, counts)
    if run.repeats == "average":
        before = frame["interactions"] == 0
        counts["before"] += int(before.sum())
        frame = frame[~before]
    positive = (frame["interactions"] > 0).to_numpy()
    _require(positive, run, frame, "interactions", "must be positive; remove rows from before training")
    infinite = np.isinf(frame["return_mean"].to_numpy())
    _require(~infinite, run, frame, "return_mean", "is infinite; leave it empty or remove the row")
    if "episodes" in frame.columns:
        whole = frame["episodes"].isna() | _is_whole(frame["episodes"].to_numpy())
        _require(whole.to_numpy(), run, frame, "episodes", "is not a whole number; correct or remove it")
    frame = _each_step_once(run, frame.sort_values("interactions", kind="stable"), counts)
    if not frame["return_mean"].notna().any():
        return Skipped(run.name, "no row has a return")
    return CheckedCurve(run, _table(frame), +counts)


def check_fact(column: str, value: object, origin: str) -> Any:
    """The value of a run column in the type of the schema; None if there is none.

    Args:
        origin: where the value stands, for messages.

    Raises:
        InputError: if it cannot be a value of that column.
    """
    if value is None or (isinstance(value, float) and np.isnan(value) and column not in _POSITIVE):
        return None
    dtype = _TYPES[column]
    if pa.types.is_string(dtype):
        if isinstance(value, dict | list | tuple):
            raise InputError(f"{origin}: {column} is {value!r}, not a name; correct it.")
        text = str(value)
        if text != storable(text):
            raise InputError(f"{origin}: {column} is {text!r}, which is no text; correct it.")
        return text
    number = _number(value)
    if number is None or not np.isfinite(number):
        raise InputError(f"{origin}: {column} is {_shown(value)}, not a finite number; correct it.")
    if column in _POSITIVE and number <= 0:
        raise InputError(f"{origin}: {column} is {_shown(value)}; it must be positive, so correct it.")
    if not pa.types.is_integer(dtype):
        return number
    if not _is_whole(np.array([number]), _LARGEST)[0]:
        raise InputError(f"{origin}: {column} is {_shown(value)}, not a whole number below 2^63; correct it.")
    return int(value) if isinstance(value, int | np.integer) else int(number)


def storable(text: str) -> str:
    """The text with a mark in place of what UTF-8 cannot hold, such as odd bytes in a folder's name."""
    return text.encode("utf-8", "replace").decode()


def _steps(run: SourceRun, steps: pd.Series, scale: float | None, counts: Counter[str]) -> Floats:
    """Environment steps as whole numbers; zeros are still there."""
    values = steps.to_numpy(float)
    frame = pd.DataFrame({"interactions": values}, index=steps.index)
    _require(np.isfinite(values), run, frame, "interactions", "must be a finite number; fill it in")
    _require(values >= 0, run, frame, "interactions", "is negative; correct or remove the row")
    scaled = values
    if scale is not None:
        with np.errstate(over="ignore"):
            scaled = values * scale
        values = np.rint(scaled)
    _require(
        _is_whole(values),
        run,
        frame,
        "interactions",
        "is no whole number of environment steps below 2^53; correct it, or round with --steps-scale 1",
    )
    counts["rounded"] += int((np.abs(values - scaled) > 1e-9 * np.maximum(1.0, values)).sum())
    return values


def _each_step_once(run: SourceRun, frame: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    repeated = frame["interactions"].duplicated(keep=False).to_numpy()
    if not repeated.any():
        return frame
    if run.repeats == "refuse":
        again = frame["interactions"].duplicated().to_numpy()
        remedy = "occurs twice; keep one row for each run and step"
        _require(~again, run, frame, "interactions", remedy)
    counts["averaged"] += int(repeated.sum())
    return frame.groupby("interactions", as_index=False, sort=True).mean()


def _table(frame: pd.DataFrame) -> pa.Table:
    arrays = []
    for column in CURVE_SCHEMA:
        if column.name not in frame.columns:
            arrays.append(pa.nulls(len(frame), column.type))
            continue
        values = frame[column.name].to_numpy(float)
        missing = np.isnan(values)
        if pa.types.is_integer(column.type):
            whole = np.where(missing, 0, values).astype(np.int64)
            arrays.append(pa.array(whole, column.type, mask=missing))
        else:
            arrays.append(pa.array(values, column.type, mask=missing))
    return pa.Table.from_arrays(arrays, schema=CURVE_SCHEMA)


def _numbers(run: SourceRun, column: str, values: pd.Series) -> Floats:
    """A column as float64, NaN where nothing is given."""
    if values.dtype.kind in "iuf":
        return values.to_numpy(float, na_value=np.nan)
    numbers = [_number(value) for value in values]
    good = np.array([number is not None for number in numbers], dtype=bool)
    frame = pd.DataFrame({column: values.to_numpy(object)}, index=values.index)
    _require(good, run, frame, column, "is not a number; correct or remove it")
    return np.array(numbers, dtype=float)


def _number(value: object) -> float | None:
    """A value as a float, NaN if nothing is given, None if it is no number."""
    if value is None or value is pd.NA or value is pd.NaT:
        return np.nan
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, Real | Decimal | str):
        return None
    if isinstance(value, str) and value.strip().lower() in _MISSING:
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except ValueError:
        return None


def _is_whole(values: Floats, below: float = _LARGEST_EXACT) -> NDArray[np.bool_]:
    return (values == np.rint(values)) & (np.abs(values) < below)


def _require(good: NDArray[np.bool_], run: SourceRun, frame: pd.DataFrame, column: str, fault: str) -> None:
    bad = np.flatnonzero(~np.asarray(good))
    if len(bad):
        row = int(bad[0])
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise InputError(
            f"{run.where}, run {run.name}, column {column}, row {frame.index[row]}{more}: "
            f"the value ({_shown(frame[column].iloc[row])}) {fault}."
        )


def _shown(value: object) -> str:
    text = f"{value:.15g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
