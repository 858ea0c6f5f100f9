#!/usr/bin/env bash
# Checks the files of packaging/ against the program in WAYSTATION_BIN (default: build/release), and
# the build and installation. Builds no packages. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
program="${WAYSTATION_BIN:-$root/build/release/embed/waystation}"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/hardening.sh
. "$root/tests/support/hardening.sh"

# Replaces a template's placeholders as in a package.
installed() {
  sed -e 's|@CMAKE_INSTALL_FULL_BINDIR@|/usr/bin|g' \
    -e 's|@CMAKE_INSTALL_FULL_LIBDIR@|/usr/lib|g' \
    -e 's|@CMAKE_INSTALL_FULL_SYSCONFDIR@|/etc|g' \
    -e 's|@CMAKE_INSTALL_FULL_DATADIR@|/usr/share|g' \
    -e 's|@WAYSTATION_WEB_GROUP@|www-data|g' "$1"
}

configuration_is_current() {
  diff -u "$root/packaging/waystation.toml.in" \
    <("$root/packaging/configuration.sh" --toml "$program") ||
    { echo "generate it again: packaging/configuration.sh $program"; return 1; }
}

# The options of waystation.toml(5) are those of the program.
page_is_current() {
  local page="$root/packaging/man/waystation.toml.5"
  diff -u <(sed -n '/^\.\\" options: begin/,/^\.\\" options: end/p' "$page" | sed '1d;$d') \
    <("$root/packaging/configuration.sh" --man "$program") ||
    { echo "generate it again: packaging/configuration.sh $program"; return 1; }
}

# With every option uncommented, the file equals the program's defaults.
configuration_shows_defaults() {
  # The page's folder depends on the installation prefix, which is different here.
  installed "$root/packaging/waystation.toml.in" | sed -E '/^#[a-z_]+ = /s/^#//' |
    grep -v '^www = ' >"$scratch/all.toml"
  [ "$(grep -c ' = ' "$scratch/all.toml")" -ge 20 ] || return
  diff <(env -i "$program" config show | sed 's/  # .*//') \
    <(env -i "$program" config show --config "$scratch/all.toml" | sed 's/  # .*//')
}

# The text of a manual page, without roff escapes.
page_text() { sed -E -e 's/\\f[BIPR]//g' -e 's/\\-/-/g' -e 's/\\\(aq/'"'"'/g' "$1"; }

