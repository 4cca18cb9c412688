"""``rlscale sweep check``."""

from __future__ import annotations

from typing import Annotated

import typer

from rlscale.commands.options import JsonOption, SweepOption
from rlscale.terminal.console import console, say_of, write_json


def sweep_check(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Read everything that a store holds, and say what is damaged or left over.

    Without --repair nothing is changed. A repair sets damaged files aside, writes lost
    records again from intact curves, and marks runs that must be done again as failed.
    Exits with 1 if something stays damaged.
    """
    from rlscale.sweeps.store.check import check_sweep
    from rlscale.sweeps.store.check import repair as do_repair
    from rlscale.sweeps.store.run_store import RunStore

    opened = RunStore(store)
    found, left = [], 0
    for problem in opened.stray_sweeps() if sweep is None else ():
        say_of(store, f"refused: {problem}")
        left += 1
    for name in opened.select(sweep):
        count = 0
        for finding in list(check_sweep(opened, name)):
            count += 1
            repaired = repair and do_repair(opened, finding)
            left += finding.kind != "left over" and not repaired
            say_of(name, f"{finding.kind}: {finding.problem}")
            verb = "repaired" if repaired else "a repair does"
            console.print(f"  {verb}: {finding.repair}", markup=False, highlight=False, soft_wrap=True)
            found.append(
                {
                    "sweep": finding.sweep,
                    "run_id": finding.run_id,
                    "kind": finding.kind,
                    "problem": finding.problem,
                    "repair": finding.repair,
                    "repairable": finding.is_repairable,
                    "repaired": repaired,
                }
            )
        runs = _counted(len(opened.run_ids(name)), "run")
        say_of(name, f"{runs}, {_counted(count, 'finding')}" if count else f"{runs}, all files are whole")
    write_json(json_path, {"store": store, "findings": found})
    if left:
        raise typer.Exit(1)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
