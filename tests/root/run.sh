#!/bin/bash
# Tests that need root: small file systems, remounts, a file of another user, a user that may not
# start threads, failing networks.
#
#     tests/root/run.sh [PROGRAM]      PROGRAM: build/release/embed/waystation unless named
#
# If they cannot run, the script prints the reason and exits with 77, which test drivers read as
# "skipped". The last line is always `N passed, N failed`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export WAYSTATION_BIN=${1:-${WAYSTATION_BIN:-$root/build/release/embed/waystation}}
export PYTHONDONTWRITEBYTECODE=1

cannot() {
  echo "tests/root: not run: $1"
  echo "0 passed, 0 failed"
  exit 77
}

[ "$(id -u)" = 0 ] || cannot "this needs root, and this is $(id -un)"
[ -x "$WAYSTATION_BIN" ] || cannot "there is no program at $WAYSTATION_BIN; build it first"
mountpoint=$(mktemp -d)
trap 'rmdir "$mountpoint"' EXIT
mount -t tmpfs -o size=64k none "$mountpoint" 2>/dev/null ||
  cannot "file systems cannot be mounted here (a container without CAP_SYS_ADMIN?)"
umount "$mountpoint"

passed=0
failed=0
# run COMMAND…: runs a test file. A file that ran no test has failed as a whole.
run() {
  local report ran bad skipped
  report=$(mktemp)
  "$@" --verbose 2>&1 | tee "$report"
  ran=$(sed -n 's/^Ran \([0-9]*\) test.*/\1/p' "$report")
  bad=$(grep -cE '^(FAIL|ERROR): ' "$report")
  skipped=$(grep -c ' \.\.\. skipped ' "$report")
  rm -f "$report"
  [ -n "$ran" ] || { ran=1; bad=1; }
  passed=$((passed + ran - bad - skipped))
  failed=$((failed + bad))
}

run /usr/bin/python3 "$here/test_audit.py"
run /usr/bin/python3 "$here/test_exhausted.py"
if unshare --net true 2>/dev/null; then
  # In a separate network namespace.
  run unshare --net /usr/bin/python3 "$here/test_network.py"
  if command -v redis-server >/dev/null; then
    run unshare --net /usr/bin/python3 "$here/test_cluster_network.py"
  else
    echo "tests/root: redis-server is not installed: test_cluster_network.py is not run"
  fi
else
  echo "tests/root: no network namespace available: test_network.py is not run"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
