"""A grid on a real cluster: trained, judged, chosen, resumed; the cells of the restart schedule are one run."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from g2v_dask import arrays, driver
from g2v_dask.errors import G2VError, InputError, SpecError
from g2v_dask.flows import tune
from g2v_dask.progress import Display
from g2v_dask.report.tuned import Tuned
from g2v_dask.spec import ClusterSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import merge, pairs, train
from g2v_dask.store import Store
from g2v_dask.tune_spec import TuneSpec
from tests import made
from tests.evaluation import subjects

GENES = subjects.symbols(90).tolist()
GROUPS = 6
NOWHERE = ClusterSpec(address="tcp://127.0.0.1:9")  # no scheduler: whoever asks for a cluster fails
QUIET = Display(quiet=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two co-occurrences, and gene sets: the modules that were planted in the expression."""
    folder = tmp_path_factory.mktemp("tune")
    store = Store.open(folder / "store", create=True)
    drawn = np.random.default_rng([7])
    module = drawn.integers(0, GROUPS, len(GENES))
    for name in "abc":
        drivers = drawn.normal(size=(40, GROUPS))
        values = drivers[:, module] + drawn.normal(size=(40, len(GENES)))
        made.expression(store, name, values, GENES)
    for top_k, name in ((5, "few"), (15, "all")):
        for stage, spec in ((pairs, PairsSpec(top_k=top_k)), (merge, MergeSpec(name=name))):
            driver.here(stage, stage.plan(store, spec), store)
    sets = {f"module {g}": [GENES[i] for i in np.flatnonzero(module == g)] for g in range(GROUPS)}
    subjects.write_gmt(folder / "modules.gmt", sets)
    return folder


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "f")
    return tmp_path / "f"


@pytest.fixture
def here(address: str) -> ClusterSpec:
    return ClusterSpec(address=address)


def spec_of(folder: Path, given: dict[str, Any], **evaluate: Any) -> TuneSpec:
    own = {"from": "all", "min_count": 1}
    fixed = {key: value for key, value in own.items() if key not in given.get("grid", {})}
    table = {
        "store": "store",
        "tune": {"name": "t", "choose": "clusteredness mean z", **fixed, **given},
        "evaluate": {"tasks": ["clusteredness"], "genesets": ["modules.gmt"], "bootstrap": 50, **evaluate},
    }
    return TuneSpec.build(table, base=folder)


def run(spec: TuneSpec, cluster: ClusterSpec) -> Tuned:
    return tune.run(spec, cluster=cluster, display=QUIET)


RESTART = {"schedule": "restart", "grid": {"components": [4, 8], "iterations": [1, 3]}}


def test_run__restart_trains_each_dimension_once(folder: Path, here: ClusterSpec) -> None:
    found = run(spec_of(folder, RESTART), here)
    trained, judged = found.stages
    assert sorted(trained.made) == sorted(judged.made) == ["t-c4-i1", "t-c4-i3", "t-c8-i1", "t-c8-i3"]
    assert trained.parts_run == 2 + 4  # two runs, and their four results
    store = Store.open(folder / "store")
    assert store.get("embeddings", "t-c8-i3").facts["parameters"]["iterations"] == 3
    for cell in found.cells:
        (one,) = cell.runs
        path = store.get("evaluations", one.embedding).path / "data.parquet"
        rows = [r for r in pq.read_table(path).to_pylist() if r["metric"] == "mean z"]
        assert [cell.value] == [r["value"] for r in rows]
        assert cell.interval == (rows[0]["low"], rows[0]["high"])
        assert one.coverage == 1.0
    assert found.best.value == max(cell.value for cell in found.cells)
    assert found.exit_code == 0

    again = run(spec_of(folder, RESTART), NOWHERE)
    assert [s.parts_run for s in again.stages] == [0, 0]
    assert again.as_json()["cells"] == found.as_json()["cells"]


def test_run__restart_gives_the_vectors_of_runs_of_their_own(folder: Path, here: ClusterSpec) -> None:
    run(spec_of(folder, RESTART), here)
    store = Store.open(folder / "store")
    ours = store.get("embeddings", "t-c8-i1")
    shutil.copytree(ours.path, folder / "ours")
    shutil.rmtree(ours.path)
    alone = TrainSpec(name="t-c8-i1", source="all", components=8, iterations=1, min_count=1, schedule="restart")
    driver.here(train, train.plan(store, alone), store)
    assert store.get("embeddings", "t-c8-i1").digest == ours.digest
    assert made.data_files(ours.path) == made.data_files(folder / "ours")


def test_run__continuous_trains_each_cell_for_itself(folder: Path, here: ClusterSpec) -> None:
    grid = {"components": [4], "iterations": [1, 3]}
    found = run(spec_of(folder, {"grid": grid}), here)
    assert found.stages[0].parts_run == 2
    run(spec_of(folder, {"name": "r", "grid": grid, "schedule": "restart"}), here)
    store = Store.open(folder / "store")
    losses = {name: store.get("embeddings", name).facts["losses"] for name in ("t-c4-i3", "r-c4-i3")}
    assert len(losses["t-c4-i3"]) == 3
    assert losses["t-c4-i3"] != losses["r-c4-i3"]


