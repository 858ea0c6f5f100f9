"""The measured servers, restarted for each run."""

import base64
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from scenarios import OURS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECRET = b"this secret has thirty-two bytes"

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
    "waystation_cluster": "waystation, two nodes",
    "socketio_cluster": "Socket.IO, two nodes",
    "channels_cluster": "Django Channels, two nodes",
    "nchan_cluster": "nchan, two nodes",
    "nchan_cluster_stored": "nchan, two nodes, messages stored",
}

# Servers that a caller of the benchmark names: {name: command as a list}. The command gets the port, and with
# TLS the files of the certificate and its key.
PEERS = {}


def parse_peer(text):
    """(name, command as a list) of NAME=COMMAND. Raises ValueError with what is wrong with it."""
    name, _, command = text.partition("=")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", name):
        raise ValueError(f"{text!r}: no name; NAME=COMMAND, and a name has letters, digits, dots and hyphens")
    if name in NAMES:
        raise ValueError(f"{text!r}: the benchmark has a server of this name; choose another one")
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise ValueError(f"{text!r}: the command cannot be read: {problem}; quote it as in a shell") from None
    program = shutil.which(words[0]) if words else None
    if not program:
        raise ValueError(f"{text!r}: no such command; a path or a name in PATH that can be run")
    return name, [os.path.abspath(program), *words[1:]]


def add_peers(peers):
    for name, command in peers:
        PEERS[name] = command
        NAMES[name], NAMES[name + "_tls"] = name, name + ", TLS"


def with_peers(scenario):
    """The scenario with the named servers, if `ws` takes part in it. They speak TLS where it does."""
    if not any(server in ("ws", "ws_tls") for server, _ in scenario.variants):
        return scenario
    ending = "_tls" if scenario.is_tls() else ""
    peers = tuple((name + ending, ()) for name in PEERS)
    ours = scenario.variants[0][0]
    more = tuple((ours, name, *scenario.peer_aim) for name, _ in peers)
    return replace(scenario, variants=scenario.variants + peers, aims=scenario.aims + more)


def is_tls(kind):
    return "_tls" in kind


