"""What processes here may use of the machine: the whole of it, or what their container leaves them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_memory() -> int:
    """Bytes: the machine's memory, or a cgroup's limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(int(text) for text in _limits("memory.max") if text.isdigit())])


def available_memory() -> int | None:
    """Bytes that could be had now without swapping; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else min(kilobytes * 1024, usable_memory())


def usable_cores() -> int:
    """Cores that this process may run on; systems without affinity, such as macOS, offer all of theirs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Cores' worth of time that a cgroup allows; None without a limit."""
    quotas = []
    for text in _limits("cpu.max"):
        share, _, period = text.partition(" ")
        if share.isdigit() and period.isdigit():
            quotas.append(int(share) / int(period))
    return min(quotas, default=None)


def _limits(name: str) -> Iterator[str]:
    """What a file of cgroup 2 says for this process's group and each one above it."""
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
