# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this
# What embed/run.sh and tests/run.sh have in common: packages, the build, the page. Sourced, with
# `set -euo pipefail` in force; `root` is the repository's folder. All it says goes to standard
# error: standard output belongs to the program that is started.

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

# What it takes to build and to run, as Debian 12 names it. One place; sorted.
build_packages=(
  ccache
  cmake
  g++
  libcivetweb-dev
  libcjson-dev
  libcli11-dev
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
# What the tests need beyond that: GoogleTest, a WebSocket client that is not ours, a browser.
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
  python3-websockets
  systemd
)

# What the blocks of the documents call.
docs_packages=(
  curl
  sqlite3
)
# What fuzzing needs: another compiler, with its fuzzer.
fuzz_packages=(
  clang
  libclang-rt-14-dev
)
# What judges the sources without running them.
static_packages=(
  clang
  clang-format-14
  shellcheck
)

# The page's tools run on this version of Node.js and later.
least_node=18

say() { printf '%s: %s\n' "${self:-setup.sh}" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Runs as root: directly, or through sudo.
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

# Installs those of the named packages that are missing.
need_packages() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is no Debian, so nothing is installed; needed are (as Debian 12 names them): $*"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  as_root apt-get update -qq >&2 ||
    fail "apt-get update failed: its lines above say why (no network? a wrong sources.list?)"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    fail "apt-get could not install: ${missing[*]}; its lines above say why"
}

node_is_new_enough() {
  local version
  command -v node >/dev/null && command -v npm >/dev/null || return 1
  version="$(node --version 2>/dev/null)" || return 1
  version="${version#v}"
  [ "${version%%.*}" -ge "$least_node" ] 2>/dev/null
}

# Debian's Node.js where there is none yet, or too old a one. One that is there is left alone.
need_node() {
  if node_is_new_enough; then return; fi
  need_packages nodejs npm
  if node_is_new_enough; then return; fi
  PATH="/usr/bin:$PATH" # an older one of the user's own stands before Debian's
  hash -r
  node_is_new_enough ||
    fail "the page needs node $least_node or later and npm; found: $(node --version 2>&1 || true)"
}

# What goes before a build's commands, for those who need them to run in a special way.
launcher=()

# build PRESET [TARGET…]: configures and builds, quietly where all goes well.
build() {
  local preset="$1" folder="$root/build/$1" target targets=() options=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  # A build folder that is there keeps what it was configured with, tests and all.
  if [ -n "${with_tests:-}" ]; then
    options+=(-DWAYSTATION_BUILD_TESTS=ON)
  elif [ ! -f "$folder/CMakeCache.txt" ]; then
    options+=(-DWAYSTATION_BUILD_TESTS=OFF)
  fi
  mkdir -p "$folder"
  if ! (cd "$root" && cmake --preset "$preset" ${options[@]+"${options[@]}"}) \
    >"$folder/configure.log" 2>&1; then
    cat "$folder/configure.log" >&2
    say "cmake could not configure build/$preset: see above, or $folder/configure.log"
    return 1
  fi
  local quiet=(--quiet)
  if [ -t 2 ]; then quiet=(); fi # ninja's one line of progress is for people
  say "building build/$preset (minutes the first time, seconds afterwards)"
  if ! ${launcher[@]+"${launcher[@]}"} cmake --build "$folder" ${targets[@]+"${targets[@]}"} \
    -- -j"$(nproc)" ${quiet[@]+"${quiet[@]}"} >&2; then
    say "build/$preset did not build: the compiler's lines above say why"
    return 1
  fi
}

# One line for the content of the named files and folders below www/, whatever their times.
fingerprint() {
  (
    cd "$root/www" || exit
    find "$@" \( -name node_modules -o -path ./dist -o -path ./lib -o -path ./coverage \) -prune \
      -o -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum | sha256sum
  )
}

# Installs what www/ needs to build and be tested, where its lock file changed.
need_page_tools() {
  need_node
  local stamp="$root/build/www-tools.stamp" now
  now="$(fingerprint ./package.json ./package-lock.json)"
  if [ -d "$root/www/node_modules" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then return; fi
  say "fetching what the page is built with (npm ci in www/)"
  (cd "$root/www" && npm ci --no-audit --no-fund >&2) ||
    fail "npm ci failed in www/: its lines above say why"
  mkdir -p "$root/build"
  printf '%s\n' "$now" >"$stamp"
}

# Builds the page where its sources changed.
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
  (cd "$root/www" && npm run build >&2) ||
    fail "the page did not build: the lines above say why"
  printf '%s\n' "$now" >"$stamp"
}
