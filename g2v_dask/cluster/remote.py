"""A scheduler that runs already, in plain text or by TLS."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from pathlib import Path

import distributed
from distributed.security import Security
from distributed.utils import silence_logging_cmgr
from distributed.versions import VersionMismatchWarning

from g2v_dask.errors import G2VError, SpecError
from g2v_dask.spec import ClusterSpec

CONNECT_SECONDS = 10.0
WORKER_SECONDS = 120.0


def connect(spec: ClusterSpec, stack: ExitStack) -> distributed.Client:
    """A client of the scheduler at the spec's address; the stack closes it.

    Raises: SpecError if TLS lacks a certificate; G2VError if no scheduler answers, it refuses us, or has no workers.
    """
    address = spec.address
    stack.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what goes wrong is our message, once
    security = credentials(spec) if address.startswith("tls://") else None
    try:
        with warnings.catch_warnings():  # what it would warn of is compared, with more, once all are there
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except (OSError, TimeoutError) as error:
        raise _silence(address, error) from error
    stack.callback(client.close)
    wait_for_workers(client, address)
    return client


def wait_for_workers(client: distributed.Client, address: str) -> None:
    """Waits until there is one.

    Raises: G2VError if none comes.
    """
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        msg = f"the scheduler at {address} has no workers; start some with 'dask worker {address}'"
        raise G2VError(msg) from error


def _silence(address: str, error: BaseException) -> G2VError:
    """What is said when no connection was made."""
    if address.startswith("tls://"):
        reason = f"the scheduler at {address} does not answer, or refuses us ({error})"
        advice = "it must talk TLS, and its certificate and tls_cert must both be signed by tls_ca"
    else:
        reason = f"no scheduler answers at {address} ({error})"
        advice = "start one with 'dask scheduler', or use --cluster local; if it talks TLS, name it tls://host:port"
    return G2VError(f"{reason}; {advice}")


def credentials(spec: ClusterSpec) -> Security:
    """The certificates of the spec, else those of Dask's own configuration; for all three roles.

    Raises: SpecError if there are none, or one cannot be read.
    """
    if spec.tls_ca is None:
        security = Security(require_encryption=True)
        if not (security.tls_ca_file and security.tls_client_cert):
            msg = (
                f"{spec.address} needs certificates: set tls_ca, tls_cert and tls_key of [cluster] in the spec, "
                f"or Dask's own DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT and ...__CLIENT__KEY"
            )
            raise SpecError(msg)
        return security
    for key in ("tls_ca", "tls_cert", "tls_key"):
        file = Path(getattr(spec, key)).expanduser()
        try:
            file.read_bytes()
        except OSError as error:
            msg = f"cluster: {key} cannot be read: {error.strerror}: {file}"
            raise SpecError(msg) from error
    own = {f"tls_{role}_cert": spec.tls_cert for role in ("client", "scheduler", "worker")}
    keys = {f"tls_{role}_key": spec.tls_key for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=spec.tls_ca, **own, **keys)
