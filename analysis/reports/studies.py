"""The report's sections on the further questions of the paper: rows of their tables, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures import horizon as plots_horizon
from rlscale.analysis.figures import studies as plots_studies
from rlscale.analysis.figures.style import TWO_PANELS, new_figure
from rlscale.analysis.fit.findings import Refit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.returns import at_returns
from rlscale.analysis.formatting.horizon import SLOWER_LEARNING, level_sentences, sample_law_sentence
from rlscale.analysis.formatting.numbers import (
    compact_count,
    fixed_point,
    interval_text,
    scientific,
    scientific_mathtext,
    typeset_number,
    with_minus_signs,
)
from rlscale.analysis.formatting.sizes import SIZE_WORDS
from rlscale.analysis.formatting.studies import PERIODS, SIZE_MEASURES, constants_text
from rlscale.analysis.records import Interval
from rlscale.analysis.reports.figures import ReportFigure
from rlscale.analysis.reports.text import round_computes, typeset
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.studies.horizon.result import HorizonResult, LevelStudy
from rlscale.analysis.studies.horizon.study import fit_horizons, study_horizons
from rlscale.analysis.studies.with_studies import estimator_of
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import RlscaleError

#: Costs of the environment in units of the optimal size, for the table of what ignoring them costs.
ENV_COST_RATIOS = (0.1, 1.0, 10.0, 100.0, 1e4)
_FAILURE, _POWER = "R<sub>max</sub> − R", "∝ I<sup>−q</sup>"
_FORMULAS = {
    "return": Markup("R = constant + q ln I"),
    "log-failure": Markup(f"{_FAILURE} {_POWER}"),
    "fail-ratio": Markup(f"({_FAILURE})/(R − R<sub>min</sub>) {_POWER}"),
    "elo": Markup(f"exp(−kR) {_POWER}, k = ln(10)/400"),
    "trueskill": Markup(f"exp(−kR) {_POWER}"),
}


@dataclass(frozen=True)
class HorizonSection:
    """A study of the horizon to show, or why there is none; ``shown`` is the horizon of the main fit."""

    shown: float
    result: HorizonResult | None
    skipped: str = ""


def studies_context(fit: FitResult, horizon: HorizonSection | None = None) -> dict[str, Any]:
    """What the template shows of each study; empty lists for those that were not made."""
    return {
        "returns": _return_rows(fit),
        "env_cost": _env_cost_rows(fit),
        "periods": [
            _refit_row(f"{p.period}, {p.span[0]:.2g} to {p.span[1]:.2g}", p) for p in fit.periods or ()
        ],
        "sizes": _size_rows(fit),
        "metrics": _metric_rows(fit),
        "at": scientific(fit.compute_ref),
        "periods_note": typeset(PERIODS),
        "sizes_note": typeset(SIZE_MEASURES),
        "horizon": _horizon_context(horizon),
    }


def study_figures(fit: FitResult, horizon: HorizonSection | None = None) -> list[ReportFigure]:
    """A figure for each study that was made."""
    found = []
    if fit.periods:
        found.append(
            ReportFigure(
                "periods",
                "Periods of training",
                "The exponent, and the optimal size at one compute, from each third of training alone "
                "(thirds of the logarithm of interactions, by size). Shaded: the fit to all. Open dots: "
                "not identified. Thirds that differ by more than their intervals say that the law has not "
                "settled, and that an exponent of all of training depends on how long it lasts.",
                _seen_periods(fit),
                _periods_figure,
            )
        )
    if fit.metric:
        found.append(
            ReportFigure(
                "natural_metric",
                "Natural metrics of performance",
                "The candidate that is straightest against intrinsic performance, and the second. Dots: "
                "seed-averaged returns of all sizes, binned; line: weighted least squares. Where dots bend "
                "away from the line the metric is not a power of intrinsic performance.",
                _seen_metric(fit),
                _metric_figure,
            )
        )
    if horizon is not None and horizon.result is not None:
        found += _horizon_figures(horizon.result)
    return found


def horizon_section(
    by_horizon: Mapping[float, Curves], shown: float, fit: FitResult, *, workers: int = 1
) -> HorizonSection | None:
    """The study of a source's horizons with the options of ``fit``; an error becomes a sentence.

    Args:
        by_horizon: the curves of each horizon.
        shown: the horizon that ``fit`` is of.

    Returns:
        None if there is one horizon only.
    """
    if len(by_horizon) < 2:
        return None
    try:
        fits = fit_horizons(by_horizon, estimator_of(fit, workers), known={shown: fit})
        return HorizonSection(shown, study_horizons(by_horizon, fits))
    except RlscaleError as error:
        return HorizonSection(shown, None, f"No study of the horizon was made: {error}")


# -- one horizon ------------------------------------------------------------------


def _return_rows(fit: FitResult) -> list[dict[str, str]]:
    """What the returns at round computes of the frontier take."""
    known = [fit.monotone_map.known_return_of(c) for c in round_computes(fit) if c <= fit.range.C[1]]
    inside = fit.monotone_map.return_
    wanted = {float(f"{value:.3g}") for value in known if value is not None}
    chosen = sorted(value for value in wanted if inside[0] <= value <= inside[-1])
    return [
        {
            "return_": typeset_number(item.return_),
            **{
                name: scientific(item.intrinsic)
                if name == "intrinsic"
                else compact_count(getattr(item, name))
                for name in ("intrinsic", "N_opt", "E_opt", "E_inf", "N_inf")
            },
            **{f"{name}_interval": _range(item.intervals.get(name)) for name in ("E_inf", "N_inf")},
            "gain": typeset_number(item.width_gain),
            "gain_interval": _range(item.intervals.get("width_gain"), typeset_number),
        }
        for item in at_returns(fit, chosen)
    ]


def _overspend(law: PowerLaw, compute: float, ratio: float) -> tuple[float, float]:
    """``env_cost_overspend`` at the optimum of a compute, for a step that costs ``ratio`` times its size."""
    intrinsic = float(np.exp(law.log_best_intrinsic(np.log(compute)))) if law.delay else compute
    return law.env_cost_overspend(intrinsic, ratio * float(law.N_opt(compute)))


def _env_cost_rows(fit: FitResult) -> list[dict[str, str]]:
    """The best size and the overspend for environments of several costs, at the middle of the data."""
    laws = fit.draw_laws()
    rows = []
    for ratio in ENV_COST_RATIOS:
        larger, overspend = _overspend(fit.law, fit.compute_ref, ratio)
        # In units of N_opt the answer depends on the exponents only, so each draw has its own N_opt.
        drawn = [_overspend(law, fit.compute_ref, ratio) for law in laws]
        ends = [interval_of(values) for values in np.array(drawn).T] if drawn else [None, None]
        rows.append(
            {
                "ratio": typeset_number(ratio),
                "cost": compact_count(ratio * fit.N_opt_ref),
                "larger": typeset_number(larger),
                "larger_interval": _range(ends[0], typeset_number),
                "overspend": typeset_number(overspend),
                "overspend_interval": _range(ends[1], typeset_number),
            }
        )
    return rows


def _size_rows(fit: FitResult) -> list[dict[str, str]]:
    if not fit.size_measures:
        return []
    own = _refit_row(SIZE_WORDS[fit.provenance.size].measure, fit)
    return [
        {**own, "per_unit": "1"},
        *(
            {**_refit_row(SIZE_WORDS[m.size].measure, m), "per_unit": typeset_number(m.per_unit)}
            for m in fit.size_measures
        ),
    ]


def _refit_row(name: str, item: Refit | FitResult) -> dict[str, str]:
    row = {"name": name, "identified": "yes" if item.identified else "no"}
    for key in ("nu", "alpha_N", "alpha_E"):
        row[key] = fixed_point(getattr(item, key), 3)
        row[f"{key}_interval"] = _range(item.intervals.get(key), ".3f")
    row["N_opt"] = compact_count(item.N_opt_ref)
    row["N_opt_interval"] = _range(item.intervals.get("N_opt_ref"))
    return row


def _metric_rows(fit: FitResult) -> list[dict[str, str]]:
    lines = fit.metric.candidates if fit.metric else []
    return [
        {
            "name": line.name,
            "formula": _FORMULAS[line.name],
            "constants": constants_text(line),
            "chosen": line.chosen,
            "q": typeset_number(line.q),
            "q_interval": _range(line.intervals.get("q"), typeset_number),
            "r_squared": f"{line.r_squared:.3f}",
            "curvature": with_minus_signs(f"{line.curvature:+.2g}"),
            "curvature_interval": _range(line.intervals.get("curvature"), ".2g"),
            "p": "" if line.curvature_p is None else typeset_number(line.curvature_p, 2),
            "left_out": str(line.num_left_out),
        }
        for line in lines
    ]


def _periods_figure(_: Curves, fit: FitResult) -> Figure:
    figure = new_figure(TWO_PANELS)
    left, right = figure.subplots(1, 2)
    others = [(f"{period.period} third", period) for period in fit.periods or ()]
    plots_studies.plot_refits(
        fit, others, name="nu", label=r"Exponent $\nu$ of $N_{opt} \propto C^{\nu}$", own="all", ax=left
    )
    label = f"$N_{{opt}}$ at $C$ = {scientific_mathtext(fit.compute_ref, 2)}"
    plots_studies.plot_refits(fit, others, name="N_opt_ref", label=label, own="all", ax=right)
    right.set_yticklabels([])
    return figure


def _metric_figure(_: Curves, fit: FitResult) -> Figure:
    lines = fit.metric.candidates if fit.metric else []
    if len(lines) == 1:
        figure = new_figure()
        plots_studies.plot_metric_line(fit, lines[0], ax=figure.add_subplot())
        return figure
    figure = new_figure(TWO_PANELS)
    for line, ax in zip(lines[:2], figure.subplots(1, 2), strict=True):
        plots_studies.plot_metric_line(fit, line, ax=ax)
    return figure


def _seen_periods(fit: FitResult) -> str:
    thirds = ", ".join(f"{one.period} {one.nu:.2f}" for one in fit.periods or ())
    return f"The exponent of all of training is {fit.nu:.2f}; of its thirds: {thirds}."


def _seen_metric(fit: FitResult) -> str:
    lines = fit.metric.candidates if fit.metric else []
    shown = ", ".join(f"{line.name} has R² = {line.r_squared:.3f}" for line in lines[:2])
    return f"Points of all sizes about straight lines against intrinsic performance: {shown}."


# -- several horizons -------------------------------------------------------------


def _horizon_context(section: HorizonSection | None) -> dict[str, Any] | None:
    if section is None:
        return None
    shown, result = f"{section.shown:g}", section.result
    if result is None:
        return {"shown": shown, "skipped": section.skipped, "fits": []}
    slope = result.nu_slope
    return {
        "shown": shown,
        "skipped": "",
        "first": f"{result.fits[0].horizon:g}",
        "at": scientific(result.compute),
        "fits": [{**_refit_row(f"{f.horizon:g}", f), **_shift_cells(result, f.horizon)} for f in result.fits],
        "slope": fixed_point(slope.per_decade, 3).replace("−0.000", "0.000"),
        "slope_interval": _range(slope.interval, ".3f"),
        "slope_p": "" if slope.p_value is None else typeset_number(slope.p_value, 2),
        "left_out": ", ".join(f"{f.horizon:g}" for f in result.fits if f.horizon not in result.law_horizons),
        "levels": [
            {
                "level": f"{study.level:.4g}",
                "lines": _line_rows(study),
                "sentences": [typeset(sentence) for sentence in level_sentences(study)],
            }
            for study in result.levels
        ],
        "slower": typeset(SLOWER_LEARNING),
        "sample_law": typeset(sample_law_sentence(result)),
    }


def _shift_cells(result: HorizonResult, horizon: float) -> dict[str, str]:
    blank = {"ratio": "1", "ratio_interval": "", "predicted": "1", "predicted_interval": ""}
    for shift in result.shifts:
        if shift.horizon == horizon:
            return {
                "ratio": typeset_number(shift.ratio),
                "ratio_interval": _range(shift.intervals.get("ratio"), typeset_number),
                "predicted": typeset_number(shift.predicted),
                "predicted_interval": _range(shift.intervals.get("predicted"), typeset_number),
            }
    return blank


def _line_rows(study: LevelStudy) -> list[dict[str, str]]:
    return [
        {
            "N": "optimal" if line.N is None else compact_count(line.N),
            "horizons": str(line.num_horizons),
            **{name: compact_count(getattr(line, name)) for name in ("a", "b")},
            **{f"{name}_interval": _range(line.intervals.get(name)) for name in ("a", "b")},
            "kappa": typeset_number(line.kappa),
            "kappa_interval": _range(line.intervals.get("kappa"))
            if "kappa" in line.intervals
            else "unbounded",
            "r_squared": f"{line.r_squared:.3f}",
            "p": "" if line.quadratic_p is None else typeset_number(line.quadratic_p, 2),
        }
        for line in study.lines
    ]


def _horizon_figures(result: HorizonResult) -> list[ReportFigure]:
    having = [study for study in result.levels if study.common is not None]
    study = having[len(having) // 2]
    return [
        ReportFigure(
            "horizon_interactions",
            "Interactions against the horizon",
            f"Left: interactions with which each size first reaches a return of {study.level:.4g}, with "
            "their 90% intervals and lines affine in h − 2 + 1/h. Right: the same over each size's own value "
            "at h = 1. If a longer horizon only adds the noise of later rewards, all sizes lie on one "
            "straight line.",
            " ".join(level_sentences(study)),
            _two_panels(
                lambda ax: plots_horizon.plot_interactions_to_level(study, ax=ax),
                lambda ax: plots_horizon.plot_common_growth(study, ax=ax),
            ),
        ),
        ReportFigure(
            "horizon_optimum",
            "The optimum against the horizon",
            f"Left: optimal size at C = {scientific(result.compute)} over that at the smallest horizon; "
            "black: what the growth of interactions at fixed sizes predicts, its 90% interval shaded. Right: "
            "the exponent of each horizon with its 90% interval, and their weighted slope. Open dots: "
            "horizons whose curves do not identify the law, left out of slope and prediction.",
            f"The optimal size changes by factors of {_shift_range(result)} over that at the smallest "
            f"horizon; ν changes by {fixed_point(result.nu_slope.per_decade, 3)} for each tenfold horizon.",
            _two_panels(
                lambda ax: plots_horizon.plot_optimum_shift(result, ax=ax),
                lambda ax: plots_horizon.plot_nu_by_horizon(result, ax=ax),
            ),
        ),
    ]


def _shift_range(result: HorizonResult) -> str:
    ratios = [shift.ratio for shift in result.shifts]
    return interval_text((min(ratios), max(ratios)), typeset_number)


def _two_panels(*draw: Callable[[Any], Any]) -> Callable[[Curves, FitResult], Figure]:
    def drawn(_: Curves, __: FitResult) -> Figure:
        figure = new_figure((7.6, 3.2))
        for one, ax in zip(draw, figure.subplots(1, 2), strict=True):
            one(ax)
        return figure

    return drawn


def _range(interval: Interval | None, write: str | Callable[[float], str] = compact_count) -> str:
    return with_minus_signs(interval_text(interval, write))
