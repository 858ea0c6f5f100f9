#!/usr/bin/env bash
# Builds programs outside of this tree against an installation of the library, and runs them:
#
#     tests/consumer/run.sh                       installs build/release into an empty prefix
#     tests/consumer/run.sh FOLDER                installs that build folder
#     WAYSTATION_PREFIX=/usr tests/consumer/run.sh   what is installed there, by packages
#
# Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
build="${1:-$root/build/release}"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# CMake defaults to make; a machine that builds this tree may have Ninja only.
if ! command -v make >/dev/null && command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi

warnings=(-Wall -Wextra -Wpedantic -Wshadow -Werror)

# use_prefix FOLDER: the prefix that pkg-config and CMake search from now on.
use_prefix() {
  local pc
  prefix="$1"
  pc="$(find "$prefix" -name waystation.pc -print -quit 2>/dev/null)"
  if [ -z "$pc" ]; then
    printf 'waystation.pc: not found below %s; install the component development there\n' "$prefix"
    failed=$((failed + 1))
    finish
  fi
  library_dir="$(dirname -- "$(dirname -- "$pc")")"
  export PKG_CONFIG_PATH="${pc%/*}" CMAKE_PREFIX_PATH="$prefix"
  # CMake sets the run path by itself; a plain `cc` needs the flag.
  run_path="-Wl,-rpath,$library_dir"
}

installed() { cmake --install "$build" --prefix "$scratch/prefix"; }

configured() { cmake -S "$here/$1" -B "$scratch/$2" -DCMAKE_BUILD_TYPE=Release "${@:3}"; }

# Configures, and expects a failure with the given reason.
refused() {
  local reason="$1"
  shift
  if configured "$@"; then
    echo "configuration succeeded; it must fail"
    return 1
  fi >"$scratch/refusal" 2>&1
  tr -s ' \n' ' ' <"$scratch/refusal" | grep -F -- "$reason" && return
  cat "$scratch/refusal"
  return 1
}

built() { cmake --build "$scratch/$1" -- -j2; }

# by_pkg_config COMPILER SOURCE PROGRAM [--static] [flag…]
by_pkg_config() {
  local compiler="$1" source="$2" program="$3" flags static=
  shift 3
  if [ "${1:-}" = --static ]; then
    static=--static
    shift
  fi
  # shellcheck disable=SC2086 # an option or none
  flags="$(pkg-config --cflags --libs $static waystation)" || return
  # The linker prefers the shared library if both exist.
  if [ -n "$static" ]; then flags="${flags/-lwaystation/-l:libwaystation.a}"; fi
  # shellcheck disable=SC2086 # flags are words
  "$compiler" "${warnings[@]}" "$here/$source" -o "$scratch/$program" $flags "$run_path" "$@"
}

links_shared() { ldd "$1" | grep -F libwaystation.so.0; }
links_static() { ! ldd "$1" | grep -F libwaystation; }

# Prints every other exported symbol, and fails if there is one.
exports_no_other_symbols() {
  local others
  others="$(nm -D --defined-only "$library_dir/libwaystation.so" |
    awk '{ print $NF }' | grep -v '^waystation_')"
  printf '%s' "$others"
  [ -z "$others" ] && grep -q ' waystation_new$' <<<"$(nm -D --defined-only "$library_dir/libwaystation.so")"
}

links_no_web_server() {
  ! nm -D --undefined-only "$library_dir/libwaystation.so" | grep -E ' mg_' &&
    ! ldd "$library_dir/libwaystation.so" | grep -i civetweb
}

# The glue of the host application lends it the functions.
links_no_tls_library() {
  ! nm -D --undefined-only "$library_dir/libwaystation.so" | grep -E ' (SSL|TLS|DTLS)_' &&
    ! objdump -p "$library_dir/libwaystation.so" | grep 'NEEDED *libssl'
}

# Every function that the header declares is exported.
exports_what_it_declares() {
  local name missing=0
  for name in $(grep -hoE 'WAYSTATION_API [^;(]*\bwaystation_[a-z_]+\(' \
    "$prefix/include/waystation/waystation.h" | grep -oE 'waystation_[a-z_]+\($' | tr -d '('); do
    grep -q " $name$" <<<"$(nm -D --defined-only "$library_dir/libwaystation.so")" && continue
    echo "$name is declared and not exported"
    missing=1
  done
  return "$missing"
}

header_alone() {
  local header="$1" compiler="$2" standard="$3"
  printf '#include <waystation/%s>\nint main(void) { return 0; }\n' "$header" |
    "$compiler" -x "$4" -std="$standard" "${warnings[@]}" -I"$prefix/include" -c - \
      -o "$scratch/header.o"
}

# The glue for OpenSSL does not compile with a library that only looks like it.
refuses_tls_library() {
  printf '#include <waystation/civetweb_openssl.h>\n' |
    cc -x c -std=c11 "$1" -I"$prefix/include" -c - -o "$scratch/header.o" 2>"$scratch/refused" &&
    return 1
  grep -q 'put a TLS proxy in front' "$scratch/refused"
}

# hidden LAYOUT-FLAGS…: a program with the library's user and its own CivetWeb, which exports none
# of CivetWeb's symbols.
hidden() {
  # shellcheck disable=SC2046 # flags are words
  cc -std=gnu11 "${warnings[@]}" -fvisibility=hidden -pthread "$@" -I"$here/fake_civetweb" \
    "$here/fake_civetweb/host.c" "$here/fake_civetweb/fake_civetweb.c" -o "$scratch/hidden" \
    $(pkg-config --cflags --libs waystation) "$run_path" || return
  ! nm -D --defined-only "$scratch/hidden" | grep ' mg_' && "$scratch/hidden"
}

