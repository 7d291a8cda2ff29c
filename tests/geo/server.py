"""GEO on this machine: its files, its pages and E-utilities, by HTTP; and it misbehaves when told to.

Shapes are those of NCBI: Apache's listings, ``esearch`` and ``esummary`` in JSON, text of ``acc.cgi``.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from g2v_dask.geo import layout

FILES, PAGES, UTILS = "/geo", "/pages", "/entrez/eutils"
HTML = b"<!DOCTYPE html>\n<html><head><title>Service temporarily unavailable</title></head></html>\n"
FIELDS = ("ACCN", "ETYP", "ORGN", "NSAM", "PDAT", "UDAT", "TITL")
STARTED = 1_700_000_000  # the Last-Modified of the first file; each later one is a minute younger


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What an answer is instead of what it should be."""

    status: int | None = None
    """This status, with a page that says so."""
    after: str | None = None
    """Its Retry-After."""
    hang: bool = False
    """Headers, then nothing until the server ends."""
    drip: bool = False
    """The body comes byte by byte, and would take hours."""
    reset_at: int | None = None
    """The connection is reset after so many bytes of the body."""
    end_at: int | None = None
    """The body ends after so many bytes, though more were said to come."""
    length: int | None = None
    """Said to be this much longer, or shorter, than it is."""
    html: bool = False
    """A page, with status 200."""
    flip: int | None = None
    """One bit of this byte is another."""
    text: bytes | None = None
    """This body, with status 200."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that came, and what went out for it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int
    sent: int
    """Bytes of the body."""


@dataclass
class Geo:
    """What the server serves; change it while it runs."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path below ``/geo/``."""
    stamps: dict[str, int] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    """Texts of platforms that ``acc.cgi`` gives."""
    counts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Of a series: NCBI's counts and gene annotation by name of file."""
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What ``esummary`` says of a series."""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """By end of the path: used up one a request; the last one of ``always`` stays."""
    always: dict[str, Fault] = field(default_factory=dict)
    ranges: bool = True
    """Whether it serves them."""
    validators: bool = True
    """Whether files have ETag and Last-Modified."""
    keys: frozenset[str] = frozenset()
    """API keys it knows; any where there are none."""
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def settings(self) -> dict[str, str]:
        """For a GeoSpec."""
        return {
            "search_url": f"{self.url}{UTILS}",
            "files_url": f"{self.url}{FILES}",
            "pages_url": f"{self.url}{PAGES}",
        }

    @property
    def flags(self) -> list[str]:
        """For ``g2v geo fetch``."""
        return [word for key, url in self.settings.items() for word in (f"--{key.replace('_', '-')}", url)]

    def put(self, path: str, content: bytes) -> None:
        """Serves a file below ``/geo/``; a new content has a new date."""
        self.files[path] = content
        self.stamps[path] = STARTED + 60 * len(self.stamps) + 3600 * (path in self.stamps)

    def series(
        self,
        accession: str,
        *matrices: bytes,
        platforms: tuple[str, ...] = ("GPL96",),
        samples: int = 30,
        title: str = "",
        published: str = "2014/02/21",
        organism: str = "Homo sapiens",
    ) -> None:
        """Serves a series: one matrix for each of its platforms, or one in all."""
        folder = f"{layout.folder(accession)}/matrix"
        for gone in [p for p in self.files if p.startswith(f"{folder}/")]:
            del self.files[gone]
        for platform, matrix in zip(platforms, matrices, strict=len(matrices) > 1):
            middle = f"-{platform}" if len(matrices) > 1 else ""
            self.put(f"{folder}/{accession}{middle}_series_matrix.txt.gz", matrix)
        number = accession[3:]
        self.records[accession] = {
            "uid": str(200_000_000 + int(number)),
            "accession": accession,
            "title": title or f"Series {number}",
            "summary": "",
            "gpl": ";".join(p[3:] for p in platforms),
            "gse": number,
            "taxon": organism,
            "entrytype": "GSE",
            "pdat": published,
            "n_samples": samples,
            "samples": [{"accession": f"GSM{i}", "title": f"sample {i}"} for i in range(samples)],
            "ftplink": f"ftp://ftp.ncbi.nlm.nih.gov/geo/{layout.folder(accession)}/",
        }

    def remove(self, accession: str) -> None:
        """The series is withdrawn."""
        del self.records[accession]
        for path in [p for p in self.files if f"/{accession}/" in p]:
            del self.files[path]

    def annotation(self, platform: str, content: bytes) -> None:
        """Serves a platform's ``.annot.gz``."""
        self.put(f"{layout.folder(platform)}/annot/{platform}.annot.gz", content)

    def misbehave(self, end: str, *faults: Fault) -> None:
        """The next answers to paths with this end are these, one after the other."""
        self.faults.setdefault(end, []).extend(faults)

    def asked(self, end: str) -> list[Request]:
        """The requests for paths with this end."""
        return [r for r in self.requests if r.path.endswith(end)]

    def fault(self, path: str) -> Fault | None:
        """What goes wrong this time."""
        for end, waiting in self.faults.items():
            if path.endswith(end) and waiting:
                return waiting.pop(0)
        return next((f for end, f in self.always.items() if path.endswith(end)), None)


