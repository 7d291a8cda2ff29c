"""Where work runs, and what its workers are like."""

from __future__ import annotations

import re
from dataclasses import dataclass

from g2v_dask.errors import SpecError
from g2v_dask.options import Spec, option

_ADDRESS = re.compile(r"local|slurm|(tcp|tls)://[^\s/]+:\d+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B?", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d)")


@dataclass(frozen=True, kw_only=True)
class ClusterSpec(Spec):
    """Where work runs."""

    address: str = option("local, slurm, or a scheduler's address (tcp:// or tls://host:port)", "local")
    workers: int | None = option("local: worker processes [one a core]", None, low=1)
    threads: int = option("local, slurm: threads of one worker", 1, low=1)
    memory_bytes: int | None = option("local: memory of one worker [its share of 80 %]", None, low=1 << 20)
    dashboard: str = option("local, slurm: address of the scheduler's dashboard", "127.0.0.1:0")
    tls_ca: str | None = option("tls, slurm: certificate of the CA, PEM [Dask's configuration]", None, path=True)
    tls_cert: str | None = option("tls, slurm: our certificate, PEM [Dask's configuration]", None, path=True)
    tls_key: str | None = option("tls, slurm: the key of our certificate [Dask's configuration]", None, path=True)
    queue: str | None = option("slurm: partition of the worker jobs [SLURM's default]", None)
    account: str | None = option("slurm: account of the worker jobs [the user's default]", None)
    cores: int | None = option("slurm: cores of one worker job [1]; has cores / threads workers", None, low=1)
    memory: str | None = option("slurm: memory of one worker job, as 16GB", None)
    walltime: str | None = option("slurm: time limit of one worker job, [D-]HH:MM:SS [00:30:00]", None)
    minimum: int = option("slurm: worker jobs that are always there, or in the queue", 1, low=1)
    maximum: int = option("slurm: worker jobs at most", 10, low=1)
    queue_hours: float = option("slurm: how long the first worker job may wait in the queue", 72.0, low=0.001)
    scratch: str | None = option("slurm: local folder of a node for what workers spill [the job's TMPDIR]", None)
    interface: str | None = option("slurm: network interface of scheduler and workers, as ib0", None)
    logs: str | None = option("slurm: folder for the output of worker jobs [the working directory]", None, path=True)
    job_extra: tuple[str, ...] = option("slurm: more directives of worker jobs, as --qos=long", ())
    worker_extra: tuple[str, ...] = option("slurm: more arguments of 'dask worker'", ())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _ADDRESS.fullmatch(self.address):
            msg = (
                f"cluster: address (--cluster, or DASK_SCHEDULER_ADDRESS) must be local, slurm, "
                f"tcp://host:port or tls://host:port, got {self.address!r}"
            )
            raise SpecError(msg)
        named = [self.tls_ca, self.tls_cert, self.tls_key]
        if any(named) and not all(named):
            msg = "cluster: tls_ca, tls_cert and tls_key must be given together"
            raise SpecError(msg)
        if self.memory is not None:
            bytes_of(self.memory)
        if self.walltime is not None:
            seconds_of(self.walltime)
        if self.maximum < self.minimum:
            msg = f"cluster: maximum must be at least minimum ({self.minimum}), got {self.maximum}"
            raise SpecError(msg)
        if (self.cores or self.threads) % self.threads:
            msg = f"cluster: cores must be a multiple of threads ({self.threads}), got {self.cores}"
            raise SpecError(msg)


def bytes_of(text: str) -> int:
    """``16GB`` or ``512MiB`` as bytes; as in Dask, GB are powers of 10 and GiB of 2.

    Raises: SpecError for another text, or less than a worker can start in.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        msg = f"cluster: memory must be a number and KB, MB, GB, TB, or KiB and so on, as 16GB; got {text!r}"
        raise SpecError(msg)
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit.upper()) + 1))
    if size < 1 << 20:
        msg = f"cluster: memory must be at least 1MiB, got {text!r}"
        raise SpecError(msg)
    return size


def seconds_of(text: str) -> int:
    """``02:00:00`` or ``1-00:00:00`` as seconds.

    Raises: SpecError for another text: SLURM reads 10:30 as minutes, and people as hours. Also for less than 2 minutes.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        msg = f"cluster: walltime must be HH:MM:SS or D-HH:MM:SS, got {text!r}"
        raise SpecError(msg)
    days, hours, minutes, seconds = (int(n or 0) for n in found.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < 120:
        msg = f"cluster: walltime must be at least 00:02:00, got {text!r}"
        raise SpecError(msg)
    return total
