"""64 clients connect, chat, stall, vanish and misbehave at random while keys, limits and sessions
change. Meant mainly for ThreadSanitizer.

A socket may receive only its own frames, in their sender's order, and the server must leak nothing.
A printed seed determines the actions of all clients; to repeat a run:

    WAYSTATION_CHAOS_SEED=12345 WAYSTATION_BIN=… python3 test_chaos.py
"""

import base64
import collections
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import random
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import (BINARY, CLOSE, PATIENCE, PING, PONG, TEXT, V1, RawSocket, Server,  # noqa: E402
                     frame)

CLIENTS = 64
SECONDS = 12
USERS = [f"u{n}" for n in range(10)]

# The responses that an upgrade may get, and the allowed close codes. 1011, an internal error, is
# not allowed.
ANSWERS = {101, 400, 401, 403, 429, 503}
CLOSES = {1000, 1002, 1003, 1005, 1007, 1008, 1009, 4401, 4403, 4408}

MAX_MESSAGE_BYTES = 16384


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Keys:
    """The server's key file, newest key first. Safe from any thread."""

    def __init__(self, folder):
        self.file = folder / "keys"
        self.lock = threading.Lock()
        self.keys = [os.urandom(32)]
        self.write()

    def write(self, text=None, mode=0o600):
        new = self.file.with_suffix(".new")
        new.write_text(text or "".join(base64.b64encode(key).decode() + "\n"
                                       for key in self.keys))
        new.chmod(mode)
        new.replace(self.file)

    def rotate(self):
        with self.lock:
            self.keys = [os.urandom(32), self.keys[0]]
        self.write()

    def token(self, user, lifetime=600.0, age=0, **claims):
        """Signs with the newest key, or with one that is older by `age`."""
        with self.lock:
            key = self.keys[min(age, len(self.keys) - 1)]
        header = encode(b'{"alg":"HS256"}')
        body = encode(json.dumps({"sub": user, "exp": time.time() + lifetime, **claims}).encode())
        signature = hmac.new(key, f"{header}.{body}".encode(), hashlib.sha256).digest()
        return f"{header}.{body}.{encode(signature)}"


def group_of(one, other):
    return "_".join(sorted((one, other)))


class Socket:
    """One socket and the frames that it may receive."""

    def __init__(self, raw, world, user, group, v1):
        self.raw, self.world, self.user, self.group, self.v1 = raw, world, user, group, v1
        self.last = {}  # by sending socket: the number of its last message
        self.is_open = True

    def listen(self, seconds=0.0):
        """Reads the frames that have arrived, and those that arrive within `seconds`."""
        until = time.monotonic() + seconds
        while self.is_open:
            left = max(0.0, until - time.monotonic())
            if not self.raw._pending and not select.select([self.raw.socket], [], [], left)[0]:
                return
            opcode, payload = self.raw.read_frame()
            if opcode == PING:
                self.raw.send(frame(PONG, payload))
            elif opcode == CLOSE:
                self.is_open = False
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                assert code in CLOSES, f"closed with {code}: {payload[2:]!r}"
                self.world.count(f"close {code}")
                self.raw.send(frame(CLOSE, payload[:2]))
            elif opcode == TEXT:
                self.hear(json.loads(payload.decode()))
            else:
                assert opcode == PONG, f"opcode {opcode}"

    def hear(self, heard):
        assert isinstance(heard, dict) and len(heard) >= 1, heard
        if "error" in heard:
            self.world.count(f"error {heard['error']['code']}")
            assert heard["error"]["code"] in ("bad_json", "bad_envelope", "not_a_member",
                                              "rate_limited", "bad_token"), heard
        elif "event" in heard:
            assert self.group is None, heard
            event = heard["event"]
            if event["group"] is None:
                assert event["message"] == {"to": self.user}, (self.user, heard)
            else:
                assert self.user in event["group"].split("_"), (self.user, heard)
                self.hear_message(event["message"], event["group"])
            self.world.count("event")
        elif "message" in heard:
            assert self.group is not None, heard
            self.hear_message(heard["message"], self.group)
            if self.v1:
                assert heard["from"] == heard["message"]["from"], heard
            self.world.count("message")
        else:
            assert self.v1 and ("ack" in heard or "presence" in heard or "signal" in heard), heard
            if "signal" in heard:
                assert heard["signal"] == {"group": self.group, "from": heard["from"]}, heard

    def hear_message(self, message, group):
        assert message["group"] == group and message["from"] in group.split("_"), (group, message)
        assert self.last.get(message["socket"], -1) < message["n"], (self.last, message)
        self.last[message["socket"]] = message["n"]


