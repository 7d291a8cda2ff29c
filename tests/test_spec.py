from pathlib import Path

import pytest

from g2v_dask.errors import SpecError
from g2v_dask.options import check_name
from g2v_dask.spec import ClusterSpec, IngestSpec, MergeSpec, PairsSpec, RunSpec, TrainSpec, expand_files


def test_build__unknown_key_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"unknown key 'treshold'; did you mean 'threshold'\?"):
        PairsSpec.build({"treshold": 0.8})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": "high"}, "threshold must be a number, got 'high'"),
        ({"threshold": 1.5}, "threshold must be from -1.0 to 1.0, got 1.5"),
        ({"threshold": float("nan")}, "threshold must be from"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": True}, "top_k must be a whole number, got True"),
        ({"top_k": 5, "threshold": 0.5}, "exclude each other"),
        ({"top_k_rule": "mutal"}, "did you mean 'mutual'"),
        ({"datasets": [1]}, "must be a list of texts"),
    ],
)
def test_build__wrong_value_is_one_clear_error(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        PairsSpec.build(values)


def test_build__threshold_of_zero_is_kept() -> None:
    assert PairsSpec.build({"threshold": 0}).threshold == 0.0
    assert PairsSpec.build({}).threshold == 0.9
    assert PairsSpec.build({"top_k": 3}).threshold is None


def test_build__missing_key_is_named() -> None:
    with pytest.raises(SpecError, match="ingest: files must be given"):
        IngestSpec.build({})


def test_build__relative_paths_start_at_the_spec_file() -> None:
    spec = IngestSpec.build({"files": ["a/*.gz", "/b"], "platforms": "p"}, base=Path("/x"))
    assert spec.files == ("/x/a/*.gz", "/b")
    assert spec.platforms == "/x/p"


def test_as_json__is_the_same_spec_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    kept = IngestSpec(files=("a/*.gz", "s3://b/c"), platforms="../tables").as_json()
    monkeypatch.chdir(tmp_path)
    again = IngestSpec.build(kept)
    assert again.files == (str(tmp_path / "here" / "a" / "*.gz"), "s3://b/c")
    assert again.platforms == str(tmp_path / "tables")


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "", "a..b", "a b", "x" * 201, "-/"])
def test_check_name__refuses_what_is_no_folder_of_ours(name: str) -> None:
    with pytest.raises(SpecError, match="a name is made of"):
        check_name(name)


def test_select__leaves_out_what_another_method_uses() -> None:
    assert "shift" not in TrainSpec(name="e").select("identity")
    svd = TrainSpec(name="e", method="svd").select("identity")
    assert "shift" in svd
    assert "iterations" not in svd


def test_limits__are_not_identity() -> None:
    assert "max_pairs" not in PairsSpec().select("identity")
    assert PairsSpec().select("limit") == {"max_pairs": 20_000_000}


def test_ingest__samples_need_a_group() -> None:
    with pytest.raises(SpecError, match="group-by"):
        IngestSpec(files=("x",), samples="s.tsv")


def spec_file(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_run_spec__orders_stages_and_repeats_arrays(tmp_path: Path) -> None:
    text = """
store = "s"
[[train]]
name = "b"
[[train]]
name = "a"
[pairs]
top_k = 3
[cluster]
workers = 1
"""
    spec = RunSpec.load(spec_file(tmp_path, text))
    assert spec.store == str(tmp_path / "s")
    assert spec.cluster == ClusterSpec(workers=1)
    assert [(s.stage, s.values.get("name")) for s in spec.steps] == [
        ("pairs", None),
        ("train", "b"),
        ("train", "a"),
    ]


def test_run_spec__for_each_dataset_fills_names(tmp_path: Path) -> None:
    text = """
store = "s"
[[merge]]
for_each = "dataset"
name = "only-{dataset}"
datasets = ["{dataset}"]
"""
    (step,) = RunSpec.load(spec_file(tmp_path, text)).steps
    assert list(step.specs(["x", "y"])) == [
        ("x", MergeSpec(name="only-x", datasets=("x",))),
        ("y", MergeSpec(name="only-y", datasets=("y",))),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store = 's'\n[piars]\n", r"unknown key 'piars'; did you mean 'pairs'\?"),
        ("store = 3\n", "store must be a text"),
        ("[pairs]\n", "store must be a text"),
        ("store = 's'\n[[ingest]]\nfiles = ['a']\n", "ingest must be one table"),
        ("store = 's'\n[pairs]\ntop_k = 'many'\n", "top_k must be a whole number"),
        ("store = 's'\npairs = 3\n", "pairs must be a table"),
        ("store = 's'\n[merge]\nfor_each = 'tissue'\n", "for_each must be 'dataset'"),
        ("store = 's'\n[cluster]\nworkers = 0\n", "workers must be at least 1"),
        ("store = \n", "is not a TOML file"),
    ],
)
def test_run_spec__bad_files_are_refused_before_any_work(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RunSpec.load(spec_file(tmp_path, text))


def test_run_spec__missing_file() -> None:
    with pytest.raises(SpecError, match="no such spec file"):
        RunSpec.load("/nowhere/run.toml")


def test_expand_files__patterns_and_what_is_not_there(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).touch()
    assert expand_files([f"{tmp_path}/*.txt", f"{tmp_path}/a.txt"]) == (
        tmp_path / "a.txt",
        tmp_path / "b.txt",
    )
    with pytest.raises(SpecError, match="no such file"):
        expand_files([f"{tmp_path}/*.gct"])
    with pytest.raises(SpecError, match="is a folder"):
        expand_files([str(tmp_path)])
