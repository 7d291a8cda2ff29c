"""Every command with something wrong in it: one message, exit 2 (3: quarantined), and nothing half written."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from g2v_dask.store import Store
from tests import made
from tests.faults import runs
from tests.shell import g2v

SYMBOLS = sorted(["ACTB", "CD3E", "CD3D", "HLA-A", "RPL3", "RPL4", "TP53", "EGFR", "MYC", "GAPDH", "MS4A1", "CD19"])
TEXTS = {
    "good.tsv": "gene\t" + "\t".join(f"S{i}" for i in range(30)) + "\nTP53" + "\t7.5" * 30 + "\n",
    "html.tsv": "<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "empty.tsv": "",
    "key.toml": 'store = "store"\n[pairs]\ntreshold = 0.5\n',
    "half.toml": 'store = "store"\n[pairs\n',
    "type.toml": 'store = "store"\n[pairs]\ntop_k = "many"\n',
    "stage.toml": 'store = "store"\n[paris]\n',
    "storeless.toml": "[pairs]\n",
    "one.pairs": "CD3E CD3D\nTP53\n",
    "strange.pairs": "CD3E NOSUCHGENE\n",
    "none.pairs": "# no pair at all\n",
    "genes.txt": "NOSUCHGENE\n",
    "sets.gmt": "only a name\n",
    "vectors.txt": "2 3\nTP53 0.1 0.2 0.3\nEGFR 0.1 x 0.3\n",
    "short.txt": "2 3\nTP53 0.1 0.2 0.3\n",
    "vectors.xyz": "TP53 0.1\n",
}

# of each case: the command, with {d} the folder of the texts and {s} the store, and what its message says
BAD = {
    "no command": ("nosuch", "nosuch"),
    "ingest: no file named": ("ingest --store {new}", "FILES"),
    "ingest: absent file": ("ingest {d}/absent.tsv --store {new}", "no such file"),
    "ingest: folder": ("ingest {d} --store {new}", "is a folder"),
    "ingest: two of one name": ("ingest {d}/good.tsv {d}/sub/good.tsv --store {new}", "two inputs"),
    "ingest: prefix leads out": ("ingest {d}/good.tsv --store {new} --name-prefix ../", "name-prefix"),
    "ingest: samples without group": ("ingest {d}/good.tsv --store {new} --samples {d}/good.tsv", "group-by"),
    "ingest: too few samples wanted": ("ingest {d}/good.tsv --store {new} --min-samples 1", "min_samples must be"),
    "ingest: absent gene table": ("ingest {d}/good.tsv --store {new} --genes {d}/absent.gz", "absent.gz"),
    "ingest: absent platforms": ("ingest {d}/good.tsv --store {new} --platforms {d}/absent", "absent"),
    "pairs: no store named": ("pairs", "--store"),
    "pairs: threshold over 1": ("pairs --store {s} --threshold 1.5", "from -1.0 to 1.0"),
    "pairs: threshold is no number": ("pairs --store {s} --threshold high", "'high'"),
    "pairs: threshold is NaN": ("pairs --store {s} --threshold nan", "threshold"),
    "pairs: threshold and top-k": ("pairs --store {s} --threshold 0.5 --top-k 3", "exclude"),
    "pairs: top-k 0": ("pairs --store {s} --top-k 0", "top_k must be"),
    "pairs: max-pairs 0": ("pairs --store {s} --max-pairs 0", "max_pairs must be"),
    "pairs: unknown dataset": ("pairs --store {s} --datasets aa", "did you mean 'a'"),
    "pairs: no dataset": ("pairs --store {s} --datasets ,", "at least one dataset"),
    "pairs: unknown option": ("pairs --store {s} --treshold 1", "--threshold"),
    "pairs: strange cluster": ("pairs --store {s} --top-k 2 --cluster yarn", "yarn"),
    "pairs: no workers": ("pairs --store {s} --cluster-workers 0", "workers"),
    "pairs: report in no folder": ("pairs --store {s} --report {d}/no/r.html", "report must be a file"),
    "merge: unknown dataset": ("merge --store {s} --datasets nosuch", "no pairs named 'nosuch'"),
    "merge: name with a slash": ("merge --store {s} --name a/b", "a name is made of"),
    "cooccur: no name": ("cooccur --store {s}", "name"),
    "cooccur: no counts": ("cooccur --store {s} --name x --datasets a", "counted in reads"),
    "cooccur: weights": ("cooccur --store {s} --name x --weights tpm", "log1p"),
    "train: method": ("train --store {s} --method glovve", "skipgram"),
    "train: unknown matrix": ("train --store {s} --from alll", "did you mean 'all'"),
    "train: no components": ("train --store {s} --components 0", "components"),
    "train: negative seed": ("train --store {s} --seed -1", "seed"),
    "train: learning rate 0": ("train --store {s} --learning-rate 0", "learning_rate must be"),
    "train: name leads out": ("train --store {s} --name ../x", "a name is made of"),
    "index: unknown embedding": ("index --store {s} --name w", "no embeddings named 'w'"),
    "index: empty shards": ("index --store {s} --shard-rows 0", "shard_rows must be"),
    "kmeans: k 0": ("kmeans --store {s} -k 0", "k must be"),
    "kmeans: more groups than genes": ("kmeans --store {s} -k 99", "99"),
    "kmeans: no such group": ("kmeans --store {s} -k 3 --show 4", "no group 4"),
    "kmeans: absent sets": ("kmeans --store {s} -k 3 --genesets {d}/absent.gmt", "absent.gmt"),
    "kmeans: broken sets": ("kmeans --store {s} -k 3 --genesets {d}/sets.gmt", "sets.gmt"),
    "map: method": ("map --store {s} --method mds", "umap"),
    "map: colour without picture": ("map --store {s} --colour biotype", "--figure"),
    "map: picture format": ("map --store {s} --method pca --figure {d}/x.gif", ".gif"),
    "map: min-dist over 1": ("map --store {s} --method umap --min-dist 2", "min_dist must be"),
    "similar: no gene": ("similar --store {s}", "at least one GENE"),
    "similar: gene and best": ("similar TP53 --best --store {s}", "without one"),
    "similar: unknown gene": ("similar NOSUCHGENE --store {s}", "NOSUCHGENE"),
    "similar: k 0": ("similar TP53 -k 0 --store {s}", "k must be"),
    "similar: unknown embedding": ("similar TP53 --name vv --store {s}", "did you mean 'v'"),
    "similar: absent list": ("similar TP53 --genes {d}/absent.txt --store {s}", "absent.txt"),
    "similar: list of strangers": ("similar TP53 --genes {d}/genes.txt --store {s}", "NOSUCHGENE"),
    "similar: biotype": ("similar TP53 --biotype protein --store {s}", "protein"),
    "similar: ceiling over 1": ("similar TP53 --ceiling 2 --store {s}", "ceiling"),
    "pair: twice the same gene": ("analogy pair TP53 TP53 --store {s}", "TP53"),
    "pair: unknown gene": ("analogy pair TP53 NOSUCHGENE --store {s}", "NOSUCHGENE"),
    "pair: metric": ("analogy pair TP53 EGFR --metric cosinus --store {s}", "cosine"),
    "gene: unknown gene": ("analogy gene NOSUCHGENE --store {s}", "NOSUCHGENE"),
    "gene: no groups": ("analogy gene TP53 --groups 0 --store {s}", "groups"),
    "solve: two genes": ("analogy solve TP53 EGFR --store {s}", "'C'"),
    "solve: k negative": ("analogy solve TP53 EGFR MYC -k -3 --store {s}", "k must be"),
    "best: k 0": ("analogy best -k 0 --store {s}", "k must be"),
    "best: quantile": ("analogy best --min-difference 1.5 --store {s}", "min_difference must be"),
    "batch: absent file": ("analogy batch {d}/absent.pairs --store {s}", "absent.pairs"),
    "batch: one gene in a line": ("analogy batch {d}/one.pairs --store {s}", "line 2"),
    "batch: unknown gene": ("analogy batch {d}/strange.pairs --store {s}", "NOSUCHGENE"),
    "batch: nothing asked": ("analogy batch {d}/none.pairs --store {s}", "none.pairs"),
    "ask: unknown embedding": ("ask --store {s} --name vv --session {d}/m --history {d}/h", "did you mean 'v'"),
    "stability: one embedding": ("stability v --store {s}", "two"),
    "stability: nothing": ("stability --store {s}", "--runs"),
    "stability: k is no number": ("stability v w --store {s} -k ten", "whole numbers"),
    "stability: one run": ("stability --runs 1 --store {s}", "runs"),
    "export: format": ("export {d}/x.docx --store {s}", ".docx"),
    "export: no such folder": ("export {d}/no/x.txt --store {s}", "no/x.txt"),
    "import: absent file": ("import {d}/absent.txt --store {s} --name e", "absent.txt"),
    "import: format": ("import {d}/vectors.xyz --store {s} --name e", ".xyz"),
    "import: text among numbers": ("import {d}/vectors.txt --store {s} --name e", "'x'"),
    "import: fewer rows than said": ("import {d}/short.txt --store {s} --name e", "short.txt"),
    "import: no name": ("import {d}/vectors.txt --store {s}", "name must be given"),
    "ls: unknown kind": ("ls pears --store {s}", "did you mean 'pairs'"),
    "show: no kind": ("show v --store {s}", "KIND/NAME"),
    "show: leads out": ("show pairs/.. --store {s}", "a name is made of"),
    "rm: unknown": ("rm pairs/nosuch --store {s}", "no pairs named"),
    "gc: hours": ("gc --store {s} --young-hours soon", "'soon'"),
    "verify: unknown option": ("verify --store {s} --depe", "--dep"),
    "run: absent spec": ("run {d}/absent.toml", "no such spec file"),
    "run: not TOML": ("run {d}/half.toml", "is not a TOML file"),
    "run: unknown key": ("run {d}/key.toml", "did you mean 'threshold'"),
    "run: unknown stage": ("run {d}/stage.toml", "did you mean 'pairs'"),
    "run: no store": ("run {d}/storeless.toml", "store must be"),
    "plan: wrong type": ("plan {d}/type.toml", "top_k must be"),
    "geo: unknown command": ("geo serach", "serach"),
    "geo: least samples": ("geo search --min-samples 0", "min_samples must be"),
    "geo: date": ("geo search --since yesterday", "since must be a date"),
    "geo: nothing to fetch": ("geo fetch --store {new}", "name series"),
    "geo: no accession": ("geo fetch GSX1 --store {new}", "GSX1"),
    "reprocess: not TOML": ("reprocess {d}/half.toml", "is not a TOML file"),
    "reprocess: no table": ("reprocess {d}/key.toml", "did you mean 'threshold'"),
    "store: half an address": ("ls --store s3://", "s3://bucket/prefix"),
    "reprocess: absent spec": ("reprocess {d}/absent.toml", "absent.toml"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, address: str) -> Path:
    """A folder with texts, and a store that holds one of everything."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "sub").mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    (folder / "sub" / "good.tsv").write_text(TEXTS["good.tsv"])
    store = Store.open(folder / "store", create=True)
    for seed, name in enumerate("abc"):
        made.expression(store, name, made.correlated(30, 12, seed=seed, groups=2), SYMBOLS)
    where = ("--store", folder / "store", "--cluster", address, "-q")
    for words in ("pairs --top-k 3", "merge", "train --name v --method svd --components 4", "index"):
        answer = g2v(*words.split(), *where)
        assert answer.code == 0, answer.err
    return folder


