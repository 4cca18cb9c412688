"""The ``rlscale`` command: the one module that may import scaling, sweeps and analysis.

Each command imports what it needs when it runs, so ``rlscale fit`` starts without torch and
ray, and ``rlscale train`` without ray.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from analysis.commands import ColumnsOption, analysis_app, fit_as_typed
from analysis.horizons.horizon_commands import horizon_app
from scaling.errors import InputError, RlscaleError
from scaling.terminal import (
    DeviceOption,
    JsonOption,
    MnistOption,
    OutOption,
    StoreOption,
    SweepOption,
    complain,
    console,
    warn,
    write_json,
    write_yaml,
)
from sweeps.commands import sweep_app, sweep_run
from sweeps.doctor_command import doctor_app
from sweeps.job_commands import job_app
from sweeps.tuning_command import tuning_app

app = typer.Typer(
    name="rlscale",
    help="Measure scaling laws of reinforcement-learning agents and forecast compute-optimal sizes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
curves_app = typer.Typer(help="Import, look at and export curves.", no_args_is_help=True)
config_app = typer.Typer(help="Derive one run's config from another.", no_args_is_help=True)
sweep_app.add_typer(tuning_app)  # tune
app.add_typer(sweep_app, name="sweep")
sweep_app.add_typer(job_app)  # submit, resume, stop, logs
app.add_typer(curves_app, name="curves")
app.add_typer(config_app, name="config")
app.add_typer(analysis_app)  # fit, forecast, report, ...
app.add_typer(horizon_app)  # horizon
app.add_typer(doctor_app)  # doctor


@app.command()
def train(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    store: StoreOption,
    sweep: Annotated[str, typer.Option(help="Name under which the store keeps the run.")] = "single",
    device: DeviceOption = "auto",
    mnist_dir: MnistOption = None,
) -> None:
    """Train one agent, or go on with it from its last checkpoint."""
    import os
    import signal
    import socket
    import threading

    from rich.progress import BarColumn, Progress, TextColumn

    from scaling.config import load_run_config
    from scaling.train import check_task_data, provenance, resolve_device, run_columns, warning_of_threads
    from scaling.train import train as train_run
    from sweeps.plan import duration
    from sweeps.run_log import logged
    from sweeps.store import RunStore

    config = load_run_config(config_path)
    device = resolve_device(device)
    check_task_data(config.task, mnist_dir)
    columns = run_columns(config)
    opened = RunStore(store, create=True)
    record = opened.read_run(sweep, config.run_id)
    if record is not None and record.status == "done":
        console.print(f"Run {config.run_id} is done already in {store}.", markup=False, highlight=False)
        return
    warn(warning_of_threads([config]))
    writer = opened.claim(
        sweep,
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=columns,
        provenance=provenance(device),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    bar = Progress(
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} interactions  {task.fields[speed]}"),
        console=console,
    )
    console.print(
        f"Run {config.run_id}: {config.task}, {columns['num_params']:,} parameters, on {device}.",
        markup=False,
        highlight=False,
    )
    with bar, logged(writer) as logged_writer:
        shown = bar.add_task("", total=config.interactions, speed="")

        def on_progress(interactions: int, wall_seconds: float) -> None:
            rate = interactions / wall_seconds if wall_seconds > 0 else 0.0
            left = max(0, config.interactions - interactions) / rate if rate else None
            speed = f"{rate:,.0f}/s, {duration(left)} left" if rate else ""
            bar.update(shown, completed=min(interactions, config.interactions), speed=speed)

        status = train_run(
            config,
            logged_writer,
            device=device,
            mnist_dir=mnist_dir,
            on_progress=on_progress,
            should_stop=stop.is_set,
        )
    ending = "done" if status == "done" else "stopped; run the same command again to go on"
    console.print(f"Run {config.run_id} is {ending}.", highlight=False)


@curves_app.command("import")
def curves_import(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A CSV, Parquet or event file, or a folder with one a run.")
    ],
    store: StoreOption,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|parquet|tensorboard|wandb|sb3|rllib",
            help="What SRC is; default: found out, and said.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    tag: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The logged metric that is the return; default: the usual one."),
    ] = None,
    sizes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV, YAML or JSON that maps names or globs of runs to num_params."
        ),
    ] = None,
    size_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Finds the size in a run's name, e.g. 'n(?P<num_params>\\d+)'."),
    ] = None,
    steps_scale: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR", help="Environment steps for one step of SRC, e.g. 0.25 for frames / 4."
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Sweep that gets the runs; default: SRC's own, or imported."),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Task to record for all runs.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace runs that are there already.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Bring curves from elsewhere into a store, as finished runs.

    Reads tidy CSV and Parquet files, and logs of TensorBoard, Weights & Biases,
    stable-baselines3 and Ray.
    """
    from analysis.tables import parse_columns
    from sweeps.importers.importing import ImportOptions, import_curves
    from sweeps.importers.runs import ReadOptions

    options = ImportOptions(
        format=format_,
        read=ReadOptions(parse_columns(columns), tag),
        sizes=sizes,
        size_pattern=size_pattern,
        steps_scale=steps_scale,
        sweep=sweep,
        task=task,
        replace=replace,
    )
    result = import_curves(source, store, options)
    for line in (*result.notes, result.summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    write_json(json_path, result.as_json())


@curves_app.command("show")
def curves_show(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
) -> None:
    """List the curves of a store: sizes, lengths, rows and last returns."""
    from sweeps.display import curves_table
    from sweeps.store import RunStore

    opened = RunStore(store)
    records = list(opened.runs(sweep))
    if not records:
        console.print(f"{store} holds no curves yet.", markup=False, highlight=False, soft_wrap=True)
    for name in dict.fromkeys(record.sweep for record in records):
        console.print(curves_table(opened, name, [record for record in records if record.sweep == name]))


@curves_app.command("export")
def curves_export(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    out: Annotated[Path, typer.Option(metavar="F.parquet", help="The file to write.")],
    sweep: SweepOption = None,
) -> None:
    """Write all curves into one tidy Parquet file, run columns beside each row."""
    from sweeps.store import RunStore

    rows = RunStore(store).export(out, sweep)
    console.print(f"Wrote {rows:,} rows to {out}.", markup=False, highlight=False, soft_wrap=True)


@config_app.command("rescale")
def config_rescale(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    by: Annotated[int, typer.Option(metavar="C", help="Divide the batch, agent.num_envs, by this.")],
    betas: Annotated[bool, typer.Option("--betas", help="Also raise Adam's betas to 1/C.")] = False,
    out: OutOption = None,
) -> None:
    """Rewrite a config for a smaller batch by the rules of batch-size invariance.

    Moves the Adam step, the EWMA, the advantages' moments and PPG's phases, so
    that the run learns as much from an interaction as before (arXiv 2110.00641,
    section 3).
    """
    from scaling.agents.batch_size import rescaled
    from scaling.config import load_run_config, run_config

    config = load_run_config(config_path)
    agent = rescaled(config.agent, by, rescale_betas=betas)
    values = config.model_copy(update={"agent": agent}).model_dump(mode="json")
    run_config(values, source=f"{config_path} rescaled by {by}")  # a model with memory may not fit any more
    write_yaml(out, values)


@app.command("batch-search")
def batch_search(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    fork_interactions: Annotated[int, typer.Option(metavar="N", help="Length of a fork.")],
    interactions: Annotated[
        int | None, typer.Option(metavar="TOTAL", help="Where the search ends; default: the config's length.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="K", help="Runs of each fork.")] = 3,
    standard_errors: Annotated[
        float, typer.Option(metavar="Z", help="By how many the doubled batch must be better.")
    ] = 2.0,
    device: DeviceOption = "auto",
    mnist_dir: MnistOption = None,
    json_path: JsonOption = None,
) -> None:
    """Find how the batch should grow: fork B against 2B, keep the better, fit a power law."""
    from scaling.batch_search import Fork, search_batch_size
    from scaling.config import load_run_config
    from scaling.train import check_task_data, resolve_device

    config = load_run_config(config_path)
    check_task_data(config.task, mnist_dir)

    def say(fork: Fork) -> None:
        kept = "2B" if fork.doubled else "B"
        console.print(
            f"E {fork.interactions:>12,}  B {fork.num_envs * config.agent.rollout_steps:>9,}  return "
            f"{fork.small:.4f}, with 2B {fork.large:.4f} ({fork.large - fork.small:+.4f} +- "
            f"{fork.standard_error:.4f})  keeps {kept}",
            highlight=False,
            soft_wrap=True,
        )

    schedule = search_batch_size(
        config,
        interactions=interactions or config.interactions,
        fork_interactions=fork_interactions,
        seeds=seeds,
        standard_errors=standard_errors,
        device=resolve_device(device),
        mnist_dir=mnist_dir,
        on_fork=say,
    )
    doublings = len(schedule.doublings)
    heading = (
        f"power law through {doublings} doublings"
        if schedule.growth
        else f"{doublings} doublings after the start; a power law needs 2, so the batch is fixed"
    )
    write_yaml(None, {"agent": schedule.agent_values()}, heading=heading)
    write_json(json_path, schedule.as_json())


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the store, the fit and the report.")
    ] = Path("demo"),
) -> None:
    """The whole loop on digits that need no download: sweep, store, fit, forecast, report.

    Takes a few minutes on two cores. Run again, it goes on from what is stored.
    """
    from importlib.resources import as_file, files

    from analysis import tables
    from analysis.curves import load_curves, read_store_record
    from analysis.forecast import forecast as make_forecast
    from analysis.reports.report import check_out, print_summary, write_report

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made a folder: {error.strerror}; choose another --out.") from error
    check_out(out / "report.html")
    store = str(out / "store")
    with as_file(files("sweeps") / "demo.yaml") as spec_path:
        sweep_run(str(spec_path), store)
    curves = load_curves(store)
    result = fit_as_typed(curves, "return", "1/64", bootstrap=1000, seed=0, workers=0)
    write_json(out / "fit.json", result.model_dump(mode="json"))
    tables.print_fit(result, console)
    # One compute amid the data, the largest in it, and ten and a hundred times that.
    computes = [result.compute_ref, *(result.range.C[1] * factor for factor in (1, 10, 100))]
    forecasts = make_forecast(result, computes)
    write_json(out / "forecast.json", forecasts.model_dump(mode="json"))
    tables.print_forecast(forecasts, console)
    paths = write_report(curves, result, out / "report.html", record=read_store_record(store))
    print_summary(result, paths, console)


def main() -> None:
    """Entry point: failures become one sentence on stderr and an exit status."""
    try:
        app()
    except RlscaleError as error:
        complain(str(error))
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in ("torch", "gymnasium", "sklearn", "ray"):
            raise
        complain(f"This command needs {error.name}; install it with: pip install 'rlscale[all]'")
        sys.exit(2)


if __name__ == "__main__":
    main()
