"""``rlscale forecast`` and ``rlscale suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import JsonOption
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


def forecast(
    fit_path: Annotated[Path, typer.Argument(metavar="FIT.json", help="The result of rlscale fit --json.")],
    compute: Annotated[
        list[float] | None,
        typer.Option(metavar="C", help="Compute to spend, size x environment steps; repeatable."),
    ] = None,
    flops: Annotated[
        list[float] | None, typer.Option(metavar="F", help="Training FLOPs to spend; repeatable.")
    ] = None,
    gpu_hours: Annotated[
        list[float] | None, typer.Option(metavar="H", help="GPU hours to spend; repeatable.")
    ] = None,
    gpu_flops: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak speed of the GPU in FLOP/s, for --gpu-hours.")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option(metavar="U", help="Share of the peak speed that training reaches, 0 to 1.")
    ] = None,
    flops_per_param_interaction: Annotated[
        float | None,
        typer.Option(
            metavar="K", help="FLOPs per unit of size and interaction; default: those of the sweep."
        ),
    ] = None,
    returns: Annotated[
        list[float] | None, typer.Option("--return", metavar="R", help="A return to reach; repeatable.")
    ] = None,
    reference_return: Annotated[
        float | None, typer.Option(metavar="R", help="Return of another learner, such as a human.")
    ] = None,
    reference_interactions: Annotated[
        float | None, typer.Option(metavar="E", help="Interactions that the other learner needed for it.")
    ] = None,
    env_cost: Annotated[
        float | None,
        typer.Option("--env-cost", metavar="NE", help="Cost of one environment step, in units of size."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Forecast compute-optimal sizes from a fit, for given computes, budgets or returns."""
    from rlscale.analysis.fit.result import read_fit
    from rlscale.analysis.forecast.budgets import flops_budget, gpu_hours_budget
    from rlscale.analysis.forecast.sizes import forecast as make_forecast
    from rlscale.terminal import forecast as tables

    if (reference_return is None) != (reference_interactions is None):
        raise InputError(
            "A reference needs both --reference-return and --reference-interactions.", code="missing_option"
        )
    if not gpu_hours and not (gpu_flops is None and utilization is None):
        raise InputError(
            "--gpu-flops and --utilization belong to --gpu-hours; give the hours too.", code="missing_option"
        )
    if flops_per_param_interaction is not None and not (flops or gpu_hours):
        raise InputError(
            "--flops-per-param-interaction belongs to --flops or --gpu-hours; give one of them.",
            code="missing_option",
        )
    if env_cost is not None and not (compute or flops or gpu_hours):
        raise InputError(
            "--env-cost belongs to --compute, --flops or --gpu-hours; give one of them.",
            code="missing_option",
        )
    stored = read_fit(fit_path)
    rate = flops_per_param_interaction
    budgets = [flops_budget(stored, value, per_param_interaction=rate) for value in flops or ()]
    budgets += [
        gpu_hours_budget(
            stored, value, gpu_flops=gpu_flops, utilization=utilization, per_param_interaction=rate
        )
        for value in gpu_hours or ()
    ]
    result = make_forecast(
        stored,
        compute or (),
        env_cost=env_cost,
        budgets=budgets,
        returns=returns or (),
        reference=None
        if reference_return is None or reference_interactions is None
        else (reference_return, reference_interactions),
    )
    write_json(json_path, result.model_dump(mode="json"))
    tables.print_forecast(result, console)


def suggest(
    fit_path: Annotated[Path, typer.Argument(metavar="FIT.json", help="The result of rlscale fit --json.")],
    budget: Annotated[
        float, typer.Option(metavar="C", help="Compute to spend, the sum of N x E over the new runs.")
    ],
    target_compute: Annotated[
        float | None,
        typer.Option(
            metavar="C",
            help="Compute at which to estimate N_opt; default: ten times the largest measured.",
        ),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Suggest the runs that narrow the interval of N_opt the most for a given compute."""
    from rlscale.analysis.fit.result import read_fit
    from rlscale.analysis.forecast.suggest import suggest as find_runs
    from rlscale.terminal.suggestion import print_suggestion

    result = find_runs(read_fit(fit_path), budget, target=target_compute)
    write_json(json_path, result.model_dump(mode="json"))
    print_suggestion(result, console)
