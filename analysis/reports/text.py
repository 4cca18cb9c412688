"""A fit in words and tables for the report: only strings, so that the template formats nothing."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.load import StoreRecord
from rlscale.analysis.fit.identifiability import NOT_IDENTIFIED
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.result import Forecast
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.formatting.backtest import reach_text, said
from rlscale.analysis.formatting.estimates import held_text
from rlscale.analysis.formatting.forecasts import outside_parts, return_cell
from rlscale.analysis.formatting.late_start import late_start_sentence
from rlscale.analysis.formatting.numbers import (
    compact_count,
    fixed_point,
    interval_text,
    percent,
    scientific,
    typeset_number,
    typeset_powers,
    with_minus_signs,
)
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.records import Interval
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.studies.backtest.result import BacktestResult

#: Decades of compute beyond the data for which the report forecasts.
FORECAST_DECADES = 3
_MAX_INSIDE = 4
_PACKAGES = ("rlscale", "numpy", "scipy", "pandas", "pyarrow", "matplotlib")
#: What a terminal shows, and what the report sets in its place.
_TYPESET = (
    (r"\bnu\b", "ν"),
    (r"\bkappa\b", "κ"),
    (r"\bN_opt\b", "<i>N</i><sub>opt</sub>"),
    (r"\blog I\b", "log <i>I</i>"),
    (r"\blog\(1 - R\)", "log(1 − <i>R</i>)"),
    (r"\bline of R\b", "line of <i>R</i>"),
    (r"(?<![\w.])-(?=\d)|(?<= )-(?= )", "−"),
)
#: Name, symbol, meaning and digits of each constant in the table.
_CONSTANTS = (
    ("nu", Markup("ν"), Markup("exponent of the optimal size: N<sub>opt</sub> ∝ C<sup>ν</sup>"), 3),
    ("alpha_N", Markup("α<sub>N</sub>"), Markup("exponent of the size term"), 3),
    ("alpha_E", Markup("α<sub>E</sub>"), Markup("exponent of the experience term"), 3),
    ("beta", Markup("β"), Markup("1/β = 1/α<sub>N</sub> + 1/α<sub>E</sub>"), 3),
    ("log10_N_c", Markup("log<sub>10</sub> N<sub>c</sub>"), Markup("extrapolated to C = 1"), 2),
    ("log10_E_c", Markup("log<sub>10</sub> E<sub>c</sub>"), Markup("extrapolated to C = 1"), 2),
)


@dataclass(frozen=True)
class Answer:
    """The answer of the report's first paragraph, in pieces of text."""

    identified: bool
    nu: str
    nu_interval: str
    nu_of_seeds: str
    size_factor: str
    experience_factor: str
    at: str
    N_opt: str
    N_opt_interval: str
    E_opt: str
    unit: str
    compute: str
    sizes: str
    returns: str
    held: str
    isoflop: str
    level: str
    late_start: Markup
    beyond: str
    verdict: Markup
    backtests: list[Markup]


def typeset(sentence: str) -> Markup:
    """A sentence written for a terminal, its symbols and minus signs as the report sets them."""
    text = str(escape(typeset_powers(sentence)))
    for pattern, symbol in _TYPESET:
        text = re.sub(pattern, symbol, text)
    return Markup(text)


def answer(fit: FitResult, backtest: BacktestResult | None = None) -> Answer:
    """What the fit says, in words, and how far a backtest bears it out."""
    nu_interval = fit.total_interval("nu")
    n_interval = fit.total_interval("N_opt_ref")
    return Answer(
        identified=fit.identified,
        nu=f"{fit.nu:.2f}",
        nu_interval="no interval" if nu_interval is None else interval_text(nu_interval, ".2f", between=", "),
        nu_of_seeds=interval_text(fit.intervals["nu"], ".2f") if fit.intervals else "",
        size_factor=f"{10**fit.nu:.1f}",
        experience_factor=f"{10 ** (1 - fit.nu):.1f}",
        at=scientific(fit.compute_ref),
        N_opt=compact_count(fit.N_opt_ref),
        N_opt_interval="no interval"
        if n_interval is None
        else interval_text(n_interval, compact_count, between=", "),
        E_opt=compact_count(fit.compute_ref / fit.N_opt_ref),
        unit=size_unit(fit),
        compute=interval_text(fit.range.C, scientific),
        sizes=interval_text(fit.range.N, compact_count),
        returns=interval_text(fit.range.return_, typeset_number),
        held=held_text(fit),
        isoflop=_isoflop(fit),
        level=percent(fit.interval_level),
        late_start=typeset(late_start_sentence(fit.late_start)),
        beyond=_beyond(fit, fit.N_opt_ref, fit.compute_ref / fit.N_opt_ref),
        verdict=typeset(_verdict(fit, backtest)),
        backtests=[typeset(said(split, scientific)) for split in backtest.splits] if backtest else [],
    )


