#!/usr/bin/env bash
# Compares waystation with other servers:
#
#     tests/bench/run.sh             all scenarios, five rounds: some 50 minutes after the build
#     tests/bench/run.sh --quick     one short round as a check: about seven minutes
#     tests/bench/run.sh --only pairs_100 --only connects --rounds 3
#     tests/bench/run.sh --list      the scenarios, and how long they take
#     tests/bench/run.sh --peer NAME=COMMAND    compares a server of yours, see peers/README.md
#
# Installs and builds missing parts, loads each server in turn with the same generator, runs the
# microbenchmarks, and prints tables. A whole run writes results/ and the tables in RESULTS.md, and
# refuses to start on a busy machine. Other runs write to build/. `--help` lists all options. Exit
# code: 1 if a run failed, 2 if no results were kept. Needs Debian 12, as root or with sudo.
set -euo pipefail

self=tests/bench/run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"
# shellcheck source=tests/bench/setup.sh
. "$root/tests/bench/setup.sh"

# Options without a measurement (--help, --list, --page) and wrong options are answered without a
# build.
at_once='
import sys
sys.path.insert(0, sys.argv.pop(1))
sys.argv[0] = "tests/bench/run.sh"
import bench
options = bench.arguments()
sys.exit(10 if options.list or options.page else 11)'
code=0
/usr/bin/python3 -B -c "$at_once" "$root/tests/bench" --build "$bench_build" "$@" || code=$?
case "$code" in
  0) exit ;;   # --help
  2) exit 2 ;; # refused
  10) exec /usr/bin/python3 -B "$root/tests/bench/bench.py" --build "$bench_build" "$@" ;;
esac # and 11, or anything else: there is no Python yet, for example

need_packages "${build_packages[@]}" "${bench_packages[@]}" python3 python3-django-channels daphne \
  python3-channels-redis redis-server nginx-light libnginx-mod-nchan linux-perf
need_node
say "it is built first, which takes minutes the first time"
build_bench || fail "what measures speed did not build"
WAYSTATION_NGINX_BUILD="$bench_build/nginx-module" "$root/packaging/nginx-module/build.sh"
for peer in ws socketio; do
  (cd "$root/tests/bench/peers/$peer" && { [ -d node_modules ] || npm ci --silent >&2; })
done

exec /usr/bin/python3 "$root/tests/bench/bench.py" --build "$bench_build" "$@"
