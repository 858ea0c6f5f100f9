#!/usr/bin/env bash
# Builds the Debian packages twice and compares them byte by byte. The builds differ in folder
# names, time, user and settings:
#
#     tests/package/reproducible.sh                     builds twice
#     tests/package/reproducible.sh --packages FOLDER   builds once, and compares with those there
#
# Needs the requirements of packaging/build.sh, and some minutes per build. Ends with `N passed, N
# failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"

built() { env WAYSTATION_PACKAGES="$1" "${@:2}" "$root/packaging/build.sh" deb; }

same() {
  local name="${1##*/}"
  cmp "$first/$name" "$second/$name" || {
    command -v diffoscope >/dev/null && diffoscope --text - "$first/$name" "$second/$name"
    return 1
  }
}

if [ "${1:-}" = --packages ]; then
  first="${2:?--packages needs a folder}"
else
  first="$scratch/one"
  check "the packages build" built "$first"
fi
second="$scratch/another/and/deeper"
check "they build again" built "$second" TZ=Pacific/Auckland LANG=C USER=somebody \
  DEB_BUILD_OPTIONS=parallel=3
for deb in "$second"/*.deb; do
  check "${deb##*/} is the same" same "$deb"
done
finish