# in_page PAGE WORD…: prints the words that the page lacks.
in_page() {
  local page="$1" word missing=0
  shift
  page_text "$root/packaging/man/$page" >"$scratch/page"
  [ $# -gt 0 ] || { echo "nothing was looked for"; return 1; }
  for word in "$@"; do
    grep -qE -- "(^|[^A-Za-z_-])$word([^A-Za-z_-]|$)" "$scratch/page" && continue
    echo "$page lacks $word"
    missing=1
  done
  return "$missing"
}

# All functions and statuses of the header, and the functions of the glue.
library_page_is_complete() {
  local include="$root/module/include/waystation" names
  mapfile -t names < <(
    sed -E ':a;/WAYSTATION_API [^;]*$/{N;ba};s/\n/ /g' "$include/waystation.h" |
      grep -oE '^WAYSTATION_API [^(]*\(' | grep -oE 'waystation_[a-z_]+\($' | tr -d '('
    sed -n '/^typedef enum waystation_status {/,/^}/p' "$include/waystation.h" |
      grep -oE '\bWAYSTATION_[A-Z]+\b'
    grep -oE '\bwaystation_civetweb_attach[a-z_]*\b' "$include/civetweb.h"
  )
  [ "${#names[@]}" -ge 30 ] || { echo "only ${#names[@]} names were found"; return 1; }
  in_page libwaystation.3 "${names[@]}"
}

# subcommands COMMAND…: the names in the --help of the command.
subcommands() {
  env -i "$program" "$@" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

# Every command and its options, except those that are keys of waystation.toml(5).
command_page_is_complete() {
  local command sub option options=() commands=()
  for command in $(subcommands); do
    commands+=("$command")
    for sub in $(subcommands "$command"); do
      commands+=("$command $sub")
      [ "$command" != config ] || continue
      for option in $(env -i "$program" "$command" "$sub" --help |
        sed -n '/^Options:/,/^$/p' | grep -oE '^ +-[^ ]*' | grep -oE -- '--[a-z_-]+'); do
        grep -q "^\\\\fB$(sed 's/^--//; s/-/_/g' <<<"$option")\\\\fR = " \
          "$root/packaging/man/waystation.toml.5" || options+=("$option")
      done
    done
  done
  [ "${#options[@]}" -ge 10 ] && in_page waystation.1 "${commands[@]}" "${options[@]}"
}

# waystation(1) has every route of the library's HTTP API, and those of the server.
command_page_names_every_route() {
  local routes
  mapfile -t routes < <(sed -nE 's/^ +Endpoint\{Call::[a-z]+, ("[^"]+"), "([A-Z]+)".*/\2 \1/p' \
    "$root/module/http/http_api.cpp" | tr -d '"')
  [ "${#routes[@]}" -ge 7 ] || { echo "only ${#routes[@]} routes were found"; return 1; }
  in_page waystation.1 "${routes[@]}" "GET /metrics" /ws/chat/ /push/
}

# embed/run.sh without a build: its help has every option, and it refuses an unknown option, a wrong
# value and a certificate that no address uses immediately. The folder contains nothing else, so that a build cannot start.
first_start_answers_at_once() {
  local bare="$scratch/bare" key code=0
  mkdir -p "$bare/embed" "$bare/packaging"
  cp "$root/embed/run.sh" "$root/embed/setup.sh" "$bare/embed/"
  cp "$root/packaging/waystation.toml.in" "$bare/packaging/"
  "$bare/embed/run.sh" --help >"$scratch/first" || return
  for key in $(sed -nE 's/^#([a-z_]+) = .*/\1/p' "$root/packaging/waystation.toml.in"); do
    grep -qE -- "^  --${key//_/-}$" "$scratch/first" || { echo "its help lacks $key"; return 1; }
  done
  "$bare/embed/run.sh" --max-conections 5 >"$scratch/first" 2>&1 || code=$?
  [ "$code" -eq 2 ] && grep -q -- '--max-conections is not an option' "$scratch/first" || return
  # Each default passes, so that what is refused is the option after them.
  local defaults=()
  mapfile -t defaults < <(sed -nE 's/^#([a-z_]+) = "?([^"[]*)"?$/--\1=\2/p' \
    "$root/packaging/waystation.toml.in")
  [ "${#defaults[@]}" -ge 25 ] || { echo "only ${#defaults[@]} defaults were found"; return 1; }
  local last
  for last in --no-such-option --; do
    code=0
    "$bare/embed/run.sh" "${defaults[@]}" --audit-max-bytes 1048576 "$last" >"$scratch/first" 2>&1 || code=$?
    [ "$code" -eq 2 ] && grep -q -- " $last is not an option" "$scratch/first" || return
  done
  local wrong
  for wrong in '--audit-max-bytes 5' '--auth foo' '--auth=or' '--ping-interval-seconds 0' '--max-connections=many' '--listen x --log-level loud'; do
    code=0
    # shellcheck disable=SC2086 # two words
    "$bare/embed/run.sh" $wrong >"$scratch/first" 2>&1 || code=$?
    if [ "$code" -ne 2 ] || ! grep -q ': wrong value; allowed: ' "$scratch/first"; then
      echo "$wrong is not refused"
      return 1
    fi
  done
  code=0
  "$bare/embed/run.sh" --tls-self-signed --listen 127.0.0.1:1,127.0.0.1:2 >"$scratch/first" 2>&1 || code=$?
  [ "$code" -eq 2 ] && grep -q -- 'write --listen https://127.0.0.1:1$' "$scratch/first"
}

# The copyright holders of the page's bundle: the packages that its sources import.
copyright_names_what_the_page_contains() {
  local name missing=0 names
  names="$(grep -rhoE --include='*.ts' --include='*.vue' --exclude='*.test.ts' \
    "(from|import) ['\"][^'\"./][^'\"]*['\"]" "$root/www/src" |
    sed -E "s/.*['\"]([^'\"]*)['\"]/\1/" | grep -vE '^(waystation-client|node:|@/)' | sort -u)"
  for name in $names; do
    grep -qwF -- "$name" <<<"$(sed -n '/^Files: www/,/^$/p' "$root/packaging/debian/copyright")" && continue
    echo "packaging/debian/copyright does not say whose $name is"
    missing=1
  done
  [ -n "$names" ] && return "$missing"
}

# Prints nothing if the page is well-formed.
page_is_sound() {
  local complaints
  complaints="$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >/dev/null)"
  echo "$complaints"
  [ -z "$complaints" ]
}

unit_is_confined() {
  local line
  installed "$root/packaging/systemd/waystation.service.in" >"$scratch/waystation.service"
  line="$(systemd-analyze security --offline=yes --no-pager "$scratch/waystation.service" |
    tee "$scratch/exposure" | grep -oE 'exposure level for waystation.service: [0-9.]+')"
  echo "$line"
  awk -v exposure="${line##* }" 'BEGIN { exit !(exposure != "" && exposure <= 2.0) }' ||
    { cat "$scratch/exposure"; return 1; }
}

# unit_setting SECTION KEY DEFAULT: the last value of a key; for seconds only the number.
unit_setting() {
  local value
  value="$(awk -F= -v section="[$1]" -v key="$2" \
    '/^\[/ { inside = $0 == section } inside && $1 == key { value = $2 } END { print value }' \
    "$root/packaging/systemd/waystation.service.in" | sed -E 's/^([0-9]+)s$/\1/')"
  printf '%s' "${value:-$3}"
}

# systemd restarts the service after any number of failures: with RestartSec the default start
# limit, five in ten seconds, is never reached. An invalid configuration prevents restarts.
unit_always_comes_back() {
  local restart pause interval burst
  restart="$(unit_setting Service Restart no)"
  pause="$(unit_setting Service RestartSec 0)"
  interval="$(unit_setting Unit StartLimitIntervalSec 10)"
  burst="$(unit_setting Unit StartLimitBurst 5)"
  echo "Restart $restart, RestartSec $pause, limit of starts: $burst in $interval s"
  [ "$restart" = on-failure ] && [ "$pause" -ge 1 ] &&
    { [ "$interval" -eq 0 ] || [ $((burst * pause)) -gt "$interval" ]; } &&
    [ "$(unit_setting Service RestartPreventExitStatus none)" = 2 ]
}

# systemd accepts each line. It is irrelevant that the program is not installed here.
unit_is_understood() {
  local complaints
  installed "$root/packaging/systemd/waystation.service.in" |
    sed 's|^ExecStart=.*|ExecStart=/bin/true|' >"$scratch/waystation.service"
  complaints="$(systemd-analyze verify --man=no "$scratch/waystation.service" 2>&1 |
    grep -F waystation.service)"
  echo "$complaints"
  [ -z "$complaints" ]
}

