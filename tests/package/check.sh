# shellcheck shell=bash
# What the scripts here have in common. Sourced.

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# check WHAT COMMAND…: passes if the command does; its output is shown if not.
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

# skip WHAT WHY: says what was not looked at. It counts as neither.
skip() { printf 'not run %s: %s\n' "$1" "$2"; }

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}
