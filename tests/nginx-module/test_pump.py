"""Connections whose TLS ends in nginx: the relay gets one end of a socket pair, nginx copies bytes."""
import contextlib
import fcntl
import hashlib
import hmac
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import termios
import threading
import unittest

from door import PUMPED
from support import (LONG, PATIENCE, Client, ModuleCase, OpenSSLClient, certificate, descriptors,
                     resident_kib, wait_until)

LARGE = 200_000_000 if LONG else 20_000_000


class PumpCase(ModuleCase):
    tls = ""

    def start_nginx(self):
        self.context = certificate(self.folder)
        super().start_nginx()

    def configuration(self):
        return super().configuration().replace("server {", f"""
            ssl_certificate {self.folder}/cert.pem;
            ssl_certificate_key {self.folder}/key.pem;
            {self.tls}
            server {{ listen 127.0.0.1:{self.tls_port} ssl {self.listen};""", 1)

    def client(self, **options):
        client = self.tls_client(**options)
        self.addCleanup(client.close)
        return client

    def tls_client(self, **options):
        return Client(self.tls_port, context=self.context, **options)

    def only_pump(self):
        """The relay's end of the only pump."""
        flags, _, relay = self.door.heres[-1]
        self.assertEqual(flags, PUMPED)
        return relay

    server = "location = /status { stub_status; }"

    def settled(self):
        """The number of the worker's descriptors while nobody but the observer is connected."""
        (worker,) = self.nginx.workers()
        if self.observer is None:
            self.observer = self.client()
        wait_until("the end of all other connections",
                   lambda: b"Active connections: 1 " in self.observer.request("/status")[2])
        return descriptors(worker)

    observer = None


