"""The config of a run of the RL perceptron (Patel et al. 2023)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlscale.scaling.config.reading import Frozen

Kind = Literal["constant", "polynomial", "optimal"]


class TeacherConfig(Frozen):
    """The teacher, of whom a student may see a part, as a network that is too small does.

    A student of dimension D has the first D of the teacher's D* inputs, and these hold the share (D/D*)^power
    of its squared weights.
    """

    dimension: int | None = Field(
        None, ge=4, description="D*, inputs that the teacher judges by; as many as the student's if left out"
    )
    power: float = Field(
        1.0, gt=0, description="1: all inputs weigh the same; below it, the first ones weigh more"
    )


class ScheduleConfig(Frozen):
    """How rate and horizon change along the run; only for all-correct.

    With α episodes over D: polynomial is η = rate/(1 + decay α) and T = steps + growth α^power; optimal is
    the greedy choice of section 7 of the paper, from the mean overlap and norm of the run's students.
    """

    rate: Kind = Field("constant", description="of η")
    steps: Kind = Field("constant", description="of T, rounded")
    decay: float = Field(0.0, ge=0, description="of a polynomial rate")
    growth: float = Field(0.0, ge=0, description="of a polynomial T")
    power: float = Field(1.0, gt=0, description="of a polynomial T")
    most_steps: int = Field(10_000, ge=1, description="T is never longer")

    @property
    def changes(self) -> bool:
        """Whether anything changes along the run."""
        return (self.rate, self.steps) != ("constant", "constant")

    @model_validator(mode="after")
    def _numbers_are_used(self) -> Self:
        for name, kind, of in (
            ("decay", self.rate, "schedule.rate"),
            ("growth", self.steps, "schedule.steps"),
        ):
            given = getattr(self, name) > 0
            if given != (kind == "polynomial"):
                remedy = f"leave {name} out, or set {of} to polynomial" if given else f"give {name} above 0"
                raise ValueError(f"{of} is {kind}: {remedy}")
        return self


class PerceptronConfig(Frozen):
    """Students that learn from a teacher by the rewards of episodes."""

    dimension: int = Field(100, ge=4, description="D, inputs of a student and so its parameters, N")
    students: int = Field(
        1, ge=1, description="students of the run, whose returns are averaged; E counts the steps of one"
    )
    keeps: Literal["overlaps", "weights", "inputs"] = Field(
        "overlaps",
        description="the simulation, of three with one law: inputs draws every input, weights a vector an "
        "episode, overlaps keeps R and Q alone and is fastest",
    )
    protocol: Literal["all-correct", "n-of-t", "sub-reward", "breadcrumbs"] = Field(
        "all-correct", description="how an episode is rewarded"
    )
    steps: int = Field(5, ge=1, description="T, steps of an episode")
    needed: int = Field(
        0,
        ge=0,
        description="n, right steps that are rewarded; left out, all T; fewer only in n-of-t, sub-reward",
    )
    rate: float = Field(1.0, gt=0, description="η1, the rate of a rewarded episode")
    penalty: float = Field(0.0, ge=0, description="η2, the rate of one that is not; all-correct and n-of-t")
    bonus: float = Field(0.0, ge=0, description="the rate of the bonus of sub-reward and breadcrumbs")
    rho0: float | None = Field(
        None, ge=-1, le=1, description="overlap at the start; left out: of random directions, about 1/sqrt(D)"
    )
    q0: float = Field(1.0, gt=0, description="Q, the squared length over D, at the start")
    spherical: bool = Field(False, description="scale each student back to this length after each episode")
    teacher: TeacherConfig = Field(TeacherConfig(), description="the teacher")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="rate and horizon along the run")

    @model_validator(mode="before")
    @classmethod
    def _all_steps_are_needed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "needed" not in values:
            return {**values, "needed": values.get("steps", cls.model_fields["steps"].default)}
        return values

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        for wrong, problem in self._faults():
            if wrong:
                raise ValueError(problem)
        return self

    def _faults(self) -> list[tuple[bool, str]]:
        penalised = self.protocol in ("all-correct", "n-of-t")
        may_need_fewer = self.protocol in ("n-of-t", "sub-reward")
        of_teacher, optimal = self.teacher.dimension, "optimal" in (self.schedule.rate, self.schedule.steps)
        return [
            (
                not 1 <= self.needed <= self.steps,
                f"needed is {self.needed} of {self.steps} steps: give 1 to {self.steps}",
            ),
            (
                self.needed != self.steps and not may_need_fewer,
                f"{self.protocol} needs all {self.steps} steps right: leave needed out, or use n-of-t",
            ),
            (
                self.penalty > 0 and not penalised,
                f"penalty is for all-correct and n-of-t: leave it out for {self.protocol}",
            ),
            (
                self.bonus > 0 and penalised,
                f"bonus is for sub-reward and breadcrumbs: leave it out for {self.protocol}",
            ),
            (
                of_teacher is not None and of_teacher < self.dimension,
                f"teacher.dimension ({of_teacher}) is below dimension ({self.dimension}): give that or more",
            ),
            (
                of_teacher is None and self.teacher.power != 1,
                "teacher.power decides what students miss of the teacher: give teacher.dimension too",
            ),
            (
                self.schedule.changes and self.protocol != "all-correct",
                f"schedule is for all-correct: leave it out for {self.protocol}",
            ),
            (
                optimal and not (self.rho0 is not None and 0 < self.rho0 < 1),
                "an optimal schedule starts from an overlap above 0 and below 1: give rho0, e.g. 0.1",
            ),
        ]

    @property
    def seen(self) -> float:
        """c: root of the share of the teacher's squared length that a student sees."""
        if self.teacher.dimension is None:
            return 1.0
        return float((self.dimension / self.teacher.dimension) ** (self.teacher.power / 2))
