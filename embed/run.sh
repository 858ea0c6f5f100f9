#!/usr/bin/env bash
# Installs missing packages, builds the server and the page, and starts the server:
#
#     embed/run.sh [--tls-self-signed] [options of `waystation serve`]
#
# --tls-self-signed makes a certificate in build/tls/ and serves HTTPS with it, at
# https://127.0.0.1:8443 unless --listen is given; a file or variable does not count. It is for
# trying TLS out.
#
# Needs Debian 12, and root or sudo. The first run takes minutes, later runs take seconds. Ctrl-C
# stops the server. `embed/run.sh --help` lists the options without building anything.
set -euo pipefail

self=run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

program="$root/build/release/embed/waystation"
tls_listen='https://127.0.0.1:8443'
tls_folder="$root/build/tls"

# Calls $1 with the key, the default and the help text of each option of waystation serve. Reads
# them from the shipped configuration file.
each_option() {
  local line doc='' key
  while IFS= read -r line; do
    case "$line" in
      '') doc='' ;;
      '# '*) doc="${doc:+$doc }${line#'# '}" ;;
      '#'[a-z]*' = '*)
        key="${line#'#'}"
        "$1" "${key%% = *}" "${line#* = }" "$doc"
        ;;
    esac
  done <"$root/packaging/waystation.toml.in"
}

show_option() {
  local default="$2"
  case "$default" in *@*) default="the page that is built here" ;; esac
  printf '  --%s\n      %s (default: %s)\n' "${1//_/-}" "$3" "$default"
}

# Uses the program's own help if it is built. Help must not need a build of minutes.
show_help() {
  printf 'Installs missing packages, builds the server and the page, and starts the server.\n'
  printf 'The first run takes minutes, later runs take seconds.\n'
  printf 'Usage: embed/run.sh [--tls-self-signed] [OPTIONS]\n\n'
  printf '  --tls-self-signed\n      Make a certificate in build/tls/ and serve HTTPS with it, to try it out\n'
  printf '      at %s unless --listen is given; a file or variable does not count\n\n' "$tls_listen"
  printf 'The other options are those of waystation serve:\n\n'
  if [ -x "$program" ] && "$program" serve --help; then return; fi
  printf '  --config\n      TOML file with options\n'
  each_option show_option
}

# By key: the values that an option may have, such as "1 to 3600 seconds" or "open, jwt or header".
# Empty: the program checks them.
declare -A allowed=([config]='')
add_key() {
  allowed["$1"]=''
  case "$3" in *'Allowed: '*) allowed["$1"]="${3##*Allowed: }" && allowed["$1"]="${allowed["$1"]%%.*}" ;; esac
}

# is_allowed VALUE RULE
is_allowed() {
  local largest="${2#* to }" value
  case "$2" in
    '') return ;;
    '0, or '*) [ "$1" = 0 ] || is_allowed "$1" "${2#0, or }" ;;
    [0-9]*' to '*)
      [[ "$1" =~ ^[0-9]{1,18}$ ]] && [ "$1" -ge "${2%% *}" ] && [ "$1" -le "${largest%%[!0-9]*}" ]
      ;;
    *)
      for value in ${2//,/}; do
        if [ "$value" = "$1" ] && [ "$value" != or ]; then return; fi
      done
      return 1
      ;;
  esac
}

refuse() {
  say "$*"
  exit 2
}

# Handles --help, unknown options and wrong values before the build.
check_arguments() {
  local argument key=
  for argument in "$@"; do
    case "$argument" in -h | --help) show_help && exit ;; esac
  done
  each_option add_key
  for argument in "$@"; do
    case "$argument" in
      --* | -[a-zA-Z]*) # there are no one-letter options
        key="${argument%%=*}" key="${key#--}" key="${key//-/_}"
        { [ -n "$key" ] && [ -n "${allowed[$key]+known}" ]; } ||
          refuse "${argument%%=*} is not an option of waystation serve; see embed/run.sh --help"
        case "$argument" in *=*) argument="${argument#*=}" ;; *) continue ;; esac
        ;;
    esac
    if [ -n "$key" ] && ! is_allowed "$argument" "${allowed[$key]}"; then
      refuse "$key = \"$argument\": wrong value; allowed: ${allowed[$key]} (--${key//_/-})"
    fi
    key=
  done
}

# The names and addresses of this machine, for a certificate. Without IPv6, whose addresses change.
own_names() {
  local address
  printf 'DNS:localhost,DNS:%s,IP:127.0.0.1,IP:::1' "$(hostname)"
  for address in $(hostname -I 2>/dev/null); do
    case "$address" in *:*) ;; *) printf ',IP:%s' "$address" ;; esac
  done
}

# Makes a certificate that is its own issuer, unless there is one for these names that is valid for
# two weeks more.
make_certificate() {
  local names certificate="$tls_folder/certificate.pem" key="$tls_folder/key.pem"
  names="$(own_names)"
  if [ -f "$key" ] && [ "$(cat "$tls_folder/names" 2>/dev/null)" = "$names" ] &&
    openssl x509 -in "$certificate" -noout -checkend $((15 * 24 * 3600)) >/dev/null; then
    return
  fi
  mkdir -p "$tls_folder"
  printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = extensions' '[name]' \
    '[extensions]' 'basicConstraints = critical, CA:FALSE' "subjectAltName = $names" >"$tls_folder/request"
  (umask 077 && openssl req -x509 -config "$tls_folder/request" -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
    -nodes -days 365 -subj "/CN=$(hostname | cut -c 1-64)" -keyout "$key" -out "$certificate") 2>"$tls_folder/log" ||
    fail "openssl could not make a certificate: $(cat "$tls_folder/log")"
  chmod 644 "$certificate"
  printf '%s\n' "$names" >"$tls_folder/names"
}

say_how_to_trust() {
  say "certificate: $tls_folder/certificate.pem"
  say "browsers warn of it, because no authority has signed it: make an exception, or import the file"
  say "to try it: curl --cacert $tls_folder/certificate.pem https://localhost:$1/healthz"
}

# Prints the port of the first address in $listen that serves HTTPS.
https_port() {
  local address addresses
  IFS=', ' read -r -a addresses <<<"${listen#,}"
  for address in "${addresses[@]}"; do
    case "$address" in https://*) printf '%s' "${address##*:}" && return ;; esac
  done
  refuse "--tls-self-signed: no address in --listen begins with https://; write --listen https://${addresses[0]#http://}"
}

# Takes --tls-self-signed out of the arguments.
is_self_signed=
listen=
previous=
arguments=()
for argument in "$@"; do
  case "$argument" in
    --tls-self-signed) is_self_signed=yes && continue ;;
    --listen=*) listen+=",${argument#*=}" ;;
  esac
  if [ "$previous" = --listen ]; then listen+=",$argument"; fi
  previous="$argument"
  arguments+=("$argument")
done
set -- ${arguments[@]+"${arguments[@]}"}

check_arguments "$@"
if [ -n "$is_self_signed" ]; then
  if [ -z "$listen" ]; then set -- --listen "${listen:=$tls_listen}" "$@"; fi
  port="$(https_port)"
fi
need_packages "${build_packages[@]}"
if [ -n "$is_self_signed" ]; then
  need_packages openssl
  make_certificate
  set -- --tls-certificate "$tls_folder/certificate.pem" --tls-key "$tls_folder/key.pem" "$@"
fi
build release waystation || exit 1
build_page
if [ -n "$is_self_signed" ]; then say_how_to_trust "$port"; fi

# exec: Ctrl-C and SIGTERM must reach the server itself.
exec "$program" serve "$@"
