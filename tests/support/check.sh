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

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}
