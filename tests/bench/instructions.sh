#!/usr/bin/env bash
# Counts the instructions it takes to pass a message, and compares with instructions.txt:
#
#     tests/bench/instructions.sh             fails where one takes a tenth more than it did
#     tests/bench/instructions.sh --record    writes what it takes now
#
# The count does not depend on the machine's mood, only on the compiler: that of Debian 12. Ends
# with `N passed, N failed`.
set -euo pipefail

self=tests/bench/instructions.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"

recorded="$root/tests/bench/instructions.txt"
margin_percent=10
# The difference of two runs leaves out what happens once.
few=400
many=1400

need_packages "${build_packages[@]}" valgrind

folder="${WAYSTATION_BENCH_BUILD:-$root/build/bench}"
mkdir -p "$folder"
if ! cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DWAYSTATION_BUILD_TESTS=OFF -DWAYSTATION_BUILD_BENCH=ON >"$folder/configure.log" 2>&1; then
  cat "$folder/configure.log" >&2
  exit 1
fi
cmake --build "$folder" --target waystation_feed -- -j"$(nproc)" --quiet >&2
feed="$folder/tests/bench/instructions/waystation_feed"

# instructions SCENE MESSAGES: of the run's pass_all().
instructions() {
  local out
  out="$(mktemp)"
  if ! valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect='*pass_all*' \
    "$feed" "$1" "$2" >"$out.log" 2>&1; then
    cat "$out.log" >&2
    rm -f "$out" "$out.log"
    return 1
  fi
  sed -n 's/^summary: \([0-9]*\).*/\1/p' "$out"
  rm -f "$out" "$out.log"
}

scenes="$("$feed" 2>&1 | sed -n 's/^  //p' || true)"
passed=0
failed=0
lines=()
for scene in $scenes; do
  first="$(instructions "$scene" "$few")"
  second="$(instructions "$scene" "$many")"
  count=$(((second - first) / (many - few)))
  before="$(sed -n "s/^$scene //p" "$recorded" 2>/dev/null || true)"
  lines+=("$scene $count")
  if [ "${1:-}" = --record ]; then
    printf '%-28s %7d instructions a message (was %s)\n' "$scene" "$count" "${before:-not counted}"
  elif [ -n "$before" ] && [ "$count" -le $((before * (100 + margin_percent) / 100)) ]; then
    passed=$((passed + 1))
    printf '%-28s %7d instructions a message, recorded %s\n' "$scene" "$count" "$before"
  else
    failed=$((failed + 1))
    printf '%-28s %7d instructions a message, recorded %s: too many\n' "$scene" "$count" \
      "${before:-nothing}"
  fi
done

if [ "${1:-}" = --record ]; then
  printf '%s\n' "${lines[@]}" >"$recorded"
  exit 0
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
