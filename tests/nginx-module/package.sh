#!/usr/bin/env bash
# Installs, upgrades, removes and purges libnginx-mod-waystation in a fresh Debian 12, with Debian's nginx:
#
#     tests/nginx-module/package.sh    builds the package first
#
# WAYSTATION_DEBIAN may name a folder that debootstrap has filled; it is copied. Needs root and Debian's
# archive over the network. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"

packages="$scratch/packages"
machine="$scratch/machine"

# A process of its own for everything in the machine; all end with the command.
inside() { unshare --mount --pid --fork --kill-child chroot "$machine" "$@"; }

builds() { WAYSTATION_PACKAGES="$packages" "$root/packaging/nginx-module/build.sh" --deb; }

lintian_reports_nothing() {
  lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$packages"/*.changes
}

# Debian with nginx. No service starts in it.
prepare() {
  if [ -n "${WAYSTATION_DEBIAN:-}" ]; then
    mkdir -p "$machine" && cp -a "$WAYSTATION_DEBIAN/." "$machine"
  else
    debootstrap --variant=minbase bookworm "$machine"
  fi || return
  # Also the archive of security updates: the package was built with its nginx.
  cp /etc/apt/sources.list.d/debian.sources "$machine/etc/apt/sources.list.d/" &&
    printf '#!/bin/sh\nexit 101\n' >"$machine/usr/sbin/policy-rc.d" &&
    chmod +x "$machine/usr/sbin/policy-rc.d" || return
  [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$machine/etc/resolv.conf"
  cp "$packages"/libnginx-mod-waystation_*.deb "$machine/module.deb" && older &&
    inside sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx'
}

# The package of an assumed earlier version.
older() {
  dpkg-deb -R "$machine/module.deb" "$scratch/older" &&
    sed -i 's/^Version: .*/Version: 0.0.9-1/' "$scratch/older/DEBIAN/control" &&
    dpkg-deb --build --root-owner-group "$scratch/older" "$machine/older.deb"
}

files() {
  (cd "$machine" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./var/cache -o -path ./var/log \
    -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./run \) -prune -o -printf '%y %p\n' | sort)
}

# nginx knows the directives, so the module is loaded.
is_loaded() {
  cat >"$machine/etc/nginx/sites-enabled/default" <<'SITE'
server {
  listen 127.0.0.1:8081;
  location /push/ { waystation_pass unix:/run/waystation/handover.sock; }
}
SITE
  inside nginx -t
}

is_not_loaded() { ! is_loaded && grep -q 'unknown directive "waystation_pass"' "$scratch/log"; }
works_without() { rm "$machine/etc/nginx/sites-enabled/default" && inside nginx -t; }
leaves_nothing() { files | diff "$scratch/before" -; }

give_up() {
  printf '%s\n0 passed, 0 failed\n' "$*"
  exit 77
}

[ "$(id -u)" -eq 0 ] || give_up "needs root, to set up a Debian in a folder"
for program in debootstrap lintian dpkg-deb; do
  command -v "$program" >/dev/null || give_up "$program: not found; apt-get install ${program/-deb/}"
done
unshare --mount --pid --fork true 2>/dev/null ||
  give_up "the kernel does not allow this user to make namespaces"

check "the package builds" builds
[ "$failed" -eq 0 ] || finish
check "lintian finds no error and no warning" lintian_reports_nothing
check "a fresh Debian 12 with nginx is set up" prepare
[ "$failed" -eq 0 ] || finish
# nginx makes folders of its own when it reads a server.
rm -f "$machine/etc/nginx/sites-enabled/default"
echo 'server { listen 127.0.0.1:8081; }' >"$machine/etc/nginx/sites-enabled/default"
check "nginx works before" inside nginx -t
rm "$machine/etc/nginx/sites-enabled/default"
files >"$scratch/before"
check "an earlier version installs" inside dpkg -i /older.deb
check "nginx loads the module" is_loaded
check "it is upgraded" inside dpkg -i /module.deb
check "nginx loads the module again" is_loaded
check "it needs the nginx that it was built for" \
  grep -qE '^Depends: .*nginx-abi-' <(dpkg-deb -I "$machine/module.deb" | sed 's/^ //')
check "removing it leaves nginx without the module" inside dpkg -r libnginx-mod-waystation
check "nginx does not know the directive any more" is_not_loaded
check "nginx works without it" works_without
check "purging works" inside dpkg -P libnginx-mod-waystation
check "no file is left" leaves_nothing
finish
