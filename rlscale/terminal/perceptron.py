"""The RL perceptron as tables for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.formatting.numbers import brief_number
from rlscale.analysis.theory.perceptron_demo import (
    PerceptronCurves,
    PerceptronPhases,
    PerceptronSchedules,
    PerceptronSimulation,
)
from rlscale.terminal.tables import new_table, print_line


def print_curves(demo: PerceptronCurves, console: Console) -> None:
    """Order parameters at the times asked for, and where each other n stands at the end."""
    title = f"{demo.protocol}: {demo.needed} of {demo.steps} steps"
    table = new_table(title, "alpha", "overlap", "norm Q", "error 1 - P")
    for alpha, rho, q, error in zip(
        demo.asked.alpha, demo.asked.overlap, demo.asked.norm, demo.asked.error, strict=True
    ):
        table.add_row(
            brief_number(alpha, ".4g"), f"{rho:.5f}", brief_number(q, ".4g"), brief_number(error, ".4g")
        )
    console.print(table)
    if demo.front:
        table = new_table(
            "By the number of right steps needed", "n", "alpha at overlap 0.5", "overlap at the end"
        )
        for curve in demo.front:
            there = curve.alpha[curve.overlap >= 0.5]
            table.add_row(
                curve.name,
                brief_number(there[0]) if len(there) else "not reached",
                f"{curve.overlap[-1]:.4f}",
            )
        console.print(table)
    print_line(
        "Time alpha is episodes over D, for D without bound; the equations have no random part.", console
    )


def print_phases(demo: PerceptronPhases, console: Console) -> None:
    """Critical ratios by horizon, and the fixed points at the ratio asked for."""
    table = new_table(
        f"Phases at penalty/rate {demo.ratio:g}", "T", "n", "critical ratio", "phase", "stable", "unstable"
    )
    for row in demo.rows:
        stable = ", ".join(f"{each.overlap:.4f}" for each in row.fixed_points if each.stable)
        unstable = ", ".join(f"{each.overlap:.4f}" for each in row.fixed_points if not each.stable)
        critical = "none" if row.critical_ratio is None else brief_number(row.critical_ratio, ".4g")
        table.add_row(str(row.steps), str(row.needed), critical, row.phase, stable or "-", unstable or "-")
    console.print(table)
    print_line(
        "Easy: every student learns. Hybrid-hard: near the stable overlap they stay, beyond the unstable "
        "one they learn.",
        console,
    )


def print_schedules(demo: PerceptronSchedules, console: Console) -> None:
    """The overlap that each schedule has reached."""
    norm = "length fixed" if demo.spherical else "length free"
    title = f"Overlap by schedule, from {demo.rho0:g}, {norm}"
    table = new_table(title, "schedule", *(f"alpha {alpha:g}" for alpha in demo.alpha), "T at end")
    for each in demo.schedules:
        cells = (f"{value:.5f}" for value in each.asked)
        table.add_row(each.name, *cells, brief_number(each.horizon[-1]))
    console.print(table)


def print_simulation(demo: PerceptronSimulation, console: Console) -> None:
    """Means over students beside the equations."""
    title = f"{demo.students} students of D = {demo.dimension} beside the equations"
    table = new_table(title, "alpha", "steps", "overlap", "theory", "norm Q", "theory")
    rows = _shown(len(demo.theory.alpha))
    for k in rows:
        table.add_row(
            brief_number(demo.theory.alpha[k], ".4g"),
            brief_number(demo.interactions[k]),
            f"{demo.overlap_mean[k]:.4f} ± {demo.overlap_error[k]:.4f}",
            f"{demo.theory.overlap[k]:.4f}",
            f"{brief_number(demo.norm_mean[k], '.4g')} ± {brief_number(demo.norm_error[k], '.2g')}",
            brief_number(demo.theory.norm[k], ".4g"),
        )
    console.print(table)
    if demo.farthest is not None:
        print_line(
            f"± one standard error over students. The farthest mean is {demo.farthest:.2g} standard errors "
            "from the equations, which leave out terms of order T/D.",
            console,
        )


def _shown(count: int) -> list[int]:
    """At most about 8 rows, the last among them."""
    return sorted({*range(count - 1, -1, -max(1, count // 8))})
