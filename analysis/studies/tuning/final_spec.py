"""The spec of the final sweep: each size with the learning rate that tuning found for it."""

from __future__ import annotations

from typing import Any

from rlscale.analysis.studies.tuning.study import SizeResult, TuningStudy, listed_sizes
from rlscale.scaling.errors import RlscaleError
from rlscale.sweeps.specs.spec import SweepSpec, Tuning, expand, parse_spec, points_of
from rlscale.sweeps.specs.tuning_sweep import Size, tuned_config, without_seed

_WHOLE = Tuning(interactions=1.0)


def final_values(spec: SweepSpec, study: TuningStudy | None, source: str = "the spec") -> dict[str, Any]:
    """The spec of the final sweep, as its YAML file would hold it: each size with its best rate.

    Without a study, by the paper's rule, it is the spec without its ``tuning``.

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
            f"{listed_sizes(unknown, len(study.sizes))}."
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
    """The final sweep has the runs of the spec, but for their rates."""
    before, after = (
        sorted(tuned_config(Size({}, config), _WHOLE, 0.0, config.seed).run_id for config in expand(each))
        for each in (spec, final)
    )
    if before != after or spec.name != final.name:
        raise RlscaleError(f"The final spec would not have the runs of {source}; nothing is written.")


def heading(study: TuningStudy) -> str:
    """Where the rates of the final spec come from, in a few lines."""
    tuning, rates = study.tuning, study.rates
    lines = [
        f"Learning rates by rlscale sweep tune, sweep {study.sweep}: {len(rates)} base rates of {rates[0]:g}",
        f"to {rates[-1]:g}, {len(tuning.seeds)} seeds, {tuning.interactions:g} of each run's length. "
        f"Best rate and its 90% interval:",
    ]
    for result in study.sizes:
        if result.best is not None:
            lines.append(f"  {result.size.label}: {rounded(result.best.rate):g} ({rate_interval(result)})")
    lines += [f"Warning: {warning}" for warning in study.warnings]
    return "\n".join(" ".join(line.split("\n")) for line in lines)


def rounded(rate: float) -> float:
    """A rate to three significant digits, as the final spec has it."""
    return float(f"{rate:.3g}")


def rate_interval(result: SizeResult) -> str:
    """The interval of the best rate, marked where only the grid ends it."""
    best = result.best
    if best is None or best.interval is None:
        return "unknown"
    at_low, at_high = result.ends_of_grid(best.interval)
    low, high = best.interval
    return f"{'≤ ' if at_low else ''}{low:.3g} to {'≥ ' if at_high else ''}{high:.3g}"


def interval_text(interval: tuple[float, float] | None, form: str = ".3g") -> str:
    """``0.001 to 0.002``, or ``unknown``."""
    return "unknown" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
