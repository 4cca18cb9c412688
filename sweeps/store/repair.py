"""What becomes of a run whose files are damaged: what is intact counts, the rest is done again."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from contextlib import suppress

from rlscale.scaling.errors import DamagedRun
from rlscale.sweeps.store.names import CURVE, DAMAGED, RUN, highest_key, lease_name, segments_of_parts
from rlscale.sweeps.store.records import RunRecord, Status
from rlscale.sweeps.store.run_folder import RunFolder


def to_continue(folder: RunFolder, blank: RunRecord) -> tuple[RunRecord, list[str]]:
    """The record from which a run goes on, and a sentence for each damaged file that was found.

    A final file that cannot be read is set aside. Of the parts, those before the first damaged one count.

    Args:
        blank: the record of the run without anything stored, for the case that all records are lost.

    Raises:
        DamagedRun: if a file is not of this version or this run, so that nothing may be written here.
    """
    found: list[str] = []
    names = folder.names()
    readable = blank
    try:
        record = folder.record(names)
        if record is not None and record.status == "done":
            folder.check_curve()
            return record, found
    except DamagedRun as error:
        if not error.may_be_redone:
            raise
        found.append(str(error))
        _set_aside(folder, CURVE)
        record, readable = None, _any_record(folder, names) or blank
    segments, damage = folder.intact(record.segments if record else segments_of_parts(names))
    if damage is not None:
        found.append(str(damage))
    if record is None or damage is not None:
        return folder.as_far_as(record or readable, segments), found
    return record, found


def _any_record(folder: RunFolder, names: Collection[str]) -> RunRecord | None:
    """The lease's record, or else ``run.json``'s, as if the run were not done; None if both are lost."""
    key = highest_key(names)
    for name in (RUN,) if key is None else (lease_name(key), RUN):
        with suppress(DamagedRun):
            record = folder.read_record(name)
            if record is not None:
                status: Status = "stopped" if record.status == "done" else record.status
                return record.changed(status=status, checkpoints=())
    return None


def _set_aside(folder: RunFolder, name: str) -> None:
    """Give a damaged file a name that nothing reads, if it is there."""
    content = folder.files.read(f"{folder.path}/{name}")
    if content is not None:
        folder.files.write(f"{folder.path}/{DAMAGED}{uuid.uuid4().hex[:8]}-{name}", content)
        folder.files.delete(f"{folder.path}/{name}")