def data_segments(connection):
    """How many segments with data a TCP connection has received: tcpi_data_segs_in."""
    return struct.unpack_from("=I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156), 152)[0]


def queued(connection):
    """Memory of a unix socket that the other side has not read yet: SIOCOUTQ."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


class PlainCase(PumpCase):
    """Pumps without TLS: waystation_handover off."""

    location = "waystation_handover off;"

    def tls_client(self, **options):
        return Client(self.port, **options)


def fill(relay):
    """Sends to a client that does not read until nginx takes no more. Returns the number of bytes."""
    sent = stalled = 0
    chunk = b"x" * (1 << 16)

    def is_full():
        nonlocal sent, stalled
        try:
            sent += relay.send(chunk, socket.MSG_DONTWAIT)
            stalled = 0
        except BlockingIOError:
            stalled += 1
        return stalled > 20  # nginx has taken nothing for a while

    wait_until("a full path", is_full)
    return sent


def both_ways(client, size):
    """Sends `size` bytes to an echo while they are read again, on one thread: two must not use the
    state of one TLS connection."""
    data = os.urandom(1 << 16)
    sent = received = 0
    client.socket.setblocking(False)
    poll = select.poll()
    poll.register(client.socket, select.POLLIN | select.POLLOUT)
    waits = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    while received < size:
        poll.poll(PATIENCE * 1000)
        with contextlib.suppress(*waits):
            at = sent % len(data)
            sent += client.socket.send(data[at:at + size - sent])
        with contextlib.suppress(*waits):
            while got := client.socket.recv(1 << 16):
                at = received % len(data)
                assert got == (data + data)[at:at + len(got)], received
                received += len(got)
    assert received == size


def times(x, y):
    """The product of two blocks of GCM (NIST SP 800-38D, section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def sealed(secret, number, content):
    """Record `number` of a TLS 1.3 client with TLS_AES_256_GCM_SHA384 (RFC 8446, sections 5.2, 5.3 and
    7.3). `content` ends with its type and has at most 16 bytes."""
    def derived(label, size):
        info = struct.pack("!HB", size, 6 + len(label)) + b"tls13 " + label + b"\0\1"
        return hmac.new(secret, info, hashlib.sha384).digest()[:size]

    nonce = bytes(a ^ b for a, b in zip(derived(b"iv", 12), struct.pack("!4xQ", number)))
    blocks = subprocess.run(["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", derived(b"key", 32).hex()],
                            input=bytes(16) + nonce + b"\0\0\0\1" + nonce + b"\0\0\0\2", check=True,
                            capture_output=True).stdout
    header = struct.pack("!BHH", 23, 0x0303, len(content) + 16)
    encrypted = bytes(a ^ b for a, b in zip(content, blocks[32:]))
    tag = 0
    for block in (header, encrypted, struct.pack("!QQ", 8 * len(header), 8 * len(encrypted))):
        tag = times(tag ^ int.from_bytes(block.ljust(16, b"\0"), "big"), int.from_bytes(blocks[:16], "big"))
    tag ^= int.from_bytes(blocks[16:32], "big")
    return header + encrypted + tag.to_bytes(16, "big")


class Tls13(PumpCase):
    tls = "ssl_protocols TLSv1.3;"

    def test_echo(self):
        client = self.open(early=b"early")
        self.assertEqual(client.read(5), b"early")
        client.echo(b"")
        client.echo(b"x")
        client.echo(os.urandom(200_000))
        self.assertTrue(self.door.asks[0].is_tls)
        self.assertEqual(self.door.heres[0][:2], (PUMPED, b"early"))
        self.assertEqual(self.logged(), ["101 [pumped] [-] /push/alice/"])

    def test_large_in_both_directions_at_once(self):
        both_ways(self.open(), LARGE)

    def test_bytes_behind_the_request(self):
        data = os.urandom(200_000)
        client = self.client()
        client.upgrade("/push/alice/", early=data)
        client.opened()
        self.assertEqual(client.read(len(data)), data)

    def test_bytes_that_arrive_while_the_relay_decides(self):
        client = self.client().upgrade("/push/alice/?door=slow")
        wait_until("the ask", lambda: len(self.door.asks) == 1)
        client.send(b"meanwhile" * 1000)
        self.client().request("/")
        self.door.released.set()
        client.opened()
        self.assertEqual(client.read(9000), b"meanwhile" * 1000)

    def test_the_client_ends(self):
        before = self.settled()
        client = self.open()
        client.echo(b"last words")
        relay = self.only_pump()
        client.socket.unwrap()  # sends close_notify, and waits for that of the other side
        wait_until("the relay's echo to see the end", lambda: relay.fileno() == -1)
        client.close()
        self.assertEqual(self.settled(), before)

    def test_the_client_ends_only_its_writing(self):
        client = self.open()
        data = os.urandom(300_000)
        client.send(data)
        with socket.socket(fileno=os.dup(client.socket.fileno())) as below_tls:
            below_tls.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_to_end(), data)

    def test_the_client_ends_only_its_writing_and_the_relay_goes_on(self):
        client = self.open("/push/alice/?door=deaf")
        with socket.socket(fileno=os.dup(client.socket.fileno())) as below_tls:
            below_tls.shutdown(socket.SHUT_WR)
        relay = self.only_pump()
        self.assertEqual(relay.recv(1), b"")
        self.expect_sleep()
        words = os.urandom(300_000)
        relay.sendall(words)
        self.assertEqual(client.read(len(words)), words)

    def test_the_client_resets(self):
        before = self.settled()
        self.open().reset()
        self.assertEqual(self.settled(), before)

    def test_the_relay_ends_its_side_first(self):
        client = self.open()
        relay = self.only_pump()
        relay.sendall(b"last words")
        relay.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_to_end(), b"last words")
        # The other direction is still open, until the client ends it.
        self.expect_sleep()
        client.send(b"answer")
        client.close()
        wait_until("the relay's echo to see the end", lambda: relay.fileno() == -1)

    @contextlib.contextmanager
    def in_the_middle_of_a_key_update(self):
        """A client whose last message lacks its last byte: yields the client, its TCP connection, and a
        record with that byte."""
        self.context.keylog_filename = str(self.folder / "keys")
        client = self.open()
        self.assertEqual(client.socket.cipher()[0], "TLS_AES_256_GCM_SHA384")
        secret = next(line.split()[2] for line in (self.folder / "keys").read_text().splitlines()
                      if line.startswith("CLIENT_TRAFFIC_SECRET_0 "))
        with socket.socket(fileno=os.dup(client.socket.fileno())) as below_tls:
            below_tls.settimeout(PATIENCE)
            # A handshake message (22). Record 0 was the request.
            below_tls.sendall(sealed(bytes.fromhex(secret), 1, b"\x18\0\0\1" + b"\x16"))
            self.assertEqual(self.client().request("/")[0], 200)  # nginx has read it
            yield client, below_tls, sealed(bytes.fromhex(secret), 2, b"\0" + b"\x16")

    def test_bytes_come_in_the_middle_of_a_key_update(self):
        words = os.urandom(300_000)
        with self.in_the_middle_of_a_key_update() as (client, below_tls, last_byte):
            self.only_pump().sendall(words[:1000])
            self.assertEqual(self.client().request("/")[0], 200)  # nginx has read them
            self.expect_sleep()
            below_tls.sendall(last_byte)
            self.only_pump().sendall(words[1000:])
            self.assertEqual(client.read(len(words)), words)

    def test_the_end_comes_in_the_middle_of_a_key_update(self):
        with self.in_the_middle_of_a_key_update() as (_, below_tls, _):
            self.only_pump().shutdown(socket.SHUT_WR)
            while below_tls.recv(1 << 16):
                pass
        # OpenSSL's queue of errors is empty; otherwise nginx writes an alert for this client.
        self.assertEqual(self.client().request("/")[0], 200)

    def test_the_relay_closes(self):
        before = self.settled()
        client = self.open()
        client.echo(b"before")
        relay = self.only_pump()
        relay.sendall(b"last words")
        relay.shutdown(socket.SHUT_RDWR)
        self.assertEqual(client.read_to_end(), b"last words")
        self.assertEqual(self.settled(), before)

    def test_last_words_arrive_although_the_client_still_sends(self):
        (worker,) = self.nginx.workers()
        client = self.open("/push/alice/?door=deaf")
        client.send(b"unread")
        relay = self.only_pump()
        words = os.urandom(100_000)
        # The worker sees all of this at once, and the client's bytes first.
        os.kill(int(worker), signal.SIGSTOP)
        client.send(b"nobody reads this")
        relay.sendall(words)
        relay.shutdown(socket.SHUT_RDWR)
        os.kill(int(worker), signal.SIGCONT)
        self.assertEqual(client.read_to_end(), words)

    def test_last_words_arrive_although_the_client_reads_late(self):
        before = self.settled()
        client = self.open("/push/alice/?door=deaf")
        relay = self.only_pump()
        sent = fill(relay)
        relay.close()
        self.assertEqual(len(client.read_to_end()), sent)
        self.assertEqual(self.settled(), before)

    def test_a_relay_that_leaves_bytes_unread_is_no_regular_end(self):
        client = self.open("/push/alice/?door=deaf")
        client.send(b"unread")
        relay = self.only_pump()
        wait_until("the bytes", lambda: relay.recv(6, socket.MSG_PEEK) == b"unread")
        relay.close()
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            client.read(1)

    def test_a_slow_reader_bounds_memory(self):
        (worker,) = self.nginx.workers()
        client = self.open()
        client.echo(b"warm")
        relay = self.only_pump()
        memory = resident_kib(worker)
        sent = fill(relay)
        # One read at most is kept; the kernel's buffers have the rest.
        self.assertLess(resident_kib(worker) - memory, 128)
        received = 0
        while received < sent:
            received += len(client.socket.recv(1 << 20))
        client.echo(b"and goes on")

    def test_a_slow_relay_bounds_memory(self):
        (worker,) = self.nginx.workers()
        client = self.open("/push/alice/?door=deaf")
        memory = resident_kib(worker)
        client.socket.settimeout(0.2)
        sent = 0
        try:
            while True:
                sent += client.socket.send(b"x" * 16384)
        except (TimeoutError, ssl.SSLWantWriteError):
            pass
        self.assertGreater(sent, 100_000)
        self.assertLess(resident_kib(worker) - memory, 128)
        # Others are served meanwhile.
        self.assertEqual(self.client().request("/")[0], 200)

    def test_an_idle_pump_has_little_memory(self):
        (worker,) = self.nginx.workers()
        clients = [self.open() for _ in range(40)]
        count = 200
        memory, files = resident_kib(worker), descriptors(worker)
        clients += [self.open() for _ in range(count)]
        for client in clients:
            client.echo(b"x" * 1000)
        self.assertEqual(descriptors(worker) - files, 2 * count)
        self.assertLessEqual((resident_kib(worker) - memory) / count, 16)

    def test_a_thousand_pumps_leave_nothing(self):
        (worker,) = self.nginx.workers()

        def open_and_close(count):
            for _ in range(count):
                client = self.tls_client()
                client.upgrade("/push/alice/", early=b"early").opened()
                client.read(5)
                client.close()

        before = self.settled()
        open_and_close(100)
        self.assertEqual(self.settled(), before)
        memory = resident_kib(worker)
        open_and_close(1000)
        self.assertEqual(self.settled(), before)
        self.assertLess(resident_kib(worker) - memory, 512)


