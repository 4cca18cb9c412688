"""``rlscale forecast``, ``rlscale forecast score`` and ``rlscale suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.commands.options import (
    ColumnsOption,
    JsonOption,
    SizeOption,
    refuse_existing,
    same_value,
    writable,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json, write_yaml

if TYPE_CHECKING:
    from rlscale.analysis.curves.curve_set import Curves
    from rlscale.analysis.fit.result import FitResult
    from rlscale.analysis.forecast.suggest import Suggestion
    from rlscale.sweeps.specs.spec import SweepSpec


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
    seal_path: Annotated[
        Path | None,
        typer.Option(
            "--seal",
            metavar="FILE",
            help="Write a statement that rlscale forecast score can score later.",
            callback=writable,
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N:E[:RUNS]", help="Returns to seal, of RUNS new runs of size N at E steps; repeatable."
        ),
    ] = None,
    curves: Annotated[
        str | None,
        typer.Option(metavar="SRC", help="The curves of the fit, for --seal; default: where it read them."),
    ] = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="What the statement of --seal forecasts, for people.")
    ] = "",
    json_path: JsonOption = None,
) -> None:
    """Forecast compute-optimal sizes from a fit, for given computes, budgets or returns.

    With --seal they are also put on record, to be scored later: see rlscale forecast score --help.
    """
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
    if seal_path is None and (at or curves or title):
        raise InputError("--at, --curves and --title belong to --seal; give it too.", code="missing_option")
    stored = read_fit(fit_path)
    if seal_path is not None:
        _seal(stored, seal_path, at or [], compute or [], curves, title)
        if not (compute or flops or gpu_hours or returns or reference_return is not None or json_path):
            return
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


def _seal(
    fit: FitResult, path: Path, at: list[str], computes: list[float], source: str | None, title: str
) -> None:
    """Write the statement, and show it."""
    from rlscale.analysis.studies.sealing import RunToCome, seal
    from rlscale.terminal.record import print_sealed

    refuse_existing(path)
    curves = _curves_of(fit, source or fit.provenance.source)
    places = [RunToCome(*_place(text)) for text in at]
    statement = seal(fit, curves, places, computes=computes, title=title)
    write_json(path, statement.model_dump(mode="json"))
    print_sealed(statement, path, console)


def _curves_of(fit: FitResult, source: str) -> Curves:
    """The curves that were fitted, read from ``source``."""
    from rlscale.analysis.curves.load import load_curves

    fitted = fit.provenance
    return load_curves(
        source,
        sweep=fitted.sweep,
        task=fitted.task,
        algorithm=fitted.algorithm,
        horizon=fitted.horizon,
        size=fitted.size,
    )


def _place(text: str) -> tuple[float, float, int]:
    """``N:E`` or ``N:E:RUNS`` as numbers."""
    size, _, rest = text.partition(":")
    steps, colon, runs = rest.partition(":")
    try:
        return float(size), float(steps), int(runs) if colon else 1
    except ValueError as error:
        raise InputError(
            f"--at {text!r} is not of the form N:E or N:E:RUNS, e.g. 1e6:200000:3.", code="invalid_option"
        ) from error


def score(
    statement_path: Annotated[
        Path, typer.Argument(metavar="STATEMENT.json", help="The file of rlscale forecast FIT.json --seal.")
    ],
    curves: Annotated[
        list[str],
        typer.Option(
            metavar="SRC",
            help="Store or file with the new runs; repeatable. nu, N_opt and a multiplier need the old runs "
            "too.",
        ),
    ],
    curves_b: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC",
            help="The same of the second recipe, for a statement about two sources; repeatable.",
        ),
    ] = None,
    size: SizeOption = "params",
    columns: ColumnsOption = None,
    json_path: JsonOption = None,
) -> None:
    """Score a sealed statement against the runs that it forecast: hit or miss, interval score, CRPS.

    Small scores are good. A baseline that beats the forecast is shown as such. The statement is refused if
    it is not as it was sealed.
    """
    from rlscale.analysis.curves.curve_set import join_curves
    from rlscale.analysis.curves.load import load_curves, start_times
    from rlscale.analysis.forecast.record import read_statement
    from rlscale.analysis.forecast.scoring import score as score_statement
    from rlscale.analysis.studies.compare.sealing import score_comparison
    from rlscale.terminal.record import print_score

    statement = read_statement(statement_path)
    which: dict[str, Any] = {
        "task": statement.task,
        "algorithm": statement.algorithm,
        "horizon": statement.horizon,
        "columns": columns,
        "size": size,
        "minimize": statement.options.get("minimize", False),
    }

    def joined(sources: list[str]) -> Curves:
        return join_curves([load_curves(source, **which) for source in sources])

    recipes = statement.recipes
    if (curves_b is not None) != (recipes is not None and recipes.by is None):
        raise InputError(
            f"{statement_path} "
            + (
                f"compares two sources, {recipes.names[0]} and {recipes.names[1]}: give the curves of the "
                f"second recipe with --curves-b."
                if recipes is not None and recipes.by is None
                else "does not compare two sources: leave out --curves-b."
            ),
            code="missing_option" if curves_b is None else "conflicting_options",
        )
    started = {
        run: time for source in (*curves, *(curves_b or ())) for run, time in start_times(source).items()
    }
    if recipes is None:
        result = score_statement(statement, joined(curves), started=started)
    elif recipes.by is None:
        result = score_comparison(statement, joined(curves), joined(curves_b or []), started=started)
    else:
        a, b = (_with_value(curves, recipes.by, name, which) for name in recipes.names)
        result = score_comparison(statement, a, b, started=started)
    write_json(json_path, result.model_dump(mode="json"))
    print_score(result, console)


def _with_value(sources: list[str], by: str, value: str, which: dict[str, Any]) -> Curves:
    """The runs of all sources whose column ``by`` has a value."""
    from rlscale.analysis.curves.curve_set import join_curves
    from rlscale.analysis.curves.load import load_by

    found = []
    for source in sources:
        for name, curves in load_by(source, by, **which).items():
            if same_value(name, value):
                if isinstance(curves, InputError):
                    raise curves
                found.append(curves)
    if not found:
        raise InputError(
            f"{', '.join(sources)}: no run has {by} {value}, which the statement compares.",
            code="unknown_selection",
        )
    return join_curves(found)


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
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="NEXT.yaml", help="Write the runs as a spec for rlscale sweep run.", callback=writable
        ),
    ] = None,
    spec_name: Annotated[
        str | None,
        typer.Option(
            "--spec",
            metavar="SPEC",
            help="The spec of the sweep so far, for --out; default: the one that its store holds.",
        ),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Suggest the runs that narrow the interval of N_opt the most for a given compute."""
    from rlscale.analysis.fit.result import read_fit
    from rlscale.analysis.forecast.suggest import suggest as find_runs
    from rlscale.terminal.suggestion import print_suggestion
    from rlscale.terminal.tables import print_line

    if spec_name is not None and out is None:
        raise InputError("--spec belongs to --out; give it too.", code="missing_option")
    stored = read_fit(fit_path)
    so_far = None if out is None else _spec_of(stored, spec_name)
    result = find_runs(stored, budget, target=target_compute, widths=_widths_of(stored))
    write_json(json_path, result.model_dump(mode="json"))
    print_suggestion(result, console)
    if out is not None and so_far is not None:
        count = _write_next(out, *so_far, result)
        print_line(f"Wrote {out} with {count} runs; do them with: rlscale sweep run {out}", console)


