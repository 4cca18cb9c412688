"""``rlscale sweep submit|resume|stop|logs``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.commands.options import (
    AddressOption,
    ImportOption,
    JsonOption,
    MnistOption,
    SpecArgument,
    StoreOption,
    SweepDeviceOption,
    SweepOption,
)
from rlscale.commands.sweep import warn_of_tuning
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, say_of, write_json

if TYPE_CHECKING:
    from rlscale.sweeps.running.drivers import DriverRecord, StopReport
    from rlscale.sweeps.running.events import OnEvent
    from rlscale.sweeps.running.launch import SweepOutcome
    from rlscale.sweeps.running.ray_jobs import RayJobs
    from rlscale.sweeps.specs.spec import SweepSpec
    from rlscale.sweeps.store.run_store import RunStore


StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="The run store.")]
_MOST_CANDIDATES = 10
_PARTING_SECONDS = 10.0  # a job takes less to end once its driver has left the store


def sweep_submit(
    spec_name: SpecArgument,
    store: StoreOption,
    address: Annotated[
        str, typer.Option(metavar="URL", help="URL of the cluster's dashboard, such as http://head:8265.")
    ],
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
    python: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Python interpreter on the cluster; default: the path of this one."
        ),
    ] = sys.executable,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the job's log until the job ends; implies --wait.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the job ends; exit with 0 if all runs are done.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Run a sweep as a job on a Ray cluster; the job continues when this machine is off.

    The store must be visible to this machine and to every machine of the cluster:
    a URI such as s3://bucket/runs, or a folder on a shared disk. rlscale must be
    installed on the cluster. Environment variables are not passed on, because
    everyone who can open the dashboard could read them: the cluster's machines
    need their own credentials for the store, and their own copy of MNIST.
    """
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.specs.spec import expand
    from rlscale.sweeps.store.run_store import RunStore

    spec = find_spec(spec_name)
    expand(spec, source=spec_name)
    location = _shared_location(store)
    warn_of_tuning(spec, spec_name)
    from rlscale.sweeps.running.ray_jobs import RayJobs
    from rlscale.sweeps.running.where import workers_device
    from rlscale.terminal.live import follow_job

    workers_device(device, spec.resources)
    jobs = RayJobs(address)
    opened = RunStore(location, create=True)
    _refuse_second_job(jobs, opened, spec.name)
    opened.write_spec(spec.name, spec.model_dump(mode="json"))
    entrypoint = entrypoint_of(python, location, spec.name, device, mnist_dir)
    job_id = jobs.submit(entrypoint, sweep=spec.name, store=location)
    submitted = {"job": job_id, "address": jobs.address, "sweep": spec.name, "store": location}
    write_json(json_path, {**submitted, "entrypoint": entrypoint, "status": "submitted"})
    say_of(spec.name, f"submitted as job {job_id}; see: rlscale sweep status {location}")
    if follow or wait:
        end = follow_job(jobs, job_id, spec.name, location, show_log=follow)
        write_json(json_path, {**submitted, "entrypoint": entrypoint, "status": end.status})
        if not end.succeeded:
            raise typer.Exit(1)


def sweep_resume(
    store: StoreArgument,
    sweep: SweepOption = None,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
) -> None:
    """Continue the sweeps of a store: run what their stored specs contain and the store does not."""
    from rlscale.sweeps.specs.spec import expand, parse_spec
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.live import run_with_view

    opened = RunStore(store)
    specs = {}
    for name in opened.select(sweep):
        stored = opened.read_spec(name)
        if stored is None and sweep is not None:
            raise InputError(
                f"{store} holds no spec of {name}: its runs were not made by a sweep.", code="no_spec"
            )
        if stored is not None:
            specs[name] = parse_spec(stored, source=f"the stored spec of {name}")
            expand(specs[name], source=f"the stored spec of {name}")
    if not specs:
        raise InputError(
            f"{store} holds no sweep to continue; start one with: rlscale sweep run", code="no_spec"
        )
    from rlscale.sweeps.running.launch import run_sweep
    from rlscale.sweeps.running.where import Where

    where = Where(address, device, mnist_dir)
    complete = True
    for name, spec in specs.items():

        def go(on_event: OnEvent, spec: SweepSpec = spec) -> SweepOutcome:
            return run_sweep(spec, opened, where, on_event, source=f"the stored spec of {spec.name}")

        complete = run_with_view(go, opened, name) and complete
    if not complete:
        raise typer.Exit(1)


