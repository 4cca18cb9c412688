"""Sweep specs: a base config and axes, expanded into run configs. Pure data, no Ray.

    name: mnist-width
    base: {task: mnist-bandit, interactions: 1000000}
    axes:
      width: [0.25, 0.5, 1]            # each axis alone: the grid is their product
      seed: [0, 1, 2]

Axes given as a list may name several fields each, whose values are then taken together, so that each size
can have its own length:

    axes:
      - {width: [0.25, 0.5, 1], interactions: [4000000, 2000000, 1000000]}
      - {seed: [0, 1, 2]}

``resources`` sets what a run asks of Ray and which faults it survives; ``tuning`` the learning rates that
``rlscale sweep tune`` tries at each size:

    resources: {num_cpus: 2, memory: 4 GB, max_deaths: 3}

    tuning: {learning_rate: {low: 1.0e-4, high: 1.0e-2, points: 5}, interactions: 0.25, seeds: [0, 1, 2]}

Instead of axes, ``auto`` gives bounds in which runs are chosen (``rlscale.sweeps.specs.auto``).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from rlscale.scaling.config.reading import Frozen, field_paths, load_yaml, validated
from rlscale.scaling.config.run import ALIASES, RunConfig, run_config
from rlscale.scaling.errors import InputError, InvalidConfig
from rlscale.scaling.modules import modules_in, name_modules
from rlscale.scaling.wording import did_you_mean, either
from rlscale.sweeps.specs.auto import AutoBounds, without_axes
from rlscale.sweeps.store.run_store import check_name

AxisGroup = dict[str, list[Any]]


class Resources(Frozen):
    """Resources and fault limits of one run."""

    num_cpus: float | None = Field(None, gt=0, description="default: the run's threads")
    num_gpus: float = Field(0.0, ge=0, description="0.25 lets four runs share a GPU")
    memory: float | None = Field(
        None, gt=0, description="bytes, or as in '4 GB'; default: estimated from the model and the batch"
    )
    max_deaths: int = Field(
        3,
        ge=0,
        description="fail after more than this many consecutive worker deaths without a new checkpoint; "
        "deaths of nodes do not count",
    )
    store_patience: float = Field(
        600.0, ge=0, description="seconds that a run waits for a store that it cannot write"
    )

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_in_bytes(cls, memory: Any) -> Any:
        if not isinstance(memory, str):
            return memory
        match = re.fullmatch(r"([0-9.]+) *([kMGT])B", memory.strip())
        if match is None:
            raise ValueError("write bytes as a number, or with a unit as in '500 MB' or '4 GB'")
        return float(match[1]) * 10.0 ** (3 * (1 + "kMGT".index(match[2])))


class RateRange(Frozen):
    """Learning rates evenly spaced in their logarithm, including both ends."""

    low: float = Field(gt=0, description="the smallest rate")
    high: float = Field(gt=0, description="the largest rate")
    points: int = Field(5, ge=2, le=100, description="how many rates")

    @property
    def rates(self) -> list[float]:
        """Ascending, rounded to three significant digits."""
        steps = [self.low * (self.high / self.low) ** (i / (self.points - 1)) for i in range(self.points)]
        return [float(f"{rate:.3g}") for rate in steps]


class Tuning(Frozen):
    """How ``rlscale sweep tune`` finds a learning rate for each size: each point of all axes except the seed.

    Rates are base rates, that is, Adam's step size at width 1; the step size in effect decreases with width
    and depth by the paper's rule. Without rates, only that rule applies, with one base rate for all sizes.

    With a quarter of a run's length, 5 rates and 3 seeds cost about as much as the sweep itself with 3 or 4
    seeds. Shorter runs favour larger rates; use a larger share where that matters. The 90% interval of the
    mean of n seeds extends 2.9 standard errors to each side for n = 3, and 6.3 for n = 2.
    """

    learning_rate: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="a list, or {low: ..., high: ..., points: ...}; stored in ascending order"
    )
    interactions: float = Field(0.25, gt=0, le=1, description="share of each run's length")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, description="seeds of each rate at each size"
    )

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _range_as_rates(cls, given: Any) -> Any:
        if isinstance(given, dict):
            try:
                spread = validated(RateRange, given, source="the range")
            except InputError as error:
                raise ValueError(str(error).rstrip(".")) from error
            if spread.high <= spread.low:
                raise ValueError("'high' of the range must be above its 'low'")
            return spread.rates
        if given is not None and not isinstance(given, list | tuple):
            raise ValueError(
                "give a list of rates, or a range such as {low: 1.0e-4, high: 1.0e-2, points: 5}"
            )
        return given

    @field_validator("learning_rate")
    @classmethod
    def _rates_differ(cls, rates: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if rates is None:
            return None
        if len(rates) < 2:
            raise ValueError("give at least two rates to compare, or leave it out for the paper's rule")
        if len(set(rates)) < len(rates):
            raise ValueError("a rate is given twice; remove one")
        return tuple(sorted(rates))

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given twice; remove one")
        return seeds


class SweepSpec(Frozen):
    """A sweep as its YAML file states it."""

    name: str = Field(description="name of the sweep, a folder of the store")
    base: dict[str, Any] = Field(description="run config that all runs share")
    axes: tuple[AxisGroup, ...] = Field(description="values that vary; names in one entry vary together")
    resources: Resources = Field(Resources(), description="resources and fault limits of a run")
    tuning: Tuning | None = Field(None, description="search for learning rates; none without it")
    auto: AutoBounds | None = Field(None, description="bounds in which runs are chosen, instead of axes")
    max_runs: int = Field(100_000, ge=1, description="most runs that the axes may make")

    @model_validator(mode="before")
    @classmethod
    def _axes_or_bounds(cls, values: Any) -> Any:
        return without_axes(values)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        try:
            return check_name(name, "sweep name")
        except InputError as error:
            raise ValueError(str(error).rstrip(".")) from error

    @field_validator("axes", mode="before")
    @classmethod
    def _each_axis_alone(cls, axes: Any) -> Any:
        groups = [{name: values} for name, values in axes.items()] if isinstance(axes, dict) else axes
        for group in groups if isinstance(groups, list) else ():
            for name, values in group.items() if isinstance(group, dict) else ():
                if not isinstance(values, list):
                    raise ValueError(f"the axis {name!r} needs a list of values, such as [0, 1]")
        return groups


def load_spec(path: Path) -> SweepSpec:
    """Read a sweep spec; imports the modules that it names.

    Raises:
        InputError: naming the file, field and remedy.
    """
    values = load_yaml(path)
    if "task" in values and not {"base", "axes"} & values.keys():
        raise InputError(
            f"{path} is the config of one run, not the spec of a sweep: "
            + either(f"train it with rlscale train {path} --store STORE", "read it with load_run_config")
            + ", or write it under 'base' and add 'name' and 'axes'.",
            code="not_a_spec",
        )
    name_modules(modules_in(values))
    return parse_spec(values, source=str(path))


def parse_spec(values: Mapping[str, Any], *, source: str) -> SweepSpec:
    """Validate the values of a spec, including its axes; see ``load_spec``."""
    spec = validated(SweepSpec, values, source=source)
    checks = (_faults_of_base, _faults_of_axes, _faults_of_tuning, _faults_of_auto)
    faults = [fault for check in checks for fault in check(spec)]
    if faults:
        ended = [fault if fault.endswith("?") else f"{fault}." for fault in faults]
        raise InvalidConfig(source, ended, code="invalid_spec")
    return spec


def _faults_of_base(spec: SweepSpec) -> Iterator[str]:
    for name in spec.base:
        if _path(name) != name or "." in name:
            yield f"write {name!r} of 'base' as {_nested(_path(name))}"


def _faults_of_axes(spec: SweepSpec) -> Iterator[str]:
    names = axis_names(spec)
    paths = [_path(name) for name in names]
    known = _axis_names()
    for place, (name, path) in enumerate(zip(names, paths, strict=True)):
        if not any(each == path or each.startswith(f"{path}.") for each in field_paths(RunConfig)):
            meant = did_you_mean(name, [*known, *ALIASES.values()])
            if meant is not None:
                yield f"unknown axis {name!r}; did you mean {meant!r}?"
            else:
                yield f"unknown axis {name!r}; known: {', '.join(known)}"
        if path in paths[:place]:
            yield f"the axis {name!r} is given twice; merge its values"
        for outer in names:
            if path.startswith(f"{outer}."):
                yield f"the axis {name!r} is part of the axis {outer!r}; keep one"
    for group in spec.axes:
        lengths = {name: len(values) for name, values in group.items()}
        for name, count in lengths.items():
            if not count:
                yield f"the axis {name!r} is empty; give it values or remove it"
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            yield f"axes that go together need equally many values, but {listed}; or separate them"


def _faults_of_tuning(spec: SweepSpec) -> Iterator[str]:
    """The learning rate cannot be tuned and be an axis, or part of one."""
    if spec.tuning is None or spec.tuning.learning_rate is None:
        return
    tuned = _path("learning_rate")
    for name in axis_names(spec):
        if _path(name) == tuned:
            yield f"{name!r} is an axis and is tuned; remove it from 'axes' or 'tuning'"
        elif tuned.startswith(f"{_path(name)}."):
            yield (
                f"the axis {name!r} holds the learning rate, which is tuned; name the fields that vary "
                f"separately, such as agent.clip"
            )


def _faults_of_auto(spec: SweepSpec) -> list[str]:
    """Bounds replace the axes, and what they choose is not set otherwise."""
    if spec.auto is None:
        return []
    found = [f"'auto' chooses {n}; remove it from 'base'" for n in ("interactions", "seed") if n in spec.base]
    if spec.axes:
        found.append("give 'axes' or 'auto', not both")
    if spec.tuning is not None:
        found.append("runs chosen by 'auto' are not tuned; tune a grid, and put the rate into 'base'")
    if "width" in (spec.base.get("model") or {}):
        found.append("'auto' chooses the width; remove it from 'model'")
    return found


def axis_names(spec: SweepSpec) -> list[str]:
    """The axes as the spec names them, in order."""
    return [name for group in spec.axes for name in group]


def expand(spec: SweepSpec, *, source: str = "the spec") -> tuple[RunConfig, ...]:
    """All run configs of a spec, in the order of its axes.

    The configs of the last spec are kept: 10,000 take 0.7 s, and a command needs them several times.

    Raises:
        InputError: if a value does not fit the config, two points of the grid are one run, or the spec gives
            bounds instead of a grid.
    """
    if spec.auto is not None:
        raise InputError(
            f"{source}: the spec gives bounds (auto) and no grid; run it with: rlscale sweep auto.",
            code="no_grid",
        )
    key = repr((spec.base, spec.axes))
    if key not in _LAST_EXPANDED:
        configs = _expanded(spec, source)
        _LAST_EXPANDED.clear()
        _LAST_EXPANDED[key] = configs
        return configs
    return _LAST_EXPANDED[key]


_LAST_EXPANDED: dict[str, tuple[RunConfig, ...]] = {}


def _expanded(spec: SweepSpec, source: str) -> tuple[RunConfig, ...]:
    count = math.prod(len(next(iter(group.values()))) for group in spec.axes)
    if count > spec.max_runs:
        raise InputError(
            f"{source}: the axes make {count:,} runs, more than max_runs allows ({spec.max_runs:,}); "
            f"shorten an axis, let axes vary together, or raise max_runs.",
            code="too_many_runs",
        )
    configs: dict[str, RunConfig] = {}
    parts: dict[Frozen, Frozen] = {}
    for point in points_of(spec.axes):
        values = _with(spec.base, point, source)
        listed = ", ".join(f"{name}={value}" for name, value in point.items())
        config = _sharing(run_config(values, source=f"{source} ({listed})" if listed else source), parts)
        run_id = config.run_id
        if run_id in configs:
            raise InputError(
                f"{source}: two points of the grid are the same run ({listed}); remove one.",
                code="invalid_spec",
            )
        configs[run_id] = config
    return tuple(configs.values())


def points_of(axes: Iterable[AxisGroup]) -> Iterator[dict[str, Any]]:
    """The points of the grid, the last group varying fastest; one without values if there are no axes."""
    groups = [
        [dict(zip(group, row, strict=True)) for row in zip(*group.values(), strict=True)] for group in axes
    ]
    for combination in itertools.product(*groups):
        yield {name: value for part in combination for name, value in part.items()}


def _sharing(config: RunConfig, parts: dict[Frozen, Frozen]) -> RunConfig:
    """The same config, sharing equal parts with earlier ones, which takes a third of the memory."""
    groups = {name: value for name, value in config if isinstance(value, Frozen)}
    return config.model_copy(update={name: parts.setdefault(value, value) for name, value in groups.items()})


def _with(base: Mapping[str, Any], point: Mapping[str, Any], source: str) -> dict[str, Any]:
    values = _copied(base)
    for name, value in point.items():
        *parents, last = _path(name).split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InputError(
                    f"{source}: the axis {name!r} needs {parent!r} of 'base' to be a group of fields.",
                    code="invalid_spec",
                )
        place[last] = value
    return values


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _path(name: str) -> str:
    return ALIASES.get(name, name)


def _nested(path: str) -> str:
    """``a.b.c`` as YAML: ``a: {b: {c: ...}}``."""
    first, *others = path.split(".")
    return f"{first}: " + "".join(f"{{{part}: " for part in others) + "..." + "}" * len(others)


def _axis_names() -> list[str]:
    """Every field that an axis can name, the short names first."""
    return [*ALIASES, *(path for path in field_paths(RunConfig) if path not in ALIASES.values())]
