#!/usr/bin/env bash
# A scheduler and workers on this machine that outlive single commands; Ctrl-C ends them all.
#
#   bash deploy/local/cluster.sh [WORKERS] [PORT]
#   g2v run SPEC.toml --cluster tcp://127.0.0.1:8786
#
# Each worker has one thread, as g2v wants it, and an equal share of the memory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

workers="${1:-$(getconf _NPROCESSORS_ONLN)}"
port="${2:-8786}"
python="$PWD/.venv/bin/python"
if [ ! -x "$python" ]; then
    echo "no .venv here; 'bash jobs/demo.sh' makes it" >&2
    exit 1
fi
scratch="$(mktemp -d)"
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$python" -m dask scheduler --host 127.0.0.1 --port "$port" --dashboard-address 127.0.0.1:0 &
"$python" -m dask worker "tcp://127.0.0.1:$port" --nworkers "$workers" --nthreads 1 --memory-limit auto \
    --local-directory "$scratch" --no-dashboard &
wait -n
