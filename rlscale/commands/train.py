"""``rlscale train``: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import DeviceOption, ImportOption, MnistOption, StoreOption
from rlscale.terminal.console import console, warn


def train(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Config of the run.")],
    store: StoreOption,
    sweep: Annotated[str, typer.Option(help="Sweep of the store that gets the run.")] = "single",
    device: DeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
) -> None:
    """Train one agent, or continue from its last checkpoint."""
    import os
    import signal
    import socket
    import threading

    from rich.progress import BarColumn, Progress, TextColumn

    from rlscale.analysis.formatting.numbers import duration
    from rlscale.scaling.config.run import load_run_config
    from rlscale.scaling.tasks.data_folder import MNIST
    from rlscale.scaling.tasks.registry import prepare_task
    from rlscale.scaling.training.device import resolve_device, warning_of_threads
    from rlscale.scaling.training.facts import provenance, run_columns
    from rlscale.scaling.training.train import train as train_run
    from rlscale.sweeps.store.run_log import logged
    from rlscale.sweeps.store.run_store import RunStore

    config = load_run_config(config_path)
    device = resolve_device(device)
    MNIST.put_first(mnist_dir)
    prepare_task(config.task)
    columns = run_columns(config)
    opened = RunStore(store, create=True)
    if opened.is_done(sweep, config.run_id):
        opened.clean_finished(sweep, config.run_id)
        console.print(f"Run {config.run_id} is done already in {store}.", markup=False, highlight=False)
        return
    warn(warning_of_threads([config]))
    writer = opened.claim(
        sweep,
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=columns,
        provenance=provenance(device, config.entry),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    for damage in writer.damaged:
        warn(damage)
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
            on_progress=on_progress,
            should_stop=stop.is_set,
        )
    ending = "done" if status == "done" else "stopped; run the same command again to continue"
    console.print(f"Run {config.run_id} is {ending}.", highlight=False)
