"""The report's section on runs that do not train well: rows of its tables, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures.health import health_figure
from rlscale.analysis.fit.findings import RunHealth
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.health import TREATMENTS, health_sentence, signs_text
from rlscale.analysis.formatting.numbers import compact_count, fixed_point, interval_text
from rlscale.analysis.reports.figures import ReportFigure

_LISTED = 20


@dataclass(frozen=True)
class HealthSection:
    """All curves of a source, unhealthy ones too, and the health of each of their runs."""

    curves: Curves
    health: Sequence[RunHealth]

    @property
    def has_something_to_show(self) -> bool:
        """Whether a run is ill or has measured its representation."""
        return bool(self.curves.metrics) or any(run.state != "healthy" for run in self.health)


def health_context(fit: FitResult, section: HealthSection | None) -> dict[str, Any] | None:
    """What the template shows; None if there is nothing."""
    study = fit.health
    if section is None or study is None or not section.has_something_to_show:
        return None
    return {
        "sentence": health_sentence(study),
        "runs": [
            {"run_id": run.run_id, "N": compact_count(run.N), "state": run.state, "signs": signs_text(run)}
            for run in study.runs[:_LISTED]
        ],
        "more": max(0, len(study.runs) - _LISTED),
        "laws": [
            {
                "name": TREATMENTS[how],
                "option": how,
                "nu": fixed_point(refit.nu, 3),
                "nu_interval": interval_text(refit.intervals.get("nu"), ".3f"),
                "identified": "yes" if refit.identified else "no",
                "used": how == study.unhealthy,
            }
            for how, refit in study.refits.items()
        ],
        "refused": [{"option": how, "why": why} for how, why in study.refused.items()],
    }


def health_figures(section: HealthSection | None) -> list[ReportFigure]:
    """Returns and metrics by size, coloured by health."""
    if section is None or not section.has_something_to_show:
        return []
    return [
        ReportFigure(
            "health",
            "Health of the runs",
            "Returns and metrics of the policy's representation against interactions, a column a size. A "
            "dot marks where a run fell ill: from there on it had lost a part of what it had gained, or its "
            "policy no longer told states apart. Sizes whose runs fall ill look worse than they are. A panel "
            "is empty where a metric has no value, as ranks do of more units than observations.",
            _seen(section.health),
            lambda _, __: health_figure(section.curves, section.health),
        )
    ]


def _seen(health: Sequence[RunHealth]) -> str:
    ill = [run for run in health if run.state != "healthy"]
    text = f"{len(health) - len(ill)} of {len(health)} runs are healthy to their end."
    if not ill:
        return text
    began = [run.began for run in ill if run.began is not None]
    first = f", the first from {compact_count(min(began))} interactions on" if began else ""
    collapsed = sum(run.state == "collapsed" for run in ill)
    return f"{text} {collapsed} collapse and {len(ill) - collapsed} degrade{first}."
