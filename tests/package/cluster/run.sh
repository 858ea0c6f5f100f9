#!/usr/bin/env bash
# Tests packaging/cluster, the load balancers' files and module/CLUSTER.md with the real Redis, nginx and
# HAProxy, and the server in WAYSTATION_BIN (default: build/release). Needs redis-server, redis-sentinel,
# nginx, haproxy, openssl, curl, python3-websockets. Ends with a line `N passed, N failed`.
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
export WAYSTATION_BIN="${WAYSTATION_BIN:-$root/build/release/embed/waystation}"

give_up() {
  printf '%s\n0 passed, 1 failed\n' "$*"
  exit 1
}

[ -x "$WAYSTATION_BIN" ] ||
  give_up "$WAYSTATION_BIN: not found; build it (embed/run.sh), or set WAYSTATION_BIN"
for tool in redis-server redis-sentinel openssl curl; do
  command -v "$tool" >/dev/null || give_up "$tool: not found; apt-get install $tool"
done
[ -n "${NGINX:-}" ] || NGINX="$(unpacked nginx usr/sbin/nginx)" ||
  give_up "nginx: not found; set NGINX, or install nginx-light"
[ -n "${HAPROXY:-}" ] || HAPROXY="$(unpacked haproxy usr/sbin/haproxy)" ||
  give_up "haproxy: not found; set HAPROXY, or install haproxy"
export NGINX HAPROXY
/usr/bin/python3 -c 'import websockets' 2>/dev/null ||
  give_up "python3-websockets: not found; apt-get install python3-websockets"

check "the tables of module/CLUSTER.md are the simulation's" \
  /usr/bin/python3 "$root/tests/bench/scale/scale.py" --check "$root/module/CLUSTER.md"

log="$scratch/python"
/usr/bin/python3 "$here/test_cluster.py" "$@" 2>&1 | tee "$log"
ran="$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$log")"
faults=0
for count in $(sed -nE 's/^FAILED \((.*)\)$/\1/p' "$log" | grep -oE '(failures|errors)=[0-9]+'); do
  faults=$((faults + ${count#*=}))
done
if [ "${ran:-0}" -eq 0 ]; then
  ran=1
  faults=1
fi
passed=$((passed + ran - faults))
failed=$((failed + faults))
finish
