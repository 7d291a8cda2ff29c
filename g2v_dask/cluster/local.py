"""Workers on this machine, for as long as one command runs."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import dask
import distributed
import psutil
from distributed.system import MEMORY_LIMIT

from g2v_dask.cluster.agreement import LIBRARY_BYTES
from g2v_dask.spec import ClusterSpec

SCRATCH = "g2v-dask-"
USABLE_BYTES = int(MEMORY_LIMIT * 0.8)


def start(spec: ClusterSpec, workers: int, stack: ExitStack) -> distributed.Client:
    """A client of so many new workers; the stack ends them."""
    _sweep_scratch()
    prefix = f"{SCRATCH}{os.getpid()}-"
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True))
    # here a worker dies of want of memory: its part is then not tried again beside others, but by the driver, alone
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=spec.threads,
            memory_limit=spec.memory_bytes or USABLE_BYTES // workers,
            dashboard_address=spec.dashboard,
            local_directory=scratch,
            silence_logs="CRITICAL",  # what a part raises is our message, once
        )
    stack.callback(cluster.close)
    client = distributed.Client(cluster, set_as_default=False)
    stack.callback(client.close)
    client.run(_ignore_interrupt)  # a terminal's Ctrl-C goes to workers too; the client ends them
    return client


def fitting(needed: int, threads: int) -> int:
    """How many workers this machine has memory for if a part needs so many bytes."""
    return max(1, USABLE_BYTES // (needed * threads + LIBRARY_BYTES))


def _sweep_scratch() -> None:
    """Removes the scratch folders of clients that were killed: their names hold a process that is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
