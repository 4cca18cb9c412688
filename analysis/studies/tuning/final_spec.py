"""The spec of the final sweep: each size with the learning rate that tuning found for it."""

from __future__ import annotations

from typing import Any

from rlscale.analysis.studies.tuning.study import TuningStudy, listed_sizes
from rlscale.scaling.errors import RlscaleError
from rlscale.sweeps.specs.spec import SweepSpec, Tuning, expand, parse_spec, points_of
from rlscale.sweeps.specs.tuning_sweep import Size, tuned_config, without_seed

_WHOLE = Tuning(interactions=1.0)


def final_values(spec: SweepSpec, study: TuningStudy | None, source: str = "the spec") -> dict[str, Any]:
    """The spec of the final sweep as the content of its YAML file: each size with its best rate.

    Without a study it is the spec without its ``tuning``, so that the paper's rule holds.

    Raises:
        RlscaleError: if a size has no best rate.
    """
    values = spec.model_dump(mode="json", exclude={"tuning"}, exclude_defaults=True)
    if study is None:
        return values
    unknown = [result.size.label for result in study.sizes if result.best is None]
    if unknown:
        raise RlscaleError(
            f"The final spec cannot be written yet: no rate is known for "
            f"{listed_sizes(unknown, len(study.sizes))}.",
            code="no_best_rate",
        )
    rates = {result.size.config.run_id: rounded(result.best.rate) for result in study.sizes if result.best}
    sizes = {
        repr(without_seed(point)): config.model_copy(update={"seed": 0}).run_id
        for point, config in zip(points_of(spec.axes), expand(spec, source=source), strict=True)
    }
    rows = list(points_of(group for group in spec.axes if set(group) != {"seed"}))
    listed = {name: [row[name] for row in rows] for name in rows[0]}
    listed["learning_rate"] = [rates[sizes[repr(without_seed(row))]] for row in rows]
    values["axes"] = [listed, *(group for group in spec.axes if set(group) == {"seed"})]
    _check_same_runs(spec, parse_spec(values, source="the final spec"), source)
    return values


def _check_same_runs(spec: SweepSpec, final: SweepSpec, source: str) -> None:
    """Check that the final sweep has the runs of the spec, except for their rates."""
    before, after = (
        sorted(tuned_config(Size({}, config), _WHOLE, 0.0, config.seed).run_id for config in expand(each))
        for each in (spec, final)
    )
    if before != after or spec.name != final.name:
        raise RlscaleError(
            f"The final spec would not have the runs of {source}; nothing is written.", code="other_runs"
        )


def rounded(rate: float) -> float:
    """A rate to three significant digits, as the final spec has it."""
    return float(f"{rate:.3g}")
