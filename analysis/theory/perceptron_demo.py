"""What ``rlscale theory perceptron`` shows: curves, phases and schedules of the RL perceptron at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from rlscale.analysis.arrays import Floats, StoredFloats, StoredInts
from rlscale.analysis.records import SCHEMA_VERSION, Record
from rlscale.analysis.theory.perceptron_phases import Phase, critical_ratio, fixed_points
from rlscale.analysis.theory.perceptron_schedules import Schedule
from rlscale.analysis.theory.rl_perceptron import Control, Learning, RewardRule, reward_rule, solve

_POINTS = 160
_EARLIEST = 1e-3  # of the last α: where a curve's logarithmic axis begins


class Curve(Record):
    """A learning curve; ``overlap`` is ρ, ``norm`` Q, ``error`` 1 - P."""

    name: str
    alpha: StoredFloats
    overlap: StoredFloats
    norm: StoredFloats
    error: StoredFloats


class PerceptronCurves(Record):
    """The learning curve of a rule, at the times asked for and in between, and those of other n.

    Attributes:
        protocol, steps, needed, rate, penalty, bonus: the rule.
        rho0, q0, spherical, rtol: the start and how it was solved.
        asked: at the times asked for.
        curve: the same, dense.
        front: dense curves with other numbers of steps needed.
    """

    schema_version: int = SCHEMA_VERSION
    protocol: str
    steps: int
    needed: int
    rate: float
    penalty: float
    bonus: float
    rho0: float
    q0: float
    spherical: bool
    rtol: float
    asked: Curve
    curve: Curve
    front: list[Curve]


class Standing(Record):
    """A fixed point: its overlap, squared length over D, and whether it attracts."""

    overlap: float
    norm: float
    stable: bool


class PhaseRow(Record):
    """One horizon.

    Attributes:
        steps, needed: T and n.
        critical_ratio: η2/η1 above which it is hybrid-hard; None if it never is.
        phase: at the ratio asked for.
        fixed_points: at that ratio and η1 = 1, the least overlap first.
    """

    steps: int
    needed: int
    critical_ratio: float | None
    phase: Phase
    fixed_points: list[Standing]


class PerceptronPhases(Record):
    """Phases by horizon at one ratio of penalty and rate, with n = T - ``missing`` steps needed."""

    schema_version: int = SCHEMA_VERSION
    missing: int
    ratio: float
    rows: list[PhaseRow]


class ScheduledCurve(Record):
    """A learning curve under a schedule, with the rate over sqrt(Q) and the horizon in force."""

    name: str
    curve: Curve
    relative_rate: StoredFloats
    horizon: StoredFloats
    asked: StoredFloats


class PerceptronSchedules(Record):
    """Constant, polynomial and optimal schedules from one start; ``asked`` has ρ at ``alpha``."""

    schema_version: int = SCHEMA_VERSION
    rate: float
    steps: int
    rho0: float
    q0: float
    spherical: bool
    alpha: StoredFloats
    schedules: list[ScheduledCurve]


class PerceptronSimulation(Record):
    """Simulated students beside the equations; arrays have an entry for each α.

    Attributes:
        dimension, students, keeps, seed: of the simulation.
        schedule: its name.
        theory: the equations at the times of the simulation.
        curve: the equations, dense from 0.
        overlap_mean, overlap_error, norm_mean, norm_error: over students, with standard errors.
        interactions: steps of one student so far.
        farthest: the largest distance of a mean from the equations in standard errors, of α > 0.
    """

    schema_version: int = SCHEMA_VERSION
    dimension: int
    students: int
    keeps: str
    seed: int
    schedule: str
    theory: Curve
    curve: Curve
    overlap_mean: StoredFloats
    overlap_error: StoredFloats
    norm_mean: StoredFloats
    norm_error: StoredFloats
    interactions: StoredInts
    farthest: float | None


def stored_curve(name: str, found: Learning) -> Curve:
    """A curve of ``solve`` as a record."""
    return Curve(name=name, alpha=found.alpha, overlap=found.rho, norm=found.q, error=found.error)


def dense(last: float) -> Floats:
    """Times up to ``last``, evenly on a logarithmic axis, without 0."""
    return np.geomspace(_EARLIEST * last, last, _POINTS)


def perceptron_curves(
    rule: RewardRule,
    alphas: Sequence[float],
    *,
    front: Sequence[int] = (),
    rho0: float = 0.0,
    q0: float = 1.0,
    spherical: bool = False,
    rtol: float = 1e-9,
) -> PerceptronCurves:
    """A rule's learning curve and, of the same rule, those that need ``front`` right steps.

    Raises:
        InputError: see ``solve``; other n of a protocol that has none (``wrong_reward_rule``).
    """

    def solved(each: RewardRule, times: Sequence[float] | Floats, name: str) -> Curve:
        found = solve(each, times, rho0=rho0, q0=q0, spherical=spherical, rtol=rtol)
        return stored_curve(name, found)

    others = [replace(rule, needed=n) for n in front]
    return PerceptronCurves(
        **rule.__dict__,
        rho0=rho0,
        q0=q0,
        spherical=spherical,
        rtol=rtol,
        asked=solved(rule, alphas, "asked"),
        curve=solved(rule, dense(alphas[-1]), rule.protocol),
        front=[solved(each, dense(alphas[-1]), str(each.needed)) for each in others],
    )


def perceptron_phases(horizons: Sequence[int], ratio: float, missing: int = 0) -> PerceptronPhases:
    """Critical ratios, phases and fixed points by horizon.

    Raises:
        InputError: a horizon with no n = T - missing, a negative ratio (``wrong_reward_rule``).
    """
    rows = []
    for steps in horizons:
        rule = reward_rule("n-of-t", steps, steps - missing, penalty=ratio)
        found, critical = fixed_points(rule), critical_ratio(steps, rule.needed)
        rows.append(
            PhaseRow(
                steps=steps,
                needed=rule.needed,
                critical_ratio=critical if isfinite(critical) else None,
                phase="hybrid-hard" if ratio > critical else "easy",
                fixed_points=[Standing(overlap=each.rho, norm=each.q, stable=each.stable) for each in found],
            )
        )
    return PerceptronPhases(missing=missing, ratio=ratio, rows=rows)


def named_schedules(
    rate: float,
    steps: int,
    *,
    first: int,
    decay: float,
    growth: float,
    power: float,
    whole: bool = False,
) -> dict[str, Schedule]:
    """The schedules that are compared, by name; the polynomial horizon begins at ``first``.

    Raises:
        InputError: code ``schedule_out_of_range``.
    """
    polynomial = {"decay": decay, "growth": growth, "power": power, "whole": whole}
    return {
        "constant": Schedule(rate, steps, whole=whole),
        "polynomial": Schedule(rate, first, "polynomial", "polynomial", **polynomial),  # type: ignore[arg-type]
        "optimal-rate": Schedule(rate, steps, rate_kind="optimal", whole=whole),
        "optimal-steps": Schedule(rate, steps, steps_kind="optimal", whole=whole),
        "optimal": Schedule(rate, steps, "optimal", "optimal", whole=whole),
    }


def perceptron_schedules(
    schedules: dict[str, Schedule],
    rule: RewardRule,
    alphas: Sequence[float],
    *,
    rho0: float,
    q0: float,
    spherical: bool,
    rtol: float = 1e-9,
) -> PerceptronSchedules:
    """Learning curves under each schedule.

    Raises:
        InputError: see ``solve`` and ``Schedule``.
    """

    def solved(control: Control, times: Sequence[float] | Floats) -> Learning:
        return solve(rule, times, rho0=rho0, q0=q0, spherical=spherical, control=control, rtol=rtol)

    curves = []
    for name, schedule in schedules.items():
        found = solved(schedule, dense(alphas[-1]))
        in_force = np.array([schedule(*at) for at in zip(found.alpha, found.rho, found.q, strict=True)])
        curves.append(
            ScheduledCurve(
                name=name,
                curve=stored_curve(name, found),
                relative_rate=in_force[:, 0] / np.sqrt(found.q),
                horizon=in_force[:, 1],
                asked=solved(schedule, alphas).rho,
            )
        )
    return PerceptronSchedules(
        rate=rule.rate,
        steps=rule.steps,
        rho0=rho0,
        q0=q0,
        spherical=spherical,
        alpha=np.asarray(alphas, float),
        schedules=curves,
    )


def beside_theory(
    theory: Learning, curve: Learning, rho: Floats, q: Floats, interactions: Sequence[int], **setting: object
) -> PerceptronSimulation:
    """Means over students with standard errors, and how far the equations are from them.

    Args:
        theory: at the times of the simulation.
        curve: dense.
        rho, q: of the simulation, (times, students).
    """
    means = {"overlap": rho.mean(axis=1), "norm": q.mean(axis=1)}
    root = np.sqrt(rho.shape[1])
    errors = {"overlap": rho.std(axis=1, ddof=1) / root, "norm": q.std(axis=1, ddof=1) / root}
    away = [
        np.abs(means[name] - exact)[errors[name] > 0] / errors[name][errors[name] > 0]
        for name, exact in (("overlap", theory.rho), ("norm", theory.q))
    ]
    apart = np.concatenate(away)
    return PerceptronSimulation(
        theory=stored_curve("theory", theory),
        curve=stored_curve("theory", curve),
        overlap_mean=means["overlap"],
        overlap_error=errors["overlap"],
        norm_mean=means["norm"],
        norm_error=errors["norm"],
        interactions=np.asarray(interactions),
        farthest=float(apart.max()) if apart.size else None,
        **setting,
    )
