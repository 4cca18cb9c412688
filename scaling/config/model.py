"""The config of a network: family, width and depth."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlscale.scaling.config.reading import Frozen, as_value_error
from rlscale.scaling.modules import check_named

#: Depth of each family's default member: hidden dense layers, or residual blocks per stack.
DEFAULT_DEPTHS = {"mnist-cnn": 1, "impala": 2, "impala-lstm": 2, "mlp": 2, "nature-cnn": 1}


class ModelConfig(Frozen):
    """A member of a model family."""

    family: str = Field(
        "mnist-cnn",
        description="kind of network: mnist-cnn, impala, impala-lstm, nature-cnn, mlp, or your own as "
        "module:Class; in a run's config the default is the task's",
    )
    width: float = Field(
        1.0, gt=0, le=10_000, description="multiplier of the family's channels and dense units"
    )
    depth: int = Field(
        DEFAULT_DEPTHS["mnist-cnn"],
        ge=1,
        le=64,
        description="hidden dense layers (mnist-cnn, nature-cnn, mlp), residual blocks per stack (impala)",
    )
    activation: Literal["tanh", "relu"] = Field("tanh", description="nonlinearity; only for mlp")
    layer_norm: bool = Field(
        False, description="normalise each layer before its nonlinearity; only for mlp and nature-cnn"
    )
    initialization: Literal["normed", "orthogonal"] = Field(
        "normed",
        description="initial weights: normed, one norm for all rows of a layer; orthogonal, those of "
        "stable-baselines3 and CleanRL, only for mlp",
    )
    recurrent: Literal["lstm"] | None = Field(
        None, description="lstm: memory after the trunk of any family; leave it out for none"
    )
    hidden_size: int | None = Field(
        None,
        ge=1,
        description="units of the LSTM at width 1, which width multiplies; as many as the trunk has features "
        "if left out",
    )

    @property
    def is_recurrent(self) -> bool:
        """Whether the networks have memory."""
        return self.recurrent is not None or self.family == "impala-lstm"

    @property
    def family_column(self) -> str:
        """The family as curves name it: networks with memory are a family of their own."""
        return f"{self.family}-{self.recurrent}" if self.recurrent else self.family

    @property
    def is_orthogonal(self) -> bool:
        """Whether initial weights are orthogonal."""
        return self.initialization == "orthogonal"

    @property
    def is_own(self) -> bool:
        """Whether the family is a class of the person's."""
        return ":" in self.family

    @field_validator("family")
    @classmethod
    def _family_exists(cls, family: str) -> str:
        if ":" in family:
            with as_value_error():
                check_named(family)
        elif family not in DEFAULT_DEPTHS:
            raise ValueError(f"no such family; use {', '.join(DEFAULT_DEPTHS)}, or your own as module:Class")
        return family

    @model_validator(mode="before")
    @classmethod
    def _default_depth(cls, values: Any) -> Any:
        if isinstance(values, dict) and "depth" not in values:
            family = str(values.get("family", "mnist-cnn"))
            return {**values, "depth": DEFAULT_DEPTHS.get(family, 1)}
        return values

    @model_validator(mode="after")
    def _activation_fits(self) -> Self:
        if self.activation != "tanh" and self.family != "mlp":
            raise ValueError(f"activation is for the family mlp; leave it out for {self.family}")
        if self.is_orthogonal and self.family != "mlp":
            raise ValueError(
                f"initialization {self.initialization} is for the family mlp; leave it out for {self.family}"
            )
        if self.layer_norm and self.family not in ("mlp", "nature-cnn"):
            raise ValueError(
                f"layer_norm is for the families mlp and nature-cnn; leave it out for {self.family}"
            )
        return self

    @model_validator(mode="after")
    def _memory_fits(self) -> Self:
        if self.recurrent and self.family == "impala-lstm":
            raise ValueError("impala-lstm has an LSTM already; leave recurrent out, or use the family impala")
        if self.hidden_size is not None and not self.is_recurrent:
            raise ValueError("hidden_size is the LSTM's: add recurrent: lstm, or leave hidden_size out")
        return self


def step_size(learning_rate: float, model: ModelConfig) -> float:
    """Adam's step size for a model: proportional to the initial weights' scale.

    That scale is 1/sqrt(width), and depth^(-1/4) for residual blocks of two layers (depth^(-1/2L)
    with L = 2, relative to the family's default depth). Dense layers that are the depth of a family are
    scaled by their fan-in alone; a family of the person's is taken to be like that. The units of an LSTM, its
    fan-in, grow with the width too.
    """
    step = learning_rate / math.sqrt(model.width)
    if model.family not in ("impala", "impala-lstm"):
        return step
    return step * (model.depth / DEFAULT_DEPTHS[model.family]) ** -0.25
