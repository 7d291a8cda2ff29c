"""A Dask client: of workers on this machine, of SLURM jobs, or of a scheduler that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dask.system import CPU_COUNT
from distributed.comm import CommClosedError

from g2v_dask.cluster import local, remote, slurm
from g2v_dask.cluster.agreement import LIBRARY_BYTES, agree, capacities
from g2v_dask.cluster.agreement import blas_kernel as blas_kernel
from g2v_dask.errors import BudgetError, G2VError
from g2v_dask.spec import ClusterSpec


@dataclass
class Cluster:
    """Workers that are there when they are first asked for, and gone at the end."""

    spec: ClusterSpec
    announce: Any = None  # called with one line when the cluster is there, and while it waits in a queue
    _client: Any = None
    _fitting: int = CPU_COUNT
    _stack: ExitStack = field(default_factory=ExitStack)
    making: dict[str, Any] = field(default_factory=dict)  # facts for the manifests

    @property
    def client(self) -> Any:
        """The client; connects when first used.

        Raises: G2VError if the scheduler cannot be reached, has no workers, or they are not like this process.
        """
        if self._client is None:
            try:
                self._connect()
            except BaseException:
                self.close()
                raise
        return self._client

    def _connect(self) -> None:
        if self.spec.address == "local":
            workers = self.spec.workers if self.spec.workers is not None else self._fitting
            client = local.start(self.spec, workers, self._stack)
        elif self.spec.address == "slurm":
            client = slurm.start(self.spec, self._stack, self.announce)
        else:
            client = remote.connect(self.spec, self._stack)
        self.making = agree(client)
        self._client = client
        if self.announce is not None:
            self.announce(self._line())

    def _line(self) -> str:
        workers = capacities(self.client)
        shares = sorted({f"{limit / 1e9:.1f}" for limit, _ in workers.values()}, key=float)
        now = f"{len(workers)} workers of {' to '.join(shares[:1] + shares[1:][-1:])} GB, "
        return f"{now}{self.threads()} threads; dashboard {self._dashboard()}"

    def _dashboard(self) -> str:
        """Where the dashboard is; of a scheduler of ours, at the address that it was told."""
        link = urlsplit(str(self.client.dashboard_link))
        host = self.spec.dashboard.rpartition(":")[0]
        if self.spec.address == "slurm" and host in ("127.0.0.1", "localhost"):
            link = link._replace(netloc=f"{host}:{link.port}")
        return link.geturl()

    def threads(self) -> int:
        """How many parts can run at once; with SLURM, when all jobs are there that may be."""
        if self.spec.address == "slurm":
            return slurm.Jobs.of(self.spec).parts
        return max(1, sum(threads for _, threads in capacities(self.client).values()))

    def share_bytes(self) -> int:
        """The memory that one part may use on the smallest worker: what libraries leave, over its threads."""
        if self.spec.address == "slurm":
            return slurm.Jobs.of(self.spec).share_bytes
        there = capacities(self.client)
        if not there:  # they may come again: one that died is started anew, an adaptive cluster grows
            remote.wait_for_workers(self.client, self.spec.address)
            there = capacities(self.client)
        return min((limit - LIBRARY_BYTES) // threads for limit, threads in there.values())

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
        fitting = local.fitting(needed, self.spec.threads)
        if fitting < self._fitting:
            self.close()
            self._fitting = fitting

    def check_blas(self, label: str) -> None:
        """Refuses workers whose BLAS would give other bits; those that came since we connected are compared, too.

        Raises: G2VError listing the kernels, or how the workers differ.
        """
        now = agree(self.client)
        self.making["blas"] = kernels = now["blas"] or self.making["blas"]
        if len(kernels) > 1:
            msg = f"{label} needs workers with one BLAS library and kernel, found {'; '.join(kernels)}"
            raise G2VError(msg)

    def close(self) -> None:
        """Stops what was started here; a scheduler that ran already goes on."""
        self._client = None
        self._stack.close()


@contextmanager
def connect(spec: ClusterSpec, announce: Any = None) -> Iterator[Cluster]:
    """A cluster that is stopped at the end, whatever happens.

    Raises: G2VError if its scheduler goes away.
    """
    cluster = Cluster(spec, announce)
    try:
        yield cluster
    except (CancelledError, CommClosedError) as error:  # what Dask makes of futures whose scheduler is lost
        msg = f"the scheduler of {spec.address} is gone; when there is one again, the same command goes on where it was"
        raise G2VError(msg) from error
    finally:
        cluster.close()
