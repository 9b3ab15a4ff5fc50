#!/bin/bash
# Kills a small training run with SIGKILL at random moments, resumes it each time, and compares its weights with those of a run
# that nobody disturbed.
#
#   Tests/kill-and-resume.sh ESPALIER [TIMES [SEED]]
#
# Each run is killed once while `train` works and once while `resume` does, then resumed to its end; threads change on the way.
set -eu
espalier=$1 times=${2:-50}
RANDOM=${3:-1}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
run=(--model mlp --hidden 64,32 --batch-size 64 --max-steps 400 --update-every 10 --checkpoint-every 7 --validation 0.1 --seed 5)
hash() { python3 -c 'import json, sys; print(json.load(sys.stdin)["weights_sha256"])'; }

begin=$(date +%s%N)
expected=$("$espalier" train --json "${run[@]}" --threads 1 --output "$place/whole" 2>/dev/null | hash)
milliseconds=$((($(date +%s%N) - begin) / 1000000))
echo "undisturbed: $expected in $milliseconds ms"

failures=0 unborn=0
for ((i = 1; i <= times; i++)); do
  first=$((RANDOM % milliseconds)) second=$((RANDOM % milliseconds)) threads=$((1 + i % 3))
  output=$place/$i
  timeout -s KILL "$(printf '%d.%03d' $((first / 1000)) $((first % 1000 + 1)))" \
    "$espalier" train "${run[@]}" --threads 1 --output "$output" >/dev/null 2>&1 || true
  folder=$(echo "$output"/*)
  if [ ! -f "$folder/config.yaml" ]; then
    unborn=$((unborn + 1)) i=$((i - 1))
    [ "$unborn" -le $((10 * times)) ] || { echo "no run lives long enough"; exit 1; }
    continue
  fi
  before=$(ls "$folder/checkpoints" 2>/dev/null | tail -1)
  timeout -s KILL "$(printf '%d.%03d' $((second / 1000)) $((second % 1000 + 1)))" \
    "$espalier" resume "$folder" --threads 2 >/dev/null 2>&1 || true
  between=$(ls "$folder/checkpoints" 2>/dev/null | tail -1)
  found=$("$espalier" resume "$folder" --json --threads "$threads" 2>"$place/errors" | hash) || true
  if [ "$found" != "$expected" ] || grep -q warning "$place/errors"; then
    failures=$((failures + 1))
    echo "run $i, killed after $first ms and $second ms: $found"
    cat "$place/errors"
  else
    echo "run $i: killed after $first ms (${before:-no checkpoint}), $second ms (${between:-no checkpoint}), threads $threads: equal"
  fi
done
echo "$times runs, and $unborn that were killed before their folder was made; $failures differ"
[ "$failures" -eq 0 ]