def _widths_of(fit: FitResult) -> list[float] | None:
    """The widths of the fit's sizes: from the fit, else, for fits of earlier versions, from its curves."""
    if len(fit.provenance.widths):
        return fit.provenance.widths.tolist()
    try:
        widths = _curves_of(fit, fit.provenance.source).widths
    except InputError:  # they have moved
        return None
    return None if widths is None or len(widths) != len(fit.provenance.sizes) else widths.tolist()


def _spec_of(fit: FitResult, name: str | None) -> tuple[SweepSpec, str]:
    """The spec of the sweep that was fitted, and what messages call it.

    Raises:
        InputError: if it is neither given nor in the store of the fit.
    """
    from rlscale.analysis.curves.load import read_store_record
    from rlscale.analysis.curves.selection import Selection
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.specs.spec import parse_spec

    if name is not None:
        return find_spec(name), name
    fitted = fit.provenance
    try:
        record = read_store_record(fitted.source, Selection(fitted.sweep, fitted.task, fitted.algorithm))
    except InputError:  # it has moved
        record = None
    if record is None or len(record.specs) != 1:
        held = "several specs" if record is not None and record.specs else "no spec"
        raise InputError(
            f"{fitted.source} holds {held} of the runs of this fit; name that of their sweep with --spec.",
            code="no_spec",
        )
    ((sweep, values),) = record.specs.items()
    source = f"the stored spec of {sweep}"
    return parse_spec(values, source=source), source


def _write_next(out: Path, spec: SweepSpec, source: str, result: Suggestion) -> int:
    """Write the spec of the suggested runs; returns how many these are.

    Raises:
        InputError: if the sweep has no widths, or its spec varies something else.
    """
    from rlscale.analysis.formatting.numbers import brief_number
    from rlscale.sweeps.specs.next_sweep import FurtherRuns, next_values

    runs = [
        FurtherRuns(runs.width, runs.E, runs.longer_by, runs.seeds)
        for runs in result.runs
        if runs.width is not None
    ]
    if len(runs) < len(result.runs):
        raise InputError(
            "The runs of this fit have no widths that rise with their sizes, so no spec can be written; fit "
            "curves with the column 'width'.",
            code="no_widths",
        )
    heading = (
        f"Runs that rlscale suggest names for N_opt at compute {brief_number(result.target_compute)}, for "
        f"{brief_number(result.spent)} of a budget of {brief_number(result.budget)}."
    )
    write_yaml(out, next_values(spec, runs, source=source), heading=heading)
    return sum(run.seeds for run in runs)
