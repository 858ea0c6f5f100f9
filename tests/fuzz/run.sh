#!/usr/bin/env bash
# Fuzzes all code that reads untrusted input:
#
#     tests/fuzz/run.sh               a fixed number of runs per target, always the same
#     tests/fuzz/run.sh 50000000      this many runs, with a new seed each time
#     tests/fuzz/run.sh --build       only builds the targets
#
# Each fuzz_*.cpp is a target; corpus/<target>/ has its initial inputs. An input that makes a target
# fail is stored in build/fuzz. Ends with a line `N passed, N failed`.
#
# Needs clang and its libFuzzer (Debian: clang, libclang-rt-14-dev).
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
build="${WAYSTATION_FUZZ_BUILD:-$here/../../build/fuzz}"
runs=20000
seed=1
only_build=
case "${1-20000}" in
  --build) only_build=yes ;;
  *[!0-9]* | "")
    echo "tests/fuzz/run.sh: \"$1\": not a number of runs and not --build" >&2
    exit 2
    ;;
  *)
    runs="${1:-$runs}"
    if [ $# -gt 0 ]; then seed=0; fi # 0: libFuzzer chooses one, and says which
    ;;
esac

cmake -S "$here" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None
cmake --build "$build" -j "$(nproc)"

if [ -n "$only_build" ]; then exit; fi

# fuzz TARGET: writes its output and exit code to files, because several run at once.
fuzz() {
  local target="$1" corpus=() code=0
  if [ -d "$here/corpus/$target" ]; then corpus=("$here/corpus/$target"); fi
  mkdir -p "$build/found/$target"
  # libFuzzer writes new inputs to the first folder and only reads the corpus.
  "$build/$target" -runs="$runs" -seed="$seed" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=0 -verbosity=0 -artifact_prefix="$build/$target-" \
    "$build/found/$target" ${corpus[@]+"${corpus[@]}"} >"$build/$target.log" 2>&1 || code=$?
  echo "$code" >"$build/$target.code"
}

# Ends the targets that still run, where this script is ended.
trap 'jobs -rp | xargs -r kill' EXIT
trap 'exit 1' TERM INT

targets=()
for source in "$here"/fuzz_*.cpp; do targets+=("$(basename "$source" .cpp)"); done
for target in "${targets[@]}"; do
  rm -f "$build/$target.code"
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
  fuzz "$target" &
done
wait

passed=0
failed=0
for target in "${targets[@]}"; do
  echo "$target: $runs runs"
  cat "$build/$target.log"
  if [ "$(cat "$build/$target.code")" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED  $target: what it was given lies in $build/$target-*"
  fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
