"""Gene-gene interaction, whole: planted answers, what a test gene may not reach, figures of runs, what is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import ggipnn, interaction, known_pairs, scorers
from g2v_dask.evaluation.base import ROWS, Subject
from g2v_dask.evaluation.pairlists import Split
from tests.evaluation import pair_toys
from tests.evaluation.pair_toys import Planted
from tests.evaluation.subjects import FakeBackground, alone, evaluated, figure, figures, subject, units_done

FAST = ("cosine", "heads")


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the validation pairs after each epoch of these lists, so that training ends soon."""
    monkeypatch.setattr(ggipnn, "LOOK", 24)


def spec(**given: Any) -> EvaluateSpec:
    return EvaluateSpec(**{"pairs": "given", "tasks": ("interaction",), "bootstrap": 50, "seeds": 2, **given})


def judged(folder: Path, planted: Planted, vectors: Any = None, **given: Any) -> Subject:
    files = {"pairs": pair_toys.write(folder / "pairs", planted.listed), **given.pop("files", {})}
    return subject(planted.genes, planted.vectors if vectors is None else vectors, files=files, **given)


def auc(tables: Mapping[str, pa.Table], on: str) -> dict[str, float]:
    return {r["model"]: r["value"] for r in figures(tables[ROWS], metric="auc", on=on)}


# -- planted --------------------------------------------------------------------------------------------------


def test_planted__alike_genes(tmp_path: Path) -> None:
    found = evaluated(interaction, judged(tmp_path, pair_toys.alike()), spec(seeds=1))
    for on in ("valid", "test"):
        told = auc(found, on)
        assert min(told[m] for m in ("cosine", "logistic product", "logistic absolute difference")) > 0.97
        assert min(told[m] for m in ("ggipnn frozen", "ggipnn trainable", "chosen")) > 0.95
        assert max(abs(told[m] - 0.5) for m in ("ggipnn random frozen", "ggipnn random trainable")) < 0.1


def test_planted__active_genes(tmp_path: Path) -> None:
    found = evaluated(interaction, judged(tmp_path, pair_toys.active()), spec(models=("heads", "ggipnn"), seeds=1))
    told = auc(found, "test")
    assert min(told[m] for m in ("logistic sum", "logistic concatenation", "ggipnn frozen")) > 0.97


def test_planted__shuffled_vectors_tell_nothing(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    found = evaluated(interaction, judged(tmp_path, planted, planted.shuffled), spec(seeds=1))
    told = auc(found, "test")
    assert len(told) == 10
    assert max(abs(value - 0.5) for value in told.values()) < 0.1


# -- what a test gene may not reach ---------------------------------------------------------------------------


def _seen(planted: Planted, folder: Path, models: tuple[str, ...]) -> dict[str, list[float]]:
    """Scores of the validation pairs by each model, when the vectors of test genes are as they are, and when not."""
    tested = {g for a, b, _ in planted.listed["test"] for g in (a, b)}
    garbage = np.where(np.isin(planted.genes, sorted(tested))[:, None], 7.0, planted.vectors)
    asked = spec(models=models, seeds=1, baselines=True)
    seen: dict[str, list[Any]] = {}
    for name, vectors in (("as they are", planted.vectors), ("garbage", garbage)):
        one = judged(folder / name, planted, vectors)
        scores = units_done(interaction, one, asked, interaction.units(one, asked))["scores"]
        valid = scores.filter(pc.equal(scores["split"], "valid"))
        seen[name] = valid["score"].to_pylist()
    return seen


def test_leakage__no_vector_of_a_test_gene_reaches_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggipnn, "MOST", 60)
    seen = _seen(pair_toys.alike(), tmp_path, ("cosine", "heads", "ggipnn"))
    assert seen["as they are"] == seen["garbage"]  # to the bit


