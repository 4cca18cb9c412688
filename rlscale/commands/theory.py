"""``rlscale theory``: settings whose true answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import JsonOption, writable
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


class Times(tuple[float, ...]):
    """Times, in a type that typer takes for one value."""


def parse_times(text: str) -> Times:
    """``1,3,10`` as numbers.

    Raises:
        InputError: if one is no number, or not positive, or there are none.
    """
    try:
        times = Times(float(part) for part in text.split(","))
    except ValueError:
        times = Times()
    if not times or not all(0 < time < float("inf") for time in times):
        raise InputError(
            f"--times {text!r}: give positive numbers with commas between, e.g. 1,3,10.",
            code="invalid_option",
        )
    return times


def check_gamma(gamma: float) -> float:
    """A discount.

    Raises:
        InputError: if values with it need not be finite.
    """
    if not 0 <= gamma < 1:
        raise InputError(f"--gamma must be at least 0 and below 1: got {gamma}.", code="invalid_number")
    return gamma


def td(
    states: Annotated[int, typer.Option(metavar="N", help="States of the ring.", min=3, max=500)] = 50,
    gamma: Annotated[float, typer.Option(metavar="G", help="Discount.", callback=check_gamma)] = 0.95,
    lam: Annotated[
        float, typer.Option("--lambda", metavar="L", help="Lambda of the lambda-return.", min=0, max=1)
    ] = 0.8,
    n_step: Annotated[
        int, typer.Option(metavar="COUNT", help="Rewards in an n-step target.", min=1, max=1000)
    ] = 5,
    times: Annotated[
        Times,
        typer.Option(
            parser=parse_times, metavar="T,...", help="Times of TD; sweeps of value iteration, rounded."
        ),
    ] = "1,3,10,30",  # type: ignore[assignment]
    json_path: JsonOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw rates, errors and roughness, as .png, .pdf or .svg.",
            callback=writable,
        ),
    ] = None,
) -> None:
    """Show which parts of the values TD learns first, on a ring of states, in closed form.

    A random walk on a ring, with reward in one state. Each mode of the values is learned at its own rate:
    what is rough between neighbouring states first, what is smooth last.
    """
    from rlscale.analysis.theory.td_ring import ring_demo
    from rlscale.terminal.theory import print_ring

    if figure is not None:
        from rlscale.analysis.figures.files import check_figure_name

        check_figure_name(figure)
    demo = ring_demo(states, gamma=gamma, lam=lam, n_step=n_step, times=times)
    write_json(json_path, demo.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.files import write_figure
        from rlscale.analysis.figures.td_dynamics import td_figure

        write_figure(td_figure(demo), figure)
    print_ring(demo, console)
