"""Tables and lines about sweeps for a terminal. Text from a store is never read as markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scaling.config import ALIASES
from scaling.printable import printable
from sweeps.drivers import SILENCE_SECONDS, DriverRecord
from sweeps.plan import PlannedSize, byte_size, duration
from sweeps.status import (
    RunStatus,
    SweepProgress,
    SweepReader,
    SweepState,
    counts,
    progress,
    seconds_since,
)
from sweeps.store import RunRecord, RunStore

_REFRESH_SECONDS = 2.0  # of the live table
_LINE_SECONDS = 60.0  # between lines on the progress where there is none
_SILENT_SECONDS = 60.0
_MOST_SHOWN = 20  # runs, where not all are asked for
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


def status_table(statuses: Sequence[RunStatus], shown: Sequence[RunStatus] | None = None) -> Table:
    """One line for each of ``shown``, by default for every run of the sweep."""
    shown = statuses if shown is None else shown
    kinds = {status.size: status.config for status in statuses}
    names = ("N", "seed", "status", "interactions", "rate", "left")
    table = _table(*names, apart=_apart(list(kinds.values())), first="run", gap=0)
    values_of = dict(zip(kinds, _values(list(kinds.values())), strict=True))
    for status in shown:
        table.add_row(
            _text(status.run_id[:_ID_LENGTH]),
            *values_of[status.size],
            _num_params(status),
            _text(str(status.config.get("seed", ""))),
            status.status,
            _stored(status),
            _rate(status.rate) if status.status == "running" else "",
            _brief(status.seconds_left) if status.status == "running" else "",
        )
    return table


def status_parts(state: SweepState, *, show_all: bool = False) -> list[RenderableType]:
    """What ``rlscale sweep status`` says of one sweep, part by part.

    Without ``show_all`` runs that are done or wait are only counted; of the others the running
    ones come first, then the failed, then the stopped.
    """
    runs = state.statuses
    kinds = ("running", "failed", "stopped")
    shown = list(runs) if show_all else [run for kind in kinds for run in runs if run.status == kind]
    left_out = 0 if show_all else max(0, len(shown) - _MOST_SHOWN)
    shown = shown[: len(shown) - left_out]
    parts: list[RenderableType] = [_text(f"{state.sweep}: {_counted(runs)}")]
    if shown:
        parts += [status_table(runs, shown), *status_notes(shown)]
    if left_out:
        parts.append(_text(f"... and {left_out:,} more of these; --all shows every run"))
    parts.append(_text(progress_line(progress(runs))))
    parts += [_text(driver_line(driver, silence)) for driver, silence in state.drivers]
    if state.has_spec and not state.has_ended and not state.has_live_driver:
        parts.append(_text("no driver is at work on it; go on with: rlscale sweep resume"))
    return parts


def print_status(console: Console, state: SweepState, *, show_all: bool = False) -> None:
    """Print ``status_parts``, lines of text however long they are."""
    for part in status_parts(state, show_all=show_all):
        console.print(part, soft_wrap=isinstance(part, Text))


def status_line(state: SweepState) -> tuple[str, Text]:
    """(the number of runs by status, those with the progress on one line)."""
    counted = _counted(state.statuses)
    return counted, _text(f"{state.sweep}: {counted}; {progress_line(progress(state.statuses))}")


def progress_line(done: SweepProgress) -> str:
    """How far a sweep is, its speed and the time left."""
    wanted = done.interactions_wanted
    # Runs end with an iteration, so a little beyond what is wanted.
    share = f" ({min(1.0, done.interactions / wanted):.0%})" if wanted else ""
    parts = [f"{short(done.interactions)} of {short(wanted)} interactions{share}"]
    if done.seconds_left != 0:
        parts += [_rate(done.rate), f"{duration(done.seconds_left)} left"]
    return ", ".join(parts)


def driver_line(driver: DriverRecord, silence: float) -> str:
    """One driver: where it is, what it does, and whether it seems to live."""
    job = f", job {driver.job}" if driver.job else ""
    work = f"{driver.in_flight} in flight, {driver.waiting} waiting, {driver.ended} ended"
    if driver.is_known_dead or silence > SILENCE_SECONDS:
        heard = "dead"
    else:
        heard = f"last heard of {duration(seconds_since(driver.updated))} ago"
    return f"driver on {driver.host}, pid {driver.pid}{job}: {work}; {heard}"


def _counted(statuses: Sequence[RunStatus]) -> str:
    count = counts(statuses)
    parts = [f"{number} {name}" for name, number in count.items() if number and name != "total"]
    return ", ".join([f"{count['total']} run{'' if count['total'] == 1 else 's'}", *parts])


def _num_params(status: RunStatus) -> str:
    number = status.stored.num_params if status.stored else None
    return short(number) if number else ""


def _stored(status: RunStatus) -> str:
    wanted = status.config.get("interactions")
    if status.status == "done" or wanted is None:
        return short(status.stored.interactions) if status.stored else ""
    return f"{status.share:.0%} of {short(wanted)}"


def _rate(rate: float | None) -> str:
    return "?/s" if rate is None else f"{short(rate)}/s"


def _brief(seconds: float | None) -> str:
    """A length of time in one unit, for a column."""
    if seconds is None:
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def status_notes(statuses: Sequence[RunStatus]) -> list[Text]:
    """Why runs failed or stopped, which running ones have been silent for long, and which began again."""
    notes = []
    for status in statuses:
        silent = status.seconds_since_update or 0.0
        attempts = status.stored.attempts if status.stored else 0
        if status.stored and status.stored.reason:
            note = f"{status.status}: {status.stored.reason}"
        elif status.status == "running" and silent > _SILENT_SECONDS:
            note = f"running, but last heard of {duration(silent)} ago"
        elif status.status == "running" and attempts > 1:
            note = "running"
        else:
            continue
        again = f" (attempt {attempts})" if attempts > 1 else ""
        notes.append(_text(f"{status.run_id[:_ID_LENGTH]} {note}{again}"))
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


def _table(*names: str, apart: Sequence[str], first: str | None = None, gap: int = 1) -> Table:
    table = Table(
        box=SIMPLE_HEAD, title_justify="left", collapse_padding=True, pad_edge=False, padding=(0, gap)
    )
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


def status_json(state: SweepState) -> dict[str, Any]:
    """The same for machines."""
    done = progress(state.statuses)
    return {
        "sweep": state.sweep,
        "counts": counts(state.statuses),
        "interactions": done.interactions,
        "interactions_wanted": done.interactions_wanted,
        "interactions_per_second": done.rate,
        "seconds_left": done.seconds_left,
        "drivers": [
            {**driver.model_dump(mode="json"), "seconds_since_update": seconds_since(driver.updated)}
            for driver, _ in state.drivers
        ],
        "runs": [_run_json(status) for status in state.statuses],
    }


def _run_json(status: RunStatus) -> dict[str, Any]:
    stored = status.stored
    return {
        "run_id": status.run_id,
        "status": status.status,
        "reason": stored.reason if stored else None,
        "interactions": stored.interactions if stored else 0,
        "interactions_wanted": status.config.get("interactions"),
        "share": status.share,
        "interactions_per_second": status.rate,
        "seconds_left": status.seconds_left if status.status == "running" else None,
        "seconds_since_update": status.seconds_since_update,
        "attempts": stored.attempts if stored else 0,
        "config": status.config,
    }


def run_line(status: RunStatus, last_return: float | None, note: str = "") -> Text:
    """The one line that sums a run up when it ends."""
    stored = status.stored
    size = f"N {stored.num_params or 0:,}" if stored else ""
    reached = "" if last_return is None else f"return {last_return:.4f}"
    seconds = duration(stored.wall_seconds) if stored else ""
    parts = [
        f"{status.status:<8}",
        status.run_id[:_ID_LENGTH],
        size,
        f"seed {status.config.get('seed')}",
        f"{short(stored.interactions if stored else 0)} interactions",
        reached,
        seconds,
        note,
    ]
    return _text("  ".join(part for part in parts if part))


class SweepView:
    """What a driver shows of its sweep: a live table on a terminal, elsewhere lines, one each minute too."""

    def __init__(self, console: Console, store: RunStore, sweep: str) -> None:
        self._console, self._store, self._sweep = console, store, sweep
        self._reader = SweepReader(store, sweep)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._interval = _REFRESH_SECONDS if self._live else _LINE_SECONDS
        self._next: float | None = None

    def __enter__(self) -> SweepView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def poll(self) -> None:
        """Show the progress if it is time, more rarely where the store is slow to read."""
        began = self._console.get_time()
        if self._next is None:  # the first runs are not to wait while the store is read
            self._next = began + self._interval
        if began < self._next:
            return
        statuses = self._reader.read()
        title = _text(f"{self._sweep}: {_counted(statuses)}")
        line = _text(progress_line(progress(statuses)))
        if self._live:
            running = [status for status in statuses if status.status == "running"][:_MOST_SHOWN]
            self._live.update(Group(title, status_table(statuses, running), line), refresh=True)
        else:
            self._console.print(title + Text("; ") + line, soft_wrap=True)
        now = self._console.get_time()
        self._next = now + max(self._interval, 10 * (now - began))

    def ended(self, run_id: str, message: str) -> None:
        """Print the line of a run that ended."""
        record = self._store.read_run(self._sweep, run_id)
        if record is None:
            self._console.print(_text(f"failed    {run_id[:_ID_LENGTH]}  {message}"), soft_wrap=True)
            return
        status = RunStatus.of(record, record.config)
        returns = self._store.read_curve(self._sweep, run_id).column("return_mean").drop_null()
        last = returns[-1].as_py() if len(returns) else None
        self._console.print(run_line(status, last, record.reason or message), soft_wrap=True)

    def died(self, run_id: str, message: str) -> None:
        """Print that a run's worker died and the run goes on."""
        line = f"again     {run_id[:_ID_LENGTH]}  {message}; it goes on from its last checkpoint"
        self._console.print(_text(line), soft_wrap=True)
