"""The spec of further runs of a sweep, at widths and lengths that somebody chose from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlscale.scaling.config.run import ALIASES
from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.spec import SweepSpec, expand, parse_spec, points_of

_WIDTH, _LENGTH, _SEED = (ALIASES.get(name, name) for name in ("width", "interactions", "seed"))
_NEAR = 1.001  # factor within which two widths are one
_DIGITS = 3  # of the length of a new size


@dataclass(frozen=True)
class FurtherRuns:
    """Runs of one width and length.

    Attributes:
        width: of the model.
        interactions: of each run; not used where ``longer_by`` is given.
        longer_by: its length over that of the sweep's runs of this width; None for a new width.
        seeds: how many runs.
    """

    width: float
    interactions: float
    longer_by: float | None
    seeds: int


def next_values(spec: SweepSpec, runs: Sequence[FurtherRuns], *, source: str = "the spec") -> dict[str, Any]:
    """The spec of further runs as the content of its YAML file, under the name of the sweep.

    What else varies with the width, such as a learning rate of its own, is that of the nearest width of the
    sweep. Seeds are the lowest that the sweep does not have at that width and length.

    Args:
        spec: of the sweep so far; its axes are the width, the length, the seed, and what varies with width.
        source: what messages call it.

    Raises:
        InputError: if the sweep varies anything else, or no width (code ``other_axes``).
    """
    points = [
        {ALIASES.get(name, name): value for name, value in point.items()} for point in points_of(spec.axes)
    ]
    _require_widths(spec, points, source)
    names = {ALIASES.get(name, name): name for group in spec.axes for name in group}
    rows: list[dict[str, Any]] = []
    for run in runs:
        nearest = min(points, key=lambda point: abs(np.log(point[_WIDTH] / run.width)))
        length = _length(spec, nearest, run, source)
        used = {
            point.get(_SEED, 0)
            for point in points
            if _alike(point[_WIDTH], run.width) and _of(spec, point, source) == length
        }
        free = (seed for seed in range(len(used) + run.seeds) if seed not in used)
        for seed, _ in zip(free, range(run.seeds), strict=False):
            rows.append({**nearest, _WIDTH: run.width, _LENGTH: length, _SEED: seed})
    shown = {_LENGTH: "interactions", _SEED: "seed"} | names
    values = spec.model_dump(mode="json", exclude={"tuning"}, exclude_defaults=True)
    values["base"] = {name: value for name, value in spec.base.items() if name != _LENGTH}
    values["axes"] = [{shown[path]: [row[path] for row in rows] for path in rows[0]}]
    expand(parse_spec(values, source="the next spec"), source="the next spec")
    return values


def _require_widths(spec: SweepSpec, points: Sequence[Mapping[str, Any]], source: str) -> None:
    """Refuse a sweep whose runs differ in more than the width, what goes with it, the length and the seed."""
    if not all(_WIDTH in point for point in points):
        raise InputError(
            f"{source} has no axis 'width', so no further widths can be written; write the runs yourself.",
            code="other_axes",
        )
    for group in spec.axes:
        paths = {ALIASES.get(name, name) for name in group}
        free = paths - {_LENGTH, _SEED}
        if free and _WIDTH not in paths and len(next(iter(group.values()))) > 1:
            listed = ", ".join(sorted(free))
            raise InputError(
                f"{source} varies {listed} beside the width, and further runs would need a choice of it; "
                f"write a spec with one value of it, and give that.",
                code="other_axes",
            )


def _length(spec: SweepSpec, nearest: Mapping[str, Any], run: FurtherRuns, source: str) -> int:
    if run.longer_by is not None and _alike(nearest[_WIDTH], run.width):
        return max(1, round(run.longer_by * _of(spec, nearest, source)))
    return max(1, int(float(f"{run.interactions:.{_DIGITS}g}")))


def _of(spec: SweepSpec, point: Mapping[str, Any], source: str) -> int:
    """The interactions of a run of the sweep."""
    length = point.get(_LENGTH, spec.base.get(_LENGTH))
    if length is None:
        raise InputError(f"{source} states no interactions; add them to 'base'.", code="invalid_spec")
    return int(length)


def _alike(width: float, other: float) -> bool:
    return max(width / other, other / width) < _NEAR
