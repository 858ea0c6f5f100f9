"""Connections that other web servers hand over: the example in embed/examples, and askers that hang,
lie or flood. module/HANDOVER.md describes the messages."""

import array
import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import socket
import stat
import struct
import sys
import tempfile
import unittest

import websockets

from support import PATIENCE, Program, Server, figures, handshake, raw, request, run, until

GIVE = struct.pack("!BBH", 1, 2, 0)
V1 = ["waystation.v1"]


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def running(*options):
    """A server with a door, and the door's path."""
    with folder() as path:
        door = path + "/door"
        with Server("--www", "", "--handover", door, *options) as server:
            yield server, door


@contextlib.contextmanager
def example(door):
    program = Program(sys.executable, os.environ["WAYSTATION_HANDOVER_EXAMPLE"], door)
    try:
        yield program
    finally:
        program.abandon()


def port_of(program):
    return int(program.line().rstrip("/").rsplit(":", 1)[1])


def ask_message(target="/push/bob/", key=b"", user=b"", scopes=b"", address=b"127.0.0.1", version=1,
                fields=None):
    if fields is None:
        fields = [tuple(line.encode().split(b": ")) for line in handshake("/").split("\r\n")[1:-2]]
    texts = [key, address, b"GET", target.encode(), user, scopes]
    message = struct.pack("!BBHBBHHHHHHHHH", version, 1, 2 if user else 0, 1, 1, 50000, 80,
                          *map(len, texts), len(fields)) + b"".join(texts)
    for name, value in fields:
        message += struct.pack("!HH", len(name), len(value)) + name + value
    return message


def here_message(early=b"", flags=0):
    return struct.pack("!BBHI", 1, 4, flags, len(early)) + early


