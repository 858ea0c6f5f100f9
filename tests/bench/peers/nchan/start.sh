#!/bin/sh
# Serves one publish-and-subscribe channel per group with nginx and nchan: start.sh PORT [CONFIG],
# CONFIG: brief (the default), defaults, delayed; cluster or cluster_stored: a node, REDIS_PORT is the port of
# its Redis
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(mktemp -d "${TMPDIR:-/tmp}/waystation-nchan.XXXXXX")
config=${2:-brief}
sed -e "s/@PORT@/$1/" -e "s#@PREFIX@#$prefix#" -e "s#@CONFIG@#$here/$config.conf#" \
  "$here/nginx.conf.in" >"$prefix/nginx.conf"
case "$config" in
  cluster*) sed -e "s/@REDIS_PORT@/$REDIS_PORT/" "$here/upstream.conf.in" >"$prefix/upstream.conf" ;;
esac
exec nginx -p "$prefix" -e "$prefix/error.log" -c "$prefix/nginx.conf"
