"""Frozen configs of one training run: YAML in, JSON out, unknown keys rejected.

Every default that the papers give is theirs; what they leave open says so beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from scaling.envs.procgen_names import check_levels, is_procgen, parse_task
from scaling.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


#: Depth of each family's default member: hidden dense layers, or residual blocks per stack.
DEFAULT_DEPTHS = {"mnist-cnn": 1, "impala": 2, "impala-lstm": 2}


class ModelConfig(Frozen):
    """A member of a model family."""

    family: Literal["mnist-cnn", "impala", "impala-lstm"] = "mnist-cnn"
    width: float = Field(1.0, gt=0, description="multiplier of the family's channels and dense units")
    depth: int = Field(
        DEFAULT_DEPTHS["mnist-cnn"],
        ge=1,
        le=64,
        description="hidden dense layers (mnist-cnn), residual blocks per stack (impala)",
    )

    @property
    def is_recurrent(self) -> bool:
        return self.family == "impala-lstm"

    @model_validator(mode="before")
    @classmethod
    def _default_depth(cls, values: Any) -> Any:
        if isinstance(values, dict) and "depth" not in values:
            family = str(values.get("family", "mnist-cnn"))
            return {**values, "depth": DEFAULT_DEPTHS.get(family, 1)}
        return values


class BatchGrowth(Frozen):
    """The iteration batch grows as a power of the interactions so far, in doublings.

    B(E) = B_min * 2^floor(exponent * log2(E / reference)), never below B_min, the batch that
    ``num_envs`` and ``rollout_steps`` give. It is the power-law summary of a greedy schedule
    (Hilton et al. 2023, section on batch size); exponent 0 keeps the batch fixed.
    """

    exponent: float = Field(0.0, ge=0, le=1)
    reference: int = Field(100_000, ge=1, description="interactions at which the growth begins")


class PhasicConfig(Frozen):
    """The auxiliary phase of PPG (Cobbe et al. 2020), defaults as in arXiv 2110.00641."""

    policy_iterations: int = Field(32, ge=0, description="n_pi, iterations a phase; 0 leaves PPO")
    auxiliary_epochs: int = Field(6, ge=0, description="E_aux, epochs over what a phase stored; 0 leaves PPO")
    clone_coef: float = Field(1.0, ge=0, description="beta_clone, weight of KL(policy before || policy)")
    value_coef: float = Field(1.0, ge=0, description="weight of the true value head's loss")
    sequences: int = Field(16, ge=1, description="rollouts of single environments in a minibatch")
    learning_rate: float = Field(5e-4, ge=0, description="Adam step size of the auxiliary phase at width 1")


class AgentConfig(Frozen):
    """PPO, PPG and their EWMA variants (Hilton, Cobbe, Schulman 2021, arXiv 2110.00641)."""

    algorithm: Literal["ppo", "ppo-ewma", "ppg", "ppg-ewma"] = "ppo-ewma"
    architecture: Literal["dual", "shared", "detach"] = Field(
        "dual",
        description="policy and value networks apart, one network, or one whose value head is detached",
    )
    phasic: PhasicConfig | None = Field(None, description="of ppg and ppg-ewma alone")
    learning_rate: float = Field(5e-4, ge=0, description="Adam step size at width 1")
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = Field(1e-8, gt=0)
    horizon: float = Field(1.0, ge=1, description="h in environment steps: gamma = 1 - 2/(h+1)")
    gae_lambda: float = Field(1.0, ge=0, le=1)
    num_envs: int = Field(1, ge=1)
    rollout_steps: int = Field(512, ge=1)
    minibatches: int = Field(8, ge=1, description="per epoch")
    epochs_policy: int = Field(1, ge=1)
    epochs_value: int = Field(1, ge=1)
    batch_growth: BatchGrowth = BatchGrowth()
    clip: float = Field(0.2, ge=0, lt=1, description="epsilon of the clipped objective; 0 switches it off")
    kl_penalty: float = Field(0.0, ge=0, description="beta; the fixed-KL mode is clip 0, kl_penalty 1")
    importance_cap: float = Field(100.0, ge=0, description="cap of pi/pi_behaviour; 0 switches it off")
    value_coef: float = Field(0.5, ge=0)
    entropy_coef: float = Field(0.01, ge=0)
    ewma_decay: float = Field(
        8 / 9, ge=0, lt=1, description="per gradient step; 8/9 is a centre of mass of 8"
    )
    normalize_advantage: bool = True
    advantage_decay: float = Field(0.0, ge=0, lt=1, description="of the moments; 0 is each batch's own")
    normalize_reward: bool = False

    @property
    def gamma(self) -> float:
        """Discount whose exponential average has a span of ``horizon`` steps."""
        return 1.0 - 2.0 / (self.horizon + 1.0)

    @property
    def uses_ewma(self) -> bool:
        return self.algorithm.endswith("-ewma")

    @property
    def is_phasic(self) -> bool:
        return self.algorithm.startswith("ppg")

    @property
    def auxiliary(self) -> PhasicConfig | None:
        """The auxiliary phase, None where there is none: plain PPO, or PPG with n_pi or E_aux 0."""
        phasic = self.phasic
        return phasic if phasic and phasic.policy_iterations and phasic.auxiliary_epochs else None

    @model_validator(mode="before")
    @classmethod
    def _default_phases(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        algorithm = values.get("algorithm", "")
        is_phasic = isinstance(algorithm, str) and algorithm.startswith("ppg")
        if is_phasic and values.get("phasic") is None:
            return {**values, "phasic": {}}
        if not is_phasic and values.get("phasic") is not None:
            raise ValueError("'phasic' belongs to the algorithms ppg and ppg-ewma; leave it out")
        return values

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.auxiliary and self.batch_growth.exponent > 0:
            raise ValueError("batch_growth is for ppo and ppo-ewma: phases need a batch of one size")
        if self.auxiliary:
            stored = self.auxiliary.policy_iterations * self.num_envs
            if stored % self.auxiliary.sequences:
                raise ValueError(
                    f"phasic.sequences ({self.auxiliary.sequences}) must divide policy_iterations * num_envs "
                    f"({stored}), the rollouts that a phase stores"
                )
        return self

    @model_validator(mode="after")
    def _minibatches_divide(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.adam_betas):
            raise ValueError("adam_betas must lie in [0, 1)")
        if self.clip == 0 and self.kl_penalty == 0 and self.epochs_policy > 1:
            raise ValueError("with several policy epochs give clip > 0 or kl_penalty > 0")
        envs, parts = self.num_envs, self.minibatches
        if parts <= envs and envs % parts:
            raise ValueError(f"minibatches ({parts}) must divide num_envs ({envs})")
        if parts > envs and (parts % envs or self.rollout_steps % (parts // envs)):
            raise ValueError(
                f"minibatches ({parts}) must be a multiple of num_envs ({envs}) that cuts "
                f"rollout_steps ({self.rollout_steps}) into equal chunks"
            )
        chunks = max(1, parts // envs)
        if self.batch_growth.exponent > 0 and chunks & (chunks - 1):
            raise ValueError(
                f"with batch_growth, num_envs ({envs}) doubles: minibatches ({parts}) must divide num_envs "
                f"or be num_envs times a power of 2"
            )
        return self

    def num_envs_at(self, interactions: int) -> int:
        """Environments of the iteration that begins after ``interactions`` steps."""
        growth = self.batch_growth
        if growth.exponent == 0 or interactions <= growth.reference:
            return self.num_envs
        # Integers, not floating logs, so that a doubling falls on the same step everywhere.
        doublings = 0
        # No run reaches 2^1000 interactions; a tiny exponent would overflow.
        while interactions >= growth.reference * 2 ** min((doublings + 1) / growth.exponent, 1000.0):
            doublings += 1
        return int(self.num_envs * 2**doublings)


class LevelsConfig(Frozen):
    """Procgen's levels to train on: start_level .. start_level + num_levels - 1."""

    num_levels: int | None = Field(None, description="leave it out for an unlimited number")
    start_level: int = 0


