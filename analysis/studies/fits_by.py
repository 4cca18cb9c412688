"""One law for each value of a column: groups of runs that were fitted separately, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import counted
from rlscale.analysis.progress import told
from rlscale.analysis.records import SCHEMA_VERSION, Record
from rlscale.analysis.results import Result, ends, frame_of_rows
from rlscale.scaling.errors import RlscaleError

if TYPE_CHECKING:
    import pandas as pd


class Refusal(Record):
    """Why the runs of one value could not be fitted: a code and a sentence."""

    code: str
    sentence: str


class FitsBy(Result):
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

    def headline(self) -> str:
        """How many values of the column have a law."""
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"{counted(len(self.fits), 'law')} by {self.by}{refused}"

    def summary(self) -> pd.DataFrame:
        """A row for each value: nu with its interval, whether it is identified, runs and sizes."""
        rows = {
            value: {
                "nu": fit.nu,
                **ends(fit.total_interval("nu")),
                "identified": fit.identified,
                "num_runs": fit.num_runs,
                "num_sizes": fit.num_sizes,
            }
            for value, fit in self.fits.items()
        }
        return frame_of_rows(rows, self.by)

    def to_frame(self) -> pd.DataFrame:
        """The points of all fits, one row each, with their value in the column ``by``."""
        import pandas as pd

        frames = {value: fit.to_frame() for value, fit in self.fits.items()}
        return pd.concat(frames, names=[self.by, "point"]).reset_index(level=0)

    def cautions(self) -> list[str]:
        """The warnings of each fit, and why others were refused."""
        warned = [f"{value}: {text}" for value, fit in self.fits.items() for text in fit.warnings]
        return [*warned, *(f"{value}: not fitted: {why.sentence}" for value, why in self.refused.items())]


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
    for value, mine in told(f"values of {by}", curves.items(), len(curves)):
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
