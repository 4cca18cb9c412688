"""Rate η and horizon T of the RL perceptron along a run, all steps right (Patel et al. 2023, section 7).

dρ/dα = η P^(T-1) c (1-ρ²)/(s sqrt(Q)) - ρ η² P^T/(2QT), s = sqrt(2π), P that of the overlap c ρ, is largest

- in η at T c (1-ρ²) sqrt(Q)/(s ρ P),
- in T at a/2 (1 + sqrt(1 + 4/(a |ln P|))), a = η ρ P sqrt(π/(2Q))/(c (1-ρ²)),
- in both at T = 1/|ln P| and the η of that T.
"""

from __future__ import annotations

from math import acos, log, pi, sqrt

from rlscale.scaling.config.perceptron import PerceptronConfig
from rlscale.scaling.errors import InputError


def scheduled(settings: PerceptronConfig, alpha: float, rho: float, q: float) -> tuple[float, int]:
    """(η, T) in force.

    Args:
        alpha: episodes over D.
        rho, q: means over the students of the overlap with what they see, and of Q.

    Raises:
        InputError: an optimal schedule at an overlap outside (0, 1) (code ``schedule_out_of_range``).
    """
    schedule = settings.schedule
    if "optimal" in (schedule.rate, schedule.steps) and not 0 < rho < 1:
        raise InputError(
            f"perceptron.schedule is optimal, which needs an overlap above 0 and below 1, but it is "
            f"{rho:.3g} at alpha {alpha:.3g}: start with a larger perceptron.rho0, or use polynomial.",
            code="schedule_out_of_range",
        )
    rate = settings.rate / (1 + schedule.decay * alpha)
    steps = _steps(settings, alpha, rho, q, rate)
    whole = min(max(round(steps), 1), schedule.most_steps)
    if schedule.rate == "optimal":
        rate = optimal_rate(rho, q, whole, settings.seen)
    return rate, whole


def _steps(settings: PerceptronConfig, alpha: float, rho: float, q: float, rate: float) -> float:
    schedule = settings.schedule
    match schedule.steps:
        case "constant":
            return settings.steps
        case "polynomial":
            return float(settings.steps + schedule.growth * alpha**schedule.power)
        case "optimal" if schedule.rate == "optimal":
            return 1 / abs(log(_correctness(settings.seen * rho)))
        case "optimal":
            return optimal_steps(rho, q, rate, settings.seen)


def optimal_rate(rho: float, q: float, steps: float, seen: float) -> float:
    """The steepest rise in η at this T."""
    return steps * seen * (1 - rho**2) * sqrt(q) / (sqrt(2 * pi) * rho * _correctness(seen * rho))


def optimal_steps(rho: float, q: float, rate: float, seen: float) -> float:
    """The steepest rise in T at this η, not rounded."""
    p = _correctness(seen * rho)
    a = rate * rho * p * sqrt(pi / (2 * q)) / (seen * (1 - rho**2))
    return a / 2 * (1 + sqrt(1 + 4 / (a * abs(log(p)))))


def _correctness(rho: float) -> float:
    return 1 - acos(rho) / pi
