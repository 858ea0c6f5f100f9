#!/usr/bin/env bash
# Tests packaging/nginx with the real nginx and the server in WAYSTATION_BIN (default:
# build/release). Needs nginx, openssl, python3-websockets. Ends with a line `N passed, N failed`.
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"

need_server
need_commands openssl
need_program NGINX nginx usr/sbin/nginx
need_websockets

count_unittest /usr/bin/python3 "$here/test_nginx.py" "$@"
finish