def test_run__any_grid_and_seeds_averaged(folder: Path, here: ClusterSpec) -> None:
    grid = {"from": ["few", "all"], "power": [0, 1]}
    found = run(spec_of(folder, {"method": "svd", "components": 4, "seeds": 2, "grid": grid}), here)
    assert [cell.at for cell in found.cells] == [
        {"from": source, "power": power} for source in ("few", "all") for power in (0, 1)
    ]
    assert found.best.value == max(cell.value for cell in found.cells) > 3  # the modules are found again
    names = [[one.embedding for one in cell.runs] for cell in found.cells]
    assert names[0] == ["t-few-power0", "t-few-power0-seed2"]
    for cell in found.cells:
        assert cell.value == pytest.approx(sum(one.value for one in cell.runs) / 2)
        assert cell.range == (min(r.value for r in cell.runs), max(r.value for r in cell.runs))
    store = Store.open(folder / "store")
    assert store.get("embeddings", "t-few-power0").facts["cooccurrence"]["name"] == "few"
    assert [store.get("embeddings", n).facts["parameters"]["seed"] for n in names[0]] == [1, 2]


def test_run__cell_that_cannot_be_trained_or_judged_says_why(folder: Path, here: ClusterSpec) -> None:
    store = Store.open(folder / "store")
    matrix = arrays.Cooccurrence(store.get("cooccurrence", "all").folder).read(0, 0)
    median = int(np.median(matrix.sum(axis=0)))
    given = {"components": 4, "iterations": 1, "grid": {"min_count": [1, median, 9999]}}
    found = run(spec_of(folder, given, least_coverage=0.9), here)
    kept = store.get("embeddings", f"t-min_count{median}").facts["genes"]
    assert 0 < kept < 0.9 * len(GENES)
    assert [cell.why.split(";")[0] for cell in found.cells] == [
        "",
        f"clusteredness: t-min_count{median} has {100 * kept / len(GENES):.1f} % of its genes, "
        f"less than least-coverage = 0.9",
        "train: no gene is in at least min-count 9999 pairs",
    ]
    assert [math.isnan(cell.value) for cell in found.cells] == [False, True, True]
    assert found.best is found.cells[0]
    assert found.exit_code == 3
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["chosen"]["at"] == {"min_count": 1}
    assert told["cells"][2]["value"] is None


def test_run__goes_on_after_a_stop(folder: Path, here: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tune.evaluate.plan

    def stopped(store: Store, spec: Any) -> Any:
        if spec.name == "t-c8-i1":
            raise KeyboardInterrupt
        return plan(store, spec)

    with monkeypatch.context() as patch:
        patch.setattr(tune.evaluate, "plan", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(spec_of(folder, RESTART), here)
    found = run(spec_of(folder, RESTART), here)
    assert (found.stages[0].parts_run, len(found.stages[1].made)) == (0, 4)


@pytest.mark.parametrize(
    ("given", "evaluate", "message"),
    [
        ({"from": "other"}, {}, "no cooccurrence named 'other'"),
        ({}, {"genesets": ["none.gmt"]}, "no such file: .*none.gmt"),
        ({}, {"tasks": ["clusteredness", "neighbours"], "beside": ["e"]}, "no embeddings named 'e'"),
        ({}, {"common": ["e"]}, "no embeddings named 'e'"),
        ({}, {"tasks": ["clusteredness", "tissue"]}, "tissue is told by read counts, and no dataset here has any"),
    ],
)
def test_run__what_is_not_there_is_found_before_any_work(
    folder: Path, given: dict[str, Any], evaluate: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        run(spec_of(folder, {**RESTART, **given}, **evaluate), NOWHERE)
    assert Store.open(folder / "store").names("embeddings") == []


def test_run__a_missing_library_is_found_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(folder, RESTART, tasks=["clusteredness", "interaction"], pairs=str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'g2v_dask\[torch\]'"):
        run(spec, NOWHERE)
    assert Store.open(folder / "store").names("embeddings") == []


def test_run__figure_of_a_task_that_is_passed_over(folder: Path, here: ClusterSpec) -> None:
    """The modules are too small to be predicted; nobody named the task."""
    given = {"method": "svd", "grid": {"components": [4]}, "choose": "prediction auroc"}
    with pytest.raises(InputError, match="no cell has 'prediction auroc'; t-c4: no set has 20 to 200 genes"):
        run(spec_of(folder, given, tasks=[]), here)


def test_run__figure_that_no_cell_has(folder: Path, here: ClusterSpec) -> None:
    given = {"method": "svd", "grid": {"components": [4]}, "choose": "clusteredness mean x"}
    spec = spec_of(folder, given)
    with pytest.raises(
        InputError, match=r"no cell has 'clusteredness mean x'; t-c4: no figure is .* mean z on modules"
    ):
        run(spec, here)


def test_run__figure_of_a_test_set_never_chooses(folder: Path, here: ClusterSpec) -> None:
    """Also where its name does not say so."""
    (folder / "modules.gmt").rename(folder / "test.gmt")
    given = {"method": "svd", "grid": {"components": [4]}}
    with pytest.raises(G2VError, match="clusteredness mean z is a figure of a test set, which must not choose"):
        run(spec_of(folder, given, genesets=["test.gmt"]), here)
