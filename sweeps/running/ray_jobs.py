"""Jobs on a Ray cluster, through its Jobs API: submit one, read its log, wait for its end."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from packaging.version import Version
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from rlscale.scaling.errors import InputError, RlscaleError
from rlscale.sweeps.running.ray_private import server_version

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it reports each connection

_OLDEST_RAY = Version("2.40")
_POLL_SECONDS = 1.0
_UNREACHABLE_SECONDS = 120.0  # enough for a head that is busy or restarts
_REASON_LENGTH = 300


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: Ray's status in small letters and Ray's explanation."""

    status: str
    message: str

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"


class RayJobs:
    """The sweeps' jobs on the cluster whose dashboard is at ``address``, such as http://head:8265.

    Raises:
        InputError: if there is no such cluster, it does not know the token, or its Ray is too old.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(
                f"--address {address}: give the address of the cluster's dashboard, such as http://head:8265.",
                code="invalid_address",
            )
        self.address = address.rstrip("/")
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address  # the option overrides Ray's own variables
        try:
            self._client = JobSubmissionClient(self.address)
        except AuthenticationError as error:
            raise InputError(
                f"The cluster at {self.address} asks for another token: set RAY_AUTH_MODE=token and put the "
                f"cluster's token into ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH.",
                code="wrong_token",
            ) from error
        except Exception as error:  # connection, address, proxy, TLS: each raises its own
            raise InputError(
                f"There is no Ray cluster with a dashboard at {self.address}: {_one_line(error)}",
                code="cluster_unreachable",
            ) from error
        self._check_version()

    def submit(self, entrypoint: str, *, sweep: str, store: str) -> str:
        """Start a job that works on a sweep. Returns its id.

        Raises:
            RlscaleError: if the cluster does not take it.
        """
        job_id = f"rlscale-{sweep}-{uuid.uuid4().hex[:8]}"
        try:
            return self._client.submit_job(
                entrypoint=entrypoint, submission_id=job_id, metadata=_metadata(sweep, store)
            )
        except (RuntimeError, OSError, AuthenticationError) as error:
            raise RlscaleError(
                f"The cluster at {self.address} did not take the job; try again: {_one_line(error)}",
                code="job_refused",
            ) from error

    def unfinished(self, *, sweep: str, store: str) -> str | None:
        """The id of a job for this sweep of this store that has not ended; None if there is none."""
        wanted = _metadata(sweep, store).items()
        for job in self._ask(self._client.list_jobs):
            if not job.status.is_terminal() and wanted <= (job.metadata or {}).items():
                return job.submission_id
        return None

    def wait(self, job_id: str, *, timeout: float = math.inf) -> JobEnd | None:
        """Wait until the job has ended, or for ``timeout`` seconds; None if it has not ended then.

        Raises:
            RlscaleError: if the cluster cannot be reached for minutes.
        """
        deadline = time.monotonic() + timeout
        while (end := self._end(job_id)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return end

    def follow(self, job_id: str, show: Callable[[str], None]) -> JobEnd:
        """Show the job's log from its beginning as it is written, until the job has ended.

        Raises:
            RlscaleError: if the cluster cannot be reached for minutes.
        """
        log = _Log(show)
        while True:
            end = self._end(job_id)  # asked first, so that the log holds all that was written before the end
            if self._tail(job_id, log):
                end = self._end(job_id)
            if end is not None:
                return end
            time.sleep(_POLL_SECONDS)

    def _tail(self, job_id: str, log: _Log) -> bool:
        """Show what is new in the log until it is closed; false if the connection is cut before that."""

        async def tail() -> None:
            log.begin_again()
            async for text in self._client.tail_job_logs(job_id):
                log.add(text)

        try:
            asyncio.run(tail())
        except (RuntimeError, OSError):  # proxies cut connections, and heads restart
            return False
        return True

    def _end(self, job_id: str) -> JobEnd | None:
        job: JobDetails = self._ask(lambda: self._client.get_job_info(job_id))
        if not job.status.is_terminal():
            return None
        return JobEnd(JobStatus(job.status).value.lower(), job.message or "")

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The cluster's answer; the request is repeated while the cluster cannot be reached."""
        deadline = time.monotonic() + _UNREACHABLE_SECONDS
        while True:
            try:
                return question()
            except (RuntimeError, OSError, AuthenticationError) as error:
                if time.monotonic() >= deadline:
                    raise RlscaleError(
                        f"The cluster at {self.address} no longer answers: {_one_line(error)}",
                        code="cluster_unreachable",
                    ) from error
            time.sleep(_POLL_SECONDS)

    def _check_version(self) -> None:
        version = server_version(self._client)
        if version is not None and Version(version) < _OLDEST_RAY:
            raise InputError(
                f"The cluster at {self.address} runs Ray {version}: {_OLDEST_RAY} or newer is needed.",
                code="ray_too_old",
            )


class _Log:
    """Shows a text once, though it is sent from its beginning after each interruption."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._shown, self._sent = show, 0, 0

    def begin_again(self) -> None:
        self._sent = 0

    def add(self, text: str) -> None:
        new = text[max(0, self._shown - self._sent) :]
        self._sent += len(text)
        self._shown = max(self._shown, self._sent)
        if new:
            self._show(new)


def _metadata(sweep: str, store: str) -> dict[str, str]:
    return {"rlscale_sweep": sweep, "rlscale_store": store}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_REASON_LENGTH]
