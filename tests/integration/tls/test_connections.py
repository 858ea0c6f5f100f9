"""Many connections, connections that end at any moment, and clients that keep the relay busy."""

import asyncio
import contextlib
import json
import random
import socket
import ssl
import threading
import unittest

from support import LONG, VERSIONS, OpenSSLClient, RawSocket, TlsSocket, plain_socket, raw, reset
from harness import (KEPT_DESCRIPTORS, PATIENCE, PING, PONG, TEXT, Case, client_tls, connect, frame, receive,
                     round_trip, scaled, until)
from tls_socket import Session

OPTIONS = ("--messages-per-second", "0", "--max-connections-per-address", "0",
           "--max-connections-per-user", "0", "--max-queue-bytes", "1000000")

# Errors that a client sees whose server, or who itself, ended the connection.
ENDED = (OSError, EOFError)


def in_threads(count, work):
    """Calls work(0), work(1) and so on, each in a thread; raises the first error."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # noqa: B902 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Connections(Case):
    OPTIONS = OPTIONS

    def health(self):
        status, _, body = self.server.http("GET", "/healthz")
        self.assertEqual(status, 200)
        return json.loads(body)

    async def expect_nobody(self):
        await until(lambda: self.health()["chat_sockets"] + self.health()["push_sockets"] == 0,
                    "all connections are gone")

    async def test_500_clients_at_once(self):
        count = scaled(500, 100)

        async def converse(number):
            group, user, other = f"a{number}_b{number}", f"a{number}", f"b{number}"
            async with connect(self.server, f"/ws/chat/{group}/", user) as first, \
                    connect(self.server, f"/ws/chat/{group}/", other) as second:
                for turn in range(5):
                    text = f'{{"message":"{group} {turn}"}}'
                    await first.send(text)
                    for ws in (first, second):
                        self.assertEqual(await receive(ws), text)
                ready.append(number)
                # All are open at the same time.
                await until(lambda: len(ready) == count // 2, "all are open", 3 * PATIENCE)

        ready = []
        descriptors = self.server.descriptors()
        await asyncio.gather(*(converse(number) for number in range(count // 2)))
        await self.expect_nobody()
        await until(lambda: self.server.descriptors() <= descriptors + KEPT_DESCRIPTORS,
                    "descriptors are closed")

    async def test_ends_at_every_moment(self):
        """Connections that are reset or closed after any number of bytes of the handshake, the
        request and the conversation. Others converse meanwhile, and nothing is left over."""
        rounds = scaled(1500, 200) * (4 if LONG else 1)
        descriptors = self.server.descriptors()
        going_on = True
        talked = []

        async def converse():
            async with connect(self.server, "/ws/chat/alice_bob/", "alice") as alice, \
                    connect(self.server, "/ws/chat/alice_bob/", "bob") as bob:
                turn = 0
                while going_on:
                    await alice.send(f'{{"message":{turn}}}')
                    for ws in (alice, bob):
                        self.assertEqual(await receive(ws), f'{{"message":{turn}}}')
                    turn += 1
                talked.append(turn)

        def leave(thread):
            choose = random.Random(thread)
            for number in range(rounds // 4):
                self.leave_somewhere(choose, f"t{thread}", number)

        talking = asyncio.create_task(converse())
        await asyncio.to_thread(in_threads, 4, leave)
        going_on = False
        await talking
        self.assertGreater(talked[0], 0)
        await self.expect_nobody()
        await until(lambda: self.server.descriptors() <= descriptors + KEPT_DESCRIPTORS,
                    "descriptors are closed")

    def leave_somewhere(self, choose, user, number):
        """One connection of test_ends_at_every_moment: the bytes of a whole visit, cut somewhere."""
        version = choose.choice(VERSIONS)
        plain = plain_socket(self.server)
        try:
            left = choose.choice((choose.randrange(1, 700), choose.randrange(300, 1500), 10_000))
            link = Limited(plain, left)
            try:
                tls = TlsSocket(link, OpenSSLClient(version))
                client = RawSocket.__new__(RawSocket)
                client.server, client.socket, client._pending = self.server, tls, b""
                path = choose.choice((f"/push/{user}/", f"/ws/chat/{user}_zz/?user={user}"))
                client.handshake(path)
                for turn in range(choose.randrange(6)):
                    what = choose.randrange(4)
                    if what == 0:
                        client.round_trip()
                    elif what == 1:
                        client.send(frame(TEXT, b'{"message":"%d"}' % number))
                    elif what == 2 and version == ssl.TLSVersion.TLSv1_3:
                        tls.session.key_update(choose.random() < 0.5)
                        tls.flush()
                    else:
                        client.send(frame(TEXT, b'{"message":"' + b"z" * 5000 + b'"}'))
                if choose.random() < 0.3:
                    client.send(frame(8, b"\x03\xe8"))
                    client.read_to_end()
                elif choose.random() < 0.3:
                    tls.session.close_notify()
                    tls.flush()
            except Limited.Reached:
                pass
        finally:
            if choose.random() < 0.6:
                reset(plain)
            else:
                plain.close()

    async def test_never_another_connections_object(self):
        """Clients that use the same few ports again and again, while the relay still has the
        connection before. Each gets its own messages, or none: a mixed-up TLS object decrypts
        nothing."""
        ports = []
        for _ in range(8):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        count = scaled(250, 40) * (8 if LONG else 1)
        served = []

        def visit(thread):
            choose = random.Random(thread)
            for number in range(count):
                user = f"p{thread}n{number}"
                with contextlib.ExitStack() as stack:
                    try:
                        plain = plain_socket(self.server, ports[thread])
                    except OSError:
                        continue  # the port is not free yet
                    stack.callback(reset, plain)
                    client = RawSocket.__new__(RawSocket)
                    client.server, client._pending = self.server, b""
                    client.socket = TlsSocket(plain, OpenSSLClient(choose.choice(VERSIONS)))
                    client.handshake(f"/push/{user}/")
                    client.send(frame(PING, user.encode()))
                    self.assertEqual(client.read_frame(), (PONG, user.encode()))
                    served.append(user)

        await asyncio.to_thread(in_threads, 8, visit)
        self.assertGreater(len(served), 4 * count, "most connections were served")
        await self.expect_nobody()

    async def test_a_stalled_receiver(self):
        """It is closed when its queue is full; its sender and all others go on."""
        with RawSocket(self.server, receive_buffer=4096) as bob:
            bob.open("/ws/chat/alice_bob/", "bob")
            async with connect(self.server, "/ws/chat/alice_bob/", "alice") as alice, \
                    connect(self.server, "/ws/chat/carol_dave/", "carol") as carol:
                async def hear():
                    async for _ in alice:
                        pass

                hearing = asyncio.create_task(hear())
                text = json.dumps({"message": "x" * 30_000}, separators=(",", ":"))
                for _ in range(1000):
                    await alice.send(text)
                    for ws in (alice, carol):
                        await round_trip(ws)
                    if self.health()["closed_slow"] > 0:
                        break
                self.assertEqual(self.health()["closed_slow"], 1)
                hearing.cancel()

    async def flood(self, send, version=ssl.TLSVersion.TLSv1_3):
        """While some clients send as fast as they can, another has its round trips."""
        stop = threading.Event()

        def run(number):
            with raw(self.server, version) as client:
                client.open(f"/push/flood{number}/")
                client.socket.plain.settimeout(PATIENCE)
                data = send(client)
                with contextlib.suppress(*ENDED):
                    while not stop.is_set():
                        client.socket.plain.sendall(data() if callable(data) else data)

        flooding = asyncio.create_task(asyncio.to_thread(in_threads, 3, run))
        try:
            async with connect(self.server, "/push/alice/") as alice:
                for _ in range(100):
                    await round_trip(alice)
        finally:
            stop.set()
            await flooding

    def test_a_flood_of_key_updates(self):
        """Each makes the server derive keys, and none is a byte of the client's. While the relay works
        on those of one client, it serves others again and again."""
        updates = scaled(60_000, 20_000)
        # Some 900 for 60,000. If the relay works on all that has arrived, some 20. The test's own
        # threads get fewer turns on a busy machine, but seldom three times in a row.
        served = 0
        for _ in range(3):
            served = max(served, self.served_beside_key_updates(updates))
            if served > updates / 1000:
                return
        self.fail(f"{served} round trips beside {updates} key updates")

    def served_beside_key_updates(self, updates):
        """The number of another client's round trips while the relay works on the updates of one."""
        stop, served = threading.Event(), []
        with raw(self.server) as flooder, raw(self.server) as other:
            flooder.open("/push/flooder/")
            other.open("/push/other/")
            for _ in range(updates):
                flooder.socket.session.key_update(False)
            flooder.socket.session.write(frame(PING, b"the last"))
            flood = flooder.socket.session.take()

            def converse():
                while not stop.is_set():
                    other.round_trip()
                    served.append(1)

            conversing = threading.Thread(target=converse)
            conversing.start()
            flooding = threading.Thread(target=flooder.socket.plain.sendall, args=(flood,))
            served.clear()
            flooding.start()
            while flooder.read_frame() != (PONG, b"the last"):
                pass  # the relay's own ping
            stop.set()
            count = len(served)
            for thread in (flooding, conversing):
                thread.join()
        return count

    async def test_a_flood_of_empty_records(self):
        """TLS 1.2 records without content, where OpenSSL lets a client make them; pings of one byte
        each in its own record."""
        def pings(client):
            def more():
                for _ in range(200):
                    client.socket.session.write(frame(10, b"x"))
                return client.socket.session.take()
            return more

        for version in VERSIONS:
            await self.flood(pings, version)

    async def test_a_flood_of_messages_that_are_pending(self):
        """Full records of the smallest frames: the rest of each waits decrypted."""
        def frames(client):
            def more():
                client.socket.session.write(frame(10) * 2000)
                return client.socket.session.take()
            return more

        await self.flood(frames)

    async def test_drain_with_many(self):
        """In test_host.py: drain. Here: an end from the application, with close_notify."""
        sockets = [RawSocket(self.server, tls=Session(client_tls(version))) for version in VERSIONS]
        for link in sockets:
            link.open("/push/ended/")
        status, _, body = self.server.http("DELETE", "/api/v1/sessions/ended")
        self.assertEqual((status, json.loads(body)["closed"]), (200, 2))
        for link in sockets:
            self.assertEqual(await asyncio.to_thread(link.read_close), 4403)
            link.send(frame(8, b"\x11\x33"))
            self.assertEqual(await asyncio.to_thread(link.read_to_end), b"")
            link.close()


class Limited:
    """A TCP connection that takes `left` bytes and then no more."""

    class Reached(Exception):
        pass

    def __init__(self, plain, left):
        self.plain, self.left = plain, left

    def sendall(self, data):
        with contextlib.suppress(*ENDED):
            self.plain.sendall(data[:self.left])
        self.left -= len(data)
        if self.left <= 0:
            raise self.Reached

    def recv(self, size):
        try:
            data = self.plain.recv(size)
        except ENDED:
            data = b""
        if not data:
            raise self.Reached
        return data


if __name__ == "__main__":
    unittest.main()
