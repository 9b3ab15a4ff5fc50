#!/usr/bin/env bash
# Trains on several processes with a program that was built with the trait MPI: weights, losses and bytes with 1, 2 and 4 ranks;
# a rank that is killed; signals; a run that diverges; resuming with another number of ranks.
#
#   Tests/mpi.sh ESPALIER
#
# Needs Open MPI (openmpi-bin), Fashion-MNIST and python3.
set -euo pipefail
espalier=$(realpath "$1")
place=$(mktemp -d)
launcher=
clean_up() {
  [ -z "$launcher" ] || kill -9 $(pgrep -P "$launcher") "$launcher" 2>/dev/null || true
  rm -rf "$place"
}
trap clean_up EXIT
cd "$place"
# As in a container: the caller may be root, with fewer processors than ranks and other work beside them.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1

perceptron=(--model mlp --hidden 64,32 --batch-size 64 --max-steps 60 --seed 5)
convolutions=(--model resnet20 --width 0.25 --dataset synthetic --augment --batch-size 30 --max-steps 8 --seed 3 --lr 0.01)
settings=(--update-every 10 --checkpoint-every 20 --threads 1 --log-every 1 --json)

fail() { echo "Tests/mpi.sh: $*" >&2; exit 1; }
ranks() { mpirun -n "$@"; }

# 1. The same run with 1, 2 and 4 ranks, and with 2 once more.
for model in perceptron convolutions; do
  declare -n flags=$model
  "$espalier" train "${flags[@]}" "${settings[@]}" --output $model-1 >$model-1.json 2>errors || fail "$(cat errors)"
  for name in 2 4 again; do
    count=${name/again/2}
    ranks "$count" "$espalier" train "${flags[@]}" "${settings[@]}" --output $model-$name >$model-$name.json 2>errors ||
      fail "$model, $name: $(cat errors)"
    [ "$(echo $model-$name/* | wc -w)" = 1 ] || fail "$model, $name: more than one run's folder"
  done
  python3 - $model <<'END'
import glob, json, sys
model = sys.argv[1]
def load(name):
    result = json.load(open(f"{model}-{name}.json"))
    lines = [json.loads(line) for line in open(glob.glob(f"{model}-{name}/*/metrics.jsonl")[0])]
    return result, [line["train_loss"] for line in lines if "step" in line]
one, losses = load("1")
assert "parallel" not in one
for name, count in (("2", 2), ("4", 4), ("again", 2)):
    result, found = load(name)
    worst = max(abs(a - b) for a, b in zip(losses, found))
    assert len(losses) == len(found) and worst < 1e-3, (model, name, worst)
    assert abs(result["test_loss"] - one["test_loss"]) < 2e-3, (result["test_loss"], one["test_loss"])
    assert result["nnz"] == one["nnz"] and result["updates"] == one["updates"]
    parallel = result["parallel"]
    needed = 4 * (result["nnz"] + result["dense_parameters"]) * 2 * (count - 1) / count
    assert parallel["ranks"] == count and abs(parallel["gradient_bytes_per_step"] / needed - 1) < 0.05, (parallel, needed)
    print(f"{model}, {count} ranks: losses differ by {worst:.1e} at most, {parallel['gradient_bytes_per_step']} bytes of gradients a step, {needed:.0f} needed")
assert load("2")[0]["weights_sha256"] == load("again")[0]["weights_sha256"], "two runs with 2 ranks differ"
END
done

# Starts a run without an end on 3 ranks; leaves it in $job, $launcher and $processes once it has a checkpoint.
start() { # OUTPUT
  mpirun -n 3 "$espalier" train "${perceptron[@]}" "${settings[@]}" --max-steps 100000 --output "$1" >"$1.json" 2>"$1.err" &
  launcher=$!
  for ((i = 0; i < 1200; i++)); do
    [ -z "$(ls "$1"/*/checkpoints 2>/dev/null)" ] || break
    sleep 0.1
  done
  [ -n "$(ls "$1"/*/checkpoints)" ] || fail "$1: no checkpoint: $(cat "$1.err")"
  mapfile -t processes < <(pgrep -P $launcher)
  [ ${#processes[@]} = 3 ] || fail "$1: found processes ${processes[*]}"
}
# Waits until all processes have gone, and their launcher, whose exit code becomes $status.
finish() { # OUTPUT
  local began=$SECONDS
  for process in "${processes[@]}"; do
    while kill -0 "$process" 2>/dev/null; do
      [ $((SECONDS - began)) -lt 30 ] || fail "$1: process $process lives on after 30 s"
      sleep 0.1
    done
  done
  status=0
  wait $launcher || status=$?
  launcher=
}

# 2. A rank is killed: the others end, and the run goes on with another number of ranks, to the same step.
for victim in 0 1; do
  start killed-$victim
  kill -KILL "${processes[victim]}"
  finish killed-$victim
  [ $status != 0 ] || fail "a killed rank went unnoticed"
  grep -q "exited on signal 9" killed-$victim.err || fail "killed: $(cat killed-$victim.err)"
done
count=1
for command in "ranks 2" "ranks 4" ""; do
  status=0
  $command "$espalier" resume killed-1/* --max-time 3s >resumed.json 2>resumed.err || status=$?
  [ $status = 75 ] || fail "resume with '$command': exit code $status: $(cat resumed.err)"
  [ "$(grep -c "resumed after step" killed-1/*/train.log)" = $count ] || fail "resume with '$command'"
  count=$((count + 1))
done

# 3. Signals: to the launcher, which passes SIGUSR1 on, and to one rank.
start asked
kill -USR1 $launcher
finish asked
[ $status = 75 ] && grep -q '"stopped"' asked.json || fail "SIGUSR1 to mpirun: exit code $status: $(cat asked.err)"
start told
kill -TERM "${processes[2]}"
finish told
[ $status = 75 ] && grep -q '"stopped"' told.json || fail "SIGTERM to a rank: exit code $status: $(cat told.err)"

# 4. What ends all ranks is said once.
said() { # CODE WORDS FLAGS...
  local status=0
  ranks 3 "$espalier" train "${perceptron[@]}" --output said "${@:3}" >/dev/null 2>said.err || status=$?
  [ $status = "$1" ] || fail "$2: exit code $status: $(cat said.err)"
  # Rank 0 says it and ends the others; one that waited for it in vain for some seconds says it, too.
  grep -q "^espalier: error: .*$2" said.err || fail "$2: $(cat said.err)"
}
said 70 diverged --lr 1e30
said 64 batch-size --batch-size 2
said 64 sparsity --sparsity 2
said 74 nowhere --output /dev/null/nowhere
echo "Tests/mpi.sh: passed"
