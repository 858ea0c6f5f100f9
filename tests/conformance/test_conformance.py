"""Cases of RFC 6455 against waystation-echo: the bytes that each sends, and all frames of the
reply."""

import asyncio
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

import websockets

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from harness import (BINARY, CLOSE, PATIENCE, PING, PONG, TEXT, TLS, RawSocket,  # noqa: E402
                     client_tls, frame, scaled)

CONTINUATION = 0


class Echo:
    """A running waystation-echo."""

    def __enter__(self):
        self._errors = tempfile.TemporaryFile()
        files = [os.path.join(TLS, "key.pem")] if TLS else []
        self._process = subprocess.Popen([os.environ["WAYSTATION_ECHO"], "0", *files],
                                         stdout=subprocess.PIPE, stderr=self._errors)
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        found = re.search(rb"wss?://127\.0\.0\.1:(\d+)/", self._process.stdout.readline())
        watchdog.cancel()
        assert found, "waystation-echo did not start"
        self.port = int(found.group(1))
        return self

    def __exit__(self, *_):
        self._process.terminate()
        status = self._process.wait(PATIENCE)
        self._process.stdout.close()
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")
        self._errors.close()
        assert status == 0, (status, errors)


def close(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def closed(code):
    """The frames of a Close with `code` and any reason."""
    return [(CLOSE, code)]


def text(payload, **options):
    return frame(TEXT, payload, **options)


GOOD_TEXT = "κόσμε, 驿站, \U0010ffff".encode()

# Section, subject, sent bytes, all expected frames. For a Close only the code is compared; 1005
# means no code.
CASES = [
    ("5.6", "an empty text", text(b""), [(TEXT, b"")]),
    ("5.6", "an empty binary message", frame(BINARY), [(BINARY, b"")]),
    *[("5.2", f"{kind} of {size} bytes", frame(opcode, b"*" * size), [(opcode, b"*" * size)])
      for kind, opcode in (("text", TEXT), ("binary", BINARY))
      for size in (1, 124, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20)],
    ("5.3", "a mask of zeros", text(b"abc", mask=bytes(4)), [(TEXT, b"abc")]),
    ("5.3", "a mask of ones", text(b"abcdefghij", mask=b"\xff" * 4), [(TEXT, b"abcdefghij")]),
    ("5.1", "an unmasked frame", text(b"abc", mask=None), closed(1002)),
    *[("5.2", f"reserved bits {bits:03b}", text(b"a", reserved=bits), closed(1002))
      for bits in range(1, 8)],
    *[("5.2", f"reserved bits {bits:03b} in a ping", frame(PING, b"a", reserved=bits), closed(1002))
      for bits in range(1, 8)],
    *[("5.2", f"opcode {opcode:X}", frame(opcode, b"a"), closed(1002))
      for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("5.2", "what came before a bad frame is answered", text(b"a") + frame(5),
     [(TEXT, b"a"), (CLOSE, 1002)]),
    ("5.2", "16 bits for 125", b"\x81\xfe\x00\x7d" + bytes(4) + bytes(125), closed(1002)),
    ("5.2", "64 bits for 65535", b"\x81\xff" + struct.pack("!Q", 65535) + bytes(4), closed(1002)),
    ("5.2", "a length beyond 63 bits", b"\x81\xff" + b"\xff" * 8 + bytes(4), closed(1002)),
    ("5.4", "two fragments", text(b"ab", fin=False) + frame(CONTINUATION, b"cd"),
     [(TEXT, b"abcd")]),
    ("5.4", "a fragment for every byte",
     text(b"", fin=False) + b"".join(frame(CONTINUATION, b"%c" % c, fin=False) for c in b"abcdef")
     + frame(CONTINUATION), [(TEXT, b"abcdef")]),
    ("5.4", "binary fragments with a ping between them",
     frame(BINARY, b"\xe2", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"\xff"),
     [(PONG, b"p"), (BINARY, b"\xe2\xff")]),
    ("5.4", "ten pings between fragments",
     text(b"a", fin=False) + frame(PING, b"p") * 10 + frame(CONTINUATION, b"b"),
     [(PONG, b"p")] * 10 + [(TEXT, b"ab")]),
    ("5.4", "a continuation first", frame(CONTINUATION, b"a"), closed(1002)),
    ("5.4", "a continuation first, not the last", frame(CONTINUATION, b"a", fin=False),
     closed(1002)),
    ("5.4", "a continuation after the last fragment",
     text(b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c"),
     [(TEXT, b"ab"), (CLOSE, 1002)]),
    ("5.4", "a text within a text", text(b"a", fin=False) + text(b"b"), closed(1002)),
    ("5.4", "a binary message within a text", text(b"a", fin=False) + frame(BINARY, b"b"),
     closed(1002)),
    ("5.5", "a fragmented ping", frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"),
     closed(1002)),
    ("5.5", "a fragmented close", frame(CLOSE, b"", fin=False), closed(1002)),
    ("5.5", "a ping of 126 bytes", frame(PING, b"p" * 126), closed(1002)),
    ("5.5.1", "a close", frame(CLOSE), closed(1005)),
    ("5.5.1", "a close of one byte", frame(CLOSE, b"a"), closed(1002)),
    ("5.5.1", "a close with a reason", close(1000, b"bye"), closed(1000)),
    ("5.5.1", "a close with the longest reason", close(1000, b"r" * 123), closed(1000)),
    ("5.5.1", "a close that is too long", close(1000, b"r" * 124), closed(1002)),
    ("5.5.1", "a reason that is not UTF-8", close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"),
     closed(1007)),
    ("5.5.1", "a text after a close", close(1000) + text(b"late"), closed(1000)),
    ("5.5.1", "a ping after a close", close(1000) + frame(PING, b"late"), closed(1000)),
    ("5.5.1", "a close between fragments", text(b"a", fin=False) + close(1000), closed(1000)),
    *[("7.4", f"close with {code}", close(code), closed(code))
      for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
                   3999, 4000, 4999)],
    *[("7.4", f"close with {code}", close(code), closed(1002))
      for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)],
    ("5.5.2", "an empty ping", frame(PING), [(PONG, b"")]),
    ("5.5.2", "a ping of 125 bytes", frame(PING, bytes(range(125))), [(PONG, bytes(range(125)))]),
    ("5.5.2", "ten pings", b"".join(frame(PING, b"%d" % n) for n in range(10)),
     [(PONG, b"%d" % n) for n in range(10)]),
    ("5.5.3", "an unsolicited pong", frame(PONG, b"x") + frame(PING, b"y"),
     [(PONG, b"y")]),
    ("8.1", "text in UTF-8", text(GOOD_TEXT), [(TEXT, GOOD_TEXT)]),
    ("8.1", "text in UTF-8, a fragment for every byte",
     text(b"", fin=False)
     + b"".join(frame(CONTINUATION, GOOD_TEXT[n:n + 1], fin=False) for n in range(len(GOOD_TEXT)))
     + frame(CONTINUATION), [(TEXT, GOOD_TEXT)]),
    *[("8.1", f"text {bad.hex()}", text(b"ok " + bad), closed(1007))
      for bad in (b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
                  b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xed\xa0\x80",
                  b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xfe", b"\xff", b"\xe2\x82", b"\xf0\x90",
                  b"\xc3", b"\xe2\x28\xa1", b"\xf0\x28\x8c\xbc")],
    ("8.1", "a text is refused before it is whole", text(b"\xff", fin=False), closed(1007)),
    ("8.1", "a text is refused within a frame", text(b"ok\xff" + b"x" * 1000)[:20], closed(1007)),
    ("8.1", "a binary message may be any bytes", frame(BINARY, bytes(range(256))),
     [(BINARY, bytes(range(256)))]),
]


class Conformance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.echo = Echo().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.echo.__exit__()

    def open(self):
        raw = RawSocket(self.echo)
        self.assertEqual(raw.handshake("/").status, 101)
        return raw

    def read(self, raw, expected):
        """Receives as many frames as expected, and after a Close the end of the connection."""
        got = []
        for _ in expected:
            opcode, payload = raw.read_frame()
            if opcode == CLOSE:
                payload = struct.unpack("!H", payload[:2])[0] if payload else 1005
            got.append((opcode, payload))
        self.assertEqual(got, expected)
        if expected[-1][0] == CLOSE:
            self.assertEqual(raw.read_to_end(), b"", "nothing comes after a Close")
        else:
            raw.send(frame(PING, b"the last"))
            self.assertEqual(raw.read_frame(), (PONG, b"the last"), "nothing else has come")

    def send(self, raw, pieces):
        try:
            for piece in pieces:
                raw.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server had already closed

    def test_cases_in_one_piece(self):
        for section, about, data, expected in CASES:
            with self.subTest(f"{section}: {about}"), self.open() as raw:
                self.send(raw, [data])
                self.read(raw, expected)

    def test_cases_byte_by_byte(self):
        for section, about, data, expected in CASES:
            if len(data) > 300:
                continue
            with self.subTest(f"{section}: {about}"), self.open() as raw:
                self.send(raw, [data[n:n + 1] for n in range(len(data))])
                self.read(raw, expected)

    def test_cases_cut_at_random(self):
        choose = random.Random(6455)
        for section, about, data, expected in CASES:
            pieces, at = [], 0
            while at < len(data):
                size = choose.randrange(1, max(2, min(len(data), 20_000)))
                pieces.append(data[at:at + size])
                at += size
            with self.subTest(f"{section}: {about}"), self.open() as raw:
                self.send(raw, pieces)
                self.read(raw, expected)

    def test_large_messages_come_back(self):
        size = scaled(16 << 20, 2 << 20)
        payload = random.Random(1).randbytes(size)
        with self.open() as raw:
            for data in (frame(BINARY, payload),
                         frame(BINARY, payload[:1000], fin=False)
                         + frame(CONTINUATION, payload[1000:])):
                sending = threading.Thread(target=raw.send, args=(data,))
                sending.start()
                self.assertEqual(raw.read_frame(), (BINARY, payload))
                sending.join()

    def test_a_client_that_is_not_our_code(self):
        async def talk():
            async with websockets.connect(f"{'wss' if TLS else 'ws'}://127.0.0.1:{self.echo.port}/",
                                          ssl=client_tls(), max_size=None) as ws:
                for message in ("", "text", "驿站", b"", b"\x00\xff", "x" * 100_000,
                                bytes(100_000)):
                    await ws.send(message)
                    self.assertEqual(await ws.recv(), message)
                await (await ws.ping())

        asyncio.run(talk())


if __name__ == "__main__":
    unittest.main()
