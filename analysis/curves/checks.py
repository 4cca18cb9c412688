"""Checks of curves before a fit: errors for values that cannot be used, notes on what looks odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.choices import Duplicates, how_to_merge
from rlscale.sweeps.store.values import bad_value

#: N and E lie between these, |R| below the third: powers and products of them stay within a double.
MIN_NUMBER, MAX_NUMBER, MAX_RETURN = 1e-30, 1e30, 1e100
#: Columns of N that count parameters, of which a network has at least one.
COUNTS_OF_PARAMETERS = ("num_params", "num_params_total")
#: Sizes that differ by less than this share are one size: parameters counted with or without a few biases.
SAME_SIZE = 0.005
#: Sizes that differ by less than this share get a note: they may be meant as one.
CLOSE_SIZE = 0.05
#: Factors between runs above which a note asks whether their units are the same.
ODD_SCALE, ODD_JUMP, ODD_LENGTH = 20.0, 1000.0, 2.0
_LISTED = 5


@dataclass(frozen=True)
class RawCurves:
    """Curves as numbers, unchecked: rows in any order, NaN where there is no return.

    Attributes:
        source: path or URI, for messages.
        size_column: which column is N.
        run_ids: one name a run.
        sizes: N, shape ``(runs,)``.
        run_index: run of each row, shape ``(rows,)``.
        interactions, returns: shape ``(rows,)``.
        row_number: number of a row in its file, from 1; None in a store, where each run has a file.
        metrics: further columns, shape ``(rows,)`` each, NaN where there is no value.
        left_out: positions, among the runs that were asked for, of those that could not be read.
        notes: why not.
    """

    source: str
    size_column: str
    run_ids: tuple[str, ...]
    sizes: Floats
    run_index: Ints
    interactions: Floats
    returns: Floats
    row_number: Callable[[int], int] | None = None
    metrics: Mapping[str, Floats] = field(default_factory=dict)
    left_out: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def refusal(
        self, column: str, wrong: Ints, values: Floats, fault: str, code: str = "invalid_value"
    ) -> InputError:
        """The error that names the first of some rows, ``wrong``, and says what is wrong with its value."""
        row = int(wrong[0])
        run = int(self.run_index[row])
        if self.row_number is None:
            number = row - int(np.flatnonzero(self.run_index == run)[0]) + 1
        else:
            number = self.row_number(row)
        value = float(values[row])
        return bad_value(self.source, self.run_ids[run], column, number, len(wrong), value, fault, code)


def check_numbers(raw: RawCurves) -> None:
    """Make sure that every N, E and R can be computed with.

    Raises:
        InputError: otherwise.
    """
    wrong = np.flatnonzero(~_within(raw.sizes))
    if len(wrong):
        run, size = raw.run_ids[wrong[0]], float(raw.sizes[wrong[0]])
        fault = f"{_what_is_wrong(size)}; correct it, or remove the run"
        raise bad_value(raw.source, run, raw.size_column, None, len(wrong), size, fault)
    wrong = np.flatnonzero((raw.sizes < 1) & (raw.size_column in COUNTS_OF_PARAMETERS))
    if len(wrong):
        run, size = raw.run_ids[wrong[0]], float(raw.sizes[wrong[0]])
        fault = "is below one parameter; state sizes in parameters, not in thousands or millions of them"
        raise bad_value(raw.source, run, raw.size_column, None, len(wrong), size, fault)
    wrong = np.flatnonzero(~_within(raw.interactions))
    if len(wrong):
        fault = f"{_what_is_wrong(raw.interactions[wrong[0]])}; correct or remove the row"
        raise raw.refusal("interactions", wrong, raw.interactions, fault)
    wrong = np.flatnonzero((raw.returns > MAX_RETURN) | (raw.returns < -MAX_RETURN))
    if len(wrong):
        fault = "is infinite" if np.isinf(raw.returns[wrong[0]]) else f"is beyond {MAX_RETURN:g}"
        raise raw.refusal("return_mean", wrong, raw.returns, f"{fault}; leave it empty or remove the row")


def each_step_once(raw: RawCurves, duplicates: Duplicates) -> tuple[RawCurves, tuple[str, ...]]:
    """The curves with one row for each run and E, and a note on rows that were merged.

    A row without a return counts only if no other of its run and E has one. An average stands in the place of
    its first row, with that row's metrics. With ``error`` the curves stay as they are.
    """
    if duplicates == "error":
        return raw, ()
    frame = pd.DataFrame({"run": raw.run_index, "E": raw.interactions, "R": raw.returns})
    key = ["run", "E"]
    shared = int(frame.duplicated(key, keep=False).sum())
    if not shared:
        return raw, ()
    values = frame.groupby(key, sort=False)["R"].transform(duplicates).to_numpy()
    rows = np.flatnonzero(~frame.duplicated(key, keep="first" if duplicates == "mean" else "last"))
    number = raw.row_number
    merged = replace(
        raw,
        run_index=raw.run_index[rows],
        interactions=raw.interactions[rows],
        returns=values[rows],
        metrics={name: column[rows] for name, column in raw.metrics.items()},
        row_number=None if number is None else lambda row: number(int(rows[row])),
    )
    how = "averaged" if duplicates == "mean" else "of which the last was kept"
    lost = len(raw.run_index) - len(rows)
    return merged, (f"{shared} rows that share a run and its interactions, {how}: {lost} fewer.",)


def order_of_rows(raw: RawCurves) -> Ints | None:
    """Order that groups rows by run and keeps their order within a run; None if they are grouped already.

    Raises:
        InputError: if, within a run, interactions do not increase.
    """
    run, steps = raw.run_index, raw.interactions
    order = None
    if (run[1:] < run[:-1]).any():
        order = np.argsort(run, kind="stable")
        run, steps = run[order], steps[order]
    wrong = 1 + np.flatnonzero((steps[1:] <= steps[:-1]) & (run[1:] == run[:-1]))
    if len(wrong):
        by_step = np.lexsort((steps, run))
        twice = by_step[1:][(np.diff(run[by_step]) == 0) & (np.diff(steps[by_step]) == 0)]
        fault, code = f"occurs twice in the run; {how_to_merge()}", "duplicate_row"
        if not len(twice):
            fault = (
                "is not above the one before; sort the rows of a run, and give each attempt its own run_id"
            )
            code = "unordered_rows"
        rows = twice if len(twice) else wrong
        rows = rows if order is None else order[rows]
        raise raw.refusal("interactions", rows, raw.interactions, fault, code)
    return order


def check_returns(raw: RawCurves) -> None:
    """Make sure that each run has a return.

    Raises:
        InputError: otherwise.
    """
    known = np.bincount(raw.run_index, weights=~np.isnan(raw.returns), minlength=len(raw.run_ids))
    for run in np.flatnonzero(known == 0):
        raise InputError(
            f"{raw.source}, run {raw.run_ids[run]}: no row has a return_mean; "
            f"remove the run, or train it longer.",
            code="no_returns",
        )


def merge_sizes(sizes: Floats) -> tuple[Floats, tuple[str, ...]]:
    """Sizes of runs, with sizes that differ by less than ``SAME_SIZE`` made equal, and notes.

    They become the size that most of these runs have; of equally frequent ones the smallest.

    Args:
        sizes: shape ``(runs,)``, positive.
    """
    distinct, counts = np.unique(sizes, return_counts=True)
    notes = []
    merged = distinct.copy()
    first = 0
    while first < len(distinct):
        stop = int(np.searchsorted(distinct, distinct[first] * (1 + SAME_SIZE), side="right"))
        if stop - first > 1:
            merged[first:stop] = distinct[first + int(np.argmax(counts[first:stop]))]
            listed = _listed([f"{n:.10g}" for n in distinct[first:stop]])
            notes.append(
                f"Sizes {listed} differ by less than {SAME_SIZE:.1%} and count as one, {merged[first]:.10g}."
            )
        first = stop
    left = np.unique(merged)
    close = np.flatnonzero(left[1:] < left[:-1] * (1 + CLOSE_SIZE))
    if len(close):
        pairs = _listed([f"{left[i]:.10g} and {left[i + 1]:.10g}" for i in close])
        notes.append(
            f"Sizes {pairs} are close, yet count as different; give runs of one size the same value."
        )
    return merged[np.searchsorted(distinct, sizes)], tuple(notes)


def notes_on_runs(
    run_ids: tuple[str, ...], sizes: Floats, run_index: Ints, interactions: Floats, returns: Floats
) -> tuple[str, ...]:
    """Notes on differences between runs that look odd: scales of returns, lengths, units.

    Args:
        run_ids, sizes: of shape ``(runs,)``.
        run_index, interactions, returns: of shape ``(rows,)``, ordered by run, then by interactions;
            every run has a row.
    """
    first = np.searchsorted(run_index, np.arange(len(run_ids)))
    scale = np.maximum(
        np.maximum.reduceat(returns, first), -np.minimum.reduceat(returns, first)
    )  # largest |R|
    last = interactions[np.append(first[1:], len(interactions)) - 1]
    runs = pd.DataFrame({"size": sizes, "scale": scale, "last": last})
    return (
        *_on_scales(run_ids, runs),
        *_on_lengths(runs),
        *_on_jumps(runs),
        *_on_single_rows(run_index, first),
    )


def _on_scales(run_ids: tuple[str, ...], runs: pd.DataFrame) -> tuple[str, ...]:
    """Runs whose returns are far larger than most, or far smaller than most and than of their size.

    Small returns alone do not indicate other units: a small agent may have learned nothing.
    """
    usual = runs["scale"].median()
    largest = runs.groupby("size")["scale"].transform("max")
    odd = (runs["scale"] > ODD_SCALE * usual) | (
        (runs["scale"] < usual / ODD_SCALE) & (runs["scale"] < largest / ODD_SCALE)
    )
    if not odd.any() or usual == 0:
        return ()
    named = _listed([f"{run_ids[i]} (up to {runs['scale'].iloc[i]:.3g})" for i in np.flatnonzero(odd)])
    return (
        f"Returns of {named} are on another scale than those of most runs (up to {usual:.3g}); "
        f"check that all have the same unit.",
    )


def _on_lengths(runs: pd.DataFrame) -> tuple[str, ...]:
    lengths = runs.groupby("size")["last"].agg(["min", "max"])
    uneven = lengths[lengths["max"] > ODD_LENGTH * lengths["min"]]
    if uneven.empty:
        return ()
    size, (least, most) = uneven.index[0], uneven.iloc[0]
    more = f" (and {len(uneven) - 1} more size{_s(len(uneven) - 1)})" if len(uneven) > 1 else ""
    return (
        f"Runs of size {size:.10g}{more} end between {least:.4g} and {most:.4g} interactions; beyond the "
        f"shortest, fewer seeds are averaged. Check that all count the same steps.",
    )


def _on_jumps(runs: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    for name, values in (("Sizes", runs["size"]), ("Numbers of interactions", runs["last"])):
        distinct = np.unique(values)
        jumps = np.flatnonzero(distinct[1:] > ODD_JUMP * distinct[:-1])
        if len(jumps):
            low, high = distinct[jumps[0]], distinct[jumps[0] + 1]
            notes.append(f"{name} jump from {low:.4g} to {high:.4g}; check that all have the same unit.")
    return tuple(notes)


def _on_single_rows(run_index: Ints, first: Ints) -> tuple[str, ...]:
    single = int((np.diff(np.append(first, len(run_index))) == 1).sum())
    if not single:
        return ()
    return (f"{single} run{_s(single)} ha{'s' if single == 1 else 've'} a single row: a point, not a curve.",)


def _within(values: Floats) -> Bools:
    """Which values can be an N or an E."""
    return (values >= MIN_NUMBER) & (values <= MAX_NUMBER)


def _what_is_wrong(value: float) -> str:
    """What is wrong with a value that is not ``_within``."""
    if not np.isfinite(value):
        return "must be a finite number"
    return "must be positive" if value <= 0 else f"is not between {MIN_NUMBER:g} and {MAX_NUMBER:g}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _s(count: int) -> str:
    return "" if count == 1 else "s"
