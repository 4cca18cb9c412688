"""Tables and lines about sweeps for a terminal. Text from a store is never read as markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scaling.config import ALIASES
from scaling.printable import printable
from sweeps.plan import PlannedSize, byte_size, duration
from sweeps.status import RunStatus, counts, sweep_status
from sweeps.store import RunRecord, RunStore

_REFRESH_SECONDS = 2.0
_SILENT_SECONDS = 60.0
_ID_LENGTH = 8  # of a run's id; --json and the store have all of it
_NAME_LENGTH = 28  # of an imported run's id, which is its name
_SHORT_NAMES = {path: name for name, path in ALIASES.items()}


def plan_table(sizes: Sequence[PlannedSize]) -> Table:
    """One line a size: what sets it apart, its runs, parameters, length, FLOPs, memory and estimated time."""
    configs = [size.config.model_dump(mode="json") for size in sizes]
    table = _table("N", "runs", "interactions", "FLOP", "memory", "time", apart=_apart(configs))
    for size, values in zip(sizes, _values(configs), strict=True):
        table.add_row(
            *values,
            f"{size.columns['num_params']:,}",
            str(size.num_runs),
            short(size.config.interactions),
            f"{size.flops:.1e}",
            byte_size(size.memory.total) if size.memory else "?",
            duration(size.seconds),
        )
    return table


def status_table(sweep: str, statuses: Sequence[RunStatus], *, only_active: bool = False) -> Table:
    """One line a run; with ``only_active`` just those that run, for the live view."""
    count = counts(statuses)
    parts = [f"{number} {name}" for name, number in count.items() if number and name != "total"]
    configs = [status.config for status in statuses]
    table = _table("N", "seed", "status", "interactions", "left", apart=_apart(configs), first="run")
    table.title = _text(f"{sweep}: {count['total']} runs" + (f", {', '.join(parts)}" if parts else ""))
    for status, values in zip(statuses, _values(configs), strict=True):
        if only_active and status.status != "running":
            continue
        record = status.record
        columns = record.columns if record else {}
        stored = short(record.interactions) if record else "0"
        wanted = status.config.get("interactions")
        table.add_row(
            _text(status.run_id[:_ID_LENGTH]),
            *values,
            short(columns["num_params"]) if columns.get("num_params") else "",
            _text(str(status.config.get("seed", ""))),
            status.status,
            stored if status.status == "done" or wanted is None else f"{stored} of {short(wanted)}",
            duration(status.seconds_left) if status.status == "running" else "",
        )
    return table


def status_notes(statuses: Sequence[RunStatus]) -> list[Text]:
    """Why runs failed or stopped, and which running ones have been silent for long."""
    notes = []
    for status in statuses:
        silent = status.seconds_since_update or 0.0
        if status.record and status.record.reason:
            note = f"{status.status}: {status.record.reason}"
        elif status.status == "running" and silent > _SILENT_SECONDS:
            note = f"running, but last heard of {duration(silent)} ago"
        else:
            continue
        notes.append(_text(f"{status.run_id[:_ID_LENGTH]} {note}"))
    return notes


def curves_table(store: RunStore, sweep: str, records: Sequence[RunRecord]) -> Table:
    """One line a stored curve: its run, its length and its last return."""
    tasks = ", ".join(sorted({str(record.columns.get("task") or "unknown task") for record in records}))
    table = _table("N", "seed", "status", "rows", "interactions", "return", apart=(), first="run")
    table.title = _text(f"{sweep}: {len(records)} curves, {tasks}")
    for record in records:
        curve = store.read_curve(sweep, record.run_id)
        returns = curve.column("return_mean").drop_null()
        columns = record.columns
        table.add_row(
            _text(_short_id(record.run_id)),
            f"{columns.get('num_params') or 0:,}",
            _text(str(columns.get("seed", ""))),
            record.status,
            str(curve.num_rows),
            short(curve["interactions"][-1].as_py() if curve.num_rows else 0),
            f"{returns[-1].as_py():.4g}" if len(returns) else "none",
        )
    return table


def _text(text: str) -> Text:
    """Text from a store on one line: neither markup nor control characters of it count."""
    return Text(printable(text))


def _short_id(run_id: str) -> str:
    """The start of a hash; of a name both ends, for names of runs often differ in the last letters."""
    if re.fullmatch(r"[0-9a-f]{16}", run_id):
        return run_id[:_ID_LENGTH]
    if len(run_id) <= _NAME_LENGTH:
        return run_id
    half = (_NAME_LENGTH - 3) // 2
    return f"{run_id[:half]}...{run_id[-half:]}"


def short(number: float) -> str:
    """A count in three digits: 950, 8.19k, 1.2M, 3G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _table(*names: str, apart: Sequence[str], first: str | None = None) -> Table:
    table = Table(box=SIMPLE_HEAD, title_justify="left", collapse_padding=True, pad_edge=False)
    if first:
        table.add_column(first, no_wrap=True)
    for name in apart:
        table.add_column(_text(name.replace("_", " ")), justify="right", overflow="fold")
    for name in names:
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    return table