def test_leakage__is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above fails if the training pairs hold test genes."""
    honest = known_pairs.splits_of

    def leaking(subject: Subject, listed: str, seed: int) -> Mapping[str, Split]:
        splits = dict(honest(subject, listed, seed))
        train, test = splits["train"], splits["test"]
        splits["train"] = Split(
            pairs=np.concatenate([train.pairs, test.pairs[:20]]),
            labels=np.concatenate([train.labels, test.labels[:20]]),
            lines=np.concatenate([train.lines, test.lines[:20]]),
        )
        return splits

    monkeypatch.setattr(known_pairs, "splits_of", leaking)
    seen = _seen(pair_toys.alike(), tmp_path, ("heads",))
    assert seen["as they are"] != seen["garbage"]


def test_leakage__no_test_gene_is_in_what_a_model_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted, handed = pair_toys.alike(), []
    one = judged(tmp_path, planted)
    learned = scorers.learned

    def spied(vectors: Any, model: str, train: Split, valid: Split, **rest: Any) -> Any:
        handed.append((train, valid))
        return learned(vectors, model, train, valid, **rest)

    monkeypatch.setattr(scorers, "learned", spied)
    evaluated(interaction, one, spec(models=FAST))
    tested = {g for a, b, _ in planted.listed["test"] for g in (a, b)}
    genes = known_pairs.read(one).genes
    for train, valid in handed:
        assert not tested & set(genes[np.concatenate([train.pairs, valid.pairs])].ravel().tolist())
    assert len(handed) == 5


def test_leakage__test_labels_change_no_score_and_no_choice(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    flipped = {**planted.listed, "test": [(a, b, 1 - y) for a, b, y in planted.listed["test"]]}
    other = Planted(listed=flipped, genes=planted.genes, vectors=planted.vectors)
    one, two = (
        evaluated(interaction, judged(tmp_path / str(i), p), spec(models=FAST)) for i, p in enumerate((planted, other))
    )
    assert one["scores"]["score"].to_pylist() == two["scores"]["score"].to_pylist()
    assert one["choice"].equals(two["choice"])
    assert auc(one, "test")["cosine"] == pytest.approx(1 - auc(two, "test")["cosine"])


def test_leakage__a_test_gene_in_the_training_pairs_is_refused(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    (a, _, _), (c, d, _) = planted.listed["test"][0], planted.listed["train"][0]
    leaking = {**planted.listed, "train": [*planted.listed["train"], (c, a, 1), (d, a, 0)]}
    files = {"pairs": pair_toys.write(tmp_path, leaking)}
    with pytest.raises(InputError, match=f"share 1 genes \\({a}\\)"):
        interaction.units(subject(planted.genes, planted.vectors, files=files), spec())


# -- figures --------------------------------------------------------------------------------------------------


def test_rows__are_complete_and_those_of_scikit_learn(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    terms = {str(g): [f"GO:{i % 7:07d}" for i in range(n % 5)] for n, g in enumerate(planted.genes)}
    background = FakeBackground(
        degrees={str(g): float(n) for n, g in enumerate(planted.genes[:350])},  # some genes have none
        datasets=[(planted.genes, np.random.default_rng(0).normal(size=(30, len(planted.genes))).astype(np.float32))],
    )
    files = {"go": pair_toys.write_go(tmp_path / "go", terms)}
    one = judged(tmp_path, planted, planted.noisy, background=background, files=files)
    found = evaluated(interaction, one, spec(models=FAST, baselines=True, go="given"))
    rows = found[ROWS]
    kinds = {r["model"]: r["baseline"] for r in figures(rows, metric="auc", on="test")}
    assert kinds == {
        **dict.fromkeys(("chosen", "cosine"), ""),
        **dict.fromkeys([f"logistic {h}" for h in ("sum", "product", "absolute difference", "concatenation")], ""),
        **{f"{d} {f}": "transductive" for d in ("degree", "positive degree") for f in ("sum", "min", "product")},
        **dict.fromkeys(("degree difference", "positive degree difference", "alphabetical order"), "transductive"),
        **dict.fromkeys(("GO annotations", "expression mean", "expression variance"), "baseline"),
        **dict.fromkeys(("co-expression degree", "all gene properties"), "baseline"),
    }
    kept = found["scores"].to_pandas()
    for model in ("logistic product", "degree sum", "all gene properties"):
        mine = kept[(kept["model"] == model) & (kept["on"] == "test")]
        assert figure(rows, metric="auc", on="test", model=model)["value"] == roc_auc_score(
            mine["label"], mine["score"]
        )
        precision = figure(rows, metric="average precision", on="test", model=model)
        assert precision["value"] == average_precision_score(mine["label"], mine["score"])
        assert precision["low"] < precision["value"] < precision["high"]
        text = [(a, b, y) for a, b, y in zip(mine["gene_a"], mine["gene_b"], mine["label"], strict=True)]
        assert text == list(planted.listed["test"])
    assert {r["metric"] for r in rows.to_pylist()} == {"auc", "average precision", "pair coverage"}


def test_rows__coverage_of_genes_and_pairs(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    known = [i for i in range(len(planted.genes)) if i % 3]
    files = {"pairs": pair_toys.write(tmp_path, planted.listed)}
    one = subject(planted.genes[known], planted.vectors[known], files=files)
    found = evaluated(interaction, one, spec(models=("cosine",)))
    there = set(planted.genes[known].tolist())
    for on in ("valid", "test"):
        rows = planted.listed[on]
        kept = [(a, b) for a, b, _ in rows if a in there and b in there]
        genes, all_genes = {g for pair in kept for g in pair}, {g for a, b, _ in rows for g in (a, b)}
        row = figure(found[ROWS], on=on, metric="pair coverage")
        assert row["value"] == len(kept) / len(rows)
        assert (row["genes"], row["coverage"]) == (len(genes), len(genes) / len(all_genes))
    (test,) = [row for row in found["lists"].to_pylist() if row["split"] == "test"]
    assert (test["pairs"], test["known pairs"], test["of itself"]) == (len(rows), len(kept), 0)
    with pytest.raises(InputError, match=r"toy has 66.6 % of its genes, less than least-coverage = 0.7"):
        interaction.units(one, spec(least_coverage=0.7))


def test_units__an_embedding_that_has_pairs_of_one_label_alone(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    tested = {g for a, b, _ in planted.listed["test"] for g in (a, b)}
    few = {g for a, b, y in planted.listed["test"][:1] for g in (a, b)}
    kept = [i for i, g in enumerate(planted.genes.tolist()) if g not in tested or g in few]
    files = {"pairs": pair_toys.write(tmp_path, planted.listed)}
    with pytest.raises(InputError, match=r"both genes of 1 of the 800 pairs of test, which are not of both labels"):
        interaction.units(subject(planted.genes[kept], planted.vectors[kept], files=files), spec())


def test_sum_up__means_and_deviations_over_seeds_and_a_choice_by_validation(tmp_path: Path) -> None:
    """Scores by hand: heads are best on validation, the network on test, the trainable one may not be chosen."""
    one = judged(tmp_path, pair_toys.alike())
    asked, random = spec(seeds=3), np.random.default_rng(0)
    quality = {
        "logistic sum": (1.0, 0.2),
        "ggipnn frozen": (0.7, 2.0),
        "ggipnn trainable": (3.0, 3.0),
        "ggipnn random frozen": (4.0, 4.0),
    }
    parts, told = [], {}
    for model, shifts in quality.items():
        for seed in range(1, 4 if model.startswith("ggipnn") else 2):
            for split, shift in zip(("valid", "test"), shifts, strict=True):
                pairs = known_pairs.splits_of(one, "published", 1)[split]
                scores = (random.normal(size=len(pairs.labels)) + shift * pairs.labels).astype(np.float32)
                parts.append(interaction._scores("published", split, model, seed, pairs, scores))
                told.setdefault((model, split), []).append(roc_auc_score(pairs.labels, scores))
    found = interaction.sum_up(one, asked, {"scores": pa.concat_tables(parts)})
    rows = found[ROWS]
    for (model, split), each in told.items():
        assert figure(rows, model=model, on=split, metric="auc")["value"] == pytest.approx(np.mean(each))
        if len(each) > 1:
            deviation = figure(rows, model=model, on=split, metric="auc sd")
            assert deviation["value"] == pytest.approx(np.std(each, ddof=1))
            assert deviation["baseline"] == ("baseline" if "random" in model else "")
    (choice,) = found["choice"].to_pylist()
    assert choice == {
        "list": "published",
        "model": "logistic sum",
        "valid auc": pytest.approx(told["logistic sum", "valid"][0]),
    }
    chosen, best = (figure(rows, model=m, on="test", metric="auc") for m in ("chosen", "logistic sum"))
    assert {**chosen, "model": ""} == {**best, "model": ""}
    assert not figures(rows, model="chosen", metric="auc sd")


def test_sum_up__scores_of_another_list_are_refused(tmp_path: Path) -> None:
    one = judged(tmp_path, pair_toys.alike())
    pairs = known_pairs.splits_of(one, "published", 1)["test"]
    scores = interaction._scores("published", "test", "cosine", 1, pairs, np.zeros(len(pairs.labels), dtype=np.float32))
    with pytest.raises(InputError, match="the scores of cosine are not those of the published list"):
        interaction.sum_up(one, spec(), {"scores": scores.slice(1)})


def test_curves__are_thin_and_enclose_the_auc(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    found = evaluated(interaction, judged(tmp_path, planted, planted.noisy), spec(models=("cosine",)))
    curve = found["curves"].to_pandas()
    assert set(zip(curve["on"], curve["model"], strict=True)) == {("test", "cosine")}
    assert len(curve) <= 400
    assert curve.iloc[0][["false", "true"]].tolist() == [0, 0]
    assert curve.iloc[-1][["false", "true"]].tolist() == [1, 1]
    assert (np.diff(curve["true"]) >= 0).all()
    area = np.trapezoid(curve["true"], curve["false"])
    assert area == pytest.approx(auc(found, "test")["cosine"], abs=0.005)
    assert 0.6 < area < 0.95


# -- matched --------------------------------------------------------------------------------------------------


def _annotated(planted: Planted, folder: Path) -> list[Path]:
    """Genes of one group share a term: what is not listed of their pairs is no negative."""
    groups = np.argmax(planted.vectors, axis=1)
    return pair_toys.write_go(
        folder, {str(g): [f"GO:{k:07d}"] for g, k in zip(planted.genes, groups.tolist(), strict=True)}
    )


def test_matched__every_model_is_trained_and_scored_again(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    one = judged(tmp_path, planted, files={"go": _annotated(planted, tmp_path / "go")})
    asked = spec(models=FAST, baselines=True, matched=True, go="given")
    found = evaluated(interaction, one, asked)
    assert set(auc(found, "matched test")) == set(auc(found, "test"))
    proof = {row["split"]: row for row in found["matched"].to_pylist()}
    told = auc(found, "matched test")
    assert list(proof) == ["train", "valid", "test"]
    for row in proof.values():
        four = [row[f"degree {f}"] for f in ("sum", "min", "product", "difference")]
        assert four == pytest.approx([0.5] * 4, abs=0.02)
        assert row["positives"] == row["negatives"] <= row["known positives"] == row["published positives"]
    for name in ("sum", "min", "product", "difference"):
        assert told[f"positive degree {name}"] == pytest.approx(proof["test"][f"degree {name}"], abs=0.005)
    assert told["cosine"] > 0.95
    assert {row["list"]: row["model"] for row in found["choice"].to_pylist()}.keys() == {"published", "matched"}
    coverage = figure(found[ROWS], on="matched test", metric="pair coverage")["value"]
    assert coverage == proof["test"]["positives"] / proof["test"]["published positives"]


def test_units__matched_without_an_ontology(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    (tmp_path / "go.txt").write_text("nothing")
    one = judged(tmp_path, planted, files={"go": [tmp_path / "go.txt"]})
    with pytest.raises(InputError, match="gene2go"):
        interaction.units(one, spec(matched=True, go="given"))


# -- the same bits, and no torch ------------------------------------------------------------------------------


def test_run__any_order_and_any_process_gives_the_same(tmp_path: Path) -> None:
    planted = pair_toys.alike()
    asked = spec(matched=True, go="given", seeds=1, models=("heads",))

    def found(folder: Path, step: int) -> dict[str, pa.Table]:
        one = judged(folder, planted, files={"go": _annotated(planted, folder / "go")})
        units = interaction.units(one, asked)
        done = {unit.label: interaction.run(one, asked, unit, alone)["scores"] for unit in units[::step]}
        return dict(interaction.sum_up(one, asked, {"scores": pa.concat_tables(done[unit.label] for unit in units)}))

    first, second = found(tmp_path / "a", 1), found(tmp_path / "b", -1)
    assert first.keys() == second.keys()
    for name, table in first.items():
        pd.testing.assert_frame_equal(table.to_pandas(), second[name].to_pandas(), check_exact=True)  # NaN is NaN


def test_units__each_is_named_and_weighed(tmp_path: Path) -> None:
    one = judged(tmp_path, pair_toys.alike())
    units = interaction.units(one, spec(baselines=True))
    assert len({unit.label for unit in units}) == len(units) == 4 * 2 + 4 + 1 + 1
    assert "interaction, published, ggipnn random frozen, seed 2" in {unit.label for unit in units}
    assert all(unit.bytes > 10_000_000 for unit in units)
    assert not interaction.units(one, spec(models=("cosine",)))[1:]


def test_run__without_torch_all_else_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    one = judged(tmp_path, pair_toys.alike())
    assert auc(evaluated(interaction, one, spec(models=FAST, baselines=True)), "test")["cosine"] > 0.97
    with pytest.raises(SpecError, match="pip install"):
        evaluated(interaction, one, spec(models=("ggipnn",)))
