"""What a machine has that a sweep depends on. Runs here and on every node, and never fails itself.

Nothing but the standard library is imported before it is asked for, so that a machine whose
numpy, pyarrow or torch is broken can still be told about.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rlscale.scaling.machine import available_memory, cpu_quota, usable_cores, usable_memory

#: Distributions whose versions are told, by the name under which each is imported.
PACKAGES = {"rlscale": "scaling", "torch": "torch", "ray": "ray", "numpy": "numpy", "pyarrow": "pyarrow"}
_IMPORTED = ("numpy", "pyarrow", "torch")
_PROCGEN_SECONDS = 60.0
_GPU_SECONDS = 20.0
_STEP = "from rlscale.sweeps.doctor.machine_facts import step_procgen; step_procgen()"


@dataclass(frozen=True)
class Gpu:
    """Memory in bytes."""

    name: str
    memory: int
    free: int


@dataclass(frozen=True)
class Gpus:
    """What the driver has, what torch sees of it, and what either was built for; None where there is none."""

    installed: tuple[Gpu, ...]
    driver: str | None
    seen_by_torch: int
    torch_cuda: str | None


@dataclass(frozen=True)
class Facts:
    """What was found.

    Attributes:
        versions: of each of ``PACKAGES`` and of python; None if it is not installed.
        broken: why packages that are installed cannot be imported.
        cpu_capability: the instructions that torch uses, e.g. AVX2; None without torch.
        cores, quota: cores this process may run on, and how many cores' time a container allows.
        memory, available: bytes for processes here, and those that could be had now.
        disk, disk_free: bytes of the disk of temporary files, where Ray keeps its session.
        auth_mode: RAY_AUTH_MODE as it is set; None if it is not.
        mnist: the folder that has MNIST; None if it would be downloaded.
        procgen: why Procgen cannot be played; None if it was, "" if it is not installed.
        clock: seconds since 1970.
    """

    host: str
    versions: dict[str, str | None]
    broken: dict[str, str]
    cpu_capability: str | None
    cores: int
    quota: float | None
    omp_num_threads: str | None
    memory: int
    available: int | None
    disk: int
    disk_free: int
    gpus: Gpus
    auth_mode: str | None
    mnist: str | None
    procgen: str | None
    clock: float


def gather(mnist_dir: str | None = None) -> Facts:
    """Look at this machine; takes some seconds, for torch is loaded and Procgen played.

    Args:
        mnist_dir: where to look for MNIST first.
    """
    broken = {name: problem for name in _IMPORTED if (problem := _import_problem(name))}
    disk = shutil.disk_usage(tempfile.gettempdir())
    return Facts(
        host=platform.node(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        broken=broken,
        cpu_capability=_cpu_capability(),
        cores=usable_cores(),
        quota=cpu_quota(),
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        memory=usable_memory(),
        available=available_memory(),
        disk=disk.total,
        disk_free=disk.free,
        gpus=_gpus(),
        auth_mode=os.environ.get("RAY_AUTH_MODE"),
        mnist=_mnist(mnist_dir),
        procgen=_procgen_problem(),
        clock=time.time(),
    )


def step_procgen() -> None:
    """Play one step of a game; in a process of its own, for Procgen ends the process when it fails."""
    import numpy as np

    from rlscale.scaling.tasks.procgen.games import ProcgenEnv
    from rlscale.scaling.tasks.procgen.names import ProcgenTask

    game = ProcgenEnv(task=ProcgenTask("coinrun", "easy"), num_envs=1, seed=0, num_threads=0)
    game.act(np.zeros(1, np.int32))
    game.observe()
    game.close()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _import_problem(name: str) -> str | None:
    """Why an installed package cannot be imported; None if it can, or is not installed."""
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a broken installation raises
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        return None if missing and _version(name) is None else f"{type(error).__name__}: {error}"
    return None


def _cpu_capability() -> str | None:
    try:
        import torch

        return str(torch.backends.cpu.get_cpu_capability())
    except Exception:  # told by ``broken``
        return None


def _gpus() -> Gpus:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""  # as for a Ray task that asked for none
    if hidden:
        del os.environ["CUDA_VISIBLE_DEVICES"]
    try:
        import torch

        seen, built_for = torch.cuda.device_count(), torch.version.cuda
    except Exception:  # told by ``broken``
        seen, built_for = 0, None
    finally:
        if hidden:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
    driver, installed = _installed_gpus()
    return Gpus(installed, driver, seen, built_for)


def _installed_gpus() -> tuple[str | None, tuple[Gpu, ...]]:
    """The NVIDIA driver's version and its GPUs; None without one."""
    query = ["nvidia-smi", "--query-gpu=driver_version,name,memory.total,memory.free"]
    try:
        told = subprocess.run(
            [*query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_GPU_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None, ()
    rows = [[cell.strip() for cell in line.split(",")] for line in told.stdout.splitlines()]
    found = tuple(
        Gpu(name, int(total) * 2**20, int(free) * 2**20)
        for _, name, total, free in (row for row in rows if len(row) == 4)
        if total.isdigit() and free.isdigit()
    )
    return (rows[0][0] if rows else None), found


def _mnist(mnist_dir: str | None) -> str | None:
    try:
        from rlscale.scaling.tasks.digits.images import mnist_at_hand
    except Exception:  # numpy is broken, which ``broken`` tells
        return None
    found = mnist_at_hand(Path(mnist_dir) if mnist_dir else None)
    return str(found.resolve()) if found else None


def _procgen_problem() -> str | None:
    if _version("procgen") is None and _version("procgen-mirror") is None:
        return ""
    try:
        played = subprocess.run(
            [sys.executable, "-c", _STEP],
            capture_output=True,
            text=True,
            timeout=_PROCGEN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    if played.returncode == 0:
        return None
    said = played.stderr.strip().splitlines()
    return said[-1] if said else f"it ended with status {played.returncode}"
