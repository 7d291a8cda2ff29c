"""Shared fixtures: one cluster a test process. Under CI a skipped test is a failure."""

import os
from collections.abc import Generator, Iterator

import pytest

from g2v_dask.cluster import Cluster, connect
from g2v_dask.spec import ClusterSpec

MAY_BE_SKIPPED: dict[str, str] = {}  # under CI=true: node id to reason


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two workers of one thread each, for all tests of a process."""
    with connect(ClusterSpec(workers=2, memory_bytes=4 << 30)) as there:
        yield there


@pytest.fixture(scope="session")
def address(cluster: Cluster) -> str:
    """The address of that cluster's scheduler, for subprocesses."""
    return str(cluster.client.scheduler.address)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") == "true" and item.nodeid not in MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
