#!/bin/sh
# Serves waystation behind nginx, with one worker: start.sh PORT WAY MODULE RELAY_PORT COMMAND…
#
# WAY is `proxied` (proxy_pass), or `handed` (the module MODULE). COMMAND starts the relay on RELAY_PORT.
# Both are children of this process, so that their memory and time are counted together.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(mktemp -d "${TMPDIR:-/tmp}/waystation-nginx.XXXXXX")
port=$1 way=$2 module=$3 relay_port=$4
shift 4
chmod 755 "$prefix"
sed -e "s/@PORT@/$port/" -e "s#@PREFIX@#$prefix#" \
  -e "s#@MODULE@#$module#" "$here/nginx.conf.in" >"$prefix/nginx.conf"
sed -e "s#@PREFIX@#$prefix#" -e "s/@RELAY_PORT@/$relay_port/" "$here/$way.conf" >"$prefix/way.conf"

"$@" --handover "$prefix/door.sock" --trusted-proxies 127.0.0.1 &
relay=$!
nginx=
# shellcheck disable=SC2317,SC2329 # called by the trap
end() {
  kill "$relay" $nginx 2>/dev/null || true
  wait
  exit 0
}
trap end TERM INT
while ! [ -S "$prefix/door.sock" ]; do
  kill -0 "$relay" || exit 1
  sleep 0.02
done
nginx -p "$prefix" -e "$prefix/error.log" -c "$prefix/nginx.conf" &
nginx=$!
wait "$nginx"
end
