#!/usr/bin/env bash
# Finds Chromium for tests of pages, and prints its path; as root it installs Debian's package where there is none.
# Where it cannot, it says why and exits 77.
set -euo pipefail

cannot() {
    echo "$*" >&2
    exit 77
}

find() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "no Chromium here, and no right to install it"
    local log
    log="$(mktemp)"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } \
        >"$log" 2>&1 || cannot "Chromium cannot be installed: $log"
    rm -f "$log"
}

find && exit
install
find || cannot "no Chromium here"
