#!/usr/bin/env bash
# Builds the RPM packages and looks at them: what is in which, what they ask for, that they install
# into an empty root, and that what is there runs.
#
#     tests/package/rpm.sh                     builds them first
#     tests/package/rpm.sh --packages FOLDER   takes those that are there
#     tests/package/rpm.sh --worktree          builds what is not committed, too
#
# Needs what packaging/build.sh rpm needs, and some minutes. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # what check() is given is called by it
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
    check "the RPM packages build" "$root/packaging/build.sh" rpm "$@"
    [ "$failed" -eq 0 ] || finish
    ;;
  *) echo "unknown option $1; there are --packages FOLDER and --worktree"; exit 2 ;;
esac

# rpms NAME: the file of a package.
rpms() { find "$packages" -maxdepth 1 -name "$1-[0-9]*.rpm" ! -name '*.src.rpm'; }
server="$(rpms waystation)"
library="$(rpms libwaystation0)"
devel="$(rpms libwaystation-devel)"
for file in "$server" "$library" "$devel"; do
  [ -f "$file" ] || { echo "FAILED  a package is missing in $packages"; failed=1; finish; }
done

# holds RPM FILE…: those are in it.
holds() {
  local file="$1" name lacking=0
  shift
  rpm -qpl "$file" >"$scratch/list" || return
  for name in "$@"; do
    grep -qxE -- "/$name" "$scratch/list" || { echo "${file##*/} lacks $name"; lacking=1; }
  done
  return "$lacking"
}

# What one holds no other does, folders apart.
share_nothing() {
  local twice
  twice="$(for file in "$server" "$library" "$devel"; do rpm -qplv "$file"; done |
    awk '$1 !~ /^d/ { print $9 }' | sort | uniq -d)"
  echo "$twice"
  [ -z "$twice" ]
}

keeps_configuration() {
  [ "$(rpm -qpc "$server")" = /etc/waystation/waystation.toml ] &&
    rpm -qp --queryformat '[%{FILENAMES} %{FILEFLAGS:fflags}\n]' "$server" |
    grep -qxE '/etc/waystation/waystation.toml cn'
}

asks_for_its_library() {
  local version
  version="$(rpm -qp --queryformat '%{VERSION}-%{RELEASE}' "$server")"
  rpm -qpR "$server" | grep -qxF "libwaystation0 = $version" &&
    rpm -qpR "$devel" | grep -qxF "libwaystation0 = $version" &&
    [ "$version" = "$(rpm -qp --queryformat '%{VERSION}-%{RELEASE}' "$library")" ]
}

scripts_are_sound() {
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

# Nothing of the machine that made them, and no way to a library but the loader's.
knows_no_builder() {
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

# The files that the manual pages name are there.
pages_name_what_there_is() {
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
check "waystation holds what it should" holds "$server" \
  usr/bin/waystation usr/lib/systemd/system/waystation.service usr/lib/sysusers.d/waystation.conf \
  etc/waystation/waystation.toml usr/share/waystation/www/index.html \
  usr/share/waystation/www/index.html.br 'usr/share/man/man1/waystation.1(\.gz)?' \
  'usr/share/man/man5/waystation.toml.5(\.gz)?' \
  usr/share/doc/waystation/examples/nginx/waystation.conf \
  usr/share/doc/waystation/examples/monitoring/waystation.rules.yml \
  usr/share/doc/waystation/examples/monitoring/waystation.grafana.json \
  'usr/share/licenses/waystation(-[0-9.]+)?/LICENSE'
check "libwaystation0 holds the library" holds "$library" 'usr/lib64/libwaystation\.so\.0'
check "libwaystation-devel holds what one builds with" holds "$devel" \
  usr/include/waystation/waystation.h usr/include/waystation/civetweb.h \
  usr/lib64/libwaystation.so usr/lib64/libwaystation.a usr/lib64/pkgconfig/waystation.pc \
  usr/lib64/cmake/waystation/waystation-config.cmake \
  usr/share/doc/libwaystation-devel/examples/appliance.c 'usr/share/man/man3/libwaystation.3(\.gz)?'
check "no file is in two of them" share_nothing
check "an upgrade keeps a changed configuration" keeps_configuration
check "they ask for each other in one version" asks_for_its_library
check "their scripts are sound" scripts_are_sound
check "they install into an empty root" installs
check "what was installed runs, with the configuration that is shipped" runs
check "what was installed is hardened" is_hardened
check "it knows nothing of where it was built" knows_no_builder
check "the manual pages name files that there are" pages_name_what_there_is
check "Vue's notice is there" names_vue
finish
