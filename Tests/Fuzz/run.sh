#!/bin/bash
# Runs one fuzzer from its committed corpus; ends with an error where it finds something, and keeps the input.
#
#   Tests/Fuzz/run.sh FUZZ FORMAT [SECONDS]
#
# FUZZ is the program that `make fuzz` builds; new inputs go beside it. To look at a finding: FUZZ_FORMAT=FORMAT FUZZ INPUT
#
# Longest inputs and largest single allocations go together: a header, whatever it claims, costs no more memory than in proportion to
# the file. Deflate packs 1032 bytes into one; a picture may have 8256 pixels a byte, as a blank one of a bit a pixel has; a
# checkpoint's model has at most 2^24 inputs, whose row starts take 8 bytes each.
set -eu
fuzz=$1 format=$2 seconds=${3:-600}
here=$(cd "$(dirname "$0")" && pwd)
case $format in
idx) longest=4096 mebibytes=17 ;;
cifar) longest=16384 mebibytes=1 ;;
npy) longest=4096 mebibytes=1 ;;
safetensors) longest=8192 mebibytes=130 ;;
config) longest=4096 mebibytes=16 ;;
picture) longest=4096 mebibytes=100 ;;
*)
  echo "unknown format '$format'; expected idx, cifar, npy, safetensors, config or picture" >&2
  exit 64
  ;;
esac
place=$(dirname "$fuzz")/fuzz-$format
mkdir -p "$place"
dictionary=$here/Dictionaries/$format.dict
options=()
[ ! -f "$dictionary" ] || options=(-dict="$dictionary")
# Traps are reported by libFuzzer.
export SWIFT_BACKTRACE=enable=no FUZZ_FORMAT=$format OMP_NUM_THREADS=1
export ASAN_OPTIONS=quarantine_size_mb=16:detect_leaks=0:allocator_may_return_null=1
exec "$fuzz" -max_total_time="$seconds" -max_len="$longest" -malloc_limit_mb="$mebibytes" -rss_limit_mb=1024 -timeout=20 \
  -print_final_stats=1 -artifact_prefix="$place-finding-" "${options[@]}" "$place" "$here/Corpus/$format"
