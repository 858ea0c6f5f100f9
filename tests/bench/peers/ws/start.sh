#!/bin/sh
# Serves the original protocol with Node's ws: start.sh PORT [CERTIFICATE KEY]
set -eu
cd "$(dirname "$0")"
[ -d node_modules/ws ] || npm ci --no-audit --no-fund --silent >&2
exec node relay.js "$@"
