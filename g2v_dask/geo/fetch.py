"""Series → files and ledger."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from g2v_dask.errors import StoreError
from g2v_dask.folders import Folder
from g2v_dask.geo import contents, layout
from g2v_dask.geo.contents import Seen
from g2v_dask.geo.download import Wanted, download
from g2v_dask.geo.ledger import Entry, File, Ledger, State
from g2v_dask.geo.search import RATE, Found
from g2v_dask.geo.web import Pace, StoppedError, Web, WebError
from g2v_dask.geo_spec import GeoSpec


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a run did: each series it looked at is in one of them, in order of accession number."""

    new: tuple[str, ...] = ()
    """Fetched now, and not before: also what was failed or gone."""
    changed: tuple[str, ...] = ()
    """A file of it is another, or its platform's annotation is."""
    same: tuple[str, ...] = ()
    """As before; also what was gone and still is."""
    gone: tuple[str, ...] = ()
    """GEO no longer has it, since this run."""
    failed: tuple[str, ...] = ()
    """Could not be looked at, or fetched; the ledger says why."""
    no_table: tuple[str, ...] = ()
    """Its tables are empty, and there are no counts."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What ingest is to be given."""

    files: tuple[str, ...]
    """Paths, or URLs of a bucket."""
    platforms: str


def fetch(
    root: Folder, spec: GeoSpec, found: Sequence[Found], *, say: Callable[[str], None], wait: bool = False
) -> Fetched:
    """Fetches ``found`` and ``spec.accessions``, and looks again at all series of the ledger.

    Parameters: root   the store's ``geo`` folder
                say    is told, line by line, what became of each series that is not as it was
                wait   for the folder, if another process fetches into it; else that is an error
    Raises:     StoreError if the folder cannot be written, or another process fetches into it. What a server does
                raises nothing, and stands in the ledger.
    """
    try:
        root.desk.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(root, error) from error
    with root.lock(wait=wait):  # two would write the same partial files
        ledger = Ledger(root)
        before = ledger.entries()
        entries = _looked_at(before, spec, found)
        fresh = [a for a in entries if a not in before]
        for accession in fresh:
            _put(ledger, entries[accession])  # a run that is cut off has said what it was about
        say(f"{len(entries):,} series to look at, {len(fresh):,} of them for the first time")
        return _look_at_all(Run.of(root, spec, entries), entries, say)


def _look_at_all(run: Run, entries: Mapping[str, Entry], say: Callable[[str], None]) -> Fetched:
    """All series, several at a time; ends early only where nothing can be written."""
    outcomes: dict[str, list[str]] = {}
    with ThreadPoolExecutor(run.spec.parallel) as pool:
        try:
            futures = {pool.submit(run.look, entry): entry for entry in entries.values()}
            for count, future in enumerate(as_completed(futures), 1):
                old, now = futures[future], future.result()
                run.ledger.root.check_lock()
                outcome = _outcome(old, now)
                outcomes.setdefault(outcome, []).append(now.accession)
                if now.tries or now.state is not old.state or outcome == "changed":
                    say(f"{count}/{len(entries)} {now.accession}: {_line(outcome, now)}")
        except BaseException:
            run.web.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return Fetched(**{name: tuple(layout.in_order(names)) for name, names in outcomes.items()})


def inputs(root: Folder) -> Inputs:
    """The matrices and counts of all series in state ``fetched``, and the folder of their platforms."""
    files = root / "files"
    fetched = [f for e in Ledger(root).entries().values() if e.state is State.FETCHED for f in e.files]
    platforms = files / layout.PLATFORMS
    platforms.desk.mkdir(parents=True, exist_ok=True)  # where nothing but counts was fetched
    there = files.sizes()
    named = tuple((files / f.name).url for f in fetched if _is_input(f) and f.name in there)
    return Inputs(files=named, platforms=platforms.url)


def _is_input(file: File) -> bool:
    return file.kind == "counts" or (file.kind == "matrix" and bool(file.rows))


def _looked_at(before: Mapping[str, Entry], spec: GeoSpec, found: Sequence[Found]) -> dict[str, Entry]:
    """The entries to look at, in order, with what the search says of them."""
    entries = {a: before.get(a, Entry(accession=a)) for a in (*before, *spec.accessions)}
    for f in found:
        entry = before.get(layout.series(f.accession), Entry(accession=f.accession, platforms=f.platforms))
        samples = entry.samples if entry.files else f.samples
        entries[f.accession] = replace(entry, title=f.title, samples=samples, updated=f.updated)
    return {a: entries[a] for a in layout.in_order(entries)}


def _outcome(old: Entry, now: Entry) -> str:
    """Which field of ``Fetched`` a series belongs to."""
    if now.tries:
        return "failed"
    if now.state is State.NO_TABLE:
        return "no_table"
    if now.state is State.GONE:
        return "same" if old.state is State.GONE else "gone"
    if old.state is not State.FETCHED:
        return "new"
    return "same" if _digests(old) == _digests(now) else "changed"


