# Sourced, not run: makes .venv in the project's root, or reuses it, and installs the package into it.
#
#   make_venv [EXTRAS]     for instance: make_venv test

make_venv() {
    local extras="${1:-}" python="${PYTHON:-python3}" stamp constraint=()
    if ! command -v "$python" >/dev/null; then
        echo "g2v_dask needs Python 3.11 or newer; there is no '$python' here. Install it, or set PYTHON." >&2
        exit 1
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "g2v_dask needs Python 3.11 or newer; '$python' is $("$python" -V). Set PYTHON to another." >&2
        exit 1
    fi
    if [ ! -x .venv/bin/python ]; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "'$python -m venv' is missing. On Debian or Ubuntu: apt-get install python3-venv" >&2
            exit 1
        fi
        echo "making .venv" >&2
        "$python" -m venv .venv
    fi
    # one stamp a set of extras: a second run, or one with fewer extras, installs nothing
    stamp=".venv/installed-${extras:-plain}-$(cat pyproject.toml tests/constraints.txt 2>/dev/null | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        echo "installing g2v_dask${extras:+[$extras]} into .venv" >&2
        if [ "$extras" = test ]; then constraint=(--constraint tests/constraints.txt); fi
        if ! .venv/bin/python -m pip install --disable-pip-version-check "${constraint[@]}" \
            --editable ".${extras:+[$extras]}" \
            >.venv/install.log 2>&1; then
            tail -n 30 .venv/install.log >&2
            echo "the installation failed; the whole log is .venv/install.log" >&2
            exit 1
        fi
        touch "$stamp"
    fi
}