# The same with CivetWeb's own sources, if WAYSTATION_CIVETWEB_SOURCE names their folder.
hidden_source() {
  # shellcheck disable=SC2046 # flags are words
  cc -fvisibility=hidden -w -c -DUSE_WEBSOCKET -DNO_SSL -DNO_CGI -DNO_CACHING \
    -I"$1/include" "$1/src/civetweb.c" -o "$scratch/civetweb.o" &&
    c++ -std=c++20 -I"$1/include" "$here/host.cpp" "$scratch/civetweb.o" -pthread -ldl \
      -o "$scratch/hidden" $(pkg-config --cflags --libs waystation) "$run_path" || return
  "$scratch/hidden"
}

# With the release's flags and a path of the same depth, so that ccache has most objects.
builds_in_tree() {
  local tree="$root/build/in-tree"
  rm -rf "$tree"
  cmake -S "$here/in_tree" -B "$tree" -G Ninja "-DWAYSTATION=$root" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DWAYSTATION_WARNINGS_ARE_ERRORS=ON && cmake --build "$tree" -- -j2 && "$tree/host"
}

if [ -n "${WAYSTATION_PREFIX:-}" ]; then
  use_prefix "$WAYSTATION_PREFIX"
else
  if [ ! -f "$build/cmake_install.cmake" ]; then
    printf '%s: not a build folder; name one, or build it: cmake --preset release && cmake --build --preset release\n' "$build"
    printf '0 passed, 1 failed\n'
    exit 1
  fi
  check "the build installs into an empty prefix" installed
  # The prefix is moved after installation: no installed file may contain its path.
  mv "$scratch/prefix" "$scratch/moved"
  use_prefix "$scratch/moved"
fi

check "find_package() finds the library for C and C++, shared and static" configured cmake by-cmake
check "programs that use find_package() build" built by-cmake
for program in c_waystation cpp_waystation c_waystation_static cpp_waystation_static; do
  check "$program: a message arrives" "$scratch/by-cmake/$program"
done
check "waystation::waystation is the shared library" links_shared "$scratch/by-cmake/c_waystation"
check "waystation::waystation_static is the static one" \
  links_static "$scratch/by-cmake/cpp_waystation_static"
check "a C-only project builds" \
  eval 'configured c_only c && built c && "$scratch/c/host"'
check "a C-only project that asks for the static library gets the reason for the refusal" \
  refused "the language CXX" c_only c-static -DSTATIC=ON
check "another minor version is refused" refused "0.2" c_only c-version -DVERSION=0.2

check "pkg-config, C" by_pkg_config cc host.c pc-c -std=gnu11
check "pkg-config, C: a message arrives" "$scratch/pc-c"
check "pkg-config, C++" by_pkg_config c++ host.cpp pc-cpp -std=c++20 -lcivetweb
check "pkg-config, C++: a message arrives" "$scratch/pc-cpp"
check "pkg-config --static, C" by_pkg_config cc host.c pc-static --static -std=gnu11
check "pkg-config --static, C: a message arrives" \
  eval 'links_static "$scratch/pc-static" && "$scratch/pc-static"'
check "pkg-config knows the version" pkg-config --exact-version=0.1.0 waystation
check "pkg-config asks for no other package" \
  env PKG_CONFIG_LIBDIR="$PKG_CONFIG_PATH" PKG_CONFIG_PATH= pkg-config --cflags --libs waystation

check "the example builds as its first lines say" \
  by_pkg_config cc ../../embed/examples/appliance.c appliance -std=c11 -lcivetweb
check "the example with a login builds" \
  by_pkg_config cc ../../embed/examples/own_login/own_login.c own_login -std=c11 -lcivetweb -pthread
check "structs of an older header are accepted" \
  eval 'by_pkg_config cc old_header.c old -std=gnu11 && "$scratch/old"'
check "CivetWeb compiled in with hidden symbols, layout of 1.15" hidden
check "CivetWeb compiled in with hidden symbols, layout of 1.17" hidden -DFAKE_CIVETWEB_LAYOUT_117
if [ -n "${WAYSTATION_CIVETWEB_SOURCE:-}" ]; then
  check "CivetWeb's sources compiled in with hidden symbols" hidden_source "$WAYSTATION_CIVETWEB_SOURCE"
fi

for standard in c99 c11 c17; do
  check "waystation.h is self-contained, $standard" header_alone waystation.h cc "$standard" c
  for header in civetweb.h civetweb_openssl.h; do
    check "$header is self-contained, $standard" header_alone "$header" cc "$standard" c
  done
done
for standard in c++11 c++17 c++20; do
  check "waystation.h is self-contained, $standard" header_alone waystation.h c++ "$standard" c++
  for header in civetweb.h civetweb_openssl.h; do
    check "$header is self-contained, $standard" header_alone "$header" c++ "$standard" c++
  done
done

for macro in LIBRESSL_VERSION_NUMBER OPENSSL_IS_BORINGSSL OPENSSL_IS_AWSLC; do
  check "civetweb_openssl.h refuses $macro" refuses_tls_library "-D$macro=1"
done

check "only waystation_* is exported" exports_no_other_symbols
check "every declared function is exported" exports_what_it_declares
check "the library links no web server" links_no_web_server
check "the library links no TLS library" links_no_tls_library
# Packages leave this to the loader, which searches /usr/lib.
if [ -x "$prefix/bin/waystation" ] && [ "${WAYSTATION_PREFIX:-/usr}" = /usr ]; then
  check "the server finds its library" "$prefix/bin/waystation" --version
fi

if [ -z "${WAYSTATION_PREFIX:-}" ]; then
  check "a tree that contains this one builds" builds_in_tree
fi
finish
