#!/usr/bin/env bash
# Tests packaging/nginx with the real nginx and the server in WAYSTATION_BIN (default:
# build/release). Needs nginx, openssl, python3-websockets. Ends with a line `N passed, N failed`.
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
command -v openssl >/dev/null || give_up "openssl: not found; needed for a certificate: apt-get install openssl"
[ -n "${NGINX:-}" ] || NGINX="$(unpacked nginx usr/sbin/nginx)" ||
  give_up "nginx: not found; set NGINX, or install nginx-light"
export NGINX
/usr/bin/python3 -c 'import websockets' 2>/dev/null ||
  give_up "python3-websockets: not found; apt-get install python3-websockets"

log="$scratch/log"
/usr/bin/python3 "$here/test_nginx.py" "$@" 2>&1 | tee "$log"
ran="$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$log")"
failed=0
for count in $(sed -nE 's/^FAILED \((.*)\)$/\1/p' "$log" | grep -oE '(failures|errors)=[0-9]+'); do
  failed=$((failed + ${count#*=}))
done
if [ "${ran:-0}" -eq 0 ]; then
  ran=1
  failed=1
fi
passed=$((ran - failed))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
