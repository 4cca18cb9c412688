r"""The RL perceptron: learning curves of a reinforcement-learning task in closed form (Patel et al. 2023).

A student w and a teacher w* of dimension D judge the sign of T random inputs x_t ~ N(0, I) an episode; after
it the student moves once,

    w <- w + 1/(T sqrt(D)) sum_t G_t sgn(w.x_t) x_t,

with G_t the reward that step t is credited with. In the limit of large D, with α = episodes/D, the order
parameters R = w.w*/D and Q = w.w/D follow (w*.w* = D, y = sgn(λ), λ = w.x/sqrt(D), ν = w*.x/sqrt(D))

    dR/dα = 1/T sum_t E[G_t y_t ν_t],
    dQ/dα = 2/T sum_t E[G_t |λ_t|] + 1/T² sum_t E[G_t²].

The overlap is ρ = R/sqrt(Q), and a step is right with probability P = 1 - arccos(ρ)/π. The expectations need
E[y ν; right] = (1+ρ)/s, E[y ν; wrong] = -(1-ρ)/s and the same of |λ| times sqrt(Q), with s = sqrt(2π) and
plus signs. Terms of order T/D are left out.

A student may also see a part of its teacher alone, as a network that is too small does. Its D inputs carry a
share c² of the teacher's squared length, the rest of the teacher's field is to it a coin of its own, and ρ is
its overlap with what it sees. Then the overlap that decides is c ρ, P = 1 - arccos(c ρ)/π, the moments of
``|λ|`` have c ρ for ρ, and those of the field that is seen become (E over λ and the whole field of the
regression of the part on both)

    E[y ν; right] = (c+ρ)/s,    E[y ν; wrong] = -(c-ρ)/s.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import acos, comb, inf, isfinite, pi, sqrt
from typing import Literal, get_args

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import betainc

from rlscale.analysis.arrays import Floats
from rlscale.scaling.errors import InputError

Protocol = Literal["all-correct", "n-of-t", "sub-reward", "breadcrumbs"]
#: The rate η and the number of steps T in force, from α, ρ and Q.
Control = Callable[[float, float, float], tuple[float, float]]

_S = sqrt(2 * pi)
#: solve_ivp silently replaces a smaller relative tolerance.
LEAST_TOLERANCE = 100 * float(np.finfo(float).eps)
_MOST_EVALUATIONS = 50_000  # hard but sound questions take some thousands


@dataclass(frozen=True)
class RewardRule:
    """What an episode pays, and so the step G_t that its inputs are learned with.

    - ``all-correct``: G = η1 if all T steps are right, else -η2.
    - ``n-of-t``: G = η1 if at least n steps are right, else -η2.
    - ``sub-reward``: G_t = η1 [all right] + r [the first n right] [t <= n].
    - ``breadcrumbs``: G_t = η1 [all right] + r (right steps from t to the end).

    Attributes:
        protocol: one of these.
        steps: T, the horizon.
        needed: n; T unless the protocol has one of its own.
        rate: η1.
        penalty: η2, of the first two protocols.
        bonus: r, of the other two.

    Raises:
        InputError: code ``wrong_reward_rule``.
    """

    protocol: Protocol
    steps: int
    needed: int
    rate: float = 1.0
    penalty: float = 0.0
    bonus: float = 0.0

    def __post_init__(self) -> None:
        for name, wrong, remedy in _faults(self):
            if wrong:
                raise InputError(
                    f"{name} of the perceptron is {getattr(self, name)}: {remedy}.", code="wrong_reward_rule"
                )


def _faults(rule: RewardRule) -> list[tuple[str, bool, str]]:
    penalised = rule.protocol in ("all-correct", "n-of-t")
    return [
        ("protocol", rule.protocol not in get_args(Protocol), f"use one of {', '.join(get_args(Protocol))}"),
        ("steps", rule.steps < 1, "an episode needs at least 1 step"),
        ("needed", not 1 <= rule.needed <= rule.steps, f"give 1 to {rule.steps}, the steps of an episode"),
        (
            "needed",
            rule.protocol in ("all-correct", "breadcrumbs") and rule.needed != rule.steps,
            f"{rule.protocol} needs all {rule.steps} steps right; leave it out or use another protocol",
        ),
        ("rate", not 0 < rule.rate < inf, "give a positive number"),
        ("penalty", not 0 <= rule.penalty < inf, "give a number that is not negative"),
        ("penalty", rule.penalty > 0 and not penalised, "only all-correct and n-of-t have one; use 0"),
        ("bonus", not 0 <= rule.bonus < inf, "give a number that is not negative"),
        ("bonus", rule.bonus > 0 and penalised, "only sub-reward and breadcrumbs have one; use 0"),
    ]


def reward_rule(
    protocol: Protocol,
    steps: int,
    needed: int | None = None,
    *,
    rate: float = 1.0,
    penalty: float = 0.0,
    bonus: float = 0.0,
) -> RewardRule:
    """A rule whose ``needed`` is all steps unless it is given.

    Raises:
        InputError: code ``wrong_reward_rule``.
    """
    return RewardRule(protocol, steps, steps if needed is None else needed, rate, penalty, bonus)


# -- building blocks --------------------------------------------------------------


def correctness(rho: float) -> float:
    """P = 1 - arccos(ρ)/π, with which one step is right; 1 - P is the generalisation error."""
    return 1 - acos(min(max(rho, -1.0), 1.0)) / pi


def at_least(count: float, steps: float, p: float) -> float:
    """Pr[Bin(steps, P) >= count], a regularised incomplete beta function."""
    if count <= 0:
        return 1.0
    if count > steps:
        return 0.0
    return float(betainc(count, steps - count + 1, p))


def reward_noise(rho: float, steps: float, needed: float, rate: float, penalty: float) -> float:
    """E[G²] = (η1² - η2²) Pr[rewarded] + η2² of the first two protocols."""
    return (rate**2 - penalty**2) * at_least(needed, steps, correctness(rho)) + penalty**2


# -- section 3: dR/dα and dQ/dα ---------------------------------------------------


def all_correct_drift(
    rho: float, q: float, *, steps: float, rate: float, penalty: float = 0.0, seen: float = 1.0
) -> tuple[float, float]:
    """(dR/dα, dQ/dα) where all T steps must be right; T need not be whole, as an optimal T is not."""
    p = correctness(seen * rho)
    gained = (rate + penalty) * p ** (steps - 1)
    noise = (rate**2 - penalty**2) * p**steps + penalty**2
    return (
        (gained * (seen + rho) - 2 * penalty * rho) / _S,
        2 * sqrt(q) * (gained * (1 + seen * rho) - 2 * penalty) / _S + noise / steps,
    )


def n_of_t_drift(
    rho: float,
    q: float,
    *,
    steps: int,
    needed: int,
    rate: float,
    penalty: float = 0.0,
    seen: float = 1.0,
) -> tuple[float, float]:
    """(dR/dα, dQ/dα) where n of T steps must be right.

    A right step was rewarded if n - 1 of the other T - 1 are right, a wrong one if n of them are.
    """
    p = correctness(seen * rho)
    right = at_least(needed - 1, steps - 1, p)
    wrong = at_least(needed, steps - 1, p)
    both = rate + penalty
    of_r = (seen + rho) * right - (seen - rho) * wrong
    of_q = (1 + seen * rho) * right + (1 - seen * rho) * wrong
    noise = reward_noise(seen * rho, steps, needed, rate, penalty)
    return (
        (both * of_r - 2 * penalty * rho) / _S,
        2 * sqrt(q) * (both * of_q - 2 * penalty) / _S + noise / steps,
    )


def sub_reward_drift(
    rho: float, q: float, *, steps: int, needed: int, rate: float, bonus: float, seen: float = 1.0
) -> tuple[float, float]:
    """(dR/dα, dQ/dα) with a bonus for the first n steps, if all of them are right.

    The noise of the final reward is T η1² P^T / T²; the published code has η1 T in place of T η1², which is
    the same only at η1 = 1.
    """
    p = correctness(seen * rho)
    gained = rate * p ** (steps - 1) + bonus * needed / steps * p ** (needed - 1)
    noise = steps * rate**2 * p**steps + needed * (2 * rate * bonus * p**steps + bonus**2 * p**needed)
    return (
        gained * (seen + rho) / _S,
        2 * sqrt(q) * gained * (1 + seen * rho) / _S + noise / steps**2,
    )


def breadcrumbs_drift(
    rho: float, q: float, *, steps: int, rate: float, bonus: float, seen: float = 1.0
) -> tuple[float, float]:
    """(dR/dα, dQ/dα) with a bonus for each right step, credited to it and to the steps before it."""
    p, t = correctness(seen * rho), steps
    gained = rate * p ** (t - 1) + bonus
    noise = rate / t * (rate + bonus * (t + 1)) * p**t
    noise += bonus**2 * (t + 1) / t * p * (1 / 2 + (t - 1) * p / 3)
    return (
        (gained * (seen + rho) + bonus * (t - 1) * rho * p) / _S,
        2 * sqrt(q) * (gained * (1 + seen * rho) + bonus * (t - 1) * p) / _S + noise,
    )


def drift(rule: RewardRule, rho: float, q: float, *, seen: float = 1.0) -> tuple[float, float]:
    """(dR/dα, dQ/dα) under any rule."""
    match rule.protocol:
        case "all-correct":
            return all_correct_drift(
                rho, q, steps=rule.steps, rate=rule.rate, penalty=rule.penalty, seen=seen
            )
        case "n-of-t":
            return n_of_t_drift(
                rho,
                q,
                steps=rule.steps,
                needed=rule.needed,
                rate=rule.rate,
                penalty=rule.penalty,
                seen=seen,
            )
        case "sub-reward":
            return sub_reward_drift(
                rho, q, steps=rule.steps, needed=rule.needed, rate=rule.rate, bonus=rule.bonus, seen=seen
            )
        case "breadcrumbs":
            return breadcrumbs_drift(rho, q, steps=rule.steps, rate=rule.rate, bonus=rule.bonus, seen=seen)


def overlap_rate(rho: float, q: float, of_r: float, of_q: float) -> float:
    """dρ/dα from dR/dα and dQ/dα, as ρ = R/sqrt(Q)."""
    return (of_r - rho * of_q / (2 * sqrt(q))) / sqrt(q)


def overlap_equation(
    rho: float, q: float, *, steps: int, needed: int, rate: float, penalty: float = 0.0
) -> float:
    """dρ/dα of ``n_of_t_drift`` in one formula, in which the drift of the penalty has cancelled.

    (η1+η2) (1-ρ²)/(s sqrt(Q)) Pr[Bin(T-1, P) = n-1] - ρ/(2QT) E[G²]: a penalty acts through the larger gain,
    the noise and Q alone.
    """
    p = correctness(rho)
    decides = comb(steps - 1, needed - 1) * p ** (needed - 1) * (1 - p) ** (steps - needed)
    gain = (rate + penalty) * (1 - rho**2) / (_S * sqrt(q)) * decides
    return gain - rho / (2 * q * steps) * reward_noise(rho, steps, needed, rate, penalty)


# -- learning curves --------------------------------------------------------------


@dataclass(frozen=True)
class Learning:
    """A learning curve; every array has shape (times,).

    Attributes:
        alpha: episodes divided by D.
        rho: overlap of student and what it sees of the teacher.
        q: squared length of the student, over D.
        seen: c, the root of the share of the teacher's squared length that is seen.
    """

    alpha: Floats
    rho: Floats
    q: Floats
    seen: float = 1.0

    @property
    def r(self) -> Floats:
        """R = ρ sqrt(Q)."""
        return self.rho * np.sqrt(self.q)

    @property
    def error(self) -> Floats:
        """1 - P, the share of steps that are wrong."""
        return np.arccos(np.clip(self.seen * self.rho, -1, 1)) / np.pi


def solve(
    rule: RewardRule,
    alphas: Sequence[float] | Floats,
    *,
    rho0: float = 0.0,
    q0: float = 1.0,
    spherical: bool = False,
    control: Control | None = None,
    seen: float = 1.0,
    rtol: float = 1e-9,
) -> Learning:
    """The learning curve of a student of infinite dimension, by scipy's LSODA in (ρ, Q).

    Args:
        alphas: times of the answer, increasing from 0 or later.
        rho0, q0: the start at α = 0.
        spherical: the student is scaled back to Q = q0 after each episode.
        control: η and T over time, of ``all-correct`` alone; the penalty keeps its ratio to the rate.
        seen: c in (0, 1], the root of the share of the teacher's squared length that the student sees.
        rtol: relative tolerance; the absolute one is a thousandth of it.

    Raises:
        InputError: a wrong start or time (``invalid_number``), a control of another protocol
            (``wrong_reward_rule``), a tolerance that was not reached (``unreachable_tolerance``).
    """
    times = _checked_times(alphas)
    _check_start(rho0, q0, seen)
    if not LEAST_TOLERANCE <= rtol < 1:
        raise InputError(
            f"rtol {rtol:g} cannot be reached in double precision: give {LEAST_TOLERANCE:.2g} or more, "
            "below 1.",
            code="unreachable_tolerance",
        )
    if control is not None:
        check_controlled(rule)

    def slope(alpha: float, state: Floats) -> list[float]:
        rho, q = min(max(float(state[0]), -1.0), 1.0), max(float(state[1]), 0.0)
        if control is None:
            of_r, of_q = drift(rule, rho, q, seen=seen)
        else:
            rate, steps = control(alpha, rho, q)
            penalty = rule.penalty * rate / rule.rate
            of_r, of_q = all_correct_drift(rho, q, steps=steps, rate=rate, penalty=penalty, seen=seen)
        return [overlap_rate(rho, q, of_r, of_q), 0.0 if spherical else of_q]

    states = _integrated(slope, (rho0, q0), times, rtol)
    return Learning(times, states[0], states[1], seen)


def _integrated(
    slope: Callable[[float, Floats], list[float]], start: tuple[float, float], times: Floats, rtol: float
) -> Floats:
    """States (2, times).

    Raises:
        InputError: if the solver gave up (``unreachable_tolerance``).
    """
    if times[-1] == 0:
        return np.repeat(np.array(start)[:, None], len(times), axis=1)
    left = _MOST_EVALUATIONS

    def counted(alpha: float, state: Floats) -> list[float]:
        nonlocal left
        left -= 1
        if left < 0:
            raise ArithmeticError(f"its steps became too small at alpha {alpha:.3g}")
        return slope(alpha, state)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what LSODA warns of is in its message
            found = solve_ivp(
                counted, (0.0, times[-1]), start, method="LSODA", t_eval=times, rtol=rtol, atol=1e-3 * rtol
            )
        reason, states = str(found.message), np.asarray(found.y, float)
        solved = found.success and states.shape == (2, len(times)) and bool(np.isfinite(states).all())
    except ArithmeticError as error:
        reason, solved, states = str(error), False, np.empty((2, 0))
    if not solved:
        raise InputError(
            f"The perceptron's equations could not be solved to rtol {rtol:g} up to alpha {times[-1]:g} "
            f"({reason.rstrip('.')}); give a larger rtol, an earlier end or smaller rates.",
            code="unreachable_tolerance",
        )
    return states


def check_controlled(rule: RewardRule) -> None:
    """Refuse schedules of rules that have none.

    Raises:
        InputError: code ``wrong_reward_rule``.
    """
    if rule.protocol != "all-correct":
        raise InputError(
            f"protocol {rule.protocol} has no schedules of rate and steps: use all-correct.",
            code="wrong_reward_rule",
        )


def _checked_times(alphas: Sequence[float] | Floats) -> Floats:
    times = np.asarray(alphas, float)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or times[0] < 0:
        raise InputError(
            "alpha of the perceptron: give one or more numbers that are not negative.", code="invalid_number"
        )
    if (np.diff(times) <= 0).any():
        raise InputError("alpha of the perceptron: give increasing numbers.", code="invalid_number")
    return times


def _check_start(rho0: float, q0: float, seen: float) -> None:
    if not 0 < seen <= 1:
        raise InputError(
            f"seen {seen:g} is no share of a teacher: give a number above 0, at most 1.",
            code="invalid_number",
        )
    if not -1 <= rho0 <= 1:
        raise InputError(f"rho0 {rho0:g} is no overlap of two vectors: give -1 to 1.", code="invalid_number")
    if not (q0 > 0 and isfinite(q0)):
        raise InputError(f"q0 {q0:g} is no squared length: give a positive number.", code="invalid_number")
