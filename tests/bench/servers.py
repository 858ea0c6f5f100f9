"""The measured servers, restarted for each run."""

import base64
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from scenarios import OURS

HERE = Path(__file__).resolve().parent
SECRET = b"a secret of thirty-two bytes, no less"

PING_SECONDS = 2

# The file size for a full audit: some 35,000 rows, more than arrive in the second after which the
# audit commits at the latest.
FULL_BYTES = 8 << 20

# Every limit is on and high enough for the load. Runs are short, so the ping interval is shorter
# than the default.
OPTIONS = {
    "max_connections": 20000,
    "max_connections_per_address": 20000,
    "max_connections_per_user": 1000,
    "messages_per_second": 1000000,
    "message_burst": 1000000,
    "ping_interval_seconds": PING_SECONDS,
}

NAMES = {
    OURS: "waystation",
    "waystation_spin": "waystation, spinning 100 µs",
    "waystation_undisturbed": "waystation, undisturbed",
    "waystation_request": "waystation: a 404 on its own connection",
    "waystation_guarded": "waystation, JWT and audit",
    "waystation_guarded_full": "waystation, JWT and audit, its file full",
    "ws": "Node ws",
    "nginx_handed": "waystation, handed over by nginx",
    "nginx_handed_request": "the same nginx: a 404 on its own connection",
    "nginx_proxied": "waystation behind nginx, proxy_pass",
    "nchan": "nchan",
    "nchan_defaults": "nchan, its defaults",
    "nchan_delayed": "nchan, Nagle's algorithm on",
    "channels": "Django Channels",
    "floor": "the floor",
    "waystation_tls": "waystation, TLS",
    "waystation_tls_request": "waystation, TLS: a 404 on its own connection",
    "ws_tls": "Node ws, TLS",
    "floor_tls": "the floor, TLS",
}

# Servers that a caller of the benchmark names: {name: command}. The command gets the port, and with TLS
# the files of the certificate and its key.
PEERS = {}


def add_peers(commands):
    for text in commands:
        name, _, command = text.partition("=")
        PEERS[name] = command
        NAMES[name], NAMES[name + "_tls"] = name, name + ", TLS"


def with_peers(scenario):
    """The scenario with the named servers, if `ws` has part in it. They speak TLS where it does."""
    if not any(server in ("ws", "ws_tls") for server, _ in scenario.variants):
        return scenario
    ending = "_tls" if scenario.is_tls() else ""
    peers = tuple((name + ending, ()) for name in PEERS)
    ours = scenario.variants[0][0]
    more = tuple((ours, name, "", None) for name, _ in peers)
    return replace(scenario, variants=scenario.variants + peers, aims=scenario.aims + more)


def is_tls(kind):
    return "_tls" in kind


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server, from construction to stop()."""

    def __init__(self, kind, build, scratch):
        self.kind = kind
        self.port = free_port()
        self.scratch = Path(tempfile.mkdtemp(dir=scratch))
        self.audit = None
        self.rows_before = 0  # in the audit, before the run
        files = self.certificate() if is_tls(kind) else []
        if self.is_ours():
            command = self.waystation(build, files)
        elif kind.startswith("nginx_"):
            relay_port = str(free_port())
            relay = [word.replace(str(self.port), relay_port) for word in self.waystation(build, files)]
            command = [str(HERE / "peers/nginx/start.sh"), str(self.port), kind.split("_")[1]]
            command += [str(build / "nginx-module/ngx_http_waystation_module.so"), relay_port, *relay]
        elif kind.startswith("floor"):
            command = [str(build / "tests/bench/peers/floor/waystation-floor"), str(self.port), *files]
        elif kind.removesuffix("_tls") in PEERS:
            command = [*shlex.split(PEERS[kind.removesuffix("_tls")]), str(self.port), *files]
        else:
            folder, _, config = kind.partition("_")
            command = [str(HERE / "peers" / folder / "start.sh"), str(self.port)]
            command += files if files else [config] if config else []
        self.log = open(self.scratch / "log", "w+b")
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "TMPDIR": str(self.scratch)},
        )
        self.wait_until_up()

    def is_ours(self):
        return self.kind.startswith(OURS)

    def is_guarded(self):
        return self.kind.startswith("waystation_guarded")

    def certificate(self):
        """A self-signed certificate and its key, P-256: the two files."""
        files = [str(self.scratch / name) for name in ("certificate.pem", "key.pem")]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-out", files[0]]
        subprocess.run([*command, "-keyout", files[1]], check=True, capture_output=True)
        return files

    def waystation(self, build, files):
        command = [str(build / "embed" / "waystation"), "serve", "--www", ""]
        # Numbers of the server are read over plain HTTP, on another port.
        self.metrics_port = free_port() if files else self.port
        command += ["--listen", f"127.0.0.1:{self.metrics_port}", "--log-level", "warning"]
        if files:
            command += ["--listen", f"https://127.0.0.1:{self.port}"]
            command += ["--tls-certificate", files[0], "--tls-key", files[1]]
        for key, value in OPTIONS.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        if self.kind == "waystation_spin":
            command += ["--busy-poll-microseconds", "100"]
        if self.is_guarded():
            key = self.scratch / "keys"
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(SECRET) + b"\n")
            self.audit = self.scratch / "audit.db"
            command += ["--auth", "jwt", "--jwt-key-file", str(key), "--audit-file", str(self.audit)]
            if self.kind == "waystation_guarded_full":
                command += ["--audit-max-bytes", str(FULL_BYTES)]
        return command

    def load_options(self):
        """The generator's arguments for this server."""
        options = ["--port", str(self.port), "--pid", str(self.process.pid)]
        if is_tls(self.kind):
            options += ["--tls"]
        if self.kind.startswith(("nchan", "floor")):
            options += ["--reply", "as_sent"]
        if self.is_guarded():
            secret = self.scratch / "secret"
            secret.write_bytes(SECRET)
            options += ["--token-key", str(secret)]
        return options

    def wait_until_up(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.1)
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        self.stop()
        raise RuntimeError(f"{self.kind} did not start: {text[-500:]}")

    def stop(self):
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE).group(1))

    def closed_slow(self):
        """The number of sockets that waystation closed because they did not read."""
        return self.metric('waystation_sockets_closed_total{reason="slow"}')

    def rows_lost(self):
        """The number of rows that the audit lost, after the queue is empty."""
        for _ in range(600):
            if self.metric("waystation_audit_rows_waiting") == 0:
                return self.metric("waystation_audit_rows_lost_total")
            time.sleep(0.05)
        raise RuntimeError("the audit does not get its rows written")

    def rows_audited(self):
        """The number of rows written to the audit's file, of rows still in it, and of those that
        are no pushes. Without lost rows, each is a message."""
        database = sqlite3.connect(self.audit)
        query = "SELECT ifnull(max(id), 0), count(*), count(*) FILTER (WHERE outcome <> 'pushed')"
        counts = database.execute(query + " FROM deliveries").fetchone()
        database.close()
        return counts

    def fill_audit(self, build):
        """For the full audit: pushes until the file has its size and rows were deleted."""
        if self.kind != "waystation_guarded_full":
            return
        command = [build / "tests/bench/load/waystation-load", *self.load_options()]
        command += ["--route", "push", "--pairs", "100", "--window", "1000", "--rate", "50000"]
        command += ["--warmup", "0", "--seconds", "1"]
        for _ in range(10):
            subprocess.run(command, capture_output=True, check=True, timeout=60)
            self.rows_lost()
            self.rows_before, kept, _ = self.rows_audited()
            if kept < self.rows_before:
                return
        raise RuntimeError("the audit's file does not become full")
