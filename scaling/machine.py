"""How much of the machine this process may use: all of it, or the share that its container allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_memory() -> int:
    """Bytes of memory: the machine's, or the limit of a cgroup."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(int(text) for text in _limits("memory.max") if text.isdigit())])


def available_memory() -> int | None:
    """Bytes of memory free now without swapping; None if the system does not report them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else min(kilobytes * 1024, usable_memory())


def usable_cores() -> int:
    """Cores that this process may run on; all of them on systems without affinity, such as macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota() -> float | None:
    """CPU time that a cgroup allows, in cores; None without a limit."""
    quotas = []
    for text in _limits("cpu.max"):
        share, _, period = text.partition(" ")
        if share.isdigit() and period.isdigit():
            quotas.append(int(share) / int(period))
    return min(quotas, default=None)


def _limits(name: str) -> Iterator[str]:
    """The content of a cgroup 2 file for this process's group and for each group above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    group = next((Path(line[3:].strip("/")) for line in lines if line.startswith("0::")), Path())
    for folder in (group, *group.parents):
        try:
            yield (_CGROUPS / folder / name).read_text().strip()
        except OSError:
            continue
