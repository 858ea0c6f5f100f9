#!/usr/bin/env bash
# Builds the nginx module:
#
#     packaging/nginx-module/build.sh                       for Debian's nginx (package nginx-dev)
#     packaging/nginx-module/build.sh --nginx-source DIR    for the nginx of this source
#     packaging/nginx-module/build.sh --deb                 Debian package, in build/packages
#
# The module is written to build/nginx-module/ngx_http_waystation_module.so. With --nginx-source, DIR
# is an unpacked source of exactly the version of your nginx, which must have been built with
# --with-compat, as nginx's own packages and those of distributions are. Its files are not changed.
# Warnings are errors, as nginx's build has it.
set -euo pipefail

self=packaging/nginx-module/build.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../embed/setup.sh"

here="$root/packaging/nginx-module"
work="${WAYSTATION_NGINX_BUILD:-$root/build/nginx-module}"
module=ngx_http_waystation_module.so
usage="allowed: $self, $self --nginx-source DIR, or $self --deb"

# Features that change how the module is compiled. nginx's own build may have more or fewer.
features=(--with-compat --with-http_ssl_module --with-http_v2_module)

# build_module SOURCE OPTION…: builds with nginx's configure script in SOURCE.
build_module() {
  local source="$1" configure=./configure compiler="-O2 -g -fPIC" linker=
  shift
  [ -x "$source/configure" ] || configure=./auto/configure
  if command -v dpkg-buildflags >/dev/null; then
    compiler="$(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get CFLAGS) -fPIC"
    compiler+=" $(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get CPPFLAGS)"
    linker="$(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get LDFLAGS) -fPIC"
  fi
  if ! (cd "$source" && "$configure" "$@" --with-cc-opt="$compiler" --with-ld-opt="$linker" \
    --add-dynamic-module="$here" --builddir="$work/objects" &&
    make -f "$work/objects/Makefile" -j"$(nproc)" modules) >"$work/build.log" 2>&1; then
    tail -n 40 "$work/build.log" >&2
    fail "the module did not build: see the lines above, or $work/build.log"
  fi
  cp "$work/objects/$module" "$work/$module"
  say "built $work/$module"
}

build_package() {
  local packages="${WAYSTATION_PACKAGES:-$root/build/packages}" version tree
  need_packages debhelper nginx-dev
  version="$(sed -nE '1s/.*\(([0-9.]+)-.*/\1/p' "$here/debian/changelog")"
  tree="$work/libnginx-mod-waystation-$version"
  rm -rf "$tree"
  mkdir -p "$tree" "$packages"
  cp -R "$here/config" "$here/src" "$here/README.md" "$tree"
  SOURCE_DATE_EPOCH="$(date +%s --date "$(sed -n 's/^ -- .*>  //p' "$here/debian/changelog" | head -n 1)")"
  export SOURCE_DATE_EPOCH
  tar -c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$work" \
    "${tree##*/}" | gzip -9n >"$work/libnginx-mod-waystation_$version.orig.tar.gz"
  cp -R "$here/debian" "$tree"
  if ! (cd "$tree" && dpkg-buildpackage -us -uc) >"$work/build.log" 2>&1; then
    tail -n 40 "$work/build.log" >&2
    fail "dpkg-buildpackage failed: see the lines above, or $work/build.log"
  fi
  mv "$work"/libnginx-mod-waystation*_* "$packages/"
  say "packages in $packages:"
  (cd "$packages" && ls -1 -- libnginx-mod-waystation_*.deb) >&2
}

mkdir -p "$work"
case "${1:-}" in
  "")
    need_packages nginx-dev
    sources=/usr/share/nginx/src
    [ -f "$sources/conf_flags" ] ||
      fail "$sources: not found; use --nginx-source DIR, with the source of your nginx"
    # shellcheck source=/dev/null # it sets NGX_CONF_FLAGS
    . "$sources/conf_flags"
    build_module "$sources" "${NGX_CONF_FLAGS[@]}"
    ;;
  --nginx-source)
    [ -f "${2:-}/src/core/nginx.h" ] || fail "${2:-no DIR}: not the source of nginx; $usage"
    # configure writes into the folder of the source.
    rm -rf "$work/source"
    cp -R -- "$2" "$work/source"
    build_module "$work/source" "${features[@]}"
    ;;
  --deb) build_package ;;
  *) fail "$1: unknown option; $usage" ;;
esac
