"""The commands that go from curves to laws, forecasts and reports, as they are typed.

Each imports what it needs when it runs, so the command line starts quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.errors import InputError
from scaling.terminal import JsonOption, SweepOption, console, write_json

if TYPE_CHECKING:
    from analysis.joint_fit import JointScalingFit

analysis_app = typer.Typer()

SourceArgument = Annotated[
    str, typer.Argument(metavar="SRC", help="A store, or a Parquet or CSV file of curves.")
]
ObjectiveOption = Annotated[
    str, typer.Option(metavar="return|paper", help="Residuals in return, or in log I as in the paper.")
]
SizeOption = Annotated[
    str, typer.Option(metavar="MEASURE", help="What counts as the size N: params, params_total or flops.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Columns of a file with other names, e.g. num_params=n."),
]
EarlyExclusionOption = Annotated[
    str, typer.Option(metavar="SHARE", help="Share of the longest run of each size dropped at its start.")
]
TaskOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this task.")]
AlgorithmOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this algorithm.")]
HorizonOption = Annotated[float | None, typer.Option(metavar="H", help="Only runs of this horizon.")]
BootstrapOption = Annotated[
    int, typer.Option(metavar="DRAWS", help="Bootstrap draws for the intervals, 20 or more; 0 for none.")
]
SeedOption = Annotated[int, typer.Option(metavar="SEED", help="Seed of the bootstrap.", min=0)]
PeriodsOption = Annotated[
    bool, typer.Option("--periods", help="Also fit the early, middle and late third of training apart.")
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:min=A,max=B]",
        help="Also find which metric is a power of I: auto, fail-ratio, log-failure, elo, trueskill, return.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT", help="Processes for the bootstrap; 0 for one a core. The result is the same.", min=0
    ),
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
    periods: PeriodsOption = False,
    compare_sizes: Annotated[
        bool, typer.Option("--compare-sizes", help="Also fit with every other measure of size.")
    ] = False,
    metric: MetricOption = None,
    json_path: JsonOption = None,
) -> None:
    """Fit the exponents of the scaling law to stored or imported curves."""
    from analysis import tables
    from analysis.curves import load_curves
    from analysis.study_tables import print_studies

    curves = load_curves(
        source,
        sweep=sweep,
        task=task,
        algorithm=algorithm,
        horizon=horizon,
        columns=tables.parse_columns(columns),
        size=tables.parse_size(size),
    )
    result = fit_as_typed(
        curves,
        objective,
        early_exclusion,
        bootstrap,
        seed,
        workers,
        periods=periods,
        size_measures=compare_sizes,
        metric=metric,
    )
    write_json(json_path, result.model_dump(mode="json"))
    tables.print_fit(result, console)
    print_studies(result, console)


def estimator_as_typed(
    objective: str, early_exclusion: str, bootstrap: int, seed: int, workers: int
) -> JointScalingFit:
    """The estimator that the options of a command ask for; 0 workers are one a core."""
    from analysis import tables
    from analysis.joint_fit import JointScalingFit, usable_cores

    return JointScalingFit(
        objective=tables.parse_objective(objective),
        early_exclusion=tables.parse_share(early_exclusion),
        replicates=tables.check_draws(bootstrap),
        seed=seed,
        workers=workers or usable_cores(),
    )


def fit_as_typed(
    curves: Any,
    objective: str,
    early_exclusion: str,
    bootstrap: int,
    seed: int,
    workers: int,
    *,
    periods: bool = False,
    size_measures: bool = False,
    metric: str | None = None,
) -> Any:
    """Fit with the options as they were typed, and add the studies asked for."""
    from analysis.natural_metrics import parse_metric
    from analysis.studies import with_studies

    if metric is not None:
        parse_metric(metric)  # a wrong one is told before the fit takes its time
    estimator = estimator_as_typed(objective, early_exclusion, bootstrap, seed, workers)
    return with_studies(
        curves,
        estimator.fit(curves),
        workers=estimator.workers,
        periods=periods,
        size_measures=size_measures,
        metric=metric,
    )


@analysis_app.command()
def forecast(
    fit_path: Annotated[Path, typer.Argument(metavar="FIT.json", help="Result of: rlscale fit --json.")],
    compute: Annotated[
        list[float] | None,
        typer.Option(metavar="C", help="Size x environment steps to spend; repeatable."),
    ] = None,
    flops: Annotated[
        list[float] | None, typer.Option(metavar="F", help="FLOPs of training to spend; repeatable.")
    ] = None,
    gpu_hours: Annotated[
        list[float] | None, typer.Option(metavar="H", help="GPU hours to spend; repeatable.")
    ] = None,
    gpu_flops: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak rate of the GPU, FLOP/s, for --gpu-hours.")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option(metavar="U", help="Share of the peak rate that training attains, 0 to 1.")
    ] = None,
    flops_per_param_interaction: Annotated[
        float | None,
        typer.Option(metavar="K", help="FLOPs per unit of size and interaction, in place of the sweep's."),
    ] = None,
    returns: Annotated[
        list[float] | None, typer.Option("--return", metavar="R", help="A return to reach; repeatable.")
    ] = None,
    reference_return: Annotated[
        float | None, typer.Option(metavar="R", help="Return of another learner, a human say.")
    ] = None,
    reference_interactions: Annotated[
        float | None, typer.Option(metavar="E", help="Interactions with which it reached that.")
    ] = None,
    env_cost: Annotated[
        float | None,
        typer.Option("--env-cost", metavar="NE", help="Cost of one environment step, in units of size."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Forecast compute-optimal sizes from a fit, for a compute, a budget or a return."""
    from analysis import tables
    from analysis.budgets import flops_budget, gpu_hours_budget
    from analysis.forecast import forecast as make_forecast
    from analysis.result import read_fit

    if (reference_return is None) != (reference_interactions is None):
        raise InputError("A reference needs both --reference-return and --reference-interactions.")
    if not gpu_hours and not (gpu_flops is None and utilization is None):
        raise InputError("--gpu-flops and --utilization belong to --gpu-hours; give the hours too.")
    if flops_per_param_interaction is not None and not (flops or gpu_hours):
        raise InputError("--flops-per-param-interaction belongs to --flops or --gpu-hours; give one of them.")
    if env_cost is not None and not (compute or flops or gpu_hours):
        raise InputError("--env-cost belongs to --compute, --flops or --gpu-hours; give one of them.")
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


