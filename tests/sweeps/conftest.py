"""An S3 server for all tests of a process."""

from collections.abc import Iterator

import pytest
from object_store import CREDENTIALS, S3Server


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[S3Server]:
    """A real S3 server on loopback; the environment has its credentials from now on."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        started = S3Server(tmp_path_factory.mktemp("s3"))
        yield started
        started.stop()
