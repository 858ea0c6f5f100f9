"""A server for a test to run against, and clients to run against it.

`Server` starts the program named by WAYSTATION_BIN on a free port and ends it again: with exit
code 0, or the test has failed. `connect` opens a socket with the websockets package, which is not
our code; `RawSocket` one on which a test can say anything, byte by byte.

With WAYSTATION_TLS, a folder with certificate.pem and key.pem, all of them speak TLS.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import websockets

from tls_socket import Session, TlsSocket

V1 = "waystation.v1"

# Descriptors that the first socket opens, and that stay: the one that takes the place of adopted
# sockets, and the list of descriptors.
KEPT_DESCRIPTORS = 2

# A program built with sanitizers is many times slower and larger.
SANITIZED = bool(os.environ.get("WAYSTATION_SANITIZED"))

TLS = os.environ.get("WAYSTATION_TLS")
SCHEME = "https" if TLS else "http"

# The timeout of every wait, in seconds. A passing test never reaches it.
PATIENCE = 60 if SANITIZED else 20


def scaled(number, sanitized):
    """A size for a test: smaller if the program is slow."""
    return sanitized if SANITIZED else number


def raise_descriptor_limit():
    """Raises this process's descriptor limit to the hard limit and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def client_tls(version=None):
    """The settings of a TLS client that verifies the server, for one version or all; None without
    TLS."""
    if not TLS:
        return None
    context = ssl.create_default_context(cafile=os.path.join(TLS, "certificate.pem"))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def server_tls():
    """The server's options for TLS."""
    if not TLS:
        return ()
    return ("--tls-certificate", os.path.join(TLS, "certificate.pem"),
            "--tls-key", os.path.join(TLS, "key.pem"))