class World:
    """State that all clients share."""

    def __init__(self, server, keys, seed):
        self.server, self.keys, self.seed = server, keys, seed
        self.until = time.monotonic() + SECONDS
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.problems = []
        self.sockets = 0

    def goes_on(self):
        return time.monotonic() < self.until and not self.problems

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def next_socket(self):
        with self.lock:
            self.sockets += 1
            return self.sockets

    def run(self, name, live):
        """Runs `live(random)` repeatedly in a thread."""
        def run():
            dice = random.Random(f"{self.seed} {name}")
            while self.goes_on():
                try:
                    live(dice)
                except (ConnectionError, EOFError):
                    pass  # the server may close it at any time
                except BaseException:  # noqa: BLE001 reported at the end
                    self.problems.append(f"{name}: {traceback.format_exc()}")

        thread = threading.Thread(target=run, name=name)
        thread.start()
        return thread


class Client:
    def __init__(self, world, number):
        self.world, self.server, self.keys = world, world.server, world.keys
        self.address = f"127.0.0.{2 + number % 8}"

    def live(self, dice):
        way = dice.choices((self.chat, self.push, self.knock, self.ask), (10, 4, 3, 2))[0]
        way(dice)

    @contextlib.contextmanager
    def connection(self, dice):
        """A connection that ends in a random way."""
        raw = RawSocket(self.server, dice.choice((None, None, 4096)), self.address)
        try:
            yield raw
        finally:
            raw.reset() if dice.random() < 0.5 else raw.close()

    def token(self, dice, user):
        return self.keys.token(user, dice.choice((0.5, 2.0, 600.0, 600.0)), dice.randrange(2))

    def open(self, dice, raw, path, user, group):
        """Opens a socket, if the server admits it."""
        v1 = dice.random() < 0.6
        token = self.token(dice, user)
        offers = [V1] if v1 else []
        headers = []
        place = dice.randrange(3 if v1 else 2)
        if place == 0:
            headers.append(("Authorization", f"Bearer {token}"))
        elif place == 1:
            headers.append(("Cookie", f"waystation_token={token}"))
        else:
            offers.append(f"bearer.{token}")
        if offers:
            headers.append(("Sec-WebSocket-Protocol", ", ".join(offers)))
        response = raw.handshake(path, headers)
        assert response.status in ANSWERS, (response.status, response.body)
        self.world.count(f"answer {response.status}")
        if response.status != 101:
            time.sleep(dice.uniform(0, 0.1))  # a client retries after Retry-After
            return None
        assert response.headers.get("sec-websocket-protocol") == (V1 if v1 else None)
        return Socket(raw, self.world, user, group, v1)

    # ---- client behaviour

    def chat(self, dice):
        user, other = dice.sample(USERS, 2)
        group = group_of(user, other)
        with self.connection(dice) as raw:
            ws = self.open(dice, raw, f"/ws/chat/{group}/", user, group)
            if ws is None:
                return
            number, said = self.world.next_socket(), 0
            for _ in range(dice.randrange(5, 60)):
                if not ws.is_open or not self.world.goes_on():
                    break
                doing = dice.random()
                if doing < 0.6:
                    for _ in range(dice.choice((1, 1, 1, 40))):
                        message = json.dumps({"group": group, "from": user, "socket": number,
                                              "n": said, "pad": "x" * dice.choice((0, 9, 900, 9000))})
                        said += 1
                        self.say(dice, raw, f'{{"message":{message},"to_user":"{other}"}}')
                elif doing < 0.7:
                    ws.listen(dice.uniform(0, 0.2))
                elif doing < 0.75 and ws.v1:
                    raw.say(json.dumps({"signal": {"group": group, "from": user}}))
                elif doing < 0.8 and ws.v1:
                    self.refresh(dice, raw, user)
                elif doing < 0.83:
                    time.sleep(dice.uniform(0, 0.3))  # stalls; messages for it queue up
                elif doing < 0.95:
                    self.be_wrong(dice, ws)
                else:
                    self.break_protocol(dice, raw)
                ws.listen()
            self.leave(dice, ws)

    def push(self, dice):
        user = dice.choice(USERS)
        with self.connection(dice) as raw:
            ws = self.open(dice, raw, f"/push/{user}/", user, None)
            if ws is None:
                return
            for _ in range(dice.randrange(1, 20)):
                if not ws.is_open or not self.world.goes_on():
                    break
                if ws.v1 and dice.random() < 0.2:
                    self.refresh(dice, raw, user)
                ws.listen(dice.uniform(0, 0.2))
            self.leave(dice, ws)

    def knock(self, dice):
        """A refused or invalid request."""
        user = dice.choice(USERS)
        with self.connection(dice) as raw:
            way = dice.randrange(5)
            if way == 0:
                raw.send(dice.randbytes(dice.randrange(1, 2000)))
            elif way == 1:
                raw.send(f"GET /push/{user}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpg".encode())
            else:
                path = dice.choice((f"/push/{user}/", f"/ws/chat/{user}_zz/", "/ws/chat/b_a/",
                                    "/push/../push/x/", "/nowhere"))
                token = dice.choice((self.keys.token("stranger"), self.keys.token(user, -5),
                                     "x.y.z", encode(dice.randbytes(30))))
                raw.send((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          f"Authorization: Bearer {token}\r\n\r\n").encode())
                if way < 4:
                    status = raw.response().status
                    assert 400 <= status < 500 or status == 503, status

    def ask(self, dice):
        """Valid calls of the HTTP API."""
        user = dice.choice(USERS)
        headers = {"Content-Type": "application/json",
                   "Authorization": "Bearer " + self.keys.token("op", scope="push admin")}
        method, path, body = dice.choice((
            ("POST", f"/api/v1/push/{user}", json.dumps({"to": user})),
            ("GET", f"/api/v1/presence/{user}", None),
            ("GET", "/api/v1/audit?limit=10", None),
            ("GET", "/healthz", None), ("GET", "/metrics", None)))
        status, _, answer = self.server.http(method, path, body, headers)
        # The server may not have read the newest key yet. Where the disk or the relay is late, it says so.
        late = (503, 504) if path.startswith("/api/v1/") else ()
        assert status in (200, 401, *late), (path, status, answer)
        self.world.count(f"HTTP {status}")

    # ---- messages

    @staticmethod
    def say(dice, raw, text):
        data = text.encode()
        if dice.random() < 0.8:
            raw.say(data)
            return
        # In fragments, with a ping between them.
        cut = dice.randrange(len(data) + 1)
        raw.send(frame(TEXT, data[:cut], fin=False) + frame(PING, b"?") + frame(0, data[cut:]))

    def refresh(self, dice, raw, user):
        token = dice.choice((self.token(dice, user), self.token(dice, "another"), "x.y.z"))
        raw.say(json.dumps({"token": token}))

    @staticmethod
    def be_wrong(dice, ws):
        """Causes error frames; the socket stays open."""
        wrong = ["", "{", "[]", '{"message":01}', '{"message":1,"message":2}', "[" * 600,
                 '{"message":1,"to_user":"stranger"}', '{"message":1,"to_user":7}']
        if ws.v1:
            wrong += ['{"message":1,"signal":2}', '{"id":"m"}', '{"token":1}']
        ws.raw.say(dice.choice(wrong))

    @staticmethod
    def break_protocol(dice, raw):
        """Causes close codes."""
        raw.send(dice.choice((
            frame(TEXT, b"{}", mask=None), frame(BINARY, b"{}"), frame(TEXT, b"\xff\xfe"),
            frame(TEXT, b"{}", reserved=4), frame(3, b"{}"), frame(0, b"{}"),
            frame(PING, bytes(126)), frame(TEXT, b"", claimed=2 << 30),
            frame(TEXT, b" " * (2 * MAX_MESSAGE_BYTES)), frame(CLOSE, b"\x03"),
            frame(CLOSE, b"\x03\xec"), b"\xf0" + dice.randbytes(63))))

    def leave(self, dice, ws):
        if not ws.is_open:
            return
        way = dice.randrange(4)
        if way == 0:
            ws.raw.send(frame(CLOSE, b"\x03\xe8"))
            ws.listen(PATIENCE)  # up to its Close, after all frames on the way
            assert not ws.is_open, "a Close was not answered"
        elif way == 1:
            ws.raw.send(frame(TEXT, b'{"message":1}')[:dice.randrange(1, 10)])
        elif way == 2:
            ws.raw.socket.shutdown(socket.SHUT_WR)


