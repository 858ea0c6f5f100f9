#!/usr/bin/env bash
# Runs all tests, with the setup of embed/run.sh:
#
#     tests/run.sh            the run of continuous integration: below 40 minutes on two idle cores
#
#     tests/run.sh --quick    without static analysis, sanitizers, fuzzing and packages
#
#     tests/run.sh --long     before a release: also 15,000 sockets under the sanitizers, 50 times
#                             as much fuzzing, more TLS with OpenSSL under ThreadSanitizer, and a
#                             second build of the packages to compare
#
# ThreadSanitizer tests the modules that have threads or locks. relay/ and websocket/ have neither;
# their tests run in the release build and under AddressSanitizer.
#
# The last line is `N passed, N failed`; the exit code is 0 if no test failed. A suite that cannot
# run here is reported and not counted. In continuous integration (CI is set) it counts as failed,
# because nobody reads the output.
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
  *) fail "unknown option $1; the options are --quick and --long" ;;
esac

results="$root/build/results"
rm -rf "$results"
mkdir -p "$results"
# Suites in the background append to these files too.
failures="$results/failures"
counts_file="$results/counts"
summary_file="$results/summary"
touch "$failures" "$counts_file" "$summary_file"
began=0

# count SUITE PASSED FAILED
count() {
  echo "$2 $3" >>"$counts_file"
  printf '%-24s %5d passed, %d failed %6d s\n' "$1" "$2" "$3" $((SECONDS - began)) >>"$summary_file"
}

# count_failure SUITE REASON: counts a suite that failed as a whole.
count_failure() {
  say "$1: $2"
  name_failure "$1" "$2"
  count "$1" 0 1
}

# name_failure SUITE REASON: adds a line to the list of failures at the end.
name_failure() { echo "FAILED  $1: $2" >>"$failures"; }

# not_run SUITE REASON
not_run() {
  if [ -n "${CI:-}" ]; then
    count_failure "$1" "not run: $2"
  else
    say "$1: not run: $2"
    printf '%-24s not run\n' "$1" >>"$summary_file"
  fi
}

