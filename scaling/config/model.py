"""The config of a network: family, width and depth."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from rlscale.scaling.config.reading import Frozen

#: Depth of each family's default member: hidden dense layers, or residual blocks per stack.
DEFAULT_DEPTHS = {"mnist-cnn": 1, "impala": 2, "impala-lstm": 2}


class ModelConfig(Frozen):
    """A member of a model family."""

    family: Literal["mnist-cnn", "impala", "impala-lstm"] = Field(
        "mnist-cnn", description="kind of network; in a run's config the default is the task's"
    )
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


def step_size(learning_rate: float, model: ModelConfig) -> float:
    """Adam's step size for a model: proportional to the initial weights' scale.

    That scale is 1/sqrt(width), and depth^(-1/4) for residual blocks of two layers (depth^(-1/2L)
    with L = 2, relative to the family's default depth). The dense layers that are the depth of
    ``mnist-cnn`` are scaled by their fan-in alone.
    """
    step = learning_rate / math.sqrt(model.width)
    if model.family == "mnist-cnn":
        return step
    return step * (model.depth / DEFAULT_DEPTHS[model.family]) ** -0.25
