"""Assembles the ``rlscale`` command and turns errors into exit statuses.

Commands are plain functions of ``rlscale.commands``. Each imports what it needs when it runs, so
``rlscale fit`` starts without torch and ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from rlscale.commands import (
    backtest,
    cluster,
    compare,
    config,
    curves,
    demo,
    doctor,
    fit,
    forecast,
    horizon,
    report,
    sweep,
    train,
    tune,
)
from rlscale.scaling.errors import RlscaleError
from rlscale.terminal.console import complain

#: Packages of the extras: without them a command says how to install them.
_EXTRAS = ("torch", "gymnasium", "sklearn", "ray")


def _group(help_text: str | None, **commands: Any) -> typer.Typer:
    """A group of commands, in the order given."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    for name, command in commands.items():
        group.command(name)(command)
    return group


app = typer.Typer(
    name="rlscale",
    help="Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from rlscale import __version__

        typer.echo(f"rlscale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes."""


app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("batch-search")(config.batch_search)
app.add_typer(
    _group("Derive the config of one run from another.", rescale=config.config_rescale), name="config"
)
app.add_typer(
    _group(
        "Plan, run and watch sweeps of many runs.",
        presets=sweep.sweep_presets,
        show=sweep.sweep_show,
        plan=sweep.sweep_plan,
        run=sweep.sweep_run,
        retry=sweep.sweep_retry,
        status=sweep.sweep_status,
        tune=tune.sweep_tune,
        submit=cluster.sweep_submit,
        resume=cluster.sweep_resume,
        stop=cluster.sweep_stop,
        logs=cluster.sweep_logs,
    ),
    name="sweep",
)
app.add_typer(
    _group(
        "Import, show and export learning curves.",
        **{"import": curves.curves_import, "show": curves.curves_show, "export": curves.curves_export},
    ),
    name="curves",
)
app.command("fit")(fit.fit)
app.command("forecast")(forecast.forecast)
app.command("report")(report.report)
app.command("backtest")(backtest.backtest)
app.command("suggest")(forecast.suggest)
app.command("horizon")(horizon.horizon)
app.command("compare")(compare.compare)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point: failures become one sentence on stderr and an exit status."""
    try:
        app()
    except RlscaleError as error:
        complain(str(error))
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in _EXTRAS:
            raise
        complain(f"This command needs {error.name}; install it with: pip install 'rlscale[all]'")
        sys.exit(2)


if __name__ == "__main__":
    main()
