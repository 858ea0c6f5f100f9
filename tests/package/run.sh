#!/usr/bin/env bash
# Tests the Debian packages: builds them, runs lintian, and boots a fresh Debian 12 in namespaces.
# There the packages are installed, used, reconfigured, upgraded, removed and purged.
#
#     tests/package/run.sh                     builds the packages first
#     tests/package/run.sh --packages FOLDER   uses existing packages
#     tests/package/run.sh --worktree          also builds uncommitted changes
#     tests/package/run.sh --long              also builds a second time and compares (reproducible.sh)
#
# Finally RPM packages are built and checked (rpm.sh), except with --packages. WAYSTATION_DEBIAN may
# name a folder that debootstrap has filled, with systemd-sysv; it is copied. Needs root, Debian's
# archive over the network, and ten minutes on two cores. Ends with a line `N passed, N failed`.
# shellcheck disable=SC2317 # check() calls the functions below
set -uo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd -- "$here/../.." && pwd)"
# shellcheck source=tests/support/check.sh
. "$root/tests/support/check.sh"
# shellcheck source=tests/support/hardening.sh
. "$root/tests/support/hardening.sh"

packages=
source_of=()
long=
while [ $# -gt 0 ]; do
  case "$1" in
    --packages) packages="${2:?--packages needs a folder}"; shift ;;
    --worktree) source_of=(--worktree) ;;
    --long) long=yes ;;
    *) echo "unknown option $1; the options are --packages FOLDER, --worktree and --long"; exit 2 ;;
  esac
  shift
done

