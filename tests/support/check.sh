# shellcheck shell=bash
# shellcheck disable=SC2154 # the script that sources this file sets root
# Functions for test scripts. Sourced.

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# check NAME COMMAND…: passes if the command succeeds; otherwise prints its output.
check() {
  local what="$1"
  shift
  if "$@" >"$scratch/log" 2>&1; then
    passed=$((passed + 1))
    printf 'ok      %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n' "$what"
    sed 's/^/        /' "$scratch/log" | tail -n 40
  fi
}

# skip NAME REASON: reports a check that did not run. It counts neither as passed nor as failed; in
# continuous integration it counts as failed, because nobody reads the output.
skip() {
  if [ -n "${CI:-}" ]; then
    failed=$((failed + 1))
    printf 'FAILED  %s: it is not run: %s\n' "$1" "$2"
  else
    printf 'not run %s: %s\n' "$1" "$2"
  fi
}

# unpacked PACKAGE PROGRAM: prints the path of a program such as usr/bin/promtool. If it is not
# installed, the program is extracted from Debian's package. Installing the package could start a
# service.
unpacked() {
  local package="$1" program="$2" folder="$root/build/tools/$1"
  if [ -x "/$program" ]; then
    printf '/%s' "$program"
    return
  fi
  if [ ! -x "$folder/$program" ]; then
    command -v apt-get >/dev/null || return
    mkdir -p "$folder"
    (cd "$folder" && { apt-get download "$package" || { apt-get update -qq && apt-get download "$package"; }; } &&
      dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x "./$program" && rm -f "$package"_*.deb) >&2 || return
  fi
  printf '%s' "$folder/$program"
}

# fail_all REASON: ends a suite that cannot run.
fail_all() {
  printf '%s\n0 passed, 1 failed\n' "$*"
  exit 1
}

# Sets and exports WAYSTATION_BIN (default: build/release).
need_server() {
  export WAYSTATION_BIN="${WAYSTATION_BIN:-$root/build/release/embed/waystation}"
  [ -x "$WAYSTATION_BIN" ] ||
    fail_all "$WAYSTATION_BIN: not found; build it (embed/run.sh), or set WAYSTATION_BIN"
}

# need_commands NAME…: for commands whose packages have the same names.
need_commands() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null || fail_all "$name: not found; apt-get install $name"
  done
}

need_websockets() {
  /usr/bin/python3 -c 'import websockets' 2>/dev/null ||
    fail_all "python3-websockets: not found; apt-get install python3-websockets"
}

# need_program VARIABLE PACKAGE PROGRAM: exports the path of a program as VARIABLE, unless it is set.
need_program() {
  local path
  if [ -z "${!1:-}" ]; then
    path="$(unpacked "$2" "$3")" || fail_all "${3##*/}: not found; set $1, or install $2"
    export "$1=$path"
  fi
}

# count_unittest COMMAND…: runs tests of Python's unittest and counts each of them.
count_unittest() {
  local log="$scratch/unittest" ran faults=0 count
  "$@" 2>&1 | tee "$log"
  ran="$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$log")"
  for count in $(sed -nE 's/^FAILED \((.*)\)$/\1/p' "$log" | grep -oE '(failures|errors)=[0-9]+'); do
    faults=$((faults + ${count#*=}))
  done
  if [ "${ran:-0}" -eq 0 ]; then
    ran=1
    faults=1
  fi
  passed=$((passed + ran - faults))
  failed=$((failed + faults))
}

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}
