#!/usr/bin/env bash
# A certificate authority of your own, and certificates of it for scheduler, workers and clients of one Dask cluster.
#
#   bash deploy/tls/make-ca.sh FOLDER [DAYS]
#
#   dask scheduler --protocol tls --tls-ca-file FOLDER/ca.pem \
#       --tls-cert FOLDER/scheduler.pem --tls-key FOLDER/scheduler-key.pem
#   dask worker tls://HOST:8786 --nthreads 1 --tls-ca-file FOLDER/ca.pem \
#       --tls-cert FOLDER/worker.pem --tls-key FOLDER/worker-key.pem
#   g2v run SPEC.toml --cluster tls://HOST:8786
#
# with tls_ca = "FOLDER/ca.pem", tls_cert = "FOLDER/client.pem", tls_key = "FOLDER/client-key.pem" under [cluster].
# Who holds a key of this CA can run any code on the workers. ca-key.pem signs further certificates: keep it elsewhere.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: make-ca.sh FOLDER [DAYS]" >&2
    exit 2
fi
folder="$1"
days="${2:-365}"
if ! command -v openssl >/dev/null; then
    echo "make-ca.sh needs openssl, not found here" >&2
    exit 1
fi
if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
    echo "$folder is there and not empty; name a new folder: certificates are never overwritten" >&2
    exit 1
fi

umask 077
mkdir -p "$folder"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

quiet() { # what openssl says only if it fails
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
}

request() { # NAME: a key, and a request to sign it
    quiet openssl ecparam -name prime256v1 -genkey -noout -out "$folder/$1-key.pem"
    quiet openssl req -new -config /dev/null -key "$folder/$1-key.pem" -subj "/O=g2v_dask/CN=$1" -out "$work/$1.csr"
}

cat >"$work/ca.ext" <<'EXT'
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
EXT
cat >"$work/role.ext" <<'EXT'
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EXT

request ca
quiet openssl x509 -req -in "$work/ca.csr" -signkey "$folder/ca-key.pem" -sha256 -days "$days" \
    -extfile "$work/ca.ext" -out "$folder/ca.pem"
for role in scheduler worker client; do
    request "$role"
    quiet openssl x509 -req -in "$work/$role.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca-key.pem" -sha256 \
        -CAserial "$work/serial" -CAcreateserial -days "$days" -extfile "$work/role.ext" -out "$folder/$role.pem"
done
echo "CA and certificates of scheduler, worker and client, good for $days days, in $folder"
