"""Records, keys and ends of TLS connections that the relay owns."""

import json
import socket
import ssl
import threading
import unittest

from support import VERSIONS, RawSocket, raw
from harness import CLOSE, PING, PONG, TEXT, Case, client_tls, frame, scaled
from tls_socket import Session

TLS12, TLS13 = VERSIONS
OPTIONS = ("--messages-per-second", "0", "--max-message-bytes", "1000000",
           "--max-queue-bytes", "8000000", "--max-connections-per-address", "0",
           "--max-connections-per-user", "0")


def message(text, to=None):
    return json.dumps({"message": text} if to is None else {"message": text, "to_user": to},
                      separators=(",", ":"))


class Records(Case):
    OPTIONS = OPTIONS

    def pair(self, **options):
        alice, bob = raw(self.server, **options), raw(self.server, **options)
        self.addCleanup(alice.close)
        self.addCleanup(bob.close)
        alice.open("/ws/chat/alice_bob/", "alice")
        bob.open("/ws/chat/alice_bob/", "bob")
        return alice, bob

    def test_records_of_every_size(self):
        """From one byte, the handshake's request included, to the largest."""
        for version in VERSIONS:
            for record in (1, 2, 7, 1000, 16383, 16384):
                size = 300 if record < 10 else 40_000
                with self.subTest(version=version, record=record):
                    alice, bob = self.pair(version=version, record=record)
                    text = message("x" * size)
                    alice.say(text)
                    for link in (alice, bob):
                        self.assertEqual(link.read_message(), text)

    def test_a_large_message_of_the_server(self):
        for version in VERSIONS:
            alice, bob = self.pair(version=version)
            text = message("驿" * 150_000)
            alice.say(text)
            for link in (bob, alice):
                self.assertEqual(link.read_message(), text)

    def test_records_cut_anywhere(self):
        """Segments that end within records: the relay waits for the rest."""
        for version in VERSIONS:
            alice, bob = self.pair(version=version)
            alice.socket.hold = True
            for n in range(20):
                alice.say(message(f"message {n}"))
            data, alice.socket.waiting, alice.socket.hold = alice.socket.waiting, b"", False
            for at in range(0, len(data), 7):
                alice.socket.plain.sendall(data[at:at + 7])
            for link in (alice, bob):
                self.assertEqual([link.read_message() for _ in range(20)],
                                 [message(f"message {n}") for n in range(20)])

    def test_many_frames_in_one_record(self):
        """They stay in OpenSSL's buffer after the first read: nothing more arrives to wake for."""
        for version in VERSIONS:
            alice, bob = self.pair(version=version)
            frames = [message(str(n)) for n in range(500)]
            alice.send(b"".join(frame(TEXT, text.encode()) for text in frames))
            for link in (alice, bob):
                self.assertEqual([link.read_message() for _ in frames], frames)

    def test_early_frames_in_their_own_records(self):
        """A client may send frames before it has read the 101 (one segment, several records)."""
        for version in VERSIONS:
            for pieces in (1, 40):
                with self.subTest(version=version, pieces=pieces):
                    alice, bob = raw(self.server, version), raw(self.server, version)
                    self.addCleanup(alice.close)
                    self.addCleanup(bob.close)
                    bob.open("/ws/chat/alice_bob/", "bob")
                    alice.socket.hold = True
                    request = ("GET /ws/chat/alice_bob/?user=alice HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                               "Sec-WebSocket-Version: 13\r\n\r\n")
                    alice.send(request.encode())
                    for n in range(pieces):
                        alice.say(message(n))
                    alice.socket.hold = False
                    alice.socket.flush()
                    self.assertEqual(alice.response().status, 101)
                    self.assertEqual([alice.read_message() for _ in range(pieces)],
                                     [message(n) for n in range(pieces)])

    def test_key_updates(self):
        """With an answer and without, between messages and many in a row."""
        for ask in (False, True):
            alice, bob = self.pair()
            for n in range(100):
                alice.socket.session.key_update(ask)
                if n % 10 == 0:
                    alice.say(message(n))
                    for link in (alice, bob):
                        self.assertEqual(link.read_message(), message(n))
                else:
                    alice.socket.flush()
            alice.round_trip()

    def test_key_updates_under_backpressure(self):
        """The relay's answers to them wait behind what the client does not read. Every byte comes."""
        alice = raw(self.server)
        bob = raw(self.server, receive_buffer=4096)
        for link in (alice, bob):
            self.addCleanup(link.close)
        alice.open("/ws/chat/alice_bob/", "alice")
        bob.open("/ws/chat/alice_bob/", "bob")
        texts = [message("%d " % n + "x" * 30_000) for n in range(100)]
        echoes = []

        def echo():
            for text in texts:
                alice.say(text)
                echoes.append(alice.read_message())

        sending = threading.Thread(target=echo)
        sending.start()
        # Bob does not read, and updates keys.
        for _ in range(200):
            bob.socket.session.key_update(True)
            bob.socket.flush()
        sending.join()
        self.assertEqual(echoes, texts)
        for _ in range(10):
            bob.socket.session.key_update(True)
            bob.socket.flush()
        self.assertEqual([bob.read_message() for _ in texts], texts)
        bob.say(message("still here"))
        self.assertEqual(alice.read_message(), message("still here"))

    def test_renegotiation_is_refused(self):
        alice, bob = self.pair(version=TLS12)
        alice.socket.session.renegotiate()
        alice.socket.flush()
        with self.assertRaises(ssl.SSLError):
            alice.read(1)
        bob.say(message("undisturbed"))
        self.assertEqual(bob.read_message(), message("undisturbed"))

    def test_the_end_is_said(self):
        """After the closing handshake of RFC 6455 comes close_notify, then the end of TCP."""
        for version in VERSIONS:
            alice, bob = self.pair(version=version)
            alice.send(frame(CLOSE, b"\x03\xe8"))
            self.assertEqual(alice.read_frame(), (CLOSE, b"\x03\xe8"))
            self.assertEqual(alice.read_to_end(), b"")
            self.assertEqual(alice.socket.plain.recv(1), b"")
            bob.round_trip()

    def test_a_client_that_has_said_the_end(self):
        """close_notify without a Close: the relay ends the connection, and says so."""
        for version in VERSIONS:
            with self.subTest(version):
                alice, bob = self.pair(version=version)
                alice.say(message("the last"))
                alice.socket.session.close_notify()
                alice.socket.flush()
                for link in (bob, alice):
                    self.assertEqual(link.read_message(), message("the last"))
                self.assertEqual(alice.read_to_end(), b"")
                bob.round_trip()

    def test_a_cut_without_close_notify(self):
        for version in VERSIONS:
            with self.subTest(version):
                alice, bob = self.pair(version=version)
                alice.socket.plain.shutdown(socket.SHUT_WR)
                try:
                    while alice.socket.plain.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
                bob.round_trip()

    def test_garbage_instead_of_a_record(self):
        for version in VERSIONS:
            for garbage in (b"\x17\x03\x03\x00\x20" + bytes(32), b"GET / HTTP/1.1\r\n\r\n",
                            b"\x17\x03\x03\xff\xff", b"\x15\x03\x03\x00\x02\x02\x28"):
                with self.subTest(version=version, garbage=garbage[:5]):
                    alice, bob = self.pair(version=version)
                    alice.socket.plain.sendall(garbage)
                    try:
                        while alice.socket.plain.recv(65536):
                            pass
                    except ConnectionResetError:
                        pass
                    bob.round_trip()

    def test_fragments_and_pings(self):
        for version in VERSIONS:
            alice, _ = self.pair(version=version, record=5)
            alice.send(frame(TEXT, b'{"message":', fin=False) + frame(PING, b"p")
                       + frame(0, b'"in two"}'))
            self.assertEqual(alice.read_frame(), (PONG, b"p"))
            self.assertEqual(alice.read_message(), message("in two"))

    def test_both_directions_at_once(self):
        """Large messages both ways while neither side waits for the other."""
        for version in VERSIONS:
            links = [RawSocket(self.server, tls=Session(client_tls(version))) for _ in range(2)]
            for link, user in zip(links, ("alice", "bob")):
                self.addCleanup(link.close)
                link.open("/ws/chat/alice_bob/", user)
            count = scaled(60, 10)
            texts = [[message(f"{user} {n} " + "y" * 50_000) for n in range(count)]
                     for user in range(2)]

            def send(link, own):
                for text in own:
                    link.say(text)

            sending = [threading.Thread(target=send, args=pair) for pair in zip(links, texts)]
            heard = [[], []]

            def hear(link, got):
                got += [link.read_message() for _ in range(2 * count)]

            hearing = [threading.Thread(target=hear, args=pair) for pair in zip(links, heard)]
            for thread in sending + hearing:
                thread.start()
            for thread in sending + hearing:
                thread.join()
            self.assertEqual(heard[0], heard[1])
            self.assertEqual([text for text in heard[0] if text in set(texts[0])], texts[0])
            self.assertEqual([text for text in heard[0] if text in set(texts[1])], texts[1])


if __name__ == "__main__":
    unittest.main()
