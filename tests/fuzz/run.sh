#!/usr/bin/env bash
# Fuzzes all code that reads untrusted input:
#
#     tests/fuzz/run.sh               a fixed number of runs per target, always the same
#     tests/fuzz/run.sh 50000000      this many runs, with a new seed each time
#
# Each fuzz_*.cpp is a target; corpus/<target>/ has its initial inputs. An input that makes a target
# fail is stored in build/fuzz. Ends with a line `N passed, N failed`.
#
# Needs clang and its libFuzzer (Debian: clang, libclang-rt-14-dev).
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
build="${WAYSTATION_FUZZ_BUILD:-$here/../../build/fuzz}"
runs="${1:-20000}"
seed=1
if [ $# -gt 0 ]; then seed=0; fi # 0: libFuzzer chooses one, and says which

case "$runs" in
  *[!0-9]* | "")
    echo "tests/fuzz/run.sh: \"$runs\" is no number of runs" >&2
    exit 2
    ;;
esac

cmake -S "$here" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None
cmake --build "$build" -j "$(nproc)"

passed=0
failed=0
for source in "$here"/fuzz_*.cpp; do
  target="$(basename "$source" .cpp)"
  corpus=()
  if [ -d "$here/corpus/$target" ]; then corpus=("$here/corpus/$target"); fi
  mkdir -p "$build/found/$target"
  echo "$target: $runs runs"
  # libFuzzer writes new inputs to the first folder and only reads the corpus.
  if "$build/$target" -runs="$runs" -seed="$seed" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=0 -verbosity=0 -artifact_prefix="$build/$target-" \
    "$build/found/$target" ${corpus[@]+"${corpus[@]}"}; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED  $target: what it was given lies in $build/$target-*"
  fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
