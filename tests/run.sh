#!/usr/bin/env bash
# Runs every test there is, on the same set-up as embed/run.sh:
#
#     tests/run.sh            what continuous integration runs; meant to take less than 40 minutes on two
#                             cores that do nothing else, with nothing compiled before
#     tests/run.sh --quick    without static analysis, the sanitizers, fuzzing and the packages
#     tests/run.sh --long     all of it and, before a release: 15,000 sockets under the sanitizers too,
#                             fuzzing for 50 times as long, the packages built twice and compared
#
# Under ThreadSanitizer there are the tests of what has threads or locks: those of relay/ and websocket/,
# which have neither, run in the release build and under AddressSanitizer.
#
# Ends with one line, `N passed, N failed`, and 0 only where nothing failed. What cannot be run here is
# said, and counts as neither; in continuous integration, where CI is set and nobody reads it, it has
# failed.
set -euo pipefail

self=tests/run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../embed/setup.sh"

quick=
long=
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  --long) long=yes ;;
  *) fail "unknown option $1; there are --quick and --long, or none" ;;
esac

results="$root/build/results"
rm -rf "$results"
mkdir -p "$results"
failures="$results/failures"
: >"$failures"
passed=0
failed=0
summary=()
began=0

# count SUITE PASSED FAILED
count() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  summary+=("$(printf '%-24s %5d passed, %d failed %6d s' "$1" "$2" "$3" $((SECONDS - began)))")
}

# count_failure SUITE WHY: a suite that failed as a whole.
count_failure() {
  say "$1: $2"
  name_failure "$1" "$2"
  count "$1" 0 1
}

# name_failure SUITE WHY: for the end, where what failed is named.
name_failure() { echo "FAILED  $1: $2" >>"$failures"; }

# not_run SUITE WHY
not_run() {
  if [ -n "${CI:-}" ]; then
    count_failure "$1" "it is not run: $2"
  else
    say "$1 is not run: $2"
    summary+=("$(printf '%-24s not run' "$1")")
  fi
}

# count_both SUITE COUNTS EXIT_CODE: a suite that counted `PASSED FAILED`. One that says by its exit code
# that it failed has, whatever it counted.
count_both() {
  local suite="$1" counts="$2" status="$3"
  if [ "$status" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
    name_failure "$suite" "it counted no failure, but its exit code is $status"
    counts="${counts% *} 1"
  fi
  # shellcheck disable=SC2086 # two numbers
  count "$suite" $counts
}

# count_junit SUITE FILE EXIT_CODE: counts a suite by the JUnit file it wrote. One that wrote none has
# failed as a whole; a test that could not be started is "not run" there.
count_junit() {
  local suite="$1" file="$2" status="$3" counts
  if counts="$(/usr/bin/python3 "$root/tests/junit_summary.py" "$file" --suite "$suite" \
    --failures "$failures")"; then
    count_both "$suite" "$counts" "$status"
  else
    count_failure "$suite" "it wrote no results"
  fi
}

# run_ctest PRESET: unit, transcript and integration tests under one build.
run_ctest() {
  local preset="$1" status=0 limits=()
  launcher=()
  # 15,000 sockets find no more under a sanitizer than the rest does.
  if [ "$preset" != release ] && [ -z "$long" ]; then limits=(-LE '^long$'); fi
  if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
    # It needs the address space where it expects it, and some kernels spread it wider.
    launcher=(setarch "$(uname -m)" -R)
  fi
  if ! with_tests=yes build "$preset"; then
    count_failure "ctest $preset" "build/$preset could not be built, see above"
    return
  fi
  say "running the tests of build/$preset"
  # Two jobs a processor, since tests of a running server mostly wait for it.
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS="suppressions='$root/tests/tsan.supp'" \
    ${launcher[@]+"${launcher[@]}"} ctest --test-dir "$root/build/$preset" --output-on-failure \
    --output-junit "$results/$preset.xml" -j$((2 * $(nproc))) ${limits[@]+"${limits[@]}"} || status=$?
  count_junit "ctest $preset" "$results/$preset.xml" "$status"
}

suite_release() { run_ctest release; }
suite_asan() { run_ctest asan; }
suite_tsan() { run_ctest tsan; }

suite_www() {
  local status=0
  if [ ! -f "$root/www/package.json" ]; then
    not_run www "there is no page yet (no www/package.json)"
    return
  fi
  if ! (build_page && need_page_tools); then
    count_failure www "the page could not be built, see above"
    return
  fi
  say "running the page's tests (npm test in www/)"
  (cd "$root/www" && npm test -- --reporter=default --reporter=junit \
    --outputFile.junit="$results/www.xml") || status=$?
  count_junit www "$results/www.xml" "$status"
}

# run_script NAME SCRIPT [ARGUMENT…]: a suite that is a program of its own. It ends with a line `N
# passed, N failed`, and finds the server and the page in the environment. Exit code 77 says that it
# could not be run here, and why.
run_script() {
  local name="$1" script="$2" status=0 counts
  shift 2
  if [ ! -f "$script" ]; then
    count_failure "$name" "there is no $script"
    return
  fi
  say "running $name"
  WAYSTATION_BIN="$root/build/release/embed/waystation" WAYSTATION_WWW="$root/www/dist" \
    bash "$script" "$@" 2>&1 | tee "$results/$name.log" || status=$?
  if [ "$status" -eq 77 ]; then
    not_run "$name" "it says above why"
    return
  fi
  sed -nE "s/^(FAIL|FAILED)  |^(FAIL|ERROR): /FAILED  $name: /p" "$results/$name.log" >>"$failures"
  counts="$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$results/$name.log" | tail -n 1)"
  if [ -z "$counts" ]; then
    count_failure "$name" "it did not end with a line \`N passed, N failed\` (exit code $status)"
  else
    count_both "$name" "$counts" "$status"
  fi
}

