"""``rlscale doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale.analysis.formatting.printable import printable
from rlscale.commands.options import JsonOption, MnistOption
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    from rlscale.sweeps.doctor.checks import Check, Machine
    from rlscale.sweeps.doctor.store_probe import Probe

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Also check every node of this Ray cluster, HOST:PORT or auto."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Also check this run store, from every machine."),
    ] = None,
    mnist_dir: MnistOption = None,
    json_path: JsonOption = None,
) -> None:
    """Check whether this machine, or a cluster, can run sweeps; each failed check says what to do.

    Exits with 1 if a check fails. Downloads nothing, does not start Ray, and
    leaves the store unchanged.
    """
    from rlscale.sweeps.doctor.checks import HERE, check_machine, check_token
    from rlscale.sweeps.doctor.store_probe import check_store, remove_probe

    folder = str(mnist_dir.resolve()) if mnist_dir else None
    here = check_machine(HERE, folder)
    checks = [*here.checks, check_token(cluster=address is not None)]
    probe, problems = _choose_probe(store)
    checks += problems
    try:
        writable = False
        if probe is not None:
            checks.append(check_store(probe, HERE))
            writable = checks[-1].outcome == "pass"
        if address is not None:
            checks += _check_cluster(address, here, folder, probe, HERE if writable else None)
    finally:
        if probe is not None:
            remove_probe(probe)
    _show(checks)
    write_json(json_path, {"address": address, "store": store, "checks": [asdict(check) for check in checks]})
    if any(check.outcome == "fail" for check in checks):
        raise typer.Exit(1)


def _choose_probe(store: str | None) -> tuple[Probe | None, list[Check]]:
    """Where to write probe files in the store, or a failed check that says why that is not possible."""
    from rlscale.sweeps.doctor.checks import HERE, Check
    from rlscale.sweeps.doctor.store_probe import choose_probe

    if store is None:
        return None, []
    try:
        return choose_probe(store), []
    except InputError as error:
        return None, [Check("store", HERE, "fail", str(error), "Choose another --store.")]
    except ImportError as error:  # pyarrow or numpy is broken, which another check reports
        return None, [Check("store", HERE, "fail", f"cannot be opened: {error}", "See: import pyarrow.")]


def _check_cluster(
    address: str, here: Machine, mnist_dir: str | None, probe: Probe | None, expected: str | None
) -> list[Check]:
    from rlscale.sweeps.doctor.checks import HERE, Check
    from rlscale.sweeps.doctor.ray_nodes import check_cluster

    try:
        return check_cluster(address, here, mnist_dir, probe, expected)
    except InputError as error:
        remedy = "Check the address, RAY_AUTH_MODE, and whether this machine is one of the cluster's nodes."
        return [Check("cluster", HERE, "fail", str(error), remedy)]


def _show(checks: Sequence[Check]) -> None:
    """Print one line for each check, with the remedy below, then the totals.

    Equal checks of several machines share a line.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    machines: dict[tuple[str, str, str, str], list[str]] = {}
    for check in checks:
        machines.setdefault((check.name, check.outcome, check.found, check.remedy), []).append(check.where)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("found", overflow="fold")
    for (name, outcome, found, remedy), where in machines.items():
        text = Text(printable(found))
        if remedy:
            text.append(f"\n{printable(remedy)}", style="italic")
        table.add_row(Text(outcome, _STYLES[outcome]), name, printable(", ".join(where)), text)
    console.print(table)
    outcomes = [check.outcome for check in checks]
    totals = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("pass", "warn", "fail"))
    console.print(f"{totals}.", highlight=False)
