"""The config of one run; its hash is the run's id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.config.perceptron import PerceptronConfig
from rlscale.scaling.config.reading import Frozen, as_value_error, load_yaml, validated
from rlscale.scaling.errors import InputError
from rlscale.scaling.modules import modules_in, name_modules
from rlscale.scaling.tasks.catalog import (
    SOLVABLE_TASKS,
    Continuous,
    SolvableTask,
    Task,
    Vectors,
    find_task,
    refuse_solvable,
)
from rlscale.scaling.tasks.wrappers import NO_WRAPPERS, Wrappers
from rlscale.scaling.wording import either


class LevelsConfig(Frozen):
    """Procgen's levels to train on: start_level .. start_level + num_levels - 1."""

    num_levels: int | None = Field(None, description="number of levels; leave it out for an unlimited number")
    start_level: int = Field(0, description="the first level")


class DiagnosticsConfig(Frozen):
    """Metrics of representation and trust beside the training, which they do not change."""

    every: int = Field(
        ge=1,
        description="interactions between measurements, which happen at ends of iterations; a thousandth of "
        "the run is usual",
    )
    batch: int = Field(
        1024,
        ge=2,
        description="observations to measure the features on; at most the whole batch of an iteration",
    )


class RunConfig(Frozen):
    """Everything that decides what a run computes; ``run_id`` is its hash."""

    task: str = Field(
        description="mnist-bandit, digits-bandit, procgen-<game>-<mode>, gymnasium:<id> or module:Class, or "
        f"a task that brings its own learner: {', '.join(SOLVABLE_TASKS)}"
    )
    wrappers: Wrappers = Field(
        NO_WRAPPERS, description="what is around the environment; only for gymnasium:<id>"
    )
    levels: LevelsConfig = Field(LevelsConfig(), description="levels to train on; only for Procgen")
    evaluation_episodes: int = Field(
        0, ge=0, description="episodes on unseen levels at each checkpoint, beside the training; 0 for none"
    )
    interactions: int = Field(ge=1, description="length of the run in environment steps")
    seed: int = Field(0, ge=0, description="seed of all random streams; another seed is another run")
    model: ModelConfig = Field(ModelConfig(), description="the network")
    agent: AgentConfig = Field(AgentConfig(), description="the algorithm")
    diagnostics: DiagnosticsConfig | None = Field(
        None, description="metrics of representation and trust in the curve; leave it out for none"
    )
    perceptron: PerceptronConfig | None = Field(
        None, description="students, teacher and rewards; only for rl-perceptron"
    )
    in_context: InContextConfig | None = Field(
        None, description="reward processes, prompts and transformer; only for in-context-td"
    )
    rows_per_decade: int = Field(100, ge=1, description="rows of the curve per factor 10 of interactions")
    checkpoints: int = Field(
        20, ge=1, description="number, evenly spaced in interactions, the last at the end"
    )
    keep_checkpoints: bool = Field(
        False, description="keep every checkpoint, also after the run, for rlscale capacity and distill"
    )
    threads: int = Field(1, ge=1, description="CPU threads; sums depend on it in their last bits")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the trunks; weights, heads and losses are always float32"
    )

    @property
    def task_entry(self) -> Task:
        """The task's entry in the catalogue.

        Raises:
            InputError: if the task brings its own learner (code ``own_learner``).
        """
        return find_task(self.task, self.wrappers)

    @property
    def solvable_task(self) -> SolvableTask | None:
        """The task's entry if it brings its own learner, else None."""
        return SOLVABLE_TASKS.get(self.task)

    def check_has_agent(self) -> None:
        """Refuse tasks that bring their own learner, for what changes or measures agents and networks.

        Raises:
            InputError: code ``own_learner``.
        """
        refuse_solvable(self.task)

    @property
    def entry(self) -> Task | SolvableTask:
        """The task's entry, of either kind."""
        return self.solvable_task or self.task_entry

    @property
    def settings(self) -> Any:
        """The section of a task that brings its own learner; None for the others."""
        task = self.solvable_task
        return None if task is None else getattr(self, task.section)

    @field_validator("task")
    @classmethod
    def _task_exists(cls, task: str) -> str:
        if task in SOLVABLE_TASKS:
            return task
        with as_value_error():
            return find_task(task).name

    @model_validator(mode="before")
    @classmethod
    def _sections_fit(cls, values: Any) -> Any:
        """A task that brings its own learner gets its section, and has nothing of the others."""
        if not isinstance(values, dict):
            return values
        name = values.get("task")
        task = SOLVABLE_TASKS.get(name) if isinstance(name, str) else None
        for other in SOLVABLE_TASKS.values():
            if other is not task and values.get(other.section) is not None:
                raise ValueError(f"{other.section} is for {other.name}: leave it out for {name}")
        if task is None:
            return values
        for field in OF_AGENTS:
            if field in values:
                axes = [short for short, path in ALIASES.items() if path.startswith(f"{field}.")]
                also = f", and the axes {', '.join(axes)}" if axes else ""
                raise ValueError(
                    f"{name} brings its own learner, which {task.section} sets: leave {field} out{also}"
                )
        return {**values, task.section: values.get(task.section) or {}}

    @model_serializer(mode="wrap")
    def _what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """All fields but those that mean nothing for the task."""
        values: dict[str, Any] = handler(self)
        task = self.solvable_task
        unused = {each.section for each in SOLVABLE_TASKS.values() if each is not task}
        if task is not None:
            unused.update(OF_AGENTS)
        return {name: value for name, value in values.items() if name not in unused}

    @model_validator(mode="before")
    @classmethod
    def _default_family(cls, values: Any) -> Any:
        """A model without a family gets the task's default one."""
        model = values.get("model", {}) if isinstance(values, dict) else None
        if not isinstance(model, dict) or "family" in model:
            return values
        try:
            entry = find_task(str(values.get("task", "")))
        except InputError:  # which the field says itself
            return values
        return {**values, "model": {**model, "family": entry.default_family}}

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        if self.solvable_task is not None:
            return self
        with as_value_error("'wrappers': " if self.wrappers else ""):
            entry = self.task_entry
        if self.model.family not in entry.families and not self.model.is_own:
            raise ValueError(
                f"model.family {self.model.family} does not fit {self.task}, "
                f"which needs {' or '.join(entry.families)}"
            )
        if entry.check_levels is None and (self.levels != LevelsConfig() or self.evaluation_episodes):
            raise ValueError(f"{self.task} has no levels: leave levels and evaluation_episodes out")
        if entry.kind == "environment" and self.agent.gamma == 0:
            usual = "99 is gamma 0.98" if ":" in self.task else "Procgen's papers use 1999 (gamma 0.999)"
            raise ValueError(f"agent.horizon is 1, a discount of 0; {usual}")
        if self.model.is_recurrent and entry.kind == "bandit":
            raise ValueError(
                f"{self.task} is a bandit, whose steps have nothing to do with each other: "
                f"leave model.recurrent out"
            )
        if self.model.is_recurrent and self.agent.minibatches > self.agent.num_envs:
            raise ValueError(
                f"networks with memory are trained on whole rollouts of single environments: "
                f"agent.minibatches ({self.agent.minibatches}) must divide agent.num_envs "
                f"({self.agent.num_envs})"
            )
        if self.agent.minibatch_of == "steps" and self.model.is_recurrent:
            raise ValueError(
                f"model.family {self.model.family} is trained on whole rollouts: leave agent.minibatch_of out"
            )
        if self.agent.normalize_observation != "off" and not isinstance(entry.observations, Vectors):
            raise ValueError(
                f"agent.normalize_observation is for observations that are vectors, and those of {self.task} "
                f"are images: leave it out"
            )
        if self.agent.policy != "tanh-normal" and not isinstance(entry.actions, Continuous):
            raise ValueError(
                f"agent.policy {self.agent.policy} is for actions that are numbers, and those of {self.task} "
                f"are choices: leave it out"
            )
        if entry.check_levels is not None:
            with as_value_error("'levels': "):
                entry.check_levels(self.levels.num_levels, self.levels.start_level)
        return self

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the complete config as canonical JSON.

        Fields of ``LATER_FIELDS`` count only where they differ from their default, so that the
        runs of a store keep their names when a config gains a field.
        """
        values = self.model_dump(mode="json")
        for path, default in sorted(LATER_FIELDS.items(), reverse=True):  # inner fields first
            *parents, name = path.split(".")
            place = values
            for parent in parents:
                place = place.get(parent, {})
            if name in place and place[name] == default:
                del place[name]
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


#: Fields that mean nothing where a task brings its own learner.
OF_AGENTS = ("wrappers", "levels", "evaluation_episodes", "model", "agent", "diagnostics", "precision")

#: Fields that were added after the first runs were stored, and the default that means "as before".
LATER_FIELDS = {
    "agent.architecture": "dual",
    "agent.policy": "tanh-normal",
    "agent.phasic": None,
    "levels": {"num_levels": None, "start_level": 0},
    "evaluation_episodes": 0,
    "keep_checkpoints": False,
    "precision": "float32",
    "model.activation": "tanh",
    "model.recurrent": None,
    "model.hidden_size": None,
    "wrappers": {"atari": None, "time": False},
    "wrappers.survival": None,
    "agent.minibatch_of": "sequences",
    "agent.normalize_advantage_of": "iteration",
    "agent.normalize_observation": "off",
    "agent.sign_reward": False,
    "agent.max_grad_norm": 0.0,
    "agent.feature_penalty": None,
    "agent.reset_adam": False,
    "agent.reward_mask": 0.0,
    "model.layer_norm": False,
    "model.initialization": "normed",
    "diagnostics": None,
}


def with_later_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config with the default of each field that was added after it was stored.

    A run that was imported has no agent; what its record says of it stays as it is.
    """
    filled = dict(values)
    if "agent" not in filled:
        return filled
    for path, default in sorted(LATER_FIELDS.items()):  # inner fields last
        *parents, name = path.split(".")
        place = filled
        for parent in parents:
            group = place.get(parent)
            if not isinstance(group, Mapping):
                break
            place[parent] = dict(group)
            place = place[parent]
        else:
            place.setdefault(name, default)
    return filled


#: Short names of the axes that sweeps and curve columns use, and where they live in the config.
ALIASES = {
    "family": "model.family",
    "width": "model.width",
    "depth": "model.depth",
    "algorithm": "agent.algorithm",
    "horizon": "agent.horizon",
    "learning_rate": "agent.learning_rate",
}


def run_config(values: Mapping[str, Any], *, source: str) -> RunConfig:
    """Validate a run config; ``source`` names the file in the message.

    Raises:
        InputError: naming the first field that is wrong and the remedy.
    """
    return validated(RunConfig, values, source=source)


def load_run_config(path: Path) -> RunConfig:
    """Read and validate one run's YAML config; imports the modules that it names.

    Raises:
        InputError: if the file cannot be read or a field is wrong.
    """
    values = load_yaml(path)
    if "axes" in values and "task" not in values:
        raise InputError(
            f"{path} is the spec of a sweep, of many runs: "
            + either(f"run it with rlscale sweep run {path} --store STORE.", "read it with load_spec."),
            code="not_a_run",
        )
    name_modules(modules_in(values))
    return run_config(values, source=str(path))
