"""The main figures as data for ``scripts/charts.js``: what each layer shows, in the units of its axes.

The same figures as ``rlscale.analysis.figures.fit`` draws for print, with single runs and with what a pointer
says of each point. Values are single precision: a screen shows less.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.fit import (
    DECADES_BEYOND,
    binned,
    by_size,
    fitted_frontier,
    seed_bands,
    smaller_still_runs,
)
from rlscale.analysis.figures.style import ACCENT, INK, QUIET, ReturnScale, size_colours
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.optimum import optimum_ends
from rlscale.analysis.formatting.numbers import compact_count, counted, percent
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.reports.figures import return_scale

#: Points of single runs that a page holds; more are averaged in wider bins.
MOST_POINTS = 20_000
#: Runs that can be switched on one by one.
MOST_RUNS = 300
_BINS_PER_DECADE = (16, 8, 4)
_INTERACTIONS = "Environment interactions E"

Layer = dict[str, Any]


def chart_data(curves: Curves, fit: FitResult) -> dict[str, Any]:
    """``sizes`` with their colours, and each chart by the name of its figure."""
    sizes = [
        {"label": compact_count(size), "colour": to_hex(colour)}
        for size, colour in zip(fit.provenance.sizes, size_colours(fit.provenance.sizes), strict=True)
    ]
    makers: dict[str, Callable[[Curves, FitResult, ReturnScale], dict[str, Any]]] = {
        "learning_curves": _learning_curves,
        "intrinsic_performance": _intrinsic,
        "compute_frontier": _frontier,
        "optimal_size": _optimal_size,
        "monotone_map": _monotone_map,
    }
    scale = return_scale(curves, fit)
    return {
        "sizes": sizes,
        "unit": SIZE_WORDS[fit.provenance.size].unit,
        "charts": {name: make(curves, fit, scale) for name, make in makers.items()},
    }


def chart_colours(charts: dict[str, Any]) -> set[str]:
    """The colours that ``chart_data`` uses."""
    found = {size["colour"] for size in charts["sizes"]}
    for chart in charts["charts"].values():
        found |= {part["colour"] for part in (*chart["layers"], *chart["marks"]) if part.get("colour")}
    return found


def _learning_curves(curves: Curves, fit: FitResult, scale: ReturnScale) -> dict[str, Any]:
    share = float(fit.options["early_exclusion"])
    layers: list[Layer] = []
    bands = seed_bands(curves)
    for size, band in enumerate(bands):
        seeds = int((curves.size_index == size).sum())
        early = band.interactions < max(share * band.interactions[-1], fit.not_before)
        late_from = max(int(early.sum()) - 1, 0)
        name = f"mean of {counted(seeds, 'seed')}" if seeds > 1 else "its run"
        if seeds > 1:
            layers.append(_layer("band", size, x=band.interactions, low=band.low, high=band.high, alpha=0.18))
        if early.any():
            layers.append(_line(size, band.interactions[early], band.mean[early], name=name, alpha=0.35))
        layers.append(_line(size, band.interactions[late_from:], band.mean[late_from:], name=name))
    layers += _single_runs(curves)
    means = np.concatenate([band.mean for band in bands])
    marks = [_mark("line", QUIET, "mean over seeds"), _mark("band", QUIET, "lowest to highest seed")]
    if fit.delay and fit.late_start is not None and fit.late_start.onset is not None:
        layers.append(
            {"kind": "vline", "size": None, "at": fit.late_start.onset, "colour": INK, "dash": "dotted"}
        )
        marks.append(_mark("dotted", INK, "learning starts"))
    return {
        "x": _axis("E", _INTERACTIONS, "log", curves.interactions),
        "y": _return_axis(curves.minimize, scale, means),
        "layers": layers,
        "marks": marks,
    }


def _single_runs(curves: Curves) -> list[Layer]:
    """A hidden line for each run; none if the runs are very many."""
    if curves.num_runs > MOST_RUNS:
        return []
    seeds = curves.table.get("seed")
    for bins in _BINS_PER_DECADE:
        lines = [_run_line(curves, run, bins) for run in range(curves.num_runs)]
        if sum(len(x) for x, _ in lines) <= MOST_POINTS:
            break
    return [
        {
            **_line(int(curves.size_index[run]), *lines[run], name=f"run {curves.run_ids[run]}", width=1.0),
            "run": curves.run_ids[run],
            "seed": None if seeds is None else str(seeds.iloc[run]),
        }
        for run in range(curves.num_runs)
    ]


def _run_line(curves: Curves, run: int, bins: int) -> tuple[Floats, Floats]:
    """(E, return) of a run, averaged in bins of log E."""
    e, r = curves.curve(run)
    _, cell = np.unique(np.floor(np.log10(e) * bins), return_inverse=True)
    count = np.bincount(cell)
    return np.exp(np.bincount(cell, weights=np.log(e)) / count), np.bincount(cell, weights=r) / count


def _intrinsic(_: Curves, fit: FitResult, __: ReturnScale) -> dict[str, Any]:
    law, layers = fit.law, list[Layer]()
    measured, returns = np.log(fit.points.mapped_intrinsic), np.asarray(fit.points.return_)
    seen_x, seen_y = [], []
    for size, _colour, rows in by_size(fit.points):
        index = _place_of(size, fit)
        e, log_i = binned(fit.points, measured, rows)
        r = binned(fit.points, returns, rows)[1]
        layers.append(_dots(index, e, np.exp(log_i), name="measured", also={"return": r}))
        grid = np.geomspace(e[0], e[-1], 60)
        layers.append(_line(index, grid, law.intrinsic(size, grid), name="fitted law"))
        seen_x.append(e)
        seen_y.append(np.exp(log_i))
    compute, seen = fitted_frontier(fit)
    best = np.exp(law.log_best_intrinsic(np.log(compute)))
    marks = [_mark("dot", QUIET, "measured, f(R)"), _mark("line", QUIET, "fitted law")]
    if seen.any():
        e_opt = law.E_opt(compute)[seen]
        layers.append(_line(None, e_opt, best[seen], name="frontier", colour=INK, dash="dash"))
        marks.append(_mark("dash", INK, "frontier" if law.delay else "frontier I = C"))
    unit = SIZE_WORDS[fit.provenance.size].unit
    return {
        "x": _axis("E", _INTERACTIONS, "log", np.concatenate(seen_x)),
        "y": _axis("I", f"Intrinsic performance I ({unit} × interactions)", "log", np.concatenate(seen_y)),
        "layers": layers,
        "marks": marks,
    }


def _frontier(_: Curves, fit: FitResult, scale: ReturnScale) -> dict[str, Any]:
    returns, layers = np.asarray(fit.points.return_), list[Layer]()
    for size, _colour, rows in by_size(fit.points):
        index = _place_of(size, fit)
        e, r = binned(fit.points, returns, rows)
        layers.append(_line(index, size * e, r, name="measured", also={"E": e}))
    compute, seen = fitted_frontier(fit)
    log_i = fit.law.log_best_intrinsic(np.log(compute))
    best = fit.monotone_map.return_of_log(log_i)
    known = log_i <= np.log(fit.monotone_map.intrinsic[-1])
    for rows, dash in ((known, "dotted"), (known & seen, None)):
        if rows.any():
            also = {"N_opt": fit.law.N_opt(compute[rows]), "E_opt": fit.law.E_opt(compute[rows])}
            layers.append(
                _line(
                    None, compute[rows], best[rows], name="fitted frontier", colour=INK, dash=dash, also=also
                )
            )
    step = max(len(fit.frontier.compute) // 30, 1)
    layers.append(
        _dots(
            None,
            fit.frontier.compute[::step],
            fit.frontier.return_[::step],
            name="best size, measured",
            colour=INK,
            hollow=True,
            also={"N": fit.frontier.N[::step]},
        )
    )
    return {
        "x": _compute_axis(fit, np.asarray(fit.points.N * fit.points.E)),
        "y": _return_axis(bool(fit.options.get("minimize")), scale, returns),
        "layers": layers,
        "marks": [
            _mark("hollow", INK, "best size, measured"),
            _mark("line", INK, "fitted frontier"),
            _mark("dotted", INK, "its sizes or interactions outside the data"),
        ],
    }


def _optimal_size(_: Curves, fit: FitResult, __: ReturnScale) -> dict[str, Any]:
    low, high = fit.range.C
    spans = ((np.geomspace(low, high, 60), False), (np.geomspace(high, high * 10**DECADES_BEYOND, 40), True))
    layers, drawn = list[Layer](), list[Floats]()
    for compute, beyond in spans:
        ends = optimum_ends(fit, compute)
        for both, alpha in () if ends is None else ((ends.total, 0.18), (ends.plain, 0.3)):
            low_n, high_n = both
            band = _layer("band", None, x=compute, low=low_n, high=high_n, alpha=alpha / (1 + beyond))
            layers.append({**band, "colour": ACCENT})
            drawn += [low_n, high_n]
    for compute, beyond in spans:
        name, dash = ("fitted law, extrapolated", "dash") if beyond else ("fitted law", None)
        also = {"E_opt": fit.law.E_opt(compute)}
        n_opt = fit.law.N_opt(compute)
        layers.append(_line(None, compute, n_opt, name=name, colour=ACCENT, dash=dash, also=also))
        drawn.append(n_opt)
    compute, best = np.asarray(fit.frontier.compute), np.asarray(fit.frontier.N)
    returns, free = np.asarray(fit.frontier.return_), smaller_still_runs(fit)
    for rows, name, hollow in ((free, "best size, measured", False), (~free, "next smaller ended", True)):
        if rows.any():
            also = {"return": returns[rows]}
            layers.append(
                _dots(None, compute[rows], best[rows], name=name, colour=INK, hollow=hollow, also=also)
            )
    marks = [_mark("line", ACCENT, "fitted law"), _mark("dash", ACCENT, "extrapolated")]
    if fit.intervals:
        marks.append(_mark("band", ACCENT, f"{percent(fit.interval_level)} interval"))
        marks.append(_mark("band dark", ACCENT, "of seeds alone"))
    marks.append(_mark("dot", INK, "best size, measured"))
    if (~free).any():
        marks.append(_mark("hollow", INK, "next smaller ended"))
    vertices = fit.isoflop.vertices if fit.isoflop else []
    if vertices:
        at, n = np.array([(vertex.compute, vertex.N) for vertex in vertices]).T
        layers.append({**_dots(None, at, n, name="vertex of a parabola", colour=INK), "shape": "diamond"})
        bars = [(vertex.compute, *vertex.interval) for vertex in vertices if vertex.interval]
        if bars:
            x, low_n, high_n = np.array(bars).T
            layers.append({**_layer("bars", None, x=x, low=low_n, high=high_n), "colour": INK})
        marks.append(_mark("diamond", INK, "vertex of a parabola"))
        drawn.append(n)
    layers.append({"kind": "vline", "size": None, "at": high, "colour": QUIET, "dash": "dotted"})
    marks.append(_mark("dotted", QUIET, "end of the data"))
    unit = SIZE_WORDS[fit.provenance.size].unit
    return {
        "x": _compute_axis(fit, np.concatenate([compute for compute, _ in spans])),
        "y": _axis("N_opt", f"Optimal {unit}", "log", np.concatenate([*drawn, best]), counts=True),
        "layers": layers,
        "marks": marks,
    }


def _monotone_map(_: Curves, fit: FitResult, scale: ReturnScale) -> dict[str, Any]:
    returns, log_i = np.asarray(fit.points.return_), np.log(fit.points.intrinsic)
    layers = list[Layer]()
    for size, _colour, rows in by_size(fit.points):
        index = _place_of(size, fit)
        e, r = binned(fit.points, returns, rows)
        x = binned(fit.points, log_i, rows)[1]
        layers.append(_dots(index, np.exp(x), r, name="measured", also={"E": e}))
    fitted = fit.monotone_map
    layers.append(_line(None, fitted.intrinsic, fitted.return_, name="fitted map f", colour=INK))
    unit = SIZE_WORDS[fit.provenance.size].unit
    return {
        "x": _axis("I", f"Intrinsic performance I ({unit} × interactions)", "log", fit.points.intrinsic),
        "y": _return_axis(bool(fit.options.get("minimize")), scale, returns),
        "layers": layers,
        "marks": [_mark("dot", QUIET, "measured, at the law's I"), _mark("line", INK, "fitted map f")],
    }


def _place_of(size: float, fit: FitResult) -> int:
    """Position of a size of the points among the sizes of the fit, of which some may have no points."""
    return int(np.abs(np.log(np.asarray(fit.provenance.sizes) / size)).argmin())


# -- layers and axes --------------------------------------------------------------


def _layer(kind: str, size: int | None, *, alpha: float = 1.0, **arrays: ArrayLike) -> Layer:
    return {"kind": kind, "size": size, "alpha": alpha} | {
        name: _packed(values) for name, values in arrays.items()
    }


def _line(
    size: int | None,
    x: ArrayLike,
    y: ArrayLike,
    *,
    name: str,
    colour: str | None = None,
    dash: str | None = None,
    alpha: float = 1.0,
    width: float = 1.5,
    also: dict[str, Floats] | None = None,
) -> Layer:
    """A line, of the colour of its size unless it has its own. ``also``: more to say of each point."""
    layer = _layer("line", size, alpha=alpha, x=x, y=y)
    return {**layer, "name": name, "colour": colour, "dash": dash, "width": width, "also": _all_packed(also)}


def _dots(
    size: int | None,
    x: ArrayLike,
    y: ArrayLike,
    *,
    name: str,
    colour: str | None = None,
    hollow: bool = False,
    also: dict[str, Floats] | None = None,
) -> Layer:
    layer = _layer("dots", size, x=x, y=y)
    return {**layer, "name": name, "colour": colour, "hollow": hollow, "also": _all_packed(also)}


def _mark(kind: str, colour: str, text: str) -> dict[str, str]:
    """An entry of the legend."""
    return {"kind": kind, "colour": colour, "text": text}


def _axis(name: str, label: str, scale: str, values: ArrayLike, *, counts: bool = False) -> dict[str, Any]:
    """An axis: what a pointer calls its values, label, scale, limits; ``counts`` writes 10k for 10⁴."""
    shown = np.asarray(values, float)
    limits = [float(shown.min()), float(shown.max())]
    return {"name": name, "label": label, "scale": scale, "limits": limits, "counts": counts}


def _return_axis(minimize: bool, scale: ReturnScale, values: Floats) -> dict[str, Any]:
    label = "Return R = −loss" if minimize else "Return R"
    if scale == "linear":
        return _axis("return", label, "linear", values)
    # A batch without a single failure would lie infinitely high, so such outliers do not set the limits.
    top = min(float(np.quantile(values, 0.999)), 0.99999)
    return _axis("return", f"{label}, spaced by failure rate 1 − R", "failure", np.minimum(values, top))


def _compute_axis(fit: FitResult, values: Floats) -> dict[str, Any]:
    unit = SIZE_WORDS[fit.provenance.size].unit
    return _axis("C", f"Compute C = N · E ({unit} × interactions)", "log", values)


def _packed(values: ArrayLike) -> dict[str, str]:
    return {"float32": base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()}


def _all_packed(also: dict[str, Floats] | None) -> dict[str, dict[str, str]]:
    return {name: _packed(values) for name, values in (also or {}).items()}
