#!/usr/bin/env bash
# A SLURM of one node for tests: munged, slurmctld and slurmd on 127.0.0.1, everything of theirs in one folder.
#
#   bash tests/slurm/one_node.sh start FOLDER    prints the path of slurm.conf, for SLURM_CONF
#   bash tests/slurm/one_node.sh stop FOLDER     ends the jobs and the three daemons; FOLDER may then go
#
# FOLDER is made; its path must be short, since a socket lies in it. Runs as any user, whose jobs alone it takes.
# As root it installs Debian's packages where they are missing. Where it cannot start, it says why and exits 77.
# The node claims more CPUs than the machine may have: tests want jobs side by side, not speed.
set -euo pipefail

cannot() {
    echo "$*" >&2
    exit 77
}

programs() {
    local program
    PATH="$PATH:/usr/sbin:/sbin"
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || return 1
    done
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "no SLURM here, and no right to install it"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        munge slurm-wlm; } >"$folder/install.log" 2>&1 || cannot "SLURM cannot be installed: $folder/install.log"
}

free_ports() {
    python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))'
}

settings() {
    local host ports
    host="$(uname -n)" && host="${host%%.*}"
    read -ra ports < <(free_ports)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobcomp.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=15
MinJobAge=3600
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=one Default=YES MaxTime=02:00:00 State=UP
CONF
    : >"$folder/cgroup.conf" # nothing of it is used: neither processes nor memory are held by cgroups
}

start() {
    mkdir -p "$folder" && chmod 755 "$folder"
    programs || install
    programs || cannot "no SLURM here"
    mkdir -p "$folder"/{munge,state,spool}
    chmod 755 "$folder/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
    settings
    export SLURM_CONF="$folder/slurm.conf"
    munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" >>"$folder/daemons.log" 2>&1 ||
        cannot "munged does not start: $(tail -n 3 "$folder/daemons.log")"
    slurmctld >>"$folder/daemons.log" 2>&1 || cannot "slurmctld does not start: $(tail -n 3 "$folder/daemons.log")"
    slurmd -N one >>"$folder/daemons.log" 2>&1 || cannot "slurmd does not start: $(tail -n 3 "$folder/daemons.log")"
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
            echo "$SLURM_CONF"
            return
        fi
        sleep 0.5
    done
    cannot "the node does not come up: $(tail -n 3 "$folder/slurmctld.log" "$folder/slurmd.log")"
}

stop() {
    local pid file
    programs || return 0
    export SLURM_CONF="$folder/slurm.conf"
    if [ -e "$folder/slurmctld.pid" ]; then
        scancel --quiet --user="$(id -un)" 2>/dev/null || true
        for _ in $(seq 60); do
            [ -n "$(squeue --noheader 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    for file in slurmd.pid slurmctld.pid munge/pid; do
        [ -e "$folder/$file" ] || continue
        pid="$(cat "$folder/$file")"
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 60); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.25
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

if [ $# -ne 2 ]; then
    echo "usage: one_node.sh start|stop FOLDER" >&2
    exit 2
fi
folder="$2"
case "$1" in
    start)
        trap 'code=$?; [ $code = 0 ] || stop; exit $code' EXIT
        start
        ;;
    stop) stop ;;
    *) echo "usage: one_node.sh start|stop FOLDER" >&2 && exit 2 ;;
esac
