"""Tables and lines about sweeps for a terminal. Text from a store is never read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.plan import PlannedSize, RunStatus, counts, duration, sweep_status
from sweeps.store import RunStore

_REFRESH_SECONDS = 2.0


def plan_table(sizes: Sequence[PlannedSize]) -> Table:
    """One line a size: runs, parameters, length, FLOPs and estimated time."""
    table = Table(title="Plan", title_justify="left")
    for name, justify in (
        ("width", "right"),
        ("depth", "right"),
        ("horizon", "right"),
        ("learning rate", "right"),
        ("N", "right"),
        ("interactions each", "right"),
        ("runs", "right"),
        ("FLOP each", "right"),
        ("time each", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for size in sizes:
        columns = size.columns
        table.add_row(
            f"{columns['width']:g}",
            str(columns["depth"]),
            f"{columns['horizon']:g}",
            f"{columns['learning_rate']:g}",
            f"{columns['num_params']:,}",
            f"{size.config.interactions:,}",
            str(size.num_runs),
            f"{size.flops:.2e}",
            duration(size.seconds),
        )
    return table


def status_table(sweep: str, statuses: Sequence[RunStatus], *, only_active: bool = False) -> Table:
    """One line a run; with ``only_active`` just those that run, for the live view."""
    count = counts(statuses)
    title = f"{sweep}: " + ", ".join(f"{number} {name}" for name, number in count.items() if number)
    table = Table(title=Text(title), title_justify="left")
    for name in ("run", "size", "seed", "status", "interactions", "per second", "left", "reason"):
        table.add_column(name, overflow="fold")
    for status in statuses:
        if only_active and status.status != "running":
            continue
        columns = status.record.columns if status.record else {}
        running = status.status == "running"
        wanted = int(status.config.get("interactions", 0))
        stored = status.record.interactions if status.record else 0
        table.add_row(
            Text(status.run_id),
            f"{columns['num_params']:,}" if columns.get("num_params") else "",
            str(status.config.get("seed", "")),
            Text(_state(status)),
            f"{stored:,} of {wanted:,} ({status.share:.0%})",
            f"{status.rate:,.0f}" if status.rate else "",
            duration(status.seconds_left) if running else "",
            Text((status.record.reason or "") if status.record else ""),
        )
    return table


def _state(status: RunStatus) -> str:
    silent = status.seconds_since_update
    if status.status == "running" and silent is not None:
        return f"running (heard of {duration(silent)} ago)"
    return str(status.status)


def status_json(sweep: str, statuses: Sequence[RunStatus]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "sweep": sweep,
        "counts": counts(statuses),
        "runs": [
            {
                "run_id": status.run_id,
                "status": status.status,
                "reason": status.record.reason if status.record else None,
                "interactions": status.record.interactions if status.record else 0,
                "interactions_wanted": status.config.get("interactions"),
                "interactions_per_second": status.rate,
                "seconds_left": status.seconds_left if status.status == "running" else None,
                "attempts": len(status.record.attempts) if status.record else 0,
                "config": status.config,
            }
            for status in statuses
        ],
    }


def run_line(status: RunStatus, last_return: float | None, note: str = "") -> Text:
    """The one line that sums a run up when it ends."""
    record = status.record
    size = f"N {record.columns.get('num_params', 0):>10,}" if record else ""
    reached = "" if last_return is None else f"return {last_return:.4f}"
    seconds = duration(record.wall_seconds) if record else ""
    parts = [
        f"{status.status:<8}",
        status.run_id,
        size,
        f"seed {status.config.get('seed')}",
        f"E {record.interactions if record else 0:,}",
        reached,
        seconds,
        note,
    ]
    return Text("  ".join(part for part in parts if part))


class SweepView:
    """A live table of the running runs on a terminal; summary lines alone anywhere else."""

    def __init__(self, console: Console, store: RunStore, sweep: str) -> None:
        self._console, self._store, self._sweep = console, store, sweep
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._drawn = -_REFRESH_SECONDS

    def __enter__(self) -> SweepView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def poll(self) -> None:
        """Draw the table anew every other second; reading a store has its cost."""
        now = self._console.get_time()
        if self._live and now - self._drawn >= _REFRESH_SECONDS:
            self._drawn = now
            table = status_table(self._sweep, sweep_status(self._store, self._sweep), only_active=True)
            self._live.update(table, refresh=True)

    def ended(self, run_id: str, message: str) -> None:
        """Print the line of a run that ended."""
        record = self._store.read_run(self._sweep, run_id)
        if record is None:
            self._console.print(Text(f"failed    {run_id}  {message}"))
            return
        status = RunStatus(run_id, record.status, record.config, record)
        returns = self._store.read_curve(self._sweep, run_id).column("return_mean").drop_null()
        last = returns[-1].as_py() if len(returns) else None
        self._console.print(run_line(status, last, record.reason or message), soft_wrap=True)

    def died(self, run_id: str, message: str) -> None:
        """Print that a run's worker died and the run goes on."""
        self._console.print(Text(f"again     {run_id}  {message}; it goes on from its last checkpoint"))
