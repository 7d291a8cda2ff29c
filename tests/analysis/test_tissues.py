"""z-scores, tau and specific genes against SciPy, naive loops, by hand, and on real tissues."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import zscore

from g2v_dask.analysis import tissues
from g2v_dask.analysis.tissues import Specificity, Tissue
from g2v_dask.errors import InputError
from tests.data_paths import data


def made(name: str, genes: dict[str, float], samples: int = 30) -> Tissue:
    return Tissue(name=name, samples=samples, genes=np.array(list(genes)), mean=np.array(list(genes.values())))


def counts(samples: int, genes: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).negative_binomial(2, 0.1, size=(samples, genes)).astype(np.float64)


def column(found: Specificity, gene: str) -> int:
    return int(np.flatnonzero(found.genes == gene)[0])


# -- means ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 256])
def test_tissue__is_a_loop_over_samples_in_any_blocks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tissues, "ROWS", rows)
    reads = counts(20, 6)
    reads[3] = 0  # a sample without any read
    expected = np.zeros(6)
    for row in reads[[i for i in range(20) if i != 3]]:
        expected += [np.log2(1e6 * value / row.sum() + 1) for value in row]
    found = tissues.tissue("t", np.array(list("abcdef")), reads)
    np.testing.assert_allclose(found.mean, expected / 19, rtol=1e-12)
    assert (found.name, found.samples) == ("t", 20)


def test_tissue__depth_of_sequencing_is_no_expression() -> None:
    reads = counts(5, 8)
    genes = np.arange(8).astype(str)
    deeper = tissues.tissue("t", genes, reads * np.array([1, 2, 3, 4, 5])[:, None])
    np.testing.assert_allclose(tissues.tissue("t", genes, reads).mean, deeper.mean, rtol=1e-12)
    whole = tissues.tissue("t", genes, reads.astype(np.int32)).mean
    assert whole.tolist() == tissues.tissue("t", genes, reads).mean.tolist()


# -- over tissues -----------------------------------------------------------------------------------------------------


def naive_tau(values: list[float]) -> float:
    most = max(values)
    return sum(1 - v / most for v in values) / (len(values) - 1)


def test_specificity__by_hand() -> None:
    found = tissues.specificity(
        [made("a", {"g": 0.0, "h": 1}), made("b", {"g": 3.0, "h": 1}), made("c", {"g": 3, "h": 1})]
    )
    g, h = column(found, "g"), column(found, "h")
    np.testing.assert_allclose(found.z[:, g], [-np.sqrt(2), np.sqrt(0.5), np.sqrt(0.5)])
    assert found.tau[g] == 0.5
    assert np.isnan(found.z[:, h]).all()  # equal everywhere: no deviation to count in
    assert found.tau[h] == 0
    assert found.z_of("b")[g] == found.z[1, g]


def test_specificity__is_that_of_scipy_where_tissues_measure_other_genes() -> None:
    random = np.random.default_rng(0)
    genes = [f"g{i:02d}" for i in range(40)]
    own = [sorted(random.choice(genes, size=30, replace=False).tolist()) for _ in range(6)]
    found = tissues.specificity(
        [made(f"t{i}", dict(zip(some, random.gamma(2, size=30), strict=True))) for i, some in enumerate(own)]
    )
    assert found.tissues == ("t0", "t1", "t2", "t3", "t4", "t5")
    there = np.array([[gene in some for gene in found.genes.tolist()] for some in own])
    assert np.array_equal(np.isfinite(found.mean), there)
    several = there.sum(axis=0) >= 3
    assert 0 < np.count_nonzero(~several) or several.all()
    expected = zscore(found.mean, axis=0, nan_policy="omit")
    np.testing.assert_allclose(found.z[:, several], expected[:, several], rtol=1e-10)
    assert np.isnan(found.z[:, ~several]).all()
    for i in np.flatnonzero(several):
        assert found.tau[i] == pytest.approx(naive_tau(found.mean[there[:, i], i].tolist()))


def test_specificity__few_tissues_and_genes_without_reads() -> None:
    found = tissues.specificity(
        [
            made("a", {"two": 1, "zero": 0, "all": 1}),
            made("b", {"two": 2, "zero": 0, "all": 2}),
            made("c", {"zero": 0, "all": 9}),
        ]
    )
    for gene in ("two", "zero"):
        assert np.isnan(found.z[:, column(found, gene)]).all()
        assert np.isnan(found.tau[column(found, gene)])
    assert np.isfinite(found.z[:, column(found, "all")]).all()
    with pytest.raises(InputError, match="z-scores take 3 tissues, got 2"):
        tissues.specificity([made("a", {"g": 1.0}), made("b", {"g": 1.0})])


def test_enough__names_what_is_there() -> None:
    assert tissues.enough({"a": 30, "b": 29, "c": 99, "d": 31}) == ("a", "c", "d")
    with pytest.raises(
        InputError, match=r"of 3 datasets with read counts 2 have so many \(samples: a 80, b 30, c 29\); ing"
    ):
        tissues.enough({"c": 29, "a": 80, "b": 30})
    with pytest.raises(InputError, match="of 0 datasets with read counts 0 have so many; ingest"):
        tissues.enough({})


# -- specific genes ---------------------------------------------------------------------------------------------------


def planted(most: int = 130) -> Specificity:
    """Genes of tissue a alone, of rising height; genes of all tissues; a gene of so few reads that they are noise."""
    alone = {f"a{i:03d}": 2 + i / 100 for i in range(most)}
    both = {f"x{i}": 5.0 for i in range(20)}
    absent = dict.fromkeys(alone, 0.0)
    return tissues.specificity(
        [
            made("a", {**alone, **both, "noise": 0.9, "leak": 3.0}),
            made("b", {**absent, **both, "noise": 0.0, "leak": 2.0}),
            made("c", {**absent, **both, "noise": 0.0, "leak": 2.0}),
            made("d", {**absent, **{k: v - 0.1 for k, v in both.items()}, "noise": 0.0, "leak": 0.0}),
        ]
    )


def test_specific__the_most_expressed_of_equal_z_scores_and_no_noise() -> None:
    chosen = tissues.specific(planted())
    assert {name: len(some) for name, some in chosen.items()} == {"a": 100, "b": 0, "c": 0, "d": 0}
    found = planted()
    assert found.genes[chosen["a"]].tolist() == [f"a{i:03d}" for i in range(129, 29, -1)]
    assert found.tau[column(found, "noise")] == 1  # which is why reads are asked for
    assert found.genes[tissues.specific(planted(most=3))["a"]].tolist() == ["a002", "a001", "a000"]


def test_specific__each_gene_for_one_tissue() -> None:
    random = np.random.default_rng(3)
    some = [made(f"t{i}", {f"g{j:03d}": v for j, v in enumerate(random.exponential(1, 300) ** 3)}) for i in range(5)]
    found = tissues.specificity(some)
    chosen = tissues.specific(found)
    genes = np.concatenate(list(chosen.values()))
    assert 20 < len(genes) == len(set(genes.tolist()))
    for row, columns in enumerate(chosen.values()):
        assert (found.mean[:, columns].argmax(axis=0) == row).all()
        assert (found.tau[columns] >= 0.8).all()
        assert (found.mean[row, columns] >= 1).all()
        assert (np.diff(found.z[row, columns]) <= 1e-9).all()


KNOWN = {
    "thca": {"TSHR", "TPO", "TG"},
    "lusc": {"SFTPA1", "SFTPC", "SFTPB"},
    "prad": {"KLK3", "KLK2", "TGM4"},
    "kich": {"UMOD", "SLC12A1", "MOG"},
}


def rsem(name: str, genes: list[str], rest: int) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Read counts of some genes, and of the first so many others, in the file's order."""
    rows: dict[str, list[str]] = {}
    with gzip.open(data("rnaseq", name), "rt") as file:
        next(file)
        for line in file:
            symbol, _, *values = line.rstrip("\n").split("\t")
            if symbol in genes or len(rows) < rest:
                rows.setdefault(symbol, values)
    return np.array(list(rows)), np.array([[float(v) for v in row] for row in rows.values()]).T


def test_specific__of_real_tissues() -> None:
    genes = sorted(set.union(*KNOWN.values()))
    files = {"thca": "thca-rsem-count-tcga", "lusc": "lusc-rsem-count-tcga", "prad": "prad-rsem-count-tcga"}
    files |= {"kich": "kidney-rsem-count-gtex"}
    some: list[Any] = [tissues.tissue(name, *rsem(f"{file}.txt.gz", genes, 3000)) for name, file in files.items()]
    found = tissues.specificity(some)
    chosen = {name: set(found.genes[columns].tolist()) for name, columns in tissues.specific(found).items()}
    for name, expected in (("thca", {"TSHR", "TPO"}), ("lusc", {"SFTPA1", "SFTPC"}), ("prad", {"KLK3", "TGM4"})):
        assert found.z_of(name)[[column(found, gene) for gene in expected]].min() > 1.2
        assert len(chosen[name] & expected) >= 1
