"""A Dask client: on this machine, or on a scheduler that runs already."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import distributed
import psutil
import scipy.linalg  # noqa: F401  (so that its BLAS is loaded, and named, in every worker)
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT
from threadpoolctl import threadpool_info

from g2v_dask.errors import BudgetError, G2VError, SpecError
from g2v_dask.spec import ClusterSpec

SCRATCH = "g2v-dask-"
CONNECT_SECONDS = 10.0
WORKER_SECONDS = 120.0
LIBRARY_BYTES = 300 << 20  # of a worker process before any part: the interpreter, Dask, NumPy, Arrow, gensim
_RECORDED = (
    "g2v_dask",
    "dask",
    "distributed",
    "numpy",
    "scipy",
    "numba",
    "gensim",
    "faiss-cpu",
    "zarr",
    "pyarrow",
)


@dataclass
class Cluster:
    """Workers that are there when they are first asked for, and gone at the end."""

    spec: ClusterSpec
    announce: Any = None  # called with one line when the cluster is there
    _client: Any = None
    _local: Any = None
    _scratch: Any = None
    _fitting: int = CPU_COUNT
    making: dict[str, Any] = field(default_factory=dict)  # facts for the manifests

    @property
    def client(self) -> Any:
        """The client; connects when first used.

        Raises: G2VError if the scheduler cannot be reached or has no workers.
        """
        if self._client is None:
            self._connect()
        return self._client

    def _connect(self) -> None:
        address = self.spec.address
        if address == "local":
            self._client = self._start_local()
        elif address.startswith("tcp://"):
            try:
                self._client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, TimeoutError) as error:
                msg = (
                    f"no scheduler answers at {address} ({error}); "
                    f"start one with 'dask scheduler', or use --cluster local"
                )
                raise G2VError(msg) from error
        else:
            msg = f"cluster must be 'local' or a scheduler's address (tcp://host:port), got {address!r}"
            raise SpecError(msg)
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            msg = f"the scheduler at {address} has no workers; start some with 'dask worker {address}'"
            raise G2VError(msg) from error
        self.making = self._describe()
        if self.announce is not None:
            self.announce(self._line())

    def _start_local(self) -> distributed.Client:
        workers = self.spec.workers if self.spec.workers is not None else self._fitting
        share = int(MEMORY_LIMIT * 0.8) // workers
        _sweep_scratch()
        self._scratch = tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True)
        self._local = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=self.spec.threads,
            memory_limit=self.spec.memory_bytes or share,
            dashboard_address=self.spec.dashboard,
            local_directory=self._scratch.name,
            silence_logs="CRITICAL",  # what a part raises is our message, once
        )
        client = distributed.Client(self._local, set_as_default=False)
        client.run(_ignore_interrupt)  # a terminal's Ctrl-C goes to workers too; the client ends them
        return client

    def _describe(self) -> dict[str, Any]:
        blas = sorted(set(self.client.run(blas_kernel).values()))
        versions = {name: metadata.version(name) for name in _RECORDED}
        return {
            "blas": blas,
            "versions": versions,
            "python": platform.python_version(),
            "host": platform.node(),
        }

    def _line(self) -> str:
        workers = self._workers()
        threads = self.threads()
        link = self.client.dashboard_link
        return f"{len(workers)} workers, {threads} threads; dashboard {link}"

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def threads(self) -> int:
        """How many parts can run at once."""
        return max(1, sum(int(w["nthreads"]) for w in self._workers().values()))

    def share_bytes(self) -> int:
        """The memory that one part may use on the smallest worker: what libraries leave, over its threads."""
        limits = [(w["memory_limit"] or psutil.virtual_memory().total, w["nthreads"]) for w in self._workers().values()]
        return int(min((limit - LIBRARY_BYTES) // threads for limit, threads in limits))

    def check_budget(self, *, needed: int, label: str) -> None:
        """Refuses a part that does not fit.

        Raises: BudgetError naming the part, its need and what a worker has.
        """
        self._make_room(needed)
        share = self.share_bytes()
        if needed > share:
            msg = (
                f"{label} needs {needed / 1e9:.2f} GB, but a thread of the smallest worker has "
                f"{max(share, 0) / 1e9:.2f} GB beside its libraries; use fewer workers or threads, or more memory"
            )
            raise BudgetError(msg)

    def _make_room(self, needed: int) -> None:
        """Takes fewer local workers, where their number is free, if each needs more than its share."""
        if self.spec.address != "local" or self.spec.workers is not None or self.spec.memory_bytes is not None:
            return
        fitting = max(1, int(MEMORY_LIMIT * 0.8) // (needed * self.spec.threads + LIBRARY_BYTES))
        if fitting < self._fitting:
            self.close()
            self._fitting = fitting

    def check_blas(self, label: str) -> None:
        """Refuses workers whose BLAS would give other bits.

        Raises: G2VError listing the kernels.
        """
        kernels = self.making["blas"]
        if len(kernels) > 1:
            msg = f"{label} needs workers with one BLAS library and kernel, found {'; '.join(kernels)}"
            raise G2VError(msg)

    def close(self) -> None:
        """Stops what was started here; a scheduler that ran already goes on."""
        for thing in (self._client, self._local):
            if thing is not None:
                thing.close()
        if self._scratch is not None:
            self._scratch.cleanup()
        self._client = self._local = self._scratch = None


def _sweep_scratch() -> None:
    """Removes the scratch folders of clients that were killed: their names hold a process that is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def connect(spec: ClusterSpec, announce: Any = None) -> Iterator[Cluster]:
    """A cluster that is stopped at the end, whatever happens."""
    cluster = Cluster(spec, announce)
    try:
        yield cluster
    finally:
        cluster.close()


def blas_kernel() -> str:
    """The BLAS of NumPy and of SciPy, and the kernel each chose for this CPU.

    Theirs only: FAISS brings another, and whether that is loaded depends on what a worker did before.
    """
    found = {
        f"{library['internal_api']} {library.get('version')} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas" and "faiss" not in library["filepath"]
    }
    return ", ".join(sorted(found))
