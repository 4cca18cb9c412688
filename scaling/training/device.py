"""The device that a run computes on, and the memory and threads it uses there."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence

import torch

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.machine import usable_cores


def keep_freed_memory() -> None:
    """Make glibc keep large freed buffers instead of returning them to the system.

    Each step allocates its activations again. Getting their pages back from the system each
    time made training up to 2.6 times slower at large batches. Without glibc this does nothing.
    """
    mmap_max, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def resolve_device(name: str) -> str:
    """``auto`` is cuda where there is one, else cpu.

    Raises:
        InputError: if cuda is asked for and there is none, or the name is unknown.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name}: choose auto, cpu or cuda.", code="unknown_choice")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError(
            "--device cuda: torch finds no CUDA GPU here; use --device cpu or auto.", code="no_gpu"
        )
    return "cuda" if name != "cpu" and available else "cpu"


def warning_of_threads(configs: Sequence[RunConfig]) -> str | None:
    """A warning if a run has more threads than there are cores, which makes it slower; else None."""
    cores = usable_cores()
    threads = max((config.threads for config in configs), default=0)
    if threads <= cores:
        return None
    return f"threads is {threads}, but there are {cores} cores here: more threads than cores only slow a run."
