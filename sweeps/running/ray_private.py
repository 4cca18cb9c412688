"""Private interfaces of Ray that sweeps use, all of them here; seen in Ray 2.60.0.

Nothing imports Ray before a function needs it, so that commands without Ray can import this module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds without an answer of the head after which Ray ends a driver, and their default.
_RECONNECT_VARIABLE, _RECONNECT_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", "60"
#: Ray sets it for the entrypoint of a job: JSON whose "metadata" names the job.
_JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
#: Arguments of ``ray.init`` for a node whose address is a loopback one.
LOOPBACK_ARGUMENTS: dict[str, Any] = {"_node_ip_address": "127.0.0.1"}


def hide_logs_of_dead_nodes() -> None:
    """Keep Ray from printing the last lines of a dead node's log into this process's output."""
    from ray._private import worker

    worker._worker_logs_enabled = False


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let a Ray that starts in this block use 127.0.0.1 as its address, and listen nowhere else.

    Ray replaces a loopback address by one that other machines can reach, unless it may not
    form clusters, which is the default on Windows and macOS.
    """
    from ray._private import ray_constants

    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    variable = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        if variable is None:
            del os.environ[name]
        else:
            os.environ[name] = variable


def reconnect_seconds() -> float:
    """How long Ray waits for a head that does not answer before it ends the driver."""
    return float(os.environ.get(_RECONNECT_VARIABLE, _RECONNECT_SECONDS))


def cpus_of_nodes(address: str, timeout: float) -> list[float]:
    """CPUs of each living node of the cluster at HOST:PORT, asked of its head without joining the cluster."""
    from ray import _raylet
    from ray.core.generated import gcs_pb2

    client: Any = vars(_raylet)["GcsClient"](address=address)
    alive_state = vars(gcs_pb2)["GcsNodeInfo"].GcsNodeState.ALIVE
    alive = [node for node in client.get_all_node_info(timeout=timeout).values() if node.state == alive_state]
    return [float(dict(node.resources_total).get("CPU", 0.0)) for node in alive]


def server_version(client: Any) -> str | None:
    """The version of Ray on the cluster of a ``JobSubmissionClient``; None if it is not known."""
    return getattr(client, "_server_ray_version", None)


def own_job_id() -> str | None:
    """The submission id of the Ray job whose entrypoint is this process; None if it is not one."""
    try:
        metadata = json.loads(os.environ.get(_JOB_CONFIG_VARIABLE, "{}")).get("metadata", {})
        return str(metadata["job_submission_id"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
