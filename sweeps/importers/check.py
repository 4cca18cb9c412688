"""From runs as a reader found them to curves as the store keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.readers.runs import Skipped, SourceRun
from rlscale.sweeps.store.choices import how_to_merge
from rlscale.sweeps.store.schema import COLUMNS
from rlscale.sweeps.store.values import Bools, bad_value, parse_number, parse_numbers, shown

_LARGEST_EXACT = 2.0**53  # below it every whole number is a float64
_LARGEST = 2.0**63  # of int64
_ROUNDED = 0.01  # of E: half a bin of the fit
_POSITIVE = ("num_params", "num_params_total", "flops_forward", "flops_per_interaction")


@dataclass(frozen=True)
class CheckedCurve:
    """A curve that can be stored: rows in order of ``interactions``, each step once.

    Attributes:
        table: the curve columns that the source has, as numbers.
        counts: rows that were changed or left out, by the keys of ``COUNTED``.
    """

    run: SourceRun
    table: pa.Table = field(repr=False)
    counts: Mapping[str, int]


def check_curve(run: SourceRun, steps_scale: float | None = None) -> CheckedCurve | Skipped:
    """Check the rows of one run.

    Args:
        steps_scale: environment steps for one step of the source, e.g. 0.25 if the source counts frames and
            the agent sees every fourth.

    Returns:
        The curve, or why the run has none.

    Raises:
        InputError: naming the source, the run, the row and the remedy.
    """
    counts: Counter[str] = Counter(run.counts)
    numbers = {str(name): _numbers(run, str(name)) for name in run.rows.columns}
    numbers["interactions"] = _steps(run, numbers["interactions"], steps_scale, counts)
    frame = pd.DataFrame(numbers, index=run.rows.index)
    if run.drops_step_0:
        before = frame["interactions"] == 0
        counts["before"] += int(before.sum())
        frame = frame[~before]
    steps, returns = frame["interactions"], frame["return_mean"]
    _require(steps > 0, run, steps, "must be positive; remove rows from before training")
    _require(~np.isinf(returns), run, returns, "is infinite; leave it empty or remove the row")
    if "episodes" in frame:
        episodes = frame["episodes"]
        good = episodes.isna() | _is_whole(episodes)
        _require(good, run, episodes, "is not a whole number; correct or remove it")
    frame = _each_step_once(run, frame.sort_values("interactions", kind="stable"), counts)
    if not frame["return_mean"].notna().any():
        return Skipped(run.name, "no row has a return")
    return CheckedCurve(run, pa.Table.from_pandas(frame, preserve_index=False), +counts)


def check_fact(column: str, value: object, origin: str) -> Any:
    """The value of a run column in the type of the schema; None if there is none.

    Args:
        origin: where the value stands, for messages.

    Raises:
        InputError: if it cannot be a value of that column.
    """
    if value is None or (isinstance(value, float) and np.isnan(value) and column not in _POSITIVE):
        return None

    def refuse(fault: str) -> InputError:
        text = "nan" if value != value else shown(value)
        return InputError(f"{origin}: {column} is {text}{fault}.", code="invalid_value")

    dtype = COLUMNS[column].dtype
    if dtype == "string":
        if isinstance(value, dict | list | tuple):
            raise refuse(", not a name; correct it")
        if str(value) != storable(str(value)):
            raise InputError(
                f"{origin}: {column} is {str(value)!r}, which is not text; correct it.", code="invalid_value"
            )
        return str(value)
    number, wrong = parse_number(value)
    if wrong or not np.isfinite(number):
        raise refuse(", not a finite number; correct it")
    if column in _POSITIVE and number <= 0:
        raise refuse("; it must be positive, so correct it")
    if dtype == "float64":
        return number
    if not _is_whole(np.array([number]), _LARGEST)[0]:
        raise refuse(", not a whole number below 2^63; correct it")
    return int(value) if isinstance(value, int | np.integer) else int(number)


def storable(text: str) -> str:
    """The text with a mark in place of what UTF-8 cannot hold, such as odd bytes in a folder's name."""
    return text.encode("utf-8", "replace").decode()


def _numbers(run: SourceRun, column: str) -> pd.Series:
    """A column of the run as float64, NaN where no value is given."""
    found, wrong = parse_numbers(run.rows[column])
    _require(~wrong, run, run.rows[column], "is not a number; correct or remove it")
    return pd.Series(found, run.rows.index, name=column)


def _steps(run: SourceRun, given: pd.Series, scale: float | None, counts: Counter[str]) -> pd.Series:
    """Environment steps as whole numbers, zeros included."""
    _require(np.isfinite(given), run, given, "must be a finite number; fill it in")
    _require(given >= 0, run, given, "is negative; correct or remove the row")
    with np.errstate(over="ignore"):
        scaled = given if scale is None else given * scale
    steps = scaled.round()
    _require(_is_whole(steps), run, steps, "is no whole number of environment steps below 2^53; correct it")
    if scale is None:
        fault = (
            f"is more than {_ROUNDED:.0%} away from a whole number of environment steps; state its unit with "
            f"--steps-scale, e.g. 1e6 if it counts millions, or round with --steps-scale 1"
        )
        _require(np.abs(steps - given) <= _ROUNDED * given, run, given, fault)
    counts["rounded"] += int(((steps - scaled).abs() > 1e-9 * np.maximum(1.0, steps)).sum())
    return steps


def _each_step_once(run: SourceRun, frame: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    steps = frame["interactions"]
    repeated = steps.duplicated(keep=False)
    if not repeated.any():
        return frame
    if run.repeats == "refuse":
        _require(~steps.duplicated(), run, steps, f"occurs twice in the run; {how_to_merge()}")
    counts["last" if run.repeats == "last" else "averaged"] += int(repeated.sum())
    by_step = frame.groupby("interactions", as_index=False, sort=True)
    return by_step.last() if run.repeats == "last" else by_step.mean()


def _is_whole(values: Any, below: float = _LARGEST_EXACT) -> Any:
    return (values == np.rint(values)) & (np.abs(values) < below)


def _require(good: Any, run: SourceRun, values: pd.Series, fault: str) -> None:
    """Refuse the first value that is not good; ``fault`` says what is wrong with it and the remedy."""
    wrong: Bools = ~np.asarray(good)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        row, value = values.index[first], values.iloc[first]
        raise bad_value(run.where, run.name, str(values.name), row, int(wrong.sum()), value, fault)
