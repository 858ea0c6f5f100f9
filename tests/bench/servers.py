"""The servers that are measured, each started anew for a run."""

import base64
import os
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from scenarios import OURS

HERE = Path(__file__).resolve().parent
SECRET = b"a secret of thirty-two bytes, no less"

PING_SECONDS = 2

# Every limit is on, and raised so that the load passes. Runs are short, so that with the usual
# interval none would see a heartbeat.
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
    "waystation_guarded": "waystation, JWT and audit",
    "ws": "Node ws",
    "nchan": "nchan",
    "nchan_defaults": "nchan, its defaults",
    "nchan_delayed": "nchan, Nagle's algorithm on",
    "channels": "Django Channels",
    "floor": "the floor",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server, running from construction to stop()."""

    def __init__(self, kind, build, scratch):
        self.kind = kind
        self.port = free_port()
        self.scratch = Path(tempfile.mkdtemp(dir=scratch))
        self.audit = None
        if self.is_ours():
            command = self.waystation(build)
        elif kind == "floor":
            command = [str(build / "tests/bench/peers/floor/waystation-floor"), str(self.port)]
        else:
            folder, _, config = kind.partition("_")
            command = [str(HERE / "peers" / folder / "start.sh"), str(self.port)]
            command += [config] if config else []
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

    def waystation(self, build):
        command = [str(build / "embed" / "waystation"), "serve", "--www", ""]
        command += ["--listen", f"127.0.0.1:{self.port}", "--log-level", "warning"]
        for key, value in OPTIONS.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        if self.kind == "waystation_spin":
            command += ["--busy-poll-microseconds", "100"]
        if self.kind == "waystation_guarded":
            key = self.scratch / "keys"
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(SECRET) + b"\n")
            self.audit = self.scratch / "audit.db"
            command += ["--auth", "jwt", "--jwt-key-file", str(key), "--audit", str(self.audit)]
        return command

    def load_options(self):
        """What the generator has to know of this one."""
        options = ["--port", str(self.port), "--pid", str(self.process.pid)]
        if self.kind.startswith("nchan") or self.kind == "floor":
            options += ["--reply", "as_sent"]
        if self.kind == "waystation_guarded":
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

    def closed_slow(self):
        """How many sockets waystation gave up because they did not read."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r'waystation_sockets_closed_total\{reason="slow"\} (\d+)', text)
        return int(found.group(1))

    def rows_audited(self):
        """How many pushes the audit knows of; after stop()."""
        database = sqlite3.connect(self.audit)
        query = "SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"
        (count,) = database.execute(query).fetchone()
        database.close()
        return count
