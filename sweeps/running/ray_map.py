"""One function of many jobs on Ray, for work that leaves nothing in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
from ray import exceptions as ray_exceptions

from rlscale.scaling.errors import RlscaleError
from rlscale.sweeps.running.ray_connection import connect

Job = TypeVar("Job")
Result = TypeVar("Result")

_RETRIES = 3  # of a job whose worker or node died
_REASON_LENGTH = 300


def map_on_ray(
    act: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    address: str | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Result]:
    """``act`` of each job, in the order of the jobs; as many at once as the cluster has room for.

    Args:
        act: a function of a module, which every worker can import.
        address: of a Ray cluster; None starts a Ray on this machine, which stops at the end.
        on_done: called with the number of jobs done so far.

    Raises:
        InputError: if the cluster cannot be reached.
        RlscaleError: the first one that ``act`` raised; or if a job's worker died time and again.
    """
    connect(address)
    try:
        remote: Any = ray.remote(max_retries=_RETRIES, num_cpus=num_cpus, num_gpus=num_gpus)(act)
        references = [remote.remote(job) for job in jobs]
        waiting = list(references)
        while waiting:
            ready, waiting = ray.wait(waiting)
            _result(ready[0])  # so that the first error ends it
            on_done(len(references) - len(waiting))
        return [_result(reference) for reference in references]
    finally:
        ray.shutdown()


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray_exceptions.RayTaskError as error:
        if isinstance(error.cause, RlscaleError):
            raise error.cause from None
        problem = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())[:_REASON_LENGTH]
        raise RlscaleError(f"A worker failed: {problem}", code="unexpected_error") from error
    except ray_exceptions.RayError as error:
        raise RlscaleError(
            f"A worker died {_RETRIES + 1} times: give it more memory, or a smaller job.", code="worker_died"
        ) from error
