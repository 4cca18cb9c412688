"""Reads everything that a store holds: what is damaged, what is left over, and what a repair would do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from rlscale.scaling.errors import DamagedRun, InputError, LeaseLost
from rlscale.scaling.files import is_temporary
from rlscale.sweeps.store.names import CHECKPOINTS, DAMAGED, RUN, is_leftover, lease_key
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.repair import to_continue
from rlscale.sweeps.store.run_folder import REMEDY, RunFolder
from rlscale.sweeps.store.run_store import RunStore

Kind = Literal["damaged", "refused", "left over"]
_AGAIN = "running the sweep again, or rlscale sweep retry, does the run again from what is intact"
_BY_HAND = "nothing; this is for you to decide"


@dataclass(frozen=True)
class Finding:
    """Something in a store that is not as it should be.

    Attributes:
        kind: "damaged" costs a run or a part of it; "refused" is intact, but not of this run or version;
            "left over" is of no use and does no harm.
        run_id: None if it is not of one run.
        problem: a sentence that names the file.
        repair: what a repair does, or what does it instead.
        is_repairable: whether ``repair`` does something about it.
    """

    kind: Kind
    sweep: str
    run_id: str | None
    problem: str
    repair: str
    is_repairable: bool = False


def check_sweep(store: RunStore, sweep: str) -> Iterator[Finding]:
    """Read all files of a sweep and say what is wrong, run by run."""
    try:
        store.read_spec(sweep)
    except InputError as error:
        yield Finding("damaged", sweep, None, str(error), "nothing; running the sweep with its spec does")
    for stray in store.strays(sweep):
        yield Finding("refused", sweep, None, str(stray), _BY_HAND)
    for run_id in store.run_ids(sweep):
        yield from _check_run(store.folder(sweep, run_id))


def repair(store: RunStore, finding: Finding) -> bool:
    """Do what ``finding.repair`` says. Returns whether something was done."""
    if not finding.is_repairable or finding.run_id is None:
        return False
    folder = store.folder(finding.sweep, finding.run_id)
    if finding.kind == "left over":
        folder.clean_finished()
        return True
    blank = RunRecord(sweep=folder.sweep, run_id=folder.run_id, status="failed", config={}, columns={})
    record, damaged = to_continue(folder, blank)
    if not record.config:  # all its records are lost: only the sweep's spec knows what the run is
        return False
    if record.status == "done":
        folder.clean_finished()
    elif not damaged:
        folder.repeat_record()
    else:
        with suppress(LeaseLost):  # an attempt has just gone on with the run, and so repaired it
            folder.take(record.ended("failed", finding.problem, DamagedRun.code))
    return True


def _check_run(folder: RunFolder) -> Iterator[Finding]:
    def found(kind: Kind, problem: str, cure: str, *, is_repairable: bool = False) -> Finding:
        return Finding(kind, folder.sweep, folder.run_id, problem, cure, is_repairable)

    names = folder.names()
    try:
        record = folder.record(names)
        _check_rows(folder, record)
    except DamagedRun as error:
        if not error.may_be_redone:
            yield found("refused", _problem(error), _BY_HAND)
        else:
            cure = f"it is set aside, and the run marked as failed; {_AGAIN}"
            yield found("damaged", _problem(error), cure, is_repairable=True)
        return
    for problem in _damaged_checkpoints(folder, record):
        yield found("damaged", problem, "nothing; the run goes on from the one before, or begins again")
    for problem in _damaged_records(folder, names):
        yield found("damaged", problem, "the record is written again", is_repairable=True)
    aside = sorted(name for name in names if name.startswith(DAMAGED))
    if aside:
        yield found("left over", f"{folder.path} holds {_listed(aside)}, set aside by a repair", _BY_HAND)
    leftovers = sorted(name for name in names if is_temporary(name))
    if record is not None and record.status == "done":
        kept = {CHECKPOINTS} if record.checkpoints else set()
        leftovers = sorted(name for name in names if is_leftover(name) and name not in kept)
        if leftovers:
            yield found(
                "left over",
                f"{folder.path} holds {_listed(leftovers)}, of no use to a run that is done",
                "it is removed",
                is_repairable=True,
            )
    elif leftovers:
        yield found(
            "left over",
            f"{folder.path} holds {_listed(leftovers)}, which a writer left when it died",
            "nothing; the run's next attempt removes it",
        )


def _check_rows(folder: RunFolder, record: RunRecord | None) -> None:
    """Read all rows that count; DamagedRun if that is not possible."""
    if record is None:
        return
    if record.status == "done":
        folder.check_curve()
        return
    _, error = folder.intact(record.segments)
    if error is not None:
        raise error


def _damaged_checkpoints(folder: RunFolder, record: RunRecord | None) -> Iterator[str]:
    """A sentence for each checkpoint that a run may need and that cannot be read."""
    segments = (record.checkpoints or record.segments) if record else ()
    for segment in folder.with_checkpoints(segments):
        path = folder.checkpoint_path(segment)
        content = folder.files.read(path)
        if content is not None and not _is_whole_zip(content):
            yield f"{path} is not a readable checkpoint"


def _damaged_records(folder: RunFolder, names: Iterable[str]) -> Iterator[str]:
    """A sentence for each record that cannot be read, while others tell what it said."""
    for name in sorted(names):
        if name == RUN or lease_key(name):
            try:
                folder.read_record(name)
            except DamagedRun as error:
                yield _problem(error)


def _is_whole_zip(content: bytes) -> bool:
    """Whether this is a zip archive, as torch writes, in which every file has its checksum."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return False


def _problem(error: DamagedRun) -> str:
    """What is wrong, without the advice to call the check that says it."""
    return str(error).removesuffix(f"; {REMEDY}.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
