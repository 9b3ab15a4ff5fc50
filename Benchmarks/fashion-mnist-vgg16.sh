#!/usr/bin/env bash
# Trains what `make train` runs, VGG-16-small at 98 % sparsity on Fashion-MNIST, with three seeds a method, and prints a table.
#
#   Benchmarks/fashion-mnist-vgg16.sh OUTPUT [METHOD[/UPDATE_MODE]...]
#
# gse/add gse/replace static set/add by default; dense takes several times as long. OUTPUT gets METHOD-UPDATE_MODE-SEED.json of each
# run; those that are there already are not made again. SEEDS and THREADS may be set.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 OUTPUT [METHOD[/UPDATE_MODE]...]" >&2; exit 64; }
mkdir -p "$1"
output=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

methods=("$@")
[ $# -gt 0 ] || methods=(gse/add gse/replace static set/add)
seeds=${SEEDS:-0 1 2}

make build >&2
for choice in "${methods[@]}"; do
  method=${choice%/*}
  mode=${choice#"$method"}
  mode=${mode#/}
  mode=${mode:-replace}
  for seed in $seeds; do
    result="$output/${choice/\//-}-$seed.json"
    [ -e "$result" ] && continue
    .build/release/espalier train --preset fashion-mnist-vgg16-98 --method "$method" --update-mode "$mode" --seed "$seed" \
      ${THREADS:+--threads "$THREADS"} --output "$output/runs" --json >"$result.part"
    mv "$result.part" "$result"
  done
done

python3 - "$output" "$seeds" "${methods[@]}" <<'PYTHON'
import json, statistics, sys
output, seeds = sys.argv[1], sys.argv[2].split()
print("| method | test accuracy, mean of seeds (each) | training s | step ms, median | resident MiB | FLOPs of dense |")
print("| --- | --- | --- | --- | --- | --- |")
for method in sys.argv[3:]:
    runs = [json.load(open(f"{output}/{method.replace('/', '-')}-{seed}.json")) for seed in seeds]
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
