"""The config of a run of TD inside a transformer (Wang et al. 2024)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlscale.scaling.config.reading import Frozen

#: States of a process where the config does not say.
DEFAULT_STATES = {"boyan": 10, "loop": 10, "cartpole": 16}


class InContextConfig(Frozen):
    """A transformer that learns to evaluate random reward processes; the defaults are the paper's."""

    process: Literal["boyan", "loop", "cartpole"] = Field("boyan", description="kind of the reward processes")
    states: int = Field(
        DEFAULT_STATES["boyan"],
        description="states of a process, 3 or more, by default 10; for cartpole 16 (default), 81 or 256",
    )
    features: int = Field(
        4, description="d, features of a state: the prompt has 2d + 1 rows; at most as many as states"
    )
    length: int = Field(30, description="n, transitions of a context")
    layers: int = Field(3, description="L, layers of attention")
    weights: Literal["auto-regressive", "sequential"] = Field(
        "auto-regressive", description="one P and Q for all layers, or sequential: one for each layer"
    )
    attention: Literal["linear", "softmax"] = Field(
        "linear", description="what is done to the scores of a layer"
    )
    representable: bool = Field(
        False, description="rewards with which the values are linear in the features; not for cartpole"
    )
    threshold: float = Field(0.5, ge=0, le=1, description="share of the edges that a loop process leaves out")
    gamma: float = Field(0.9, ge=0, lt=1, description="discount")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size")
    weight_decay: float = Field(1e-6, ge=0, description="Adam's weight decay")
    batch: int = Field(64, ge=1, description="consecutive steps of a process in one update")
    batches_per_process: int = Field(5, ge=1, description="updates with one process before the next is drawn")
    held_out: int = Field(
        64, ge=2, description="processes, the same for all runs, that returns are measured on"
    )

    @property
    def interactions_per_update(self) -> int:
        """Steps of the process that an update takes, those of the first context among them."""
        return self.length + 1 + self.batch

    @model_validator(mode="before")
    @classmethod
    def _default_states(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "states" in values:
            return values
        return {**values, "states": DEFAULT_STATES.get(str(values.get("process", "boyan")), 10)}

    @field_validator("length")
    @classmethod
    def _has_context(cls, length: int) -> int:
        if length < 1:
            raise ValueError("a context without transitions holds nothing to learn from; give 1 or more")
        return length

    @field_validator("layers")
    @classmethod
    def _has_layers(cls, layers: int) -> int:
        if not 1 <= layers <= 128:
            raise ValueError("a transformer has 1 to 128 layers; give a number in this range")
        return layers

    @model_validator(mode="after")
    def _process_fits(self) -> Self:
        if self.states < 3:
            raise ValueError(f"a process of {self.states} states is too small; give 3 or more")
        if not 1 <= self.features <= self.states:
            raise ValueError(
                f"{self.features} features do not fit {self.states} states, whose values then determine no "
                f"weights: give 1 to {self.states} features"
            )
        if self.process == "cartpole" and round(self.states**0.25) ** 4 != self.states:
            raise ValueError(
                f"cartpole has as many tiles along each of four numbers, so {self.states} states do not fit; "
                "give 16, 81 or 256"
            )
        if self.process == "cartpole" and self.representable:
            raise ValueError(
                "representable is for boyan and loop: tiles of cartpole are no Markov chain; leave it out"
            )
        return self
