"""``rlscale theory perceptron``: a reinforcement-learning task whose learning curves are known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rlscale.commands.options import JsonOption, writable
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json

ProtocolName = Literal["all-correct", "n-of-t", "sub-reward", "breadcrumbs"]
KeepsName = Literal["inputs", "weights", "overlaps"]
ScheduleName = Literal["none", "constant", "polynomial", "optimal-rate", "optimal-steps", "optimal"]


class Numbers(tuple[float, ...]):
    """Positive numbers, in a type that typer takes for one value."""


class Counts(tuple[int, ...]):
    """Whole numbers, in a type that typer takes for one value."""


def parse_numbers(text: str) -> Numbers:
    """``1,3,10``, increasing.

    Raises:
        InputError: if they are anything else.
    """
    try:
        numbers = Numbers(float(part) for part in text.split(","))
    except ValueError:
        numbers = Numbers()
    rising = all(before < after for before, after in pairwise(numbers))
    if not numbers or not rising or not all(0 < number < inf for number in numbers):
        raise InputError(
            f"--alpha {text!r}: give increasing positive numbers with commas between, e.g. 1,10,100.",
            code="invalid_option",
        )
    return numbers


def parse_counts(text: str) -> Counts:
    """``7,9,13``.

    Raises:
        InputError: if they are anything but whole numbers of 1 or more.
    """
    try:
        counts = Counts(int(part) for part in text.split(","))
    except ValueError:
        counts = Counts()
    if not counts or min(counts) < 1:
        raise InputError(
            f"{text!r}: give whole numbers of 1 or more with commas between, e.g. 7,9,13.",
            code="invalid_option",
        )
    return counts


ProtocolOption = Annotated[ProtocolName, typer.Option(help="How an episode is rewarded.")]
StepsOption = Annotated[int, typer.Option(metavar="T", help="Steps of an episode.")]
NeededOption = Annotated[
    int | None, typer.Option(metavar="N", help="Right steps that are paid; default: all.")
]
RateOption = Annotated[float, typer.Option(metavar="ETA1", help="Rate of a paid episode.")]
PenaltyOption = Annotated[float, typer.Option(metavar="ETA2", help="Rate of an episode that is not paid.")]
BonusOption = Annotated[float, typer.Option(metavar="R", help="Bonus of sub-reward and breadcrumbs.")]
OverlapOption = Annotated[float, typer.Option("--rho0", metavar="RHO", help="Overlap at the start.")]
NormOption = Annotated[float, typer.Option("--q0", metavar="Q", help="Squared length over D at the start.")]
SphericalOption = Annotated[bool, typer.Option("--spherical", help="Keep each student's length.")]
ToleranceOption = Annotated[float, typer.Option(metavar="TOL", help="Relative tolerance of the equations.")]
AlphaOption = Annotated[
    Numbers, typer.Option(parser=parse_numbers, metavar="A,...", help="Times, in episodes over D.")
]
FirstOption = Annotated[int, typer.Option(metavar="T0", help="Polynomial schedule: T0 + A alpha^B steps.")]
DecayOption = Annotated[float, typer.Option(metavar="C", help="Polynomial schedule: rate / (1 + C alpha).")]
GrowthOption = Annotated[float, typer.Option(metavar="A", help="Polynomial schedule: T0 + A alpha^B steps.")]
PowerOption = Annotated[float, typer.Option(metavar="B", help="Polynomial schedule: T0 + A alpha^B steps.")]
FigureOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also draw it, as .png, .pdf or .svg.", callback=writable),
]


def perceptron_solve(
    protocol: ProtocolOption = "all-correct",
    steps: StepsOption = 5,
    needed: NeededOption = None,
    rate: RateOption = 1.0,
    penalty: PenaltyOption = 0.0,
    bonus: BonusOption = 0.0,
    rho0: OverlapOption = 0.0,
    q0: NormOption = 1.0,
    spherical: SphericalOption = False,
    alpha: AlphaOption = "1,10,100,1000",  # type: ignore[assignment]
    front: Annotated[
        Counts | None,
        typer.Option(
            parser=parse_counts,
            metavar="N,...",
            help="Compare these numbers of right steps: speed, accuracy.",
        ),
    ] = None,
    rtol: ToleranceOption = 1e-9,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Learning curves of students of infinite dimension, from their equations."""
    from rlscale.analysis.theory.perceptron_demo import perceptron_curves
    from rlscale.analysis.theory.rl_perceptron import reward_rule
    from rlscale.terminal.perceptron import print_curves

    _check_figure(figure)
    rule = reward_rule(protocol, steps, needed, rate=rate, penalty=penalty, bonus=bonus)
    start: dict[str, Any] = {"rho0": rho0, "q0": q0, "spherical": spherical, "rtol": rtol}
    demo = perceptron_curves(rule, alpha, front=front or (), **start)
    write_json(json_path, demo.model_dump(mode="json"))
    _draw(figure, lambda figures: figures.curves_figure(demo))
    print_curves(demo, console)


