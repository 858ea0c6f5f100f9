#!/usr/bin/env bash
# Tests wss on the port of a host application, with CivetWeb and OpenSSL as hosts build them:
#
#     tests/integration/tls/run.sh          below four minutes; needs build/release, and for the
#                                           sanitizers build/asan and build/tsan
#     tests/integration/tls/run.sh --long   more connections, and OpenSSL instrumented too
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
# shellcheck source=tests/integration/tls/civetweb.sh
. "$here/civetweb.sh"
long=
if [ "${1:-}" = --long ]; then long=yes; fi
hosts="$root/build/tls"
mkdir -p "$hosts"

# certificate FOLDER: a self-signed certificate for 127.0.0.1.
certificate() {
  mkdir -p "$1" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout "$1/key.pem" -out "$1/certificate.pem"
}

# flags_of PRESET: the compiler flags of a build, for the host and its CivetWeb.
flags_of() {
  case "$1" in
    release) echo -O2 ;;
    asan) echo -O1 -fsanitize=address,undefined -fno-sanitize-recover=all ;;
    tsan) echo -O1 -fsanitize=thread ;;
  esac
}

# build_host PRESET NAME SOURCE: builds $hosts/PRESET-NAME.
build_host() {
  local preset="$1" source="$3" program="$hosts/$1-$2" flags
  read -ra flags <<<"$(flags_of "$preset")"
  # UndefinedBehaviorSanitizer is for our code; CivetWeb's callbacks are cast.
  build_civetweb "$source" "$program.o" "${flags[@]}" -fno-sanitize=undefined &&
    "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Werror -g1 "${flags[@]}" \
      -I"$root/module/include" -isystem "$source/include" "$here/host.c" "$program.o" -o "$program" \
      -L"$root/build/$preset/module/api" -lwaystation "-Wl,-rpath,$root/build/$preset/module/api" \
      -lssl -lcrypto -pthread -ldl
}

# play SUITE HOST FILE [TEST…]: runs a file of Python tests against a host.
play() {
  local host="$1" file="$2" sanitized=
  shift 2
  case "$host" in release-*) ;; *) sanitized=1 ;; esac
  (cd "$(dirname -- "$file")" &&
    WAYSTATION_BIN="$hosts/$host" WAYSTATION_TLS="$scratch/tls" WAYSTATION_SANITIZED="$sanitized" \
      WAYSTATION_LONG="$long" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$file" "$@")
}

check "a certificate for 127.0.0.1" certificate "$scratch/tls"
if ! sources="$(civetweb_sources 2>"$scratch/download")"; then
  skip "the tests with CivetWeb and OpenSSL" "its source package: no download; see $scratch/download"
  sed 's/^/        /' "$scratch/download"
  finish
fi
while read -r name source; do
  check "CivetWeb ($name) with OpenSSL" build_host release "$name" "$source"
done <<<"$sources"
finish
