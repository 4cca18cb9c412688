"""The score of a statement on record, from the runs that came after it.

Whether the outcome lies in the 90% interval; the interval score of that interval; the continuous ranked
probability score (CRPS), as the mean pinball loss of all quantiles (Gneiting, Raftery 2007). Both scores are
better the smaller they are, and in the unit of the outcome, in decades for N_opt and multipliers. The CRPS
of a baseline, which is a single number, is its absolute error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scoringrules
from pydantic import Field

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.record import (
    HALF_WINDOW,
    Item,
    Quantity,
    SealedCurves,
    Statement,
    curves_hash,
)
from rlscale.analysis.records import (
    INTERVAL_LEVEL,
    SCHEMA_VERSION,
    CodedWarning,
    Record,
    read_stored,
    warning_fields,
)
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

_IN_DECADES: tuple[Quantity, ...] = ("N_opt", "multiplier")
_SAME_SIZE = 1e-6  # relative difference of sizes that are one


class Outcome(Record):
    """What was measured, and the score of one item against it.

    Attributes:
        run_id: of a ``return``, else null.
        measured: the outcome.
        hit: whether it lies in the 90% interval.
        interval_score: of the 90% interval.
        crps: of the quantiles.
        baselines: absolute error of each baseline, its CRPS.
    """

    run_id: str | None = None
    measured: float
    hit: bool
    interval_score: float
    crps: float
    baselines: dict[str, float]


class ItemScore(Record):
    """An item with its outcomes; ``missing`` says why there are none."""

    item: Item
    outcomes: list[Outcome]
    missing: str | None = None


class Tally(Record):
    """Mean scores of all outcomes of one quantity.

    Attributes:
        outcomes, hits: how many, and how many of them lie in their 90% intervals.
        interval_score, crps: means.
        baselines: mean absolute error of each baseline.
    """

    quantity: Quantity
    outcomes: int
    hits: int
    interval_score: float
    crps: float
    baselines: dict[str, float]


class Score(Record):
    """The score of a statement.

    Attributes:
        title, sealed, statement_sha256: of the statement.
        first_row: when the first of the new runs started, as its store says; null if not known.
        curves_sha256: of the curves that gave the outcomes.
        tallies: one for each quantity that was measured.
    """

    kind: Literal["rlscale forecast score"] = "rlscale forecast score"
    schema_version: int = SCHEMA_VERSION
    title: str
    sealed: str
    statement_sha256: str
    first_row: str | None
    curves_sha256: str
    interval_level: float = INTERVAL_LEVEL
    items: list[ItemScore]
    tallies: list[Tally]
    warnings: list[str]
    warning_codes: list[str] = Field(default_factory=list)


def read_score(path: str | Path) -> Score:
    """The score stored in a JSON file by ``rlscale forecast score --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a score of this version.
    """
    return read_stored(path, Score, "rlscale forecast score STATEMENT.json --curves SRC --json FILE")


def score(
    statement: Statement,
    curves: Curves,
    *,
    started: Mapping[str, str] | None = None,
    estimator: JointScalingFit | None = None,
) -> Score:
    """Score a statement against curves.

    Args:
        statement: from ``read_statement``, which refuses one that was changed.
        curves: the new runs; for ``nu`` and ``N_opt`` the sealed ones too.
        started: ISO time at which each run started, by run id, as far as a store knows.
        estimator: how to fit the curves for ``nu`` and ``N_opt``.

    Raises:
        InputError: if the curves measure size differently (code ``other_size``), hold no run that the
            statement did not know (``no_new_runs``), or the statement compares two recipes
            (``statement_of_two_recipes``).
    """
    if statement.recipes is not None:
        raise InputError(
            f"The statement compares {' and '.join(statement.recipes.names)}, so it needs the curves of "
            f"both: score it with rlscale.score_comparison.",
            code="statement_of_two_recipes",
        )
    new = new_runs(curves, statement.curves, statement.size)
    if not new:
        raise no_new_runs(curves.source)
    law = _Refit(statement, curves, estimator or JointScalingFit())
    items = []
    for item in statement.items:
        if item.quantity in ("return", "mean_return"):
            measured, missing = _measured_returns(item, curves, new)
        else:
            measured, missing = law.measured(item)
        items.append(
            ItemScore(
                item=item, outcomes=[outcome(item, value, name) for name, value in measured], missing=missing
            )
        )
    names = [curves.run_ids[run] for run in new]
    return scored(statement, items, names, curves_hash(curves), started or {}, law.warnings())


def new_runs(curves: Curves, sealed: SealedCurves, size: str) -> list[int]:
    """Positions of the runs that a statement did not know.

    Raises:
        InputError: if the curves do not measure size as ``size`` (code ``other_size``).
    """
    if curves.size != size:
        raise InputError(
            f"The statement counts size as {size}, {curves.source} is read as {curves.size}; "
            f"give {either(f'--size {size}', f'size={size!r}')}.",
            code="other_size",
        )
    known = set(sealed.run_ids)
    return [run for run, run_id in enumerate(curves.run_ids) if run_id not in known]


def no_new_runs(source: str) -> InputError:
    """What to say of curves that hold no outcome."""
    return InputError(
        f"{source} has no run that the statement did not know; give the curves of new runs.",
        code="no_new_runs",
    )


def scored(
    statement: Statement,
    items: list[ItemScore],
    new: Sequence[str],
    curves_sha256: str,
    started: Mapping[str, str],
    warnings: Sequence[CodedWarning] = (),
) -> Score:
    """The score of a statement whose items have their outcomes.

    Args:
        new: ids of the runs that the statement did not know.
        curves_sha256: of the curves that gave the outcomes.
        started: as for ``score``.
        warnings: about how the outcomes were measured.
    """
    times = [time for run in new if (time := started.get(run))]
    first = min(times, key=datetime.fromisoformat) if len(times) == len(new) else None
    return Score(
        title=statement.title,
        sealed=statement.sealed,
        statement_sha256=statement.sha256,
        first_row=first,
        curves_sha256=curves_sha256,
        items=items,
        tallies=list(_tallies(items)),
        **warning_fields([*_warnings(statement, first, items), *warnings]),
    )


def _measured_returns(
    item: Item, curves: Curves, new: Sequence[int]
) -> tuple[list[tuple[str | None, float]], str | None]:
    """(run id, return) of each new run of the item's size at its E, and why there are none."""
    assert item.N is not None  # returns have a size and steps
    assert item.E is not None
    mine = [run for run in new if abs(curves.run_sizes[run] / item.N - 1) < _SAME_SIZE]
    if not mine:
        return [], f"no new run of {item.N:,.0f}"
    found: list[tuple[str | None, float]] = []
    for run in mine:
        value = return_near(*curves.curve(run), item.E)
        if value is not None:
            found.append((curves.run_ids[run], value))
    if not found:
        return [], f"no new run of {item.N:,.0f} reaches {item.E:,.0f} steps"
    if item.quantity == "return":
        return found, None
    wanted = item.runs or 1
    if len(found) != wanted:
        return [], f"new runs at {item.E:,.0f} steps: {len(found)}, forecast for {wanted}"
    return [(None, float(np.mean([value for _, value in found])))], None