@contextmanager
def serving(geo: Geo | None = None) -> Iterator[Geo]:
    """A server on 127.0.0.1, a thread a connection, until the end of the block."""
    geo = Geo() if geo is None else geo
    server = _Server(("127.0.0.1", 0), _handler(geo))
    geo.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield geo
    finally:
        geo.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here."""


def _handler(geo: Geo) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"geo": geo})


class _Handler(BaseHTTPRequestHandler):
    geo: Geo
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._serve(self.rfile.read(length).decode())

    def do_GET(self) -> None:
        self._serve(urlsplit(self.path).query)

    def _serve(self, query: str) -> None:
        path = urlsplit(self.path).path
        values = {k: v[0] for k, v in parse_qs(query, keep_blank_values=True).items()}
        fault = self.geo.fault(path)
        with contextlib.suppress(ConnectionError):
            if fault is not None and fault.status is not None:
                extra = {} if fault.after is None else {"Retry-After": fault.after}
                self._send(values, fault.status, HTML, extra)
            elif fault is not None and fault.html:
                self._send(values, 200, HTML, {"Content-Type": "text/html"})
            elif fault is not None and fault.text is not None:
                self._send(values, 200, fault.text, {})
            elif path.startswith(f"{UTILS}/"):
                self._send(values, *_utilities(self.geo, path.rpartition("/")[2], values), {}, fault)
            elif path.startswith(f"{PAGES}/"):
                self._page(path, values, fault)
            else:
                self._file(path.removeprefix(f"{FILES}/"), values, fault)

    def _page(self, path: str, values: dict[str, str], fault: Fault | None) -> None:
        if path.endswith("/acc.cgi"):
            text = self.geo.tables.get(values.get("acc", ""))
            self._send(values, *((404, HTML) if text is None else (200, text.encode())), {}, fault)
        elif "file" in values:
            everyone = {n: c for of in self.geo.counts.values() for n, c in of.items()}
            body = everyone.get(values["file"])
            self._send(values, *((404, HTML) if body is None else (200, body)), {}, fault)
        else:
            self._send(
                values, 200, _download_page(self.geo, values.get("acc", "")), {"Content-Type": "text/html"}, fault
            )

    def _file(self, name: str, values: dict[str, str], fault: Fault | None) -> None:
        if name.endswith("/"):
            inside = sorted(p.removeprefix(name) for p in self.geo.files if p.startswith(name))
            self._send(values, *((200, _listing(name, inside)) if inside else (404, HTML)), {}, fault)
            return
        body = self.geo.files.get(name)
        if body is None:
            self._send(values, 404, HTML, {})
            return
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        modified = email.utils.formatdate(self.geo.stamps[name], usegmt=True)
        extra = {"ETag": etag, "Last-Modified": modified} if self.geo.validators else {}
        asked = self.headers.get("If-None-Match")
        if extra and (asked == etag or (asked is None and self.headers.get("If-Modified-Since") == modified)):
            self._send(values, 304, b"", extra)
            return
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if self.geo.ranges and start and self.headers.get("If-Range") in (etag, modified, None):
            begin = int(start[1])
            if begin >= len(body):
                self._send(values, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            extra["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            self._send(values, 206, body[begin:], extra, fault)
            return
        self._send(values, 200, body, extra, fault)

    def _send(
        self, values: dict[str, str], status: int, body: bytes, extra: dict[str, str], fault: Fault | None = None
    ) -> None:
        fault = Fault() if fault is None else fault
        if fault.flip is not None:
            body = body[: fault.flip] + bytes([body[fault.flip] ^ 1]) + body[fault.flip + 1 :]
        cut = next((c for c in (fault.reset_at, fault.end_at) if c is not None), len(body))
        sent = 0 if fault.hang else min(cut, len(body))
        self.geo.requests.append(
            Request(
                path=urlsplit(self.path).path,
                query=values,
                headers={k.lower(): v for k, v in self.headers.items()},
                status=status,
                sent=sent,
            )
        )
        self.send_response(status)
        for key, value in extra.items():
            self.send_header(key, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) + (fault.length or 0)))
        self.end_headers()
        if fault.hang:
            self.geo.closing.wait()
        if fault.drip:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.geo.closing.wait(0.02):
                    break
            self.close_connection = True
            return
        self.wfile.write(body[:sent])
        self.wfile.flush()
        if fault.reset_at is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if fault.hang or fault.reset_at is not None or fault.end_at is not None or fault.length:
            self.close_connection = True


def _listing(folder: str, names: list[str]) -> bytes:
    """As ftp.ncbi.nlm.nih.gov shows a folder: an absolute link to the parent, and one to another site."""
    up = f"/geo/{folder.rstrip('/').rpartition('/')[0]}/"
    lines = [f'<a href="{n}">{n}</a>   2018-08-10 12:00  1.3M' for n in names]
    return (
        f'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<html>\n <head>\n'
        f"  <title>Index of /geo/{folder.rstrip('/')}</title>\n </head>\n <body>\n"
        f'<h1>Index of /geo/{folder.rstrip("/")}</h1>\n<pre>Name    Last modified      Size  <hr><a href="{up}">'
        f"Parent Directory</a>                             -\n" + "\n".join(lines) + "\n<hr></pre>\n"
        '<a href="https://www.hhs.gov/vulnerability-disclosure-policy/index.html">HHS Vulnerability Disclosure</a>\n'
        "</body></html>\n"
    ).encode()


def _download_page(geo: Geo, accession: str) -> bytes:
    """GEO's page of a series' downloads; NCBI's counts are on it where there are any."""
    links = [
        f'<a id="download_raw_counts" href="/geo/download/?type=rnaseq_counts&amp;acc={accession}&amp;format=file'
        f'&amp;file={name}">{name}</a>'
        for name in geo.counts.get(accession, ())
    ]
    return f"<html><head><title>GEO download {accession}</title></head>{''.join(links)}</html>".encode()


