"""Forecasts on record: a statement that is sealed before the runs.

A statement says what will be measured, where, and how it is distributed. Its seal is a SHA-256 over its
canonical JSON (sorted keys, no spaces, UTF-8, finite numbers), so that nobody changes it unseen. A hash
proves no date: what dates a statement is the commit, or another public place, that holds the hash.

What is measured is simple enough to be agreed on beforehand:

* ``return``: of one new run, the mean of its returns within a factor e^±0.05 of E; every new run of the size
  is one outcome.
* ``mean_return``: the mean of that over ``runs`` new runs.
* ``nu``, ``N_opt``: the estimate by a fit of all the curves that are given, old and new.
* ``multiplier``: C_A/C_B of two recipes where B takes the compute C, by a comparison of all their curves.

``rlscale.analysis.forecast.scoring`` scores it, ``rlscale.analysis.studies.sealing`` makes it; both of a
multiplier are in ``rlscale.analysis.studies.compare.sealing``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, field_validator

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.records import SCHEMA_VERSION, Interval, Record, read_stored
from rlscale.scaling.errors import InputError

Quantity = Literal["return", "mean_return", "nu", "N_opt", "multiplier"]

#: Levels of the quantiles of an item; the outermost two are the ends of its 90% interval.
LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
#: Half the width in log E of the window over which a return is averaged.
HALF_WINDOW = 0.05


class Item(Record):
    """One forecast of a statement.

    Attributes:
        quantity: what is measured, see the module.
        N, E: size and environment steps, of returns alone.
        width: of the model, to people; null if not known.
        runs: runs that ``mean_return`` averages.
        compute: C of ``N_opt``; of ``multiplier`` that of recipe B.
        quantiles: value for each level, such as ``"0.05"``, increasing.
        baselines: naive predictions by name.
        beyond: why the forecast is an extrapolation, a sentence; null if it is none.
    """

    quantity: Quantity
    N: float | None = None
    E: float | None = None
    width: float | None = None
    runs: int | None = None
    compute: float | None = None
    quantiles: dict[str, float]
    baselines: dict[str, float]
    beyond: str | None = None

    @field_validator("quantiles")
    @classmethod
    def _are_quantiles(cls, quantiles: dict[str, float]) -> dict[str, float]:
        levels = [float(level) for level in quantiles]
        values = list(quantiles.values())
        if 0.05 not in levels or 0.95 not in levels or any(not 0 < level < 1 for level in levels):
            raise ValueError("quantiles need levels between 0 and 1, 0.05 and 0.95 among them")
        order = np.argsort(levels)
        if (np.diff(np.array(values)[order]) < 0).any():
            raise ValueError("quantiles must not decrease")
        return {f"{levels[place]:g}": values[place] for place in order}

    @property
    def interval(self) -> Interval:
        """The 90% interval."""
        return self.quantiles["0.05"], self.quantiles["0.95"]

    @property
    def median(self) -> float:
        """The quantile at 0.5, interpolated if it was not stated."""
        return float(
            np.interp(0.5, [float(level) for level in self.quantiles], list(self.quantiles.values()))
        )


class SealedCurves(Record):
    """The curves that a statement rests on.

    Attributes:
        source: as given.
        sha256: of their run ids, sizes and rows, see ``curves_hash``.
        run_ids: runs that were known, and so are no outcome.
    """

    source: str
    sha256: str
    run_ids: list[str]


class SealedRecipes(Record):
    """The two recipes that a statement compares; ``curves`` of the statement are those of A.

    Attributes:
        names: of A and B.
        by: the run column that tells them apart within one source; null if they are two sources.
        curves_b: of recipe B.
    """

    names: tuple[str, str]
    by: str | None
    curves_b: SealedCurves


class Statement(Record):
    """Forecasts that were written down, with what they rest on.

    Attributes:
        sealed: the time in UTC, by the clock of the machine that sealed it.
        rlscale_version: that made the forecasts.
        title: what is forecast, for people.
        task, algorithm, horizon: of the runs; null if the curves do not name one.
        recipes: the two that are compared; null for forecasts of one.
        fit_sha256: of the canonical JSON of the fit, or of the comparison.
        options: how the forecasts were made.
        sha256: of the canonical JSON of all other fields.
    """

    kind: Literal["rlscale forecast statement"] = "rlscale forecast statement"
    schema_version: int = SCHEMA_VERSION
    sealed: str
    rlscale_version: str
    title: str
    task: str | None
    algorithm: str | None
    horizon: float | None = None
    size: str
    curves: SealedCurves
    recipes: SealedRecipes | None = None
    fit_sha256: str
    options: dict[str, Any]
    items: list[Item]
    warnings: list[str]
    warning_codes: list[str]
    sha256: str = ""

    def with_seal(self) -> Statement:
        """The same statement with its hash."""
        return self.model_copy(update={"sha256": self.hash()})

    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all fields but ``sha256``."""
        return sha256_of(self.model_dump(mode="json", exclude={"sha256"}))


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8, finite numbers: equal values give equal bytes.

    Raises:
        ValueError: if a number is not finite.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value or a record, in hexadecimal."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return hashlib.sha256(canonical_json(plain)).hexdigest()


def curves_hash(curves: Curves) -> str:
    """SHA-256 of run ids, sizes, interactions and returns, the same however they are stored."""
    digest = hashlib.sha256()
    for run in np.argsort(np.array(curves.run_ids)):
        interactions, returns = curves.curve(int(run))
        digest.update(canonical_json([curves.run_ids[run], float(curves.run_sizes[run]), len(interactions)]))
        digest.update(interactions.astype("<f8").tobytes() + returns.astype("<f8").tobytes())
    return digest.hexdigest()


def read_statement(path: str | Path) -> Statement:
    """The statement in a file, if it is as it was sealed.

    Raises:
        InputError: if the file is missing or no statement, or the hash does not match
            (code ``tampered_statement``).
    """
    command = "rlscale forecast FIT.json --at N:E --seal FILE"
    statement = read_stored(path, Statement, command)
    # The hash of the file's own values: a default filled in here must not change it.
    stored = json.loads(Path(path).read_text(encoding="utf-8"))
    sealed = stored.pop("sha256", "")
    if sealed != sha256_of(stored):
        raise InputError(
            f"{path} is not as it was sealed: its contents do not have the SHA-256 that it states; restore "
            f"the file, e.g. from the commit that holds it.",
            code="tampered_statement",
        )
    return statement
