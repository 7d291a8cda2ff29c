"""The ingest benchmark on tiny input."""

import json

from tests.benchmarks import ingest
from tests.data_paths import data


def test_measure__tiny_table(tmp_path):
    names = ["TP53", "MYC", "ACTB", "GAPDH"]
    rows = [f"{n}\t" + "\t".join(str(k * 1.5 + s) for s in range(5)) for k, n in enumerate(names)]
    path = tmp_path / "tiny.tsv"
    path.write_text("\n".join(["gene\ta\tb\tc\td\te", *rows]) + "\n")
    found = ingest.measure([path], tmp_path, repeats=1)
    assert json.loads(json.dumps(found))["files"]["tiny"]["samples"] == 5
    assert set(found["files"]["tiny"]["of_pandas"]) == {"read", "table", "ingest"}


def test_files__are_there():
    assert all(data(*name.split("/")).is_file() for name in ingest.FILES)
