"""Assembles the ``rlscale`` command and turns errors into exit statuses.

Commands are plain functions of ``rlscale.commands``. Each imports what it needs when it runs, so
``rlscale fit`` starts without torch and ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rlscale.commands import (
    auto,
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
from rlscale.scaling.errors import InvalidConfig, RlscaleError
from rlscale.scaling.wording import speaking_of_options
from rlscale.terminal.console import NOT_FINITE, complain
from rlscale.terminal.progress import shown_work

#: Packages of the extras: without them a command says how to install them.
_EXTRAS = ("torch", "gymnasium", "ray")


#: Panels of the help.
_MEASURE, _ANALYSE, _CURVES, _CLUSTER = "Measure", "Analyse", "Curves", "Cluster"


class _PlainFlags:
    """A command whose help names no type for options that take no value."""

    def get_params(self, ctx: Any) -> Any:
        """The options, flags with nothing in the place of the value."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class _Command(_PlainFlags, TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Run the command, and show how far it is."""
        with shown_work() as work:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                work.stop()
                complain(work.left_undone(ctx.params))
                raise typer.Exit(130) from None


class _Group(_PlainFlags, TyperGroup):
    pass


def _group(help_text: str | None, *, panels: Mapping[str, str] = {}, **commands: Any) -> typer.Typer:
    """A group of commands, in the order given; ``panels`` are those of the help, by command."""
    group = typer.Typer(cls=_Group, help=help_text, no_args_is_help=True)
    for name, command in commands.items():
        group.command(name, cls=_Command, rich_help_panel=panels.get(name))(command)
    return group


class _ActOfAGroup(_Command):
    """What a group does itself, so by the group's name."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context beside that of the group, not below it."""
        if parent is not None:
            info_name, parent = parent.info_name, parent.parent
        return super().make_context(info_name, args, parent, **extra)


class GroupThatActs(_Group):
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
        group.command(name, cls=_Command)(command)
    return group


app = typer.Typer(
    name="rlscale",
    cls=_Group,
    help="Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from rlscale import __version__

        typer.echo(f"rlscale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes."""
    context.with_resource(speaking_of_options())


def _add(panel: str, **commands: Any) -> None:
    """Commands and groups of commands, on a panel of the help; an underscore stands for a hyphen."""
    for name, command in commands.items():
        called = name.replace("_", "-")
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=called, rich_help_panel=panel)
        else:
            app.command(called, cls=_Command, rich_help_panel=panel)(command)


_sweep = _group(
    "Plan, run and watch sweeps of many runs.",
    panels=dict.fromkeys(("submit", "resume", "stop", "logs"), _CLUSTER),
    presets=sweep.sweep_presets,
    show=sweep.sweep_show,
    plan=sweep.sweep_plan,
    run=sweep.sweep_run,
    auto=auto.sweep_auto,
    retry=sweep.sweep_retry,
    status=sweep.sweep_status,
    tune=tune.sweep_tune,
    submit=cluster.sweep_submit,
    resume=cluster.sweep_resume,
    stop=cluster.sweep_stop,
    logs=cluster.sweep_logs,
    check=check.sweep_check,
)
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
_add(
    _MEASURE,
    demo=demo.demo,
    train=train.train,
    sweep=_sweep,
    config=_group("Derive the config of one run from another.", rescale=config.config_rescale),
    batch_search=config.batch_search,
    capacity=capacity.capacity,
    distill=distill.distill,
)
_add(
    _ANALYSE,
    fit=fit.fit,
    forecast=_group_that_acts(forecast.forecast, score=forecast.score),
    report=report.report,
    backtest=backtest.backtest,
    suggest=forecast.suggest,
    horizon=horizon.horizon,
    compare=compare.compare,
    theory=_theory,
)
_add(
    _CURVES,
    curves=_group(
        "Import, show and export learning curves.",
        panels={},
        **{"import": curves.curves_import, "show": curves.curves_show, "export": curves.curves_export},
    ),
)
_add(_CLUSTER, doctor=doctor.doctor)


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
    except InvalidConfig as error:
        if len(error.problems) > 1:
            complain(f"{error.source} has {len(error.problems)} problems:", *error.problems)
        else:
            complain(str(error))
        sys.exit(error.exit_status)
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
