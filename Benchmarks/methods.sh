#!/usr/bin/env bash
# Compares all methods under one schedule and prints tables: each of two models at 98 % sparsity, four methods at 90 and 95 %, and GSE
# with candidate subsets from a quarter to sixteen times the connections, where it turns into RigL, audited against the whole gradient.
#
#   Benchmarks/methods.sh ESPALIER OUTPUT [MODEL...]
#
# vgg16-small and resnet20 by default. Goes on where it was stopped. OUTPUT gets the runs and MODEL-TABLE.json. DATASET, EPOCHS, SEEDS
# and JOBS may be set (fashion-mnist, 2, 1,2,3 and 2); on two cores all of it takes some ten hours, of which the methods with dense
# weights take half.
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: $0 ESPALIER OUTPUT [MODEL...]" >&2; exit 64; }
espalier=$1
output=$2
shift 2
models=("$@")
[ $# -gt 0 ] || models=(vgg16-small resnet20)
here=$(dirname "$0")
mkdir -p "$output"

# compare_as NAME MODEL SPARSITIES METHODS [FLAG...]
compare_as() {
  "$espalier" compare --model "$2" --dataset "${DATASET:-fashion-mnist}" --epochs "${EPOCHS:-2}" --seeds "${SEEDS:-1,2,3}" \
    --jobs "${JOBS:-2}" --threads 1 --sparsities "$3" --methods "$4" "${@:5}" --output "$output/runs" --json >"$output/$2-$1.json.part"
  mv "$output/$2-$1.json.part" "$output/$2-$1.json"
  python3 "$here/results/methods.py" "$output/$2-$1.json"
}

random=static,set,dsr,deepr,mest,itop
gradients=rigl,itop-rigl,granet,topkast,snfs
scored=snip,grasp,synflow,magnitude
gammas=gse:gamma=0.25,gse:gamma=0.5,gse,gse:gamma=2,gse:gamma=4,gse:gamma=8,gse:gamma=16
for model in "${models[@]}"; do
  compare_as 98 "$model" .98 "gse,gse:guide=grabo,gse:guide=graest,$random,$gradients,$scored"
  compare_as gamma "$model" .98 "$gammas,gse:guide=grabo,gse:guide=graest" --audit 16
  python3 "$here/results/audits.py" "$output/$model-gamma.json" | tee "$output/$model-gamma-audit.json"
  compare_as 90-95 "$model" .9,.95 gse,static,set,rigl
  compare_as dense "$model" .98 dense
  compare_as pruned "$model" .98 gradual,snfs-dense,lottery:rounds=3
done