# Further scripts; their checks count here.
also() {
  local counts
  "$@" 2>&1 | tee "$scratch/also"
  counts="$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$scratch/also" | tail -n 1)"
  [ -n "$counts" ] || { echo "FAILED  $* did not end with \`N passed, N failed\`"; counts="0 1"; }
  passed=$((passed + ${counts% *}))
  failed=$((failed + ${counts#* }))
}

give_up() {
  skip "all of tests/package" "$1"
  [ "$failed" -eq 0 ] || finish
  echo "0 passed, 0 failed"
  exit 77
}

[ "$(id -u)" -eq 0 ] || give_up "needs root, to set up a Debian in a folder"
command -v apt-get >/dev/null || give_up "apt-get: not found; needs Debian"
missing=()
for pair in debootstrap:debootstrap lintian:lintian dpkg-deb:dpkg ip:iproute2 man:man-db openssl:openssl pgrep:procps; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
/usr/bin/python3 -c 'import websockets' 2>/dev/null || missing+=(python3-websockets)
if [ ${#missing[@]} -gt 0 ]; then
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "${missing[@]}") >"$scratch/log" 2>&1 ||
    give_up "packages could not be installed: ${missing[*]}: $(tail -n 1 "$scratch/log")"
fi
unshare --mount --pid --net --uts --ipc --cgroup --fork true 2>/dev/null ||
  give_up "the kernel does not allow this user to make namespaces"

# ---- the packages ----------------------------------------------------------------------------------

warnings_are_allowed() {
  local log="$packages/work/build.log"
  grep -qe -Wshadow "$log" && ! grep -e '-Werror ' "$log"
}

builds_more=
if [ -z "$packages" ]; then
  packages="$root/build/packages"
  check "the packages build" "$root/packaging/build.sh" deb ${source_of[@]+"${source_of[@]}"}
  [ "$failed" -eq 0 ] || finish
  check "a warning of a later compiler is not an error" warnings_are_allowed
  builds_more=yes
fi
server_deb="$(find "$packages" -maxdepth 1 -name 'waystation_*.deb')"
library_deb="$(find "$packages" -maxdepth 1 -name 'libwaystation0_*.deb')"
devel_deb="$(find "$packages" -maxdepth 1 -name 'libwaystation-dev_*.deb')"
for deb in "$server_deb" "$library_deb" "$devel_deb"; do
  [ -f "$deb" ] || { echo "a package is missing in $packages"; failed=1; finish; }
done
version="$(dpkg-deb -f "$server_deb" Version)"

lintian_reports_nothing() {
  lintian --allow-root --fail-on error,warning --tag-display-limit 0 \
    "$packages"/waystation_*_*.changes
}

# holds DEB FILE…: the package contains these files.
holds() {
  local deb="$1" name lacking=0
  shift
  dpkg-deb -c "$deb" | awk '{ print $6 }' >"$scratch/list"
  for name in "$@"; do
    grep -qxE -- "\./$name" "$scratch/list" || { echo "${deb##*/} lacks $name"; lacking=1; }
  done
  return "$lacking"
}

packages_are_hardened() {
  local file
  dpkg-deb -x "$server_deb" "$scratch/server" && dpkg-deb -x "$library_deb" "$scratch/library" || return
  for file in "$scratch/server/usr/bin/waystation" "$scratch"/library/usr/lib/*/libwaystation.so.0.*; do
    hardened "$file" && ! readelf -dW "$file" | grep -E 'R(UN)?PATH' || return
  done
}

# The packages contain the files that the manual pages name, except those that the service creates.
pages_name_existing_files() {
  local deb name absent=0
  rm -rf "$scratch/pages" && mkdir "$scratch/pages"
  for deb in "$server_deb" "$library_deb" "$devel_deb"; do
    dpkg-deb -x "$deb" "$scratch/pages" || return
  done
  for name in $(zcat "$scratch"/pages/usr/share/man/man*/*.gz | sed 's/\\-/-/g' |
    grep -oE '/(etc|usr)/[a-z0-9./_-]*[a-z0-9]' | sort -u); do
    [ -e "$scratch/pages$name" ] || { echo "there is no $name"; absent=1; }
  done
  [ -n "$name" ] && return "$absent"
}

check "lintian finds no error and no warning" lintian_reports_nothing
check "waystation contains its files" holds "$server_deb" \
  usr/bin/waystation lib/systemd/system/waystation.service usr/lib/sysusers.d/waystation.conf \
  etc/waystation/waystation.toml usr/share/waystation/www/index.html \
  usr/share/waystation/www/index.html.br usr/share/man/man1/waystation.1.gz \
  usr/share/man/man5/waystation.toml.5.gz \
  usr/share/doc/waystation/examples/nginx/waystation.conf \
  usr/share/doc/waystation/examples/monitoring/waystation.rules.yml \
  usr/share/doc/waystation/examples/monitoring/waystation.grafana.json \
  usr/share/doc/waystation/examples/django/chat_site.py \
  usr/share/doc/waystation/examples/django/chat.js \
  usr/share/doc/waystation/examples/auth_request/nginx.conf \
  'usr/share/doc/waystation/SECURITY.md(\.gz)?' 'usr/share/doc/waystation/module/CLUSTER.md(\.gz)?' \
  'usr/share/doc/waystation/packaging/README.md(\.gz)?' 'usr/share/doc/waystation/sql/README.md(\.gz)?' \
  'usr/lib/[^/]*/waystation/libssl\.so' 'usr/lib/[^/]*/waystation/libcrypto\.so' \
  usr/share/doc/waystation/copyright
check "libwaystation0 contains the library" holds "$library_deb" 'usr/lib/[^/]*/libwaystation\.so\.0'
check "libwaystation-dev contains the development files" holds "$devel_deb" \
  usr/include/waystation/waystation.h usr/include/waystation/civetweb.h \
  'usr/lib/[^/]*/libwaystation\.(so|a)' 'usr/lib/[^/]*/pkgconfig/waystation.pc' \
  'usr/lib/[^/]*/cmake/waystation/waystation-config.cmake' \
  usr/share/doc/libwaystation-dev/examples/appliance.c \
  usr/share/doc/libwaystation-dev/examples/appliance_tls.c \
  usr/share/doc/libwaystation-dev/examples/handover.py \
  usr/share/doc/libwaystation-dev/examples/own_login/own_login.c \
  usr/share/doc/libwaystation-dev/examples/own_login/page.html usr/share/man/man3/libwaystation.3.gz
check "the installed files are hardened" packages_are_hardened
check "the manual pages name existing files" pages_name_existing_files

# ---- a machine -------------------------------------------------------------------------------------

machine="$scratch/machine"
debs="$machine/var/tmp/debs"

# A Debian 12 with systemd and without Waystation's packages. All downloads are made before the
# boot: the booted machine has only loopback.
prepare() {
  if [ -n "${WAYSTATION_DEBIAN:-}" ]; then
    mkdir -p "$machine" && cp -a "$WAYSTATION_DEBIAN/." "$machine" || return
  else
    debootstrap --variant=minbase --include=systemd,systemd-sysv bookworm "$machine" || return
  fi
  mkdir -p "$debs"
  cp "$server_deb" "$library_deb" "$debs/" && previous_version || return
  [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$machine/etc/resolv.conf"
  chroot "$machine" sh -c 'apt-get clean && apt-get update -qq &&
    apt-get install -y -qq --no-install-recommends --download-only /var/tmp/debs/*.deb' || return
  cp "$machine"/var/cache/apt/archives/*.deb "$debs/" || true
  downloads_for_tests
}

# Dependencies of the packages' own tests (debian/tests/control), without Waystation's packages.
needed_by_tests() {
  sed -n '/^Depends:/,/^[A-Z].*:/p' "$root/packaging/debian/tests/control" |
    sed -e 's/^Depends://' -e '/^[A-Z].*:/d' | tr ', ' '\n\n' | grep -vE '^$|waystation' | sort -u
}

downloads_for_tests() {
  local needed
  mapfile -t needed < <(needed_by_tests)
  mkdir -p "$machine/var/tmp/source/tests" "$machine/var/tmp/source/embed" &&
    cp "$devel_deb" "$machine/var/tmp/" &&
    cp -R "$root/packaging/debian" "$machine/var/tmp/source/" &&
    cp -R "$root/tests/consumer" "$root/tests/package" "$root/tests/support" "$machine/var/tmp/source/tests/" &&
    cp -R "$root/embed/examples" "$machine/var/tmp/source/embed/" &&
    chroot "$machine" apt-get install -y -qq --no-install-recommends --download-only "${needed[@]}"
}

# The packages of an assumed earlier version, with a different text in the configuration.
previous_version() {
  mkdir -p "$machine/var/tmp/previous" &&
    older "$library_deb" libwaystation0 && older "$server_deb" waystation
}

# older DEB NAME
older() {
  local folder="$scratch/previous/$2"
  mkdir -p "$scratch/previous" && dpkg-deb -R "$1" "$folder" &&
    sed -i -e 's/^Version: .*/Version: 0.0.9-1/' \
      -e 's/libwaystation0 (>= [^)]*)/libwaystation0 (>= 0.0.9)/' "$folder/DEBIAN/control" &&
    { [ ! -d "$folder/etc" ] || sed -i '1i # The configuration of an earlier version.' \
      "$folder/etc/waystation/waystation.toml"; } &&
    dpkg-deb --root-owner-group -b "$folder" "$machine/var/tmp/previous/$2_0.0.9-1.deb"
}

# Runs as process 1 of the machine's namespaces.
boot() {
  set -e
  mount --make-rprivate /
  mount --bind "$machine" "$machine"
  mount -t proc proc "$machine/proc"
  mount -t sysfs sysfs "$machine/sys"
  mount -t cgroup2 cgroup2 "$machine/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$machine/run"
  mount -t tmpfs -o mode=755 tmpfs "$machine/dev"
  mkdir "$machine/dev/pts" "$machine/dev/shm"
  for device in null zero full random urandom tty; do
    touch "$machine/dev/$device"
    mount --bind "/dev/$device" "$machine/dev/$device"
  done
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$machine/dev/pts"
  ln -s pts/ptmx "$machine/dev/ptmx"
  mount -t tmpfs tmpfs "$machine/dev/shm"
  ip link set lo up
  # Not only chroot: a process in a chroot may not make a user namespace, which PrivateUsers= does.
  cd "$machine"
  pivot_root . mnt
  exec env -i container=waystation-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -c \
    'umount -l /mnt && mount --make-rshared / && exec /lib/systemd/systemd --log-target=console --show-status=0'
}

process=
# shellcheck disable=SC2317 # the trap calls it
shut_down() {
  if [ -n "$process" ]; then kill -KILL "$process" 2>/dev/null; fi
  wait 2>/dev/null
  rm -rf --one-file-system "$scratch"
}
trap shut_down EXIT

inside() {
  nsenter -t "$process" -m -p -n -i -u -C -r -w -- \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# wait_for SECONDS COMMAND…: waits until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "in vain waited for: $*"
      return 1
    fi
    sleep 0.1
  done
}

boots() {
  # shellcheck disable=SC2016 # expanded by that shell
  export machine
  export -f boot
  unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash -c boot \
    </dev/null >"$scratch/console" 2>&1 &
  local parent=$!
  wait_for 60 pgrep -P "$parent" || { cat "$scratch/console"; return 1; }
  process="$(pgrep -P "$parent")"
  wait_for 180 is_up || { cat "$scratch/console"; return 1; }
}

is_up() { inside systemctl is-system-running | grep -E '^(running|degraded)$'; }

# All files of the machine that packages may change, with their types.
files() {
  (cd "$machine" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run \
    -o -path ./tmp -o -path ./var/tmp -o -path ./var/cache -o -path ./var/log \
    -o -path ./var/lib/dpkg -o -path ./var/lib/apt \) -prune -o -printf '%y %p\n' | sort)
}

property() { inside systemctl show waystation --property="$1" --value; }
is_active() { [ "$(inside systemctl is-active waystation)" = active ]; }

# Debian's dependencies are installed first, to separate their files from those of Waystation's
# packages.
installs_dependencies() {
  inside sh -c 'cd /var/tmp/debs && ls *.deb | grep -vE "^(lib)?waystation" | xargs -r dpkg -i'
}
installs() { inside sh -c "cd /var/tmp && dpkg --force-confdef --force-confold -i $*"; }

# Succeeds if the service restarted; otherwise prints its log.
comes_up_again() { inside systemctl restart waystation || { log; return 1; } && starts; }
log() { inside journalctl -u waystation --no-pager -n 20; }
starts() { wait_for 60 is_active || { log; return 1; }; }

notifies_readiness() {
  [ "$(property Type) $(property NotifyAccess)" = "notify main" ] &&
    grep -qx enabled <<<"$(inside systemctl is-enabled waystation)"
}

# Compares the unit's restrictions with the kernel's view.
is_confined() {
  local pid status
  pid="$(property MainPID)"
  status="$(inside cat "/proc/$pid/status")"
  echo "$status"
  grep -qxE 'NoNewPrivs:\s+1' <<<"$status" && grep -qxE 'Seccomp:\s+2' <<<"$status" &&
    grep -qxE 'CapEff:\s+0+' <<<"$status" && grep -qxE 'CapBnd:\s+0+' <<<"$status" &&
    grep -qE "^Uid:\s+$(inside id -u waystation)\s" <<<"$status" &&
    grep -qE '^Max core file size\s+0\s+0' <<<"$(inside cat "/proc/$pid/limits")" &&
    grep -qE '^Max open files\s+16384\s+16384' <<<"$(inside cat "/proc/$pid/limits")"
}

converses() {
  nsenter -t "$process" -n -- /usr/bin/python3 "$here/conversation.py" --url http://127.0.0.1:8080
}

configure() { printf '%s\n' "$@" >"$machine/etc/waystation/waystation.toml"; }
log_has() { inside journalctl -u waystation --no-pager -o cat "${@:2}" | grep -F -- "$1"; }

reloads() {
  configure 'log_level = "debug"' 'max_message_bytes = 4096'
  local pid
  pid="$(property MainPID)"
  inside systemctl reload waystation || { log; return 1; }
  wait_for 60 log_has 'log_level: "info" becomes "debug"' &&
    [ "$(property MainPID)" = "$pid" ] && is_active
}

# A configuration error changes nothing at run time. At a start it is logged once, and systemd does
# not retry.
configuration_error_is_logged() {
  configure 'max_message_bytes = "many"'
  inside systemctl reload waystation && wait_for 60 log_has 'max_message_bytes = "many"' -p err &&
    is_active || return
  inside systemctl restart waystation
  wait_for 60 log_has 'not a whole number' -p err || return
  [ "$(property ActiveState) $(property ExecMainStatus) $(property NRestarts)" = "failed 2 0" ] ||
    { inside systemctl status waystation --no-pager; return 1; }
}

reads_keys_of_systemd() {
  mkdir -p "$machine/etc/credstore"
  (umask 077 && head -c 32 /dev/urandom | base64 >"$machine/etc/credstore/waystation.jwt_keys")
  configure 'auth = "jwt"' \
    'jwt_key_file = "/run/credentials/waystation.service/waystation.jwt_keys"'
  comes_up_again || return
  nsenter -t "$process" -n -- /usr/bin/python3 - <<'PYTHON'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:8080/push/alice/", timeout=10)
except urllib.error.HTTPError as error:
    sys.exit(0 if error.code == 401 else f"answered with {error.code}, not 401")
sys.exit("was admitted without a token")
PYTHON
}

# make_certificate NAME [openssl's option and value for the key]: a certificate named NAME.
make_certificate() {
  mkdir -p "$machine/etc/waystation/tls" "$machine/etc/credstore" &&
    openssl req -x509 "${@:2}" -nodes -days 100 -subj "/CN=$1" -addext subjectAltName=IP:127.0.0.1 \
      -out "$machine/etc/waystation/tls/new.pem" &&
    mv "$machine/etc/waystation/tls/new.pem" "$machine/etc/waystation/tls/certificate.pem"
}

certificate_name() {
  nsenter -t "$process" -n -- openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null |
    sed -nE 's/^subject=CN = //p'
}

has_name() { [ "$(certificate_name)" = "$1" ]; }

# With the packages' dependencies only: libssl-dev, which has a libssl.so, is not among them.
speaks_tls() {
  ! inside sh -c 'ls /usr/lib/*/libssl.so' || return
  make_certificate first -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
    -keyout "$machine/etc/credstore/waystation.tls_key" || return
  configure 'listen = ["https://127.0.0.1:8443", "127.0.0.1:8080"]' \
    'tls_certificate = "/etc/waystation/tls/certificate.pem"' \
    'tls_key = "/run/credentials/waystation.service/waystation.tls_key"'
  comes_up_again && has_name first &&
    SSL_CERT_FILE="$machine/etc/waystation/tls/certificate.pem" nsenter -t "$process" -n -- \
      /usr/bin/python3 "$here/conversation.py" --url https://127.0.0.1:8443 && converses
}

# A reload takes a new certificate for the same key.
renews_certificate() {
  make_certificate second -key "$machine/etc/credstore/waystation.tls_key" &&
    inside systemctl reload waystation && wait_for 60 has_name second
}

# Files as packaging/README.md installs them: root's, readable by the service's group.
reads_key_of_its_group() {
  make_certificate third -newkey rsa:2048 -keyout "$machine/etc/waystation/tls/key.pem" &&
    inside chgrp waystation /etc/waystation/tls/key.pem && inside chmod 640 /etc/waystation/tls/key.pem &&
    configure 'listen = ["https://127.0.0.1:8443"]' 'tls_certificate = "/etc/waystation/tls/certificate.pem"' \
      'tls_key = "/etc/waystation/tls/key.pem"' && comes_up_again && has_name third
  local result=$?
  rm -r "$machine/etc/waystation/tls"
  return "$result"
}

writes_its_state() {
  configure
  if grep -q '^audit_file = ' <<<"$(inside waystation config show)"; then
    configure 'audit_file = "/var/lib/waystation/audit.sqlite"'
  fi
  comes_up_again &&
    [ "$(inside stat -c '%U %a' /var/lib/waystation)" = "waystation 750" ] || return
  [ ! -s "$machine/etc/waystation/waystation.toml" ] ||
    ! grep -q audit "$machine/etc/waystation/waystation.toml" ||
    wait_for 60 inside test -f /var/lib/waystation/audit.sqlite
}

# Messages come before upgrades, also within the unit's filter of system calls.
lowers_the_priority_of_workers() {
  # The 19th field of stat is the nice value; a name in parentheses has no spaces here.
  inside sh -c 'grep -h "(civetweb-worker)" /proc/"$(systemctl show -P MainPID waystation)"/task/*/stat' |
    awk '{ count++; if ($19 != 5) wrong++ } END { exit !(count > 0 && wrong == 0) }'
}

# systemd kills and restarts a relay that hangs.
watchdog_kills_hanging_server() {
  configure
  inside mkdir -p /run/systemd/system/waystation.service.d
  inside sh -c 'printf "[Service]\nWatchdogSec=6s\nTimeoutStopSec=2s\n" \
    >/run/systemd/system/waystation.service.d/test.conf'
  inside systemctl daemon-reload && inside systemctl restart waystation && starts || return
  local pid
  pid="$(property MainPID)"
  # It lives longer than the watchdog's timeout, because it sends keep-alives.
  local start
  # shellcheck disable=SC2034 # eval reads it
  start="$(property WatchdogTimestampMonotonic)"
  wait_for 60 eval '[ "$(property WatchdogTimestampMonotonic)" -gt $((start + 12000000)) ]' &&
    [ "$(property MainPID)" = "$pid" ] && [ "$(property NRestarts)" = 0 ] || return
  inside kill -STOP "$pid"
  wait_for 60 eval '[ "$(property NRestarts)" = 1 ]' && starts
  local result=$?
  inside rm -r /run/systemd/system/waystation.service.d
  inside systemctl daemon-reload && inside systemctl restart waystation && return "$result"
}

# commands FILE N: the Nth group of lines in FILE that calls systemctl for the socket for nginx.
commands() {
  awk -v wanted="$2" '
    /^[# ]*(sudo )?systemctl / { sub(/^[# ]*(sudo )?/, ""); group = group $0 "\n"; next }
    { end() }
    END { end() }
    function end() { if (group ~ /handover\.socket/ && ++count == wanted) printf "%s", group; group = "" }
  ' "$1" >"$scratch/commands"
  [ -s "$scratch/commands" ] && cat "$scratch/commands"
}

runs_commands() { commands "$@" && inside sh -ex <"$scratch/commands"; }

socket_property() { inside systemctl show waystation-handover.socket --property="$1" --value; }

# One connection to the socket for nginx, without a request.
knocks() {
  /usr/bin/python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])' \
    "/proc/$process/root/run/waystation/handover.sock"
}

