"""The commands that go from curves to laws, forecasts and reports, as they are typed.

Each imports what it needs when it runs, so the command line starts quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scaling.errors import InputError
from scaling.terminal import JsonOption, SweepOption, console, write_json

analysis_app = typer.Typer()

SourceArgument = Annotated[
    str, typer.Argument(metavar="SRC", help="A store, or a Parquet or CSV file of curves.")
]
ObjectiveOption = Annotated[
    str, typer.Option(metavar="return|paper", help="Residuals in return, or in log I as in the paper.")
]
SizeOption = Annotated[
    str, typer.Option(metavar="params|params_total|flops", help="What counts as the size N.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Columns of a file, e.g. num_params=n,interactions=steps."),
]
EarlyExclusionOption = Annotated[
    str, typer.Option(metavar="SHARE", help="Share of the longest run of each size dropped at its start.")
]
TaskOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this task.")]
AlgorithmOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this algorithm.")]
HorizonOption = Annotated[float | None, typer.Option(metavar="H", help="Only runs of this horizon.")]
BootstrapOption = Annotated[
    int, typer.Option(metavar="DRAWS", help="Bootstrap draws for the intervals; 0 for none.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)]
WorkersOption = Annotated[
    int, typer.Option(help="Processes for the bootstrap; 0 for one a core. The result is the same.", min=0)
]


@analysis_app.command()
def fit(
    source: SourceArgument,
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    horizon: HorizonOption = None,
    objective: ObjectiveOption = "return",
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    early_exclusion: EarlyExclusionOption = "1/64",
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    json_path: JsonOption = None,
) -> None:
    """Fit the exponents of the scaling law to stored or imported curves."""
    from analysis import tables
    from analysis.curves import load_curves

    curves = load_curves(
        source,
        sweep=sweep,
        task=task,
        algorithm=algorithm,
        horizon=horizon,
        columns=tables.parse_columns(columns),
        size=tables.parse_size(size),
    )
    result = fit_as_typed(curves, objective, early_exclusion, bootstrap, seed, workers)
    write_json(json_path, result.model_dump(mode="json"))
    tables.print_fit(result, console)


def fit_as_typed(
    curves: Any, objective: str, early_exclusion: str, bootstrap: int, seed: int, workers: int
) -> Any:
    """Fit with the options as they were typed."""
    from analysis import tables
    from analysis.joint_fit import JointScalingFit, usable_cores

    estimator = JointScalingFit(
        objective=tables.parse_objective(objective),
        early_exclusion=tables.parse_share(early_exclusion),
        replicates=bootstrap,
        seed=seed,
        workers=workers or usable_cores(),
    )
    return estimator.fit(curves)


@analysis_app.command()
def forecast(
    fit_path: Annotated[Path, typer.Argument(metavar="FIT.json", help="Result of: rlscale fit --json.")],
    compute: Annotated[
        list[float], typer.Option(help="Size x environment steps to spend; give it once for each forecast.")
    ],
    env_cost: Annotated[
        float | None,
        typer.Option("--env-cost", metavar="NE", help="Cost of one environment step, in units of size."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Forecast compute-optimal sizes from a fit."""
    from analysis import tables
    from analysis.forecast import forecast as make_forecast
    from analysis.result import read_fit

    result = make_forecast(read_fit(fit_path), compute, env_cost=env_cost)
    write_json(json_path, result.model_dump(mode="json"))
    tables.print_forecast(result, console)


@analysis_app.command()
def report(
    context: typer.Context,
    source: SourceArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", help="The HTML file; figures go into a folder beside it.")
    ] = Path("report.html"),
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    horizon: HorizonOption = None,
    objective: ObjectiveOption = "return",
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    early_exclusion: EarlyExclusionOption = "1/64",
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    fit_path: Annotated[
        Path | None,
        typer.Option("--fit", metavar="FIT.json", help="Report this fit of SRC instead of fitting again."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Fit, and write one self-contained HTML file with the answer, the figures and where they come from."""
    from analysis import tables
    from analysis.curves import load_curves, read_store_record
    from analysis.report import check_out, print_summary, write_report
    from analysis.result import read_fit

    check_out(out)
    given = None if fit_path is None else read_fit(fit_path)
    if given is not None:
        for name in ("objective", "size", "early_exclusion", "bootstrap", "seed"):
            if context.get_parameter_source(name).name == "COMMANDLINE":  # type: ignore[union-attr]
                option = name.replace("_", "-")
                raise InputError(f"--{option} belongs to a new fit; leave it out, or leave out --fit.")
        made, size = given.provenance, given.provenance.size
        sweep, task = sweep or made.sweep, task or made.task
        algorithm, horizon = algorithm or made.algorithm, made.horizon if horizon is None else horizon
    curves = load_curves(
        source,
        sweep=sweep,
        task=task,
        algorithm=algorithm,
        horizon=horizon,
        columns=tables.parse_columns(columns),
        size=tables.parse_size(size),
    )
    result = given or fit_as_typed(curves, objective, early_exclusion, bootstrap, seed, workers)
    paths = write_report(curves, result, out, record=read_store_record(source, curves.selection))
    write_json(json_path, result.model_dump(mode="json"))
    print_summary(result, paths, console)
