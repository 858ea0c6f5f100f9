#!/usr/bin/env bash
# Tests packaging/cluster, the load balancers' files and module/CLUSTER.md with the real Redis, nginx and
# HAProxy, and the server in WAYSTATION_BIN (default: build/release). Needs redis-server, redis-sentinel,
# nginx, haproxy, openssl, curl, python3-websockets. Ends with a line `N passed, N failed`.
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"

need_server
need_commands redis-server redis-sentinel openssl curl
need_program NGINX nginx usr/sbin/nginx
need_program HAPROXY haproxy usr/sbin/haproxy
need_websockets

check "the tables of module/CLUSTER.md are the simulation's" \
  /usr/bin/python3 "$root/tests/bench/scale/scale.py" --check "$root/module/CLUSTER.md"
count_unittest /usr/bin/python3 "$here/test_cluster.py" "$@"
finish
