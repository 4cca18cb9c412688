"""What a closed loop decided, one file a decision beside a sweep's runs: ``decisions/000001.json`` and so on.

A decision is written before its runs begin, so a loop that is killed goes on with what it had decided, and a
person can read why each run was trained.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlscale.analysis.records import SCHEMA_VERSION, Interval, Record, parse_stored
from rlscale.sweeps.store.run_store import RunStore

_FOLDER = "decisions"

#: Begin, train longer where no law can be fitted yet, train what is best by the law so far, or stop.
Action = Literal["first", "longer", "best", "stop"]


class MeasuredSize(Record):
    """Runs of one size once a decision is carried out.

    Attributes:
        N: policy parameters.
        width: multiplier of the network's width.
        interactions: E to which each run is trained.
        seeds: which runs.
    """

    N: float
    width: float
    interactions: int
    seeds: tuple[int, ...]


class LawSoFar(Record):
    """The law that a decision rests on.

    Attributes:
        nu, nu_interval: with the total interval: seeds, size effects and early training.
        identified, warning_codes: as of the fit.
        target_compute: C* at which N_opt is wanted.
        N_opt, N_opt_interval: there, with the total interval.
    """

    nu: float
    nu_interval: Interval
    identified: bool
    warning_codes: list[str]
    target_compute: float
    N_opt: float
    N_opt_interval: Interval


class Decision(Record):
    """Which runs a loop wants next, and why.

    Attributes:
        number: 1 for the first.
        action: what kind of decision it is.
        reason: a sentence for people.
        sizes: what is measured once it is carried out, ascending in N.
        closed: N of sizes whose runs stay as they are, because one of them failed.
        spent: of the budget before it, in the unit of the budget.
        planned: of the budget once it is carried out.
        budget, unit: what may be spent, in ``compute`` (N·E) or ``hours`` of training.
        shrinkage: factor by which the runs are expected to shrink the standard deviation of what is wanted.
        law: what was known before; null where no law could be fitted.
    """

    kind: Literal["rlscale decision"] = "rlscale decision"
    schema_version: int = SCHEMA_VERSION
    number: int
    action: Action
    reason: str
    sizes: list[MeasuredSize]
    closed: list[float] = Field(default_factory=list)
    spent: float
    planned: float
    budget: float
    unit: Literal["compute", "hours"]
    shrinkage: float | None = None
    law: LawSoFar | None = None


def read_decisions(store: RunStore, sweep: str) -> list[Decision]:
    """All decisions of a sweep, in order.

    Raises:
        InputError: if a file cannot be read as a decision.
    """
    found = []
    for name in store.list_files(sweep, _FOLDER):
        content = store.read_file(sweep, f"{_FOLDER}/{name}")
        if content is not None:
            found.append(
                parse_stored(
                    content,
                    Decision,
                    source=f"{_FOLDER}/{name} of sweep {sweep}",
                    remedy="remove it to have the loop decide again",
                )
            )
    return sorted(found, key=lambda decision: decision.number)


def write_decision(store: RunStore, sweep: str, decision: Decision) -> None:
    """Store a decision.

    Raises:
        StoreUnavailable: if the store cannot be written.
    """
    store.write_file(
        sweep, f"{_FOLDER}/{decision.number:06d}.json", decision.model_dump_json(indent=1).encode()
    )
