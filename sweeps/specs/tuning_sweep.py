"""The sweep that tunes learning rates: its runs, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlscale.scaling.config.run import RunConfig
from rlscale.sweeps.specs.plan import PlannedSize
from rlscale.sweeps.specs.spec import AxisGroup, SweepSpec, Tuning, axis_names, expand, parse_spec, points_of
from rlscale.sweeps.store.names import tuning_name


@dataclass(frozen=True)
class Size:
    """A point of all axes except the seed.

    Attributes:
        values: what the axes are there, by the spec's names for them.
        config: its run at the base learning rate, with seed 0.
    """

    values: dict[str, Any]
    config: RunConfig

    @property
    def apart(self) -> dict[str, Any]:
        """The values that distinguish it from other sizes; the length only if nothing else does."""
        return {name: value for name, value in self.values.items() if name != "interactions"} or self.values

    def text_of(self, name: str) -> str:
        """The value of an axis, in few digits."""
        value = self.values[name]
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def label(self) -> str:
        """The distinguishing values as text."""
        return ", ".join(f"{name} {self.text_of(name)}" for name in self.apart) or "the one size"

    def step_size(self, rate: float) -> float:
        """Adam's step size in effect at a base rate."""
        from rlscale.scaling.config.model import step_size

        return step_size(rate, self.config.model)


# -- from the spec to the runs --------------------------------------------------------------


def sizes_of(spec: SweepSpec, source: str = "the spec") -> list[Size]:
    """The sizes of a sweep, in the order of its axes.

    Raises:
        InputError: if the spec does not expand, or its task has no agent whose learning rate could be tuned.
    """
    sizes: dict[str, Size] = {}
    for point, config in zip(points_of(spec.axes), expand(spec, source=source), strict=True):
        config.check_has_agent()
        unseeded = config.model_copy(update={"seed": 0})
        sizes.setdefault(unseeded.run_id, Size(without_seed(point), unseeded))
    return list(sizes.values())


def tuning_sweep(spec: SweepSpec, source: str = "the spec") -> SweepSpec:
    """The sweep that tries every rate of ``spec.tuning`` at each size.

    Raises:
        InputError: if the spec does not expand.
    """
    tuning = tuning_of(spec)
    sizes = sizes_of(spec, source)
    base = dict(spec.base)
    if "interactions" in base:
        base["interactions"] = shortened(base["interactions"], tuning)
    names = [name for name in axis_names(spec) if name != "seed"]
    listed = {name: [size.values[name] for size in sizes] for name in names}
    if "interactions" in listed:
        listed["interactions"] = [shortened(length, tuning) for length in listed["interactions"]]
    rates, seeds = list(tuning.learning_rate or ()), list(tuning.seeds)
    groups: list[AxisGroup] = [listed] if listed else []
    values = {
        "name": tuning_name(spec.name),
        "base": base,
        "axes": [*groups, {"learning_rate": rates}, {"seed": seeds}],
        "resources": spec.resources.model_dump(),
    }
    return parse_spec(values, source=f"the tuning of {source}")


def tuned_config(size: Size, tuning: Tuning, rate: float, seed: int) -> RunConfig:
    """One run of the tuning sweep."""
    config = size.config
    return config.model_copy(
        update={
            "agent": config.agent.model_copy(update={"learning_rate": rate}),
            "interactions": shortened(config.interactions, tuning),
            "seed": seed,
        }
    )


def shortened(interactions: int, tuning: Tuning) -> int:
    """Interactions of a tuning run, from those of the sweep's run."""
    return max(1, round(tuning.interactions * interactions))


def tuning_of(spec: SweepSpec) -> Tuning:
    """The spec's block ``tuning``, which callers have made sure of."""
    assert spec.tuning is not None, "callers check first that the spec has something to tune"
    return spec.tuning


def without_seed(point: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a point that make its size: all but the seed."""
    return {name: value for name, value in point.items() if name != "seed"}


@dataclass(frozen=True)
class TuningCost:
    """What tuning would cost; ``seconds``, one run after the other, is None if sizes were not timed."""

    rates: int
    seeds: int
    sizes: int
    runs: int
    interactions: int
    flops: float
    seconds: float | None


def tuning_cost(spec: SweepSpec, sizes: Sequence[PlannedSize]) -> TuningCost | None:
    """Estimate the cost from the plan of the sweep itself; None if there is nothing to tune."""
    tuning = spec.tuning
    if tuning is None or tuning.learning_rate is None:
        return None
    rates, seeds = len(tuning.learning_rate), len(tuning.seeds)
    each = rates * seeds
    seconds = [size.seconds for size in sizes if size.seconds is not None]
    return TuningCost(
        rates=rates,
        seeds=seeds,
        sizes=len(sizes),
        runs=each * len(sizes),
        interactions=each * sum(shortened(size.config.interactions, tuning) for size in sizes),
        flops=each * tuning.interactions * sum(size.flops for size in sizes),
        seconds=each * tuning.interactions * sum(seconds) if seconds else None,
    )
