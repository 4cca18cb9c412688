"""Sentences about a horizon study, shared by terminal and report."""

from __future__ import annotations

from rlscale.analysis.formatting.numbers import brief_number, counted, interval_text
from rlscale.analysis.studies.horizon.result import HorizonResult, LevelStudy, Prediction

#: What a change of nu with the horizon may come from besides the horizon.
SLOWER_LEARNING = (
    "A longer horizon learns more slowly, so equal interactions show an earlier stretch of learning: if "
    "nu differs between periods of training (rlscale fit --periods), it differs between horizons too."
)


def level_sentences(study: LevelStudy) -> list[str]:
    """What the common fit of a level says, and what never reaches it."""
    found = []
    if study.common is not None:
        fit = study.common
        sizes = counted(len(fit.sizes), "size")
        text = f"Return {study.level:.4g}: kappa = {brief_number(fit.kappa)} for {sizes} together "
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
            name = "the optimal agent" if size is None else f"N = {brief_number(size)}"
            listed.append(f"{name} at h = {horizons}")
        parts.append(f"{reason}: {'; '.join(listed)}")
    return f"Return {study.level:.4g}, left out: {'. '.join(parts)}." if parts else ""


def sample_law_sentence(result: HorizonResult) -> str:
    """The law of samples in words."""
    law = result.sample_law
    return (
        f"Interactions of a compute-optimal agent: E = {brief_number(law.inherent)} "
        f"(1 + {brief_number(law.kappa)} (h - 2 + 1/h)) (N/{brief_number(law.size_ref)})^{1 / law.nu - 1:.3f}"
        f"; 90% intervals: "
        f"{interval_text(law.intervals.get('inherent'), '.3g')}, "
        f"{interval_text(law.intervals.get('kappa'), '.3g')}, nu "
        f"{interval_text(law.intervals.get('nu'), '.3f')}."
    )


def outside_text(item: Prediction) -> str:
    """Which of size and horizon is an extrapolation."""
    return " and ".join(item.outside) or "none"