# The same for the socket through which web servers hand over connections.
socket_unit_is_understood() {
  local complaints
  installed "$root/packaging/systemd/waystation.service.in" |
    sed 's|^ExecStart=.*|ExecStart=/bin/true|' >"$scratch/waystation.service"
  installed "$root/packaging/systemd/waystation-handover.socket.in" >"$scratch/waystation-handover.socket"
  complaints="$(systemd-analyze verify --man=no "$scratch/waystation-handover.socket" 2>&1 |
    grep -F waystation-handover)"
  echo "$complaints"
  [ -z "$complaints" ] && ! grep -q '@' "$scratch/waystation-handover.socket"
}

# The configured number of connections fits the unit's descriptor limit.
unit_fits_the_defaults() {
  local connections descriptors
  connections="$(env -i "$program" config show | sed -nE 's/^max_connections = ([0-9]+).*/\1/p')"
  descriptors="$(sed -n 's/^LimitNOFILE=//p' "$root/packaging/systemd/waystation.service.in")"
  echo "max_connections $connections, LimitNOFILE $descriptors"
  [ "$descriptors" -ge $((connections + 1200)) ]
}

library_of() { ldd "$1" | sed -nE 's/.*libwaystation\.so\.0 => (\S+).*/\1/p'; }

build_is_hardened() { hardened "$program" "$(library_of "$program")"; }

