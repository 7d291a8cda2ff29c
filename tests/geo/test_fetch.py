"""Fetching series: what is new, changed, gone, and what the ledger says of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from g2v_dask.errors import StoreError
from g2v_dask.folders import Folder, open_folder
from g2v_dask.geo.fetch import Fetched, fetch, inputs
from g2v_dask.geo.ledger import Ledger, State
from g2v_dask.geo.search import search
from g2v_dask.geo_spec import GeoSpec
from g2v_dask.platforms import PlatformTable
from g2v_dask.readers import formats
from g2v_dask.spec import IngestSpec
from tests.geo import parts
from tests.geo.server import Fault, Geo
from tests.shell import g2v

MATRIX = "series/GSE55nnn/GSE55235/matrix/GSE55235_series_matrix.txt.gz"


def run(geo: Geo, root: Folder, *accessions: str, **options: object) -> Fetched:
    said: list[str] = []
    spec = GeoSpec(**{"timeout_seconds": 5.0, "tries": 3, "accessions": accessions, **geo.settings, **options})
    return fetch(root, spec, (), say=said.append)


def simple(geo: Geo) -> None:
    geo.series("GSE55235", parts.whole())
    geo.annotation("GPL96", parts.annotation())


def test_fetch__new_then_the_same(geo: Geo, root: Folder) -> None:
    simple(geo)
    assert run(geo, root, "GSE55235") == Fetched(new=("GSE55235",))
    entry = Ledger(root).entries()["GSE55235"]
    assert (entry.state, entry.samples, entry.platforms) == (State.FETCHED, 30, ("GPL96",))
    assert entry.title.startswith("Identification of rheumatoid arthritis")
    matrix, annotation = entry.files
    assert (matrix.name, matrix.kind, matrix.rows) == (MATRIX, "matrix", 22_283)
    assert matrix.sha256 == hashlib.sha256(parts.whole()).hexdigest()
    assert matrix.bytes == len(parts.whole())
    assert (annotation.name, annotation.kind) == ("platforms/GPL96.annot.gz", "annotation")
    assert (root / "files").fetch(MATRIX).read_bytes() == parts.whole()
    before = len(geo.requests)
    assert run(geo, root) == Fetched(same=("GSE55235",))
    assert [r.status for r in geo.requests[before:]] == [200, 304, 304]  # the listing and two files
    again = Ledger(root).entries()["GSE55235"]
    assert again.fetched_at == entry.fetched_at
    assert again.files == entry.files


def test_fetch__changed(geo: Geo, root: Folder) -> None:
    simple(geo)
    run(geo, root, "GSE55235")
    geo.series("GSE55235", parts.matrix(rows=100))
    assert run(geo, root) == Fetched(changed=("GSE55235",))
    assert (root / "files").fetch(MATRIX).read_bytes() == parts.matrix(rows=100)
    assert run(geo, root) == Fetched(same=("GSE55235",))


def test_fetch__touched_but_the_same_bytes(geo: Geo, root: Folder) -> None:
    simple(geo)
    geo.validators = False
    run(geo, root, "GSE55235")
    geo.validators = True
    geo.put(MATRIX, parts.whole())
    assert run(geo, root) == Fetched(same=("GSE55235",))
    assert len([r for r in geo.asked("matrix.txt.gz") if r.sent]) == 2
    assert Ledger(root).entries()["GSE55235"].files[0].etag is not None


def test_fetch__gone_is_kept_and_flagged_and_may_come_back(geo: Geo, root: Folder) -> None:
    simple(geo)
    run(geo, root, "GSE55235")
    geo.remove("GSE55235")
    assert run(geo, root) == Fetched(gone=("GSE55235",))
    entry = Ledger(root).entries()["GSE55235"]
    assert entry.state is State.GONE
    assert len(entry.files) == 2
    assert "404" in str(entry.error)
    assert (root / "files").fetch(MATRIX).exists()
    assert inputs(root).files == ()
    assert run(geo, root) == Fetched(same=("GSE55235",))
    simple(geo)
    assert run(geo, root) == Fetched(new=("GSE55235",))
    assert len(inputs(root).files) == 1


def test_fetch__never_was_there(geo: Geo, root: Folder) -> None:
    assert run(geo, root, "GSE999999") == Fetched(gone=("GSE999999",))


def test_fetch__all_platforms_of_a_series(geo: Geo, root: Folder) -> None:
    of = "GSE14520-GPL571_series_matrix.txt.gz"
    first, second = (parts.matrix("GSE14520", of=of, platform=p) for p in ("GPL571", "GPL96"))
    geo.series("GSE14520", first, second, platforms=("GPL571", "GPL96"))
    for platform in ("GPL571", "GPL96"):
        geo.annotation(platform, parts.annotation(platform))
    assert run(geo, root, "GSE14520").new == ("GSE14520",)
    entry = Ledger(root).entries()["GSE14520"]
    assert entry.platforms == ("GPL96", "GPL571")
    assert entry.samples == 86
    given = inputs(root)
    assert [Path(f).name for f in given.files] == [f"GSE14520-{p}_series_matrix.txt.gz" for p in ("GPL571", "GPL96")]
    names = [s.name for f in given.files for s in formats.scan(Path(f), IngestSpec(files=given.files))]
    assert names == ["GSE14520-GPL571", "GSE14520-GPL96"]


PARTS = {of: [f"{of}_series_matrix-{n}.txt.gz" for n in (1, 2)] for of in ("GSE9891", "GSE9891-GPL570")}


def in_parts(geo: Geo, of: str) -> None:
    """Serves a matrix as GEO has split some that had many samples."""
    for name in PARTS[of]:
        geo.put(f"series/GSE9nnn/GSE9891/matrix/{name}", parts.matrix("GSE9891", platform="GPL570"))


@pytest.mark.parametrize("of", PARTS)
def test_fetch__a_split_matrix_is_told_and_not_passed_over(geo: Geo, root: Folder, of: str) -> None:
    in_parts(geo, of)
    assert run(geo, root, "GSE9891") == Fetched(failed=("GSE9891",))
    entry = Ledger(root).entries()["GSE9891"]
    assert entry.state is State.FAILED
    assert all(name in str(entry.error) for name in PARTS[of])
    assert geo.asked(".txt.gz") == []
    geo.series("GSE9891", parts.matrix("GSE9891"))  # GEO has put it together
    geo.annotation("GPL96", parts.annotation())
    assert run(geo, root) == Fetched(new=("GSE9891",))
    assert Ledger(root).entries()["GSE9891"].error is None


def test_fetch__one_platform_split_and_the_other_whole(geo: Geo, root: Folder) -> None:
    geo.annotation("GPL96", parts.annotation())
    geo.put("series/GSE9nnn/GSE9891/matrix/GSE9891-GPL96_series_matrix.txt.gz", parts.matrix("GSE9891"))
    in_parts(geo, "GSE9891-GPL570")
    assert run(geo, root, "GSE9891") == Fetched(new=("GSE9891",))
    assert [Path(f).name for f in inputs(root).files] == ["GSE9891-GPL96_series_matrix.txt.gz"]
    entry = Ledger(root).entries()["GSE9891"]
    assert all(name in str(entry.error) for name in PARTS["GSE9891-GPL570"])
    assert entry.tries == 0


def test_fetch__a_matrix_that_is_split_from_now_on_stays_as_it_was(geo: Geo, root: Folder) -> None:
    first, second = (parts.matrix("GSE9891", platform=p) for p in ("GPL96", "GPL571"))
    geo.series("GSE9891", first, second, platforms=("GPL96", "GPL571"))
    for platform in ("GPL96", "GPL571"):
        geo.annotation(platform, parts.annotation(platform))
    assert run(geo, root, "GSE9891").new == ("GSE9891",)
    given = inputs(root)
    del geo.files["series/GSE9nnn/GSE9891/matrix/GSE9891-GPL571_series_matrix.txt.gz"]
    in_parts(geo, "GSE9891-GPL570")
    assert run(geo, root) == Fetched(failed=("GSE9891",))
    assert inputs(root) == given
    entry = Ledger(root).entries()["GSE9891"]
    assert (entry.state, entry.tries) == (State.FETCHED, 1)
    assert "is split" in str(entry.error)


def test_fetch__no_table_then_counts(geo: Geo, root: Folder) -> None:
    geo.series("GSE164073", parts.empty("GSE164073"), platforms=("GPL16791",))
    assert run(geo, root, "GSE164073") == Fetched(no_table=("GSE164073",))
    assert Ledger(root).entries()["GSE164073"].state is State.NO_TABLE
    assert inputs(root).files == ()
    geo.counts["GSE164073"] = {
        parts.COUNTS: parts.counts(),
        parts.COUNTS.replace("raw_counts", "norm_counts_FPKM"): b"",
        parts.GENES: parts.genes(),
    }
    assert run(geo, root) == Fetched(new=("GSE164073",))
    entry = Ledger(root).entries()["GSE164073"]
    assert [f.kind for f in entry.files] == ["matrix", "counts", "annotation"]
    (given,) = inputs(root).files
    assert given.endswith(f"series/GSE164nnn/GSE164073/rnaseq_counts/{parts.COUNTS}")
    assert Path(given).read_bytes() == parts.counts()
    (source,) = formats.scan(Path(given), IngestSpec(files=(given,)))
    assert source.n_samples == parts.GSM
    assert run(geo, root) == Fetched(same=("GSE164073",))


def test_fetch__half_empty_series_gives_what_it_has(geo: Geo, root: Folder) -> None:
    geo.series("GSE7", parts.matrix("GSE7"), parts.empty("GSE7"), platforms=("GPL96", "GPL16791"))
    geo.annotation("GPL96", parts.annotation())
    assert run(geo, root, "GSE7") == Fetched(new=("GSE7",))
    assert [Path(f).name for f in inputs(root).files] == ["GSE7-GPL96_series_matrix.txt.gz"]


def test_fetch__platform_table_where_there_is_no_annotation(geo: Geo, root: Folder) -> None:
    simple(geo)
    del geo.files["platforms/GPLnnn/GPL96/annot/GPL96.annot.gz"]
    geo.tables["GPL96"] = parts.table("GPL96")
    assert run(geo, root, "GSE55235").new == ("GSE55235",)
    table = PlatformTable.load(Path(inputs(root).platforms) / "GPL96.tsv.gz")
    assert len(table.symbols) > 300
    assert run(geo, root) == Fetched(same=("GSE55235",))
    assert len(geo.asked("acc.cgi")) == 1
    simple(geo)  # GEO has an annotation from now on
    assert run(geo, root) == Fetched(changed=("GSE55235",))


@pytest.mark.parametrize("text", [None, "^PLATFORM = GPL96\n!Platform_title = a sequencer\n"])
def test_fetch__platform_without_any(geo: Geo, root: Folder, text: str | None) -> None:
    geo.series("GSE55235", parts.matrix())
    if text is not None:
        geo.tables["GPL96"] = text
    assert run(geo, root, "GSE55235").new == ("GSE55235",)
    entry = Ledger(root).entries()["GSE55235"]
    assert "GPL96" in str(entry.error)
    assert entry.tries == 0
    assert (root / "files" / "platforms").names() == []


def test_fetch__platform_without_any_that_has_one_in_the_next_run(geo: Geo, root: Folder) -> None:
    geo.series("GSE55235", parts.matrix())
    assert run(geo, root, "GSE55235") == Fetched(new=("GSE55235",))
    first = Ledger(root).entries()["GSE55235"]
    assert first.error == "GEO has no annotation of GPL96"
    assert [f.kind for f in first.files] == ["matrix"]
    assert run(geo, root) == Fetched(same=("GSE55235",))
    geo.annotation("GPL96", parts.annotation())
    assert run(geo, root) == Fetched(changed=("GSE55235",))
    entry = Ledger(root).entries()["GSE55235"]
    assert (entry.error, [f.kind for f in entry.files]) == (None, ["matrix", "annotation"])
    assert len(PlatformTable.load(Path(inputs(root).platforms) / "GPL96.annot.gz").symbols) > 10_000
    assert run(geo, root) == Fetched(same=("GSE55235",))


def test_fetch__annotation_that_was_there_and_is_404_now_is_kept(geo: Geo, root: Folder) -> None:
    """What GEO once had, it still has: a run that does not get it fails, and reads no table in its place."""
    simple(geo)
    run(geo, root, "GSE55235")
    given, gone = inputs(root), geo.files.pop("platforms/GPLnnn/GPL96/annot/GPL96.annot.gz")
    geo.tables["GPL96"] = parts.table("GPL96")
    assert run(geo, root) == Fetched(failed=("GSE55235",))
    entry = Ledger(root).entries()["GSE55235"]
    assert (entry.state, entry.tries) == (State.FETCHED, 1)
    assert "GPL96.annot.gz: 404" in str(entry.error)
    assert inputs(root) == given
    assert (root / "files" / "platforms").names() == ["GPL96.annot.gz"]
    geo.annotation("GPL96", gone)
    assert run(geo, root) == Fetched(same=("GSE55235",))


def test_fetch__shared_annotation_is_asked_for_once(geo: Geo, root: Folder) -> None:
    names = [f"GSE{i}" for i in range(1, 7)]
    for name in names:
        geo.series(name, parts.matrix(name))
    geo.annotation("GPL96", parts.annotation())
    assert run(geo, root, *names, parallel=6).new == tuple(names)
    assert len(geo.asked("annot.gz")) == 1
    geo.annotation("GPL96", parts.annotation(rows=500))
    assert run(geo, root).changed == tuple(names)
    assert len(geo.asked("annot.gz")) == 2


def test_fetch__lost_file_is_fetched_again(geo: Geo, root: Folder) -> None:
    simple(geo)
    run(geo, root, "GSE55235")
    (root / "files").remove(MATRIX)
    assert run(geo, root) == Fetched(same=("GSE55235",))
    assert (root / "files").fetch(MATRIX).read_bytes() == parts.whole()


def test_fetch__what_a_search_found(geo: Geo, root: Folder) -> None:
    simple(geo)
    geo.series("GSE14520", parts.matrix("GSE14520"), samples=43, title="liver")
    spec = GeoSpec(**geo.settings, accessions=("GSE999",), timeout_seconds=5.0)
    done = fetch(root, spec, search(spec), say=lambda _: None)
    assert done == Fetched(new=("GSE14520", "GSE55235"), gone=("GSE999",))
    entry = Ledger(root).entries()["GSE14520"]
    assert (entry.title, entry.updated) == ("liver", "2014-02-21")


def test_fetch__names_from_a_page_are_no_paths(geo: Geo, root: Folder) -> None:
    simple(geo)
    links = '<a href="../../../evil_series_matrix.txt.gz">x</a><a href="GSE1_series_matrix.txt.gz">y</a>'
    geo.always["matrix/"] = Fault(text=f"<title>Index of /</title>{links}".encode())
    assert run(geo, root, "GSE55235") == Fetched(no_table=("GSE55235",))
    assert geo.asked("matrix.txt.gz") == []


def test_fetch__two_at_once(geo: Geo, root: Folder) -> None:
    simple(geo)
    run(geo, root, "GSE55235")
    with root.lock(), pytest.raises(StoreError, match="in use by"):
        run(geo, root)
    assert run(geo, root) == Fetched(same=("GSE55235",))


def test_fetch__damaged_ledger_is_named(geo: Geo, root: Folder) -> None:
    simple(geo)
    run(geo, root, "GSE55235")
    for content in (b"{", b'{"accession": "GSE55235"}'):
        (root / "ledger").write("GSE55235.json", content)
        with pytest.raises(StoreError, match=r"GSE55235\.json"):
            run(geo, root)


def test_cli_fetch__from_search_to_status(geo: Geo, tmp_path: Path) -> None:
    simple(geo)
    geo.series("GSE14520", parts.matrix("GSE14520"), samples=43)
    geo.series("GSE5", parts.matrix("GSE5"), samples=5)
    store = tmp_path / "store"
    words = ["geo", "fetch", "--store", store, *geo.flags, "--tries", 2]
    assert g2v(*words).code == 2  # nothing to fetch
    done = g2v(*words, "--from-search", "--json")
    assert done.code == 0
    assert json.loads(done.out)["new"] == ["GSE14520", "GSE55235"]
    assert "GSE55235: new, 30 samples, files: 2" in done.err
    geo.always["GSE14520_series_matrix.txt.gz"] = Fault(status=503, after="0")
    done = g2v(*words, "GSE5", "-q")
    assert done.code == 3
    assert done.err == ""
    (row,) = json.loads(g2v("geo", "status", "--store", store, "--failed", "--json").out)
    assert (row["accession"], row["state"], row["tries"]) == ("GSE14520", "fetched", 1)
    assert "503" in row["error"]
    table = g2v("geo", "status", "--store", store)
    assert [word in table.out for word in ("GSE14520", "GSE55235", "GSE5")] == [True] * 3


def test_cli_fetch__refuses_what_is_no_accession(tmp_path: Path) -> None:
    for word in ("../GSE1", "gse1", "GSE", "GSM12", "GSE1/../..", "GSE0001"):
        answer = g2v("geo", "fetch", word, "--store", tmp_path / "store")
        assert answer.code == 2
        assert "accessions such as GSE55235" in answer.err


def test_cli_fetch__then_ingest(geo: Geo, tmp_path: Path, address: str) -> None:
    simple(geo)
    geo.series("GSE164073", parts.empty("GSE164073"), platforms=("GPL16791",))
    geo.counts["GSE164073"] = {parts.COUNTS: parts.counts(rows=20_000), parts.GENES: parts.genes()}
    store = tmp_path / "store"
    assert g2v("geo", "fetch", "GSE55235", "GSE164073", "--store", store, *geo.flags).code == 0
    given = inputs(open_folder(store) / "geo")
    done = g2v("ingest", *given.files, "--platforms", given.platforms, "--store", store, "--cluster", address, "--json")
    assert done.code == 0, done.err
    rows = json.loads(g2v("ls", "expression", "--store", store, "--json").out)
    sizes = {row["name"]: row["size"] for row in rows}
    assert sizes["GSE55235"].startswith("30 samples, 12,")
    assert sizes[parts.COUNTS.removesuffix(".tsv.gz")].startswith("31 samples, 18,")
