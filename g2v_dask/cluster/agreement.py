"""Workers and client must be alike: the same packages, and workers with room for a part."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import distributed
import psutil
import scipy.linalg  # noqa: F401  (so that its BLAS is loaded, and named, in every worker)
from threadpoolctl import threadpool_info

from g2v_dask.errors import G2VError

LIBRARY_BYTES = 300 << 20  # of a worker process before any part: the interpreter, Dask, NumPy, Arrow, gensim
RECORDED = (
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
ABSENT = "absent"


def agree(client: distributed.Client) -> dict[str, Any]:
    """Compares the workers that are there with this process and with each other.

    Returns: for the manifests: Python, the versions of packages, the BLAS of each kind of worker.
    Raises: G2VError listing each package whose version differs, or the worker that has no room for a part.
    """
    _check_versions(client)
    _check_memory(client)
    return {
        "blas": sorted(set(client.run(blas_kernel).values())),
        "versions": {name: version_of(name) for name in RECORDED},
        "python": platform.python_version(),
        "host": platform.node(),
    }


def _check_versions(client: distributed.Client) -> None:
    """Asks by functions of Python's own library: what a worker without this package can answer, too."""
    theirs = {"python": client.run(platform.python_version)}
    for name in RECORDED:
        answers = client.run(metadata.version, name, on_error="return")
        theirs[name] = {w: ABSENT if isinstance(a, Exception) else a for w, a in answers.items()}
    ours = {"python": platform.python_version(), **{name: version_of(name) for name in RECORDED}}
    lines = [line for name in ours for line in _difference(name, ours[name], theirs[name])]
    if lines:
        msg = f"workers differ from this client: {'; '.join(lines)}; install the same versions in both"
        raise G2VError(msg)


def _difference(name: str, ours: str, theirs: Mapping[str, str]) -> list[str]:
    """One line if any worker has another version than the client."""
    workers: dict[str, list[str]] = defaultdict(list)
    for worker, version in sorted(theirs.items()):
        workers[version].append(worker)
    if set(workers) <= {ours}:
        return []
    found = [f"{version} ({_some(named)})" for version, named in sorted(workers.items())]
    return [f"{name}: client {ours}, workers {', '.join(found)}"]


def _some(workers: list[str]) -> str:
    return workers[0] if len(workers) == 1 else f"{workers[0]} and {len(workers) - 1} more"


def _check_memory(client: distributed.Client) -> None:
    for address, (limit, threads) in capacities(client).items():
        if limit <= LIBRARY_BYTES:
            msg = (
                f"worker {address} has {limit / 1e9:.2f} GB for {threads} threads, but its libraries alone take "
                f"{LIBRARY_BYTES / 1e9:.2f} GB; start it with more (--memory-limit)"
            )
            raise G2VError(msg)


def capacities(client: distributed.Client) -> dict[str, tuple[int, int]]:
    """Memory and threads of every worker; of one without a limit, the memory of its machine."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    free = [address for address, worker in workers.items() if not worker["memory_limit"]]
    machines = client.run(psutil.virtual_memory, workers=free, on_error="ignore") if free else {}
    here = {a: w for a, w in workers.items() if w["memory_limit"] or a in machines}  # the others have just left
    return {a: (int(w["memory_limit"] or machines[a].total), int(w["nthreads"])) for a, w in here.items()}


def version_of(name: str) -> str:
    """The version of a package that is installed here."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ABSENT


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
