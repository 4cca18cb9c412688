"""``rlscale doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale.commands.options import JsonOption, MnistOption
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json
from rlscale.terminal.printable import printable

if TYPE_CHECKING:
    from rlscale.sweeps.doctor.checks import Check
    from rlscale.sweeps.doctor.machine_facts import Facts
    from rlscale.sweeps.doctor.store_probe import Place


_HERE = "here"
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
    from rlscale.sweeps.doctor.checks import check_authentication, check_machine, find_authentication, summary
    from rlscale.sweeps.doctor.machine_facts import gather

    place, checks = _place(store)
    folder = str(mnist_dir.resolve()) if mnist_dir else None
    here = gather(folder)
    checks += check_machine(here, _HERE)
    checks += check_authentication(find_authentication(), cluster=address is not None)
    if address is not None:
        checks += _check_cluster(address, place, folder, here)
    elif place is not None:
        checks += _check_store_from_here(place)
    _show(checks)
    console.print(summary(checks), highlight=False)
    write_json(json_path, {"address": address, "store": store, "checks": [asdict(check) for check in checks]})
    if any(check.outcome == "fail" for check in checks):
        raise typer.Exit(1)


def _place(store: str | None) -> tuple[Place | None, list[Check]]:
    """Where to probe the store, or the line that says why it is none."""
    from rlscale.sweeps.doctor.checks import Check

    if store is None:
        return None, []
    try:
        from rlscale.sweeps.doctor.store_probe import choose_place

        return choose_place(store), []
    except InputError as error:
        return None, [Check("store", _HERE, "fail", str(error), "Choose another --store.")]
    except ImportError as error:  # pyarrow or numpy is broken, which has a line of its own
        return None, [Check("store", _HERE, "fail", f"cannot be opened: {error}", "See: import pyarrow.")]


def _check_store_from_here(place: Place) -> list[Check]:
    from rlscale.sweeps.doctor.checks import check_store, check_store_disk
    from rlscale.sweeps.doctor.store_probe import disk_of, remove_probes, write_probe

    try:
        probe = write_probe(place, _HERE)
    finally:
        remove_probes(place)
    return [*check_store(place, {_HERE: probe}, {}), *check_store_disk(disk_of(place), _HERE)]


def _check_cluster(address: str, place: Place | None, mnist_dir: str | None, here: Facts) -> list[Check]:
    from rlscale.sweeps.doctor import checks as doctor
    from rlscale.sweeps.doctor.ray_nodes import examine

    try:
        found = examine(address, place, mnist_dir)
    except InputError as error:
        remedy = "Look at the address, at RAY_AUTH_MODE, and whether this machine is one of its nodes."
        return [doctor.Check("cluster", _HERE, "fail", str(error), remedy)]
    nodes = len(found.nodes)
    checks = [doctor.Check("cluster", _HERE, "pass", f"{nodes} node{'' if nodes == 1 else 's'}")]
    for name, problem in found.problems.items():
        remedy = "Install rlscale there, in the Python that Ray uses, and look at the node's load and logs."
        checks.append(doctor.Check("node", name, "fail", problem, remedy))
    for node in found.nodes:
        if node.name in found.facts:
            facts = found.facts[node.name]
            checks += doctor.check_machine(facts, node.name, ray_cpus=node.cpus, ray_gpus=node.gpus)
    checks += doctor.check_agreement(found.facts, here)
    checks.append(doctor.check_modes(found.facts, here.auth_mode))
    checks += [
        doctor.check_clock(name, clock.ahead, clock.uncertainty) for name, clock in found.clocks.items()
    ]
    if place is not None:
        checks += doctor.check_store(place, found.probes, found.unseen)
        for name, disk in found.disks.items():
            checks += doctor.check_store_disk(disk, name)
    return checks


def _show(checks: Sequence[Check]) -> None:
    """A line each, equal ones of several machines as one, and under it what to do."""
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
