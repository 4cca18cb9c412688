"""What a fit and a study of horizons find of perceptrons' curves, beside what their equations say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.points.preprocess import EARLY_EXCLUSION
from rlscale.analysis.records import Interval, Record
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.studies.solvable.perceptron_family import StudentFamily
from rlscale.analysis.theory.power_law import PowerLaw


class Recovered(Record):
    """A quantity that a fit estimates, beside its true value.

    Attributes:
        inside: whether the 90% interval holds the truth.
    """

    name: str
    truth: float
    estimate: float
    interval: Interval
    inside: bool


class CrossingTime(Record):
    """Interactions with which students first reach a level: measured, and by the equations."""

    level: float
    size: float
    horizon: float
    measured: float
    exact: float


class Agreement(Record):
    """How far the curves of a size are from the equations, of which P - 1/2 is what is learned.

    Attributes:
        size: D.
        relative_error: mean over rows of P - 1/2, measured over that of the equations, minus 1; over seeds.
        standard_error: of that.
        largest_difference: of P, averaged over seeds and an eighth of a decade of E.
    """

    size: float
    relative_error: float
    standard_error: float
    largest_difference: float


def _recovered(name: str, truth: float, estimate: float, interval: Interval) -> Recovered:
    low, high = interval
    return Recovered(
        name=name, truth=truth, estimate=estimate, interval=interval, inside=low <= truth <= high
    )


def recovered_exponents(fit: FitResult, law: PowerLaw) -> list[Recovered]:
    """nu, alpha_N, alpha_E and beta of a fit beside those of the true law."""
    names = ("nu", "alpha_N", "alpha_E", "beta")
    return [_recovered(name, getattr(law, name), getattr(fit, name), fit.intervals[name]) for name in names]


def recovered_sizes(fit: FitResult, family: StudentFamily, computes: Sequence[float]) -> list[Recovered]:
    """N_opt of a fit at each compute beside that of the equations."""
    found = []
    for compute in computes:
        drawn = [float(law.N_opt(compute)) for law in fit.draw_laws()]
        found.append(
            _recovered(
                f"N_opt({compute:.3g})",
                family.N_opt(compute),
                float(fit.law.N_opt(compute)),
                interval_of(drawn),
            )
        )
    return found


def local_nu(family: StudentFamily, computes: tuple[float, float]) -> float:
    """The slope of log N_opt between two computes by the equations: what a fit there should find."""
    low, high = (np.log(family.N_opt(compute)) for compute in computes)
    return float((high - low) / np.log(computes[1] / computes[0]))


def agreement(curves: Curves, family: StudentFamily) -> list[Agreement]:
    """Each size's curves beside the equations, without the share of early training that a fit drops."""
    found = []
    for index, size in enumerate(curves.sizes):
        runs, exact = [], []
        for run in np.flatnonzero(curves.size_index == index):
            e, returns = curves.curve(int(run))
            kept = e >= EARLY_EXCLUSION * e[-1]
            runs.append((e[kept], returns[kept]))
            exact.append(_as_measured(family, float(size), e)[kept])
        errors = [
            float((returns - 0.5).sum() / (p - 0.5).sum() - 1)
            for (_, returns), p in zip(runs, exact, strict=True)
        ]
        bins = np.floor(8 * np.log10(np.concatenate([e for e, _ in runs]))).astype(int)
        apart: Floats = np.concatenate([returns for _, returns in runs]) - np.concatenate(exact)
        in_bins = pd.Series(apart).groupby(bins).mean()
        found.append(
            Agreement(
                size=float(size),
                relative_error=float(np.mean(errors)),
                standard_error=float(np.std(errors, ddof=1) / np.sqrt(len(errors))),
                largest_difference=float(in_bins.abs().max()),
            )
        )
    return found


def _as_measured(family: StudentFamily, dimension: float, interactions: Floats) -> Floats:
    """P between each row and the one before, as rows hold the mean of what lies between."""
    before = np.concatenate([[0.0], interactions[:-1]])
    return family.returns(dimension, (before + interactions) / 2)


def crossing_times(
    crossings: Sequence[tuple[float, float, float, float | None]], families: Mapping[float, StudentFamily]
) -> list[CrossingTime]:
    """Measured crossings (level, size, horizon, E or None) beside those of the equations."""
    return [
        CrossingTime(
            level=level,
            size=size,
            horizon=horizon,
            measured=measured,
            exact=families[horizon].interactions_to(level, size),
        )
        for level, size, horizon, measured in crossings
        if measured is not None
    ]


def curves_of_equations(
    family_of: Callable[[int], StudentFamily],
    lengths: Mapping[int, int],
    *,
    seeds: int,
    students: int,
    rows_per_decade: int,
    rng: np.random.Generator,
    first: int = 20,
) -> Curves:
    """Curves as runs would measure them if students followed the equations exactly.

    A row's return is the mean over the steps since the row before, of all students; its noise that of so many
    right or wrong steps.

    Args:
        family_of: the family that a size D belongs to.
        lengths: E at the end, by size D.
        seeds, students, rows_per_decade: as in a sweep.
        first: E of the first row.
    """
    rows = []
    for dimension, length in lengths.items():
        count = round(rows_per_decade * np.log10(length / first))
        e: Floats = np.unique(np.geomspace(first, length, count).astype(np.int64)).astype(float)
        p = _as_measured(family_of(dimension), dimension, e)
        steps = np.diff(e, prepend=0.0) * students
        for seed in range(seeds):
            returns = rng.binomial(steps.astype(np.int64), p) / steps
            rows.append(
                pd.DataFrame(
                    {"interactions": e, "return_mean": returns, "num_params": dimension, "seed": seed}
                ).assign(run_id=f"{dimension}-{seed}", task="rl-perceptron")
            )
    return curves_from_frame(pd.concat(rows), source="the equations")
