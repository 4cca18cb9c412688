"""The block ``auto`` of a spec: bounds in which ``rlscale sweep auto`` chooses runs, instead of a grid.

name: mnist-auto
base: {task: mnist-bandit}
auto:
  width: [0.0125, 1]               # sizes between these widths, about a factor of two in parameters apart
  interactions: [10000, 3000000]   # the shortest and the longest run
  seeds: [1, 5]                    # the fewest and the most runs of a size
  budget: 3.0e+11                  # N·E of all runs; or hours: 2, of training, summed over runs
  target: {nu: 0.1}                # or {N_opt: {compute: 1.0e+13, factor: 1.5}}; or none
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from rlscale.scaling.config.reading import Frozen

#: Ratio of neighbouring widths: parameters grow about as its square.
WIDTH_RATIO = math.sqrt(2.0)

_Count = Annotated[float, Field(ge=1, le=1e15)]


class OptimumTarget(Frozen):
    """N_opt at a compute, known to within a factor either way."""

    compute: float = Field(gt=0, description="N·E for which the size is wanted")
    factor: float = Field(gt=1, description="largest factor between N_opt and either end of its interval")


class Target(Frozen):
    """When a sweep knows enough: one of these."""

    nu: float | None = Field(None, gt=0, lt=1, description="largest width of the 90% interval of nu")
    N_opt: OptimumTarget | None = Field(None, description="how well N_opt is to be known, and where")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.nu is None) == (self.N_opt is None):
            raise ValueError("give one of nu and N_opt")
        return self


class AutoBounds(Frozen):
    """What ``rlscale sweep auto`` may run, and when it stops."""

    width: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        description="the least and the largest width"
    )
    interactions: tuple[_Count, _Count] = Field(description="the shortest and the longest run")
    seeds: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (1, 5), description="the fewest and the most runs of a size"
    )
    budget: float | None = Field(None, gt=0, description="N·E of all runs together")
    hours: float | None = Field(None, gt=0, description="hours of training, summed over all runs")
    target: Target | None = Field(None, description="when to stop before the budget is spent")

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        for name in ("width", "interactions", "seeds"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"the first number of {name} must be at most the second")
        if (self.budget is None) == (self.hours is None):
            raise ValueError("give one of budget and hours")
        return self

    @property
    def widths(self) -> list[float]:
        """Widths from the least to the largest, ``WIDTH_RATIO`` apart or a little less, three digits each."""
        low, high = self.width
        steps = max(math.ceil(math.log(high / low) / math.log(WIDTH_RATIO) - 1e-9), 1)
        return list(
            dict.fromkeys(float(f"{low * (high / low) ** (i / steps):.3g}") for i in range(steps + 1))
        )


def without_axes(values: Any) -> Any:
    """The values of a spec; one with bounds needs no axes."""
    if isinstance(values, dict) and values.get("auto") is not None and "axes" not in values:
        return {**values, "axes": []}
    return values
