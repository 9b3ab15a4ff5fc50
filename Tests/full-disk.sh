#!/bin/bash
# Lets the disk fill up, and then the folder become read-only, while a small run saves its checkpoints: it must say so with exit code
# 74, keep every checkpoint that it had, and once there is room again come to the weights of a run that nobody disturbed.
#
#   Tests/full-disk.sh ESPALIER
#
# Mounts a tmpfs of its own, as root or in a user namespace, and gives up root's right to write everywhere.
set -eu
espalier=$(realpath "$1")
if [ -z "${2:-}" ]; then
  rights=(setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search)
  if [ "$(id -u)" = 0 ]; then exec unshare --mount "${rights[@]}" "$0" "$espalier" inside; fi
  exec unshare --map-root-user --mount "${rights[@]}" "$0" "$espalier" inside
fi
place=$(mktemp -d)
mount -t tmpfs -o size=16m none "$place"
trap 'umount -l "$place"; rmdir "$place"' EXIT
run=(--model mlp --hidden 64,32 --batch-size 64 --max-steps 4000 --update-every 50 --checkpoint-every 10 --seed 5)
hash() { python3 -c 'import json, sys; print(json.load(sys.stdin)["weights_sha256"])'; }
failures=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then echo "  ok: $what"; else echo "  WRONG: $what" && failures=$((failures + 1)); fi
}
whole() {
  local checkpoint
  for checkpoint in "$1"/checkpoints/step-*; do (cd "$checkpoint" && sha256sum --status -c SHA256SUMS) || return 1; done
}
clean() { [ -z "$(find "$1" -name '.unfinished-*')" ]; }

expected=$("$espalier" train --json "${run[@]}" --output "$place/whole" 2>/dev/null | hash)
echo "undisturbed: $expected"
rm -r "$place/whole"

fill() { dd if=/dev/zero of="$place/filler" bs=4k status=none 2>/dev/null || true; }
empty() { rm "$place/filler"; }
# The run renames and deletes files meanwhile, which chmod may find gone.
lock() { chmod -R a-w "$1" 2>/dev/null || true; }
unlock() { chmod -R u+w "$1"; }
for trouble in fill lock; do
  output=$place/$trouble
  "$espalier" train "${run[@]}" --output "$output" >/dev/null 2>"$place/errors" &
  process=$!
  until [ -n "$(find "$output" -path '*/checkpoints/step-*/SHA256SUMS' 2>/dev/null)" ]; do
    kill -0 "$process" 2>/dev/null || { cat "$place/errors" && echo "train ended before its first checkpoint" && exit 1; }
    sleep 0.01
  done
  folder=$(echo "$output"/*)
  "$trouble" "$folder"
  status=0
  wait "$process" || status=$?
  if [ "$trouble" = fill ]; then echo "full disk:"; else echo "read-only folder:"; fi
  echo "  $(grep -a 'espalier: error:' "$place/errors" | tail -1 | sed "s|$place|PLACE|g")"
  check "exit code 74 (found $status)" [ "$status" = 74 ]
  kept=$(ls "$folder/checkpoints")
  check "kept $(echo $kept)" [ -n "$kept" ]
  check "what was kept is whole" whole "$folder"
  status=0
  "$espalier" resume "$folder" >/dev/null 2>&1 || status=$?
  check "resume with the trouble still there: exit code 74 (found $status)" [ "$status" = 74 ]
  check "nothing that was kept has gone" [ "$(ls "$folder/checkpoints")" = "$kept" ]
  if [ "$trouble" = fill ]; then empty; else unlock "$folder"; fi
  found=$("$espalier" resume "$folder" --json 2>"$place/errors" | hash) || true
  check "resumed, it ends as the undisturbed run" [ "$found" = "$expected" ]
  check "without a damaged checkpoint" [ -z "$(grep -a warning "$place/errors")" ]
  check "no unfinished checkpoint is left" clean "$folder"
  rm -r "$output"
done
echo "$failures wrong"
[ "$failures" = 0 ]
