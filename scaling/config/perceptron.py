"""The config of a run of the RL perceptron (Patel et al. 2023)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlscale.scaling.config.reading import Frozen


class PerceptronConfig(Frozen):
    """Students that learn from a teacher by the rewards of episodes."""

    dimension: int = Field(100, ge=4, description="D, inputs of a student and so its parameters, N")
    students: int = Field(1, ge=1, description="students of the run, whose returns are averaged")
    protocol: Literal["all-correct", "n-of-t", "sub-reward", "breadcrumbs"] = Field(
        "all-correct", description="how an episode is rewarded"
    )
    steps: int = Field(5, ge=1, description="T, steps of an episode")
    rate: float = Field(1.0, gt=0, description="η1, the rate of a rewarded episode")
    penalty: float = Field(0.0, ge=0, description="η2, the rate of one that is not; all-correct and n-of-t")

    @property
    def needed(self) -> int:
        """n: right steps that are rewarded."""
        return self.steps

    @property
    def bonus(self) -> float:
        """r, the rate of the bonus."""
        return 0.0
