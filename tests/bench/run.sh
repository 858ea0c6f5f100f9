#!/usr/bin/env bash
# Measures waystation beside what people use today:
#
#     tests/bench/run.sh             all scenarios, five rounds: some 25 minutes, the build excepted
#     tests/bench/run.sh --quick     one short round, to see that it works: about three
#     tests/bench/run.sh --only pairs_100 --only connects --rounds 3
#     tests/bench/run.sh --list      the scenarios, and how long they take
#
# Installs and builds what is missing, loads each server in turn with the same generator, runs the
# microbenchmarks, and prints tables. A whole run writes results/ and the tables in RESULTS.md, and
# refuses where others use the machine; anything less writes to build/. `--help` lists what else can
# be asked for. Exit code: 1 where a run failed, 2 where nothing was kept. On Debian 12, as root or
# with sudo.
set -euo pipefail

self=tests/bench/run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"
# shellcheck source=tests/bench/setup.sh
. "$root/tests/bench/setup.sh"

# What asks for no measurement is answered without building anything: --help, --list, --page, and a
# mistake in the options.
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
  nginx-light libnginx-mod-nchan linux-perf
need_node
say "it is built first, which takes minutes the first time"
build_bench || fail "what measures speed did not build"
(cd "$root/tests/bench/peers/ws" && { [ -d node_modules/ws ] || npm ci --silent >&2; })

exec /usr/bin/python3 "$root/tests/bench/bench.py" --build "$bench_build" "$@"