# A web server hands over a connection, and the service has it.
takes_over() {
  nsenter -t "$process" -n -- /usr/bin/python3 - "$root/embed/examples/handover.py" \
    "/proc/$process/root/run/waystation/handover.sock" <<'PYTHON'
import asyncio, subprocess, sys, websockets

async def connect(url):
    async with websockets.connect(url + "push/alice/", open_timeout=60, close_timeout=60) as socket:
        await asyncio.wait_for(await socket.ping(), 60)

with subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True) as server:
    try:
        asyncio.run(connect(server.stdout.readline().strip().replace("http", "ws")))
    finally:
        server.terminate()
PYTHON
}

# opens_socket FILE: the commands of FILE open the socket of a running service, and a restart keeps it.
opens_socket() {
  inside systemctl disable --now waystation-handover.socket && configure && comes_up_again || return
  configure 'handover = "fd:handover"'
  runs_commands "$1" 1 && is_active && takes_over && comes_up_again && takes_over
}

# reopens_socket FILE: after a mistake in the configuration, which has made systemd close the socket,
# the commands of FILE open it again. They do so too if the service runs without the socket.
reopens_socket() {
  local drop_in=/run/systemd/system/waystation-handover.socket.d
  inside sh -c "mkdir -p $drop_in &&
    printf '[Socket]\nTriggerLimitIntervalSec=1h\nTriggerLimitBurst=1\n' >$drop_in/test.conf &&
    systemctl daemon-reload" || return
  configure 'max_message_bytes = "many"'
  inside systemctl restart waystation
  knocks && wait_for 60 eval '[ "$(socket_property Result)" = trigger-limit-hit ]' || return
  configure 'handover = "fd:handover"'
  runs_commands "$1" 2 && is_active && takes_over &&
    inside systemctl stop waystation-handover.socket && is_active && ! knocks &&
    runs_commands "$1" 2 && is_active && takes_over
  local result=$?
  inside sh -c "rm -r $drop_in && systemctl daemon-reload"
  return "$result"
}

