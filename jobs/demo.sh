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

echo
echo "A pair analogy: which genes differ as a B-cell and a T-cell gene do? (the first question compiles: 20 seconds)"
"$g2v" analogy pair CD79A CD3E --store demo -k 6 --ceiling 0.9

echo
echo "A gene analogy: the best CD3E - ? = ? - ? among long differences of the 4,000 genes with most partners:"
.venv/bin/python - <<'END' >demo/common.txt
import g2v_dask
print(*g2v_dask.open_store("demo").embedding("genes").genes[:4000], sep="\n")
END
"$g2v" analogy gene CD3E --store demo -k 12 --genes demo/common.txt --ceiling 0.9 --min-difference 0.5
"$g2v" analogy gene CD3E --store demo -k 40 --genes demo/common.txt --ceiling 0.9 --min-difference 0.5 \
    --markdown demo/cd3e.md --html demo/cd3e.html
echo "with a heat map of the CD3E - ? vectors: demo/cd3e.html (and demo/cd3e.md)"

cat <<'END'

The store is the folder demo/. Next, try:
  .venv/bin/g2v similar MS4A1 --store demo                 # another gene: B cells
  .venv/bin/g2v show embeddings/genes --store demo         # what it was made from, how to open it in Python
  .venv/bin/g2v ask --store demo                           # a prompt for all questions
  .venv/bin/g2v export genes.txt --store demo              # word2vec text, opens in gensim
END
