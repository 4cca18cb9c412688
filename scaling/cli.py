"""The ``rlscale`` command: the one module that may import scaling, sweeps and analysis.

Each command imports what it needs when it runs, so ``rlscale fit`` starts without torch and
ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scaling.errors import InputError, RlscaleError

app = typer.Typer(
    name="rlscale",
    help="Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sweep_app = typer.Typer(help="Plan, run and watch many runs.", no_args_is_help=True)
curves_app = typer.Typer(help="Look at, import and export stored curves.", no_args_is_help=True)
app.add_typer(sweep_app, name="sweep")
app.add_typer(curves_app, name="curves")

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON to FILE.")
]
StoreOption = Annotated[
    str, typer.Option("--store", metavar="STORE", help="Directory or URI of the run store.")
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", metavar="NAME", help="Only this sweep of the store.")
]

console = Console()


def write_json(path: Path | None, value: dict[str, Any]) -> None:
    """Write ``value`` beside ``path`` and rename it into place; nothing if ``path`` is None."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder that exists."
        ) from error


@app.command()
def fit(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A store, or a Parquet or CSV file of curves.")
    ],
    sweep: SweepOption = None,
    objective: Annotated[
        str, typer.Option(metavar="return|paper", help="Residuals in return, or in log I as in the paper.")
    ] = "return",
    size: Annotated[
        str, typer.Option(metavar="params|params_total|flops", help="What counts as the size N.")
    ] = "params",
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="OURS=THEIRS,...", help="Columns of a file, e.g. num_params=n,interactions=steps."
        ),
    ] = None,
    early_exclusion: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of the longest run of each size dropped at its start.")
    ] = "1/64",
    bootstrap: Annotated[
        int, typer.Option(metavar="DRAWS", help="Bootstrap draws for the intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    workers: Annotated[
        int,
        typer.Option(help="Processes for the bootstrap; 0 for one a core. The result is the same.", min=0),
    ] = 0,
    json_path: JsonOption = None,
) -> None:
    """Fit the exponents of the scaling law to stored or imported curves."""
    import numpy as np

    from analysis import tables
    from analysis.curves import load_curves
    from analysis.joint_fit import JointScalingFit, usable_cores

    curves = load_curves(
        source, sweep=sweep, columns=tables.parse_columns(columns), size=tables.parse_size(size)
    )
    estimator = JointScalingFit(
        objective=tables.parse_objective(objective),
        early_exclusion=tables.parse_share(early_exclusion),
        replicates=bootstrap,
        workers=workers or usable_cores(),
    )
    result = estimator.fit(curves, np.random.default_rng(seed))
    result = result.model_copy(update={"options": {**result.options, "seed": seed}})
    write_json(json_path, result.model_dump(mode="json"))
    tables.print_fit(result, console)


@app.command()
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


def main() -> None:
    """Entry point: failures become one sentence on stderr and an exit status."""
    try:
        app()
    except RlscaleError as error:
        Console(stderr=True, soft_wrap=True).print(f"rlscale: {error}", markup=False, highlight=False)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
