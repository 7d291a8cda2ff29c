"""dask-jobqueue's SLURM cluster, and what it leaves out: jobs that are refused, or end without a word.

It submits a lost worker's job again only if that worker was its job's only one, and had come to the scheduler.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

WATCH_SECONDS = 20.0


class Job(SLURMJob):
    """A worker job."""

    refusal = ""  # SLURM's words

    async def start(self) -> None:
        """Submits the job; notes a refusal, which dask would print as a traceback and forget."""
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            said = str(error).partition("stderr:")[2].strip() or str(error)
            self.refusal = "; ".join(line.removeprefix("sbatch: error: ") for line in said.splitlines())
            self.status = Status.running

    async def close(self) -> None:
        """Cancels the job."""
        await super().close()  # type: ignore[no-untyped-call]
        self.status = Status.closed


class SlurmCluster(SLURMCluster):
    """Jobs of one name, and a look now and then whether SLURM still has them."""

    job_cls = Job

    def __init__(self, *, job_name: str, log_directory: str | None, **settings: Any) -> None:
        self._label = job_name
        self.logs = f"{log_directory}/{job_name}-*.err" if log_directory else f"{Path.cwd()}/slurm-*.out"
        self._absent: set[str] = set()
        super().__init__(job_name=job_name, log_directory=log_directory, **settings)
        self._watch = PeriodicCallback(self._look, WATCH_SECONDS * 1000)
        self.loop.add_callback(self._watch.start)

    def close(self, timeout: float | None = None) -> Any:
        """Ends the jobs and the scheduler."""
        self.loop.add_callback(self._watch.stop)
        return super().close(timeout)

    @property
    def refusal(self) -> str:
        """Why SLURM would not take a job, if there is one that it did not."""
        return next((job.refusal for job in self.workers.values() if job.refusal), "")

    def job_ids(self) -> set[str]:
        """The jobs that were submitted, and not given up or cancelled since."""
        return {job.job_id for job in self.workers.values() if job.job_id}

    def queue(self) -> dict[str, str] | None:
        """The jobs that SLURM has, waiting or running, and their state in its words; None if it does not answer."""
        command = ["squeue", "--noheader", f"--name={self._label}", f"--user={os.getuid()}", "--format=%i|%T (%r)"]
        try:
            listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        rows = (line.partition("|") for line in listed.stdout.splitlines())
        return {job: state.replace(" (None)", "") for job, _, state in rows}

    async def _look(self) -> None:
        """Forgets jobs that SLURM did not have at two looks, or never took: adapting then submits others.

        Two, since dask itself forgets some, after 15 seconds, and must not find the next of that name in their place.
        """
        jobs = dict(self.workers)
        queue = await asyncio.to_thread(self.queue)
        if queue is None or self.status != Status.running:
            return
        gone = {name for name, job in jobs.items() if job.job_id not in queue}
        for name in gone & self._absent:
            if self.workers.get(name) is jobs[name]:
                del self.workers[name]
        self._absent = gone - self._absent