# The script before a removal, of the RPM package.
rpm_script_stops_both() {
  sed -n '/^%preun$/,/^%postun$/p' "$root/packaging/rpm/waystation.spec" | sed '1d; $d' >"$scratch/preun"
  [ -s "$scratch/preun" ] && takes_over && inside sh -e -s 0 <"$scratch/preun" && ! knocks &&
    ! inside systemctl is-active waystation waystation-handover.socket &&
    ! inside systemctl is-enabled waystation waystation-handover.socket
  local result=$?
  inside systemctl enable waystation && runs_commands "$root/packaging/README.md" 1 && return "$result"
}

configure_by_hand() { configure '# by hand' 'ping_interval_seconds = 20'; }

keeps_changed_configuration() {
  [ "$(inside dpkg-query -Wf '${Version}' waystation)" = "$version" ] &&
    [ "$(inside dpkg-query -Wf '${Version}' libwaystation0)" = "$version" ] &&
    grep -qx 'ping_interval_seconds = 20' "$machine/etc/waystation/waystation.toml" &&
    grep -q '^# Every key is here' "$machine/etc/waystation/waystation.toml.dpkg-dist"
}

restarted() { [ "$(property MainPID)" != "$1" ] && starts; }

installs_with_socket() { installs "debs/waystation_*.deb" && starts && takes_over; }

