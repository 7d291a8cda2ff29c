"""Prints pytest's JUnit files of several runs as one Markdown table: python tests/faults/table.py 1.xml 2.xml 3.xml."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

BAD = {"failure": "FAILED", "error": "ERROR", "skipped": "skipped"}


def results(file: Path) -> dict[tuple[str, str], str]:
    """Of each test what came of it: its seconds, or what went wrong."""
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        room = case.get("classname", "").rpartition(".")[2].removeprefix("test_").replace("_", " ")
        name = case.get("name", "").removeprefix("test_").replace("__", ": ").replace("_", " ")
        wrong = [BAD[child.tag] for child in case if child.tag in BAD]
        found[room, name] = wrong[0] if wrong else f"passed, {float(case.get('time', 0)):.0f} s"
    return found


def table(files: list[Path]) -> str:
    """One row a fault, one column a run."""
    runs = [results(file) for file in files]
    heads = "".join(f" {file.stem} |" for file in files)
    lines = [f"| | fault |{heads}", "| --- | --- |" + " --- |" * len(files)]
    for room, name in sorted({key for run in runs for key in run}):
        cells = "".join(f" {run.get((room, name), 'not run')} |" for run in runs)
        lines.append(f"| {room} | {name} |{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))
