r"""Schedules of the rate η and of the horizon T of the RL perceptron, all steps right, no penalty.

dρ/dα = η P^(T-1) (1-ρ²)/(s sqrt(Q)) - ρ η² P^T/(2QT), s = sqrt(2π), is largest

- in η at η_opt = T (1-ρ²) sqrt(Q)/(s ρ P),
- in T at T_opt = c/2 (1 + sqrt(1 + 4/(c |ln P|))), c = η ρ P sqrt(π/(2Q))/(1-ρ²),
- in both at T* = 1/|ln P| and η* = η_opt(T*).

These are greedy: the steepest rise at each moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, inf, log, pi, sqrt
from typing import Literal, get_args

from rlscale.analysis.theory.rl_perceptron import correctness
from rlscale.scaling.errors import InputError

Kind = Literal["constant", "polynomial", "optimal"]


def optimal_rate(rho: float, q: float, steps: float) -> float:
    """η_opt at this T."""
    return steps * (1 - rho**2) * sqrt(q) / (sqrt(2 * pi) * rho * correctness(rho))


def optimal_steps(rho: float, q: float, rate: float) -> float:
    """T_opt at this η, not rounded."""
    p = correctness(rho)
    c = rate * rho * p * sqrt(pi / (2 * q)) / (1 - rho**2)
    return c / 2 * (1 + sqrt(1 + 4 / (c * abs(log(p)))))


def free_steps(rho: float) -> float:
    """``T* = 1/|ln P|``, where the rate is optimal too."""
    return 1 / abs(log(correctness(rho)))


@dataclass(frozen=True)
class Schedule:
    """η and T over time; a ``Control`` of ``solve``.

    Attributes:
        rate_kind: ``constant`` η = rate; ``polynomial`` η = rate/(1 + decay α); ``optimal`` η_opt.
        steps_kind: ``constant`` T = steps; ``polynomial`` T = steps + growth α^power; ``optimal`` T_opt, or
            T* if the rate is optimal too, and 1 where that is less.
        whole: T is rounded to a whole number, as in a simulation.

    Raises:
        InputError: code ``schedule_out_of_range``.
    """

    rate: float
    steps: float
    rate_kind: Kind = "constant"
    steps_kind: Kind = "constant"
    decay: float = 0.0
    growth: float = 0.0
    power: float = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        for name, wrong, remedy in (
            ("rate_kind", self.rate_kind not in get_args(Kind), f"use one of {', '.join(get_args(Kind))}"),
            ("steps_kind", self.steps_kind not in get_args(Kind), f"use one of {', '.join(get_args(Kind))}"),
            ("rate", not 0 < self.rate < inf, "give a positive number"),
            ("steps", not 1 <= self.steps < inf, "an episode needs at least 1 step"),
            ("decay", not 0 <= self.decay < inf, "give a number that is not negative"),
            ("growth", not 0 <= self.growth < inf, "horizons would fall below 1; give 0 or more"),
            ("power", not 0 < self.power < inf, "give a positive number"),
        ):
            if wrong:
                raise InputError(
                    f"{name} of the schedule is {getattr(self, name)}: {remedy}.",
                    code="schedule_out_of_range",
                )

    def __call__(self, alpha: float, rho: float, q: float) -> tuple[float, float]:
        """(η, T).

        Raises:
            InputError: an optimal schedule at an overlap that is not positive (``schedule_out_of_range``).
        """
        if "optimal" in (self.rate_kind, self.steps_kind) and not 0 < rho < 1:
            raise InputError(
                f"optimal schedules are defined for overlaps above 0 and below 1, and it is {rho:.3g} at "
                f"alpha {alpha:.3g}: start with a larger rho0, or use constant or polynomial schedules.",
                code="schedule_out_of_range",
            )
        rate = self.rate / (1 + self.decay * alpha) if self.rate_kind == "polynomial" else self.rate
        steps = max(self._steps(alpha, rho, q, rate), 1.0)
        if self.whole:
            steps = round(steps)
        return (optimal_rate(rho, q, steps) if self.rate_kind == "optimal" else rate), steps

    def _steps(self, alpha: float, rho: float, q: float, rate: float) -> float:
        match self.steps_kind:
            case "constant":
                return self.steps
            case "polynomial":
                return self.steps + self.growth * alpha**self.power
            case "optimal":
                return free_steps(rho) if self.rate_kind == "optimal" else optimal_steps(rho, q, rate)


# -- asymptotics, α -> infinity ---------------------------------------------------


def late_slope(steps: int) -> float:
    """π/(4T): with all steps right at a constant rate, α (1-ρ) grows by this for each unit of ln α."""
    return pi / (4 * steps)


def late_power(steps: int, needed: int) -> float:
    """1-ρ falls as (ln α) to this power, -2/(T-n), where n < T steps are needed."""
    return -2 / (steps - needed)


def late_miss(alpha: float, steps: int | None = None) -> float:
    """1-ρ with Q = 1: π/(Tα) under the optimal rate at a horizon T; 8e²/α² if the horizon is optimal too."""
    return pi / (steps * alpha) if steps is not None else 8 * e**2 / alpha**2
