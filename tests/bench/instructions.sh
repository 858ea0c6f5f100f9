#!/usr/bin/env bash
# Counts the instructions of the relay per message, and compares them with instructions.txt:
#
#     tests/bench/instructions.sh              fails if a count changed by a tenth or more
#     tests/bench/instructions.sh --record     stores the current counts
#     tests/bench/instructions.sh --profile    prints the counts by function
#     tests/bench/instructions.sh --lines      prints how many cache lines a message misses
#
# The count depends only on the compiler and the C library, those of Debian 12, and on a processor with
# AVX2. The script also builds the other benchmarks, so that they keep compiling. Ends with
# `N passed, N failed`.
set -euo pipefail

self=tests/bench/instructions.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"
# shellcheck source=tests/bench/setup.sh
. "$root/tests/bench/setup.sh"

recorded="$root/tests/bench/instructions.txt"
margin_percent=10
# The difference of two runs excludes one-time costs.
few=1000
many=2000

need_packages "${build_packages[@]}" "${bench_packages[@]}" valgrind
if ! build_bench; then
  printf '0 passed, 1 failed\n'
  exit 1
fi
feed="$bench_build/tests/bench/instructions/waystation_feed"

# The C library selects a copy function by processor, and callgrind counts each byte of a `rep
# movsb`. These settings select the same functions everywhere.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL:glibc.cpu.x86_non_temporal_threshold=0x10000000

# callgrind SCENE MESSAGES OUT [OPTION]…: writes OUT-01, OUT-02, …: one file per thread, the second is
# the relay's.
callgrind() {
  if ! valgrind --tool=callgrind --separate-threads=yes --fair-sched=yes "${@:4}" \
    --callgrind-out-file="$3" "$feed" "$1" "$2" >"$3.log" 2>&1; then
    cat "$3.log" >&2
    return 1
  fi
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# instructions SCENE MESSAGES: the instructions of the relay's thread. Fails if there is no count.
instructions() {
  local totals
  rm -f "$scratch"/out*
  callgrind "$1" "$2" "$scratch/out" || return 1
  totals="$(sed -n 's/^totals: //p' "$scratch/out-02")" || return 1
  if ! [[ "$totals" =~ ^[1-9][0-9]*$ ]]; then
    say "callgrind gave no totals of $1"
    return 1
  fi
  printf '%s\n' "$totals"
}

# a_message SCENE: instructions per message. Fails if there is no count.
a_message() {
  local first second
  first="$(instructions "$1" "$few")" || return 1
  second="$(instructions "$1" "$many")" || return 1
  printf '%s\n' $(((second - first) / (many - few)))
}

# missed_lines MESSAGES: the lines that a second-level cache of 512 KiB misses, of 1,000 pairs.
missed_lines() {
  callgrind plain_chat_64_1000_pairs "$1" "$scratch/out" --cache-sim=yes --D1=32768,8,64 \
    --LL=524288,8,64 || return 1
  awk '/^events:/ { for (i = 2; i <= NF; ++i) at[$i] = i }
    /^totals:/ { print $at["DLmr"] + $at["DLmw"] }' "$scratch/out-02"
}

# Without a scene the program prints its usage and fails.
scenes="$("$feed" 2>&1 | sed -n 's/^  //p' || true)"
if [ -z "$scenes" ]; then
  say "${feed#"$root"/} names no scenes"
  printf '0 passed, 1 failed\n'
  exit 1
fi

if [ "${1:-}" = --profile ]; then
  for scene in plain_chat_64_alone plain_chat_64 v1_push_64 plain_chat_2048; do
    callgrind "$scene" 4000 "$scratch/out"
    printf '%s, of 4,000 messages: the functions with the most instructions of their own\n\n' "$scene"
    # Names of standard containers are too long to read.
    callgrind_annotate --threshold=95 "$scratch/out-02" |
      sed -n '/file:function/,$p' | sed -E 's#[^ ]*/(module|tests)/#\1/#; s# \[[^]]*\]$##' |
      cut -c1-150 | grep -v '^-*$' | head -n 25
    printf '\n'
  done
  exit 0
fi

if [ "${1:-}" = --lines ]; then
  say "1,000 pairs in callgrind's simulation of a cache"
  first="$(missed_lines 8000)"
  second="$(missed_lines 24000)"
  awk -v lines="$((second - first))" 'BEGIN { printf "%.1f cache lines a message\n", lines / 16000 }'
  exit 0
fi

passed=0
failed=0
lines=()

# judge PASSED SCENE COUNT BEFORE [WHY]
judge() {
  local mark=ok
  if "$1"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    mark=FAILED
  fi
  printf '%-7s %-28s %7s instructions a message, recorded %s%s\n' "$mark" "$2" "$3" "$4" "${5:+: $5}"
}

for scene in $scenes; do
  before="$(sed -n "s/^$scene //p" "$recorded" 2>/dev/null || true)"
  if ! count="$(a_message "$scene")"; then
    judge false "$scene" no "${before:-nothing}" "it could not be counted"
    continue
  fi
  lines+=("$scene $count")
  if [ "${1:-}" = --record ]; then
    judge true "$scene" "$count" "${before:-nothing}"
  elif [ -z "$before" ]; then
    judge false "$scene" "$count" nothing "record it"
  elif [ "$((count * 100))" -gt "$((before * (100 + margin_percent)))" ]; then
    judge false "$scene" "$count" "$before" "too many"
  elif [ "$((count * 100))" -lt "$((before * (100 - margin_percent)))" ]; then
    judge false "$scene" "$count" "$before" \
      "too few: record again after an optimization; otherwise a part of the work is missing"
  else
    judge true "$scene" "$count" "$before"
  fi
done

if [ "${1:-}" = --record ]; then
  if [ "$failed" -ne 0 ]; then fail "nothing was recorded"; fi
  printf '%s\n' "${lines[@]}" >"$recorded"
  exit 0
fi
if [ -f "$recorded" ]; then
  while read -r scene before; do
    if ! grep -qxF -- "$scene" <<<"$scenes"; then
      judge false "$scene" no "$before" "the feed has no such scene"
    fi
  done <"$recorded"
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
