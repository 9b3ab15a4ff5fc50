#!/usr/bin/env bash
# Espalier beside PyTorch (dense and CSR), SciPy, SparseProp and SparseLab: one linear layer, then whole training steps.
# Makes a Python environment in Benchmarks/rivals/.venv (PyTorch and its CUDA libraries: some 5 GB) on the first run.
#
# usage: Benchmarks/rivals/run.sh            everything; some 20 minutes on 2 cores, on a machine that does nothing else
#        PYTHON=.../python Benchmarks/rivals/run.sh    with an environment that has the packages already
set -euo pipefail
case ${PYTHON:-} in */*) PYTHON=$(realpath -s "$PYTHON") ;; esac
cd "$(dirname "$0")"
root=../..

if [ -z "${PYTHON:-}" ]; then
  PYTHON=.venv/bin/python
  if [ ! -e .venv/complete ]; then
    python3 -m venv .venv
    $PYTHON -m pip install -q setuptools wheel pybind11 numpy==2.4.6 scipy==1.17.1 torch==2.15.0
    # SparseProp's setup asks the shell's python3 for pybind11's headers.
    PATH="$PWD/.venv/bin:$PATH" $PYTHON -m pip install -q --no-build-isolation --no-deps sparseprop==0.1.14 sparselab==0.2.2
    touch .venv/complete
  fi
fi

make -C $root build >&2
library=$(mktemp --suffix .so)
trap 'rm -f "$library"' EXIT
clang=$(dirname "$(command -v swift)")/clang
kernels=$root/CKernels
"$clang" -shared -fPIC -O2 -DNDEBUG -std=c11 -Xclang -fopenmp -I$kernels/Runtime/include -I$kernels/SparseMatmul/include -I$kernels/SparseMatmul \
  $kernels/Runtime/*.c $(find $kernels/SparseMatmul -name '*.c') -o "$library" -l:libomp.so.5

echo "Processor: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) processors; $(date +%F)"
echo
$PYTHON linear.py "$library"
echo
$PYTHON steps.py $root/.build/release/espalier
echo
$PYTHON steps.py $root/.build/release/espalier --avx2 --rounds 2