def return_near(interactions: Floats, returns: Floats, steps: float) -> float | None:
    """Mean return of a run within a factor e^±0.05 of ``steps``; None if its curve does not cover that.

    Args:
        interactions, returns: of one run, shape ``(rows,)``.
    """
    near = np.abs(np.log(np.maximum(interactions, 1e-300) / steps)) <= HALF_WINDOW
    covered = len(interactions) > 0 and interactions[-1] >= steps
    return float(np.mean(returns[near])) if covered and near.any() else None


class _Refit:
    """The fit of all curves, made once, and only if an item needs it."""

    def __init__(self, statement: Statement, curves: Curves, estimator: JointScalingFit) -> None:
        self._lacking = len(set(statement.curves.run_ids) - set(curves.run_ids))
        self._curves, self._estimator = curves, replace(estimator, replicates=0, check_replicates=0)
        self._fit: FitResult | None = None

    def measured(self, item: Item) -> tuple[list[tuple[str | None, float]], str | None]:
        if self._lacking:
            return [], f"{self._lacking} of the sealed runs are not among the curves, so no fit of all"
        if self._fit is None:
            self._fit = self._estimator.fit(self._curves)
        law = self._fit.law
        return [(None, float(law.nu if item.compute is None else law.N_opt(item.compute)))], None

    def warnings(self) -> list[CodedWarning]:
        """That nu and N_opt are measured by a fit that does not determine them."""
        if self._fit is None or self._fit.identified:
            return []
        why = ", ".join(code for code in self._fit.warning_codes if code in NOT_IDENTIFIED)
        return [
            (
                "refit_not_identified",
                f"The fit of all curves, which measures nu and N_opt, does not identify its exponents "
                f"({why}): a hit or a miss of these says little.",
            )
        ]


def outcome(item: Item, measured: float, run_id: str | None) -> Outcome:
    """Scores, in decades for N_opt and multipliers, whose intervals are symmetrical in logarithms."""

    def scaled(value: Any) -> Any:
        return np.log10(value) if item.quantity in _IN_DECADES else np.asarray(value, float)

    low, high = item.interval
    levels = np.array([float(level) for level in item.quantiles])
    values = scaled(list(item.quantiles.values()))
    y = float(scaled(measured))
    return Outcome(
        run_id=run_id,
        measured=measured,
        hit=low <= measured <= high,
        interval_score=float(
            scoringrules.interval_score(
                y, float(scaled(low)), float(scaled(high)), 1 - INTERVAL_LEVEL, backend="numpy"
            )
        ),
        crps=float(scoringrules.crps_quantile(y, values, levels, backend="numpy")),
        baselines={name: float(abs(scaled(value) - y)) for name, value in item.baselines.items()},
    )


def _tallies(items: Sequence[ItemScore]) -> Iterator[Tally]:
    for quantity in dict.fromkeys(scored.item.quantity for scored in items):
        found = [one for scored in items if scored.item.quantity == quantity for one in scored.outcomes]
        if not found:
            continue
        names = set.intersection(*(set(one.baselines) for one in found))
        yield Tally(
            quantity=quantity,
            outcomes=len(found),
            hits=sum(one.hit for one in found),
            interval_score=float(np.mean([one.interval_score for one in found])),
            crps=float(np.mean([one.crps for one in found])),
            baselines={
                name: float(np.mean([one.baselines[name] for one in found])) for name in sorted(names)
            },
        )


def _warnings(statement: Statement, first: str | None, items: Sequence[ItemScore]) -> list[CodedWarning]:
    found: list[CodedWarning] = []
    if first is None:
        found.append(
            (
                "run_times_unknown",
                "Nothing says when all of the new runs started, so nothing shows that the statement came "
                "before them; score their store, or compare commits.",
            )
        )
    elif datetime.fromisoformat(first) < datetime.fromisoformat(statement.sealed):
        found.append(
            (
                "sealed_after_runs",
                f"The first new run started at {first}, before the statement was sealed at "
                f"{statement.sealed}: this is no forecast.",
            )
        )
    open_items = sum(not scored.outcomes for scored in items)
    if open_items:
        found.append(
            ("not_measured_yet", f"{open_items} of {len(items)} items are not measured yet by these curves.")
        )
    return found
