#!/usr/bin/env bash
# Installs what is missing, builds the server and the page, and serves both:
#
#     embed/run.sh [options of `waystation serve`]
#
# On Debian 12, as root or with sudo. The first run takes minutes, later ones seconds. Ctrl-C ends
# it. `embed/run.sh --help` lists the options.
set -euo pipefail

self=run.sh
# shellcheck source=embed/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

need_packages "${build_packages[@]}"
build release waystation || exit 1
build_page

# In this process's place, so that Ctrl-C and SIGTERM reach the server itself.
exec "$root/build/release/embed/waystation" serve "$@"
