"""Learning curves of many runs as arrays, and what a fit needs them to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.analysis.arrays import Floats, Ints
from rlscale.analysis.choices import SizeColumn
from rlscale.analysis.curves.selection import Selection
from rlscale.analysis.formatting.numbers import brief_number, counted
from rlscale.analysis.results import Shown, frame_of_rows
from rlscale.scaling.errors import InputError

#: Which column is N, for each choice of ``size``.
SIZE_COLUMNS: dict[str, str] = {
    "params": "num_params",
    "params_total": "num_params_total",
    "flops": "flops_forward",
}
#: Metrics of a run's representation that are read beside its returns, where a source has them.
METRICS = (
    "policy_features",
    "policy_approximate_rank",
    "policy_dead_share",
    "policy_preactivation_norm",
    "policy_variance",
    "excess_ratio",
)
MIN_SIZES = 3  # two sizes cannot tell a power of N from any other dependence
_ROUNDING = 1e-12  # of the largest return: less is the rounding of sums
_MIN_SPREAD = 1e-100  # of returns: slopes against it stay within a double


@dataclass(frozen=True, repr=False)
class Curves(Shown):
    """Learning curves of many runs, rows in order of run, then of environment steps.

    Attributes:
        run_ids: one name a run.
        run_sizes: N of each run, shape ``(runs,)``; parameters or FLOPs, by ``size``.
        run_index: run of each row, ascending, shape ``(rows,)``.
        interactions: E, environment steps, shape ``(rows,)``, increasing within a run.
        returns: mean undiscounted return, shape ``(rows,)``, finite.
        table: the run columns that the source has, one row a run, indexed by run id.
        source: path or URI as given.
        selection: which runs of the source were selected.
        size: what N is.
        notes: sentences on what was left out of the source or looks odd in it.
        minimize: whether returns are those of the source times -1, because less is better there.
        groups: columns of the source, not in ``table``, that divide the runs into groups with enough sizes
            for a fit each, and the names of these groups.
        metrics: those of ``METRICS`` that the source has, shape ``(rows,)`` each, NaN where not measured.
    """

    run_ids: tuple[str, ...]
    run_sizes: Floats
    run_index: Ints
    interactions: Floats
    returns: Floats
    table: pd.DataFrame = field(repr=False)
    source: str = ""
    selection: Selection = field(default_factory=Selection)
    size: SizeColumn = "params"
    notes: tuple[str, ...] = ()
    minimize: bool = False
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    metrics: Mapping[str, Floats] = field(default_factory=dict, repr=False)

    @property
    def num_runs(self) -> int:
        return len(self.run_ids)

    @property
    def num_points(self) -> int:
        return len(self.returns)

    @property
    def sizes(self) -> Floats:
        """The distinct sizes, ascending; runs of one size are its seeds."""
        return np.unique(self.run_sizes)

    @property
    def size_index(self) -> Ints:
        """Position of each run's size in ``sizes``, shape ``(runs,)``."""
        return np.searchsorted(self.sizes, self.run_sizes)

    @property
    def widths(self) -> Floats | None:
        """The width of each of ``sizes``; None unless each has one, and a larger one than the size before."""
        if "width" not in self.table:
            return None
        width = pd.to_numeric(self.table["width"], errors="coerce").to_numpy(float, na_value=np.nan)
        of_size = pd.Series(width).groupby(self.size_index)
        known = of_size.median().to_numpy(float)
        alike = bool((of_size.nunique(dropna=False) == 1).all())
        rising = np.isfinite(known).all() and (known > 0).all() and (np.diff(known) > 0).all()
        return known if alike and rising else None

    @property
    def return_bounds(self) -> tuple[float, float] | None:
        """The bounds (low, high) of the return that all runs share; None if a run has none or others."""
        if not {"return_low", "return_high"} <= set(self.table):
            return None
        pairs = {tuple(row) for row in self.table[["return_low", "return_high"]].to_numpy(float).tolist()}
        low, high = pairs.pop() if len(pairs) == 1 else (np.nan, np.nan)
        return (low, high) if np.isfinite([low, high]).all() else None

    @property
    def returns_are_accuracies(self) -> bool:
        """Whether returns are known to lie between 0 and 1, so that 1 - R is a rate of failures."""
        return self.return_bounds == (0.0, 1.0)

    def headline(self) -> str:
        """How many runs of how many sizes, and from where."""
        return (
            f"{counted(self.num_points, 'row')} of {counted(self.num_runs, 'run')} of "
            f"{counted(len(self.sizes), 'size')}, from {self.source}"
        )

    def summary(self) -> pd.DataFrame:
        """A row for each size: its runs, how long the longest is, and the range of its returns."""
        size = self.run_sizes[self.run_index]
        rows = {
            brief_number(n): {
                "runs": int((self.run_sizes == n).sum()),
                "rows": int((size == n).sum()),
                "interactions": float(self.interactions[size == n].max()),
                "least return": float(self.returns[size == n].min()),
                "largest return": float(self.returns[size == n].max()),
            }
            for n in self.sizes
        }
        return frame_of_rows(rows, SIZE_COLUMNS[self.size])

    def to_pandas(self) -> pd.DataFrame:
        """One row a point with the columns of the schema: those of its run, ``interactions``, ``return_mean``
        and the metrics that the source has. ``rlscale.curves_from_frame`` reads it back.
        """
        of_run = self.table.drop(columns=[SIZE_COLUMNS[self.size]], errors="ignore")
        runs = pd.DataFrame({"run_id": self.run_ids, SIZE_COLUMNS[self.size]: self.run_sizes})
        known = of_run.loc[:, of_run.notna().any()].reset_index(drop=True)
        rows = pd.concat([runs, known.drop(columns="run_id", errors="ignore")], axis=1)
        points = {"interactions": self.interactions, "return_mean": self.returns, **self.metrics}
        return rows.iloc[self.run_index].reset_index(drop=True).assign(**points)

    def to_frame(self) -> pd.DataFrame:
        """The same as ``to_pandas``."""
        return self.to_pandas()

    def cautions(self) -> list[str]:
        """What was left out of the source or looks odd in it."""
        return list(self.notes)

    def curve(self, run: int) -> tuple[Floats, Floats]:
        """(interactions, returns) of one run, by position."""
        rows = slice(*np.searchsorted(self.run_index, [run, run + 1]))
        return self.interactions[rows], self.returns[rows]

    def metric(self, name: str) -> Floats:
        """One of ``METRICS``, shape ``(rows,)``, NaN where it was not measured."""
        return self.metrics.get(name, np.full(self.num_points, np.nan))

    def with_returns(self, returns: Floats) -> Curves:
        """The same curves with other returns, shape ``(rows,)``."""
        return Curves(**{**self.__dict__, "returns": np.asarray(returns, float)})

    def by_name(self) -> Curves:
        """The same curves with their runs in order of their names.

        The bootstrap draws runs in this order, and sums are rounded in it, so what is made of the curves does
        not depend on the order in which a source happens to list its runs.
        """
        order = sorted(range(self.num_runs), key=self.run_ids.__getitem__)
        if order == list(range(self.num_runs)):
            return self
        place = np.empty(self.num_runs, dtype=self.run_index.dtype)
        place[order] = np.arange(self.num_runs)
        index = place[self.run_index]
        rows = np.argsort(index, kind="stable")
        return replace(
            self,
            run_ids=tuple(self.run_ids[run] for run in order),
            run_sizes=self.run_sizes[order],
            run_index=index[rows],
            interactions=self.interactions[rows],
            returns=self.returns[rows],
            table=self.table.iloc[order],
            metrics={name: values[rows] for name, values in self.metrics.items()},
        )

    def with_rows(self, kept: NDArray[np.bool_]) -> Curves:
        """The curves with only the rows in ``kept``, shape ``(rows,)``, and only runs that have such rows."""
        runs = np.unique(self.run_index[kept])
        return replace(
            self,
            run_ids=tuple(self.run_ids[run] for run in runs),
            run_sizes=self.run_sizes[runs],
            run_index=np.searchsorted(runs, self.run_index[kept]),
            interactions=self.interactions[kept],
            returns=self.returns[kept],
            table=self.table.iloc[runs],
            metrics={name: values[kept] for name, values in self.metrics.items()},
        )


