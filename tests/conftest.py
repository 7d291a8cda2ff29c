"""Shared fixtures: one cluster a test process, and stores made from real data once."""

from collections.abc import Iterator

import pytest

from g2v_dask.cluster import Cluster, connect
from g2v_dask.spec import ClusterSpec


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two workers of one thread each, for all tests of a process."""
    with connect(ClusterSpec(workers=2, memory_bytes=4 << 30)) as there:
        yield there


@pytest.fixture(scope="session")
def address(cluster: Cluster) -> str:
    """The address of that cluster's scheduler, for subprocesses."""
    return str(cluster.client.scheduler.address)