def _utilities(geo: Geo, program: str, values: dict[str, str]) -> tuple[int, bytes]:
    key = values.get("api_key")
    if key is not None and geo.keys and key not in geo.keys:
        return 400, json.dumps({"error": "API key invalid", "api-key": key, "type": "api"}).encode()
    if program == "esearch.fcgi":
        answer = _esearch(geo, values)
    elif program == "esummary.fcgi":
        answer = _esummary(geo, values)
    else:
        return 404, HTML
    return 200, json.dumps(answer).encode()


def _esearch(geo: Geo, values: dict[str, str]) -> dict[str, Any]:
    term = values["term"]
    known = re.sub(r"(\S+)\[(\w+)\]", lambda m: m[0] if m[2].upper() in FIELDS else f"{m[1]}[All Fields]", term)
    found = [r["uid"] for r in geo.records.values() if _matches(r, term)]
    return {
        "header": {"type": "esearch", "version": "0.3"},
        "esearchresult": {
            "count": str(len(found)),
            "retmax": "0",
            "retstart": "0",
            "querykey": "1",
            "webenv": "MCID_" + term.encode().hex(),
            "idlist": [],
            "translationset": [],
            "querytranslation": known,
        },
    }


def _esummary(geo: Geo, values: dict[str, str]) -> dict[str, Any]:
    term = bytes.fromhex(values["WebEnv"].removeprefix("MCID_")).decode()
    start, many = int(values["retstart"]), int(values["retmax"])
    if many > 500:
        return {"header": {}, "esummaryresult": ["Too many UIDs in request. Maximum number of UIDs is 500 for JSON"]}
    found = sorted((r for r in geo.records.values() if _matches(r, term)), key=lambda r: -int(r["uid"]))
    page = found[start : start + many]
    result: dict[str, Any] = {"uids": [r["uid"] for r in page], **{r["uid"]: r for r in page}}
    return {"header": {"type": "esummary", "version": "0.3"}, "result": result}


def _matches(record: dict[str, Any], term: str) -> bool:
    """Whether a record is found: each field of the term by itself, then AND and OR."""

    def one(match: re.Match[str]) -> str:
        value, tag = match[1].strip('"').lower(), match[2].upper()
        low, _, high = value.partition(":")
        return str(
            {
                "ETYP": lambda: value == "gse",
                "ACCN": lambda: value.upper() in (record["accession"], *(f"GPL{p}" for p in record["gpl"].split(";"))),
                "ORGN": lambda: value == record["taxon"].lower(),
                "NSAM": lambda: int(low) <= record["n_samples"] <= int(high),
                "PDAT": lambda: low <= record["pdat"] <= high,
                "UDAT": lambda: False,
                "TITL": lambda: value in record["title"].lower(),
            }.get(tag, lambda: True)()
        )

    logic = re.sub(r'("[^"]*"|[^\s()]+)\[(\w+)\]', one, term)
    assert re.fullmatch(r"(True|False|AND|OR|NOT|[()\s])*", logic), logic
    return bool(eval(re.sub(r"AND|OR", lambda m: m[0].lower(), logic.replace("NOT", "and not"))))
