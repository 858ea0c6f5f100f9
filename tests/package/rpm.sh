#!/usr/bin/env bash
# Builds the RPM packages and checks their content, their dependencies, their installation into an
# empty root, and the installed programs.
#
#     tests/package/rpm.sh                     builds the packages first
#     tests/package/rpm.sh --packages FOLDER   uses existing packages
#     tests/package/rpm.sh --worktree          also builds uncommitted changes
#
# Needs the requirements of packaging/build.sh rpm, and some minutes. Ends with a line `N passed, N
# failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/hardening.sh
. "$root/tests/support/hardening.sh"

packages="$root/build/packages"
case "${1:-}" in
  --packages) packages="${2:?--packages needs a folder}" ;;
  --worktree | "")
    # The same compiler options as build/release, so that ccache finds the objects of its build.
    check "the RPM packages build" env \
      WAYSTATION_CMAKE_OPTIONS="-DCCACHE=ccache -DWAYSTATION_WARNINGS_ARE_ERRORS=ON" \
      "$root/packaging/build.sh" rpm "$@"
    [ "$failed" -eq 0 ] || finish
    ;;
  *) echo "unknown option $1; the options are --packages FOLDER and --worktree"; exit 2 ;;
esac

# rpms NAME: the file of a package.
rpms() { find "$packages" -maxdepth 1 -name "$1-[0-9]*.rpm" ! -name '*.src.rpm'; }
server="$(rpms waystation)"
library="$(rpms libwaystation0)"
devel="$(rpms libwaystation-devel)"
for file in "$server" "$library" "$devel"; do
  [ -f "$file" ] || { echo "FAILED  a package is missing in $packages"; failed=1; finish; }
done

# holds RPM FILE…: the package contains these files.
holds() {
  local file="$1" name lacking=0
  shift
  rpm -qpl "$file" >"$scratch/list" || return
  for name in "$@"; do
    grep -qxE -- "/$name" "$scratch/list" || { echo "${file##*/} lacks $name"; lacking=1; }
  done
  return "$lacking"
}

# No file is in two packages; folders may be.
share_nothing() {
  local twice
  twice="$(for file in "$server" "$library" "$devel"; do rpm -qplv "$file"; done |
    awk '$1 !~ /^d/ { print $9 }' | sort | uniq -d)"
  echo "$twice"
  [ -z "$twice" ]
}

keeps_configuration() {
  [ "$(rpm -qpc "$server")" = /etc/waystation/waystation.toml ] &&
    grep -qxE '/etc/waystation/waystation.toml cn' \
      <<<"$(rpm -qp --queryformat '[%{FILENAMES} %{FILEFLAGS:fflags}\n]' "$server")"
}

depends_on_its_library() {
  local version
  version="$(rpm -qp --queryformat '%{VERSION}-%{RELEASE}' "$server")"
  grep -qxF "libwaystation0 = $version" <<<"$(rpm -qpR "$server")" &&
    grep -qxF "libwaystation0 = $version" <<<"$(rpm -qpR "$devel")" &&
    [ "$version" = "$(rpm -qp --queryformat '%{VERSION}-%{RELEASE}' "$library")" ]
}

# The two libraries have the names of OpenSSL's, which no other package may get from this one.
provides_no_openssl() { ! rpm -qp --provides "$server" | grep -E '^lib(ssl|crypto)'; }

scripts_parse() {
  local tag script
  for tag in PREIN POSTIN PREUN POSTUN; do
    script="$(rpm -qp --queryformat "%{$tag}" "$server")"
    if [ -z "$script" ] || [ "$script" = "(none)" ]; then
      echo "there is no $tag"
      return 1
    fi
    sh -n <<<"$script" || return
  done
}

is_hardened() { hardened "$machine/usr/bin/waystation" "$machine"/usr/lib64/libwaystation.so.0.*; }

# No path of the build machine, and no library search path except the loader's.
has_no_build_path() {
  local file
  for file in "$machine/usr/bin/waystation" "$machine"/usr/lib64/libwaystation.so.0.*; do
    ! readelf -dW "$file" | grep -E 'R(UN)?PATH' || return
  done
  ! grep -rlF -- "$root" "$machine"
}