@pytest.mark.parametrize("case", BAD)
def test_commands__say_what_is_wrong_and_change_nothing(
    place: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, said = BAD[case]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    before = runs.files(place)
    answer = g2v(*line.format(d=place, s=place / "store", new=place / "new").split())
    assert answer.code == 2, answer
    assert answer.out == ""
    assert said in message(answer.err)
    after = runs.files(place)
    assert after.keys() == before.keys()
    assert after == before
    assert not (place / "new").exists()


def message(err: str) -> str:
    """The one message: a line of ours, or click's usage error in its usual form."""
    lines = [line for line in err.splitlines() if line.strip()]
    if lines[0].startswith("Usage: "):
        lines = [line for line in lines if not line.startswith(("Usage: ", "Try "))]
        assert lines[0].startswith("Error: "), err
        return " ".join(lines)  # a long one is broken
    assert len(lines) == 1, err
    assert lines[0].startswith("g2v: "), err
    assert not lines[0].startswith("g2v: failed: "), err  # what nobody foresaw
    return lines[0]


@pytest.mark.parametrize(("name", "said"), [("html.tsv", "HTML"), ("empty.tsv", "empty.tsv"), ("good.tsv", "gene")])
def test_ingest__a_file_that_cannot_be_used_is_quarantined(
    tmp_path: Path, address: str, place: Path, name: str, said: str
) -> None:
    answer = g2v("ingest", place / name, "--store", tmp_path / "s", "--cluster", address, "-q")
    assert answer.code == 3, answer.err
    (record,) = Store.open(tmp_path / "s").quarantined()
    assert said in record["reason"]
    assert sorted(runs.files(tmp_path / "s")) == [f".quarantine/expression/{record['name']}.json", "g2v.json"]


def test_pairs__a_dataset_with_too_many_is_quarantined(place: Path, address: str, tmp_path: Path) -> None:
    store = Path(shutil.copytree(place / "store", tmp_path / "s"))
    answer = g2v("pairs", "--store", store, "--threshold", "-1", "--max-pairs", 5, "--cluster", address, "-q")
    assert answer.code == 3
    assert len(Store.open(store).quarantined()) == 3
    assert not runs.half_written(store)


def test_table__holds_every_command() -> None:
    assert np.unique([line.split()[0] for line, _ in BAD.values()]).size >= 22