class Operator:
    """Changes everything that can change while sockets are open."""

    def __init__(self, world, settings):
        self.world, self.settings = world, settings

    def live(self, dice):
        time.sleep(dice.uniform(0, 0.2))
        way = dice.randrange(6)
        if way < 2:
            self.world.keys.rotate()
            self.reload()
        elif way == 2:
            write_settings(self.settings, dice)
            self.reload()
        elif way == 3:
            # Errors: none of these values may take effect.
            if dice.random() < 0.5:
                self.settings.write_text("max_message_bytes = 'many'\n")
            else:
                self.world.keys.write(text="no key\n")
            self.reload()
            write_settings(self.settings, dice)
            self.world.keys.write()
            self.reload()
        else:
            headers = {"Authorization": "Bearer " + self.world.keys.token("op", scope="admin")}
            status, _, body = self.world.server.http(
                "DELETE", f"/api/v1/sessions/{dice.choice(USERS)}", None, headers)
            assert status in (200, 401, 503, 504), (status, body)
            if status == 200 and json.loads(body)["closed"]:
                self.world.count("sessions ended")

    def reload(self):
        self.world.server.signal(signal.SIGHUP)
        self.world.count("reload")


def write_settings(file, dice):
    settings = {"max_message_bytes": dice.choice((10000, MAX_MESSAGE_BYTES)),
                "max_queue_bytes": dice.choice((32768, 262144)),
                "max_total_queue_bytes": dice.choice((262144, 67108864)),
                "messages_per_second": dice.choice((0, 5, 1000)),
                "message_burst": dice.choice((1, 50, 1000)),
                "max_connections": dice.choice((40, 10000, 10000, 10000)),
                "max_connections_per_user": dice.choice((0, 6, 16)),
                "max_connections_per_address": dice.choice((0, 6, 64)),
                "ping_interval_seconds": dice.choice((1, 2, 25)),
                "busy_poll_microseconds": dice.choice((0, 50)),
                "jwt_issuer": "",
                "audit_max_bytes": dice.choice((1048576, 67108864)),
                "log_format": dice.choice(("text", "json")),
                "log_level": dice.choice(("info", "debug"))}
    new = file.with_suffix(".new")
    new.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    new.replace(file)


