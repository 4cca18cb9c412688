"""Selection of the runs to fit: those asked for that are done or paused, each once, all of one setting."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Bools
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either
from rlscale.sweeps.store.names import tuned_by

#: Columns whose values each have their own law; the option of the same name selects one.
SETTINGS = ("task", "algorithm", "horizon")
_LISTED = 8


@dataclass(frozen=True)
class Selection:
    """Which runs of a source to use; None means all.

    Attributes:
        sweep: name of the sweep.
        task, algorithm: names of a task and an algorithm.
        horizon: h in environment steps, equal to within rounding.
    """

    sweep: str | None = None
    task: str | None = None
    algorithm: str | None = None
    horizon: float | None = None

    def wanted(self) -> dict[str, str | float]:
        """The selected values by column."""
        asked = {name: getattr(self, name) for name in ("sweep", *SETTINGS)}
        return {name: value for name, value in asked.items() if value is not None}

    def has(self, columns: dict[str, object]) -> bool:
        """Whether a run with these columns is selected."""
        return all(_same(columns.get(name), value) for name, value in self.wanted().items())


def beside_tuning(runs: pd.DataFrame, selection: Selection, source: str) -> tuple[Selection, tuple[str, ...]]:
    """The selection without sweeps that tuned learning rates, where they lie beside the sweep they tuned.

    Args:
        runs: as for ``select``.

    Raises:
        InputError: if a tuning sweep lies beside other sweeps than just the one it tuned (code
            ``mixed_sweeps``).
    """
    if "sweep" not in runs or selection.sweep is not None or not any(map(_tunes, runs["sweep"].unique())):
        return selection, ()
    records = runs.to_dict("records")
    wanted = [selection.has({str(name): value for name, value in run.items()}) for run in records]
    count = runs["sweep"][wanted].dropna().astype(str).value_counts()
    tunings = [name for name in count.index if _tunes(name)]
    others = [name for name in count.index if not _tunes(name)]
    if not tunings or len(count) == 1:
        return selection, ()
    if len(others) != 1 or any(tuned_by(name) != others[0] for name in tunings):
        there = ", ".join(f"{name} ({runs_of} run{_s(runs_of)})" for name, runs_of in count.items())
        raise InputError(
            f"{source} holds runs that tune learning rates beside others: {there}; pick one sweep with "
            f"--sweep {shlex.quote((others or tunings)[0])}.",
            code="mixed_sweeps",
        )
    tuned, left_out = others[0], int(count[tunings].sum())
    return replace(selection, sweep=tuned), (
        f"{left_out} run{_s(left_out)} of {', '.join(tunings)}, which tuned the learning rates of {tuned}, "
        f"{_were(left_out)} left out.",
    )


def _tunes(sweep: object) -> bool:
    return isinstance(sweep, str) and tuned_by(sweep) is not None


def select(
    runs: pd.DataFrame, selection: Selection, source: str, *, but: str | None = None
) -> tuple[Bools, tuple[str, ...]]:
    """Select runs, with notes on those left out.

    Args:
        runs: one row a run: ``run_id``, and ``sweep``, ``status`` and the run columns if known.
        but: a setting that may have several values.

    Returns:
        Which runs to use, shape ``(runs,)``, and the notes.

    Raises:
        InputError: if no run is left, or the runs left have several tasks, algorithms or horizons.
    """
    kept = np.ones(len(runs), bool)
    notes: list[str] = []
    for column, value in selection.wanted().items():
        kept &= _having(runs[kept], column, value, source).reindex(runs.index, fill_value=False).to_numpy()
    if "status" in runs:
        kept = _done(runs, kept, source, notes)
    kept = _once(runs, kept, source, notes)
    notes += _one_setting(runs[kept].drop(columns=but or [], errors="ignore"), source)
    return kept, tuple(notes)


def _having(runs: pd.DataFrame, column: str, value: str | float, source: str) -> pd.Series:
    matching = runs[column].map(lambda found: _same(found, value)).astype(bool)
    if not matching.any():
        what = "sweep named" if column == "sweep" else f"run of {column}"
        name = repr(value) if isinstance(value, str) else f"{value:g}"
        raise InputError(
            f"{source} has no {what} {name}; it has: {_listed(runs[column]) or 'none given'}.",
            code="unknown_selection",
        )
    return matching


def _done(runs: pd.DataFrame, kept: Bools, source: str, notes: list[str]) -> Bools:
    statuses = runs["status"].astype(object).where(runs["status"].notna(), "none").astype(str)
    done = kept & statuses.isin(("done", "paused")).to_numpy()
    others = statuses[kept & ~done].value_counts()
    there = ", ".join(f"{count} {status}" for status, count in others.items())
    if not done.any():
        raise InputError(
            f"{source} holds no run that is done ({there}); finish one with: rlscale sweep run "
            f"(of a file, drop the column status to use all).",
            code="no_curves",
        )
    if len(others):
        count = int(others.sum())
        notes.append(f"{count} run{_s(count)} {_were(count)} left out: not done ({there}).")
    return done


def _once(runs: pd.DataFrame, kept: Bools, source: str, notes: list[str]) -> Bools:
    """Drop repeated runs: an id is a hash of the config, so one id in two sweeps is one run stored twice."""
    again = pd.Series(runs["run_id"].to_numpy()[kept]).duplicated().to_numpy()
    if not again.any():
        return kept
    mine = runs[kept]
    twice = mine[mine["run_id"].duplicated(keep=False)]
    settings = twice.drop(columns=["sweep", "status"], errors="ignore").set_index("run_id")
    differs = settings.groupby(level=0, sort=False).nunique(dropna=False) > 1
    for column in differs.columns[differs.any()]:
        run = differs.index[differs[column]][0]
        raise InputError(
            f"{source}, run {run}: {column} is not the same in each of its sweeps; pick one with "
            f"{_option('sweep', twice['sweep'].iloc[0])}, or give each run an id of its own.",
            code="ambiguous_run",
        )
    count = int(mine.loc[again, "run_id"].nunique())
    notes.append(f"{count} run{_s(count)} found in more than one sweep {_were(count)} used once.")
    kept = kept.copy()
    kept[np.flatnonzero(kept)[again]] = False
    return kept


def _one_setting(runs: pd.DataFrame, source: str) -> list[str]:
    """Refuse several values of a setting; return notes on other columns."""
    notes = []
    for column in SETTINGS:
        known = runs[column].dropna() if column in runs else pd.Series(dtype=object)
        names = sorted(known.unique(), key=lambda value: (str(type(value)), value))
        if len(names) > 1:
            raise InputError(
                f"{source} mixes {len(names)} values of {column} ({_listed(known)}), which have laws of "
                f"their own; pick one with {_option(column, names[0])}, or fit each "
                + either(f"with: rlscale fit --by {column}.", f"of load_by({source!r}, {column!r})."),
                code="mixed_settings",
            )
        unknown = len(runs) - len(known)
        if names and unknown:
            notes.append(
                f"{unknown} run{_s(unknown)} without a {column} {_were(unknown)} used with the others."
            )
    for column in ("family", "learning_rate"):
        count = runs[column].nunique() if column in runs else 0
        if count > 1:
            notes.append(f"The runs have {count} values of {column}, fitted together.")
    return notes


def _option(name: str, value: object) -> str:
    """A selection, as the reader gives it."""
    return either(f"--{name} {shlex.quote(_shown(value))}", f"{name}={value!r}")


def _same(found: object, wanted: str | float) -> bool:
    if isinstance(wanted, str):
        return str(found) == wanted
    try:
        return math.isclose(float(str(found)), wanted, rel_tol=1e-9)
    except ValueError:
        return False


def _listed(values: pd.Series) -> str:
    names = sorted(values.dropna().unique(), key=lambda value: (str(type(value)), value))
    return ", ".join(map(_shown, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
