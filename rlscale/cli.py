"""Assembles the ``rlscale`` command and turns errors into exit statuses.

Commands are plain functions of ``rlscale.commands``. Each imports what it needs when it runs, so
``rlscale fit`` starts without torch and ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rlscale.commands import (
    backtest,
    capacity,
    check,
    cluster,
    compare,
    config,
    curves,
    demo,
    distill,
    doctor,
    fit,
    forecast,
    horizon,
    in_context,
    perceptron,
    report,
    sweep,
    theory,
    train,
    tune,
)
from rlscale.scaling.errors import RlscaleError
from rlscale.terminal.console import NOT_FINITE, complain

#: Packages of the extras: without them a command says how to install them.
_EXTRAS = ("torch", "gymnasium", "ray")


def _group(help_text: str | None, **commands: Any) -> typer.Typer:
    """A group of commands, in the order given."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    for name, command in commands.items():
        group.command(name)(command)
    return group


class _ActOfAGroup(TyperCommand):
    """What a group does itself, so by the group's name."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context beside that of the group, not below it."""
        if parent is not None:
            info_name, parent = parent.info_name, parent.parent
        return super().make_context(info_name, args, parent, **extra)


class GroupThatActs(TyperGroup):
    """A group that is a command itself, its first: ``forecast FIT.json`` beside ``forecast score FILE``."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        first, *others = self.commands.items()
        self.commands = {"": first[1], **dict(others)}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """All words are left to the command; none ask for its help."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, else the group's own."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["", *args])


def _group_that_acts(acts: Any, **commands: Any) -> typer.Typer:
    """A group that does ``acts`` where no other command is named."""
    group = typer.Typer(
        cls=GroupThatActs,
        help=(acts.__doc__ or "").partition("\n")[0],
        add_help_option=False,  # of the command that acts
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    group.command("itself", cls=_ActOfAGroup)(acts)
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
        check=check.sweep_check,
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
app.add_typer(_group_that_acts(forecast.forecast, score=forecast.score), name="forecast")
app.command("report")(report.report)
app.command("backtest")(backtest.backtest)
app.command("suggest")(forecast.suggest)
app.command("horizon")(horizon.horizon)
app.command("compare")(compare.compare)
app.command("capacity")(capacity.capacity)
app.command("distill")(distill.distill)
_theory = _group(
    "Settings whose true answer is known, in closed form.",
    td=theory.td,
    context=theory.context,
    learned=in_context.learned,
)
_theory.add_typer(
    _group(
        "The RL perceptron: a task with exact learning curves, and students that are simulated beside them.",
        simulate=perceptron.perceptron_simulate,
        solve=perceptron.perceptron_solve,
        phase=perceptron.perceptron_phase,
        schedule=perceptron.perceptron_schedule,
    ),
    name="perceptron",
)
app.add_typer(_theory, name="theory")
app.command("doctor")(doctor.doctor)


def _says_not_finite(error: ValueError) -> bool:
    """Whether a result was refused because of numbers that are not finite, and nothing else."""
    from pydantic import ValidationError

    return isinstance(error, ValidationError) and all(
        each["type"] == "finite_number" for each in error.errors(include_url=False)
    )


def main() -> None:
    """Entry point: failures become one sentence on stderr and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know ASCII only
            stream.reconfigure(errors="replace")
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
    except ValueError as error:
        if not _says_not_finite(error):
            raise
        complain(NOT_FINITE)
        sys.exit(2)
    except MemoryError:
        complain(
            "This machine has too little memory for that; give it fewer runs or rows, or a larger machine."
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
