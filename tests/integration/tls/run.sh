#!/usr/bin/env bash
# Tests wss on the port of a host application, with CivetWeb and OpenSSL as hosts build them:
#
#     tests/integration/tls/run.sh           below four minutes; needs build/release, build/asan and
#                                            build/tsan
#     tests/integration/tls/run.sh --quick   build/release only
#     tests/integration/tls/run.sh --long    more connections, and OpenSSL instrumented too
#     WAYSTATION_CIVETWEB_SOURCE=FOLDER tests/integration/tls/run.sh   with another CivetWeb
#
# CivetWeb is built from Debian's source package, with Debian's patches and without. Ends with a line
# `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/debian_sources.sh
. "$root/tests/support/debian_sources.sh"
# shellcheck source=tests/integration/tls/civetweb.sh
. "$here/civetweb.sh"
quick=
long=
case "${1:-}" in
  --quick) quick=yes ;;
  --long) long=yes ;;
esac
hosts="$root/build/tls"
mkdir -p "$hosts"

# certificate FOLDER: a self-signed certificate for 127.0.0.1. The key's file has both: CivetWeb wants
# one file.
certificate() {
  mkdir -p "$1" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout "$1/key.pem" -out "$1/certificate.pem" &&
    cat "$1/certificate.pem" >>"$1/key.pem"
}

# flags_of PRESET: the compiler flags of a build, for the host and its CivetWeb.
flags_of() {
  case "$1" in
    release) echo -O2 ;;
    asan) echo -O1 -fsanitize=address,undefined -fno-sanitize-recover=all ;;
    tsan) echo -O1 -fsanitize=thread ;;
  esac
}

warnings=(-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Werror -g1 -pthread)

# link_host PRESET NAME SOURCE PROGRAM.c LINK…: builds $hosts/PRESET-NAME with the library of a build.
link_host() {
  local preset="$1" program="$hosts/$1-$2" source="$3" main="$4" library="$root/build/$1/module/api" flags
  shift 4
  read -ra flags <<<"$(flags_of "$preset")"
  "${CC:-cc}" "${warnings[@]}" "${flags[@]}" -I"$root/module/include" -isystem "$source/include" \
    "$main" -o "$program" "$@" -L"$library" -lwaystation "-Wl,-rpath,$library" -lssl -lcrypto -ldl
}

# build_host PRESET NAME SOURCE [FLAG…]
build_host() {
  local preset="$1" name="$2" source="$3" flags more
  more=("${@:4}")
  read -ra flags <<<"$(flags_of "$preset")"
  if [ "$preset" = tsan ]; then
    more+=("$here/tsan_edges.c" "-Wl,--wrap=SSL_free,--wrap=shutdown,--wrap=SSL_set_bio")
  fi
  # UndefinedBehaviorSanitizer is for our code: CivetWeb casts its callbacks.
  build_civetweb "$source" "$hosts/$preset-$name.o" "${flags[@]}" -fno-sanitize=undefined "${@:4}" &&
    link_host "$preset" "$name" "$source" "$here/host.c" "$hosts/$preset-$name.o" ${more[@]+"${more[@]}"}
}

# build_instrumented_host NAME SOURCE: with an OpenSSL that ThreadSanitizer sees into.
build_instrumented_host() {
  local openssl="$root/build/openssl-tsan"
  build_openssl "$openssl" -fsanitize=thread &&
    build_host tsan "$1" "$2" -isystem "$openssl/build/include" -L"$openssl/build"
}

# build_host_with_two NAME SOURCE: CivetWeb is a library with an OpenSSL of its own inside.
build_host_with_two() {
  local object="$hosts/release-$1-two"
  build_civetweb "$2" "$object.o" -O2 -fPIC &&
    cc -shared "$object.o" -o "$object.so" -Wl,--exclude-libs,ALL -Wl,-Bstatic -lssl -lcrypto \
      -Wl,-Bdynamic -pthread -ldl &&
    link_host release "$1-two" "$2" "$here/host.c" "$object.so" "-Wl,-rpath,$hosts"
}

# appliance NAME SOURCE: the example serves its page and wss.
appliance() {
  link_host release "$1-appliance" "$2" "$root/embed/examples/appliance_tls.c" "$hosts/release-$1.o" || return
  play_appliance "release-$1"
}

# play_appliance HOST: HOST-appliance is the example.
play_appliance() {
  WAYSTATION_APPLIANCE="$hosts/$1-appliance" WAYSTATION_PEM="$scratch/tls/key.pem" \
    play "$1" "$here/test_appliance.py"
}

