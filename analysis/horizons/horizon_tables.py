"""A study of the horizon as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.horizons.horizon_result import HorizonResult, LevelStudy, Prediction
from analysis.tables import UNITS, interval_text, new_table, short, with_interval
from scaling.errors import InputError

#: What a change of nu with the horizon may come from besides the horizon.
SLOWER_LEARNING = (
    "A longer horizon learns more slowly, so equal interactions show an earlier stretch of learning: if "
    "nu differs between periods of training (rlscale fit --periods), it differs between horizons too."
)


def parse_predictions(texts: list[str] | None) -> list[tuple[float, float]]:
    """``N:h`` pairs as numbers.

    Raises:
        InputError: if one is not of that form.
    """
    found = []
    for text in texts or []:
        size, _, horizon = text.partition(":")
        try:
            found.append((float(size), float(horizon)))
        except ValueError as error:
            raise InputError(f"--predict {text!r} is not of the form N:h, e.g. 1e6:64.") from error
    return found


def print_horizon(result: HorizonResult, console: Console) -> None:
    """Laws by horizon, interactions to each level, what they say of κ, predictions, warnings."""
    console.print(_laws_table(result))
    slope = result.nu_slope
    p_value = "" if slope.p_value is None else f", p = {slope.p_value:.2g}"
    _say(
        f"nu changes by {slope.per_decade:+.4f} for each tenfold h "
        f"(90% interval {interval_text(slope.interval, '.3f')}{p_value}).",
        console,
    )
    _say(SLOWER_LEARNING, console)
    if result.shifts:
        console.print(_shifts_table(result))
    for study in result.levels:
        console.print(_level_table(study))
        for sentence in level_sentences(study):
            _say(sentence, console)
    _say("p: of as much curvature (a quadratic term) by chance.", console)
    _say(sample_law_sentence(result), console)
    if result.predictions:
        console.print(_predictions_table(result))
    for warning in result.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def level_sentences(study: LevelStudy) -> list[str]:
    """What the common fit of a level says, and what never reaches it."""
    found = []
    if study.common is not None:
        fit = study.common
        sizes = f"{len(fit.sizes)} size{'' if len(fit.sizes) == 1 else 's'}"
        text = f"Return {study.level:.4g}: kappa = {short(fit.kappa)} for {sizes} together "
        text += f"(90% interval {interval_text(fit.intervals.get('kappa'), '.3g')})"
        if fit.power is not None and fit.affine_p is not None:
            text += f"; a free power of h - 2 + 1/h is {fit.power:.2f} "
            text += f"({interval_text(fit.intervals.get('power'), '.2f')}), affine: p = {fit.affine_p:.2g}"
        found.append(text + ".")
    missing = missing_text(study)
    return [*found, *([missing] if missing else [])]


def missing_text(study: LevelStudy) -> str:
    """The sizes that have no crossing, by reason and horizon; empty if there are none."""
    parts = []
    for reason in dict.fromkeys(cell.reason for cell in study.crossings if cell.reason):
        cells = [cell for cell in study.crossings if cell.reason == reason]
        listed = []
        for size in dict.fromkeys(cell.N for cell in cells):
            horizons = ", ".join(f"{cell.horizon:g}" for cell in cells if size == cell.N)
            name = "the optimal agent" if size is None else f"N = {short(size)}"
            listed.append(f"{name} at h = {horizons}")
        parts.append(f"{reason}: {'; '.join(listed)}")
    return f"Return {study.level:.4g}, left out: {'. '.join(parts)}." if parts else ""


def sample_law_sentence(result: HorizonResult) -> str:
    """The law of samples in words."""
    law = result.sample_law
    return (
        f"Interactions of a compute-optimal agent: E = {short(law.inherent)} (1 + {short(law.kappa)} "
        f"(h - 2 + 1/h)) (N/{short(law.size_ref)})^{1 / law.nu - 1:.3f}; 90% intervals: "
        f"{interval_text(law.intervals.get('inherent'), '.3g')}, "
        f"{interval_text(law.intervals.get('kappa'), '.3g')}, nu "
        f"{interval_text(law.intervals.get('nu'), '.3f')}."
    )


def _laws_table(result: HorizonResult) -> Table:
    title = f"Laws by horizon, sizes in {UNITS[result.size]}; below each: 90% interval"
    table = new_table(title, "h", "nu", "N_opt", "runs", "identified")
    for fit in result.fits:
        nu = f"{fit.nu:.3f}\n{interval_text(fit.intervals.get('nu'), '.3f')}"
        optimum = with_interval(fit.N_opt_ref, fit.intervals.get("N_opt_ref"))
        runs = f"{fit.num_runs} of {fit.num_sizes} sizes"
        table.add_row(f"{fit.horizon:g}", nu, optimum, runs, "yes" if fit.identified else "no")
    table.caption = f"N_opt at C = {short(result.compute)}"
    table.caption_justify = "left"
    return table


def _shifts_table(result: HorizonResult) -> Table:
    first = result.fits[0].horizon
    title = f"N_opt({short(result.compute)}) over that at h = {first:g}; below each: 90% interval"
    table = new_table(title, "h", "measured", "predicted, m^-nu")
    for item in result.shifts:
        predicted = with_interval(item.predicted, item.intervals.get("predicted"))
        table.add_row(f"{item.horizon:g}", with_interval(item.ratio, item.intervals.get("ratio")), predicted)
    return table


def _level_table(study: LevelStudy) -> Table:
    title = f"Interactions to a return of {study.level:.4g}: E = a + b (h - 2 + 1/h), kappa = b/a"
    table = new_table(title, "N", "a", "b", "kappa", "R²", "p")
    for line in study.lines:
        cells = []
        for name in ("a", "b", "kappa"):
            interval = line.intervals.get(name)
            bounds = "unbounded" if interval is None else interval_text(interval, ".2g").replace(" to ", "–")
            cells.append(f"{short(getattr(line, name))}\n{bounds}")
        curved = "" if line.quadratic_p is None else f"{line.quadratic_p:.2g}"
        label = "optimal" if line.N is None else short(line.N)
        table.add_row(f"{label}\n{line.num_horizons} h", *cells, f"{line.r_squared:.3f}", curved)
    return table


def _predictions_table(result: HorizonResult) -> Table:
    title = f"Interactions that a compute-optimal agent of N {UNITS[result.size]} needs"
    table = new_table(title, "N", "h", "interactions", "outside data")
    for item in result.predictions:
        value = with_interval(item.interactions, item.interval)
        table.add_row(short(item.N), f"{item.horizon:g}", value, outside_text(item))
    return table


def outside_text(item: Prediction) -> str:
    """Which of size and horizon is an extrapolation."""
    return " and ".join(item.outside) or "none"


def _say(sentence: str, console: Console) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
