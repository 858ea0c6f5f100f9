# shellcheck shell=bash disable=SC2034,SC2154 # for those who source this, behind embed/setup.sh
# What the programs that measure speed are built with.

# Beyond what it takes to build the server.
bench_packages=(
  libbenchmark-dev
  libsimdjson-dev
)

bench_build="${WAYSTATION_BENCH_BUILD:-$root/build/bench}"

# Builds the server and all that measures it.
build_bench() {
  mkdir -p "$bench_build"
  if ! cmake -S "$root" -B "$bench_build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DWAYSTATION_BUILD_TESTS=OFF -DWAYSTATION_BUILD_BENCH=ON >"$bench_build/configure.log" 2>&1; then
    cat "$bench_build/configure.log" >&2
    return 1
  fi
  say "building ${bench_build#"$root"/}"
  cmake --build "$bench_build" -- -j"$(nproc)" --quiet >&2
}