class Server:
    """A running `waystation serve`. Use it in a `with` statement."""

    def __init__(self, *options, prepare=None):
        self.options = options
        self.prepare = prepare  # called in the child before the program starts
        self.port = None

    def __enter__(self):
        program = os.environ["WAYSTATION_BIN"]
        # Only the test's options count, not those of the caller's environment.
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WAYSTATION_")}
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [program, "serve", "--listen", f"{SCHEME}://127.0.0.1:0" if TLS else "127.0.0.1:0",
             "--www", "", *server_tls(), *self.options],
            stdout=subprocess.PIPE, stderr=self._errors, env=environment,
            preexec_fn=self.prepare)
        # A silent server is ended; the missing line shows the failure.
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        for line in self._process.stdout:
            found = re.match(rb"waystation: listening on https?://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        watchdog.cancel()
        if self.port is None:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server did not start: {self.errors()}")
        return self

    def __exit__(self, kind, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self.wait()
        errors = self.errors()
        self._process.stdout.close()
        self._errors.close()
        if kind is None:
            assert status == 0, f"the server ended with {status}: {errors}"
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Waits for the end of the program and returns its exit code."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server did not end: {self.errors()}") from None

    @property
    def pid(self):
        return self._process.pid

    def errors(self):
        """The program's standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def url(self, path, user=None):
        query = "" if user is None else f"?user={user}"
        return f"{'wss' if TLS else 'ws'}://127.0.0.1:{self.port}{path}{query}"

    def http_connection(self):
        """A connection for HTTP requests."""
        if TLS:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE,
                                               context=client_tls())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def http(self, method, path, body=None, headers=None):
        """One HTTP request: (status, headers, body)."""
        connection = self.http_connection()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            assert_not_sniffed(response.status, response.headers)
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def push(self, user, value):
        """Sends a notification of the host application, `value` as JSON text; returns the number of
        sockets."""
        status, _, body = self.http("POST", f"/api/v1/push/{user}", value,
                                    {"Content-Type": "application/json"})
        assert status == 200, (status, body)
        return json.loads(body)["reached"]

    def presence(self, user):
        status, _, body = self.http("GET", f"/api/v1/presence/{user}")
        assert status == 200, (status, body)
        return json.loads(body)

    def descriptors(self):
        """The number of the program's open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def resident_kib(self):
        """The resident memory of the program."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1))


def assert_not_sniffed(status, headers):
    """Every response except a 101 forbids browsers to guess the content type."""
    if status != 101:
        assert headers.get("x-content-type-options") == "nosniff", (status, headers)


async def until(condition, what, patience=PATIENCE):
    """Waits until `condition()` is true. For states that the server reaches by itself."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"it never came about that {what}"
        await asyncio.sleep(0.01)


def connect(server, path, user=None, v1=False, **options):
    """Opens a socket. Await it, or use it in `async with`."""
    subprotocols = [V1] if v1 else options.pop("subprotocols", None)
    return websockets.connect(server.url(path, user), subprotocols=subprotocols,
                              ping_interval=None, open_timeout=PATIENCE, close_timeout=PATIENCE,
                              max_size=None, ssl=client_tls(), **options)


async def connect_after_release(server, path, user=None, **options):
    """Like connect, if all permits may be needed that recently closed connections held. The server
    releases a permit when the connection is gone. It may notice that after the client's next
    attempt."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await connect(server, path, user, **options)
        except websockets.InvalidStatusCode as refused:
            if refused.status_code not in (429, 503) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.01)


async def receive(ws):
    """The next text frame."""
    return await asyncio.wait_for(ws.recv(), PATIENCE)


async def receive_json(ws):
    return json.loads(await receive(ws))


async def round_trip(ws):
    """Returns when the server has processed everything sent on this socket before, and all frames
    that it had sent there have arrived."""
    await asyncio.wait_for(await ws.ping(), PATIENCE)


async def close_code(ws):
    """Waits for the server to close the socket, and returns the close code."""
    await asyncio.wait_for(ws.wait_closed(), PATIENCE)
    return ws.close_code


async def refusal(server, path, user=None, **options):
    """The status and error code of a refused upgrade."""
    raw = await asyncio.to_thread(refuse, server, path, user, **options)
    return raw


def refuse(server, path, user=None, subprotocols=(), headers=(), drop=()):
    """Like refusal, without asyncio: (status, code)."""
    with RawSocket(server) as raw:
        fields = list(headers)
        if subprotocols:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        query = "" if user is None else f"?user={user}"
        response = raw.handshake(path + query, fields, drop=drop)
        if response.status == 101:
            return 101, None
        return response.status, json.loads(response.body)["error"]["code"]


class Response:
    """An HTTP response: its status, its headers by lower-case name, its body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def frame(opcode, payload=b"", fin=True, mask=b"\x37\xfa\x21\x3d", reserved=0, claimed=None):
    """A client's frame. `mask` may be None; `claimed` replaces the payload's length."""
    length = len(payload) if claimed is None else claimed
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    masked = 0 if mask is None else 0x80
    if length < 126:
        head += bytes([masked | length])
    elif length < 65536:
        head += struct.pack("!BH", masked | 126, length)
    else:
        head += struct.pack("!BQ", masked | 127, length)
    if mask is None:
        return head + payload
    turned = mask * (len(payload) // 4 + 1)
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(turned[:len(payload)], "big")
    return head + mask + whole.to_bytes(len(payload), "big")


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class RawSocket:
    """A TCP or TLS connection with a WebSocket client that can also send malformed data. `tls` is the
    TLS session to use. TLS that ends without close_notify is an error (SSLEOFError)."""

    def __init__(self, server, receive_buffer=None, source=None, tls=None):
        self.server = server
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect((getattr(server, "host", "127.0.0.1"), server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if TLS:
            self.socket = TlsSocket(self.socket, tls or Session(client_tls()))
        self._pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection with a reset, like a client that crashed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # ---- bytes

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server ended the connection")
        self._pending += data

    def read(self, size):
        while len(self._pending) < size:
            self._more()
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def read_until(self, end):
        while end not in self._pending:
            self._more()
        at = self._pending.index(end) + len(end)
        return self.read(at)

    def read_to_end(self):
        try:
            while True:
                self._more()
        except (EOFError, ConnectionResetError):
            data, self._pending = self._pending, b""
            return data

    # ---- HTTP

    def handshake(self, target, headers=(), drop=()):
        """Sends an upgrade request. `headers` are added to the usual ones or replace them; those in
        `drop` are left out."""
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {"Host": f"127.0.0.1:{self.server.port}", "Upgrade": "websocket",
                  "Connection": "Upgrade", "Sec-WebSocket-Key": key,
                  "Sec-WebSocket-Version": "13"}
        fields.update(dict(headers))
        for name in drop:
            fields.pop(name)
        lines = [f"GET {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        response = self.response()
        if response.status == 101:
            guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            digest = hashlib.sha1((fields["Sec-WebSocket-Key"] + guid).encode()).digest()
            assert response.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        return response

    def response(self):
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 (\d{3}) .+", head[0])
        assert found, f"no status line: {head[0]!r}"
        headers = {}
        for line in head[1:-2]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        assert_not_sniffed(int(found.group(1)), headers)
        body = b""
        if int(found.group(1)) != 101:
            body = self.read(int(headers.get("content-length", 0)))
        return Response(int(found.group(1)), headers, body)

    def open(self, path, user=None, v1=False):
        """Opens a socket that must be admitted."""
        query = "" if user is None else f"?user={user}"
        headers = [("Sec-WebSocket-Protocol", V1)] if v1 else []
        response = self.handshake(path + query, headers)
        assert response.status == 101, (response.status, response.body)
        assert response.headers.get("sec-websocket-protocol") == (V1 if v1 else None)
        return self

    # ---- frames

    def read_frame(self):
        """The server's next frame: (opcode, payload). It must be complete and unmasked."""
        first, second = self.read(2)
        assert first & 0x70 == 0 and first & 0x80, f"first byte {first:#x}"
        assert second & 0x80 == 0, "the server masked a frame"
        length = second
        if length == 126:
            (length,) = struct.unpack("!H", self.read(2))
            assert length >= 126
        elif length == 127:
            (length,) = struct.unpack("!Q", self.read(8))
            assert length >= 65536
        return first & 0x0F, self.read(length)

    def read_message(self):
        """The next text frame; answers pings on the way."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                self.send(frame(PONG, payload))
            elif opcode == TEXT:
                return payload.decode()
            else:
                raise AssertionError(f"opcode {opcode}: {payload!r}")

    def say(self, text):
        self.send(frame(TEXT, text if isinstance(text, bytes) else text.encode()))

    def round_trip(self):
        """Like round_trip above; returns the text frames that arrived before the pong."""
        token = os.urandom(8)
        self.send(frame(PING, token))
        texts = []
        while True:
            opcode, payload = self.read_frame()
            if opcode == PONG and payload == token:
                return texts
            if opcode == PING:
                self.send(frame(PONG, payload))
            elif opcode == TEXT:
                texts.append(payload.decode())

    def read_close(self):
        """Discards everything up to the server's Close, and returns its code."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else 1005


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    """An asynchronous test."""

    maxDiff = 2000

    async def asyncSetUp(self):
        # unittest enables asyncio's debug mode, which is ten times slower.
        asyncio.get_running_loop().set_debug(False)

    async def expect_silence(self, *sockets):
        """No further frame has arrived on these sockets of `connect`."""
        for ws in sockets:
            await round_trip(ws)
        for ws in sockets:
            self.assertEqual(list(ws.messages), [], "unexpected frame")


class Case(AsyncCase):
    """Tests that share one server per class, started with OPTIONS."""

    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.OPTIONS).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None)
