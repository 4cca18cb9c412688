"""The commands about sweeps, as they are typed. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.printable import printable
from scaling.terminal import (
    JsonOption,
    MnistOption,
    OutOption,
    StoreOption,
    SweepOption,
    console,
    warn,
    write_json,
    write_yaml,
)

if TYPE_CHECKING:
    from sweeps.drivers import DriverRecord
    from sweeps.spec import SweepSpec

sweep_app = typer.Typer(help="Plan, run and watch many runs.", no_args_is_help=True)

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="The sweep's spec, a YAML file, or a preset (rlscale sweep presets)."
    ),
]
SweepDeviceOption = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="auto is cuda if the spec gives runs GPUs, else cpu.")
]
AddressOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to run on; default: Ray on this machine.")
]


@sweep_app.command("presets")
def sweep_presets() -> None:
    """List the paper's experiments, which plan, run and show take by name."""
    from rich.table import Table

    from sweeps.presets import SUMMARIES

    table = Table.grid(padding=(0, 2))
    for name, summary in SUMMARIES.items():
        table.add_row(name, summary)
    console.print(table)


@sweep_app.command("show")
def sweep_show(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="A name of: rlscale sweep presets.")],
    out: OutOption = None,
) -> None:
    """Write a preset's spec as YAML, to edit and run."""
    from sweeps.presets import SUMMARIES, preset_values

    values = preset_values(name)
    write_yaml(out, values, heading=SUMMARIES[name])


@sweep_app.command("plan")
def sweep_plan(
    spec_name: SpecArgument,
    estimate: Annotated[bool, typer.Option(help="Time each size on this machine for a few seconds.")] = True,
    json_path: JsonOption = None,
) -> None:
    """Say what a sweep would do: its runs, FLOPs, memory and hours; nothing starts."""
    from dataclasses import asdict

    from sweeps.display import plan_table, short
    from sweeps.plan import duration, memory_note, plan_sizes
    from sweeps.presets import find_spec
    from sweeps.spec import expand
    from sweeps.tuning_tables import cost_line, tuning_cost

    spec = find_spec(spec_name)
    configs = expand(spec, source=spec_name)
    from scaling.estimate import estimate_rate
    from scaling.machine import usable_memory
    from scaling.memory import memory_need
    from scaling.train import run_columns

    seconds_of = (lambda config: config.interactions / estimate_rate(config)) if estimate else None
    sizes = plan_sizes(configs, run_columns, seconds_of, memory_need)
    total_runs = sum(size.num_runs for size in sizes)
    interactions = sum(size.num_runs * size.config.interactions for size in sizes)
    flops = sum(size.num_runs * size.flops for size in sizes)
    seconds = sum(size.num_runs * size.seconds for size in sizes if size.seconds) if estimate else None
    console.print(plan_table(sizes))
    console.print(
        f"{spec.name}: {total_runs} runs, {short(interactions)} interactions, {flops:.1e} FLOP"
        + (f", {duration(seconds)} on this machine if one ran after the other." if estimate else "."),
        highlight=False,
        soft_wrap=True,
    )
    console.print(memory_note(sizes, usable_memory()), highlight=False, soft_wrap=True)
    tuning = tuning_cost(spec, sizes)
    if tuning is not None:
        console.print(cost_line(tuning), highlight=False, soft_wrap=True)
    write_json(
        json_path,
        {
            "sweep": spec.name,
            "runs": total_runs,
            "interactions": interactions,
            "flops": flops,
            "slot_seconds": seconds,
            "tuning": asdict(tuning) if tuning else None,
            "sizes": [
                {
                    **size.columns,
                    "interactions": size.config.interactions,
                    "runs": size.num_runs,
                    "flops": size.flops,
                    "seconds": size.seconds,
                    "memory": asdict(size.memory) | {"total": size.memory.total} if size.memory else None,
                }
                for size in sizes
            ],
        },
    )


@sweep_app.command("run")
def sweep_run(
    spec_name: SpecArgument,
    store: StoreOption,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
) -> None:
    """Run a sweep; run again, it does only what is missing."""
    from sweeps.presets import find_spec
    from sweeps.spec import expand
    from sweeps.store import RunStore

    spec = find_spec(spec_name)
    # What is wrong with it is said before torch and ray are loaded.
    busiest = max(expand(spec, source=spec_name), key=lambda config: config.threads)
    warn_of_tuning(spec, spec_name)
    opened = RunStore(store, create=True)
    from scaling.train import warning_of_threads
    from sweeps.launch import run_sweep

    if address is None:  # elsewhere there may be more cores
        warn(warning_of_threads([busiest]))

    def go(**callbacks: Any) -> Any:
        return run_sweep(
            spec,
            opened,
            source=spec_name,
            address=address,
            device=device,
            mnist_dir=mnist_dir,
            **callbacks,
        )

    if not watch(go, opened, spec.name):
        raise typer.Exit(1)