def _apart(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names of the fields, seed and length aside, in which the configs differ."""
    return [_SHORT_NAMES.get(path, path.rsplit(".", 1)[-1]) for path in _differing(configs)]


def _values(configs: Sequence[Mapping[str, Any]]) -> list[list[Text]]:
    """For each config the values of those fields."""
    paths = _differing(configs)
    return [[_value(_flat(config).get(path)) for path in paths] for config in configs]


def _value(value: Any) -> Text:
    return _text("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    flat = [_flat(config) for config in configs]
    paths = dict.fromkeys(path for config in flat for path in config if path not in ("seed", "interactions"))
    return [path for path in paths if len({repr(config.get(path)) for config in flat}) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


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
    size = f"N {record.columns.get('num_params', 0):,}" if record else ""
    reached = "" if last_return is None else f"return {last_return:.4f}"
    seconds = duration(record.wall_seconds) if record else ""
    parts = [
        f"{status.status:<8}",
        status.run_id[:_ID_LENGTH],
        size,
        f"seed {status.config.get('seed')}",
        f"{short(record.interactions if record else 0)} interactions",
        reached,
        seconds,
        note,
    ]
    return _text("  ".join(part for part in parts if part))


class SweepView:
    """A live table of the running runs on a terminal; summary lines alone anywhere else."""

    def __init__(self, console: Console, store: RunStore, sweep: str) -> None:
        self._console, self._store, self._sweep = console, store, sweep
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._next = 0.0

    def __enter__(self) -> SweepView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def poll(self) -> None:
        """Draw the table anew every other second, or more rarely where the store is slow to read."""
        began = self._console.get_time()
        if self._live and began >= self._next:
            table = status_table(self._sweep, sweep_status(self._store, self._sweep), only_active=True)
            self._live.update(table, refresh=True)
            now = self._console.get_time()
            self._next = now + max(_REFRESH_SECONDS, 10 * (now - began))

    def ended(self, run_id: str, message: str) -> None:
        """Print the line of a run that ended."""
        record = self._store.read_run(self._sweep, run_id)
        if record is None:
            self._console.print(_text(f"failed    {run_id[:_ID_LENGTH]}  {message}"), soft_wrap=True)
            return
        status = RunStatus(run_id, record.status, record.config, record)
        returns = self._store.read_curve(self._sweep, run_id).column("return_mean").drop_null()
        last = returns[-1].as_py() if len(returns) else None
        self._console.print(run_line(status, last, record.reason or message), soft_wrap=True)

    def died(self, run_id: str, message: str) -> None:
        """Print that a run's worker died and the run goes on."""
        line = f"again     {run_id[:_ID_LENGTH]}  {message}; it goes on from its last checkpoint"
        self._console.print(_text(line), soft_wrap=True)
