"""``rlscale horizon``."""

from __future__ import annotations

from typing import Annotated

import typer

from rlscale.commands.fit import make_estimator
from rlscale.commands.options import (
    AlgorithmOption,
    BootstrapOption,
    ColumnsOption,
    DuplicatesOption,
    EarlyExclusionOption,
    JsonOption,
    LateStartOption,
    MinimizeOption,
    ObjectiveOption,
    RunColumnsOption,
    SeedOption,
    SizeOption,
    SweepOption,
    TaskOption,
    WorkersOption,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


def horizon(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A store or file of curves at several horizons, or the JSON of an earlier study.",
        ),
    ],
    level: Annotated[
        list[float] | None,
        typer.Option(metavar="R", help="Compare the interactions that reach this return; repeatable."),
    ] = None,
    predict: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N:h", help="Predict the interactions of N parameters at horizon h; repeatable."
        ),
    ] = None,
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    objective: ObjectiveOption = "return",
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    run_columns: RunColumnsOption = None,
    duplicates: DuplicatesOption = "error",
    minimize: MinimizeOption = False,
    early_exclusion: EarlyExclusionOption = 1 / 64,
    late_start: LateStartOption = "auto",
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    json_path: JsonOption = None,
) -> None:
    """Measure how the horizon of the return changes the interactions and the optimal size."""
    from rlscale.analysis.curves.load import load_by_horizon
    from rlscale.analysis.studies.horizon.result import read_horizon
    from rlscale.analysis.studies.horizon.study import fit_horizons, study_horizons, with_predictions
    from rlscale.commands.options import parse_predictions
    from rlscale.terminal.horizon import print_horizon

    wanted = parse_predictions(predict)
    if source.endswith(".json"):
        for name in context.params:
            given = context.get_parameter_source(name)
            if name not in ("source", "predict", "json_path") and given and given.name == "COMMANDLINE":
                option = name.replace("_", "-")
                raise InputError(
                    f"--{option} belongs to a new study; leave it out, or give curves.",
                    code="conflicting_options",
                )
        result = with_predictions(read_horizon(source), wanted)
    else:
        estimator = make_estimator(objective, early_exclusion, late_start, bootstrap, seed, workers)
        by_horizon = load_by_horizon(
            source,
            sweep=sweep,
            task=task,
            algorithm=algorithm,
            columns=columns,
            size=size,
            run_columns=run_columns or (),
            duplicates=duplicates,
            minimize=minimize,
        )
        fits = fit_horizons(by_horizon, estimator)
        result = study_horizons(by_horizon, fits, levels=level or (), predictions=wanted)
    write_json(json_path, result.model_dump(mode="json"))
    print_horizon(result, console)
