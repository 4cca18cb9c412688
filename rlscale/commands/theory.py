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


def check_step(step: float) -> float:
    """A step size.

    Raises:
        InputError: if it is not positive, or far too large.
    """
    if not 0 < step <= 10:
        raise InputError(f"--step must be above 0 and at most 10: got {step}.", code="invalid_number")
    return step


#: The examples of ``td``, each with the options that are of it alone.
_EXAMPLES = {
    "ring": {"states", "gamma", "lam", "n_step", "times"},
    "markov": {"steps", "runs", "seed"},
    "baird": {"steps", "runs", "seed"},
}


def parse_example(text: str) -> str:
    """The name of an example.

    Raises:
        InputError: if there is none of that name.
    """
    if text not in _EXAMPLES:
        raise InputError(
            f"--example {text!r} is not known: choose {' or '.join(_EXAMPLES)}.", code="unknown_choice"
        )
    return text


def _refuse_options_of_others(context: typer.Context, example: str) -> None:
    """Refuse options that the example does not use, where they were given.

    Raises:
        InputError: if there is one.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        known = any(name in options for options in _EXAMPLES.values())
        source = context.get_parameter_source(name)
        if known and name not in _EXAMPLES[example] and source is not None and source.name != "DEFAULT":
            raise InputError(
                f"{parameter.opts[0]} has no part in the example {example}: leave it out, or choose "
                f"--example {' or '.join(each for each in _EXAMPLES if name in _EXAMPLES[each])}.",
                code="invalid_option",
            )


FigureOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also draw the results, as .png, .pdf or .svg.", callback=writable),
]


def td(
    context: typer.Context,
    example: Annotated[
        str,
        typer.Option(
            parser=parse_example,
            metavar="ring|markov|baird",
            help="What is learned first on a ring; rates under Markov noise; Baird's counterexample.",
        ),
    ] = "ring",
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
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Updates of each run of markov or baird.",
            min=100,
            max=1_000_000,
            show_default="10000; baird 3000",
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(metavar="COUNT", help="Independent runs of markov or baird.", min=20, max=10_000),
    ] = 200,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Seed of markov or baird.", min=0)] = 0,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Show how TD learns, on examples whose answer is known in closed form.

    ring: a random walk on a ring, with reward in one state. Each mode of the values is learned at its own
    rate: what is rough between neighbouring states first, what is smooth last.

    markov: the errors of tabular, linear and average-reward TD and of Q-learning, beside the predicted ones.

    baird: off-policy linear TD that diverges, and its repair by gradient TD and emphatic TD.
    """
    _refuse_options_of_others(context, example)
    _check_figure(figure)
    if example == "ring":
        _ring(states, gamma, lam, n_step, times, json_path, figure)
    elif example == "markov":
        _markov(steps or 10_000, runs, seed, json_path, figure)
    else:
        _baird(steps or 3000, runs, seed, json_path, figure)


def _check_figure(figure: Path | None) -> None:
    if figure is not None:
        from rlscale.analysis.figures.files import check_figure_name

        check_figure_name(figure)


def _ring(
    states: int,
    gamma: float,
    lam: float,
    n_step: int,
    times: Times,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    from rlscale.analysis.theory.td_ring import ring_demo
    from rlscale.terminal.theory import print_ring

    demo = ring_demo(states, gamma=gamma, lam=lam, n_step=n_step, times=times)
    write_json(json_path, demo.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.files import write_figure
        from rlscale.analysis.figures.td_dynamics import td_figure

        write_figure(td_figure(demo), figure)
    print_ring(demo, console)


def _markov(steps: int, runs: int, seed: int, json_path: Path | None, figure: Path | None) -> None:
    from rlscale.analysis.theory.td_examples import markov_demo
    from rlscale.terminal.td_examples import print_markov

    demo = markov_demo(steps, runs=runs, seed=seed)
    write_json(json_path, demo.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.files import write_figure
        from rlscale.analysis.figures.td_examples import markov_figure

        write_figure(markov_figure(demo), figure)
    print_markov(demo, console)


def _baird(steps: int, runs: int, seed: int, json_path: Path | None, figure: Path | None) -> None:
    from rlscale.analysis.theory.td_examples import baird_demo
    from rlscale.terminal.td_examples import print_baird

    demo = baird_demo(steps, runs=runs, seed=seed)
    write_json(json_path, demo.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.files import write_figure
        from rlscale.analysis.figures.td_examples import baird_figure

        write_figure(baird_figure(demo), figure)
    print_baird(demo, console)


def context(
    features: Annotated[int, typer.Option(metavar="D", help="Features of a state.", min=1, max=50)] = 5,
    layers: Annotated[int, typer.Option(metavar="L", help="Layers, each an update.", min=1, max=200)] = 15,
    step: Annotated[
        float,
        typer.Option(metavar="A", help="Step size in the processes, up to 10.", callback=check_step),
    ] = 0.2,
    longest: Annotated[
        int, typer.Option(metavar="N", help="Longest context, in transitions.", min=1, max=200)
    ] = 39,
    processes: Annotated[
        int, typer.Option(metavar="COUNT", help="Random reward processes.", min=20, max=10_000)
    ] = 200,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Seed of all that is random.", min=0)] = 0,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Show that layers of linear attention with known weights are TD updates on what the prompt holds.

    Prints how far they are from the explicit updates, and how the error of the values falls with the context.
    """
    from rlscale.analysis.theory.in_context_demo import context_demo
    from rlscale.terminal.td_examples import print_context

    _check_figure(figure)
    demo = context_demo(
        features, layers=layers, step_size=step, longest=longest, processes=processes, seed=seed
    )
    write_json(json_path, demo.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.files import write_figure
        from rlscale.analysis.figures.td_examples import context_figure

        write_figure(context_figure(demo), figure)
    print_context(demo, console)
