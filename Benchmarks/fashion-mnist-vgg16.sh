#!/usr/bin/env bash
# Trains VGG-16-small at 98 % sparsity on Fashion-MNIST with three seeds a method, and prints a table.
#
#   Benchmarks/fashion-mnist-vgg16.sh [METHOD[/UPDATE_MODE]...]
#
# gse/add gse/replace static set/add by default; dense takes several times as long. Raw results go to
# Benchmarks/results/fashion-mnist-vgg16/METHOD-UPDATE_MODE-SEED.json. SEEDS and THREADS may be set.
set -euo pipefail
cd "$(dirname "$0")/.."

methods=("$@")
[ $# -gt 0 ] || methods=(gse/add gse/replace static set/add)
seeds=${SEEDS:-0 1 2}
results=Benchmarks/results/fashion-mnist-vgg16
mkdir -p "$results"

make build >&2
for choice in "${methods[@]}"; do
  method=${choice%/*}
  mode=${choice#"$method"}
  mode=${mode#/}
  mode=${mode:-replace}
  for seed in $seeds; do
    .build/release/espalier train --model vgg16-small --dataset fashion-mnist --method "$method" --sparsity 0.98 \
      --epochs 4 --batch-size 128 --lr 0.1 --warmup-epochs 0.5 --milestones 2,3 \
      --update-every 100 --update-until 0.75 --update-mode "$mode" --seed "$seed" ${THREADS:+--threads "$THREADS"} --json \
      >"$results/${choice/\//-}-$seed.json"
  done
done

python3 - "$results" "${methods[@]}" <<'PYTHON'
import glob, json, statistics, sys
print("| method | test accuracy, mean of seeds (each) | training s | step ms, median | resident MiB | FLOPs of dense |")
print("| --- | --- | --- | --- | --- | --- |")
for method in sys.argv[2:]:
    runs = [json.load(open(p)) for p in sorted(glob.glob(f"{sys.argv[1]}/{method.replace('/', '-')}-[0-9]*.json"))]
    accuracies = [r["test_accuracy"] for r in runs]
    each = ", ".join(f"{a:.4f}" for a in accuracies)
    row = [
        method, f"{statistics.mean(accuracies):.4f} ({each})",
        f"{statistics.median(r['train_seconds'] for r in runs):.0f}",
        f"{statistics.median(r['step_ms_median'] for r in runs):.1f}",
        f"{max(r['peak_rss_bytes'] for r in runs) / 2**20:.0f}",
        f"{runs[0]['train_flops_per_sample'] / runs[0]['dense_train_flops_per_sample']:.4f}",
    ]
    print("| " + " | ".join(row) + " |")
PYTHON