# Loads the library of the program's build folder.
installation_is_hardened() {
  local prefix="$scratch/installed" component
  for component in library server; do
    cmake --install "${program%/embed/waystation}" --prefix "$prefix" \
      --component "$component" >/dev/null || return
  done
  [[ "$(library_of "$prefix/bin/waystation")" = "$prefix"/* ]] &&
    hardened "$prefix/bin/waystation" "$(library_of "$prefix/bin/waystation")"
}

# Makes certificate.pem and key.pem in a folder.
make_certificate() {
  mkdir -p "$1" &&
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
      -keyout "$1/key.pem" -out "$1/certificate.pem" 2>"$1/log" ||
    { cat "$1/log"; return 1; }
}

# The installed program finds the libraries by which CivetWeb finds OpenSSL.
installation_speaks_tls() {
  local folder="$scratch/tls" address='' server result
  make_certificate "$folder" || return
  env -i "$scratch/installed/bin/waystation" serve --www '' --listen https://127.0.0.1:0 \
    --tls-certificate "$folder/certificate.pem" --tls-key "$folder/key.pem" \
    >"$folder/out" 2>"$folder/log" &
  server=$!
  while [ -z "$address" ] && kill -0 "$server" 2>/dev/null; do
    address="$(sed -n 's|.* listening on https://||p' "$folder/out")"
    sleep 0.1
  done
  openssl s_client -brief -verify_return_error -CAfile "$folder/certificate.pem" -connect "$address" \
    </dev/null >>"$folder/log" 2>&1
  result=$?
  kill "$server"
  wait "$server"
  cat "$folder/log"
  return "$result"
}

symbols_are_listed() {
  local library
  library="$(library_of "$program")"
  diff <(sed -nE 's/^ (waystation_\S+)@Base .*/\1/p' "$root/packaging/debian/libwaystation0.symbols" | sort) \
    <(nm -D --defined-only "$library" | awk '{ print $NF }' | sort)
}

versions_agree() {
  local version="$1" line
  for line in "$(sed -nE '1s/.*\((.*)-[^-]*\).*/\1/p' "$root/packaging/debian/changelog")" \
    "$("$program" --version | sed 's/waystation //')"; do
    [ "$line" = "$version" ] || { echo "$line is not $version"; return 1; }
  done
}

# The names of metrics in a file.
metrics_in() { grep -ohE '\b(waystation|process)_[a-z_]+\b' "$1" | sort -u; }

# The server exports every metric of the dashboard and the rules.
metrics_exist() {
  local name missing=0 pid folder="$scratch/metrics-tls"
  make_certificate "$folder" || return
  # Without an engine, a node of a cluster has all metrics, too.
  (umask 077 && openssl rand -base64 32 >"$folder/cluster_keys")
  "$program" serve --listen 127.0.0.1:0 --listen https://127.0.0.1:0 --www '' --tls-certificate "$folder/certificate.pem" \
    --tls-key "$folder/key.pem" --cluster "unix://$folder/redis.sock" --cluster-key-file "$folder/cluster_keys" \
    >"$scratch/address" 2>/dev/null &
  pid=$!
  for _ in $(seq 500); do
    grep -q http "$scratch/address" && break
    sleep 0.02
  done
  /usr/bin/python3 - "$(grep -oE 'http://[0-9.:]+' "$scratch/address")/metrics" \
    >"$scratch/metrics" <<'PYTHON'
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end="")
PYTHON
  kill "$pid"
  wait "$pid"
  for name in $(metrics_in "$root/packaging/monitoring/waystation.rules.yml") \
    $(metrics_in "$root/packaging/monitoring/waystation.grafana.json"); do
    # The buckets of a histogram have its type.
    grep -q "^# TYPE ${name%_bucket} " "$scratch/metrics" && continue
    echo "there is no metric $name"
    missing=1
  done
  [ -s "$scratch/metrics" ] && return "$missing"
}

# Checked by Prometheus' promtool.
rules_are_sound() { "$promtool" check rules "$root/packaging/monitoring/waystation.rules.yml"; }
metrics_are_sound() { "$promtool" check metrics <"$scratch/metrics"; }
dashboard_is_json() { /usr/bin/python3 -m json.tool "$root/packaging/monitoring/waystation.grafana.json"; }

if [ ! -x "$program" ]; then
  printf 'there is no %s; build it (embed/run.sh), or name one in WAYSTATION_BIN\n0 passed, 1 failed\n' "$program"
  exit 1
fi
version="$(sed -nE 's/^project\(waystation VERSION ([0-9.]+).*/\1/p' "$root/CMakeLists.txt")"

check "the shipped configuration has every key with its default" configuration_is_current
check "the uncommented configuration equals the defaults" configuration_shows_defaults
check "waystation.toml(5) has every option of the program's table" page_is_current
check "waystation(1) has every command and its options" command_page_is_complete
check "waystation(1) has every route" command_page_names_every_route
check "embed/run.sh answers --help and wrong options without a build" first_start_answers_at_once
check "libwaystation(3) has every function and status" library_page_is_complete
check "the copyright names the page's packages" copyright_names_what_the_page_contains
for page in "$root"/packaging/man/*; do check "${page##*/} is well-formed" page_is_sound "$page"; done
check "the versions agree" versions_agree "$version"
check "the build is hardened" build_is_hardened
check "the installation is hardened" installation_is_hardened
check "the installation speaks TLS" installation_speaks_tls
check "the symbols file lists the exported symbols" symbols_are_listed
check "the metrics of dashboard and rules exist" metrics_exist
check "the dashboard is JSON" dashboard_is_json
check "the unit's limits fit the defaults" unit_fits_the_defaults
check "systemd restarts the unit after any number of failures" unit_always_comes_back
if command -v systemd-analyze >/dev/null; then
  check "systemd accepts the unit" unit_is_understood
  check "systemd accepts the socket unit" socket_unit_is_understood
  check "the unit's exposure is 2.0 or lower" unit_is_confined
else
  skip "the unit, as systemd sees it" "systemd-analyze is not here (apt-get install systemd)"
fi
if promtool="$(unpacked prometheus usr/bin/promtool)"; then
  check "Prometheus accepts the rules" rules_are_sound
  check "Prometheus accepts the metrics" metrics_are_sound
else
  skip "the rules and metrics, as Prometheus sees them" "promtool is not here, and could not be fetched (apt-get install prometheus)"
fi
finish
