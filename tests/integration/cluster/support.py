"""Shared by the tests of several nodes: an engine that a test can kill and stop, and the nodes.

The engine keeps nothing, listens on a free port of the loopback interface, and ends with its test.
"""

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import (PATIENCE, AsyncCase, Server, close_code, connect, receive_json,  # noqa: E402,F401
                     refusal, round_trip, scaled, until)

CHAT = "/ws/chat/alice_bob/"


def free_port():
    """A port that was free a moment ago. SO_REUSEADDR lets the server have it at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(pid):
    """Stops a process, and returns when all of its threads stand still. SIGSTOP reaches those that run
    on another processor a moment later."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE
    while not all(state == "T" for state in thread_states(pid)):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def thread_states(pid):
    """The state of each thread, see proc(5)."""
    for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]


class Engine:
    """A running redis-server, or redis-sentinel with `sentinel`. Use it in a `with` statement. `within` is a
    command that starts it elsewhere, where it has the address `host`."""

    def __init__(self, folder, *options, sentinel=None, host="127.0.0.1", within=()):
        self.folder = folder
        self.host = host
        self.within = within
        self.port = free_port()
        self.options = options
        self.sentinel = sentinel
        self._process = None
        self._log = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self.kill()

    def start(self):
        """Starts it, again on the same port, and waits until it answers."""
        self._log = open(os.path.join(self.folder, f"engine-{self.port}.log"), "ab")
        if self.sentinel is None:
            command = [*self.within, "redis-server", "--port", str(self.port), "--bind", self.host,
                       "--save", "", "--appendonly", "no", "--dir", self.folder,
                       "--repl-diskless-sync-delay", "0", *self.options]
        else:
            configuration = os.path.join(self.folder, f"sentinel-{self.port}.conf")
            if not os.path.exists(configuration):
                with open(configuration, "w", encoding="ascii") as file:
                    file.write(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
                               + self.sentinel)
            command = ["redis-sentinel", configuration]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + PATIENCE
        # With a password it answers, too.
        while not self.cli("PING").startswith(("PONG", "NOAUTH")):
            assert time.monotonic() < deadline, f"{command[0]} did not start"
            time.sleep(0.02)

    def cli(self, *arguments):
        done = subprocess.run(["redis-cli", "-h", self.host, "-p", str(self.port), *arguments],
                              capture_output=True, check=False, timeout=PATIENCE)
        return done.stdout.decode(errors="replace").strip()

    def is_whole(self):
        """Whether it awaits no unknown nodes."""
        return self.cli("HEXISTS", "ws1:waystation:nodes", "?") != "1"

    def kill(self):
        """kill -9."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        self._process = None
        self._log.close()

    def pause(self):
        stop(self._process.pid)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    @property
    def url(self):
        return f"redis://{self.host}:{self.port}"


class Monitor(threading.Thread):
    """Everything that an engine runs, in its order. Call read_to_end() before looking at it."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.engine = engine
        self.raw = bytearray()
        self._socket = socket.create_connection((engine.host, engine.port), PATIENCE)
        self._socket.settimeout(None)
        self._socket.sendall(b"MONITOR\r\n")
        self._grown = threading.Condition()
        self.start()

    def run(self):
        while data := self._socket.recv(1 << 16):
            with self._grown:
                self.raw += data
                self._grown.notify_all()

    def read_to_end(self):
        mark, begin = os.urandom(8).hex().encode(), len(self.raw)
        self.engine.cli("ECHO", mark)
        with self._grown:
            assert self._grown.wait_for(lambda: self.raw.find(mark, begin) >= 0, PATIENCE)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()

    def commands(self):
        """Each command: its client ("lua" inside of a script) and its arguments."""
        for line in bytes(self.raw).split(b"\r\n"):
            found = re.match(rb'\+[0-9.]+ \[\d+ (\S+)\] "', line)
            if found:
                arguments = re.findall(rb'"((?:[^"\\]|\\.)*)"', line[found.end() - 1:])
                yield found.group(1).decode(), [unescape(argument) for argument in arguments]


def unescape(text):
    """The bytes of an argument as MONITOR writes it. Its escapes are Python's, too."""
    return text.decode("unicode_escape").encode("latin-1")


class Node(Server):
    """One node. It may be killed, which is no failure."""

    def __init__(self, folder, name, engines, *options):
        super().__init__("--cluster", engines, "--cluster-key-file", os.path.join(folder, "key"),
                         "--node-name", name, "--messages-per-second", "0",
                         "--max-connections-per-address", "0", "--max-connections-per-user", "0",
                         *options)
        self.name = name
        self.is_killed = False

    def __exit__(self, kind, *rest):
        if self.is_killed:
            self._process.wait()
            self._process.stdout.close()
            self._errors.close()
            return
        super().__exit__(kind, *rest)

    def kill(self):
        self.is_killed = True
        self._process.kill()
        self._process.wait()

    def pause(self):
        stop(self.pid)

    def resume(self):
        self.signal(signal.SIGCONT)

    def stats(self):
        status, _, body = self.http("GET", "/healthz")
        assert status == 200, (status, body)
        return json.loads(body)

    def is_ready(self, nodes):
        stats = self.stats()
        return (stats["cluster_engines_ready"] == stats["cluster_engines"]
                and stats["cluster_nodes"] == nodes)


