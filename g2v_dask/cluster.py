"""A Dask client: on this machine, or on a scheduler that runs already."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import distributed
import psutil
from threadpoolctl import threadpool_info

from g2v_dask.errors import BudgetError, G2VError, SpecError
from g2v_dask.spec import ClusterSpec

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
    making: dict[str, Any] = field(default_factory=dict)  # facts for the manifests

    @property
    def client(self) -> Any:
        """The client; connects when first used.

        Raises: G2VError if the scheduler cannot be reached or has no workers.
        """
        if self._client is None:
            self._connect()
        return self._client

    @property
    def connected(self) -> bool:
        """Whether anything was started."""
        return self._client is not None

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
        workers = self.spec.workers or os.cpu_count() or 1
        share = int(psutil.virtual_memory().total * 0.8) // workers
        self._scratch = tempfile.TemporaryDirectory(prefix="g2v-dask-", ignore_cleanup_errors=True)
        self._local = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=self.spec.threads,
            memory_limit=self.spec.memory_bytes or share,
            dashboard_address=self.spec.dashboard,
            local_directory=self._scratch.name,
            silence_logs="ERROR",
        )
        return distributed.Client(self._local, set_as_default=False)

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
        share = self.share_bytes()
        if needed > share:
            msg = (
                f"{label} needs {needed / 1e9:.2f} GB, but a thread of the smallest worker has "
                f"{max(share, 0) / 1e9:.2f} GB beside its libraries; use fewer workers or threads, or more memory"
            )
            raise BudgetError(msg)

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


@contextmanager
def connect(spec: ClusterSpec, announce: Any = None) -> Iterator[Cluster]:
    """A cluster that is stopped at the end, whatever happens."""
    cluster = Cluster(spec, announce)
    try:
        yield cluster
    finally:
        cluster.close()


def blas_kernel() -> str:
    """The BLAS library and the kernel it chose for this CPU."""
    found = sorted(
        {
            f"{i['internal_api']} {i.get('version')} {i.get('architecture', '')}".strip()
            for i in threadpool_info()
            if i["user_api"] == "blas"
        }
    )
    return ", ".join(found)
