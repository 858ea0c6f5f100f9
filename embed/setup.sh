# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this
# Functions shared by embed/run.sh, tests/run.sh and packaging/build.sh: packages, build, page.
# Source it with `set -euo pipefail`. It sets `root` to the repository's folder. All messages go to
# standard error, because standard output belongs to the program that is started.

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

# Packages of Debian 12 needed to build and run. Sorted.
build_packages=(
  ccache
  cmake
  g++
  libcivetweb-dev
  libcjson-dev
  libcli11-dev
  libhiredis-dev
  libjwt-dev
  libspdlog-dev
  libsqlite3-dev
  libssl-dev
  libsystemd-dev
  libtomlplusplus-dev
  ninja-build
  pkg-config
  prometheus-cpp-dev
)
# Further packages for the tests: GoogleTest, an independent WebSocket client, a browser.
test_packages=(
  chromium
  e2fsprogs
  git
  iproute2
  libgmock-dev
  libgtest-dev
  man-db
  openssl
  python3
  python3-django
  python3-websockets
  redis-sentinel
  redis-server
  systemd
)

# Packages used by the code blocks of the documents.
docs_packages=(
  curl
  sqlite3
)
# Packages for the nginx module and its tests.
nginx_module_packages=(
  curl
  nginx-dev
)
# Packages for fuzzing.
fuzz_packages=(
  clang
  libclang-rt-14-dev
)
# Packages to build CivetWeb with OpenSSL from its source package.
tls_packages=(
  dpkg-dev
  libssl-dev
  openssl
)
# Packages to test the packages.
package_packages=(
  debootstrap
  lintian
)
# Packages for the static checks.
static_packages=(
  clang
  clang-format-14
  flake8
  shellcheck
)

# Minimum version of Node.js for the page's tools.
min_node=18

say() { printf '%s: %s\n' "${self:-setup.sh}" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Runs a command as root: directly, or with sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "installing packages needs root: run this as root, install sudo, or install them yourself"
  fi
}

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs the missing ones of the named packages.
need_packages() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "not a Debian system, so nothing is installed; needed packages (names of Debian 12): $*"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  as_root apt-get update -qq >&2 ||
    fail "apt-get update failed: see the lines above (no network? a wrong sources.list?)"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -o DPkg::Lock::Timeout=600 -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    fail "apt-get could not install ${missing[*]}: see the lines above"
}

node_is_new_enough() {
  local version
  command -v node >/dev/null && command -v npm >/dev/null || return 1
  version="$(node --version 2>/dev/null)" || return 1
  version="${version#v}"
  [ "${version%%.*}" -ge "$min_node" ] 2>/dev/null
}

# Installs Debian's Node.js if there is none, or if it is too old. Never removes another Node.js.
need_node() {
  if node_is_new_enough; then return; fi
  need_packages nodejs npm
  if node_is_new_enough; then return; fi
  PATH="/usr/bin:$PATH" # an older Node.js may precede Debian's in PATH
  hash -r
  node_is_new_enough ||
    fail "the page needs node $min_node or later and npm; found: $(node --version 2>&1 || true)"
}

# A command that runs the build command, for callers that need a special environment.
launcher=()

# Shows ninja's lines "[3/40] Building …" on a terminal, each in place of the one before.
show_progress() {
  local line
  while IFS= read -r line; do
    case "$line" in '['[0-9]*) printf '\r\033[K%.78s' "$line" >&2 ;; esac
  done
  printf '\r\033[K' >&2
}

# build PRESET [TARGET…]: configures and builds. Prints little unless something fails.
build() {
  local preset="$1" folder="$root/build/$1" target targets=() options=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  # An existing build folder keeps its configuration, for example with tests.
  if [ -n "${with_tests:-}" ]; then
    options+=(-DWAYSTATION_BUILD_TESTS=ON)
  elif [ ! -f "$folder/CMakeCache.txt" ]; then
    options+=(-DWAYSTATION_BUILD_TESTS=OFF)
  fi
  mkdir -p "$folder"
  if ! (cd "$root" && cmake --preset "$preset" ${options[@]+"${options[@]}"}) \
    >"$folder/configure.log" 2>&1; then
    cat "$folder/configure.log" >&2
    say "cmake could not configure build/$preset: see the lines above, or $folder/configure.log"
    return 1
  fi
  say "building build/$preset (minutes the first time, seconds afterwards)"
  local log="$folder/build.log"
  local command=(${launcher[@]+"${launcher[@]}"} cmake --build "$folder" ${targets[@]+"${targets[@]}"}
    -- -j"$(nproc)")
  if [ -t 2 ]; then
    "${command[@]}" 2>&1 | tee "$log" | show_progress
  else
    "${command[@]}" >"$log" 2>&1
  fi || {
    grep -v '^\[[0-9]*/[0-9]*\] ' "$log" >&2 || true # there may be no others
    say "build/$preset did not build: see the compiler's output above, or $log"
    return 1
  }
}

# Prints a hash of the contents of files and folders below www/. File times do not matter.
fingerprint() {
  (
    cd "$root/www" || exit
    find "$@" \( -name node_modules -o -path ./dist -o -path ./lib -o -path ./coverage \) -prune \
      -o -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum | sha256sum
  )
}

# Installs the npm packages for building and testing www/, if the lock file changed.
need_page_tools() {
  need_node
  local stamp="$root/build/www-tools.stamp" now
  now="$(fingerprint ./package.json ./package-lock.json)"
  if [ -d "$root/www/node_modules" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then return; fi
  say "installing the page's npm packages (npm ci in www/)"
  (cd "$root/www" && npm ci --no-audit --no-fund --loglevel=error >&2) ||
    fail "npm ci failed in www/: see the lines above"
  mkdir -p "$root/build"
  printf '%s\n' "$now" >"$stamp"
}

# Builds the page if its sources changed.
build_page() {
  if [ ! -f "$root/www/package.json" ]; then
    say "there is no page yet (no www/package.json): the server runs without one"
    return
  fi
  local stamp="$root/build/www.stamp" now
  now="$(fingerprint .)"
  if [ -f "$root/www/dist/index.html" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then
    return
  fi
  need_page_tools
  say "building the page (npm run build in www/)"
  mkdir -p "$root/build"
  local log="$root/build/www.log"
  if ! (cd "$root/www" && npm run build) >"$log" 2>&1; then
    cat "$log" >&2
    fail "the page did not build: see the lines above, or $log"
  fi
  printf '%s\n' "$now" >"$stamp"
}
