#!/usr/bin/env bash
# Makes packages from what is committed:
#
#     packaging/build.sh deb [--worktree]     Debian packages, and the source package
#     packaging/build.sh rpm [--worktree]     RPM packages
#
# They are left in build/packages/. With --worktree, files are taken as they are in the folder,
# committed or not. Needs what the packages' Build-Depends name; on Debian, as root or with sudo, it
# is installed. The page is built from source, for which npm fetches what its lock file names.
set -euo pipefail

self=packaging/build.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../embed/setup.sh"

kind="${1:-}"
case "$kind" in
  deb | rpm) ;;
  *) fail "which packages? allowed is: $self deb [--worktree], or $self rpm [--worktree]" ;;
esac
case "${2:-}" in
  "") tree=HEAD ;;
  --worktree) tree=worktree ;;
  *) fail "unknown option $2; there is --worktree, or none" ;;
esac

# Where it is all made. Another place gives the same packages: tests/package/reproducible.sh.
packages="${WAYSTATION_PACKAGES:-$root/build/packages}"
work="$packages/work"
version="$(sed -nE 's/^project\(waystation VERSION ([0-9.]+).*/\1/p' "$root/CMakeLists.txt")"
source_dir="$work/waystation-$version"

# The time that goes into the packages is that of the changelog, not of the clock.
SOURCE_DATE_EPOCH="$(date +%s --date "$(sed -n 's/^ -- .*>  //p' "$root/packaging/debian/changelog" | head -n 1)")"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022

# The tree, or what of it is committed, as source_dir and as the tarball that sources come in.
unpack_source() {
  rm -rf "$work"
  mkdir -p "$source_dir"
  if [ -n "$(git -C "$root" rev-parse --git-dir 2>/dev/null)" ]; then
    if [ "$tree" = HEAD ]; then
      git -C "$root" archive HEAD | tar -x -C "$source_dir"
    else
      # New files count, those that .gitignore names do not.
      (cd "$root" && git ls-files -z --cached --others --exclude-standard |
        tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$source_dir"
    fi
  else
    # Unpacked from a tarball: all of it is source.
    tar -c -C "$root" --exclude=./build --exclude=node_modules . | tar -x -C "$source_dir"
  fi
  rm -rf "$source_dir/.ci"
  tar -c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    -C "$work" "waystation-$version" | gzip -9n >"$work/waystation_$version.orig.tar.gz"
}

# Debian's tools set another HOME for the build. npm would find neither its cache nor its settings there.
keep_npm_settings() {
  export npm_config_cache="${npm_config_cache:-$HOME/.npm}"
  if [ -f "$HOME/.npmrc" ]; then export NPM_CONFIG_USERCONFIG="$HOME/.npmrc"; fi
}

# What Build-Depends name and is not installed, without Node.js where one is there that is none of
# Debian's.
missing_packages() {
  local missing
  missing="$(cd "$source_dir" && dpkg-checkbuilddeps 2>&1 | sed -n 's/.*[Uu]nmet build dependencies: //p' |
    sed -E 's/ \([^)]*\)//g')"
  if node_is_new_enough; then missing="$(tr ' ' '\n' <<<"$missing" | grep -vxE 'nodejs|npm' || true)"; fi
  printf '%s' "$missing" | tr '\n' ' '
}

make_deb() {
  local missing
  command -v dpkg-buildpackage >/dev/null || need_packages dpkg-dev
  cp -R "$source_dir/packaging/debian" "$source_dir/debian"
  need_packages debhelper
  missing="$(missing_packages)"
  # shellcheck disable=SC2086 # names of packages are words
  if [ -n "$missing" ]; then need_packages $missing; fi
  missing="$(missing_packages)"
  if [ -n "$missing" ]; then
    fail "these are needed and could not be installed: $missing"
  fi
  keep_npm_settings
  # -d: what is needed was looked at above, where a Node.js from elsewhere is as good.
  if ! (cd "$source_dir" && dpkg-buildpackage -d -us -uc) >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" >&2
    fail "dpkg-buildpackage failed: see above, or $work/build.log"
  fi
  mv "$work"/*.deb "$work"/*.dsc "$work"/*.tar.* "$work"/*.changes "$work"/*.buildinfo "$packages/"
}

make_rpm() {
  local top="$work/rpmbuild"
  command -v rpmbuild >/dev/null || need_packages rpm
  # Elsewhere rpmbuild names what is missing; here its packages have other names.
  local options=()
  if command -v dpkg-query >/dev/null; then
    need_packages "${build_packages[@]}"
    node_is_new_enough || need_node
    options+=(--nodeps)
  fi
  keep_npm_settings
  mkdir -p "$top/SOURCES"
  cp "$work/waystation_$version.orig.tar.gz" "$top/SOURCES/waystation-$version.tar.gz"
  if ! rpmbuild -ba "$source_dir/packaging/rpm/waystation.spec" ${options[@]+"${options[@]}"} \
    --define "_topdir $top" --define "waystation_version $version" \
    --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost localhost" \
    >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" >&2
    fail "rpmbuild failed: see above, or $work/build.log"
  fi
  find "$top/RPMS" "$top/SRPMS" -name '*.rpm' -exec mv {} "$packages/" \;
}

mkdir -p "$packages"
rm -f "$packages"/*."$kind"
unpack_source
say "building $kind packages of $version (some minutes)"
"make_$kind"
say "they are in $packages:"
(cd "$packages" && ls -1 -- *."$kind") >&2
