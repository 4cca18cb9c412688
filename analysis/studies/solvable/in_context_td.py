"""Trained transformers beside the construction of TD: means over seeds of what they are and do.

Runs that differ in the seed alone are one setting; means and 90% intervals are over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats, StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, CodedWarning, Interval, Record, warning_fields
from rlscale.analysis.statistics.intervals import mean_interval

#: Columns of the curves that are shown; see the store's schema.
COLUMNS = (
    "return_mean",
    "reference_return",
    "value_difference",
    "weight_similarity",
    "sensitivity_similarity",
    "p_corner",
    "p_others",
    "q_left",
    "q_right",
    "q_others",
    "reference_step",
)
_POINTS = 100  # of a stored curve


class Line(Record):
    """Means over seeds along an axis, and their 90% intervals; with one seed these are the means."""

    mean: StoredFloats
    low: StoredFloats
    high: StoredFloats


class Estimate(Record):
    """A mean over seeds, and its 90% interval where there are several."""

    value: float
    interval: Interval | None


class LearnedSetting(Record):
    """Runs that differ in the seed alone.

    Attributes:
        differing: what tells the setting from the others, by the name of the field.
        num_params: N.
        seeds: number of runs.
        interactions: E along the curves.
        curves: by column.
        final: the same at the end.
        P, Q: weights at the end, a matrix for each layer that has its own, divided by the largest entry and
        by the
            sign of P's last corner; means over seeds.
        length: contexts' lengths n.
        trained_on: the length that was trained on.
        error: squared value error over that of values 0, by length.
        reference_error: the same of batch TD with the trained step size.
    """

    differing: dict[str, Any]
    num_params: int
    seeds: int
    interactions: StoredFloats
    curves: dict[str, Line]
    final: dict[str, Estimate]
    P: list[list[list[float]]]
    Q: list[list[list[float]]]
    length: StoredFloats
    trained_on: int
    error: Line
    reference_error: Line


class LearnedResult(Record):
    """What ``rlscale theory learned`` shows."""

    kind: Literal["rlscale theory learned"] = "rlscale theory learned"
    schema_version: int = SCHEMA_VERSION
    settings: list[LearnedSetting]
    warnings: list[str]
    warning_codes: list[str]


def learned_result(settings: Sequence[LearnedSetting]) -> LearnedResult:
    """All settings, with a warning where one has a single seed."""
    one: list[CodedWarning] = [
        (
            "one_seed",
            "A setting with one seed has no intervals: how much results depend on the seed is unknown.",
        )
    ]
    single = any(each.seeds == 1 for each in settings)
    return LearnedResult(settings=list(settings), **warning_fields(one if single else []))


def learned_setting(
    *,
    differing: Mapping[str, Any],
    num_params: int,
    curves: Sequence[Mapping[str, ArrayLike]],
    P: ArrayLike,
    Q: ArrayLike,
    trained_on: int,
    length: ArrayLike,
    error: ArrayLike,
    reference_error: ArrayLike,
) -> LearnedSetting:
    """One setting from its runs.

    Args:
        curves: of each seed, ``interactions`` and ``COLUMNS``.
        P, Q: (seeds, layers or 1, 2d + 1, 2d + 1).
        error, reference_error: (seeds, lengths).
    """
    at = _shared_rows([np.asarray(curve["interactions"], np.int64) for curve in curves])
    columns = {
        name: np.array(
            [np.asarray(curve[name], float)[np.isin(curve["interactions"], at)] for curve in curves]
        )
        for name in COLUMNS
    }
    p, q = scaled_weights(P, Q)
    return LearnedSetting(
        differing=dict(differing),
        num_params=num_params,
        seeds=len(curves),
        interactions=at.astype(float),
        curves={name: _line(values) for name, values in columns.items()},
        final={name: _estimate(values[:, -1]) for name, values in columns.items()},
        P=p.mean(axis=0).tolist(),
        Q=q.mean(axis=0).tolist(),
        length=np.asarray(length, float),
        trained_on=trained_on,
        error=_line(np.asarray(error, float)),
        reference_error=_line(np.asarray(reference_error, float)),
    )


def scaled_weights(P: ArrayLike, Q: ArrayLike) -> tuple[Floats, Floats]:
    """P and Q (..., m, m), each over its largest entry in magnitude, and both over the sign of P's corner."""
    p, q = (np.asarray(each, float) for each in (P, Q))
    sign = np.sign(p[..., -1:, -1:])
    scaled = [each / np.abs(each).max(axis=(-2, -1), keepdims=True) for each in (p, q)]
    return sign * scaled[0], sign * scaled[1]


def _shared_rows(interactions: Sequence[np.ndarray]) -> np.ndarray:
    """The interactions at which all curves have a row, at most ``_POINTS`` spread over them and the last."""
    shared = interactions[0]
    for each in interactions[1:]:
        shared = np.intersect1d(shared, each)
    places = np.linspace(0, len(shared) - 1, min(_POINTS, len(shared))).round().astype(int)
    return np.asarray(shared[np.unique(places)])


def _line(values: Floats) -> Line:
    """Of values (seeds, points)."""
    if len(values) == 1:
        return Line(mean=values[0], low=values[0], high=values[0])
    low, high = np.transpose([mean_interval(each) for each in values.T])
    return Line(mean=values.mean(axis=0), low=low, high=high)


def _estimate(values: Floats) -> Estimate:
    interval = mean_interval(values) if len(values) > 1 else None
    return Estimate(value=float(values.mean()), interval=interval)
