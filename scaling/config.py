"""Frozen configs of one training run: YAML in, JSON out, unknown keys rejected.

Every default that the papers give is theirs; what they leave open says so beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scaling.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Frozen):
    """A member of a model family."""

    family: Literal["mnist-cnn"] = "mnist-cnn"
    width: float = Field(1.0, gt=0, description="multiplier of the family's channels and dense units")
    depth: int = Field(1, ge=1, description="number of hidden dense layers")


class BatchGrowth(Frozen):
    """The iteration batch grows as a power of the interactions so far, in doublings.

    B(E) = B_min * 2^floor(exponent * log2(E / reference)), never below B_min, the batch that
    ``num_envs`` and ``rollout_steps`` give. It is the power-law summary of a greedy schedule
    (Hilton et al. 2023, section on batch size); exponent 0 keeps the batch fixed.
    """

    exponent: float = Field(0.0, ge=0, le=1)
    reference: int = Field(100_000, ge=1, description="interactions at which the growth begins")


class AgentConfig(Frozen):
    """PPO and PPO-EWMA (Hilton, Cobbe, Schulman 2021, arXiv 2110.00641)."""

    algorithm: Literal["ppo", "ppo-ewma"] = "ppo-ewma"
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
        return self.algorithm == "ppo-ewma"

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


class RunConfig(Frozen):
    """Everything that decides what a run computes; ``run_id`` is its hash."""

    task: Literal["mnist-bandit", "digits-bandit"]
    interactions: int = Field(ge=1, description="length of the run in environment steps")
    seed: int = Field(0, ge=0)
    model: ModelConfig = ModelConfig()
    agent: AgentConfig = AgentConfig()
    rows_per_decade: int = Field(100, ge=1, description="rows of the curve per factor 10 of interactions")
    checkpoints: int = Field(20, ge=1, description="evenly spaced in interactions, the last at the end")
    threads: int = Field(1, ge=1, description="CPU threads; sums depend on it in their last bits")

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the complete config as canonical JSON."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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


def _first_problem(model: type[BaseModel], error: ValidationError) -> str:
    first, *others = error.errors()
    location = [str(part) for part in first["loc"]]
    field = ".".join(location) or "the whole config"
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, location[:-1]))
        problem = f"unknown key {field!r}; known here: {known}."
    elif first["type"] == "missing":
        problem = f"{field!r} is missing; add it."
    else:
        message = first["msg"].removeprefix("Value error, ")
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r})"
        problem = f"{field!r}: {message[0].lower()}{message[1:]}{given}."
    return problem + (f" ({len(others)} more like this.)" if others else "")


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ["nothing"]
        model = annotation
    return list(model.model_fields)