class Tls12(PumpCase):
    tls = "ssl_protocols TLSv1.2;"

    def test_echo(self):
        client = self.open(early=b"early")
        self.assertEqual(client.socket.version(), "TLSv1.2")
        self.assertEqual(client.read(5), b"early")
        client.echo(os.urandom(200_000))

    def test_large_in_both_directions_at_once(self):
        both_ways(self.open(), LARGE)


class KeyUpdates(PumpCase):
    tls = "ssl_protocols TLSv1.3;"
    listen = "sndbuf=8k rcvbuf=8k"

    def test_a_client_reads_no_answers(self):
        session = OpenSSLClient(ssl.TLSVersion.TLSv1_3)
        client = Client(self.tls_port, session=session, receive_buffer=4096)
        self.addCleanup(client.close)
        client.upgrade("/push/alice/?door=deaf").opened()
        relay = self.only_pump()
        tls = client.socket
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        tls.settimeout(0)
        tls.hold = True
        stalled = 0

        def is_full():
            nonlocal stalled
            stalled += 1
            with contextlib.suppress(BlockingIOError):
                while True:
                    if not tls.waiting:
                        session.key_update(ask_for_theirs=True)
                        tls.flush()
                    tls.waiting = tls.waiting[tls.plain.send(tls.waiting):]
                    stalled = 0
            return stalled > 20  # nginx has taken nothing for a while

        wait_until("nginx to read no more", is_full)
        self.expect_sleep()
        tls.settimeout(PATIENCE)
        tls.hold = False
        words = os.urandom(100_000)

        def ask_and_answer():
            # Behind the rest of the updates. While it has bytes to send, OpenSSL takes no second one.
            client.send(b"question")
            if relay.recv(8, socket.MSG_WAITALL) == b"question":
                relay.sendall(words)

        threading.Thread(target=ask_and_answer, daemon=True).start()
        self.assertEqual(client.read(len(words)), words)


