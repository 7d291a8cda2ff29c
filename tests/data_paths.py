"""Where the shared real data lie."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def data(*parts: str) -> Path:
    """A file or folder of the shared data; a test that needs it is skipped without, and fails under CI."""
    named = os.environ.get("G2V_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        reason = f"no test data: neither $G2V_TEST_DATA nor {folder}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder.joinpath(*parts)
