#!/usr/bin/env bash
# Builds the nginx module and tests it with the real nginx and the server in WAYSTATION_BIN (default:
# build/release):
#
#     tests/nginx-module/run.sh [--long] [TEST…]     TEST: such as test_pump.Tls13
#     tests/nginx-module/run.sh --address            builds nginx itself under AddressSanitizer too
#
# WAYSTATION_NGINX_SOURCE names the source of another nginx, and NGINX its program. Without the first,
# --address takes Debian's source package. Needs nginx, openssl, curl, python3-websockets. Ends with a line `N passed, N failed`.
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/debian_sources.sh
. "$root/tests/support/debian_sources.sh"
export WAYSTATION_BIN="${WAYSTATION_BIN:-$root/build/release/embed/waystation}"
source="${WAYSTATION_NGINX_SOURCE:-}"
address=

give_up() {
  printf '%s\n0 passed, 1 failed\n' "$*"
  exit 1
}

while [ $# -gt 0 ]; do
  case "$1" in
    --long) export WAYSTATION_LONG=yes ;;
    --address) address=yes ;;
    --*) give_up "unknown option $1; the options are --long and --address" ;;
    *) break ;;
  esac
  shift
done

[ -x "$WAYSTATION_BIN" ] ||
  give_up "$WAYSTATION_BIN: not found; build it (embed/run.sh), or set WAYSTATION_BIN"
for program in openssl curl; do
  command -v "$program" >/dev/null || give_up "$program: not found; apt-get install $program"
done

# nginx and the module under AddressSanitizer, in build/nginx-asan.
build_sanitized() {
  local work="$root/build/nginx-asan"
  rm -rf "$work"
  mkdir -p "$work"
  if [ -n "$source" ]; then
    cp -R -- "$source" "$work/source"
  else
    debian_sources nginx "$work/package" >&2 &&
      dpkg-source -x "$work"/package/nginx_*.dsc "$work/source" >&2 || return
  fi
  (
    cd "$work/source" || exit
    configure=./configure
    [ -x "$configure" ] || configure=./auto/configure
    "$configure" --prefix="$work" --builddir="$work/objects" --with-compat \
      --with-http_ssl_module --with-http_v2_module --with-http_realip_module \
      --with-http_auth_request_module --with-http_stub_status_module \
      --with-cc-opt="-g -O1 -fsanitize=address -fno-omit-frame-pointer" \
      --with-ld-opt=-fsanitize=address --add-dynamic-module="$root/packaging/nginx-module" &&
      make -f "$work/objects/Makefile" -j"$(nproc)" binary modules
  ) >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; return 1; }
  export NGINX="$work/objects/nginx" WAYSTATION_SANITIZED=yes
  export WAYSTATION_NGINX_MODULE="$work/objects/ngx_http_waystation_module.so"
  # nginx's own leaks at its end are not ours. Each module defines the same lists.
  export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0
}

if [ -n "$address" ]; then
  build_sanitized || give_up "nginx did not build under AddressSanitizer: see the lines above"
else
  "$root/packaging/nginx-module/build.sh" ${source:+--nginx-source "$source"} ||
    give_up "the module did not build: see the lines above"
  [ -n "${NGINX:-}" ] || NGINX="$(unpacked nginx usr/sbin/nginx)" ||
    give_up "nginx: not found; set NGINX, or install nginx"
  export NGINX
fi

log="$scratch/log"
if [ $# -eq 0 ]; then set -- test_exchange test_leaving test_pump test_relay test_site; fi
(cd "$here" && /usr/bin/python3 -m unittest -v "$@") 2>&1 | tee "$log"
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
