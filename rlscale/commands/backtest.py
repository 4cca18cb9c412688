"""``rlscale backtest``."""

from __future__ import annotations

from typing import Annotated

import typer

from rlscale.commands.fit import make_estimator
from rlscale.commands.options import (
    AlgorithmOption,
    ColumnsOption,
    DuplicatesOption,
    EarlyExclusionOption,
    HorizonOption,
    JsonOption,
    LateStartOption,
    MinimizeOption,
    ObjectiveOption,
    RunColumnsOption,
    SeedOption,
    SizeOption,
    SourceArgument,
    SweepOption,
    TaskOption,
    WorkersOption,
    check_draws,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


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
        typer.Option(metavar="SHARE", help="Hold out the top share of the decades of the compute frontier."),
    ] = None,
    laws: Annotated[
        bool, typer.Option("--laws/--no-laws", help="Also score competing laws on the held-out points.")
    ] = False,
    law_draws: Annotated[
        int,
        typer.Option(
            metavar="DRAWS", help="Bootstrap draws for the differences between laws; 0 for none.", min=0
        ),
    ] = 60,
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    horizon: HorizonOption = None,
    objective: ObjectiveOption = "return",
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    run_columns: RunColumnsOption = None,
    duplicates: DuplicatesOption = "error",
    minimize: MinimizeOption = False,
    early_exclusion: EarlyExclusionOption = 1 / 64,
    late_start: LateStartOption = "auto",
    bootstrap: Annotated[
        int,
        typer.Option(
            metavar="DRAWS",
            help="Bootstrap draws for prediction intervals, 20 or more; 0 for none.",
            callback=check_draws,
        ),
    ] = 200,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    json_path: JsonOption = None,
) -> None:
    """Fit without the largest sizes or the largest computes, and compare predictions with what was held out.

    By default two parts are held out in turn: the largest size, and the top third
    of the decades of the compute frontier.
    """
    from rlscale.analysis.curves.load import load_curves
    from rlscale.analysis.studies.backtest import splits
    from rlscale.analysis.studies.backtest.study import backtest as run_backtest
    from rlscale.terminal.backtest import print_backtest

    if compute_cutoff is not None and cutoff_share is not None:
        raise InputError(
            "--compute-cutoff and --cutoff-share both set the cutoff; give one of them.",
            code="conflicting_options",
        )
    if not laws and context.get_parameter_source("law_draws").name == "COMMANDLINE":  # type: ignore[union-attr]
        raise InputError("--law-draws belongs to --laws; give both.", code="missing_option")
    estimator = make_estimator(objective, early_exclusion, late_start, bootstrap, seed, workers)
    curves = load_curves(
        source,
        sweep=sweep,
        task=task,
        algorithm=algorithm,
        horizon=horizon,
        columns=columns,
        size=size,
        run_columns=run_columns or (),
        duplicates=duplicates,
        minimize=minimize,
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
