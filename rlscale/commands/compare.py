"""``rlscale compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rlscale.commands.options import (
    AlgorithmOption,
    BootstrapOption,
    ColumnsOption,
    DuplicatesOption,
    EarlyExclusionOption,
    HorizonOption,
    JsonOption,
    MinimizeOption,
    RunColumnsOption,
    SeedOption,
    SizeOption,
    SweepOption,
    TaskOption,
    refuse_existing,
    same_value,
    writable,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


def compare(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="A store, or a Parquet or CSV file of curves: the first recipe."),
    ],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="The same of the second recipe; none with --by.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The recipes are two values of this run column of A."),
    ] = None,
    value_a: Annotated[
        str | None, typer.Option("--a", metavar="VALUE", help="Value of the first recipe, with --by.")
    ] = None,
    value_b: Annotated[
        str | None, typer.Option("--b", metavar="VALUE", help="Value of the second recipe, with --by.")
    ] = None,
    sweep: SweepOption = None,
    task: TaskOption = None,
    algorithm: AlgorithmOption = None,
    horizon: HorizonOption = None,
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    run_columns: RunColumnsOption = None,
    duplicates: DuplicatesOption = "error",
    minimize: MinimizeOption = False,
    early_exclusion: EarlyExclusionOption = 1 / 64,
    bootstrap: BootstrapOption = 1000,
    seed: SeedOption = 0,
    factor: Annotated[
        float, typer.Option(metavar="RATIO", help="Say how many seeds show this ratio of computes.")
    ] = 1.2,
    json_path: JsonOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw the frontiers and the multiplier, as .png, .pdf or .svg.",
            callback=writable,
        ),
    ] = None,
    seal_path: Annotated[
        Path | None,
        typer.Option(
            "--seal",
            metavar="FILE",
            help="Write a statement of the multiplier that rlscale forecast score can score later.",
            callback=writable,
        ),
    ] = None,
    compute: Annotated[
        list[float] | None,
        typer.Option(
            metavar="C",
            help="Compute of the second recipe at which to seal the multiplier; repeatable; default: the "
            "middle of the common returns.",
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="What the statement of --seal forecasts, for people.")
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also write a self-contained page; its figure goes into a folder beside it.",
        ),
    ] = None,
) -> None:
    """Compare the compute that two recipes take for the same returns.

    The recipes are two sources, or two values of a run column of one source.
    """
    from rlscale.analysis.figures.compare import comparison_figure
    from rlscale.analysis.figures.files import check_figure_name, write_figure
    from rlscale.analysis.reports.compare import write_comparison
    from rlscale.analysis.reports.page import check_out
    from rlscale.analysis.studies.compare.sealing import seal_comparison
    from rlscale.analysis.studies.compare.study import CompareRecipes
    from rlscale.terminal.compare import print_comparison
    from rlscale.terminal.record import print_sealed

    if seal_path is None and (compute or title):
        raise InputError("--compute and --title belong to --seal; give it too.", code="missing_option")
    refuse_existing(seal_path)
    if figure is not None:
        check_figure_name(figure)
    if report is not None:
        check_out(report)
    estimator = CompareRecipes(
        early_exclusion=early_exclusion, replicates=bootstrap, seed=seed, wanted_factor=factor
    )
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
    loaded = _by_column(a, b, by, value_a, value_b, which) if by else _sources(a, b, value_a, value_b, which)
    (name_a, curves_a), (name_b, curves_b) = loaded
    solution = estimator.solve(curves_a, curves_b, names=(name_a, name_b))
    result = estimator.result(solution)
    statement = (
        None if seal_path is None else seal_comparison(solution, result, compute or (), by=by, title=title)
    )
    write_json(json_path, result.model_dump(mode="json"))
    if figure is not None:
        write_figure(comparison_figure(result), figure)
    if report is not None:
        write_comparison(result, report)
    print_comparison(result, console)
    if statement is not None and seal_path is not None:
        write_json(seal_path, statement.model_dump(mode="json"))
        print_sealed(statement, seal_path, console)


def _by_column(
    a: str, b: str | None, by: str, value_a: str | None, value_b: str | None, which: dict[str, Any]
) -> list[tuple[str, Any]]:
    """The recipes as two values of a column."""
    from rlscale.analysis.curves.load import load_by

    if b is not None:
        raise InputError(
            "--by compares two values within one source; leave out B.", code="conflicting_options"
        )
    if (value_a is None) != (value_b is None):
        raise InputError(f"Give both --a and --b, the two values of {by}.", code="missing_option")
    if value_a is not None and value_a == value_b:
        raise InputError(f"--a and --b are both {value_a}; give two values of {by}.", code="same_recipe")
    found = load_by(a, by, **which)
    there = ", ".join(found)
    if value_a is None and len(found) != 2:
        raise InputError(
            f"{a} has {len(found)} values of {by} ({there}); pick two of them with --a and --b.",
            code="ambiguous_values",
        )
    loaded = []
    for value in (value_a, value_b) if value_a is not None and value_b is not None else tuple(found):
        name = next((each for each in found if same_value(each, value)), None)
        if name is None:
            raise InputError(f"{a} has no run with {by} {value}; it has: {there}.", code="unknown_selection")
        curves = found[name]
        if isinstance(curves, InputError):
            raise curves
        loaded.append((value, curves))
    return loaded


def _sources(
    a: str, b: str | None, value_a: str | None, value_b: str | None, which: dict[str, Any]
) -> list[tuple[str, Any]]:
    """The recipes as two sources."""
    from rlscale.analysis.curves.load import load_curves

    if value_a is not None or value_b is not None:
        raise InputError("--a and --b are values of a column; name it with --by.", code="missing_option")
    if b is None:
        raise InputError(
            "Give a second source, or a column of the first whose values are the recipes: --by algorithm.",
            code="missing_option",
        )
    return [(source, load_curves(source, **which)) for source in (a, b)]
