#!/usr/bin/env bash
# Runs a command for a scheduler that knows only success and failure, and says how it ended.
#
#   exit3_is_done.sh g2v reprocess SPEC.toml --wait
#
# Exit code 3 (done, some inputs are quarantined) becomes 0. Others stay: 1 failed, 2 bad usage, 4 the quality gate
# held the last version. SIGTERM and SIGINT go on to the command, which then gives back its lock; both as SIGTERM,
# since a shell's background command does not hear SIGINT.
set -u

"$@" &
child=$!
stop=
trap 'stop=1; kill -TERM "$child" 2>/dev/null' TERM INT
wait "$child"
code=$?
while [ -n "$stop" ]; do # the trap ended the wait, not the command
    stop=
    wait "$child"
    code=$?
done

case "$code" in
0) ;;
3)
    echo "notice: exit code 3: done, but some inputs are quarantined; 'g2v ls --quarantined' lists them" >&2
    code=0
    ;;
4) echo "failed: exit code 4: the quality gate held the last version" >&2 ;;
*) echo "failed: exit code $code" >&2 ;;
esac
exit "$code"