installs() {
  rpm --root "$machine" --initdb &&
    rpm --root "$machine" -i --nodeps --noscripts "$server" "$library" "$devel"
}

run() { env -i LD_LIBRARY_PATH="$machine/usr/lib64" "$machine/usr/bin/waystation" "$@"; }

runs() {
  [ "$(run --version)" = "waystation $(rpm -qp --queryformat '%{VERSION}' "$server")" ] &&
    run config check --config "$machine/etc/waystation/waystation.toml" \
      --www "$machine/usr/share/waystation/www"
}

# The files that the manual pages name exist.
pages_name_existing_files() {
  local name missing=0
  for name in $(find "$machine/usr/share/man" -name '*.gz' -exec zcat {} + -o -type f -exec cat {} + |
    sed 's/\\-/-/g' | grep -oE '/(etc|usr)/[a-z0-9./_-]*[a-z0-9]' | sort -u); do
    [ -e "$machine$name" ] || { echo "there is no $name"; missing=1; }
  done
  [ -n "$name" ] && return "$missing"
}

names_vue() { grep -rlF "Vue contributors" "$machine/usr/share/licenses"; }

machine="$scratch/machine"
mkdir "$machine"
check "waystation contains its files" holds "$server" \
  usr/bin/waystation usr/lib/systemd/system/waystation.service usr/lib/sysusers.d/waystation.conf \
  etc/waystation/waystation.toml usr/share/waystation/www/index.html \
  usr/share/waystation/www/index.html.br 'usr/share/man/man1/waystation.1(\.gz)?' \
  'usr/share/man/man5/waystation.toml.5(\.gz)?' usr/lib64/waystation/libssl.so \
  usr/lib64/waystation/libcrypto.so \
  usr/share/doc/waystation/examples/nginx/waystation.conf \
  usr/share/doc/waystation/examples/monitoring/waystation.rules.yml \
  usr/share/doc/waystation/examples/monitoring/waystation.grafana.json \
  usr/share/doc/waystation/examples/django/chat_site.py \
  usr/share/doc/waystation/examples/django/chat.js \
  usr/share/doc/waystation/examples/auth_request/nginx.conf \
  'usr/share/doc/waystation/SECURITY.md(\.gz)?' 'usr/share/doc/waystation/module/CLUSTER.md(\.gz)?' \
  'usr/share/doc/waystation/packaging/README.md(\.gz)?' 'usr/share/doc/waystation/sql/README.md(\.gz)?' \
  'usr/share/licenses/waystation(-[0-9.]+)?/LICENSE'
check "libwaystation0 contains the library" holds "$library" 'usr/lib64/libwaystation\.so\.0'
check "libwaystation-devel contains the development files" holds "$devel" \
  usr/include/waystation/waystation.h usr/include/waystation/civetweb.h \
  usr/lib64/libwaystation.so usr/lib64/libwaystation.a usr/lib64/pkgconfig/waystation.pc \
  usr/lib64/cmake/waystation/waystation-config.cmake \
  usr/share/doc/libwaystation-devel/examples/appliance.c \
  usr/share/doc/libwaystation-devel/examples/appliance_tls.c \
  usr/share/doc/libwaystation-devel/examples/handover.py \
  usr/share/doc/libwaystation-devel/examples/own_login/own_login.c \
  usr/share/doc/libwaystation-devel/examples/own_login/page.html 'usr/share/man/man3/libwaystation.3(\.gz)?'
check "no file is in two packages" share_nothing
check "an upgrade keeps a changed configuration" keeps_configuration
check "they depend on each other in one version" depends_on_its_library
check "none provides an OpenSSL" provides_no_openssl
check "their scripts have no syntax errors" scripts_parse
check "they install into an empty root" installs
check "the installed server runs with the shipped configuration" runs
check "the installed files are hardened" is_hardened
check "the files contain no build path" has_no_build_path
check "the manual pages name existing files" pages_name_existing_files
check "Vue's notice is included" names_vue
finish
