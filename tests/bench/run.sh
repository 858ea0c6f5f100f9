#!/usr/bin/env bash
# Measures waystation beside what people use today:
#
#     tests/bench/run.sh             all scenarios, five rounds: about forty minutes
#     tests/bench/run.sh --quick     one short round, to see that it works: about four
#
# Installs and builds what is missing, loads each server in turn with the same generator, and
# prints a table. The full run writes results/ and the table in RESULTS.md; the quick one writes to
# build/bench-quick/. `--help` lists what else can be asked for. On Debian 12, as root or with sudo.
set -euo pipefail

self=tests/bench/run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"

need_packages "${build_packages[@]}" python3 python3-django-channels daphne nginx-light \
  libnginx-mod-nchan libbenchmark-dev libsimdjson-dev
need_node

folder="$root/build/bench"
mkdir -p "$folder"
if ! cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DWAYSTATION_BUILD_TESTS=OFF -DWAYSTATION_BUILD_BENCH=ON >"$folder/configure.log" 2>&1; then
  cat "$folder/configure.log" >&2
  exit 1
fi
cmake --build "$folder" --target waystation --target waystation_load -- -j"$(nproc)" --quiet >&2
(cd "$root/tests/bench/peers/ws" && { [ -d node_modules/ws ] || npm ci --silent >&2; })

exec /usr/bin/python3 "$root/tests/bench/bench.py" --build "$folder" "$@"