BANDITS = ("mnist-bandit", "digits-bandit")


class RunConfig(Frozen):
    """Everything that decides what a run computes; ``run_id`` is its hash."""

    task: str = Field(description="mnist-bandit, digits-bandit or procgen-<game>-<mode>")
    levels: LevelsConfig = LevelsConfig()
    evaluation_episodes: int = Field(
        0, ge=0, description="episodes on unseen levels at each checkpoint, beside the training; 0 for none"
    )
    interactions: int = Field(ge=1, description="length of the run in environment steps")
    seed: int = Field(0, ge=0)
    model: ModelConfig = ModelConfig()
    agent: AgentConfig = AgentConfig()
    rows_per_decade: int = Field(100, ge=1, description="rows of the curve per factor 10 of interactions")
    checkpoints: int = Field(20, ge=1, description="evenly spaced in interactions, the last at the end")
    threads: int = Field(1, ge=1, description="CPU threads; sums depend on it in their last bits")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the trunks' arithmetic; weights, heads and losses are float32 always"
    )

    @property
    def is_bandit(self) -> bool:
        return self.task in BANDITS

    @field_validator("task")
    @classmethod
    def _task_exists(cls, task: str) -> str:
        if task not in BANDITS and not is_procgen(task):
            raise ValueError(
                f"no such task; use {', '.join(BANDITS)} or procgen-<game>-<mode>, "
                f"such as procgen-coinrun-easy"
            )
        with _as_value_error():
            return task if task in BANDITS else parse_task(task).name

    @model_validator(mode="before")
    @classmethod
    def _default_family(cls, values: Any) -> Any:
        """A Procgen task without a model gets the family made for it."""
        if not isinstance(values, dict) or not is_procgen(str(values.get("task", ""))):
            return values
        model = values.get("model", {})
        if isinstance(model, dict) and "family" not in model:
            return {**values, "model": {**model, "family": "impala"}}
        return values

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        is_mnist = self.model.family == "mnist-cnn"
        if self.is_bandit:
            if not is_mnist:
                raise ValueError(
                    f"model.family {self.model.family} is for Procgen; {self.task} needs mnist-cnn"
                )
            if self.levels != LevelsConfig() or self.evaluation_episodes:
                raise ValueError("levels and evaluation_episodes are for Procgen; leave them out")
            return self
        if is_mnist:
            raise ValueError(
                f"model.family mnist-cnn is for the bandits; {self.task} needs impala or impala-lstm"
            )
        if self.agent.gamma == 0:
            raise ValueError("agent.horizon is 1, a discount of 0; Procgen's papers use 1999 (gamma 0.999)")
        if self.model.is_recurrent and self.agent.minibatches > self.agent.num_envs:
            raise ValueError(
                f"model.family {self.model.family} is trained on whole rollouts: agent.minibatches "
                f"({self.agent.minibatches}) must divide agent.num_envs ({self.agent.num_envs})"
            )
        with _as_value_error("'levels': "):
            check_levels(parse_task(self.task), self.levels.num_levels, self.levels.start_level)
        return self

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the complete config as canonical JSON.

        Fields of ``LATER_FIELDS`` take part only where they differ from their default, so the
        runs of a store keep their names when the toolkit learns something new.
        """
        values = self.model_dump(mode="json")
        for path, default in LATER_FIELDS.items():
            *parents, name = path.split(".")
            place = values
            for parent in parents:
                place = place[parent]
            if place[name] == default:
                del place[name]
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


#: Fields that were added after the first runs were stored, and the default that means "as before".
LATER_FIELDS = {
    "agent.architecture": "dual",
    "agent.phasic": None,
    "levels": {"num_levels": None, "start_level": 0},
    "evaluation_episodes": 0,
    "precision": "float32",
}

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
    """Read and validate one run's YAML config.

    Raises:
        InputError: if the file cannot be read or a field is wrong.
    """
    return run_config(load_yaml(path), source=str(path))


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        InputError: if the file is missing, is not YAML or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML: {problem}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must be a mapping of fields to values, such as 'task: digits-bandit'.")
    return values


def validated(model: type[Model], values: Mapping[str, Any], *, source: str) -> Model:
    """``model`` from ``values``, or one sentence about the first field that is wrong.

    Raises:
        InputError: naming source, field and remedy.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(model, error)}") from error


