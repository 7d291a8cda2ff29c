#!/usr/bin/env bash
# Every fault three times, each with other seeds; prints fault x time x result as a Markdown table.
# Arguments go to pytest, for instance: bash tests/faults/run.sh -k scheduler
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source jobs/venv.sh
make_venv test

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=0
for seed in 1 2 3; do
  G2V_FAULT_SEED=$seed .venv/bin/python -m pytest -q -n 2 --dist loadfile tests/faults \
    --junitxml="$results/$seed.xml" "$@" >&2 || failed=1
done
.venv/bin/python tests/faults/table.py "$results"/{1,2,3}.xml
exit "$failed"
