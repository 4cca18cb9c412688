"""Where the runs of a sweep are done: on which cluster, on what device, with which data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.spec import Resources


@dataclass(frozen=True)
class Where:
    """Where runs are done.

    Attributes:
        address: of the Ray cluster; None starts a Ray on this machine.
        device: auto, cpu or cuda; auto is cuda if the spec gives runs GPUs.
        mnist_dir: folder of MNIST on the workers' machines, for the task that needs it.
        modules: the person's modules, which each worker imports; the driver takes those that its command
            line named.
        module_folder: searched for them after all other folders.
        stays_connected: whether Ray is left connected for runs that follow; the caller disconnects it.
    """

    address: str | None = None
    device: str = "auto"
    mnist_dir: Path | None = None
    modules: tuple[str, ...] = ()
    module_folder: Path | None = None
    stays_connected: bool = False


def workers_device(device: str, resources: Resources) -> str:
    """The device on which runs compute: cpu or cuda. The spec says whether the workers' machines have GPUs.

    Raises:
        InputError: if there is no such device, or the spec gives runs none.
    """
    from rlscale.scaling.training.device import resolve_device

    if device == "auto":
        return "cuda" if resources.num_gpus else "cpu"
    if device == "cuda" and not resources.num_gpus:
        raise InputError(
            "--device cuda needs a GPU for each run: set resources.num_gpus in the spec "
            "(a fraction is fine).",
            code="no_gpu",
        )
    return device if device == "cuda" else resolve_device(device)
