#!/bin/bash
# Kills a small training run with SIGKILL at random moments, resumes it each time, and compares its weights with those of a run
# that nobody disturbed.
#
#   Tests/kill-and-resume.sh ESPALIER [TIMES [SEED]]
#
# Each run is killed once while `train` works and once while `resume` does, then resumed to its end; threads change on the way. Moments
# are drawn in steps and milliseconds, so that they are spread over the run however busy the machine is; one in five lies before the
# first checkpoint, as soon as the run has a folder.
set -eu
espalier=$1 times=${2:-50}
RANDOM=${3:-1}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
steps=400
run=(--model mlp --hidden 64,32 --batch-size 64 --max-steps $steps --update-every 10 --checkpoint-every 7 --validation 0.1 --seed 5)
run+=(--log-every 1)
hash() { python3 -c 'import json, sys; print(json.load(sys.stdin)["weights_sha256"])'; }
lines() { cat "$1"/*/metrics.jsonl 2>/dev/null | wc -l; }

# Starts a command that writes its run below OUTPUT; kills it some milliseconds after its metrics have LINES lines, or 0: after it has a
# configuration. It may come to its end before.
kill_after() { # OUTPUT LINES MILLISECONDS COMMAND...
  local output=$1 wanted=$2 milliseconds=$3 process
  shift 3
  "$@" >/dev/null 2>&1 &
  process=$!
  while kill -0 $process 2>/dev/null; do
    if [ "$wanted" = 0 ]; then
      [ -z "$(ls "$output"/*/config.yaml 2>/dev/null)" ] || break
    elif [ "$(lines "$output")" -ge "$wanted" ]; then
      break
    fi
    sleep 0.002
  done
  sleep "$(printf '0.%03d' "$milliseconds")"
  kill -KILL $process 2>/dev/null || true
  wait $process 2>/dev/null || true
}

expected=$("$espalier" train --json "${run[@]}" --threads 1 --output "$place/whole" 2>/dev/null | hash)
echo "undisturbed: $expected"

failures=0 early=0
for ((i = 1; i <= times; i++)); do
  output=$place/$i threads=$((1 + i % 3)) first=$((1 + RANDOM % steps))
  [ $((i % 5)) != 0 ] || first=0
  kill_after "$output" $first $((RANDOM % 20)) "$espalier" train "${run[@]}" --threads 1 --output "$output"
  folder=$(echo "$output"/*)
  before=$(ls "$folder/checkpoints" 2>/dev/null | tail -1)
  [ -n "$before" ] || early=$((early + 1))
  written=$(lines "$output")
  second=$((written + 1 + RANDOM % (steps - written + 10)))
  kill_after "$output" $second $((RANDOM % 20)) "$espalier" resume "$folder" --threads 2
  between=$(ls "$folder/checkpoints" 2>/dev/null | tail -1)
  found=$("$espalier" resume "$folder" --json --threads "$threads" 2>"$place/errors" | hash) || true
  if [ "$found" != "$expected" ] || grep -q warning "$place/errors"; then
    failures=$((failures + 1))
    echo "run $i, killed after line $first and $second: $found"
    cat "$place/errors"
  else
    echo "run $i: killed after line $first (${before:-no checkpoint}) and $second (${between:-no checkpoint}), threads 1, 2, $threads: equal"
  fi
  rm -rf "$output"
done
echo "$times runs, $early of them killed before their first checkpoint; $failures differ"
[ "$failures" -eq 0 ]
