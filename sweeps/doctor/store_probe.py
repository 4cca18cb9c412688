"""Small files that show whether a machine can write a store, and sees what this machine wrote there."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

from rlscale.scaling.errors import InputError, RlscaleError
from rlscale.sweeps.doctor.checks import Check


@dataclass(frozen=True)
class Probe:
    """Where probe files go: ``folder`` below ``base``, the store or the nearest folder above it that exists.

    The first sweep makes the store, so it need not exist yet.
    """

    location: str
    base: str
    folder: str
    is_local: bool


def choose_probe(location: str) -> Probe:
    """Where to put probe files for a store.

    Raises:
        InputError: if ``location`` is not an address of a filesystem, or is a file.
        ImportError: if pyarrow is broken.
    """
    from rlscale.sweeps.store.files import Files

    files = Files(location)
    base = files.root
    while files.is_local and not os.path.isdir(base):
        if os.path.exists(base):
            raise InputError(
                f"{base} is a file, so {location} cannot be a store: give a directory.", code="not_a_store"
            )
        base = os.path.dirname(base)
    return Probe(
        base if files.is_local else location, base, f"{base}/.doctor-{uuid.uuid4().hex[:12]}", files.is_local
    )


def check_store(probe: Probe, where: str, expected: str | None = None) -> Check:
    """Write this machine's file, called ``where``, and read it and the one that ``expected`` wrote."""
    from rlscale.sweeps.store.files import Files

    begun = time.perf_counter()
    try:
        if probe.is_local and not os.path.isdir(probe.base):
            raise InputError(f"There is no folder {probe.base}.", code="no_store")
        files = Files(probe.location)
        files.make_folder(probe.folder)
        files.write(f"{probe.folder}/{where}", where.encode())
        names = [where, *([expected] if expected else [])]
        unseen = [name for name in names if files.read(f"{probe.folder}/{name}") != name.encode()]
    except (RlscaleError, OSError) as error:
        remedy = (
            "Make it writable there, or choose another --store."
            if probe.is_local
            else "Check the bucket's name, the credentials and the network there."
        )
        return Check("store", where, "fail", str(error), remedy)
    if unseen:
        remove_probe(probe)  # this machine alone sees it
        remedy = "The folder is another one there: mount one disk on all nodes, or use s3://BUCKET/PATH."
        found = f"does not see what {', '.join(unseen)} wrote to {probe.base}"
        return Check("store", where, "fail", found, remedy)
    milliseconds = 1000 * (time.perf_counter() - begun)
    return Check("store", where, "pass", f"written and read in {milliseconds:.0f} ms")


def remove_probe(probe: Probe) -> None:
    """Remove all probe files that this machine sees."""
    from rlscale.sweeps.store.files import Files

    with suppress(RlscaleError, OSError):  # what could not be written is not there
        Files(probe.location).delete_folder(probe.folder)
