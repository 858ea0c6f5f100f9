#!/usr/bin/env bash
# Writes the configuration file that is shipped: every key, commented out, at its default.
#
#     packaging/configuration.sh build/release/embed/waystation >packaging/waystation.toml.in
#
# From the program's own table of options, so that no key is forgotten; tests/package/files.sh says
# when this was forgotten.
set -euo pipefail

program="${1:?which program? packaging/configuration.sh build/release/embed/waystation}"

cat <<'HEAD'
# The configuration of `waystation serve`, see waystation.toml(5).
#
# Every key is here, commented out, at its default. Take the # away and change the value. A flag goes
# before a variable (WAYSTATION_LISTEN), a variable before this file. After a change:
#
#     waystation config check --config @CMAKE_INSTALL_FULL_SYSCONFDIR@/waystation/waystation.toml
#     systemctl reload waystation        # or restart, where the log says that it takes one

HEAD
env -i "$program" config show |
  sed -E -e 's/  # default$//' -e '/^#|^$/!s/^/#/' \
    -e 's|^#www = .*|#www = "@CMAKE_INSTALL_FULL_DATADIR@/waystation/www"|'
