#!/usr/bin/env bash
# Counts the instructions it takes to pass a message, and compares with instructions.txt:
#
#     tests/bench/instructions.sh              fails where one takes a tenth more than it did
#     tests/bench/instructions.sh --record     writes what it takes now
#     tests/bench/instructions.sh --profile    says where they go, function by function
#
# The count does not depend on the machine's mood, only on the compiler and the C library: those of
# Debian 12. Builds all else that measures speed too, so that it stays in order. Ends with
# `N passed, N failed`.
set -euo pipefail

self=tests/bench/instructions.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"
# shellcheck source=tests/bench/setup.sh
. "$root/tests/bench/setup.sh"

recorded="$root/tests/bench/instructions.txt"
margin_percent=10
# The difference of two runs leaves out what happens once.
few=400
many=1400

need_packages "${build_packages[@]}" "${bench_packages[@]}" valgrind
if ! build_bench; then
  printf '0 passed, 1 failed\n'
  exit 1
fi
feed="$bench_build/tests/bench/instructions/waystation_feed"

# The C library chooses how to copy by what the processor can do, and callgrind counts each byte of
# a `rep movsb`: everywhere the same plain ways are taken.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL:glibc.cpu.x86_non_temporal_threshold=0x10000000

# callgrind SCENE MESSAGES OUT: writes OUT-01, OUT-02, …: one file a thread, the relay's the second.
callgrind() {
  if ! valgrind --tool=callgrind --separate-threads=yes --fair-sched=yes \
    --callgrind-out-file="$3" "$feed" "$1" "$2" >"$3.log" 2>&1; then
    cat "$3.log" >&2
    return 1
  fi
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# instructions SCENE MESSAGES: of the relay's thread.
instructions() {
  callgrind "$1" "$2" "$scratch/out"
  sed -n 's/^totals: //p' "$scratch/out-02"
}

scenes="$("$feed" 2>&1 | sed -n 's/^  //p' || true)"

if [ "${1:-}" = --profile ]; then
  for scene in plain_chat_64_alone plain_chat_64 v1_push_64 plain_chat_2048; do
    callgrind "$scene" 4000 "$scratch/out"
    printf '%s, of 4,000 messages: the functions with the most instructions of their own\n\n' "$scene"
    # Names of standard containers are longer than what they say.
    callgrind_annotate --threshold=95 "$scratch/out-02" |
      sed -n '/file:function/,$p' | sed -E 's#[^ ]*/(module|tests)/#\1/#; s# \[[^]]*\]$##' |
      cut -c1-150 | grep -v '^-*$' | head -n 25
    printf '\n'
  done
  exit 0
fi

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