# With its socket open, as opens_socket left it.
removes() {
  [ "$(socket_property ActiveState)" = active ] && inside dpkg -r waystation && ! knocks &&
    ! inside systemctl is-active waystation waystation-handover.socket &&
    [ -f "$machine/etc/waystation/waystation.toml" ] &&
    [ -d "$machine/var/lib/waystation" ] && [ ! -e "$machine/usr/bin/waystation" ]
}

purges() {
  [ -f "$machine/etc/waystation/waystation.toml.dpkg-dist" ] &&
    inside dpkg -P waystation libwaystation0 && [ ! -e "$machine/etc/waystation" ] &&
    [ ! -e "$machine/var/lib/waystation" ]
}

# Installs Waystation's packages again, with the dependencies of their own tests.
installs_for_tests() {
  local needed
  mapfile -t needed < <(needed_by_tests)
  inside sh -c 'apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-unsafe-io /var/tmp/debs/*waystation*.deb /var/tmp/libwaystation-dev_*.deb "$@"' \
    sh "${needed[@]}"
}

# passes TEST: runs the test as autopkgtest does.
passes() {
  inside sh -c 'cd /var/tmp/source && AUTOPKGTEST_TMP=$(mktemp -d) exec sh "debian/tests/$1"' sh "$1"
}