# count_both SUITE COUNTS EXIT_CODE: counts a suite that reported `PASSED FAILED`. A suite with an
# exit code other than 0 has failed, whatever it counted.
count_both() {
  local suite="$1" counts="$2" status="$3"
  if [ "$status" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
    name_failure "$suite" "no failure counted, but the exit code is $status"
    counts="${counts% *} 1"
  fi
  # shellcheck disable=SC2086 # two numbers
  count "$suite" $counts
}

# count_junit SUITE FILE EXIT_CODE: counts a suite by its JUnit file. A suite without that file has
# failed as a whole. A test that could not be started is "not run" in the file.
count_junit() {
  local suite="$1" file="$2" status="$3" counts
  if counts="$(/usr/bin/python3 "$root/tests/junit_summary.py" "$file" --suite "$suite" \
    --failures "$failures")"; then
    count_both "$suite" "$counts" "$status"
  else
    count_failure "$suite" "no results written"
  fi
}

# choose_launcher PRESET: sets `launcher`, which starts the compiler and tests of a build.
choose_launcher() {
  launcher=()
  if [ "$1" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
    # ThreadSanitizer fails to start if the kernel randomizes more address bits than it supports.
    launcher=(setarch "$(uname -m)" -R)
  fi
}

# Tests of running servers mostly wait. Meanwhile the next builds are compiled in the background, with
# the scheduling class that gets only idle processors. Its errors are those of the build itself later.
#
# build_ahead PRESET…: these builds, and then the fuzzers. Not one whose tests run: CMake rewrites the
# lists of tests.
ahead=
build_ahead() {
  if [ -n "$quick" ] || ! chrt --idle 0 true 2>/dev/null; then return; fi
  set -m # a process group of its own
  build_all_ahead "$@" >"$results/ahead.log" 2>&1 </dev/null &
  ahead=$!
  set +m
}

build_all_ahead() {
  local preset launcher
  for preset in "$@"; do
    choose_launcher "$preset"
    launcher+=(chrt --idle 0)
    with_tests=yes build "$preset"
  done
  chrt --idle 0 "$root/tests/fuzz/run.sh" --build
}

# Before something that build_ahead() builds is built in the foreground.
stop_building_ahead() {
  end_group "$ahead"
  ahead=
}

# run_ctest PRESET LATER_PRESET…: runs the unit, transcript and integration tests of one build, while
# later ones are built.
run_ctest() {
  local preset="$1" status=0 limits=()
  shift
  # 15,000 sockets find no more errors under a sanitizer than the other tests.
  if [ "$preset" != release ] && [ -z "$long" ]; then limits=(-LE '^long$'); fi
  stop_building_ahead
  choose_launcher "$preset"
  if ! with_tests=yes build "$preset"; then
    count_failure "ctest $preset" "build/$preset: build failed, see above"
    return
  fi
  build_ahead "$@"
  say "running the tests of build/$preset"
  # Two jobs per processor: tests of a running server mostly wait for it.
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS="suppressions='$root/tests/tsan.supp'" \
    ${launcher[@]+"${launcher[@]}"} ctest --test-dir "$root/build/$preset" --output-on-failure \
    --output-junit "$results/$preset.xml" -j$((2 * $(nproc))) ${limits[@]+"${limits[@]}"} || status=$?
  count_junit "ctest $preset" "$results/$preset.xml" "$status"
}

suite_release() { run_ctest release asan tsan; }
suite_asan() { run_ctest asan tsan; }
suite_tsan() { run_ctest tsan; }

suite_www() {
  local status=0
  if [ ! -f "$root/www/package.json" ]; then
    not_run www "www/package.json: not found"
    return
  fi
  if ! (build_page && need_page_tools); then
    count_failure www "page: build failed, see above"
    return
  fi
  say "running the page's tests (npm test in www/)"
  (cd "$root/www" && npm test -- --reporter=default --reporter=junit \
    --outputFile.junit="$results/www.xml") || status=$?
  count_junit www "$results/www.xml" "$status"
}

# run_script NAME SCRIPT [ARGUMENT…]: runs a suite that is a separate program. The environment names
# the server and the page. The last line must be `N passed, N failed`. With exit code 77 the suite
# could not run, and its output gives the reason.
run_script() {
  local name="$1" script="$2" status=0 counts
  shift 2
  if [ ! -f "$script" ]; then
    count_failure "$name" "$script: not found"
    return
  fi
  say "running $name"
  WAYSTATION_BIN="$root/build/release/embed/waystation" WAYSTATION_WWW="$root/www/dist" \
    bash "$script" "$@" 2>&1 | tee "$results/$name.log" || status=$?
  if [ "$status" -eq 77 ]; then
    not_run "$name" "see the reason above"
    return
  fi
  sed -nE "s/^(FAIL|FAILED)  |^(FAIL|ERROR): /FAILED  $name: /p" "$results/$name.log" >>"$failures"
  counts="$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$results/$name.log" | tail -n 1)"
  if [ -z "$counts" ]; then
    count_failure "$name" "output: the last line is not \`N passed, N failed\` (exit code $status)"
  else
    count_both "$name" "$counts" "$status"
  fi
}

suite_e2e() { run_script e2e "$root/tests/e2e/run.sh"; }

suite_root() {
  local script="$root/tests/root/run.sh"
  if [ "$(id -u)" -ne 0 ]; then
    not_run root "needs root (a small tmpfs, network namespaces)"
    return
  fi
  run_script root "$script"
}

suite_fuzz() {
  stop_building_ahead
  run_script fuzz "$root/tests/fuzz/run.sh" ${long:+1000000}
}

suite_static() {
  run_script static "$root/tests/static/run.sh"
}

suite_docs() {
  need_packages "${docs_packages[@]}"
  run_script docs "$root/tests/docs/run.sh"
}

# wss on a host's own port. The sanitizers' builds exist only without --quick.
suite_tls() {
  run_script tls "$root/tests/integration/tls/run.sh" ${quick:+--quick} ${long:+--long}
}

# Several nodes under random load for some minutes. A short run is among the tests of each build.
suite_cluster() {
  local status=0
  say "running the oracle of several nodes"
  (cd "$root/tests/integration/cluster" && WAYSTATION_BIN="$root/build/release/embed/waystation" \
    WAYSTATION_ORACLE_SECONDS=180 PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 -m unittest --verbose test_oracle) || status=$?
  if [ "$status" -eq 0 ]; then
    count_both cluster "1 0" 0
  else
    count_failure cluster "the oracle found an error, see above"
  fi
}

suite_consumer() { run_script consumer "$root/tests/consumer/run.sh"; }
suite_shipped() { run_script shipped "$root/tests/package/files.sh"; }
suite_nginx() { run_script nginx "$root/tests/package/nginx/run.sh"; }
# Redis, nginx, HAProxy and systemd with the files for several nodes.
suite_cluster_files() { run_script cluster-files "$root/tests/package/cluster/run.sh"; }
suite_nginx_module() {
  need_packages "${nginx_module_packages[@]}"
  run_script nginx-module "$root/tests/nginx-module/run.sh" ${long:+--long}
  if [ -n "$long" ]; then
    run_script nginx-module-asan "$root/tests/nginx-module/run.sh" --address
  fi
}
# Builds packages of the committed tree, installs and uses them. Reports if that is impossible here.
suite_package() { run_script package "$root/tests/package/run.sh" ${long:+--long}; }

# Installs the module's package in a fresh Debian 12.
suite_nginx_package() {
  run_script nginx-package "$root/tests/nginx-module/package.sh"
}

suite_instructions() { run_script instructions "$root/tests/bench/instructions.sh"; }

# All suites in the order of their runs. To add a suite, write a function and name it here.
suites=(suite_release suite_instructions suite_www suite_e2e suite_root suite_consumer suite_docs suite_shipped suite_nginx suite_cluster_files suite_nginx_module)
if [ -n "$quick" ]; then
  suites+=(suite_tls)
else
  suites+=(beside_packages suite_asan suite_tsan beside_tls suite_static suite_fuzz)
fi
if [ -n "$long" ]; then suites+=(suite_cluster); fi

# run_suites SUITE…
run_suites() {
  local suite
  for suite in "$@"; do
    began=$SECONDS
    "$suite"
  done
}

# run_beside SUITE…: runs suites, one after the other, beside those that follow. Their output is shown
# at the end.
beside=()
run_beside() {
  say "running beside the other suites: $*"
  set -m
  run_suites "$@" >"$results/beside.$1.log" 2>&1 </dev/null &
  beside+=("$! $results/beside.$1.log")
  set +m
}

# These mostly wait, and have a Debian and a network of their own. The objects of build/release are
# cached by then.
beside_packages() { run_beside suite_package suite_nginx_package; }
# It runs one test at a time, with all three builds.
beside_tls() { run_beside suite_tls; }

# end_group GROUP: ends a background job of this script, if it still runs, and waits for all its
# processes: the compiler's own removal of objects must not meet the next build.
end_group() {
  local attempt
  if [ -z "$1" ] || ! grep -qx "$1" <<<"$(jobs -rp)"; then return; fi
  kill -- "-$1" 2>/dev/null || true
  for attempt in {1..100}; do
    if ! kill -0 -- "-$1" 2>/dev/null; then break; fi
    if [ "$attempt" -eq 100 ]; then kill -KILL -- "-$1" 2>/dev/null || true; fi
    sleep 0.1
  done
  wait "$1" || true
}
end_all() {
  local job
  end_group "$ahead"
  for job in ${beside[@]+"${beside[@]}"}; do end_group "${job%% *}"; done
}
trap end_all EXIT

need_packages "${build_packages[@]}" "${test_packages[@]}"
need_packages "${tls_packages[@]}"
if [ -z "$quick" ]; then
  # Now, because apt-get runs once at a time: what suites in the background and those beside need.
  need_packages "${fuzz_packages[@]}" "${package_packages[@]}"
  need_packages "${static_packages[@]}"
fi

# The release is built in several folders: for tests, for benchmarks, as part of another tree. These
# settings share ccache's objects between the folders. In continuous integration each run has a new
# clone, so objects of other clones are shared too. Developers' clones do not share: their debuggers
# would look for the sources in the wrong clone.
if [ -n "${CI:-}" ] || [ -z "$(ccache --get-config base_dir 2>/dev/null)" ]; then
  # The packages are built in another locale, which matters to messages only.
  export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=locale
  if [ -z "${CI:-}" ]; then export CCACHE_NAMESPACE="$root"; fi
fi
need_node
run_suites "${suites[@]}"
for job in ${beside[@]+"${beside[@]}"}; do
  wait "${job%% *}" || count_failure "${job##*/}" "exit code $?; see the lines below"
  cat "${job#* }"
done

printf '\n'
if [ -s "$failures" ]; then
  cat "$failures"
  printf '\n'
fi
cat "$summary_file"
read -r passed failed < <(awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }' "$counts_file")
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