class TlsRestarts(PumpCase):
    def test_a_reload_leaves_the_pump_to_the_old_worker(self):
        client = self.open()
        old = self.nginx.reload()
        client.echo(b"in the old worker")
        # A worker without timers would have ended: it runs its loop at least once for this request.
        self.open().echo(b"in the new one")
        client.echo(b"still in the old worker")
        self.assertTrue(all(os.path.exists(f"/proc/{worker}") for worker in old))
        client.close()
        self.ended_workers(old)


class Lingering(PumpCase):
    location = "lingering_time 100ms;"

    def test_a_client_that_does_not_end_is_ended(self):
        client = self.open()
        relay = self.only_pump()
        relay.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_to_end(), b"")
        # The client keeps its own side open.
        wait_until("the relay's echo to see the end", lambda: relay.fileno() == -1)

    def test_a_client_that_does_not_read_is_ended(self):
        before = self.settled()
        self.client().upgrade("/push/alice/?door=deaf").opened()
        relay = self.only_pump()
        fill(relay)
        relay.close()
        self.assertEqual(self.settled(), before)


class PlainLingering(Lingering):
    location = Lingering.location + PlainCase.location
    tls_client = PlainCase.tls_client


class TlsShutdownTimeout(PumpCase):
    main = "worker_shutdown_timeout 100ms;"

    def test_it_ends_the_pumps(self):
        clients = [self.open() for _ in range(5)]
        old = self.nginx.reload()
        for client in clients:
            # Without a close_notify, since the relay did not end it.
            with self.assertRaises(ssl.SSLError):
                client.read_to_end()
        self.ended_workers(old)
        wait_until("the relay's echo to see the end",
                   lambda: all(relay.fileno() == -1 for _, _, relay in self.door.heres))


class AlwaysPumped(PlainCase):
    http = "sendfile on; tcp_nopush on;"

    def configuration(self):
        return super().configuration().replace(
            "location = /status", f"location = /file {{ root {self.folder}; }} location = /status")

    def test_echo(self):
        client = self.open(early=b"early")
        self.assertEqual(client.read(5), b"early")
        client.echo(os.urandom(200_000))
        self.assertEqual(self.door.heres[0][:2], (PUMPED, b"early"))
        self.assertFalse(self.door.asks[0].is_tls)

    def test_large_in_both_directions_at_once(self):
        both_ways(self.open(), LARGE)

    def test_the_end_is_passed_on(self):
        client = self.open()
        client.send(b"last words")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_to_end(), b"last words")

    def send_separately(self, client):
        """Sends five messages, each once nginx has read the one before, to a client that does not
        acknowledge them early. Returns the number of segments, with those that are sent again."""
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        relay = self.only_pump()
        before = data_segments(client.socket)
        for _ in range(5):
            relay.sendall(b"message")
            while queued(relay):
                pass
        self.assertEqual(client.read(35), b"message" * 5)
        return data_segments(client.socket) - before

    def test_messages_do_not_wait_for_each_other(self):
        self.assertGreaterEqual(self.send_separately(self.open()), 5)

    def test_messages_behind_a_pipelined_file_do_not_wait(self):
        (self.folder / "file").write_bytes(b"x" * 10_000)
        client = self.client()
        client.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.upgrade("/push/alice/")
        self.assertEqual(client.answer()[2], b"x" * 10_000)
        self.assertGreaterEqual(self.send_separately(client.opened()), 5)

    def test_a_bound_on_the_workers_connections(self):
        clients = []
        self.expected = (r"\[alert\] .* worker_connections are not enough",)
        while True:
            client = self.client().upgrade("/push/alice/")
            status, fields, _ = client.answer()
            if status != 101:
                break
            clients.append(client)
        self.assertEqual(status, 503)
        for client in clients:
            client.echo(b"untouched")

    worker_connections = 24


if __name__ == "__main__":
    unittest.main(verbosity=2)
