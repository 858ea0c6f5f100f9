#!/bin/sh
# Serves the original protocol with Django Channels: start.sh PORT [cluster]
#
# The last one is a node; REDIS_PORT is the port of its Redis.
set -eu
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m daphne -b 127.0.0.1 -p "$1" -v 0 --websocket_timeout -1 relay:application