def join_curves(parts: Sequence[Curves]) -> Curves:
    """The runs of several sources as one; a run that two sources have is taken from the first.

    Args:
        parts: at least one, read with the same measure of size.
    """
    first, *others = parts
    for part in others:
        known = np.isin(part.run_ids, first.run_ids)
        if known.all():
            continue
        new = part.with_rows(~known[part.run_index])
        first = replace(
            first,
            run_ids=first.run_ids + new.run_ids,
            run_sizes=np.concatenate([first.run_sizes, new.run_sizes]),
            run_index=np.concatenate([first.run_index, new.run_index + first.num_runs]),
            interactions=np.concatenate([first.interactions, new.interactions]),
            returns=np.concatenate([first.returns, new.returns]),
            metrics={
                name: np.concatenate([part.metric(name) for part in (first, new)])
                for name in METRICS
                if name in first.metrics or name in new.metrics
            },
            table=pd.concat([first.table, new.table]),
            source=f"{first.source} and {new.source}",
            notes=first.notes + new.notes,
        )
    return first.by_name()


def require_sizes(curves: Curves) -> None:
    """Refuse curves that cannot determine a power of N.

    Raises:
        InputError: if there are fewer than three sizes.
    """
    found = curves.sizes
    if len(found) < MIN_SIZES:
        listed = ", ".join(f"{n:g}" for n in found)
        raise InputError(
            f"{curves.source} has {len(found)} size{'' if len(found) == 1 else 's'} "
            f"({SIZE_COLUMNS[curves.size]} = {listed}); "
            f"a fit needs at least {MIN_SIZES}: add runs of other sizes.",
            code="too_few_sizes",
        )


def require_fittable(curves: Curves) -> None:
    """Refuse curves that cannot determine a law.

    Raises:
        InputError: if there are fewer than three sizes, returns do not vary, or no size has returns at more
            than one number of interactions.
    """
    require_sizes(curves)
    low, high = float(curves.returns.min()), float(curves.returns.max())
    if high - low <= _ROUNDING * max(-low, high):
        raise InputError(
            f"{curves.source}: returns do not vary ({low:g} to {high:g}), so nothing can be fitted; "
            f"train longer.",
            code="unvarying_returns",
        )
    if high - low < _MIN_SPREAD:
        raise InputError(
            f"{curves.source}: returns vary by less than {_MIN_SPREAD:g}; state them in a smaller unit.",
            code="unvarying_returns",
        )
    first = np.searchsorted(curves.run_index, np.arange(curves.num_runs))
    last = np.append(first[1:], curves.num_points) - 1
    ends = pd.DataFrame({"low": curves.interactions[first], "high": curves.interactions[last]})
    of_size = ends.groupby(curves.run_sizes)
    if (of_size["low"].min() == of_size["high"].max()).all():
        raise InputError(
            f"{curves.source}: no size has returns at more than one number of interactions; "
            f"record returns along training.",
            code="unvarying_steps",
        )