class Chaos(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="waystation-chaos-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def wait_for(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"it never came about that {what}")
            time.sleep(0.05)

    def descriptors(self, server):
        """Descriptors without those of the audit's readers: SQLite keeps a reader's descriptor
        while the writer has the file open. Closing it would release the writer's lock
        (fcntl(2))."""
        count = 0
        for number in os.listdir(f"/proc/{server.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                target = os.readlink(f"/proc/{server.pid}/fd/{number}")
                count += not target.startswith(str(self.folder))
        return count

    def health(self, server):
        status, _, body = server.http("GET", "/healthz")
        self.assertEqual(status, 200)
        return json.loads(body)

    def test_no_message_reaches_another_user_and_nothing_leaks(self):
        seed = os.environ.get("WAYSTATION_CHAOS_SEED") or str(random.SystemRandom().getrandbits(32))
        print(f"WAYSTATION_CHAOS_SEED={seed}", flush=True)
        keys = Keys(self.folder)
        settings = self.folder / "waystation.toml"
        write_settings(settings, random.Random(f"{seed} settings"))
        with Server("--auth", "jwt", "--jwt-key-file", str(keys.file), "--config", str(settings),
                    "--audit-file", str(self.folder / "audit.db")) as server:
            # Two descriptors more are kept: one in place of adopted sockets, and the process's list of
            # descriptors. The thread that verifies tokens starts with the first token.
            descriptors, threads = self.descriptors(server) + 2, server.threads() + 1
            world = World(server, keys, seed)
            running = [world.run(f"client {n}", Client(world, n).live) for n in range(CLIENTS)]
            running.append(world.run("operator", Operator(world, settings).live))
            for thread in running:
                thread.join()
            print(json.dumps(dict(sorted(world.counts.items()))), flush=True)
            self.assertEqual(world.problems[:1], [])
            for what in ("message", "event", "reload", "sessions ended", "answer 101",
                         "answer 401", "close 4401", "close 4403", "HTTP 200"):
                self.assertGreater(world.counts[what], 0, what)

            self.wait_for(lambda: not any(self.health(server)[name] for name in
                                          ("chat_sockets", "push_sockets", "groups",
                                           "queued_bytes")), "all have gone")
            self.wait_for(lambda: self.descriptors(server) <= descriptors,
                          "descriptors are closed")
            self.assertLessEqual(server.threads(), threads)
            self.assert_still_well(server, keys, settings)
            self.assertNotIn("pad", server.errors(), "a message is in the log")

    def assert_still_well(self, server, keys, settings):
        settings.write_text("max_connections_per_user = 16\n")
        server.signal(signal.SIGHUP)
        operator = {"Authorization": "Bearer " + keys.token("op", scope="push")}
        self.wait_for(lambda: server.http("GET", "/api/v1/presence/u0", None, operator)[0] == 200,
                      "the newest key counts")
        sockets = []
        for user in ("left", "right"):
            raw = RawSocket(server)
            self.addCleanup(raw.close)
            response = raw.handshake("/ws/chat/left_right/",
                                     [("Authorization", "Bearer " + keys.token(user))])
            self.assertEqual(response.status, 101)
            sockets.append(raw)
        sockets[0].say('{"message":"well"}')
        for raw in sockets:
            self.assertEqual(raw.read_message(), '{"message":"well"}')


if __name__ == "__main__":
    unittest.main()