# The user remains, as is usual; its name is in files that existed before. The key belongs to the
# administrator.
leaves_nothing() {
  files | grep -vxE 'd \./etc/credstore|f \./etc/credstore/waystation\.(jwt_keys|tls_key)|f \./etc/(passwd|group|shadow|gshadow)-|. \./etc/ld\.so\.cache' \
    >"$scratch/after"
  grep -vxE 'd \./etc/credstore|f \./etc/(passwd|group|shadow|gshadow)-|. \./etc/ld\.so\.cache' \
    "$scratch/before" | diff - "$scratch/after"
}

check "a fresh Debian 12 is set up" prepare
[ -d "$machine/var/tmp/previous" ] || finish
check "it boots" boots
is_up >/dev/null 2>&1 || finish
check "the dependencies install" installs_dependencies
files >"$scratch/before"
check "a previous version installs" installs "previous/*.deb"
check "the service is started" starts
check "it is enabled, and notifies systemd when it is ready" notifies_readiness
check "it is confined as the unit requires" is_confined
check "a conversation works" converses
configure_by_hand
old_process="$(property MainPID)"
check "it is upgraded while it runs" installs "debs/waystation_*.deb debs/libwaystation0_*.deb"
check "the upgrade keeps a changed configuration" keeps_changed_configuration
check "the upgrade restarts the service" restarted "$old_process"
check "a conversation works again" converses
check "a reload applies options that can change at run time" reloads
check "a configuration error is logged, and the start is not retried" configuration_error_is_logged
check "keys come from systemd's credentials" reads_keys_of_systemd
check "it speaks TLS with a key from systemd's credentials" speaks_tls
check "a reload takes a renewed certificate" renews_certificate
check "it reads a key that belongs to its group" reads_key_of_its_group
check "it writes to its state folder" writes_its_state
check "its workers have a lower priority" lowers_the_priority_of_workers
check "the watchdog kills a hanging server" watchdog_kills_hanging_server
for file in packaging/README.md packaging/nginx-module/README.md packaging/systemd/waystation-handover.socket.in; do
  check "the commands of $file open the socket for nginx" opens_socket "$root/$file"
done
for file in packaging/nginx-module/README.md packaging/systemd/waystation-handover.socket.in; do
  check "the commands of $file open it again after a mistake" reopens_socket "$root/$file"
done
check "the script of the RPM package stops the service and its socket" rpm_script_stops_both
check "removing stops the socket, and keeps configuration and state" removes
check "it installs again, with its socket" installs_with_socket
check "removing works again" removes
check "purging deletes them" purges
check "no other file is left" leaves_nothing
check "it installs again, with the dependencies of the packages' own tests" installs_for_tests
for test in $(sed -n 's/^Tests: //p' "$root/packaging/debian/tests/control"); do
  check "debian/tests/$test passes" passes "$test"
done
if [ -n "$long" ]; then also "$here/reproducible.sh" --packages "$packages"; fi
if [ -n "$builds_more" ]; then
  also "$here/rpm.sh" ${source_of[@]+"${source_of[@]}"}
fi
finish
