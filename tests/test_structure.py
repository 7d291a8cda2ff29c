"""The house: imports run one way, and nothing imports inside functions unseen."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "g2v_dask"

# Each may import only from the lines above its own (and from its own line, but stages from stages never).
ORDER = [
    ["errors", "machine"],
    ["files"],
    ["options"],
    ["evaluate_spec"],
    ["figure_spec"],
    ["geo_spec", "cluster_spec"],
    ["spec"],
    ["tune_spec"],
    ["schema", "tiles"],
    ["genes", "platforms"],
    ["names", "answers", "questions"],
    ["kernels"],
    ["readers"],
    ["prepare"],
    ["exchange"],
    ["ontology"],
    ["folders"],
    ["store"],
    ["arrays"],
    ["parts"],
    ["models"],
    ["search"],
    ["analogy"],
    ["analysis"],
    ["evaluation"],
    ["background"],
    ["geo"],
    ["stages"],
    ["cluster"],
    ["progress"],
    ["driver"],
    ["query"],
    ["report"],
    ["ask"],
    ["flows"],
    ["api"],
    ["__init__"],
    ["commands"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> list[tuple[str, str]]:
    """(room, whole name) of every import of the package in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "g2v_dask":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.append((name.split(".")[1], name))
        elif isinstance(node, ast.Import):
            found += [
                (a.name.split(".")[1] if "." in a.name else "__init__", a.name)
                for a in node.names
                if a.name.split(".")[0] == "g2v_dask"
            ]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports__run_one_way(path: Path) -> None:
    here = room(path)
    for there, name in imported(path):
        assert there in LEVEL, f"{path} imports {name}: give {there} its place in ORDER"
        assert LEVEL[there] <= LEVEL[here], f"{path} imports {name}, which stands above it"
        if here == "stages" and path.name != "__init__.py":
            assert there != "stages", f"{path}: stages meet in the store, not by import ({name})"


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda p: p.name)
def test_kernels__know_no_dask_no_files_no_logging(path: Path) -> None:
    words = re.findall(r"^(?:from|import) (\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
    assert not {"dask", "distributed", "logging", "pathlib", "os", "zarr", "pyarrow"} & set(words)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files__have_one_job(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 600


def test_import__is_quick() -> None:
    """`import g2v_dask` loads no numeric library."""
    code = "import sys, g2v_dask; print(','.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split(",")
    assert not {"numpy", "dask", "zarr", "pandas", "pyarrow"} & set(loaded)
