"""One law for each value of a column: groups of runs that were fitted separately, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.records import SCHEMA_VERSION, Record
from rlscale.scaling.errors import RlscaleError


class Refusal(Record):
    """Why the runs of one value could not be fitted: a code and a sentence."""

    code: str
    sentence: str


class FitsBy(Record):
    """The fits of one source by the values of a column.

    Attributes:
        by: the column.
        fits: value to fit, in order of the values.
        refused: value to the reason, for values whose runs could not be fitted.
    """

    kind: Literal["rlscale fit by"] = "rlscale fit by"
    schema_version: int = SCHEMA_VERSION
    by: str
    fits: dict[str, FitResult]
    refused: dict[str, Refusal]


def fit_by(
    by: str, curves: Mapping[str, Curves | RlscaleError], fit: Callable[[Curves], FitResult]
) -> FitsBy:
    """Fit each group by itself.

    Args:
        by: the column, for the result.
        curves: of each value, or why they cannot be used, from ``load_by``.
        fit: makes one fit.

    Raises:
        RlscaleError: the first group's, if no group can be fitted.
    """
    fits: dict[str, FitResult] = {}
    errors: dict[str, RlscaleError] = {}
    for value, mine in curves.items():
        try:
            if isinstance(mine, RlscaleError):
                raise mine
            fits[value] = fit(mine)
        except RlscaleError as error:
            errors[value] = error
    if not fits and errors:
        raise next(iter(errors.values()))
    refused = {value: Refusal(code=error.code, sentence=str(error)) for value, error in errors.items()}
    return FitsBy(by=by, fits=fits, refused=refused)
