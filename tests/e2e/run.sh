#!/usr/bin/env bash
# The page in a real browser, against the real server.
#
#   tests/e2e/run.sh [part of a scene's name]
#
# WAYSTATION_BIN   the server   (default: build/release/embed/waystation)
# WAYSTATION_WWW   the page     (default: www/dist)
# CHROMIUM         the browser  (default: /usr/bin/chromium)
# NGINX            for the examples (default: /usr/sbin/nginx, or the one of Debian's package)
#
# WAYSTATION_SCREENSHOTS   where screenshots go (default: build/screenshots)
#
# Ends with a line of counts; fails if a
# scene did.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
: "${WAYSTATION_BIN:=$root/build/release/embed/waystation}"
: "${WAYSTATION_WWW:=$root/www/dist}"
: "${CHROMIUM:=/usr/bin/chromium}"
export WAYSTATION_BIN WAYSTATION_WWW CHROMIUM

missing() {
    echo "FAILED  $1" >&2
    echo "0 passed, 1 failed"
    exit 1
}

[ -x "$WAYSTATION_BIN" ] || missing "no server at $WAYSTATION_BIN: build it, or name another in WAYSTATION_BIN"
[ -f "$WAYSTATION_WWW/index.html" ] || missing "no page in $WAYSTATION_WWW: run npm ci && npm run build in www, or name another folder in WAYSTATION_WWW"
[ -f "$root/www/node_modules/vue/dist/vue.global.prod.js" ] || missing "no Vue in www/node_modules: run npm ci in www"
[ -x "$CHROMIUM" ] || missing "no browser at $CHROMIUM: apt-get install chromium, or name another in CHROMIUM"
[ -n "${NGINX:-}" ] || NGINX="$(unpacked nginx usr/sbin/nginx)" || missing "no nginx: apt-get install nginx-light, or name another in NGINX"
export NGINX
/usr/bin/python3 -c 'import django' 2>/dev/null || missing "no Django: apt-get install python3-django"
command -v node >/dev/null || missing "no node: apt-get install nodejs npm"

cd "$here"
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund >&2 || missing "npm ci failed, see above"
fi
node run.mjs "$@"
