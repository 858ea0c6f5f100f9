#!/usr/bin/env bash
# Installs what is missing, builds the server and the page, and serves both:
#
#     embed/run.sh [options of `waystation serve`]
#
# On Debian 12, as root or with sudo. The first run takes minutes, later ones seconds. Ctrl-C ends
# it. `embed/run.sh --help` lists the options, and builds nothing for that.
set -euo pipefail

self=run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

program="$root/build/release/embed/waystation"

# What waystation serve takes, from the file that has every option: $1 is called with the key, its
# default and what it is for.
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

# As the program says it where it is built already; nobody has to wait minutes to read it.
show_help() {
  printf 'Installs what is missing, builds (minutes the first time, seconds afterwards), and serves.\n'
  printf 'Usage: embed/run.sh [OPTIONS]\n\nThe options are those of waystation serve:\n\n'
  if [ -x "$program" ] && "$program" serve --help; then return; fi
  printf '  --config\n      TOML file with options\n'
  each_option show_option
}

keys=' config '
add_key() { keys+="$1 "; }

# Exits for what can be answered, or has to be refused, without building anything.
answer_at_once() {
  local argument name
  for argument in "$@"; do
    case "$argument" in -h | --help) show_help && exit ;; esac
  done
  each_option add_key
  for argument in "$@"; do
    case "$argument" in
      --*) name="${argument%%=*}" name="${name#--}" ;;
      -[a-zA-Z]*) name="$argument" ;; # there are none of one letter
      *) continue ;;                  # a value
    esac
    case "$keys" in *" ${name//-/_} "*) continue ;; esac
    say "${argument%%=*} is no option of waystation serve; embed/run.sh --help lists what there is"
    exit 2
  done
}

answer_at_once "$@"
need_packages "${build_packages[@]}"
build release waystation || exit 1
build_page

# In this process's place, so that Ctrl-C and SIGTERM reach the server itself.
exec "$program" serve "$@"