def _verdict(fit: FitResult, backtest: BacktestResult | None) -> str:
    """Whether the exponents are identified, and for how far beyond the data that counts."""
    if not fit.identified:
        return "no."
    beyond = (
        "No backtest was made, so nothing tells how far beyond them the law holds."
        if backtest is None
        else reach_text(backtest.splits)
    )
    return f"yes, within the measured computes. {beyond}"


def _isoflop(fit: FitResult) -> str:
    """The check without a law, as the end of a sentence; empty if there is none."""
    check = fit.isoflop
    if check is None or check.nu is None:
        return ""
    if check.nu_interval is None:
        return f"{check.nu:.2f}"
    return f"{check.nu:.2f} [{interval_text(check.nu_interval, '.2f', between=', ')}]"


def size_unit(fit: FitResult) -> str:
    """What sizes are counted in."""
    return SIZE_WORDS[fit.provenance.size].unit_in_prose


def warnings(fit: FitResult) -> list[tuple[bool, Markup]]:
    """(whether it puts the exponents in doubt, sentence) of each warning."""
    return [
        (code in NOT_IDENTIFIED, typeset(text))
        for code, text in zip(fit.warning_codes, fit.warnings, strict=True)
    ]


def constants(fit: FitResult) -> list[dict[str, str]]:
    """Rows of the table of constants: this fit, and the other objective for comparison."""
    rows, other = [], fit.other_objective
    for name, symbol, meaning, digits in _CONSTANTS:
        rows.append(
            {
                "symbol": symbol,
                "meaning": meaning,
                "estimate": fixed_point(getattr(fit, name), digits),
                "interval": with_minus_signs(interval_text(fit.total_interval(name), f".{digits}f")),
                "of_seeds": with_minus_signs(interval_text(fit.intervals.get(name), f".{digits}f")),
                "other": fixed_point(getattr(other, name), digits),
                "other_interval": with_minus_signs(interval_text(other.intervals.get(name), f".{digits}f")),
            }
        )
    rows.append(
        {
            "symbol": Markup("N<sub>opt</sub>"),
            "meaning": f"optimal {size_unit(fit)} at C = {scientific(fit.compute_ref)}, within the data",
            "estimate": compact_count(fit.N_opt_ref),
            "interval": interval_text(fit.total_interval("N_opt_ref"), compact_count),
            "of_seeds": interval_text(fit.intervals.get("N_opt_ref"), compact_count),
            # The other objective states its optimum at a compute of its own, so there is nothing to compare.
            "other": "",
            "other_interval": "",
        }
    )
    if fit.delay:
        rows.append(
            {
                "symbol": Markup("τ"),
                "meaning": f"delay of learning in interactions, {fit.delay.kind} start",
                "estimate": compact_count(fit.delay.steps),
                "interval": interval_text(_delay_interval(fit), compact_count),
                "of_seeds": "",
                "other": "",
                "other_interval": "",
            }
        )
    return rows


def _delay_interval(fit: FitResult) -> Interval | None:
    """90% interval of the delay over the draws."""
    return interval_of(fit.bootstrap.delay) if len(fit.bootstrap.delay) else None


