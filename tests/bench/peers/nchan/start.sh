#!/bin/sh
# Serves one publish-and-subscribe channel per group with nginx and nchan: start.sh PORT [CONFIG],
# CONFIG: brief (the default), defaults, delayed
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(mktemp -d "${TMPDIR:-/tmp}/waystation-nchan.XXXXXX")
sed -e "s/@PORT@/$1/" -e "s#@PREFIX@#$prefix#" -e "s#@CONFIG@#$here/${2:-brief}.conf#" \
  "$here/nginx.conf.in" >"$prefix/nginx.conf"
exec nginx -p "$prefix" -e "$prefix/error.log" -c "$prefix/nginx.conf"
