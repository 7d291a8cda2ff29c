#!/usr/bin/env bash
# From nothing to gene vectors: makes .venv, installs, runs jobs/demo.toml on the bundled data, asks questions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source jobs/venv.sh
make_venv

g2v=.venv/bin/g2v
"$g2v" run jobs/demo.toml

echo
echo "Neighbours of a ribosomal gene, an MHC class II gene, a T-cell gene and a cell-cycle gene:"
"$g2v" similar RPL3 HLA-DRA CD3E CCNB2 --store demo -k 8

cat <<'END'

The store is the folder demo/. Next, try:
  .venv/bin/g2v similar MS4A1 --store demo                 # another gene: B cells
  .venv/bin/g2v show embeddings/genes --store demo         # what it was made from, how to open it in Python
  .venv/bin/g2v export genes.txt --store demo              # word2vec text, opens in gensim
END
