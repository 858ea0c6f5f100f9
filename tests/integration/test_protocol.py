"""RFC 6455 over real sockets: a violation is closed with its code; valid frames are read in any
segmentation."""

import contextlib
import json
import struct
import unittest

from harness import (BINARY, CLOSE, PING, PONG, TEXT, Case, RawSocket, Server, frame, scaled)

CHAT = "/ws/chat/alice_bob/"

# The bytes sent, and the expected close code.
VIOLATIONS = [
    ("5.1 unmasked text", frame(TEXT, b"{}", mask=None), 1002),
    ("5.1 unmasked ping", frame(PING, b"", mask=None), 1002),
    ("5.2 RSV1", frame(TEXT, b"{}", reserved=4), 1002),
    ("5.2 RSV2", frame(TEXT, b"{}", reserved=2), 1002),
    ("5.2 RSV3", frame(TEXT, b"{}", reserved=1), 1002),
    *[(f"5.2 opcode {opcode:X}", frame(opcode, b""), 1002)
      for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)],
    ("5.2 length in 16 bits not minimal", b"\x81\xfe\x00\x02" + bytes(4) + b"{}", 1002),
    ("5.2 length in 64 bits not minimal", b"\x81\xff" + struct.pack("!Q", 2) + bytes(4), 1002),
    ("5.2 length with its top bit", b"\x81\xff" + struct.pack("!Q", 1 << 63) + bytes(4), 1002),
    ("5.4 continuation of nothing", frame(0, b"{}"), 1002),
    ("5.4 text within a text", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    ("5.5 fragmented ping", frame(PING, b"", fin=False), 1002),
    ("5.5 ping of 126 bytes", frame(PING, bytes(126)), 1002),
    ("5.5.1 close with half a code", frame(CLOSE, b"\x03"), 1002),
    *[(f"7.4 close with {code}", frame(CLOSE, struct.pack("!H", code)), 1002)
      for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)],
    ("5.5.1 close with a reason that is not UTF-8",
     frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ("7.4.1 binary", frame(BINARY, b"{}"), 1003),
    ("7.4.1 empty binary", frame(BINARY, b""), 1003),
    ("8.1 not UTF-8", frame(TEXT, b"\xff"), 1007),
    ("8.1 overlong", frame(TEXT, b"\xc0\xaf"), 1007),
    ("8.1 surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
    ("8.1 cut character", frame(TEXT, b"\xe2\x82"), 1007),
    ("8.1 cut over fragments", frame(TEXT, b"\xe2\x82", fin=False) + frame(0, b"a"), 1007),
    ("1009 too long by a byte", frame(TEXT, bytes(65537)), 1009),
    ("1009 two gigabytes claimed", frame(TEXT, b"", claimed=1 << 31), 1009),
    ("1009 too long together", frame(TEXT, b"a" * 40000, fin=False) + frame(0, b"a" * 40000), 1009),
]


class Protocol(Case):
    OPTIONS = ("--messages-per-second", "0")

    def chat(self, user="alice", **options):
        return RawSocket(self.server, **options).open(CHAT, user)

    async def test_violations_are_closed_with_their_code(self):
        for name, data, code in VIOLATIONS:
            with self.subTest(name), self.chat() as raw:
                raw.send(data)
                self.assertEqual(raw.read_close(), code)
                self.assertEqual(raw.read_to_end(), b"", "after the Close comes the end")

    async def test_a_violation_is_closed_in_any_segmentation(self):
        for name, data, code in VIOLATIONS:
            if len(data) > 200:
                continue
            with self.subTest(name), self.chat() as raw:
                try:
                    for byte in data:
                        raw.send(bytes([byte]))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the server did not wait for the rest
                self.assertEqual(raw.read_close(), code)

    async def test_frames_are_read_in_any_segmentation(self):
        with self.chat() as alice, self.chat("bob") as bob:
            text = '{"message":"驿站, the relay post"}'
            data = frame(PING, b"x") + frame(TEXT, text.encode()) + frame(PONG, b"unasked")
            for byte in data:
                alice.send(bytes([byte]))
            self.assertEqual(alice.read_frame(), (PONG, b"x"))
            self.assertEqual(alice.read_message(), text)
            self.assertEqual(bob.read_message(), text)
            for cut in range(len(data)):
                alice.send(data[:cut])
                alice.send(data[cut:])
            for _ in range(len(data)):
                self.assertEqual(bob.read_message(), text)

    async def test_control_frames_may_come_between_fragments(self):
        with self.chat() as alice, self.chat("bob") as bob:
            alice.send(frame(TEXT, b'{"mess', fin=False) + frame(PING, b"1")
                       + frame(0, b'age":', fin=False) + frame(PONG) + frame(0, b"", fin=False)
                       + frame(PING, b"2") + frame(0, b"7}"))
            self.assertEqual(alice.read_frame(), (PONG, b"1"))
            self.assertEqual(alice.read_frame(), (PONG, b"2"))
            self.assertEqual(bob.read_message(), '{"message":7}')

    async def test_pings_are_answered_with_their_payload(self):
        with self.chat() as raw:
            for size in (0, 1, 60, 125):
                raw.send(frame(PING, bytes(range(size))))
                self.assertEqual(raw.read_frame(), (PONG, bytes(range(size))))

    async def test_messages_of_every_form_of_length(self):
        with self.chat() as alice, self.chat("bob") as bob:
            frame_of = '{"message":"%s"}'
            for size in (14, 125, 126, 127, 65535, 65536):
                text = frame_of % ("x" * (size - 14))
                self.assertEqual(len(text), size)
                alice.say(text)
                self.assertEqual(bob.read_message(), text)

    async def test_a_close_is_answered_with_its_code(self):
        for code in (1000, 1001, 1003, 1011, 3000, 4999):
            with self.subTest(code=code), self.chat() as raw:
                raw.send(frame(CLOSE, struct.pack("!H", code) + b"bye"))
                self.assertEqual(raw.read_close(), code)
                self.assertEqual(raw.read_to_end(), b"")

    async def test_a_close_without_a_code_is_answered(self):
        with self.chat() as raw:
            raw.send(frame(CLOSE))
            self.assertEqual(raw.read_close(), 1005)
            self.assertEqual(raw.read_to_end(), b"")

    async def test_frames_after_a_close_are_ignored(self):
        with self.chat() as alice, self.chat("bob") as bob:
            alice.send(frame(CLOSE, struct.pack("!H", 1000)) + frame(TEXT, b'{"message":1}'))
            self.assertEqual(alice.read_close(), 1000)
            self.assertEqual(bob.round_trip(), [])

    async def test_many_messages_in_one_packet(self):
        with self.chat() as alice, self.chat("bob") as bob:
            count = scaled(2000, 500)
            alice.send(b"".join(frame(TEXT, b'{"message":%d}' % n) for n in range(count)))
            for n in range(count):
                self.assertEqual(bob.read_message(), '{"message":%d}' % n)
                self.assertEqual(alice.read_message(), '{"message":%d}' % n)

    async def test_a_hundred_thousand_empty_fragments_cost_nothing(self):
        with self.chat() as alice, self.chat("bob") as bob:
            count = scaled(100_000, 20_000)
            before = self.server.resident_kib()
            alice.send(frame(TEXT, b"{", fin=False) + frame(0, b"", fin=False) * count)
            self.assertEqual(alice.round_trip(), [])
            self.assertLess(self.server.resident_kib() - before, 4096)
            alice.send(frame(0, b"}"))
            self.assertEqual(bob.read_message(), '{"message":null}')



class ClaimedLength(unittest.TestCase):
    """A server of its own: the allocator of one that other tests used has memory to reuse."""

    SOCKETS = scaled(200, 100)
    CLAIM = 65536  # bytes, the default of max_message_bytes

    def test_allocates_no_memory(self):
        with Server("--max-connections-per-user", "0", "--max-connections-per-address", "0") as server, \
                contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(RawSocket(server).open(CHAT, "alice"))
                       for _ in range(self.SOCKETS)]
            before = server.resident_kib()
            for raw in sockets:
                raw.send(frame(TEXT, b"", claimed=self.CLAIM) + b"{")
            with RawSocket(server).open(CHAT, "bob") as bob:
                self.assertEqual(bob.round_trip(), [])
                health = json.loads(server.http("GET", "/healthz")[2])
                self.assertEqual(health["chat_sockets"], self.SOCKETS + 1, "a socket was closed")
            self.assertLess(server.resident_kib() - before, self.SOCKETS * self.CLAIM / 1024 / 4)


if __name__ == "__main__":
    unittest.main()
