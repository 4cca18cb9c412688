r"""Fixed points and phases of the RL perceptron with a penalty (Patel et al. 2023).

With n of T steps needed, dR/dα = 0 where h(ρ) = κ, κ = η2/(η1 + η2) and

    h(ρ) = [(1+ρ) Pr[Bin(T-1, P) >= n-1] - (1-ρ) Pr[Bin(T-1, P) >= n]] / (2ρ);

(1+ρ) P^(T-1)/(2ρ) if all must be right. There dQ/dα = 0 at a positive Q always, because h(ρ) exceeds
[(1+ρ) Pr[>= n-1] + (1-ρ) Pr[>= n]]/2 by (1-ρ²) Pr[Bin(T-1, P) = n-1]/(2ρ) > 0. No fixed point has ρ <= 0,
where dρ/dα > 0. Besides, ρ -> 1 with Q -> infinity always attracts. So below κ_c = min h the task is *easy*:
every student learns it. Above, it is *hybrid-hard*: fixed points appear in pairs, the lower one stable, and
students of a small overlap and length stay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import Literal

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from rlscale.analysis.arrays import Floats
from rlscale.analysis.theory.rl_perceptron import (
    RewardRule,
    at_least,
    correctness,
    drift,
    overlap_rate,
    reward_noise,
)
from rlscale.scaling.errors import InputError

Phase = Literal["easy", "hybrid-hard"]

_GRID = np.r_[
    np.geomspace(1e-6, 0.02, 60), np.linspace(0.021, 1 - 1e-4, 400), 1 - np.geomspace(9e-5, 1e-9, 40)
]


@dataclass(frozen=True)
class FixedPoint:
    """A student that no longer changes on average.

    Attributes:
        rho: its overlap.
        q: its squared length over D.
        stable: it attracts its neighbourhood.
        rates: real parts of the two eigenvalues of the linearised equations of (ρ, Q), per unit of α.
    """

    rho: float
    q: float
    stable: bool
    rates: tuple[float, float]


def standstill(rho: float, *, steps: int, needed: int) -> float:
    """h(ρ): the κ at which dR/dα = 0 at this overlap, positive."""
    return 1 - margin(rho, steps=steps, needed=needed)


def margin(rho: float, *, steps: int, needed: int) -> float:
    """1 - h(ρ) = [(1+ρ) Pr[Bin(T-1, P) < n-1] - (1-ρ) Pr[Bin(T-1, P) < n]]/(2ρ), without cancellation."""
    wrong = 1 - correctness(rho)  # "fewer than k of m are right" is "at least m - k + 1 are wrong"
    few = at_least(steps - needed + 1, steps - 1, wrong)
    fewer_or_equal = at_least(steps - needed, steps - 1, wrong)
    return ((1 + rho) * few - (1 - rho) * fewer_or_equal) / (2 * rho)


def _lowest(steps: int, needed: int) -> float:
    """The ρ at which h is least."""

    def below(rho: float) -> float:
        return -margin(rho, steps=steps, needed=needed)

    lowest = int(np.argmin([below(rho) for rho in _GRID]))
    low, high = _GRID[max(lowest - 1, 0)], _GRID[min(lowest + 1, len(_GRID) - 1)]
    return float(minimize_scalar(below, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x)


def critical_ratio(steps: int, needed: int | None = None) -> float:
    """r_c = κ_c/(1 - κ_c), the η2/η1 above which the task is hybrid-hard; infinite if it never is.

    κ_c = min h over 0 < ρ <= 1, where h(1) = 1.

    Raises:
        InputError: code ``wrong_reward_rule``.
    """
    _check_steps(steps, needed)
    n = steps if needed is None else needed
    deepest = margin(_lowest(steps, n), steps=steps, needed=n)
    return (1 - deepest) / deepest if deepest > 0 else inf


def phase_of(steps: int, ratio: float, needed: int | None = None) -> Phase:
    """The phase at a ratio η2/η1 of penalty and rate."""
    return "hybrid-hard" if ratio > critical_ratio(steps, needed) else "easy"


def fixed_points(rule: RewardRule) -> list[FixedPoint]:
    """All fixed points of a rule with a penalty at finite Q, the least overlap first; none if it is easy.

    Raises:
        InputError: of a protocol without a penalty (``wrong_reward_rule``).
    """
    if rule.protocol not in ("all-correct", "n-of-t"):
        raise InputError(
            f"protocol {rule.protocol} has no penalty, so no fixed points: use all-correct or n-of-t.",
            code="wrong_reward_rule",
        )
    kappa = rule.penalty / (rule.rate + rule.penalty)

    def above(rho: float) -> float:
        return standstill(rho, steps=rule.steps, needed=rule.needed) - kappa

    # Two fixed points that are nearly one lie between neighbours of the grid, on either side of the minimum.
    grid = np.unique(np.r_[_GRID, _lowest(rule.steps, rule.needed)])
    heights = np.array([above(rho) for rho in grid])
    crossings = np.flatnonzero(heights[:-1] * heights[1:] < 0)
    return [_fixed_point(rule, float(brentq(above, grid[k], grid[k + 1], xtol=1e-14))) for k in crossings]


def _fixed_point(rule: RewardRule, rho: float) -> FixedPoint:
    q = _standing_norm(rule, rho)
    rates = np.sort(np.linalg.eigvals(_jacobian(rule, rho, q)).real)
    return FixedPoint(rho, q, bool(rates[-1] < 0), (float(rates[0]), float(rates[1])))


def _standing_norm(rule: RewardRule, rho: float) -> float:
    """Q with dQ/dα = 0, where noise lengthens the student as much as penalties shorten it."""
    p = correctness(rho)
    right = (1 + rho) * at_least(rule.needed - 1, rule.steps - 1, p)
    wrong = (1 - rho) * at_least(rule.needed, rule.steps - 1, p)
    pull = (2 * rule.penalty - (rule.rate + rule.penalty) * (right + wrong)) / sqrt(2 * pi)
    noise = reward_noise(rho, rule.steps, rule.needed, rule.rate, rule.penalty)
    return float((noise / (2 * rule.steps * pull)) ** 2)


def _jacobian(rule: RewardRule, rho: float, q: float) -> Floats:
    """Derivatives of (dρ/dα, dQ/dα) by (ρ, Q), central differences."""

    def slopes(at_rho: float, at_q: float) -> Floats:
        of_r, of_q = drift(rule, at_rho, at_q)
        return np.array([overlap_rate(at_rho, at_q, of_r, of_q), of_q])

    by_rho, by_q = 1e-6 * min(rho, 1 - rho), 1e-6 * q
    return np.column_stack(
        [
            (slopes(rho + by_rho, q) - slopes(rho - by_rho, q)) / (2 * by_rho),
            (slopes(rho, q + by_q) - slopes(rho, q - by_q)) / (2 * by_q),
        ]
    )


def boundary(horizons: Sequence[int], missing: int = 0) -> Floats:
    """r_c at each horizon T with n = T - ``missing`` steps needed, (horizons,); infinite if always easy.

    Raises:
        InputError: if a horizon has no such n (``wrong_reward_rule``).
    """
    return np.array([critical_ratio(steps, steps - missing) for steps in horizons])


def _check_steps(steps: int, needed: int | None) -> None:
    if steps < 1:
        raise InputError(
            f"steps of the perceptron is {steps}: an episode needs at least 1 step.", code="wrong_reward_rule"
        )
    if needed is not None and not 1 <= needed <= steps:
        raise InputError(
            f"needed of the perceptron is {needed}: give 1 to {steps}, the steps of an episode.",
            code="wrong_reward_rule",
        )