class Asker:
    """A connection to a door."""

    def __init__(self, door):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(door)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, **request_of):
        """The answer to an ASK."""
        self.socket.sendall(ask_message(**request_of))
        return self.socket.recv(16384)

    def here(self, *descriptors, message=None):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.socket.sendmsg([here_message() if message is None else message],
                            rights if descriptors else [])

    def is_ended(self):
        """Waits for the end."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def refusal(answer):
    """Status and code of a REFUSE."""
    version, kind, status, code = struct.unpack_from("!BBHH", answer)
    assert (version, kind) == (1, 3), answer
    return status, answer[12:12 + code].decode()


def results(server):
    return {name.split('"')[1]: int(float(value)) for name, value in figures(server.port).items()
            if name.startswith("waystation_handovers_total{")}


class Conversation(unittest.IsolatedAsyncioTestCase):
    async def speak(self, alice, bob, text):
        await alice.send(json.dumps({"message": text, "id": "m1"}))
        ack = json.loads(await asyncio.wait_for(alice.recv(), PATIENCE))
        self.assertEqual(ack["ack"]["route"], "push")
        event = json.loads(await asyncio.wait_for(bob.recv(), PATIENCE))
        self.assertEqual(event["event"]["message"], text)


class Example(Conversation):
    async def test_a_server_of_its_own_hands_over_and_may_end(self):
        with running() as (server, door), example(door) as web:
            port = await asyncio.to_thread(port_of, web)
            self.assertIn(b"/ws/chat/", request(port, "GET", "/").body)
            url = f"ws://127.0.0.1:{port}"
            async with websockets.connect(url + "/push/bob/", subprotocols=V1) as bob, \
                    websockets.connect(url + "/ws/chat/alice_bob/?user=alice",
                                       subprotocols=V1) as alice:
                self.assertIn("presence", await asyncio.wait_for(alice.recv(), PATIENCE))
                await self.speak(alice, bob, "hello")

                # The relay's refusals are the responses of that server.
                answer = await asyncio.to_thread(request, port, "GET", "/ws/chat/bob_alice/")
                self.assertEqual((answer.status, answer.code), (400, "bad_group"))
                answer = await asyncio.to_thread(request, port, "GET", "/push/bob/")
                self.assertEqual((answer.status, answer.code), (426, "upgrade_required"))
                self.assertEqual(answer.headers["Upgrade"], "websocket")
                self.assertEqual(answer.headers["Cache-Control"], "no-store")

                # The connections are the relay's alone.
                web.abandon()
                await self.speak(alice, bob, "are you there?")
                self.assertEqual(results(server),
                                 {"handed": 2, "pumped": 0, "refused": 2, "unavailable": 0})

    async def test_the_bytes_after_the_request_arrive_once(self):
        with running() as (server, door), example(door) as web:
            port = await asyncio.to_thread(port_of, web)
            payload = b'{"message":"early","to_user":"bob"}'
            frame = bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
            async with websockets.connect(server.url("/push/bob/"), subprotocols=V1) as bob:
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as alice:
                    alice.sendall(handshake("/ws/chat/alice_bob/?user=alice").encode() + frame +
                                  frame.replace(b"early", b"later"))
                    for text in ("early", "later"):
                        event = json.loads(await asyncio.wait_for(bob.recv(), PATIENCE))
                        self.assertEqual(event["event"]["message"], text)

    def test_without_a_relay_the_server_answers_503(self):
        with folder() as path, example(path + "/none") as web:
            port = port_of(web)
            answer = request(port, "GET", "/push/bob/")
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.headers["Retry-After"], "5")


class Hostile(Conversation):
    def test_askers_that_hang_lie_or_give_wrong_descriptors_are_ended(self):
        with running() as (server, door), contextlib.ExitStack() as stack:
            before = server.descriptors()

            def asker():
                return stack.enter_context(Asker(door))

            def given():
                new = asker()
                self.assertEqual(new.ask(), GIVE)
                return new

            client, other = socket.socketpair()
            stack.enter_context(client)
            reading, writing = os.pipe()
            hanging = [asker(), given()]
            for message in (b"?", ask_message()[:-1], ask_message() + b"x", ask_message(version=2),
                            here_message(), struct.pack("!H", 0x0101) + b"\xff" * 100):
                liar = asker()
                liar.socket.sendall(message)
                self.assertEqual(refusal(liar.socket.recv(16384)), (502, "bad_handover"))
                self.assertTrue(liar.is_ended())
            with_many = asker()
            self.assertEqual(refusal(with_many.ask(fields=[(b"a", b"")] * 257)),
                             (431, "too_many_fields"))
            wrong = [given() for _ in range(6)]
            wrong[0].here()
            wrong[1].here(other.fileno(), other.fileno())
            wrong[2].here(*[other.fileno()] * 20)
            wrong[3].here(other.fileno(), message=here_message() + b"x")
            wrong[4].here(writing)
            wrong[5].here(hanging[0].socket.fileno())
            for liar in wrong + hanging:
                self.assertTrue(liar.is_ended())
            with self.assertRaises(BrokenPipeError):
                hanging[1].here(other.fileno())
            other.close()
            os.close(writing)
            client.settimeout(PATIENCE)
            self.assertEqual(client.recv(1), b"", "the relay closed every copy")
            self.assertEqual(os.read(reading, 1), b"")
            os.close(reading)
            until(lambda: server.descriptors() <= before, "the relay has its descriptors again")
            self.assertEqual(results(server),
                             {"handed": 0, "pumped": 0, "refused": 7, "unavailable": 8})
            log = server.await_log("warning handover")
            self.assertEqual(log.count("warning handover"), 1, log)

    async def test_a_flood_of_askers_costs_nobody_else_anything(self):
        with running() as (server, door), contextlib.ExitStack() as stack:
            bob = await websockets.connect(server.url("/push/bob/"), subprotocols=V1)
            alice = await websockets.connect(server.url("/ws/chat/alice_bob/?user=alice"),
                                             subprotocols=V1)
            await alice.recv()
            await self.speak(alice, bob, "hello")
            # CivetWeb may still have to close its descriptors of these two.
            before = server.descriptors()
            for number in range(600):
                flooding = stack.enter_context(Asker(door))
                if number % 2:
                    flooding.socket.sendall(ask_message())
                if number % 10 == 0:
                    await self.speak(alice, bob, "hello")
            # Those that are served have their limit; the others wait outside the process.
            self.assertLess(server.descriptors() - before, 300)
            self.assertEqual(request(server.port, "GET", "/healthz").status, 200)
            stack.close()
            await self.speak(alice, bob, "still here")
            with Asker(door) as last:
                self.assertEqual(last.ask(), GIVE)
            await asyncio.to_thread(
                until, lambda: server.descriptors() <= before, "all of them are gone")
            await bob.close()
            await alice.close()

    def test_a_place_is_free_again_when_its_asker_hangs(self):
        with running("--max-connections", "1") as (server, door), Asker(door) as hanging:
            self.assertEqual(hanging.ask(), GIVE)
            with Asker(door) as second:
                self.assertEqual(refusal(second.ask()), (503, "full"))
            self.assertTrue(hanging.is_ended())
            with Asker(door) as third:
                self.assertEqual(third.ask(), GIVE)


class Door(unittest.TestCase):
    def test_its_file_is_for_the_group_and_ends_with_the_server(self):
        with folder() as path:
            door = path + "/door"
            server = Server("--www", "", "--handover", "unix:" + door)
            try:
                mode = os.lstat(door).st_mode
                self.assertEqual((stat.S_ISSOCK(mode), stat.S_IMODE(mode)), (True, 0o660))
                second = run("serve", "--listen", "127.0.0.1:0", "--handover", door)
                self.assertEqual(second.returncode, 2, second.stderr)
                self.assertIn("another process listens there", second.stderr)
            finally:
                server.abandon()  # killed: its file stays
            self.assertTrue(os.path.exists(door))
            with Server("--www", "", "--handover", door):
                with Asker(door) as asker:
                    self.assertEqual(asker.ask(), GIVE)
            self.assertFalse(os.path.exists(door))

    def test_a_socket_of_systemd_stays_open_over_a_restart(self):
        with folder() as path, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            door = path + "/door"
            listener.bind(door)
            listener.listen()
            # As systemd starts a service: the socket is descriptor 3.
            start = ("import os, sys; os.dup2(int(sys.argv[1]), 3); "
                     "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', "
                     "LISTEN_FDNAMES='handover'); os.execv(sys.argv[2], sys.argv[2:])")

            def server():
                program = Program(
                    "/bin/sh", "-c",
                    f'exec "$0" -c "$1" {listener.fileno()} "$2" serve --listen 127.0.0.1:0 '
                    '--www "" --handover fd:handover', sys.executable, start,
                    os.environ["WAYSTATION_BIN"], pass_fds=[listener.fileno()])
                program.line()
                return program

            with server(), Asker(door) as asker:
                self.assertEqual(asker.ask(), GIVE)
            with Asker(door) as waiting:
                waiting.socket.sendall(ask_message())
                with server():
                    self.assertEqual(waiting.socket.recv(16384), GIVE)
            self.assertTrue(os.path.exists(door))

    def test_askers_need_the_key_of_the_key_file(self):
        with folder() as path:
            key = pathlib.Path(path, "key")
            key.write_bytes(b"0123456789abcdef\n")
            key.chmod(0o600)
            with running("--handover-key-file", str(key)) as (server, door):
                for wrong in (b"", b"0123456789abcdeF", b"0123456789abcdef\n"):
                    with Asker(door) as asker:
                        self.assertEqual(refusal(asker.ask(key=wrong)), (502, "bad_handover"))
                with Asker(door) as asker:
                    self.assertEqual(asker.ask(key=b"0123456789abcdef"), GIVE)
                self.assertNotIn("0123456789", server.await_log("handover_key_file"))

    def test_header_mode_takes_the_askers_user_and_no_field(self):
        with running("--auth", "header", "--trusted-proxies", "127.0.0.1") as (server, door):
            forged = [(b"X-Forwarded-User", b"mallory"), (b"X-Forwarded-For", b"127.0.0.1")]
            fields = [tuple(line.encode().split(b": "))
                      for line in handshake("/").split("\r\n")[1:-2]] + forged
            with Asker(door) as asker:
                self.assertEqual(asker.ask(user=b"bob", fields=fields), GIVE)
            with Asker(door) as asker:
                self.assertEqual(refusal(asker.ask(fields=fields)), (401, "unauthenticated"))
            with Asker(door) as asker:
                self.assertEqual(refusal(asker.ask(target="/push/mallory/", fields=fields)),
                                 (401, "unauthenticated"))
            # The same fields count for a request that a trusted proxy sends over TCP.
            answer = raw(server.port, handshake(
                "/push/mallory/", "Sec-WebSocket-Version: 13", "X-Forwarded-User: mallory",
                "X-Forwarded-For: 192.0.2.7", "Sec-WebSocket-Key: short"))
            self.assertIn(b"bad_handshake", answer)


if __name__ == "__main__":
    unittest.main()
