#!/usr/bin/env bash
# Installs missing packages, builds the server and the page, and starts the server:
#
#     embed/run.sh [options of `waystation serve`]
#
# Needs Debian 12, and root or sudo. The first run takes minutes, later runs take seconds. Ctrl-C
# stops the server. `embed/run.sh --help` lists the options without building anything.
set -euo pipefail

self=run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

program="$root/build/release/embed/waystation"

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
  printf 'Usage: embed/run.sh [OPTIONS]\n\nThe options are those of waystation serve:\n\n'
  if [ -x "$program" ] && "$program" serve --help; then return; fi
  printf '  --config\n      TOML file with options\n'
  each_option show_option
}

keys=' config '
add_key() { keys+="$1 "; }

# Handles --help and unknown options before the build.
check_arguments() {
  local argument name
  for argument in "$@"; do
    case "$argument" in -h | --help) show_help && exit ;; esac
  done
  each_option add_key
  for argument in "$@"; do
    case "$argument" in
      --*) name="${argument%%=*}" name="${name#--}" ;;
      -[a-zA-Z]*) name="$argument" ;; # there are no one-letter options
      *) continue ;;                  # a value
    esac
    case "$keys" in *" ${name//-/_} "*) continue ;; esac
    say "${argument%%=*} is not an option of waystation serve; see embed/run.sh --help"
    exit 2
  done
}

check_arguments "$@"
need_packages "${build_packages[@]}"
build release waystation || exit 1
build_page

# exec: Ctrl-C and SIGTERM must reach the server itself.
exec "$program" serve "$@"
