#!/usr/bin/env bash
# Builds packages from the committed files:
#
#     packaging/build.sh deb [--worktree]     Debian packages, and the source package
#     packaging/build.sh rpm [--worktree]     RPM packages
#
# The packages are written to build/packages/. --worktree uses the files in the folder, committed or
# not. Missing build dependencies are installed on Debian (as root or with sudo). The page is built
# from source; npm downloads the packages of its lock file. WAYSTATION_CMAKE_OPTIONS: further options
# of the RPM packages' build.
set -euo pipefail

self=packaging/build.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../embed/setup.sh"

kind="${1:-}"
case "$kind" in
  deb | rpm) ;;
  *) fail "no kind of package; allowed: $self deb [--worktree], or $self rpm [--worktree]" ;;
esac
case "${2:-}" in
  "") tree=HEAD ;;
  --worktree) tree=worktree ;;
  *) fail "$2: unknown option; allowed: --worktree" ;;
esac

# The output folder. It does not affect the packages: tests/package/reproducible.sh.
packages="${WAYSTATION_PACKAGES:-$root/build/packages}"
work="$packages/work"
version="$(sed -nE 's/^project\(waystation VERSION ([0-9.]+).*/\1/p' "$root/CMakeLists.txt")"
source_dir="$work/waystation-$version"

# The time in the packages is the changelog's, so that builds are reproducible.
SOURCE_DATE_EPOCH="$(date +%s --date "$(sed -n 's/^ -- .*>  //p' "$root/packaging/debian/changelog" | head -n 1)")"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022

# Copies the source tree to source_dir and packs it as the source tarball.
unpack_source() {
  rm -rf "$work"
  mkdir -p "$source_dir"
  if [ -n "$(git -C "$root" rev-parse --git-dir 2>/dev/null)" ]; then
    if [ "$tree" = HEAD ]; then
      git -C "$root" archive HEAD | tar -x -C "$source_dir"
    else
      # Include new files, exclude those in .gitignore.
      (cd "$root" && git ls-files -z --cached --others --exclude-standard |
        tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$source_dir"
    fi
  else
    # Without git the tree is an unpacked tarball, so all files are source.
    tar -c -C "$root" --exclude=./build --exclude=node_modules . | tar -x -C "$source_dir"
  fi
  rm -rf "$source_dir/.ci"
  tar -c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    -C "$work" "waystation-$version" | gzip -9n >"$work/waystation_$version.orig.tar.gz"
}

# Debian's tools set another HOME for the build, where npm finds neither its cache nor its settings.
keep_npm_settings() {
  export npm_config_cache="${npm_config_cache:-$HOME/.npm}"
  if [ -f "$HOME/.npmrc" ]; then export NPM_CONFIG_USERCONFIG="$HOME/.npmrc"; fi
}

# Prints the missing packages of Build-Depends. Node.js does not count as missing if another
# installation is new enough.
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
  # shellcheck disable=SC2086 # package names contain no spaces
  if [ -n "$missing" ]; then need_packages $missing; fi
  missing="$(missing_packages)"
  if [ -n "$missing" ]; then
    fail "build dependencies could not be installed: $missing"
  fi
  keep_npm_settings
  # -d: missing_packages checked the dependencies and accepts another Node.js.
  if ! (cd "$source_dir" && dpkg-buildpackage -d -us -uc) >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" >&2
    fail "dpkg-buildpackage failed: see the lines above, or $work/build.log"
  fi
  mv "$work"/*.deb "$work"/*.dsc "$work"/*.tar.* "$work"/*.changes "$work"/*.buildinfo "$packages/"
}

make_rpm() {
  local top="$work/rpmbuild"
  command -v rpmbuild >/dev/null || need_packages rpm
  # On Debian, packages have other names than in the spec file. Elsewhere rpmbuild checks them.
  local options=()
  if command -v dpkg-query >/dev/null; then
    need_packages "${build_packages[@]}"
    node_is_new_enough || need_node
    options+=(--nodeps)
  fi
  keep_npm_settings
  mkdir -p "$top/SOURCES"
  cp "$work/waystation_$version.orig.tar.gz" "$top/SOURCES/waystation-$version.tar.gz"
  if [ -n "${WAYSTATION_CMAKE_OPTIONS:-}" ]; then
    options+=(--define "waystation_cmake_options $WAYSTATION_CMAKE_OPTIONS")
  fi
  # With these, a build with ccache finds the objects of build/release of any clone.
  export CCACHE_BASEDIR="$top/BUILD/waystation-$version" CCACHE_NOHASHDIR=1
  if ! rpmbuild -ba "$source_dir/packaging/rpm/waystation.spec" ${options[@]+"${options[@]}"} \
    --define "_topdir $top" --define "waystation_version $version" \
    --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost localhost" \
    >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" >&2
    fail "rpmbuild failed: see the lines above, or $work/build.log"
  fi
  find "$top/RPMS" "$top/SRPMS" -name '*.rpm' -exec mv {} "$packages/" \;
}

mkdir -p "$packages"
rm -f "$packages"/*."$kind"
unpack_source
say "building $kind packages of $version (takes minutes)"
"make_$kind"
say "packages in $packages:"
(cd "$packages" && ls -1 -- *."$kind") >&2
