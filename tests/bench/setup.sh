# shellcheck shell=bash disable=SC2034,SC2154 # for scripts that source this after embed/setup.sh
# The packages and build of the benchmarks.

# In addition to the packages for the server's build.
bench_packages=(
  libbenchmark-dev
  libsimdjson-dev
)

bench_build="${WAYSTATION_BENCH_BUILD:-$root/build/bench}"

# Builds the server and the benchmarks.
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
