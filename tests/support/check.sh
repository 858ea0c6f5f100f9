# shellcheck shell=bash
# shellcheck disable=SC2154 # root is whose who sources this
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

# skip WHAT WHY: says what was not looked at. It counts as neither; but where nobody reads what is
# printed, in continuous integration, as a failure.
skip() {
  if [ -n "${CI:-}" ]; then
    failed=$((failed + 1))
    printf 'FAILED  %s: it is not run: %s\n' "$1" "$2"
  else
    printf 'not run %s: %s\n' "$1" "$2"
  fi
}

# unpacked PACKAGE PROGRAM: the path of a program, such as usr/bin/promtool, that may be installed, or
# else is taken out of Debian's package and not installed: a machine that runs tests did not ask for
# the services that some programs come with.
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
