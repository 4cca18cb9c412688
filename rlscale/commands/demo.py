"""``rlscale demo``: the whole loop on digits that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the store, the fit and the report.")
    ] = Path("demo"),
) -> None:
    """Run the whole loop on digits that need no download: sweep, store, fit, forecast, report.

    Takes a few minutes on two cores. If run again, it continues from the store.
    """
    from importlib.resources import as_file, files

    from rlscale.analysis.curves.load import load_curves, read_store_record
    from rlscale.analysis.fit.joint_fit import JointScalingFit, usable_cores
    from rlscale.analysis.forecast.sizes import forecast as make_forecast
    from rlscale.analysis.reports.page import check_out
    from rlscale.analysis.reports.report import write_report
    from rlscale.sweeps.running.events import OnEvent
    from rlscale.sweeps.running.launch import SweepOutcome, run_sweep
    from rlscale.sweeps.specs.spec import load_spec
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.fit import print_fit, print_summary
    from rlscale.terminal.forecast import print_forecast
    from rlscale.terminal.live import run_with_view

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be made a folder: {error.strerror}; choose another --out.", code="unwritable_file"
        ) from error
    check_out(out / "report.html")
    store = str(out / "store")
    with as_file(files("rlscale.sweeps.specs") / "demo.yaml") as spec_path:
        spec = load_spec(spec_path)
    opened = RunStore(store, create=True)

    def go(on_event: OnEvent) -> SweepOutcome:
        return run_sweep(spec, opened, on_event=on_event, source="demo.yaml")

    if not run_with_view(go, opened, spec.name):
        raise typer.Exit(1)
    curves = load_curves(store)
    result = JointScalingFit(workers=usable_cores()).fit(curves)
    write_json(out / "fit.json", result.model_dump(mode="json"))
    print_fit(result, console)
    # A compute within the data, the largest of the data, and ten and a hundred times that.
    computes = [result.compute_ref, *(result.range.C[1] * factor for factor in (1, 10, 100))]
    forecasts = make_forecast(result, computes)
    write_json(out / "forecast.json", forecasts.model_dump(mode="json"))
    print_forecast(forecasts, console)
    paths = write_report(curves, result, out / "report.html", record=read_store_record(store))
    print_summary(result, paths, console)