def horizons_of(source: str, which: dict[str, Any]) -> dict[float, Any]:
    """The curves of each horizon, or none where they do not say their horizon or cannot be read."""
    from analysis.curves import load_by_horizon

    try:
        return load_by_horizon(source, **which)
    except InputError:
        return {}  # whatever is wrong with them, loading them as one tells it


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
    backtest: Annotated[
        bool, typer.Option("--backtest/--no-backtest", help="Also fit without a part and predict it.")
    ] = True,
    periods: PeriodsOption = False,
    metric: MetricOption = None,
    json_path: JsonOption = None,
) -> None:
    """Fit, and write one self-contained HTML file with the answer, the figures and where they come from."""
    from analysis import tables
    from analysis.curves import load_curves, read_store_record
    from analysis.joint_fit import usable_cores
    from analysis.reports.report import check_out, print_summary, require_same_curves, write_report
    from analysis.reports.report_backtest import default_section
    from analysis.reports.report_studies import horizon_section
    from analysis.result import read_fit
    from analysis.studies import with_studies

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
    which: dict[str, Any] = {
        "sweep": sweep,
        "task": task,
        "algorithm": algorithm,
        "columns": tables.parse_columns(columns),
        "size": tables.parse_size(size),
    }
    by_horizon = horizons_of(source, which)
    shown = horizon if horizon is not None or len(by_horizon) < 2 else min(by_horizon)
    curves = load_curves(source, horizon=shown, **which)
    if given is None:
        result = fit_as_typed(curves, objective, early_exclusion, bootstrap, seed, workers)
    else:
        require_same_curves(curves, given)
        result = given
    processes = workers or usable_cores()
    result = with_studies(
        curves,
        result,
        workers=processes,
        periods=periods,
        size_measures=True,
        metric=metric,
    )
    section = default_section(curves, result, workers=processes) if backtest else None
    study = None if shown is None else horizon_section(by_horizon, shown, result, workers=processes)
    paths = write_report(
        curves,
        result,
        out,
        record=read_store_record(source, curves.selection),
        backtest=section,
        horizon=study,
    )
    write_json(json_path, result.model_dump(mode="json"))
    print_summary(result, paths, console)


