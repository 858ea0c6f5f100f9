"""nginx with the module, in front of a door: what the tests of this folder share."""
import contextlib
import os
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("support", "integration"):
    sys.path.insert(0, str(ROOT / "tests" / folder))

from door import Door  # noqa: E402
from harness import SANITIZED, RawSocket  # noqa: E402
from nginx import PATIENCE, Nginx, free_port, wait_until  # noqa: E402,F401
from openssl_client import OpenSSLClient  # noqa: E402,F401
from tls_socket import TlsSocket  # noqa: E402

MODULE = os.environ.get("WAYSTATION_NGINX_MODULE",
                        ROOT / "build" / "nginx-module" / "ngx_http_waystation_module.so")
METHOD = os.environ.get("WAYSTATION_NGINX_METHOD", "epoll")  # nginx's event method
LONG = bool(os.environ.get("WAYSTATION_LONG"))

# Every request of a conversation is logged with what the module says about it.
LOG = 'log_format module "$status [$waystation_result] [$waystation_code] $request_uri";'


class Client(RawSocket):
    """A client of nginx's `port`, plain or with TLS: of Python's ssl module, or an OpenSSLClient."""

    def __init__(self, port, context=None, session=None, **options):
        self.port = port
        super().__init__(self, **options)
        if session is not None:
            self.socket = TlsSocket(self.socket, session)
        elif context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            self.socket.settimeout(PATIENCE)

    def request(self, target, method="GET", fields=(), body=b"", version="1.1"):
        """Sends a request that is no upgrade, and returns the response."""
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer()

    def answer(self):
        """The next response, also one that nginx made itself."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}).*", head[0])[1])
        fields = [tuple(line.split(": ", 1)) for line in head[1:-2]]
        length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
        return status, fields, self.read(length)

    def upgrade(self, target, early=b"", fields=()):
        """Sends an upgrade, with `early` in the same packet. Returns itself."""
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: Upgrade",
                 "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        lines += [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + early)
        return self

    def opened(self):
        """Expects the 101, from the relay and unchanged. Returns itself."""
        status, fields, _ = self.answer()
        assert status == 101, (status, fields)
        assert ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in fields, fields
        return self

    def echo(self, data):
        """Sends bytes to a door that returns them, and checks that they come back."""
        self.send(data)
        returned = self.read(len(data))
        assert returned == data, (len(returned), returned[:40])

    def expect_end(self):
        assert self.read_to_end() == b""


def certificate(folder):
    """Writes cert.pem and key.pem for localhost; returns the clients' context."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    # Without a close_notify, the end of a connection is an error: SSL_OP_IGNORE_UNEXPECTED_EOF.
    context.options &= ~0x80
    return context


def resident_kib(pid):
    """Memory of a process that is its own. A sanitizer's own memory would hide that: 0."""
    if SANITIZED:
        return 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(size) for size in re.findall(r"Private_\w+:\s+(\d+) kB", rollup.read()))


def is_asleep(pid):
    """Whether a process waits, rather than runs. True if it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return status.rpartition(")")[2].split()[0] == "S"
    return True


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class ModuleCase(unittest.TestCase):
    """A folder, and nginx in it. Each test ends with a look at nginx's workers and its log."""

    # The module is loaded and configured; a subclass replaces these.
    main = ""
    server = ""
    http = ""
    location = ""
    listen = ""
    workers = 1
    daemon = False
    worker_connections = 512
    expected = ()  # serious lines of the log that a test provokes, as regular expressions

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)  # nginx's workers are another user
        self.path = self.folder / "door.sock"
        self.door = self.open_door()
        self.port = free_port()
        self.tls_port = free_port()
        self.nginx = None
        self.start_nginx()

    def tearDown(self):
        self.expect_sleep()

    def expect_sleep(self):
        """Expects that no worker is busy with the connections that are open now."""
        wait_until("the workers to sleep", lambda: all(is_asleep(worker) for worker in self.nginx.workers()))

    def open_door(self):
        door = Door(self.path)
        self.stack.callback(door.close)
        return door

    def configuration(self):
        return f"""
            {LOG}
            access_log {self.folder}/module.log module;
            {self.http}
            server {{
              listen 127.0.0.1:{self.port} {self.listen};
              {self.server}
              location ~ ^/(ws/chat|push)/ {{
                waystation_pass unix:{self.path};
                {self.location}
              }}
              location / {{ return 200 "elsewhere\\n"; }}
            }}"""

    def start_nginx(self):
        self.nginx = Nginx(self.folder, self.configuration(), self.port, workers=self.workers,
                           daemon=self.daemon, main=f"load_module {MODULE}; {self.main}",
                           events=f"use {METHOD}; worker_connections {self.worker_connections};")
        self.stack.callback(self.end_nginx)

    def end_nginx(self):
        self.nginx.stop()
        self.assertEqual(self.unexpected(), [])

    def unexpected(self):
        return [line for line in self.nginx.serious()
                if not any(re.search(pattern, line) for pattern in self.expected)]

    def client(self, **options):
        client = Client(self.port, **options)
        self.addCleanup(client.close)
        return client

    def open(self, target="/push/alice/", **options):
        return self.client().upgrade(target, **options).opened()

    def logged(self, count=1):
        """The last lines of the access log, once there are `count`."""
        log = self.folder / "module.log"
        wait_until("the access log", lambda: len(log.read_text().splitlines()) >= count)
        return log.read_text().splitlines()

    def ended_workers(self, workers, patience=PATIENCE):
        """Waits until these workers are gone."""
        wait_until("the end of old workers",
                   lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), patience)