@sweep_app.command("retry")
def sweep_retry(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
) -> None:
    """Run the failed runs again, and only those."""
    from sweeps.launch import retry_failed
    from sweeps.store import RunStore

    opened = RunStore(store)
    complete = True
    for name in opened.select(sweep):
        if not any(record.status == "failed" for record in opened.runs(name)):
            console.print(f"{name}: no run has failed.", highlight=False)
            continue

        def go(name: str = name, **callbacks: Any) -> Any:
            return retry_failed(
                opened, name, address=address, device=device, mnist_dir=mnist_dir, **callbacks
            )

        complete = watch(go, opened, name) and complete
    if not complete:
        raise typer.Exit(1)


@sweep_app.command("status")
def sweep_status(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="List every run, not only those that run, failed or stopped.")
    ] = False,
    watch_on: Annotated[
        bool, typer.Option("--watch", help="Show it again and again until all has ended, or Ctrl-C.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Show what is wanted, done, running and failed, with the reasons."""
    from sweeps.display import print_status, status_json
    from sweeps.status import SweepReader
    from sweeps.store import RunStore
    from sweeps.watching import watch_sweeps

    opened = RunStore(store)
    readers = [SweepReader(opened, name) for name in opened.select(sweep)]
    if not readers:
        console.print(f"{store} holds no sweeps yet.", markup=False, highlight=False, soft_wrap=True)
    if watch_on:
        states = watch_sweeps(console, readers, show_all=show_all)
    else:
        states = [reader.read_state() for reader in readers]
    for state in states:
        print_status(console, state, show_all=show_all)
    write_json(json_path, {"sweeps": [status_json(state) for state in states]})


def warn_of_tuning(spec: SweepSpec, spec_name: str) -> None:
    """Say that a sweep as such does not tune."""
    if spec.tuning and spec.tuning.learning_rate:
        warn(f"'tuning' is for: rlscale sweep tune {spec_name}; here every size takes the one base rate.")


def say_of(sweep: str, text: str) -> None:
    """Say something about a sweep on one line, wherever its words come from."""
    console.print(printable(f"{sweep}: {text}"), markup=False, highlight=False, soft_wrap=True)


def watch(go: Any, store: Any, sweep: str) -> bool:
    """Run ``go``, a call of ``sweeps.launch``, with the live view. Returns whether every run is done."""
    from sweeps.display import SweepView, driver_line
    from sweeps.drivers import StoppedOnRequest
    from sweeps.launch import Listener

    def say(text: str) -> None:
        say_of(sweep, text)

    try:
        with SweepView(console, store, sweep) as view:

            def on_start(missing: int, done: int, failed: int) -> None:
                again = f", {failed} failed before (see: rlscale sweep retry)" if failed else ""
                say(f"{missing} run{'' if missing == 1 else 's'} to do, {done} done before{again}.")

            def on_others(others: Sequence[DriverRecord]) -> None:
                for driver in others:
                    say(f"{driver_line(driver, silence=0.0)}.")
                say(
                    "two drivers of one sweep take its runs from each other, so let one of them work alone: "
                    f"rlscale sweep stop {store.location} ends all that are at it now."
                )

            def on_event(event: Any) -> None:
                if event.kind == "died":
                    view.died(event.run_id, event.message)
                else:
                    view.ended(event.run_id, event.message)

            def on_trouble(problem: str | None) -> None:
                say("the store can be written again." if problem is None else f"{problem}; runs wait for it.")

            def on_head(answers: bool) -> None:
                say(
                    "the head of the Ray cluster answers again."
                    if answers
                    else "the head of the Ray cluster does not answer. What the runs stored is kept; should "
                    "it be gone, go on with the same command on another cluster."
                )

            listener = Listener(
                on_start=on_start,
                on_others=on_others,
                on_event=on_event,
                on_poll=view.poll,
                on_trouble=on_trouble,
                on_head=on_head,
                on_stop=lambda: say("stopping, the runs store what they have."),
            )
            outcome = go(listener=listener)
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on.")
        raise typer.Exit(130) from None
    except StoppedOnRequest:
        say("stopped on request; run the same command again to go on.")
        raise typer.Exit(1) from None
    failed = outcome.ended["failed"] + len(outcome.failed_before)
    done = outcome.ended["done"] + outcome.done_before
    stopped, superseded = outcome.ended["stopped"], outcome.ended["superseded"]
    say(
        f"{done} done, {failed} failed"
        + (f", {stopped} stopped" if stopped else "")
        + (f", {superseded} taken over by another driver" if superseded else "")
        + (f" (see: rlscale sweep status {store.location})." if failed else ".")
    )
    return not (failed or stopped or superseded)
