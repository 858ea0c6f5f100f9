#!/usr/bin/env bash
# Generates the shipped configuration file and manual page from the program's option table:
#
#     packaging/configuration.sh build/release/embed/waystation
#
# Writes packaging/waystation.toml.in: every key, commented out, at its default. Writes the options in
# packaging/man/waystation.toml.5. --toml or --man prints one of them instead.
# tests/package/files.sh fails if the files are not up to date.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
what='write'
case "${1:-}" in --toml | --man) what="${1#--}" && shift ;; esac
program="${1:?no program; use: packaging/configuration.sh build/release/embed/waystation}"

print_toml() {
  cat <<'HEAD'
# The configuration of `waystation serve`, see waystation.toml(5).
#
# Every key is here, commented out, at its default. Remove the # and change the value. A flag
# overrides a variable (WAYSTATION_LISTEN), a variable overrides this file. After a change:
#
#     waystation config check --config @CMAKE_INSTALL_FULL_SYSCONFDIR@/waystation/waystation.toml
#     systemctl reload waystation        # or restart, if the log says that an option needs it

HEAD
  env -i "$program" config show |
    sed -E -e 's/  # default$//' -e '/^#|^$/!s/^/#/' \
      -e 's|^#www = .*|#www = "@CMAKE_INSTALL_FULL_DATADIR@/waystation/www"|'
}

print_man() {
  env -i "$program" config show | awk '
    function roff(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); return text }
    /^# ---- / { print ".SS \"" toupper(substr($0, 8, 1)) substr($0, 9) "\""; next }
    /^# / { help = help (help == "" ? "" : " ") substr($0, 3); next }
    /^$/ { next }
    {
      sub(/  # default$/, "")
      if ($1 == "www") $0 = "www = \"/usr/share/waystation/www\""
      print ".TP"
      print "\\fB" $1 "\\fR" substr($0, length($1) + 1)
      # One sentence per line.
      gsub(/\. /, ".\n", help)
      print roff(help)
      help = ""
    }'
}

case "$what" in
  toml | man) "print_$what" ;;
  write)
    print_toml >"$here/waystation.toml.in"
    page="$here/man/waystation.toml.5"
    { sed '/^\.\\" options: begin/q' "$page" && print_man && sed -n '/^\.\\" options: end/,$p' "$page"; } >"$page.new"
    mv "$page.new" "$page"
    ;;
esac
