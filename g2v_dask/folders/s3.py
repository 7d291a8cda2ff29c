"""A prefix of a bucket: S3, or a service that speaks it and has conditional writes.

Every write of a small file is one PUT; a file of the desk is one PUT, or a multipart upload that shows when it is
complete. Listings are not cached: S3 is strongly consistent. Credentials come from the environment, as boto3 finds
them; no URL, message or document of ours holds any.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from g2v_dask.errors import SpecError, StoreError
from g2v_dask.files import placed
from g2v_dask.folders import desks, lease
from g2v_dask.folders.base import T, U

try:
    import boto3
    import botocore
    from boto3.s3.transfer import TransferConfig
except ImportError as _error:
    _msg = "a store in a bucket needs boto3: pip install 'g2v_dask[s3]'"
    raise SpecError(_msg) from _error

AT_ONCE = 16  # requests
PIECE_BYTES = 64 << 20  # files above are sent in pieces
MOST_DELETED = 1000  # keys of one request
_GONE = ("NoSuchKey", "404", "NotFound")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


@dataclass(frozen=True)
class S3Folder:
    """A ``base.Folder`` in a bucket."""

    bucket: str
    key: str  # without a slash at either end; "" is the whole bucket
    endpoint: str | None = None
    mark: str = "-"

    @classmethod
    def of(cls, url: str) -> S3Folder:
        """``s3://bucket/prefix[?endpoint_url=https://...]``.

        Raises: SpecError for another form, or an endpoint that holds a user and password.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        endpoint = options.pop("endpoint_url", None)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or options or parts.fragment:
            msg = "expected s3://bucket/prefix or s3://bucket/prefix?endpoint_url=https://host, and nothing else in it"
            raise SpecError(msg)
        if endpoint is not None and not re.fullmatch(r"https?://[^/@?#]+(/[^@?#]*)?", endpoint):
            msg = "endpoint_url must be https://host[:port] (or http://) without user and password: those come from "
            raise SpecError(msg + "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        return cls(parts.netloc, parts.path.strip("/"), endpoint)

    @property
    def url(self) -> str:
        """As users write it."""
        query = "" if self.endpoint is None else f"?endpoint_url={quote(self.endpoint, safe=':/')}"
        return f"s3://{self.bucket}/{self.key}{query}"

    @property
    def is_local(self) -> bool:
        """It is not."""
        return False

    @property
    def desk(self) -> Path:
        """In the cache of this machine."""
        return desks.desk(self._place, self.mark) / self.key

    @property
    def _place(self) -> str:
        where = hashlib.sha256(f"{self.endpoint} {self.bucket}".encode()).hexdigest()[:8]
        return f"{self.bucket}-{where}"

    def __truediv__(self, name: str) -> S3Folder:
        return S3Folder(self.bucket, f"{self.key}/{name}".strip("/"), self.endpoint, self.mark)

    def marked(self, mark: str) -> S3Folder:
        """With a desk of that mark."""
        return S3Folder(self.bucket, self.key, self.endpoint, mark)

    # -- listing -----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """What lies directly in it."""
        found: set[str] = set()
        for page in self._pages(Delimiter="/"):
            found.update(o["Prefix"][len(self._prefix) : -1] for o in page.get("CommonPrefixes", ()))
            found.update(o["Key"][len(self._prefix) :] for o in page.get("Contents", ()))
        return sorted(found - {""})

    def sizes(self) -> dict[str, int]:
        """The bytes of every object below, but those that consoles keep for a folder: their keys end in a slash."""
        found = (o for page in self._pages() for o in page.get("Contents", ()) if not o["Key"].endswith("/"))
        return dict(sorted((o["Key"][len(self._prefix) :], int(o["Size"])) for o in found))

    def age(self) -> float | None:
        """By the clock of the service."""
        ages = []
        for page in self._pages():
            now = _now(page)
            ages += [now - o["LastModified"].timestamp() for o in page.get("Contents", ())]
        return min(ages, default=None)

    @property
    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _pages(self, **how: Any) -> Iterator[Any]:
        more: dict[str, Any] = {}
        while True:
            page = self._ask("list_objects_v2", "", Prefix=self._prefix, **how, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    # -- small files -------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes | None:
        """One GET."""
        return self.look(name)[0]

    def tag(self, name: str) -> str | None:
        """Its ETag."""
        found = self._ask("head_object", name)
        return None if found is None else str(found["ETag"])

    def look(self, name: str) -> tuple[bytes | None, str | None, float]:
        """Content, tag, and seconds since it was written, by the clock of the service."""
        found = self._ask("get_object", name)
        if found is None:
            return None, None, 0.0
        with _told(f"{self.url} {name}"):
            data = found["Body"].read()
        return data, str(found["ETag"]), _now(found) - found["LastModified"].timestamp()

    def write(self, name: str, data: bytes) -> None:
        """One PUT."""
        self._ask("put_object", name, Body=data)

    def replace(self, name: str, data: bytes, tag: str | None) -> None:
        """One PUT with If-Match, or If-None-Match where there was nothing."""
        if self.try_replace(name, data, tag) is None:
            msg = f"{self.url}: {name} was changed by another writer meanwhile; run the same command again"
            raise StoreError(msg)

    def try_replace(self, name: str, data: bytes, tag: str | None) -> str | None:
        """The new tag, if a conditional PUT went through; also if it did and its answer was lost on the way."""
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        done = self._ask("put_object", name, Body=data, **condition)
        if done is not None:
            return str(done["ETag"])
        found, now, _ = self.look(name)
        return now if found == data else None

    def remove(self, *names: str) -> None:
        """Removes objects, a thousand a request."""
        for name in names if self.mark != "-" else ():
            (self.desk / name).unlink(missing_ok=True)
        keys = [{"Key": self._prefix + name} for name in names]
        for start in range(0, len(keys), MOST_DELETED):
            some = keys[start : start + MOST_DELETED]
            failed = self._ask("delete_objects", "", Delete={"Objects": some, "Quiet": True}).get("Errors")
            if failed:
                msg = f"cannot delete {failed[0]['Key']} in {self.bucket}: {failed[0].get('Code')}"
                raise StoreError(msg)

    def clear(self) -> None:
        """The manifest first: what has none does not exist."""
        names = list(self.sizes())
        self.remove(*(n for n in names if n == "manifest.json"))
        self.remove(*names)
        desks.forget(self._place, self.key)

    def keep_only(self, names: Iterable[str]) -> None:
        """Removes every other object below."""
        kept = set(names)
        self.remove(*(n for n in self.sizes() if n not in kept))

    def tidy(self) -> None:
        """A bucket has no folders; the probes of killed processes go."""
        self.remove(*(name for name in self.names() if name.startswith(lease.PROBE)))

    # -- files -------------------------------------------------------------------------------------------

    def fetch(self, *names: str) -> Path:
        """Downloads what is not on the desk, each to a temporary name."""
        desk = self.desk
        self.together(self._bring, [n for n in names if not (desk / n).exists()])
        return desk / names[-1] if names else desk

    def _bring(self, name: str) -> None:
        with placed(self.desk / name) as part, _told(f"{self.url} {name}", FileNotFoundError):
            _client(self.endpoint).download_file(self.bucket, self._prefix + name, str(part), Config=_ONE_THREAD)

    def send(self, *names: str) -> None:
        """Uploads; a killed upload leaves nothing visible."""
        self.together(self._take, names)

    def _take(self, name: str) -> None:
        with _told(f"{self.url} {name}"):
            file = str(self.desk / name)
            _client(self.endpoint).upload_file(file, self.bucket, self._prefix + name, Config=_ONE_THREAD)

    def leave(self) -> None:
        """Removes what lies on its desk."""
        shutil.rmtree(self.desk, ignore_errors=True)

    def together(self, do: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Some at once."""
        listed = list(items)
        if len(listed) < 2:
            return [do(item) for item in listed]
        with ThreadPoolExecutor(min(AT_ONCE, len(listed))) as pool:
            return list(pool.map(do, listed))

    # -- the lock ----------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """A lease on ``.lock``, renewed while this process lives (``lease.Lease``)."""
        with lease.held(self, wait=wait):
            yield

    def check_lock(self) -> None:
        """Renews the lease at once, so that what follows is covered."""
        lease.check(self)

    # -- requests ----------------------------------------------------------------------------------------

    def _ask(self, verb: str, name: str, **how: Any) -> Any:
        """One request of the bucket, or of an object in this folder; None if it is not there, or not as asked."""
        if name:
            how["Key"] = self._prefix + name
        with _told(f"{self.url} {name}".strip()):
            try:
                return getattr(_client(self.endpoint), verb)(Bucket=self.bucket, **how)
            except botocore.exceptions.ClientError as error:
                code = str(error.response.get("Error", {}).get("Code"))
                if (name and code in _GONE) or (code in _CHANGED and how.keys() & {"IfMatch", "IfNoneMatch"}):
                    return None
                raise


_ONE_THREAD = TransferConfig(multipart_threshold=PIECE_BYTES, multipart_chunksize=PIECE_BYTES, use_threads=False)


def _now(answer: Any) -> float:
    """The clock of the service, as it answers."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


@functools.lru_cache(maxsize=16)
def _client_of(endpoint: str | None, _process: int) -> Any:
    config = botocore.config.Config(
        retries={"max_attempts": 8, "mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=4 * AT_ONCE,
        user_agent_appid="g2v_dask",
    )
    return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)


def _client(endpoint: str | None) -> Any:
    """A client a process: after a fork its connections would be shared."""
    return _client_of(endpoint, os.getpid())


@contextmanager
def _told(what: str, absent: type[OSError] = StoreError) -> Iterator[None]:
    """Errors of the service as ours: what it said, of which object, and nothing that was sent with the request."""
    try:
        yield
    except (botocore.exceptions.ClientError, boto3.exceptions.S3UploadFailedError) as error:
        answer = error if isinstance(error, botocore.exceptions.ClientError) else error.__context__
        code = str(getattr(answer, "response", {}).get("Error", {}).get("Code"))
        if code in _GONE:
            raise absent(2, "no such object", what) from None
        lacking = "it has no conditional writes, so two writers could meet; use one that has"
        advice = {
            "NoSuchBucket": "make the bucket, or name another",
            "AccessDenied": "the credentials in the environment may not do this",
            "403": "the credentials in the environment may not do this",
            "InvalidAccessKeyId": "the service does not know AWS_ACCESS_KEY_ID",
            "NotImplemented": lacking,
            "501": lacking,
            "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
        }.get(code, "try again; nothing is half written")
        msg = f"{what}: the object store answers {code}: {advice}"
        raise StoreError(msg) from None
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        msg = f"{what}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        raise StoreError(msg) from error
    except (botocore.exceptions.BotoCoreError, boto3.exceptions.Boto3Error) as error:
        msg = f"{what}: {type(error).__name__}: the object store does not answer as expected; try again"
        raise StoreError(msg) from None
