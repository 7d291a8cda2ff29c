"""From a store to figures on a cluster: done once, found again, read as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2v_dask.errors import InputError, SpecError
from g2v_dask.flows import evaluate
from g2v_dask.progress import Display
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.spec import ClusterSpec, EvaluateSpec
from g2v_dask.store import Store
from tests import stores
from tests.judged import GENES, curves, figure
from tests.judged import evaluation as commit

QUIET = Display(quiet=True)
NOWHERE = ClusterSpec(address="tcp://127.0.0.1:9")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two embeddings of 120 genes; in the second some genes lie elsewhere."""
    there = stores.empty(tmp_path / "s")
    genes = [f"G{i:03d}" for i in range(120)]
    vectors = np.random.default_rng(0).normal(size=(120, 6))
    stores.embedding(there, "one", genes, vectors)
    vectors[:20] = np.random.default_rng(1).normal(size=(20, 6))
    stores.embedding(there, "two", genes, vectors)
    return there


def judged(store: Store, cluster: ClusterSpec, **more: Any) -> Evaluated:
    spec = EvaluateSpec(name="one", tasks=("neighbours",), beside=("two",), bootstrap=50, baselines=True)
    return evaluate.run(store.root.url, spec, cluster=cluster, display=QUIET, **more)


def test_run__judges_on_the_cluster_and_finds_it_again(store: Store, address: str) -> None:
    found = judged(store, ClusterSpec(address=address))
    assert found.tasks == ["neighbours"]
    assert found.artifact.key == "evaluations/one"
    assert found.digest == store.get("embeddings", "one").digest
    kept = next(f for f in found.figures if f["metric"] == "kept of 10" and not f["baseline"])
    assert 0.4 < kept["low"] < kept["value"] < kept["high"] < 1
    assert any(f["baseline"] == "baseline" for f in found.figures)
    assert "neighbours-neighbours" in found.tables
    assert len(found.rows("neighbours-neighbours")) == 20
    assert found.rows("no-such") == []
    again = judged(store, NOWHERE)  # all is there: no cluster is asked for
    assert again.as_json() == found.as_json()


def test_run__a_picture_that_cannot_be_drawn_is_refused_before_any_work(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"interaction, which is not asked \(but neighbours\); give --pairs"):
        judged(store, NOWHERE, figure=tmp_path / "roc.png")
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file"):
        judged(store, NOWHERE, figure=tmp_path / "roc.gif")
    assert store.names("evaluations") == []


def test_run__what_quarantines_it_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        return type("Summary", (), {"quarantined": [{"name": "one", "reason": "no gene of it"}]})

    monkeypatch.setattr(evaluate, "made", refused)
    with pytest.raises(InputError, match="no gene of it"):
        judged(store, NOWHERE)


def test_draw__writes_the_curves(store: Store, tmp_path: Path) -> None:
    embedding = stores.embedding(store, "genes", GENES, np.eye(40))
    figures = [figure("interaction", "auc", 0.75, model="cosine", on="test")]
    tables = {"interaction-curves": curves(shift={"cosine": 1.0})}
    found = evaluate.read(commit(store, "genes", embedding, figures, tables=tables))
    evaluate.draw(found, tmp_path / "roc.svg")
    assert (tmp_path / "roc.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(InputError, match="cannot write the report"):
        evaluate.draw(found, tmp_path / "roc.svg" / "roc.png")