@contextmanager
def _as_value_error(field: str = "") -> Iterator[None]:
    """Pydantic gathers ValueErrors; a task's own sentence goes with it, after the field it is about."""
    try:
        yield
    except InputError as error:
        raise ValueError(field + str(error).rstrip(".")) from error


def _first_problem(model: type[BaseModel], error: ValidationError) -> str:
    first, *others = error.errors()
    location = [str(part) for part in first["loc"]]
    field = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, location[:-1]))
        problem = f"unknown key {field!r}; known here: {known}."
    elif first["type"] == "missing":
        problem = f"{field!r} is missing; add it."
    elif first["type"] == "model_type":
        known = ", ".join(_fields_at(model, location))
        problem = f"{field!r} must hold fields (known there: {known}), not {first['input']!r}."
    else:
        message = first["msg"].removeprefix("Value error, ")
        if message == first["msg"]:  # pydantic's own sentence
            message = message[0].lower() + message[1:]
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r})"
        problem = (f"{field!r}: " if location else "") + f"{message}{given}."
    return problem + (f" ({len(others)} more like this.)" if others else "")


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        choices = get_args(annotation) or (annotation,)  # a model, or a model | None
        models = [each for each in choices if isinstance(each, type) and issubclass(each, BaseModel)]
        if not models:
            return ["nothing"]
        model = models[0]
    return list(model.model_fields)
