#!/usr/bin/env bash
# What is judged without being run: how the sources are formatted, which locks are held (clang's
# thread-safety analysis, which g++ lacks; with it, all that another compiler warns of), and the shell
# scripts.
#
#     tests/static/run.sh             judges by build/release, which must have been configured
#     tests/static/run.sh --format    formats the sources
#     tests/static/run.sh --tidy      has clang-tidy look as well, which takes minutes
#
# Needs clang, clang-format 14 and shellcheck, and clang-tidy where it is asked for. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # what check() is given is called by it
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
cd "$root" || exit

# The tree's own files, also those that are not committed yet. C has another style than the tool knows.
ours() {
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}
format() { ours '*.cpp' '*.hpp' | xargs clang-format-14 "$@"; }

scripts() {
  ours | while read -r file; do
    if head -c 40 "$file" | grep -aqE '^#!.*\b(ba|da)?sh\b|^# shellcheck shell='; then
      printf '%s\n' "$file"
    fi
  done
}

scripts_are_sound() { scripts | xargs shellcheck --external-sources --severity=warning; }

# Each kind of violation, in a tree of its own.
rule_is_checked() {
  local tree="$scratch/tree" found=0
  mkdir -p "$tree/module/relay" "$tree/module/http" "$tree/module/unknown" "$tree/embed"
  echo '#include "api/relay.hpp"' >"$tree/module/relay/a.cpp"
  echo '#include <sqlite3.h>' >"$tree/module/http/b.cpp"
  echo '#include "relay/hub.hpp"' >"$tree/embed/c.cpp"
  /usr/bin/python3 "$here/modules.py" "$tree" >"$scratch/violations" && return 1
  for name in relay/a.cpp:1 http/b.cpp:1 embed/c.cpp:1 module/unknown; do
    grep -qF "$name" "$scratch/violations" && found=$((found + 1))
  done
  [ "$found" -eq 4 ] && [ "$(wc -l <"$scratch/violations")" -eq 4 ]
}

tidy() { run-clang-tidy -quiet -p "$root/build/release" "^$root/(module|embed)/.*\.cpp$"; }

if ! git rev-parse --is-inside-work-tree >/dev/null; then
  echo "tests/static: this is not a clone, and git says which files are the project's own"
  exit 77
fi
if [ "${1:-}" = --format ]; then
  format -i
  exit
fi
check "the sources are formatted (tests/static/run.sh --format)" format --dry-run -Werror
check "clang finds nothing wrong, locks included" \
  /usr/bin/python3 "$here/clang.py" "$root/build/release/compile_commands.json"
check "shellcheck finds nothing wrong" scripts_are_sound
check "includes follow the dependency rule" /usr/bin/python3 "$here/modules.py" "$root"
check "a violation of the rule is found" rule_is_checked
if [ "${1:-}" = --tidy ]; then check "clang-tidy finds nothing wrong" tidy; fi
finish
