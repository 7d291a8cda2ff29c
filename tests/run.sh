#!/usr/bin/env bash
# The test command: makes or reuses .venv with the test extras, then ruff, mypy and pytest.
# Arguments go to pytest, for instance: bash tests/run.sh -k pairs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source jobs/venv.sh
make_venv test

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest -n 2 --dist loadfile "$@"
