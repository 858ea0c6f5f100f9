"""Starts programs under test and sends plain HTTP requests to them."""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

# The timeout of any wait: generous, because sanitizers are slow. A passing test never reaches it.
PATIENCE = 60


def until(condition, what):
    """Waits until `condition()` is true and returns what it returned."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s in vain: {what}")
        time.sleep(0.01)


def environment(**variables):
    """This process's environment without options for the server, plus the given ones."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WAYSTATION_")}
    return {**kept, **variables}


class Program:
    """A program that runs for the length of a `with` block. At the end it gets a signal to end; it
    must then exit with code 0 and without a sanitizer report."""

    def __init__(self, *command, env=None, pass_fds=()):
        self.errors = tempfile.TemporaryFile(mode="w+b")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=env or environment(), pass_fds=pass_fds)
        self.buffered = b""

    def line(self):
        """The next line of its standard output, without the line end."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.buffered:
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(0, deadline - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not more:
                raise AssertionError(f"no line from the program; it said: {self.log()}")
            self.buffered += more
        line, self.buffered = self.buffered.split(b"\n", 1)
        return line.decode()

    def tell(self, command):
        """Writes a line to its standard input."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def log(self):
        """The program's standard error so far."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def await_log(self, text):
        return until(lambda: text in self.log() and self.log(), f"{text!r} in the log")

    def send(self, number):
        self.process.send_signal(number)

    def ask_to_end(self):
        self.send(signal.SIGTERM)

    def end(self, number=signal.SIGTERM):
        """Ends the program with a signal; returns its exit code and the seconds until the end."""
        started = time.monotonic()
        self.send(number)
        code = self.process.wait(PATIENCE)
        return code, time.monotonic() - started

    def abandon(self):
        """Kills the program."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *unused):
        try:
            if self.process.poll() is None:
                self.ask_to_end()
            try:
                code = self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                code = "no end, though it was asked to"
            log = self.log()
        finally:
            self.abandon()
        # The test's own failure comes first; a sanitizer's report may be its cause.
        if kind is None:
            assert code == 0, f"{self.process.args[0]}: {code}\n{log}"
        assert "Sanitizer" not in log and "runtime error" not in log, log


class Server(Program):
    """`waystation serve`, on a free port unless `listen` and the options name one."""

    ANNOUNCEMENT = re.compile(r"waystation: listening on (https?)://(.+):(\d+)")

    def __init__(self, *options, listeners=1, listen=("--listen", "127.0.0.1:0"), env=None,
                 pass_fds=()):
        if "--listen" in options:
            listen = ()
        super().__init__(os.environ["WAYSTATION_BIN"], "serve", *listen, *options, env=env,
                         pass_fds=pass_fds)
        self.addresses, self.schemes = [], []
        try:
            for _ in range(listeners):
                line = self.line()
                found = self.ANNOUNCEMENT.fullmatch(line)
                assert found, line
                self.schemes.append(found[1])
                self.addresses.append((found[2], int(found[3])))
        except BaseException:
            self.abandon()
            raise
        self.host, self.port = self.addresses[0]

    def url(self, path, scheme="ws"):
        return f"{scheme}://{self.host}:{self.port}{path}"

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def run(*arguments, env=None):
    """Runs the server's program until it ends."""
    result = subprocess.run([os.environ["WAYSTATION_BIN"], *arguments], capture_output=True,
                            text=True, timeout=PATIENCE, env=env or environment())
    assert "Sanitizer" not in result.stderr and "runtime error" not in result.stderr, result.stderr
    return result


@contextlib.contextmanager
def held_thread(pid, name):
    """Stops one thread of a child process for the length of the block. All other threads continue;
    only the tracer can resume the thread."""
    seize, interrupt, detach = 0x4206, 0x4207, 17  # PTRACE_…, ptrace(2)
    wait_for_any_thread = 0x40000000  # __WALL, waitpid(2)
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request):
        if libc.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace({request:#x}) of the thread {name}")

    folder = f"/proc/{pid}/task"
    thread, = (int(task) for task in os.listdir(folder)
               if pathlib.Path(folder, task, "comm").read_text() == name + "\n")
    ptrace(seize)
    ptrace(interrupt)
    os.waitpid(thread, wait_for_any_thread)  # until the thread has stopped
    try:
        yield
    finally:
        ptrace(detach)


class Response:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.version = response.version
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The code of an error."""
        return self.json()["error"]["code"]


@contextlib.contextmanager
def connection(port, host="127.0.0.1", tls=None):
    """A connection for requests; `tls` is an ssl.SSLContext."""
    link = http.client.HTTPConnection(host, port, timeout=PATIENCE) if tls is None else \
        http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=tls)
    try:
        yield link
    finally:
        link.close()


def request(port, method, path, headers=None, body=None, tls=None):
    """One request on a new connection. The path is sent unchanged."""
    with connection(port, tls=tls) as link:
        link.request(method, path, body=body, headers=headers or {})
        return Response(link.getresponse())


def get(port, path, tls=None, **headers):
    return request(port, "GET", path, {k.replace("_", "-"): v for k, v in headers.items()}, tls=tls)


def figures(port):
    """The samples of /metrics: each sample's name with its labels, and its value as text."""
    answer = get(port, "/metrics")
    assert answer.status == 200, answer.status
    return dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines()
                if not line.startswith("#"))


def raw(port, text):
    """Sends bytes and returns the reply until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
        link.sendall(text if isinstance(text, bytes) else text.encode())
        answer = b""
        while True:
            try:
                more = link.recv(65536)
            except ConnectionResetError:
                return answer
            if not more:
                return answer
            answer += more


def handshake(path, *lines):
    """An upgrade request as text; `lines` replace the usual ones."""
    lines = lines or ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade",
                        "Upgrade: websocket", *lines, "", ""))
