"""The run loop on real workers, with a stage made for it (tests/toy.py)."""

from pathlib import Path

import pytest

from g2v_dask import driver, parts
from g2v_dask.cluster import Cluster, connect
from g2v_dask.driver import Summary
from g2v_dask.errors import BudgetError, G2VError, SpecError
from g2v_dask.folders import read_json, write_json
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec
from g2v_dask.store import Store
from tests import toy
from tests.toy import Toy

QUIET = Display(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


def drive(store: Store, cluster: Cluster, spec: Toy) -> Summary:
    return driver.drive(toy, toy.plan(store, spec), store, cluster, QUIET)


def test_drive__rounds_commit_and_then_fresh(store: Store, cluster: Cluster) -> None:
    first = drive(store, cluster, Toy())
    assert (first.made, first.parts_run, first.exit_code) == (["toy"], 5, 0)
    artifact = store.get("pairs", "toy")
    assert (artifact.path / "data.txt").read_text() == "14"
    assert [f["path"] for f in artifact.manifest["files"]] == ["data.txt"]
    assert not (artifact.path / "numbers" / "0.txt").exists()  # no receipt of the last round names it
    assert not store.work(artifact.digest).desk.exists()
    again = drive(store, cluster, Toy())
    assert (again.made, again.fresh, again.parts_run) == ([], ["toy"], 0)


def test_drive__a_changed_plan_replaces(store: Store, cluster: Cluster) -> None:
    drive(store, cluster, Toy())
    assert drive(store, cluster, Toy(parts=3)).replaced == ["toy"]
    back = drive(store, cluster, Toy())  # the first result is still there; only HEAD moves
    assert (back.fresh, back.parts_run) == (["toy"], 0)
    assert store.get("pairs", "toy").facts["sum"] == 14


def test_drive__an_input_error_quarantines_and_stands_until_something_changes(store: Store, cluster: Cluster) -> None:
    refused = drive(store, cluster, Toy(fault="refuse"))
    reason = "expected four legs, got three; count again"
    assert refused.quarantined == [{"name": "toy", "reason": reason}]
    assert refused.exit_code == 3
    assert store.quarantined()[0]["reason"] == reason
    assert not toy.target(Toy()).folder(store).desk.exists()
    standing = drive(store, cluster, Toy())
    assert (standing.parts_run, standing.exit_code) == (0, 3)
    changed = drive(store, cluster, Toy(parts=3))
    assert (changed.made, changed.exit_code) == (["toy"], 0)
    assert store.quarantined() == []


def test_drive__what_a_refused_target_still_writes_goes(store: Store, cluster: Cluster) -> None:
    """Its other parts are under way when one refuses, and write after that."""
    refused = drive(store, cluster, Toy(fault="refuse", seconds=0.5))
    assert (len(refused.quarantined), refused.parts_run) == (1, 0)
    assert not toy.target(Toy()).folder(store).desk.exists()
    assert not store.work(toy.target(Toy()).digest).desk.exists()


def test_drive__another_error_fails_the_run_but_keeps_what_is_done(store: Store, cluster: Cluster) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        drive(store, cluster, Toy(fault="crash", parts=4))
    assert store.names("pairs") == []
    healed = drive(store, cluster, Toy())
    assert healed.parts_resumed >= 1
    assert healed.parts_run + healed.parts_resumed == 5


def test_drive__a_killed_worker_costs_only_its_part(store: Store, cluster: Cluster, tmp_path: Path) -> None:
    with connect(ClusterSpec(workers=2, memory_bytes=1 << 30)) as own:
        summary = drive(store, own, Toy(fault="die", mark=str(tmp_path / "died"), seconds=0.1))
    assert (tmp_path / "died").exists()
    assert (summary.made, summary.parts_run) == (["toy"], 5)


def test_drive__a_part_that_cannot_fit_is_named_before_any_work(store: Store, cluster: Cluster) -> None:
    with pytest.raises(BudgetError, match=r"toy of part 0 needs 1000.00 GB, but .* has 3.98 GB"):
        drive(store, cluster, Toy(bytes=10**12))
    assert not store.work(toy.target(Toy()).digest).names()


def test_drive__a_lost_file_is_made_again(store: Store, cluster: Cluster) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        drive(store, cluster, Toy(fault="crash"))
    target = toy.target(Toy())
    kept = parts.receipts(store, target, 0, target.parts)
    number = min(kept)
    (target.folder(store).desk / kept[number]["files"][0]["path"]).unlink()
    assert drive(store, cluster, Toy()).parts_resumed == len(kept) - 1
    assert store.get("pairs", "toy").facts["sum"] == 14


def test_execute__ends_quietly_when_another_run_owns_the_work(store: Store) -> None:
    target = toy.target(Toy())
    write_json(store.work(target.digest), parts.OWNER, {"token": "newer"})
    answer = parts.execute(toy.run_part, store, target, 0, target.parts[0], "older")
    assert answer == {"state": "superseded"}
    assert not target.folder(store).desk.exists()


def test_here__needs_no_cluster(store: Store) -> None:
    summary = driver.here(toy, toy.plan(store, Toy()), store)
    assert (summary.made, summary.parts_run) == (["toy"], 5)
    assert store.get("pairs", "toy").facts["sum"] == 14


def test_preview__says_parts_memory_and_state(store: Store) -> None:
    plan = toy.plan(store, Toy())
    row = {"stage": "toy", "name": "toy", "parts": 4, "bytes": 1000}
    assert list(driver.preview(plan, store)) == [{**row, "state": "todo"}]
    driver.here(toy, plan, store)
    assert list(driver.preview(plan, store)) == [{**row, "state": "fresh"}]


def test_manifest__records_the_making(store: Store, cluster: Cluster) -> None:
    drive(store, cluster, Toy())
    manifest = read_json(store.get("pairs", "toy").folder, "manifest.json")
    assert manifest is not None
    assert set(manifest["made"]) >= {"at", "versions", "blas", "host", "part_seconds"}
    assert len(manifest["made"]["blas"]) == 1


def test_connect__unreachable_scheduler_and_wrong_address() -> None:
    with (
        connect(ClusterSpec(address="tcp://127.0.0.1:9")) as there,
        pytest.raises(G2VError, match="no scheduler answers"),
    ):
        _ = there.client
    with pytest.raises(SpecError, match="must be local, slurm"):
        ClusterSpec(address="localhost")