def _digests(entry: Entry) -> dict[str, str]:
    return {f.name: f.sha256 for f in entry.files}


def _line(outcome: str, entry: Entry) -> str:
    if entry.error is not None:
        return f"{outcome}: {entry.error}"
    size = sum(f.bytes for f in entry.files) / 1e6
    return f"{outcome.replace('_', ' ')}, {entry.samples} samples, files: {len(entry.files)}, {size:.1f} MB"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the threads of one run share."""

    ledger: Ledger
    files: Folder
    spec: GeoSpec
    web: Web
    sizes: Mapping[str, int]
    """The bytes of each file in the folder, when the run began."""
    annotations: Mapping[str, File]
    """Those that series share, as the ledger has them."""
    _shared: dict[str, Future[tuple[File | None, str | None]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, root: Folder, spec: GeoSpec, entries: Mapping[str, Entry]) -> Run:
        """A run over these entries."""
        files = root / "files"
        return cls(
            ledger=Ledger(root),
            files=files,
            spec=spec,
            web=Web(tries=spec.tries, timeout_seconds=spec.timeout_seconds, pace=Pace(1 / RATE[False])),
            sizes=files.sizes(),
            annotations={f.name: f for e in entries.values() for f in e.files if f.kind == "annotation"},
        )

    def look(self, entry: Entry) -> Entry:
        """Brings one series up to date, and its entry with it; the new entry.

        Raises: StoreError if something cannot be written; StoppedError.
        """
        got: list[File] = []
        try:
            now = self._series(entry, got)
        except StoppedError:
            raise
        except StoreError as error:
            with suppress(OSError):
                self.ledger.put(_failed(entry, got, str(error)))
            raise
        except WebError as fault:
            now = _failed(entry, got, str(fault))
        except Exception as error:  # noqa: BLE001  (one bad series ends no batch: the ledger tells)
            now = _failed(entry, got, f"{type(error).__name__}: {error}")
        _put(self.ledger, now)
        return now

    def _series(self, entry: Entry, got: list[File]) -> Entry:
        """The entry after all files were looked at; ``got`` collects them, so that a fault loses none.

        Raises: WebError.
        """
        accession = entry.accession
        where = f"{self.spec.files_url}/{layout.folder(accession)}/matrix/"
        try:
            listing = self._page(where, "Index of")
        except WebError as fault:
            if not fault.gone:
                raise
            return replace(entry, state=State.GONE, tries=0, error=f"GEO does not have it: {fault}")
        known = {f.name: f for f in entry.files}
        seen: list[Seen] = []
        names, split = layout.matrices(accession, listing), layout.split_matrices(accession, listing)
        lost = [f.name for f in entry.files if f.kind == "matrix" and f.name.rpartition("/")[2] not in names]
        if split and (lost or not names):
            text = f"{where}: a series matrix that is split, whose parts are not fetched: {', '.join(split)}"
            raise WebError(text)
        if not names and (known or f"{accession}_series_matrix" in listing or f"{accession}-GPL" in listing):
            text = f"{where}: no series matrix under a name that is known; it may be made anew just now"
            raise WebError(text)
        for name in names:
            file, holds = self._file(
                Wanted(
                    name=f"{layout.folder(accession)}/matrix/{name}",
                    kind="matrix",
                    url=where + name,
                    check=partial(contents.matrix, accession=accession),
                ),
                known,
            )
            got.append(file)
            seen.append(holds)
        remarks = [f"not fetched, as it is split: {', '.join(split)}"] if split else []
        if any(not s.rows for s in seen) or not seen:
            self._counts(accession, known, got)
        for gpl in layout.in_order(p for s in seen if s.rows for p in s.platforms):
            self._shared_file(gpl, partial(self._platform, gpl), got, remarks)
        usable = any(map(_is_input, got))
        changed = _digests(entry) != {f.name: f.sha256 for f in got}
        return replace(
            entry,
            state=State.FETCHED if usable else State.NO_TABLE,
            title=entry.title or next((s.title for s in seen if s.title), ""),
            platforms=tuple(layout.in_order(p for s in seen for p in s.platforms)) or entry.platforms,
            samples=sum(f.samples for f in got if f.kind == "matrix") or entry.samples,
            files=tuple(got),
            tries=0,
            error="; ".join(remarks) or None,
            seen_at=_now(),
            fetched_at=_now() if changed or entry.fetched_at is None else entry.fetched_at,
        )

    def _counts(self, accession: str, known: Mapping[str, File], got: list[File]) -> None:
        """NCBI's raw counts of a sequencing study and their gene annotation, if there are any."""
        page_url = f"{self.spec.pages_url}/download/"
        try:
            page = self._page(page_url, accession, {"acc": accession})
        except WebError as fault:
            if fault.gone:
                return
            raise
        names = layout.counts(accession, page)
        if names is None:
            return
        raw, genes = names
        query = {"format": "file", "type": "rnaseq_counts"}
        wanted = Wanted(
            name=f"{layout.folder(accession)}/rnaseq_counts/{raw}",
            kind="counts",
            url=page_url,
            query={**query, "acc": accession, "file": raw},
            check=contents.counts,
            program=True,
        )
        got.append(self._file(wanted, known)[0])
        if genes is not None:
            wanted = Wanted(
                name=f"{layout.PLATFORMS}/{genes}",
                kind="annotation",
                url=page_url,
                query={**query, "file": genes},
                check=contents.packed,
                program=True,
            )
            self._shared_file(genes, lambda: (self._file(wanted, self.annotations)[0], None), got, [])

    def _shared_file(
        self,
        key: str,
        make: Callable[[], tuple[File | None, str | None]],
        got: list[File],
        remarks: list[str],
    ) -> None:
        """What several series need, fetched by the first that asks; the others wait for it."""
        with self._lock:
            mine = key not in self._shared
            future = self._shared.setdefault(key, Future())
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
                raise
        file, remark = future.result()
        got += [file] if file is not None else []
        remarks += [remark] if remark is not None else []

    def _platform(self, gpl: str) -> tuple[File | None, str | None]:
        """GEO's annotation of a platform, else its table; None and a remark where GEO has neither.

        A table, once there, is not asked for again: a program makes it, it has no date, and platforms do not change.
        """
        annotation = Wanted(
            name=f"{layout.PLATFORMS}/{gpl}.annot.gz",
            kind="annotation",
            url=f"{self.spec.files_url}/{layout.folder(gpl)}/annot/{gpl}.annot.gz",
            check=contents.packed,
        )
        try:
            file = self._file(annotation, self.annotations)[0]
        except WebError as fault:
            if not fault.gone or self._there(annotation.name, self.annotations) is not None:
                raise  # what GEO once had, it still has: the next run asks again
        else:
            self.files.remove(f"{layout.PLATFORMS}/{gpl}.tsv.gz")  # readers would take it first
            return file, None
        table = Wanted(
            name=f"{layout.PLATFORMS}/{gpl}.tsv.gz",
            kind="annotation",
            url=f"{self.spec.pages_url}/query/acc.cgi",
            query={"acc": gpl, "targ": "self", "form": "text", "view": "data"},
            check=contents.platform_table,
            program=True,
            pack=True,
        )
        there = self._there(table.name, self.annotations)
        if there is not None:
            return there, None
        try:
            file, seen = self._file(table, {})
        except WebError as fault:
            if not fault.gone:
                raise
            return None, f"GEO has no annotation of {gpl}"
        if not seen.rows:
            self.files.remove(file.name)
            return None, f"GEO's record of {gpl} has no table"
        return file, None

    def _file(self, wanted: Wanted, known: Mapping[str, File]) -> tuple[File, Seen]:
        """A file as it is now at GEO, fetched only if it is not what is there."""
        there = self._there(wanted.name, known)
        made = download(self.web, self.files, wanted, there)
        if made is not None:
            return made
        assert there is not None
        return there, Seen(rows=there.rows, samples=there.samples, platforms=there.platforms)

    def _there(self, name: str, known: Mapping[str, File]) -> File | None:
        """What the ledger knows of a file, if the folder has it, whole."""
        file = known.get(name)
        return file if file is not None and self.sizes.get(name) == file.bytes else None

    def _page(self, url: str, word: str, query: Mapping[str, str] | None = None) -> str:
        """A page that holds a word: what does not, is a message of the server's."""

        def once() -> str:
            text = self.web.body(url, query=query, paced=query is not None).decode("utf-8", errors="replace")
            if word not in text:
                msg = f"{url}: an answer without {word!r}: another page than the one asked for"
                raise WebError(msg)
            return text

        return self.web.patiently(once)


def _failed(entry: Entry, got: list[File], error: str) -> Entry:
    """The entry after a fault: what is fetched stays so, of the others the files that came are remembered."""
    tries = entry.tries + 1
    if entry.state is State.FETCHED:  # with its old records: a file that came is told as changed by the run that ends
        return replace(entry, tries=tries, error=error)
    files = {f.name: f for f in (*entry.files, *got)}
    return replace(entry, state=State.FAILED, files=tuple(files.values()), tries=tries, error=error)


def _put(ledger: Ledger, entry: Entry) -> None:
    try:
        ledger.put(entry)
    except StoreError:
        raise
    except OSError as error:
        raise _unwritten(ledger.root, error) from error


def _unwritten(root: Folder, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write the ledger below {root.url}: {error.strerror or error}; "
        "make space there, or make it writable, and run the same command again"
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