@analysis_app.command()
def backtest(
    context: typer.Context,
    source: SourceArgument,
    hold_out_sizes: Annotated[
        int | None, typer.Option(metavar="K", help="Hold out all runs of the K largest sizes.")
    ] = None,
    compute_cutoff: Annotated[
        float | None, typer.Option(metavar="C", help="Hold out every point with N x E above C.")
    ] = None,
    cutoff_share: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Hold out this share of the decades of the measured frontier."),
    ] = None,
    laws: Annotated[
        bool, typer.Option("--laws/--no-laws", help="Score competing laws on the same points.")
    ] = False,
    law_draws: Annotated[
        int,
        typer.Option(
            metavar="DRAWS", help="Resampled runs for the differences of --laws; 0 for none.", min=0
        ),
    ] = 60,
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    horizon: HorizonOption = None,
    objective: ObjectiveOption = "return",
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    early_exclusion: EarlyExclusionOption = "1/64",
    bootstrap: Annotated[
        int,
        typer.Option(
            metavar="DRAWS", help="Bootstrap draws for prediction intervals, 20 or more; 0 for none."
        ),
    ] = 200,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    json_path: JsonOption = None,
) -> None:
    """Fit without the largest sizes, or below a compute, and compare predictions with what was left out.

    Without a choice of what to hold out: the largest size, and the top third of
    the frontier's decades.
    """
    from analysis import tables
    from analysis.backtests import splits
    from analysis.backtests.backtest import backtest as run_backtest
    from analysis.backtests.backtest_tables import print_backtest
    from analysis.curves import load_curves

    if compute_cutoff is not None and cutoff_share is not None:
        raise InputError("--compute-cutoff and --cutoff-share both set the cutoff; give one of them.")
    if not laws and context.get_parameter_source("law_draws").name == "COMMANDLINE":  # type: ignore[union-attr]
        raise InputError("--law-draws belongs to --laws; give both.")
    estimator = estimator_as_typed(objective, early_exclusion, bootstrap, seed, workers)
    curves = load_curves(
        source,
        sweep=sweep,
        task=task,
        algorithm=algorithm,
        horizon=horizon,
        columns=tables.parse_columns(columns),
        size=tables.parse_size(size),
    )
    chosen = [] if hold_out_sizes is None else [splits.hold_out_sizes(curves, hold_out_sizes)]
    if cutoff_share is not None:
        compute_cutoff = splits.cutoff_for(curves, cutoff_share, estimator)
    if compute_cutoff is not None:
        chosen.append(splits.hold_out_compute(curves, compute_cutoff))
    result = run_backtest(
        curves, chosen or splits.default_splits(curves, estimator), estimator, laws=laws, law_draws=law_draws
    )
    write_json(json_path, result.model_dump(mode="json"))
    print_backtest(result, console)


@analysis_app.command()
def suggest(
    fit_path: Annotated[Path, typer.Argument(metavar="FIT.json", help="Result of: rlscale fit --json.")],
    budget: Annotated[float, typer.Option(metavar="C", help="Compute to spend: N x E, summed over runs.")],
    target_compute: Annotated[
        float | None,
        typer.Option(
            metavar="C",
            help="Compute at which N_opt is wanted; default: ten times the largest measured.",
        ),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Say which runs to do next, to learn the most about N_opt for the compute."""
    from analysis.result import read_fit
    from analysis.suggest import suggest as find_runs
    from analysis.suggest_tables import print_suggestion

    result = find_runs(read_fit(fit_path), budget, target=target_compute)
    write_json(json_path, result.model_dump(mode="json"))
    print_suggestion(result, console)
