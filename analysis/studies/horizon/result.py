"""The result of a study of the horizon; its JSON file is all that later predictions need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rlscale.analysis.choices import Objective, SizeColumn
from rlscale.analysis.fit.findings import Refit
from rlscale.analysis.formatting.numbers import brief_number, counted
from rlscale.analysis.records import INTERVAL_LEVEL, Interval, Record, read_stored
from rlscale.analysis.results import Result, ends, frame_of_rows, with_interval

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1


class HorizonFit(Refit):
    """The law at one horizon h; ``N_opt_ref`` at the study's compute, ``E_opt_ref`` at its size.

    Attributes:
        horizon: h in environment steps.
        E_opt_ref: interactions for which ``size_ref`` is the compute-optimal size.
        num_runs: runs at this horizon.
    """

    horizon: float
    E_opt_ref: float
    num_runs: int


class Crossing(Record):
    """Interactions with which one size at one horizon first reaches a level.

    Attributes:
        N: the size; null for the compute-optimal agent of the fitted law.
        interactions: E, null if the level is not reached; ``reason`` then says why.
        relative_sd: standard deviation of log E.
        seeds_reached, seeds: of the runs of this size.
    """

    horizon: float
    N: float | None
    interactions: float | None
    reason: str
    relative_sd: float | None
    seeds_reached: int
    seeds: int


class AffineFit(Record):
    """E = a + b (h - 2 + 1/h) of one size by weighted least squares, κ = b/a.

    Attributes:
        N: the size; null for the compute-optimal agent.
        num_horizons: points of the line.
        r_squared: share of the weighted variance explained.
        quadratic_p: p-value that a quadratic term is 0, null with two horizons.
        intervals: 90% intervals of ``a``, ``b``, and ``kappa`` where it is bounded.
    """

    N: float | None
    num_horizons: int
    a: float
    b: float
    kappa: float
    r_squared: float
    quadratic_p: float | None
    intervals: dict[str, Interval]


class CommonFit(Record):
    """All sizes at one level: one κ, each size its own a; ``power`` is q of E = a (1 + κ x^q).

    ``affine_p`` is the p-value that q = 1; it and ``power`` are null with two horizons.
    """

    sizes: list[float]
    a: list[float]
    kappa: float
    power: float | None
    affine_p: float | None
    intervals: dict[str, Interval]


class LevelStudy(Record):
    """The interactions to a level of return at each horizon and size; ``common`` is null without a line."""

    level: float
    crossings: list[Crossing]
    lines: list[AffineFit]
    common: CommonFit | None


class Shift(Record):
    """N_opt at the study's compute, over that at the smallest horizon.

    Attributes:
        ratio: measured.
        predicted: (m(h)/m(h_0))^-ν with m = 1 + κ (h - 2 + 1/h), κ from fixed sizes.
        intervals: 90% intervals of ``ratio`` and ``predicted``.
    """

    horizon: float
    ratio: float
    predicted: float
    intervals: dict[str, Interval]


class NuSlope(Record):
    """Change of ν for each tenfold h, weighted least squares; ``p_value`` that it is 0."""

    per_decade: float
    interval: Interval | None
    p_value: float | None


class SampleLaw(Record):
    """Interactions that agents of N parameters need at horizon h, when N is compute-optimal.

    E(N, h) = inherent · (1 + kappa · (h - 2 + 1/h)) · (N/size_ref)^((1 - nu)/nu)

    Attributes:
        inherent: E at h = 1 and N = size_ref; ``inherent · kappa`` is the part that grows with h.
        kappa: from fixed sizes, at the middle level of return that has one.
        nu: common to all horizons, weighted by their errors.
        draws: (log inherent, kappa, nu) of the bootstrap.
    """

    size_ref: float
    inherent: float
    kappa: float
    nu: float
    intervals: dict[str, Interval]
    draws: list[tuple[float, float, float]]


class Prediction(Record):
    """E for one (N, h); ``outside`` says which of the two lies outside the data."""

    N: float
    horizon: float
    interactions: float
    interval: Interval | None
    outside: list[str]


class HorizonResult(Result):
    """A study of the horizon on one sweep.

    Attributes:
        compute: C at which optimal sizes are compared, inside the data of all horizons if they share any.
        fits: one a horizon, ascending.
        law_horizons: those whose law is identified, on which ``nu_slope`` and ``sample_law`` rest; all
            horizons where fewer than two are.
        size_range: smallest and largest N.
        options: of the fits; ``size`` says what N is.
    """

    kind: Literal["rlscale horizon"] = "rlscale horizon"
    schema_version: int = SCHEMA_VERSION
    source: str
    tasks: list[str]
    size: SizeColumn
    objective: Objective
    compute: float
    size_range: Interval
    fits: list[HorizonFit]
    levels: list[LevelStudy]
    shifts: list[Shift]
    law_horizons: list[float]
    nu_slope: NuSlope
    sample_law: SampleLaw
    predictions: list[Prediction]
    interval_level: float = INTERVAL_LEVEL
    warnings: list[str]
    warning_codes: list[str] = Field(default_factory=list)
    options: dict[str, Any]

    def headline(self) -> str:
        """kappa with its interval, and how many horizons it rests on."""
        law = self.sample_law
        return (
            f"kappa = {with_interval(law.kappa, law.intervals.get('kappa'))}, nu = {brief_number(law.nu)}; "
            f"{counted(len(self.fits), 'horizon')}"
        )

    def summary(self) -> pd.DataFrame:
        """A row for each horizon: nu and N_opt at ``compute`` with their intervals."""
        rows = {
            f"{fit.horizon:g}": {
                "nu": fit.nu,
                **ends(fit.intervals.get("nu"), "nu_"),
                "N_opt": fit.N_opt_ref,
                **ends(fit.intervals.get("N_opt_ref"), "N_opt_"),
                "identified": fit.identified,
                "num_runs": fit.num_runs,
            }
            for fit in self.fits
        }
        return frame_of_rows(rows, "horizon")

    def to_frame(self) -> pd.DataFrame:
        """The interactions with which each size first reaches each level, one row each; see ``Crossing``.

        N is missing for the compute-optimal agent of the fitted law.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {"level": study.level, **crossing.model_dump()}
                for study in self.levels
                for crossing in study.crossings
            ]
        )

    def facts(self) -> list[str]:
        """Where N_opt is stated."""
        return [f"N_opt at compute {brief_number(self.compute)}."]


def read_horizon(path: str | Path) -> HorizonResult:
    """The study stored in a JSON file by ``rlscale horizon --json``.

    Raises:
        InputError: if the file is missing, not JSON, or not a study of this version.
    """
    return read_stored(path, HorizonResult, "rlscale horizon SRC --json FILE")
