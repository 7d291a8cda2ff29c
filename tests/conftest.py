"""Shared fixtures: one cluster a test process. Under CI a skipped test is a failure."""

import os
from collections.abc import Generator, Iterator

import pytest

from g2v_dask.cluster import Cluster, connect
from g2v_dask.spec import ClusterSpec

_NO_SLURM = "no SLURM here, and no right or no way to install it (tests/slurm/one_node.sh)"
_NO_BROWSER = "no Chromium here, and no right or no way to install it (tests/browser.sh)"
_OF_SLURM = {
    f"tests/clusters/test_slurm.py::test_{name}": _NO_SLURM
    for name in (
        "run__as_a_batch_job_that_loses_a_worker_job",
        "client__that_is_killed_leaves_no_job[term]",
        "client__that_is_killed_leaves_no_job[kill]",
        "cluster__a_lost_job_of_two_workers_comes_again_and_all_talk_tls",
        "cluster__jobs_that_do_not_start[refused]",
        "cluster__jobs_that_do_not_start[ended]",
        "cluster__jobs_that_do_not_start[waiting]",
        "cluster__jobs_that_do_not_start[no interface]",
    )
}
_OF_BROWSER = {
    f"tests/report/test_page_in_browser.py::test_{name}": _NO_BROWSER
    for name in (
        "report__opens_without_a_network_and_fits[wide]",
        "report__opens_without_a_network_and_fits[phone]",
        "comparison__fits_on_a_phone",
        "visit__sees_what_is_wrong",
    )
}
MAY_BE_SKIPPED: dict[str, str] = {**_OF_SLURM, **_OF_BROWSER}  # under CI=true: node id to reason


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
