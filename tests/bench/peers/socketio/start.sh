#!/bin/sh
# Serves a group chat with Socket.IO and its Redis adapter: start.sh PORT
#
# It is one of several nodes; REDIS_PORT is the port of their Redis.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/socket.io ] || npm ci --no-audit --no-fund --silent >&2
exec node relay.js "$1"