def is_cluster(kind):
    return "_cluster" in kind


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def has_engine(port):
    """Whether a node of nchan has reached its Redis: until then it answers 503."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ws/chat/a_b/", timeout=10).close()
    except urllib.error.HTTPError as answer:
        return answer.code != 503
    return True


def is_whole(port):
    """Whether a Redis awaits no unknown nodes, as it does for some seconds after its start."""
    ask = ["redis-cli", "-p", str(port), "HEXISTS", "ws1:waystation:nodes", "?"]
    return subprocess.run(ask, capture_output=True, check=False, timeout=10).stdout.strip() == b"0"


class Server:
    """One server, or two nodes and their Redis, from construction to stop()."""

    def __init__(self, kind, build, scratch):
        self.kind = kind
        self.scratch = Path(tempfile.mkdtemp(dir=scratch))
        self.log = open(self.scratch / "log", "w+b")
        self.engine = None
        self.nodes = []
        self.audit = None
        self.rows_before = 0  # in the audit, before the run
        self.ports = [free_port() for _ in range(2 if is_cluster(kind) else 1)]
        try:
            if is_cluster(kind):
                self.start_engine()
            files = self.certificate() if is_tls(kind) else []
            # Numbers of the server are read over plain HTTP.
            self.metrics_ports = [free_port() for _ in self.ports] if files else self.ports
            for number, port in enumerate(self.ports):
                self.nodes.append(self.start(self.command(build, number, port, files)))
            for port, process in zip(self.ports, self.nodes):
                self.wait_for(process, lambda port=port: is_open(port))
            if is_cluster(kind) and self.is_ours():
                self.wait_for(self.nodes[0], lambda: self.metric("waystation_cluster_nodes", min) == 2)
                self.wait_for(self.nodes[0], lambda: is_whole(self.engine_port))
            if kind.startswith("nchan_cluster"):
                for port, process in zip(self.ports, self.nodes):
                    self.wait_for(process, lambda port=port: has_engine(port))
            time.sleep(0.1)
        except BaseException:
            self.stop()
            raise

    def command(self, build, number, port, files):
        if self.is_ours():
            return self.waystation(build, number, port, files)
        if self.kind.startswith("nginx_"):
            relay_port = free_port()
            self.metrics_ports = [relay_port]
            relay = self.waystation(build, number, relay_port, files)
            command = [str(HERE / "peers/nginx/start.sh"), str(port), self.kind.split("_")[1]]
            module = build / "nginx-module/ngx_http_waystation_module.so"
            return [*command, str(module), str(relay_port), *relay]
        if self.kind.startswith("floor"):
            return [str(build / "tests/bench/peers/floor/waystation-floor"), str(port), *files]
        if self.kind.removesuffix("_tls") in PEERS:
            return [*PEERS[self.kind.removesuffix("_tls")], str(port), *files]
        folder, _, config = self.kind.partition("_")
        command = [str(HERE / "peers" / folder / "start.sh"), str(port)]
        return command + (files if files else [config] if config else [])

    def start(self, command):
        environment = {**os.environ, "TMPDIR": str(self.scratch)}
        environment.pop("REDIS_PORT", None)
        if self.engine:
            environment["REDIS_PORT"] = str(self.engine_port)
        return subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)

    def start_engine(self):
        """The Redis of the nodes, with the settings that the packages ship."""
        self.engine_port = free_port()
        command = ["redis-server", str(ROOT / "packaging/cluster/redis.conf"), "--bind", "127.0.0.1"]
        command += ["--port", str(self.engine_port), "--dir", str(self.scratch)]
        command += ["--logfile", str(self.scratch / "redis.log")]
        self.engine = self.start(command)
        self.wait_for(self.engine, lambda: is_open(self.engine_port))

    def processes(self):
        return [*self.nodes, self.engine] if self.engine else self.nodes

    def pids(self):
        return [process.pid for process in self.processes()]

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

    def waystation(self, build, number, port, files):
        command = [str(build / "embed" / "waystation"), "serve", "--www", ""]
        command += ["--listen", f"127.0.0.1:{self.metrics_ports[number]}", "--log-level", "warning"]
        if files:
            command += ["--listen", f"https://127.0.0.1:{port}"]
            command += ["--tls-certificate", files[0], "--tls-key", files[1]]
        for key, value in OPTIONS.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        if self.kind == "waystation_spin":
            command += ["--busy-poll-microseconds", "100"]
        if is_cluster(self.kind):
            command += ["--cluster", f"redis://127.0.0.1:{self.engine_port}"]
            command += ["--cluster-key-file", str(self.key_file()), "--node-name", f"node-{number + 1}"]
        if self.is_guarded():
            key = self.key_file()
            self.audit = self.scratch / "audit.db"
            command += ["--auth", "jwt", "--jwt-key-file", str(key), "--audit-file", str(self.audit)]
            if self.kind == "waystation_guarded_full":
                command += ["--audit-max-bytes", str(FULL_BYTES)]
        return command

    def key_file(self):
        """Written once: a node reads it while the other one is started."""
        key = self.scratch / "keys"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(SECRET) + b"\n")
        return key

    def load_options(self):
        """The generator's arguments for this server."""
        options = ["--port", str(self.ports[0])]
        for process in self.nodes:
            options += ["--pid", str(process.pid)]
        if self.engine:
            options += ["--second-port", str(self.ports[1]), "--engine-pid", str(self.engine.pid)]
        if is_tls(self.kind):
            options += ["--tls"]
        if self.kind.startswith(("nchan", "floor")):
            options += ["--reply", "as_sent"]
        if is_cluster(self.kind) and not self.is_ours():
            options += ["--pause", "0.5"]  # they accept a socket before Redis has its subscription
        if self.kind.startswith("socketio"):
            options += ["--reply", "socket_io"]
        if self.is_guarded():
            secret = self.scratch / "secret"
            secret.write_bytes(SECRET)
            options += ["--token-key", str(secret)]
        return options

    def wait_for(self, process, is_up):
        for _ in range(600):
            if process.poll() is not None:
                break
            if is_up():
                return
            time.sleep(0.05)
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        raise RuntimeError(f"{self.kind} did not start: {text[-500:]}")

    def stop(self):
        for process in self.processes():
            if process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()

    def metric(self, name, over_nodes=sum):
        values = []
        for port in self.metrics_ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            values.append(int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE).group(1)))
        return over_nodes(values)

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
