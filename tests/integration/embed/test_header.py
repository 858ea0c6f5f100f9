"""Headers that CivetWeb truncates: a missing field must not give a client more rights."""

import itertools
import re
import unittest

from support import Server, raw
from test_glue import Host

# One request for each way in: the API, both socket routes as GET and as upgrade, the operators'
# paths, the page.
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
RELAYS = (("GET /push/alice/", ()), ("GET /push/alice/", UPGRADE),
          ("GET /ws/chat/alice_bob/?user=alice", UPGRADE),
          ("GET /api/v1/presence/alice", ()), ("DELETE /api/v1/sessions/alice", ()),
          ("GET /healthz", ()))
SERVERS = RELAYS + (("GET /metrics", ()), ("GET /", ()))

SMUGGLED = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: 1\r\n\r\n"

# Fields that would change the decision if they were missing.
TELLING = ("X-Forwarded-For: 192.0.2.1", "Origin: http://evil.example", "X-Forwarded-User: alice",
           f"Content-Length: {len(SMUGGLED)}")

# Each makes CivetWeb lose the fields after it.
HIDING = (" folded: into the line above", "\tlikewise: 1", "\xe4: a name that is not ASCII",
          ": without a name", "\rX: 1")


def request(line, *fields):
    return "\r\n".join((f"{line} HTTP/1.1", *fields, "", SMUGGLED)).encode("latin-1")


class Header(unittest.TestCase):
    def assert_refused(self, port, status, bytes_sent):
        answer = raw(port, bytes_sent)
        # CivetWeb's own errors, in host applications that do not handle them, use HTTP/1.0.
        self.assertEqual(re.findall(rb"HTTP/1\.[01] (\d+) ", answer), [str(status).encode()],
                         (answer, bytes_sent))
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        if answer.startswith(b"HTTP/1.1 "):
            self.assertIn(b"\r\nX-Content-Type-Options: nosniff\r\n", answer)

    def refuses_what_is_missing(self, port, ways):
        for line, fields in ways:
            for telling in TELLING:
                for count in (63, 64, 200):
                    junk = [f"X-{i}: 1" for i in range(count - len(fields))]
                    self.assert_refused(port, 431, request(line, "Host: 127.0.0.1", *fields, *junk,
                                                           telling))
                for hiding in HIDING:
                    self.assert_refused(port, 400, request(line, "Host: 127.0.0.1", *fields, hiding,
                                                           telling))

    def refuses_two_ways_to_end(self, port, ways):
        for line, fields in ways:
            for lengths in (("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
                            ("Content-Length: 0", "Transfer-Encoding: chunked"),
                            ("Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
                            ("Content-Length: 0, 9",), ("Content-Length: +0",)):
                self.assert_refused(port, 400, request(line, "Host: 127.0.0.1", *fields, *lengths))

    def test_the_server_refuses_them_on_every_path(self):
        for options in ((), ("--trusted-proxies", "127.0.0.1")):
            with Server("--www", "", *options) as server:
                self.refuses_what_is_missing(server.port, SERVERS)
                self.refuses_two_ways_to_end(server.port, SERVERS)

    def test_the_glue_refuses_them_in_any_host(self):
        for arguments in ((), ("auth",)):  # our auth handler first; the host's first
            with Host(*arguments) as host:
                self.refuses_what_is_missing(host.port, RELAYS)

    def test_complete_headers_are_checked_completely(self):
        junk = [f"X-{i}: 1" for i in range(60)]
        for options, telling, status in (
                ((), "X-Forwarded-For: 192.0.2.1", 401),
                (("--trusted-proxies", "127.0.0.1"), "X-Forwarded-For: 192.0.2.1", 401),
                (("--trusted-proxies", "127.0.0.1"), "X-Forwarded-For: 127.0.0.1", 426),
                ((), "Origin: http://evil.example", 403),
                ((), "X-Last: 1", 426)):
            with Server("--www", "", *options) as server:
                answer = raw(server.port, request("GET /push/alice/", "Host: 127.0.0.1", *junk,
                                                  telling, "Connection: close"))
                self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()),
                                (options, telling, answer))

    def test_nothing_follows_a_request_line_alone(self):
        with Server("--www", "") as server:
            for line in ("GET /", "GET /METRICS", "POST /metrics", "GET /healthz",
                         "GET /push/alice/"):
                answer = raw(server.port, request(line, "\xe4: 1", TELLING[-1]))
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1, (line, answer))

    def test_nothing_follows_an_unread_body(self):
        ways = SERVERS + (("POST /api/v1/push/alice", ()), ("POST /healthz", ()),
                          ("POST /metrics", ()), ("GET /METRICS", ()), ("POST /", ()))
        with Server("--www", "") as server:
            for (line, fields), host in itertools.product(ways, ("127.0.0.1", "evil.example")):
                for body in ("Content-Length: 1\r\n\r\n1",
                             "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"):
                    head = "\r\n".join((f"{line} HTTP/1.1", f"Host: {host}", *fields, body))
                    answer = raw(server.port, head + SMUGGLED)
                    self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d", answer)), 1, (head, answer))

    def test_nothing_follows_a_refused_upgrade(self):
        with Server("--www", "") as server:
            for path in ("/push/alice/", "/push/Alice/", "/ws/chat/alice_bob/?user=carol"):
                for fields in ((), UPGRADE[:3]):
                    answer = raw(server.port, request(f"GET {path}", "Host: 127.0.0.1", *fields))
                    self.assertEqual(answer.count(b"HTTP/1.1 4"), 1, (path, fields, answer))
                    self.assertEqual(answer.count(b"HTTP/1.1 "), 1, (path, fields, answer))


if __name__ == "__main__":
    unittest.main()
