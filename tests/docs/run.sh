#!/usr/bin/env bash
# Runs the code blocks of the documents, so that what a reader pastes works:
#
#     tests/docs/run.sh              every document, with build/release
#     tests/docs/run.sh README.md    these documents only
#
# Needs build/release, curl, sqlite3, Django, a C compiler, cmake and pkg-config. README.md in this folder says
# how a block is marked. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
build="$root/build/release"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"

installed() { cmake --install "$build" --prefix "$scratch/prefix"; }

# Each block of broken.md has a fault: the run fails if one of them passes.
faults_are_found() {
  local log="$scratch/faults" blocks
  blocks="$(grep -c '^<!-- fault -->$' "$here/broken.md")"
  /usr/bin/python3 "$here/blocks.py" --prefix "$scratch/prefix" tests/docs/broken.md >"$log" 2>&1
  cat "$log"
  [ "$blocks" -ge 10 ] && grep -qx "0 passed, $blocks failed" <<<"$(tail -n 1 "$log")"
}

# Each test that SECURITY.md's table names is there: the path, and the names behind it in that file.
security_names_tests() {
  /usr/bin/python3 - "$root" <<'PYTHON'
import pathlib, re, sys
root = pathlib.Path(sys.argv[1])
rows = [line for line in (root / "SECURITY.md").read_text(encoding="utf-8").splitlines() if re.match(r"\|[^|]*\|[^|]*\|[^|]*`", line)]
missing = []
for part in (part for row in rows for part in row.strip("|").split("|")[2].split(";")):
    paths = [root / "tests" / path for path in re.findall(r"`([^`]+)`", part)]
    missing += [f"there is no {path}" for path in paths if not path.exists()]
    texts = "".join(file.read_text(encoding="utf-8", errors="replace") for path in paths
                    for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    names = re.sub(r".*`", "", part).split(",")
    missing += [f"no test is called {name.strip()}: {part.strip()}" for name in names if name.strip() and name.strip() not in texts]
print("\n".join(missing))
sys.exit(bool(missing) or len(rows) < 20)
PYTHON
}

if [ ! -x "$build/embed/waystation" ]; then
  echo "FAILED  there is no $build/embed/waystation; build it first: embed/run.sh, or cmake --build --preset release"
  echo "0 passed, 1 failed"
  exit 1
fi
check "the build installs into an empty prefix" installed
[ "$failed" -eq 0 ] || finish
check "SECURITY.md names tests that exist" security_names_tests
check "each fault of broken.md is found" faults_are_found

/usr/bin/python3 "$here/blocks.py" --prefix "$scratch/prefix" "$@" 2>&1 | tee "$scratch/blocks"
counts="$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$scratch/blocks" | tail -n 1)"
[ -n "$counts" ] || { echo "FAILED  tests/docs/blocks.py did not finish"; counts="0 1"; }
passed=$((passed + ${counts% *}))
failed=$((failed + ${counts#* }))
finish
