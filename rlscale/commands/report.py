"""``rlscale report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rlscale.commands.fit import make_estimator
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
    SweepOption,
    TaskOption,
    UnhealthyOption,
    WorkersOption,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json

#: Options that belong to a new fit.
_OF_A_FIT = (
    "objective",
    "size",
    "minimize",
    "early_exclusion",
    "late_start",
    "unhealthy",
    "bootstrap",
    "seed",
)


def horizons_of(source: str, which: dict[str, Any]) -> dict[float, Any]:
    """The curves of each horizon; none if the source states no horizons or cannot be read."""
    from rlscale.analysis.curves.load import load_by_horizon

    try:
        return load_by_horizon(source, **which)
    except InputError:
        return {}  # loading all curves together reports what is wrong


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
    run_columns: RunColumnsOption = None,
    duplicates: DuplicatesOption = "error",
    minimize: MinimizeOption = False,
    early_exclusion: EarlyExclusionOption = 1 / 64,
    late_start: LateStartOption = "auto",
    unhealthy: UnhealthyOption = "keep",
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    workers: WorkersOption = 0,
    fit_path: Annotated[
        Path | None,
        typer.Option("--fit", metavar="FIT.json", help="Use this fit of SRC instead of a new one."),
    ] = None,
    backtest: Annotated[
        bool,
        typer.Option("--backtest/--no-backtest", help="Also hold out a part of the curves and predict it."),
    ] = True,
    periods: PeriodsOption = False,
    metric: MetricOption = None,
    json_path: JsonOption = None,
) -> None:
    """Fit, and write one self-contained HTML file with the answer, the figures and their provenance."""
    from rlscale.analysis.curves.load import load_curves, read_store_record
    from rlscale.analysis.fit.joint_fit import usable_cores
    from rlscale.analysis.fit.result import read_fit
    from rlscale.analysis.reports.backtest import default_section
    from rlscale.analysis.reports.health import HealthSection
    from rlscale.analysis.reports.page import check_out
    from rlscale.analysis.reports.report import require_same_curves, write_report
    from rlscale.analysis.reports.studies import horizon_section
    from rlscale.analysis.studies.health.runs import assess_health
    from rlscale.analysis.studies.health.study import fit_with_health, used_for
    from rlscale.analysis.studies.with_studies import with_studies
    from rlscale.terminal.fit import print_summary

    check_out(out)
    given = None if fit_path is None else read_fit(fit_path)
    if given is not None:
        for name in _OF_A_FIT:
            if context.get_parameter_source(name).name == "COMMANDLINE":  # type: ignore[union-attr]
                option = name.replace("_", "-")
                raise InputError(
                    f"--{option} belongs to a new fit; leave it out, or leave out --fit.",
                    code="conflicting_options",
                )
        made, size = given.provenance, given.provenance.size
        sweep, task = sweep or made.sweep, task or made.task
        minimize = bool(given.options.get("minimize", False))
        algorithm, horizon = algorithm or made.algorithm, made.horizon if horizon is None else horizon
    which: dict[str, Any] = {
        "sweep": sweep,
        "task": task,
        "algorithm": algorithm,
        "columns": columns,
        "size": size,
        "run_columns": run_columns or (),
        "duplicates": duplicates,
        "minimize": minimize,
    }
    by_horizon = horizons_of(source, which)
    shown = horizon if horizon is not None or len(by_horizon) < 2 else min(by_horizon)
    all_curves = load_curves(source, horizon=shown, **which)
    if given is None:
        estimator = make_estimator(objective, early_exclusion, late_start, bootstrap, seed, workers)
        curves, result = fit_with_health(all_curves, estimator, unhealthy)
    else:
        curves, result = used_for(all_curves, given), given
        require_same_curves(curves, given)
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
        health=HealthSection(all_curves, assess_health(all_curves)),
    )
    write_json(json_path, result.model_dump(mode="json"))
    print_summary(result, paths, console, section.result if section else None)
