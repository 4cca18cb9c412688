"""The curves of a store for a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table

from rlscale.analysis.formatting.numbers import compact_count
from rlscale.scaling.errors import DamagedRun
from rlscale.sweeps.store.records import STILL_TRAINED, RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.console import warn_of_damage
from rlscale.terminal.sweep import ID_LENGTH
from rlscale.terminal.tables import runs_table, stored_text

_NAME_LENGTH = 28  # an imported run's id is its name


def curves_table(store: RunStore, sweep: str, records: Sequence[RunRecord]) -> Table:
    """One line for each stored curve: its run, its length and its last return."""
    tasks = ", ".join(sorted({str(record.columns.get("task") or "unknown task") for record in records}))
    table = runs_table("N", "seed", "status", "rows", "interactions", "return", differing=(), first="run")
    table.title = stored_text(f"{sweep}: {len(records)} curves, {tasks}")
    for record in records:
        try:
            curve = store.read_curve(sweep, record.run_id)
        except DamagedRun as error:
            warn_of_damage(error)
            continue
        returns = curve.column("return_mean").drop_null()
        columns = record.columns
        table.add_row(
            stored_text(_short_id(record.run_id)),
            f"{columns.get('num_params') or 0:,}",
            stored_text(str(columns.get("seed", ""))),
            "may still train" if STILL_TRAINED in record.config else record.status,
            str(curve.num_rows),
            compact_count(curve["interactions"][-1].as_py() if curve.num_rows else 0),
            f"{returns[-1].as_py():.4g}" if len(returns) else "none",
        )
    return table


def _short_id(run_id: str) -> str:
    """The start of a hash, or both ends of a long name: names often differ only in their last letters."""
    if re.fullmatch(r"[0-9a-f]{16}", run_id):
        return run_id[:ID_LENGTH]
    if len(run_id) <= _NAME_LENGTH:
        return run_id
    half = (_NAME_LENGTH - 3) // 2
    return f"{run_id[:half]}...{run_id[-half:]}"