def perceptron_phase(
    horizons: Annotated[
        Counts, typer.Option(parser=parse_counts, metavar="T,...", help="Steps of an episode.")
    ] = "2,3,4,5,6,8,10,12,13,15",  # type: ignore[assignment]
    missing: Annotated[
        int, typer.Option(metavar="M", help="Wrong steps that are forgiven: n = T - M.", min=0)
    ] = 0,
    ratio: Annotated[float, typer.Option(metavar="R", help="Penalty over rate to look at.")] = 0.1,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Which horizons and penalties catch students for good: phases and fixed points."""
    from rlscale.analysis.theory.perceptron_demo import perceptron_phases
    from rlscale.terminal.perceptron import print_phases

    _check_figure(figure)
    demo = perceptron_phases(sorted(set(horizons)), ratio, missing)
    write_json(json_path, demo.model_dump(mode="json"))
    _draw(figure, lambda figures: figures.phases_figure(demo))
    print_phases(demo, console)


def perceptron_schedule(
    steps: StepsOption = 8,
    rate: RateOption = 0.5,
    rho0: OverlapOption = 0.05,
    q0: NormOption = 1.0,
    free_norm: Annotated[bool, typer.Option("--free-norm", help="Let the student's length change.")] = False,
    first: FirstOption = 2,
    decay: DecayOption = 0.02,
    growth: GrowthOption = 0.2,
    power: PowerOption = 1.0,
    alpha: AlphaOption = "10,100,1000",  # type: ignore[assignment]
    rtol: ToleranceOption = 1e-9,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Constant, polynomial and optimal schedules of rate and horizon, all steps right, no penalty."""
    from rlscale.analysis.theory.perceptron_demo import named_schedules, perceptron_schedules
    from rlscale.analysis.theory.rl_perceptron import reward_rule
    from rlscale.terminal.perceptron import print_schedules

    _check_figure(figure)
    rule = reward_rule("all-correct", steps, rate=rate)
    schedules = named_schedules(rate, steps, first=first, decay=decay, growth=growth, power=power)
    demo = perceptron_schedules(schedules, rule, alpha, rho0=rho0, q0=q0, spherical=not free_norm, rtol=rtol)
    write_json(json_path, demo.model_dump(mode="json"))
    _draw(figure, lambda figures: figures.schedules_figure(demo))
    print_schedules(demo, console)


def perceptron_simulate(
    protocol: ProtocolOption = "all-correct",
    steps: StepsOption = 5,
    needed: NeededOption = None,
    rate: RateOption = 1.0,
    penalty: PenaltyOption = 0.0,
    bonus: BonusOption = 0.0,
    rho0: OverlapOption = 0.0,
    q0: NormOption = 1.0,
    spherical: SphericalOption = False,
    alpha: AlphaOption = "1,2,5,10,20,50",  # type: ignore[assignment]
    dimension: Annotated[int, typer.Option(metavar="D", help="Dimension of students and inputs.")] = 400,
    students: Annotated[int, typer.Option(metavar="COUNT", help="Students, 2 or more.")] = 64,
    keeps: Annotated[
        KeepsName, typer.Option(help="What is simulated; all three have the same law.")
    ] = "overlaps",
    schedule: Annotated[
        ScheduleName, typer.Option(help="Rate and horizon over time; T is rounded.")
    ] = "none",
    first: FirstOption = 2,
    decay: DecayOption = 0.02,
    growth: GrowthOption = 0.2,
    power: PowerOption = 1.0,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Of the random numbers.", min=0)] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it runs.")] = "cpu",
    rtol: ToleranceOption = 1e-9,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Students of finite dimension beside the equations, with standard errors."""
    from rlscale.analysis.theory.perceptron_demo import beside_theory, named_schedules
    from rlscale.analysis.theory.rl_perceptron import reward_rule, solve
    from rlscale.scaling.solvable.rl_perceptron import Students, simulate
    from rlscale.scaling.training.device import resolve_device
    from rlscale.terminal.perceptron import print_simulation

    _check_figure(figure)
    if students < 2:
        raise InputError(f"--students {students}: a standard error needs 2 or more.", code="invalid_number")
    rule = reward_rule(protocol, steps, needed, rate=rate, penalty=penalty, bonus=bonus)
    control = None
    if schedule != "none":
        named = named_schedules(rate, steps, first=first, decay=decay, growth=growth, power=power, whole=True)
        control = named[schedule]
        if penalty and schedule.startswith("optimal"):
            raise InputError(
                f"--schedule {schedule} is optimal without a penalty only: leave --penalty out.",
                code="invalid_option",
            )
    start: dict[str, Any] = {"rho0": rho0, "q0": q0, "spherical": spherical}
    batch = Students(dimension, students, keeps=keeps, seed=seed, device=resolve_device(device), **start)
    found = simulate(rule, alpha, batch, control=control)
    dense = [found.alpha[-1] * part / 200 for part in range(201)]
    demo = beside_theory(
        solve(rule, found.alpha, control=control, rtol=rtol, **start),
        solve(rule, dense, control=control, rtol=rtol, **start),
        found.rho,
        found.q,
        found.interactions.tolist(),
        dimension=dimension,
        students=students,
        keeps=keeps,
        seed=seed,
        schedule=schedule,
    )
    write_json(json_path, demo.model_dump(mode="json"))
    _draw(figure, lambda figures: figures.simulation_figure(demo))
    print_simulation(demo, console)


def _check_figure(path: Path | None) -> None:
    if path is not None:
        from rlscale.analysis.figures.files import check_figure_name

        check_figure_name(path)


def _draw(path: Path | None, make: Callable[[Any], Any]) -> None:
    if path is not None:
        from rlscale.analysis.figures import perceptron
        from rlscale.analysis.figures.files import write_figure

        write_figure(make(perceptron), path)
