"""Clusters of several nodes, which tests of several files share: a start takes longer than a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from processes import Started

_running: dict[str, Cluster] = {}  # clusters by kind


@pytest.fixture(scope="session")
def clusters() -> Iterator[Callable[[str], Cluster]]:
    """A cluster of the given kind: the one that runs, or another if there is none or its head was ended."""

    def get(kind: str) -> Cluster:
        if kind in _running and not _running[kind].has_head:
            _running.pop(kind).close()
        if kind not in _running:
            _running[kind] = Cluster(kind)
        return _running[kind]

    yield get
    _end_clusters()


@pytest.fixture
def cluster(clusters) -> Cluster:
    """A head and two nodes; a test that ends a node puts another in its place."""
    return clusters("cluster-utils")


@pytest.fixture
def started_cluster(clusters) -> Cluster:
    """A head with a dashboard and two nodes, begun by ``ray start``."""
    return clusters("ray-start")


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the clusters before a test that has none: even idle ones take time of a processor."""
    if "clusters" not in getattr(nextitem, "fixturenames", ()):
        _end_clusters()


def _end_clusters() -> None:
    while _running:
        _running.popitem()[1].close()


@pytest.fixture
def sweep_run(start, tmp_path) -> Callable[..., Started]:
    """Start ``rlscale sweep run`` on a cluster; the store is in ``tmp_path`` unless another is named."""

    def begin(cluster: Cluster, spec: Path, place: Path = tmp_path / "store", **env: str) -> Started:
        arguments = ("sweep", "run", spec, "--store", place, "--address", cluster.address)
        return start(*arguments, env={**cluster.env, **env})

    return begin
