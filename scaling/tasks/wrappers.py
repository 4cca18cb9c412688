"""What is wrapped around a gymnasium environment before the agent sees it, as plain data."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Atari(_Options):
    """Preprocessing of Atari games (Machado et al. 2018; Mnih et al. 2015, methods).

    A step of the agent is ``frame_skip`` frames with the same action. It shows the maximum of the last two,
    grey and resized, stacked with the steps before.
    """

    frame_skip: int = Field(4, ge=1, description="frames in a step")
    sticky: float = Field(
        0.25, ge=0, lt=1, description="probability that a frame repeats the action of the frame before"
    )
    noops: int = Field(30, ge=0, description="an episode begins with 1 to this many frames of doing nothing")
    size: int = Field(84, ge=1, description="height and width of an image")
    stack: int = Field(4, ge=1, description="images in an observation")
    fire: bool = Field(False, description="begin episodes with the action FIRE, in games that have it")
    life_ends: bool = Field(
        False, description="a lost life ends what the agent learns from; returns are still of whole games"
    )
    all_actions: bool = Field(False, description="18 actions instead of those that the game uses")
    max_frames: int = Field(108_000, ge=1, description="frames after which a game is cut off")

    @model_validator(mode="after")
    def _stack_is_the_shortest(self) -> Self:
        if self.stack >= self.size:
            raise ValueError(f"stack ({self.stack}) must be below size ({self.size})")
        return self


class Survival(_Options):
    """One reward an episode, for having lost few enough points: the RL perceptron's rule in pixels.

    Points are the game's negative rewards. An episode ends with reward 1 after ``steps`` steps, or at the
    game's end if that is before, and with ``-penalty`` as soon as more than ``points`` are lost.
    """

    points: int = Field(ge=0, description="points that may be lost")
    steps: int = Field(ge=1, description="steps of the agent to survive")
    penalty: float = Field(0.0, ge=0, description="of an episode in which more are lost")


class Wrappers(_Options):
    """What is wrapped around the task's environment; only for tasks ``gymnasium:<id>``."""

    atari: Atari | None = Field(None, description="preprocessing; only for Atari games, gymnasium:ALE/<game>")
    time: bool = Field(
        False, description="append the share of the time limit that has passed to the observation"
    )
    survival: Survival | None = Field(
        None, description="one reward an episode, for losing few enough points; for any game with points"
    )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.atari is not None or self.time or self.survival is not None


#: The environment as it is.
NO_WRAPPERS = Wrappers()