def round_computes(fit: FitResult) -> list[float]:
    """Powers of ten within the data, at most four, and the next three beyond."""
    low, high = np.log10(fit.range.C)
    inside = np.arange(np.ceil(low), np.floor(high) + 1)
    if len(inside) > _MAX_INSIDE:
        inside = inside[np.unique(np.linspace(0, len(inside) - 1, _MAX_INSIDE).round().astype(int))]
    beyond = np.floor(high) + 1 + np.arange(FORECAST_DECADES)
    return [float(f"1e{int(x)}") for x in (*inside, *beyond)]


def forecasts(fit: FitResult) -> list[dict[str, Any]]:
    """Rows of the table of forecasts."""
    return [_forecast_row(item) for item in forecast(fit, round_computes(fit)).forecasts]


def _forecast_row(item: Forecast) -> dict[str, Any]:
    outside = ", ".join(outside_parts(item))
    return {
        "compute": scientific(item.compute),
        "N_opt": compact_count(item.N_opt),
        "N_interval": interval_text(item.total_interval("N_opt"), compact_count),
        "N_of_seeds": interval_text(item.intervals.get("N_opt"), compact_count),
        "E_opt": compact_count(item.E_opt),
        "E_interval": interval_text(item.total_interval("E_opt"), compact_count),
        "return_": _stacked(return_cell(item, between="\n")),
        "extrapolated": item.extrapolation > 0,
        "where": f"decades outside: {outside}" if outside else "within the data",
    }


def _stacked(cell: str) -> Markup:
    """The first line of a cell, and the others small below it."""
    first, *others = (typeset(line) for line in cell.split("\n"))
    return first + Markup("").join(Markup("<small>{}</small>").format(other) for other in others)


def _beyond(fit: FitResult, num_params: float, interactions: float) -> str:
    """Which of a size and its interactions lie outside those of the data: the compute alone does not say."""
    spans = (("size", num_params, fit.range.N), ("interactions", interactions, fit.range.E))
    return " and ".join(name for name, value, (low, high) in spans if not low <= value <= high)


# -- provenance -------------------------------------------------------------------


def runs(curves: Curves, record: StoreRecord | None) -> list[dict[str, str]]:
    """A row for each run, those that the fit leaves out last."""
    rows = []
    known = {} if record is None else {run.run_id: run for run in record.runs}
    seeds = curves.table.get("seed")
    by_seed = np.zeros(curves.num_runs)
    if seeds is not None:
        by_seed = pd.to_numeric(seeds, errors="coerce").to_numpy(float, na_value=np.nan)
    for index in np.lexsort((by_seed, curves.run_sizes)):
        run_id = curves.run_ids[index]
        e, r = curves.curve(int(index))
        rows.append(
            {
                "run": run_id,
                "status": known[run_id].status if run_id in known else "given",
                "size": f"{curves.run_sizes[index]:,.0f}",
                "seed": "" if seeds is None else str(seeds.iloc[index]),
                "interactions": f"{e[-1]:,.0f}",
                "rows": f"{len(e):,}",
                "last": f"{r[-1]:.4g}",
                "reason": "",
            }
        )
    for run in known.values():
        if run.run_id not in curves.run_ids:
            rows.append(
                {
                    "run": run.run_id,
                    "status": run.status,
                    "size": f"{run.columns.get('num_params') or 0:,}",
                    "seed": str(run.columns.get("seed", "")),
                    "interactions": f"{run.interactions:,}",
                    "rows": "",
                    "last": "",
                    "reason": run.reason or "",
                }
            )
    return rows


def versions(record: StoreRecord | None) -> list[tuple[str, str, str]]:
    """(name, version here, versions of the runs) of what results depend on."""
    here = {"python": platform.python_version()}
    here |= {name: metadata.version(name) for name in _PACKAGES}
    there: dict[str, set[str]] = {}
    for run in () if record is None else record.runs:
        for name, value in run.provenance.items():
            if name not in ("host", "pid"):  # they do not affect a result, and are private
                there.setdefault(name, set()).add(str(value))
    names = [*here, *(name for name in there if name not in here)]
    return [(name, here.get(name, ""), ", ".join(sorted(there.get(name, ())))) for name in names]
