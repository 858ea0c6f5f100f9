#!/usr/bin/env bash
# Builds the nginx module and tests it with the real nginx and the server in WAYSTATION_BIN (default:
# build/release):
#
#     tests/nginx-module/run.sh [--long] [TEST…]     TEST: such as test_pump.Tls13
#     tests/nginx-module/run.sh --address            builds nginx itself under AddressSanitizer too, and
#                                                    tests pumps also with the event method poll
#
# WAYSTATION_NGINX_SOURCE names the source of another nginx, and NGINX its program. Without the first,
# --address takes Debian's source package. Needs nginx, openssl, curl, python3-websockets. Ends with a
# line `N passed, N failed`.
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/debian_sources.sh
. "$root/tests/support/debian_sources.sh"
source="${WAYSTATION_NGINX_SOURCE:-}"
address=

while [ $# -gt 0 ]; do
  case "$1" in
    --long) export WAYSTATION_LONG=yes ;;
    --address) address=yes ;;
    --*) fail_all "unknown option $1; the options are --long and --address" ;;
    *) break ;;
  esac
  shift
done

need_server
need_commands openssl curl

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
      --with-http_auth_request_module --with-http_stub_status_module --with-poll_module \
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
  build_sanitized || fail_all "nginx did not build under AddressSanitizer: see the lines above"
else
  "$root/packaging/nginx-module/build.sh" ${source:+--nginx-source "$source"} ||
    fail_all "the module did not build: see the lines above"
  need_program NGINX nginx usr/sbin/nginx
fi

cd "$here" || fail_all "$here: not found"
if [ $# -gt 0 ]; then
  count_unittest /usr/bin/python3 -m unittest -v "$@"
else
  count_unittest /usr/bin/python3 -m unittest -v test_exchange test_leaving test_pump test_relay test_site
  # It reports states, epoll their changes. Debian's nginx does not have it.
  if [ -n "$address" ]; then
    WAYSTATION_NGINX_METHOD=poll count_unittest /usr/bin/python3 -m unittest -v test_pump
  fi
fi
finish