suite_e2e() { run_script e2e "$root/tests/e2e/run.sh"; }

suite_root() {
  local script="$root/tests/root/run.sh"
  if [ "$(id -u)" -ne 0 ]; then
    not_run root "it needs root (a small tmpfs, network namespaces)"
    return
  fi
  run_script root "$script"
}

suite_fuzz() {
  need_packages "${fuzz_packages[@]}"
  run_script fuzz "$root/tests/fuzz/run.sh" ${long:+1000000}
}

suite_static() {
  need_packages "${static_packages[@]}"
  run_script static "$root/tests/static/run.sh"
}

suite_docs() {
  need_packages "${docs_packages[@]}"
  run_script docs "$root/tests/docs/run.sh"
}

suite_consumer() { run_script consumer "$root/tests/consumer/run.sh"; }
suite_shipped() { run_script shipped "$root/tests/package/files.sh"; }
suite_nginx() { run_script nginx "$root/tests/package/nginx/run.sh"; }
# Makes packages of what is committed, and lives with them; says so where it cannot.
suite_package() { run_script package "$root/tests/package/run.sh" ${long:+--long}; }

suite_instructions() { run_script instructions "$root/tests/bench/instructions.sh"; }

# Every suite, in the order in which they run. To add one, write a function and name it here.
suites=(suite_release suite_instructions suite_www suite_e2e suite_root suite_consumer suite_docs suite_shipped suite_nginx)
if [ -z "$quick" ]; then suites+=(suite_asan suite_tsan suite_static suite_fuzz suite_package); fi

need_packages "${build_packages[@]}" "${test_packages[@]}"

# The release is built in several folders: to be tested, to be measured, as a part of another tree. What
# ccache has of one is as good in another. Each run of continuous integration has a clone of its own, so
# there another clone's is as good, too; not for people, whose debugger would look for sources there.
if [ -n "${CI:-}" ] || [ -z "$(ccache --get-config base_dir 2>/dev/null)" ]; then
  export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1
  if [ -z "${CI:-}" ]; then export CCACHE_NAMESPACE="$root"; fi
fi
need_node
for suite in "${suites[@]}"; do
  began=$SECONDS
  "$suite"
done

printf '\n'
if [ -s "$failures" ]; then
  cat "$failures"
  printf '\n'
fi
printf '%s\n' "${summary[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
