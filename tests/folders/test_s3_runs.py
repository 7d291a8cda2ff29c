"""Whole runs on a store in a bucket: the bytes of a local store, and no secret anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest

from g2v_dask.folders import open_folder
from g2v_dask.folders.s3 import S3Folder
from g2v_dask.query import open_embedding
from g2v_dask.store import Store
from tests import buckets, made
from tests.faults import runs

SPEC = """
store = "{store}"
[ingest]
files = ["{files}/*"]
[pairs]
top_k = 10
[merge]
[[train]]
name = "svd"
method = "svd"
components = 8
[[train]]
name = "skipgram"
components = 8
iterations = 3
[index]
name = "svd"
norms = true
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with buckets.serving() as there:
        yield there


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_data(tmp_path_factory.mktemp("data") / "files")


def g2v(*words: object, cache: Path, code: int = 0) -> str:
    """All that a command prints."""
    command = [*runs.G2V, "-v", *map(str, words)]
    around = {**os.environ, "G2V_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=around, timeout=runs.LIMIT_SECONDS)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def spec(folder: Path, store: str, files: object) -> Path:
    file = folder / "run.toml"
    file.write_text(SPEC.format(store=store, files=files))
    return file


def upload(data: Path, url: str) -> str:
    """Puts the files into a folder of the bucket; its URL, up to the query."""
    folder = open_folder(url) / "files"
    for file in data.iterdir():
        folder.write(file.name, file.read_bytes())
    return folder.url


def contents(url: str) -> dict[str, dict[str, bytes]]:
    store = Store.open(url)
    kinds = ("expression", "pairs", "cooccurrence", "embeddings", "index")
    return {a.key: made.data_files(a.path) for kind in kinds for a in store.artifacts(kind)}


def test_run__in_a_bucket_on_machines_that_share_nothing_gives_the_bytes_of_a_local_store(
    data: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client and workers have caches of their own; inputs lie in the bucket; a worker is killed on the way."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "reader"))
    url = buckets.new_bucket(endpoint)
    said = g2v("run", spec(tmp_path, str(tmp_path / "local"), data), "-q", cache=tmp_path / "none")
    where = upload(data, url.replace("/some/store", "/inputs"))
    file = spec(tmp_path, url, where.replace("?", "/*?").removesuffix("/*"))
    file.write_text(file.read_text().replace(f'["{where.replace("?", "/*?")}/*"]', f'["{where.replace("?", "/*?")}"]'))
    with runs.machine(tmp_path / "machine") as machine:
        monkeypatch.setenv("G2V_CACHE", str(tmp_path / "worker"))
        address = machine.ensure()
        machine.gate.close("start", passes=4)
        program = runs.Program.start("run", file, "--cluster", address, env={"G2V_CACHE": str(tmp_path / "client")})
        psutil.Process(machine.gate.arrived(program)[0]).kill()
        machine.gate.open()
        said += program.finish()
        shutil.rmtree(tmp_path / "worker")  # a new machine has no copies
        said += g2v("run", file, "--cluster", address, "-q", cache=tmp_path / "other")
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "reader"))
    assert contents(url) == contents(str(tmp_path / "local"))
    said += g2v(
        "similar",
        open_embedding(Store.open(url), "svd").genes[0],
        "--store",
        url,
        "--name",
        "svd",
        "-k",
        2,
        cache=tmp_path / "user",
    )
    said += g2v("show", "embeddings/svd", "--store", url, "--json", cache=tmp_path / "user")
    said += damaged_and_repaired(url, tmp_path / "user")
    said += g2v("rm", "index/svd", "--store", url, cache=tmp_path / "user")
    assert "deleted 1 folders" in g2v("gc", "--store", url, "--young-hours", 0, cache=tmp_path / "user")
    said += g2v("ls", "--store", url.replace("s3://", "s3://no-"), cache=tmp_path / "user", code=1)
    no_secret(url, said, tmp_path)


def damaged_and_repaired(url: str, cache: Path) -> str:
    """One object is another, one is gone; verify tells, and repairs."""
    pairs = Store.open(url).get("pairs", "leukemia").folder
    index = Store.open(url).get("index", "svd").folder
    file = "data.parquet/part-0.parquet"
    whole = pairs.read(file)
    assert whole is not None
    pairs.write(file, whole[:-1] + b"?")
    index.remove("data.index/norms-00000.npy")
    said = g2v("verify", "--store", url, "--deep", "-q", cache=cache, code=1)
    assert "2 damaged" in said
    said += g2v("verify", "--store", url, "--deep", "--repair", "-q", cache=cache)
    assert pairs.read(file) == whole
    return said + g2v("verify", "--store", url, "--deep", "-q", cache=cache)


def no_secret(url: str, said: str, folder: Path) -> None:
    """The secret is in no object, no output, no log and no copy."""
    bucket = S3Folder.of(url)
    client = boto3.client("s3", endpoint_url=bucket.endpoint)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket.bucket)
    keys = [o["Key"] for page in pages for o in page["Contents"]]
    assert len(keys) > 50
    held = {key: client.get_object(Bucket=bucket.bucket, Key=key)["Body"].read() for key in keys}
    held |= {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    held["output"] = said.encode()
    assert [name for name, text in held.items() if buckets.SECRET.encode() in text] == []
    assert [name for name, text in held.items() if buckets.KEY.encode() in text] == []


def test_run__killed_client_goes_on(data: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is taken over when it counts as dead; what was done is not done again."""
    url = buckets.new_bucket(endpoint)
    file = spec(tmp_path, url, data)
    shorter = "from g2v_dask.folders import lease; lease.LEASE_SECONDS = 3.0; from g2v_dask.cli import main; main()"
    command = [sys.executable, "-c", shorter, "run", str(file), "-q", "--json"]
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    with runs.machine(tmp_path / "machine") as machine:
        address = machine.ensure()
        machine.gate.close("start", passes=4)
        first = runs.Program(
            subprocess.Popen(
                [*command, "--cluster", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        machine.gate.arrived(first)
        first.process.kill()
        first.process.communicate()
        machine.gate.open()
        refused = subprocess.run([*command, "--cluster", address], capture_output=True, text=True, check=False)
        if refused.returncode:
            assert f"in use by process {first.process.pid}" in refused.stderr
            until_free(url)
            subprocess.run([*command, "--cluster", address], check=True, capture_output=True)
    assert len(contents(url)) == 10


def until_free(url: str) -> None:
    """Waits for the lock, and lets it go."""
    code = (
        "import sys; from g2v_dask.folders import lease; lease.LEASE_SECONDS = 3.0\n"
        "from g2v_dask.store import Store\n"
        "with Store.open(sys.argv[1]).lock(wait=True): pass"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=runs.LIMIT_SECONDS)
