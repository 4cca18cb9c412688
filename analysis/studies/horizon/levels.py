"""Interactions to a level of return at each horizon, E = a + b (h - 2 + 1/h), by size and for all sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.returns import at_returns
from rlscale.analysis.studies.horizon.affine import Z, affine_line, common_kappa
from rlscale.analysis.studies.horizon.crossings import SizeCurves, pooled_sd
from rlscale.analysis.studies.horizon.result import AffineFit, CommonFit, Crossing, LevelStudy
from rlscale.analysis.theory.horizon import horizon_term
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

#: Default levels, as shares of the range from the start to the return that the median size reaches
#: at every horizon.
LEVEL_SHARES = (0.5, 0.75, 0.95)
#: Relative error of E that is assumed if no size has two seeds; larger scatter still widens intervals.
UNKNOWN_SD = 0.1
_LEAST_SD = 1e-3  # of log E: the precision of the search of a fit


def default_levels(smooth: Mapping[float, list[SizeCurves]]) -> list[float]:
    """Three returns between the start of the curves and what the median size reaches at every horizon."""
    shared = _shared_sizes(smooth)
    means = {h: {one.size: one.mean.returns for one in found} for h, found in smooth.items()}
    start = max(float(returns[0]) for of in means.values() for returns in of.values())
    reach = float(np.median([min(float(of[size].max()) for of in means.values()) for size in shared]))
    if not reach > start:
        raise InputError(
            f"No level of return lies between the start of all curves ({start:.4g}) and what they reach "
            f"({reach:.4g}); give levels with {either('--level', 'levels')}, or train longer.",
            code="level_not_reached",
        )
    return [float(f"{start + share * (reach - start):.3g}") for share in LEVEL_SHARES]


def _shared_sizes(smooth: Mapping[float, list[SizeCurves]]) -> list[float]:
    """The sizes that every horizon has."""
    shared = set.intersection(*({one.size for one in found} for found in smooth.values()))
    if not shared:
        raise InputError(
            "No size occurs at every horizon; sweep the same sizes at each.", code="no_shared_size"
        )
    return sorted(shared)


def middle_fit(
    found: list[CommonFit], smooth: Mapping[float, list[SizeCurves]], levels: Sequence[float]
) -> CommonFit:
    """The common fit of the middle level among those that have one."""
    if found:
        return found[len(found) // 2]
    best = max(float(one.mean.returns.max()) for curves in smooth.values() for one in curves)
    raise InputError(
        f"No size reaches a return of {' or '.join(f'{level:g}' for level in levels)} from below at two "
        f"horizons (the best averages {best:.4g}); give a level within the curves.",
        code="level_not_reached",
    )


def level_study(
    level: float, smooth: Mapping[float, list[SizeCurves]], fits: Mapping[float, FitResult]
) -> LevelStudy:
    cells = []  # (horizon, size, log E or None, reason, log E of the seeds that reach it, seeds)
    for size in _shared_sizes(smooth):
        for horizon, found in smooth.items():
            one = next(item for item in found if item.size == size)
            log_e, reason = one.mean.crossing(level)
            seeds = [value for value, _ in (seed.crossing(level) for seed in one.seeds) if value is not None]
            cells.append((horizon, size, log_e, reason, seeds, len(one.seeds)))
    sd = pooled_sd([seeds for *_, seeds, _ in cells])
    crossings = [
        Crossing(
            horizon=float(h),
            N=size,
            interactions=None if log_e is None else float(np.exp(log_e)),
            reason=reason,
            relative_sd=None if sd is None else sd / float(np.sqrt(count)),
            seeds_reached=len(seeds),
            seeds=count,
        )
        for h, size, log_e, reason, seeds, count in cells
    ]
    optimal = [_optimal_crossing(float(h), fit, level) for h, fit in fits.items()]
    lines, pooled = [], []
    for size in _shared_sizes(smooth):
        mine = [cell for cell in crossings if size == cell.N and cell.interactions]
        if len(mine) >= 2:
            lines.append(_line(size, mine))
            pooled.append(mine)
    reached = [cell for cell in optimal if cell.interactions]
    if len(reached) >= 2:
        lines.append(_line(None, reached))
    return LevelStudy(
        level=level,
        crossings=[*crossings, *optimal],
        lines=lines,
        common=_common(pooled) if pooled else None,
    )


def _optimal_crossing(horizon: float, fit: FitResult, level: float) -> Crossing:
    """Interactions of the compute-optimal agent for this return, by the law and the map of the horizon."""
    blank: dict[str, Any] = {"horizon": horizon, "N": None, "seeds_reached": 0, "seeds": 0}
    if not fit.identified:  # its interval can be narrow and wrong
        return Crossing(**blank, interactions=None, reason="law not identified", relative_sd=None)
    try:
        (item,) = at_returns(fit, [level])
    except InputError as error:
        if error.code != "return_outside_map":
            raise
        return Crossing(**blank, interactions=None, reason="outside the fitted map", relative_sd=None)
    sd = None
    if item.intervals:
        low, high = np.log(item.intervals["E_opt"])
        sd = max(float(high - low) / (2 * Z), _LEAST_SD)
    return Crossing(**blank, interactions=item.E_opt, reason="", relative_sd=sd)


def _arrays(cells: Sequence[Crossing]) -> tuple[Floats, Floats, Floats]:
    x = horizon_term([cell.horizon for cell in cells])
    e = np.array([cell.interactions or np.nan for cell in cells])
    return x, e, np.array([cell.relative_sd or UNKNOWN_SD for cell in cells])


def _line(size: float | None, cells: Sequence[Crossing]) -> AffineFit:
    fitted = asdict(affine_line(*_arrays(cells)))
    intervals = {name: fitted.pop(f"{name}_interval") for name in ("a", "b", "kappa")}
    known = {name: ends for name, ends in intervals.items() if ends is not None}
    return AffineFit(N=size, num_horizons=len(cells), intervals=known, **fitted)


def _common(series: Sequence[Sequence[Crossing]]) -> CommonFit:
    x, e, sd = _arrays([cell for cells in series for cell in cells])
    group = np.repeat(np.arange(len(series)), [len(cells) for cells in series])
    found = common_kappa(x, np.log(e), sd, group)
    intervals = {"kappa": found.kappa_interval}
    if found.power_interval is not None:
        intervals["power"] = found.power_interval
    return CommonFit(
        sizes=[float(cells[0].N or 0) for cells in series],
        a=np.exp(found.log_a).tolist(),
        kappa=found.kappa,
        power=found.power,
        affine_p=found.affine_p,
        intervals=intervals,
    )