class ClusterCase(AsyncCase):
    """A test with an engine, or several, and some nodes.

    An engine that has just started awaits nodes for some seconds. So the engines of all tests of a class
    start together: ENGINES of them, for `engine()` without options."""

    ENGINES = 0

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="waystation-engines-")
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.started = []
        for _ in range(cls.ENGINES):
            engine = Engine(folder)
            cls.addClassCleanup(engine.__exit__)
            engine.start()
            cls.started.append(engine)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="waystation-cluster-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.new_key("key")
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

        self.tabs = []
        self.engines = []

    def new_key(self, name):
        """The path of a new key file."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(base64.b64encode(os.urandom(32)) + b"\n")
        return path

    async def asyncTearDown(self):
        # A node that ends waits for the clients to answer its Close.
        await asyncio.gather(*(tab.close() for tab in self.tabs), return_exceptions=True)

    async def tab(self, node, user, path=CHAT):
        """An open v1 socket: of a chat, or with a path of its own."""
        self.tabs.append(await Tab.open(node, path, user))
        return self.tabs[-1]

    async def push_tab(self, node, user):
        return await self.tab(node, user, f"/push/{user}/")

    def engine(self, *options, **more):
        if self.started and not options and not more:
            engine = self.started.pop()
            self.stack.callback(engine.__exit__)
        else:
            engine = self.stack.enter_context(Engine(self.folder, *options, **more))
        self.engines.append(engine)
        return engine

    def writing_engine(self, name):
        """An engine that writes as much as it can, into a folder of its own."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        return self.engine("--dir", folder, "--appendonly", "yes", "--save", "1 1",
                           "--slowlog-log-slower-than", "0", "--loglevel", "debug")

    def monitor(self, engine):
        monitor = Monitor(engine)
        self.stack.callback(monitor.close)
        return monitor

    def everything_seen(self, monitors):
        """What the monitors saw, and what their engines have written and can tell, as bytes."""
        seen = b""
        for monitor in monitors:
            monitor.read_to_end()
            monitor.engine.cli("SAVE")
            seen += bytes(monitor.raw) + monitor.engine.cli("SLOWLOG", "GET", "-1").encode()
        for root, _, files in os.walk(self.folder):
            for name in files:
                with open(os.path.join(root, name), "rb") as file:
                    seen += file.read()
        return seen

    async def nodes(self, count, engines, *options):
        """That many nodes, all of which know each other. No engine awaits others."""
        nodes = [self.stack.enter_context(Node(self.folder, f"n{i}", engines, *options))
                 for i in range(count)]
        await self.all_ready(nodes)
        return nodes

    async def all_ready(self, nodes):
        """Returns when these nodes know each other, and no engine awaits others."""
        for node in nodes:
            await until(lambda node=node: node.is_ready(len(nodes)), f"{node.name} is ready")
        for engine in self.engines:
            await until(engine.is_whole, "the engine has a whole table")


class Tab:
    """A v1 socket, and all that it has received."""

    def __init__(self, ws, user):
        self.ws = ws
        self.user = user
        self.frames = []
        self.present = {}  # by user, as last told
        self.closed = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, node, path, user):
        return cls(await connect(node, path, user, v1=True), user)

    async def _read(self):
        try:
            async for text in self.ws:
                frame = json.loads(text)
                async with self._arrived:
                    self.frames.append(frame)
                    if "presence" in frame:
                        self.present[frame["presence"]["user"]] = frame["presence"]["present"]
                    self._arrived.notify_all()
        except Exception:  # noqa: BLE001: a socket that is lost has ended, whatever the reason
            pass
        async with self._arrived:
            self.closed.set()
            self._arrived.notify_all()

    async def wait(self, condition, what, patience=PATIENCE):
        """Waits until `condition()` is true after a frame, or the socket's end."""
        async with self._arrived:
            try:
                await asyncio.wait_for(self._arrived.wait_for(condition), patience)
            except asyncio.TimeoutError:
                raise AssertionError(f"it never came about that {what}; {self.user} got "
                                     f"{self.frames[-5:]}") from None

    async def say(self, value, id, patience=PATIENCE):
        """Sends a message; returns its ack, or the error for it."""
        await self.ws.send(json.dumps({"message": value, "id": id}))
        return await self.outcome(id, patience)

    async def outcome(self, id, patience=PATIENCE):
        found = []

        def has_outcome():
            for frame in self.frames:
                if frame.get("ack", {}).get("id") == id:
                    found[:] = [frame["ack"]]
                elif frame.get("error", {}).get("id") == id:
                    found[:] = [frame["error"]]
            return bool(found)
        await self.wait(lambda: has_outcome() or self.closed.is_set(), f"{id} is answered", patience)
        assert found, f"the socket was closed before {id} was answered"
        return found[0]

    def messages(self):
        """The values of chat messages, in order."""
        return [frame["message"] for frame in self.frames if "message" in frame]

    def events(self):
        """The values of push fallbacks, in order."""
        return [frame["event"]["message"] for frame in self.frames if "event" in frame]

    async def close(self):
        await self.ws.close()
        await self._reader


async def say_until(tab, wanted, what, patience=PATIENCE):
    """Sends messages until one has the wanted route; returns all outcomes."""
    outcomes = []
    deadline = time.monotonic() + patience
    while True:
        number = len(outcomes)
        outcomes.append(await tab.say(number, f"{what}-{number}"))
        if outcomes[-1].get("route") == wanted:
            return outcomes
        assert time.monotonic() < deadline, f"{what}: no message went by {wanted}: {outcomes[-3:]}"
        await asyncio.sleep(0.05)