def sweep_stop(
    store: StoreArgument,
    sweep: SweepOption = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for the drivers to stop.")
    ] = 120.0,
    json_path: JsonOption = None,
) -> None:
    """Stop the drivers of a store's sweeps, on any machine; each run stores its progress first.

    To continue, use rlscale sweep resume, or the command that started the sweep.
    """
    from rlscale.sweeps.running.drivers import stop_drivers
    from rlscale.sweeps.store.run_store import RunStore

    opened = RunStore(store)

    def on_asked(asked: Mapping[str, list[DriverRecord]]) -> None:
        for name, records in asked.items():
            for record in records:
                say_of(name, f"asked the driver on {_place(record)} to stop.")

    reports = stop_drivers(opened, opened.select(sweep), timeout=timeout, on_asked=on_asked)
    for name, report in reports.items():
        _print_stop(name, report, store, timeout)
    write_json(json_path, {"sweeps": [_stop_json(name, report) for name, report in reports.items()]})
    if any(report.still_there for report in reports.values()):
        raise typer.Exit(1)


def sweep_logs(
    store: StoreArgument,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of the run, or a prefix that only this run has.")
    ],
    sweep: SweepOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show the log of each attempt at a run: checkpoints, warnings, and how it ended."""
    from rlscale.sweeps.store.run_store import RunStore

    opened = RunStore(store)
    name, run_id = _find_run(opened, sweep, run)
    record, logs = opened.read_run(name, run_id), opened.read_logs(name, run_id)
    status = record.status if record else "wanted"
    say_of(name, f"run {run_id}, {status}" + (f": {record.reason}" if record and record.reason else ""))
    for _, text in logs:
        console.print(text.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)
    if not logs:
        console.print("The store has no log of it.")
    attempts = [{"number": number, "log": text} for number, text in logs]
    write_json(json_path, {"sweep": name, "run_id": run_id, "status": status, "attempts": attempts})


def _shared_location(store: str) -> str:
    """The store's address for every machine of a cluster; InputError if it holds a secret."""
    from rlscale.sweeps.store.files import check_location

    return check_location(store) if "://" in store else str(Path(store).expanduser().resolve())


def _refuse_second_job(jobs: RayJobs, store: RunStore, sweep: str) -> None:
    from rlscale.sweeps.running.drivers import drivers

    job_id = jobs.unfinished(sweep=sweep, store=store.location)
    if job_id is None:
        return
    has_driver = any(driver.job == job_id for driver in drivers(store, sweep).values())
    if not has_driver and jobs.wait(job_id, timeout=_PARTING_SECONDS) is not None:
        return  # it was just about to end
    raise InputError(
        f"The job {job_id} works on sweep {sweep} already; see it with: rlscale sweep status "
        f"{store.location}, or stop it with: rlscale sweep stop {store.location}",
        code="job_exists",
    )


def entrypoint_of(python: str, store: str, sweep: str, device: str, mnist_dir: Path | None) -> str:
    """The job's command line; the shell of the cluster's head reads it.

    It names the person's modules, because the job reads its spec from the store.
    """
    from rlscale.scaling.modules import named_modules

    words = [python, "-m", "rlscale.cli", "sweep", "resume", store, "--sweep", sweep, "--address", "auto"]
    words += ["--device", device, *(f"--import={module}" for module in named_modules())]
    if mnist_dir is not None:
        words += ["--mnist-dir", str(mnist_dir.resolve())]
    return shlex.join(words)


def _print_stop(sweep: str, report: StopReport, store: str, timeout: float) -> None:
    for record in report.stopped:
        say_of(sweep, f"the driver on {_place(record)} has stopped.")
    for record in report.dead:
        say_of(sweep, f"the driver on {_place(record)} was dead already; its file is removed.")
    for record in report.still_there:
        say_of(
            sweep, f"the driver on {_place(record)} has not ended within {timeout:g} s; it will end later."
        )
    if report.stopped or report.dead:
        say_of(sweep, f"continue with: rlscale sweep resume {store} --sweep {sweep}")
    if report == type(report)((), (), ()):
        say_of(sweep, "no driver works on it.")


def _place(record: DriverRecord) -> str:
    return f"{record.host}, pid {record.pid}" + (f", job {record.job}" if record.job else "")


def _stop_json(sweep: str, report: StopReport) -> dict[str, Any]:
    groups = {"stopped": report.stopped, "dead": report.dead, "still_there": report.still_there}
    listed = {name: [record.model_dump(mode="json") for record in group] for name, group in groups.items()}
    return {"sweep": sweep, **listed}


def _find_run(store: RunStore, sweep: str | None, prefix: str) -> tuple[str, str]:
    """(sweep, run id) of the one run whose id is or begins with ``prefix``."""
    runs = [(name, run_id) for name in store.select(sweep) for run_id in store.run_ids(name)]
    found = [run for run in runs if run[1] == prefix] or [run for run in runs if run[1].startswith(prefix)]
    if not found:
        raise InputError(f"{store.location} has no run whose id begins with {prefix!r}.", code="unknown_run")
    if len(found) > 1:
        listed = ", ".join(f"{run_id} of {name}" for name, run_id in found[:_MOST_CANDIDATES])
        more = f" and {len(found) - _MOST_CANDIDATES} more" if len(found) > _MOST_CANDIDATES else ""
        raise InputError(
            f"{prefix!r} may be {listed}{more}: give more of the id, or --sweep.", code="ambiguous_run"
        )
    return found[0]
