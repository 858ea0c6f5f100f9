#!/usr/bin/env bash
# Tries out a cluster on this machine: starts a Redis and three nodes on loopback, and prints two pages on
# different nodes. Two users talk across the nodes.
#
#     packaging/cluster/try.sh [--open]
#
# --open opens both pages in a browser. Ctrl-C ends everything. Needs redis-server, openssl, curl, and
# `waystation` in the path or in build/release, or as WAYSTATION_BIN.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
nodes=3

fail() {
  printf '%s: %s\n' "${BASH_SOURCE[0]}" "$*" >&2
  exit 1
}

open=
case "${1:-}" in
  "") ;;
  --open) open=yes ;;
  *) fail "unknown option $1; the option is --open" ;;
esac
program="${WAYSTATION_BIN:-$root/build/release/embed/waystation}"
[ -x "$program" ] || program="$(command -v waystation)" ||
  fail "waystation: not found; build it with embed/run.sh, or set WAYSTATION_BIN"
for tool in redis-server openssl curl; do
  command -v "$tool" >/dev/null || fail "$tool: not found; install it: apt-get install $tool"
done

folder="$(mktemp -d)"
children=()
# Ends the processes that were started here, nodes before Redis, and removes their files.
stop() {
  trap - EXIT INT TERM
  local i
  for ((i = ${#children[@]} - 1; i >= 0; i--)); do
    kill "${children[i]}" 2>/dev/null || true
    wait "${children[i]}" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 0' INT TERM

free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s' "$port"
}

# wait_for WHAT LOG COMMAND…: until the command succeeds, at most 20 seconds.
wait_for() {
  local what="$1" log="$2" attempt
  shift 2
  for ((attempt = 0; attempt < 200; attempt++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  cat "$log" >&2
  fail "$what: not ready after 20 seconds"
}

socket="$folder/redis.sock"
(umask 077 && openssl rand -base64 32 >"$folder/keys")
# The shipped settings, without a port.
redis-server "$here/redis.conf" --port 0 --unixsocket "$socket" --dir "$folder" >"$folder/redis.log" 2>&1 &
children+=("$!")
wait_for Redis "$folder/redis.log" test -S "$socket"

ports=()
www=()
[ -d "${WAYSTATION_WWW:-$root/www/dist}" ] && www=(--www "${WAYSTATION_WWW:-$root/www/dist}")
for ((i = 1; i <= nodes; i++)); do
  port="$(free_port)"
  ports+=("$port")
  "$program" serve --listen "127.0.0.1:$port" --node-name "node-$i" --cluster "unix://$socket" \
    --cluster-key-file "$folder/keys" ${www[@]+"${www[@]}"} >"$folder/node-$i.log" 2>&1 &
  children+=("$!")
done
for ((i = 1; i <= nodes; i++)); do
  # Until every node knows all of them.
  wait_for "node-$i" "$folder/node-$i.log" \
    sh -c "curl -sf http://127.0.0.1:${ports[i - 1]}/metrics | grep -q '^waystation_cluster_nodes $nodes\$'"
done

pages=("http://127.0.0.1:${ports[0]}/#/?me=alice&to=bob" "http://127.0.0.1:${ports[1]}/#/?me=bob&to=alice")
cat <<TEXT
Redis and $nodes nodes are up. Alice and Bob are on different nodes:

    alice   ${pages[0]}
    bob     ${pages[1]}

Where bob is, asked at the third node:

    curl http://127.0.0.1:${ports[2]}/api/v1/presence/bob

Their log files are in $folder. Ctrl-C ends everything.
TEXT
if [ -n "$open" ]; then
  for page in "${pages[@]}"; do
    if ! xdg-open "$page" >/dev/null 2>&1; then
      printf 'warning: --open: no browser was opened; open the pages above yourself\n' >&2
      break
    fi
  done
fi
wait
