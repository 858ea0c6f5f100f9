#!/usr/bin/env bash
# Static checks: formatting, clang's warnings with its thread-safety analysis (which g++ lacks), the
# dependency rule, shellcheck, and undefined or unused names in Python.
#
#     tests/static/run.sh             needs a configured build/release
#     tests/static/run.sh --format    formats the sources
#     tests/static/run.sh --tidy      also runs clang-tidy, which takes minutes
#
# Needs clang, clang-format 14, flake8 and shellcheck; --tidy needs clang-tidy. Ends with a line
# `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
cd "$root" || exit

# The project's files, including uncommitted ones. C files are not formatted: their style differs.
project_files() {
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}
format() { project_files '*.cpp' '*.hpp' | xargs clang-format-14 "$@"; }

scripts() {
project_files | while read -r file; do
    if head -c 40 "$file" | grep -aqE '^#!.*\b(ba|da)?sh\b|^# shellcheck shell='; then
      printf '%s\n' "$file"
    fi
  done
}

scripts_pass_shellcheck() { scripts | xargs shellcheck --external-sources --severity=warning; }

# Errors of Python that would only show when the line runs: names above all.
python_errors() { flake8 --isolated --select=E9,F "$@"; }
python_has_no_errors() {
  local files
  mapfile -t files < <(project_files '*.py')
  python_errors "${files[@]}"
}

python_errors_are_found() {
  printf 'import os\n\n\ndef ends():\n    wait_until(1)\n' >"$scratch/names.py"
  python_errors "$scratch/names.py" >"$scratch/errors" && return 1
  grep -q "F401 'os'" "$scratch/errors" && grep -q "F821.*'wait_until'" "$scratch/errors"
}

# Each kind of violation, in a scratch tree.
violations_are_found() {
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
  echo "tests/static: not a git clone; git lists the project's files"
  exit 77
fi
if [ "${1:-}" = --format ]; then
  format -i
  exit
fi
check "the sources are formatted (tests/static/run.sh --format)" format --dry-run -Werror
check "clang reports no warnings (thread-safety analysis included)" \
  /usr/bin/python3 "$here/clang.py" "$root/build/release/compile_commands.json"
check "shellcheck reports no warnings" scripts_pass_shellcheck
check "flake8 finds no errors in Python" python_has_no_errors
check "undefined and unused names in Python are found" python_errors_are_found
check "includes follow the dependency rule" /usr/bin/python3 "$here/modules.py" "$root"
check "violations of the dependency rule are found" violations_are_found
if [ "${1:-}" = --tidy ]; then check "clang-tidy reports no warnings" tidy; fi
finish
