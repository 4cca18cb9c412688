"""Small files by which a machine shows that it can write a store and see what others write there."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlscale.scaling.errors import InputError, RlscaleError

if TYPE_CHECKING:
    from rlscale.sweeps.store.files import Files


@dataclass(frozen=True)
class Place:
    """Where probe files go: ``folder`` below ``base``, the store or the nearest folder above it that exists.

    A store is made by the first sweep, so it need not be there yet.
    """

    location: str
    base: str
    folder: str
    is_local: bool


@dataclass(frozen=True)
class Probe:
    """One machine's attempt: ``problem`` is None if it went well, then ``seconds`` is what it took."""

    problem: str | None
    seconds: float = 0.0


@dataclass(frozen=True)
class Disk:
    """Bytes of the disk that holds a local store."""

    total: int
    free: int


def choose_place(location: str) -> Place:
    """Where to put probe files for a store.

    Raises:
        InputError: if ``location`` is no address of a filesystem, or a file.
    """
    from rlscale.sweeps.store.files import Files

    files = Files(location)
    base = files.root
    if files.is_local:
        while not os.path.isdir(base):
            if os.path.exists(base):
                raise InputError(f"{base} is a file, so {location} cannot be a store: give a directory.")
            base = os.path.dirname(base)
    return Place(location, base, f"{base}/.doctor-{uuid.uuid4().hex[:12]}", files.is_local)


def disk_of(place: Place) -> Disk | None:
    """The disk of a local store as this machine sees it; None for an object store."""
    if not place.is_local or not os.path.isdir(place.base):
        return None
    usage = shutil.disk_usage(place.base)
    return Disk(usage.total, usage.free)


def _files(place: Place) -> Files:
    """The files below ``base``: of a local store that is not there yet, they lie above it."""
    from rlscale.sweeps.store.files import Files

    return Files(place.base if place.is_local else place.location)


def write_probe(place: Place, name: str) -> Probe:
    """Write this machine's file, called ``name``, and read it again."""
    begun = time.perf_counter()
    try:
        files = _files(place)
        if place.is_local and not os.path.isdir(place.base):
            return Probe(f"there is no folder {place.base}")
        files.make_folder(place.folder)
        files.write(f"{place.folder}/{name}", name.encode())
        content = files.read(f"{place.folder}/{name}")
    except (RlscaleError, OSError) as error:
        return Probe(str(error))
    if content != name.encode():
        return Probe(f"{place.folder}/{name} does not hold what was written to it")
    return Probe(None, time.perf_counter() - begun)


def unseen_probes(place: Place, names: Sequence[str]) -> list[str]:
    """Those of the files that this machine cannot read."""
    try:
        files = _files(place)
        return [name for name in names if files.read(f"{place.folder}/{name}") != name.encode()]
    except (RlscaleError, OSError):
        return list(names)


def remove_probes(place: Place) -> None:
    """Remove all probe files that this machine sees."""
    try:
        _files(place).delete_folder(place.folder)
    except (RlscaleError, OSError):
        return  # what could not be written is not there, and what else is wrong has been told
