"""Workers that are SLURM jobs: more when there is work, fewer when there is none, none left behind at the end.

The scheduler lives in this process. Three things can end a job: the cluster is closed; a worker leaves ahead of its
job's wall time; this process dies, and then a small shell that waits for just that cancels what has its jobs' name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import dask
import distributed

from g2v_dask.cluster.agreement import LIBRARY_BYTES
from g2v_dask.cluster.remote import credentials
from g2v_dask.cluster_spec import ClusterSpec, bytes_of, seconds_of
from g2v_dask.errors import G2VError, SpecError

LEAVE_SECONDS = 300  # at most: a worker's leave before its wall time, and as much again to stagger
LOOK_SECONDS = 2.0
END_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """What every worker job asks for. What the spec leaves open is taken from Dask's ``jobqueue.slurm``."""

    cores: int
    threads: int  # of one worker
    memory_bytes: int
    walltime: str
    maximum: int  # jobs

    @classmethod
    def of(cls, spec: ClusterSpec) -> Jobs:
        """Raises: SpecError if no memory is named, or a setting cannot be read."""
        memory = spec.memory or dask.config.get("jobqueue.slurm.memory", None)
        if memory is None:
            msg = (
                'cluster: slurm needs memory, of one worker job: set memory = "16GB" of [cluster] in the spec, '
                "or DASK_JOBQUEUE__SLURM__MEMORY"
            )
            raise SpecError(msg)
        walltime = str(spec.walltime or dask.config.get("jobqueue.slurm.walltime", None) or "00:30:00")
        seconds_of(walltime)
        jobs = cls(
            cores=spec.cores or dask.config.get("jobqueue.slurm.cores", None) or spec.threads,
            threads=spec.threads,
            memory_bytes=bytes_of(str(memory)),
            walltime=walltime,
            maximum=spec.maximum,
        )
        if jobs.share_bytes <= 0:
            msg = (
                f"cluster: memory must be more than {LIBRARY_BYTES >> 20}MiB for each of a job's {jobs.processes} "
                f"workers, whose libraries take that; got {memory}"
            )
            raise SpecError(msg)
        return jobs

    @property
    def processes(self) -> int:
        """Workers of one job."""
        return self.cores // self.threads

    @property
    def share_bytes(self) -> int:
        """What a part may use."""
        return (self.memory_bytes // self.processes - LIBRARY_BYTES) // self.threads

    @property
    def parts(self) -> int:
        """How many parts run at once when all jobs are there."""
        return self.maximum * self.processes * self.threads

    def leaving(self) -> list[str]:
        """Arguments by which workers leave before the wall time, not all at one moment."""
        wall = seconds_of(self.walltime)
        leave = min(LEAVE_SECONDS, wall // 10)
        return ["--lifetime", f"{wall - 2 * leave}s", "--lifetime-stagger", f"{leave}s"]


def start(spec: ClusterSpec, stack: ExitStack, announce: Callable[[str], None] | None) -> distributed.Client:
    """A client of a new scheduler, once its first worker job runs; the stack ends all.

    Raises: SpecError if this machine cannot submit jobs; G2VError if SLURM refuses one, or it ends before it works.
    """
    jobs = Jobs.of(spec)
    try:
        from g2v_dask.cluster.slurm_jobs import SlurmCluster  # noqa: PLC0415  (an extra)
    except ImportError as error:
        msg = f"--cluster slurm needs dask-jobqueue ({error}): pip install 'g2v_dask[slurm]'"
        raise SpecError(msg) from error
    missing = [program for program in ("sbatch", "squeue", "scancel") if shutil.which(program) is None]
    if missing:
        msg = f"--cluster slurm needs {', '.join(missing)}, not found here; run it where jobs are submitted from"
        raise SpecError(msg)
    name = f"g2v-{uuid.uuid4().hex[:8]}"
    stack.callback(_end, _reaper(name))
    try:
        cluster = SlurmCluster(**_arguments(spec, jobs, name))
    except (RuntimeError, OSError, ValueError) as error:
        msg = f"the scheduler of the worker jobs does not start: {error}"
        raise G2VError(msg) from error
    stack.callback(cluster.close)
    client = distributed.Client(cluster, set_as_default=False)
    stack.callback(client.close)
    # A part is submitted only when there is room for it, so what the scheduler sees is little: it must ask for
    # all jobs at a window's worth of work, and not give them back at the end of a stage.
    cluster.adapt(minimum_jobs=spec.minimum, maximum_jobs=spec.maximum, target_duration="1s", wait_count=120)
    _await_first(cluster, client, spec.queue_hours * 3600, announce)
    return client


def _arguments(spec: ClusterSpec, jobs: Jobs, name: str) -> dict[str, Any]:
    """For dask-jobqueue; None leaves a setting to its configuration."""
    configured = dask.config.get("jobqueue.slurm")
    encrypted = spec.tls_ca is not None
    return {
        "queue": spec.queue,
        "account": spec.account,
        "cores": jobs.cores,
        "processes": jobs.processes,
        "memory": f"{jobs.memory_bytes}B",
        "walltime": jobs.walltime,
        "interface": spec.interface,
        "local_directory": f'"{spec.scratch or "${TMPDIR:-/tmp}"}"',
        "job_name": name,
        "job_extra_directives": [*configured["job-extra-directives"], *spec.job_extra],
        "log_directory": spec.logs,
        "worker_extra_args": [
            *jobs.leaving(),
            *("--dashboard-address", "127.0.0.1:0", "--no-dashboard"),
            *configured["worker-extra-args"],
            *spec.worker_extra,
        ],
        "scheduler_options": {**configured["scheduler-options"], "dashboard_address": spec.dashboard},
        "security": credentials(spec) if encrypted else None,
        "silence_logs": "CRITICAL",
    }


def _reaper(name: str) -> subprocess.Popen[bytes]:
    """A shell that cancels the jobs of this name when its input ends: when this process closes it, or dies."""
    script = f"trap '' HUP INT TERM; cat >/dev/null; exec scancel --quiet --name={name} --user={os.getuid()}"
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    )


def _end(reaper: subprocess.Popen[bytes]) -> None:
    assert reaper.stdin is not None
    reaper.stdin.close()
    with suppress(subprocess.TimeoutExpired):  # it goes on without us
        reaper.wait(END_SECONDS)


def _await_first(
    cluster: Any, client: distributed.Client, seconds: float, announce: Callable[[str], None] | None
) -> None:
    """Waits for the first worker, which may take as long as the queue does, and says where its job stands."""
    deadline = time.monotonic() + seconds
    said = ""
    while not client.scheduler_info()["workers"]:
        submitted = cluster.job_ids()
        if cluster.refusal:
            msg = f"SLURM refused the worker job: {cluster.refusal}"
            raise G2VError(msg)
        queue = cluster.queue()
        if queue is not None and submitted and not submitted & set(queue) and not client.scheduler_info()["workers"]:
            msg = (
                f"worker job {', '.join(sorted(submitted))} ended before its worker came to the scheduler at "
                f"{client.scheduler.address}; its output, {cluster.logs}, says why"
            )
            raise G2VError(msg)
        if time.monotonic() > deadline:
            msg = f"no worker job has started in {seconds / 3600:g} hours: {said}; raise queue_hours, or ask for less"
            raise G2VError(msg)
        line = "; ".join(f"worker job {job} is {where}" for job, where in sorted((queue or {}).items()))
        if line and line != said and announce is not None:
            announce(line)
        said = line or said
        time.sleep(LOOK_SECONDS)
