"""``rlscale fit``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.commands.options import (
    AlgorithmOption,
    BootstrapOption,
    ColumnsOption,
    DuplicatesOption,
    EarlyExclusionOption,
    HorizonOption,
    JsonOption,
    LateStartOption,
    MetricOption,
    MinimizeOption,
    ObjectiveOption,
    PeriodsOption,
    RunColumnsOption,
    SeedOption,
    SizeOption,
    SourceArgument,
    StandardInput,
    SweepOption,
    TaskOption,
    UnhealthyOption,
    WorkersOption,
)
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    from rlscale.analysis.choices import LateStartChoice, Objective
    from rlscale.analysis.curves.curve_set import Curves
    from rlscale.analysis.fit.joint_fit import JointScalingFit
    from rlscale.analysis.fit.result import FitResult


def fit(
    source: SourceArgument,
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
    unhealthy: UnhealthyOption = "keep",
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    periods: PeriodsOption = False,
    compare_sizes: Annotated[
        bool, typer.Option("--compare-sizes", help="Also fit with each of the other measures of size.")
    ] = False,
    metric: MetricOption = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Fit the runs of each value of this column by themselves."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Fit the exponents of the scaling law to stored or imported curves."""
    from rlscale.analysis.curves.load import load_by, load_curves
    from rlscale.analysis.studies.fits_by import fit_by
    from rlscale.analysis.studies.health.study import fit_with_health
    from rlscale.analysis.studies.natural_metrics import parse_metric
    from rlscale.analysis.studies.with_studies import with_studies
    from rlscale.terminal.fit import print_fit, print_fits_by
    from rlscale.terminal.studies import print_studies

    if metric is not None:
        parse_metric(metric)  # refuses a wrong metric before the fit, which takes time
    which: dict[str, Any] = {
        "sweep": sweep,
        "task": task,
        "algorithm": algorithm,
        "horizon": horizon,
        "columns": columns,
        "size": size,
        "run_columns": run_columns or (),
        "duplicates": duplicates,
        "minimize": minimize,
    }
    estimator = make_estimator(objective, early_exclusion, late_start, bootstrap, seed, workers)

    def fitted(curves: Curves) -> FitResult:
        used, result = fit_with_health(curves, estimator, unhealthy)
        return with_studies(
            used,
            result,
            workers=estimator.workers,
            periods=periods,
            size_measures=compare_sizes,
            metric=metric,
        )

    if by is not None:
        each = fit_by(by, load_by(source, by, **which), fitted)
        write_json(json_path, each.model_dump(mode="json"))
        print_fits_by(each, console)
        return
    curves = load_curves(source, **which)
    if isinstance(source, StandardInput):
        curves = replace(curves, source="standard input")
    result = fitted(curves)
    write_json(json_path, result.model_dump(mode="json"))
    print_fit(result, console)
    print_studies(result, console)


def make_estimator(
    objective: Objective,
    early_exclusion: float,
    late_start: LateStartChoice,
    bootstrap: int,
    seed: int,
    workers: int,
) -> JointScalingFit:
    """The estimator with the options of a command; 0 workers mean one for each core."""
    from rlscale.analysis.fit.joint_fit import JointScalingFit, usable_cores

    return JointScalingFit(
        objective=objective,
        early_exclusion=early_exclusion,
        late_start=late_start,
        replicates=bootstrap,
        seed=seed,
        workers=workers or usable_cores(),
    )