# The example with Debian 12's libcivetweb, which cannot load OpenSSL 3 by itself. Without its check
# of mg_init_library it would start, and crash with the first connection.
appliance_says_why_not() {
  local code=0
  link_host release package-appliance /usr "$root/embed/examples/appliance_tls.c" -lcivetweb || return
  timeout 20 "$hosts/release-package-appliance" 0 "$scratch/tls/key.pem" >"$scratch/refused" 2>&1 || code=$?
  cat "$scratch/refused"
  [ "$code" -eq 1 ] && grep -q 'no wss: CivetWeb cannot load OpenSSL' "$scratch/refused"
}

# The two libraries of the server's package let it.
appliance_with_our_libraries() {
  LD_LIBRARY_PATH="$(echo "$root"/build/release/lib*/waystation)" play_appliance release-package
}

# conformance NAME SOURCE: the cases of RFC 6455, with the echo server over TLS.
conformance() {
  local program="$hosts/release-$1-echo"
  # shellcheck disable=SC2046 # flags are words
  c++ -std=c++20 -O1 -g1 -pthread -DWAYSTATION_ECHO_TLS -I"$root/module" -I"$root/module/include" \
    -isystem "$2/include" "$root/tests/conformance/echo.cpp" "$hosts/release-$1.o" -o "$program" \
    "$root/build/release/module/api/libwaystation.a" $(pkg-config --libs sqlite3 libjwt libcjson hiredis) \
    -lssl -lcrypto -ldl &&
    WAYSTATION_ECHO="$program" play "release-$1" "$root/tests/conformance/test_conformance.py"
}

# play HOST FILE [TEST…]: runs a file of Python tests against a host.
play() {
  local host="$1" file="$2" sanitized=
  shift 2
  case "$host" in release-*) ;; *) sanitized=1 ;; esac
  (cd "$(dirname -- "$file")" &&
    WAYSTATION_BIN="$hosts/$host" WAYSTATION_TWO_OPENSSL="$hosts/release-$name-two" \
      WAYSTATION_TLS="$scratch/tls" WAYSTATION_SANITIZED="$sanitized" WAYSTATION_LONG="$long" \
      UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS="suppressions='$here/tsan.supp'" \
      PYTHONDONTWRITEBYTECODE=1 ${launcher[@]+"${launcher[@]}"} /usr/bin/python3 "$file" "$@")
}

# play_all HOST FILE…
play_all() {
  local host="$1" file
  shift
  for file in "$@"; do
    check "$host: $(basename -- "$file" .py)" play "$host" "$file"
  done
}

launcher=()
check "a certificate for 127.0.0.1" certificate "$scratch/tls"
if ! civetweb_sources >"$scratch/sources" 2>"$scratch/download"; then
  sed 's/^/        /' "$scratch/download"
  skip "the tests with CivetWeb and OpenSSL" "no source package of CivetWeb, see above"
  finish
fi
mapfile -t sources <"$scratch/sources"
read -r name source <<<"${sources[0]}"

check "CivetWeb ($name) with OpenSSL" build_host release "$name" "$source"
check "CivetWeb ($name) with an OpenSSL of its own" build_host_with_two "$name" "$source"
check "the example, over TLS" appliance "$name" "$source"
check "the example, with a CivetWeb that cannot load OpenSSL" appliance_says_why_not
check "the example, with Debian's CivetWeb and our libraries" appliance_with_our_libraries
check "conformance to RFC 6455, over TLS" conformance "$name" "$source"
play_all "release-$name" "$here"/test_{host,records,connections}.py "$root/tests/transcripts/play_scenes.py" \
  "$root"/tests/integration/test_{bad_input,fidelity,order,original,protocol}.py

# Without Debian's patches.
for line in "${sources[@]:1}"; do
  read -r other folder <<<"$line"
  check "CivetWeb ($other) with OpenSSL" build_host release "$other" "$folder"
  play_all "release-$other" "$here/test_connections.py" "$root/tests/transcripts/play_scenes.py"
done

if [ -z "$quick" ]; then
  for preset in asan tsan; do
    # ThreadSanitizer fails to start if the kernel randomizes more address bits than it supports.
    if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
      launcher=(setarch "$(uname -m)" -R)
    fi
    check "CivetWeb ($name), $preset" build_host "$preset" "$name" "$source"
    play_all "$preset-$name" "$here"/test_{host,records,connections}.py
  done
  if [ -n "$long" ]; then
    check "CivetWeb ($name), tsan, and its OpenSSL too" build_instrumented_host "$name-openssl" "$source"
    play_all "tsan-$name-openssl" "$here"/test_{host,records,connections}.py
  fi
fi
finish
