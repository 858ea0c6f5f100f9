"""/metrics of a server with clients."""

import asyncio
import contextlib
import pathlib
import socket
import tempfile
import unittest

import websockets

from support import PATIENCE, Server, figures, handshake, request, until

REFUSED = "waystation_http_refused_total"
JSON = {"Content-Type": "application/json"}


def parts(port, family):
    """The label values and counts of a family's samples, without those that are 0."""
    return {name.split('"')[1]: float(value) for name, value in figures(port).items()
            if name.startswith(family + "{") and float(value) != 0}


class Metrics(unittest.IsolatedAsyncioTestCase):
    def test_a_process_starts_once(self):
        with Server() as server:
            seen = {figures(server.port)["process_start_time_seconds"] for _ in range(20)}
            self.assertEqual(len(seen), 1, seen)
            self.assertGreater(float(seen.pop()), 1e9)

    def test_counts_refusals_of_the_http_api_by_their_code(self):
        with tempfile.TemporaryDirectory() as folder, \
                Server("--max-message-bytes", "10", "--max-queue-bytes", "2000",
                       "--audit-file", str(pathlib.Path(folder, "audit.sqlite"))) as server:
            elsewhere = {"X-Forwarded-For": "192.0.2.7"}
            expected = {}
            for method, path, headers, body, status, code in (
                    ("POST", "/api/v1/push/bob", JSON, "[", 400, "bad_json"),
                    ("POST", "/api/v1/push/BOB", JSON, "1", 400, "bad_user"),
                    ("POST", "/api/v1/push/bob", JSON, "[1,2,3,4,5]", 413, "too_large"),
                    ("POST", "/api/v1/push/bob", {}, "1", 415, "unsupported_media_type"),
                    ("GET", "/api/v1/push/bob", {}, None, 405, "method_not_allowed"),
                    ("GET", "/api/v1/audit?since=x", {}, None, 400, "bad_query"),
                    ("GET", "/api/v1/x", {}, None, 404, "not_found"),
                    ("GET", "/healthz", elsewhere, None, 403, "not_an_operator"),
                    ("GET", "/healthz", {"Origin": "http://192.0.2.7"}, None, 403, "bad_origin"),
                    ("GET", "/healthz", {"Host": "chat.example"}, None, 403, "bad_host"),
                    ("GET", "/metrics", elsewhere, None, 403, "not_an_operator"),
                    ("GET", "/metrics", {"Origin": "http://192.0.2.7"}, None, 403, "bad_origin"),
                    ("GET", "/metrics", {"Host": "chat.example"}, None, 403, "bad_host"),
                    ("GET", "/", {"Host": "chat.example"}, None, 403, "bad_host"),
                    ("POST", "/metrics", {}, "", 405, "method_not_allowed"),
                    ("GET", "/METRICS", {}, None, 404, "not_found")):
                answer = request(server.port, method, path, headers, body)
                self.assertEqual((answer.status, answer.code), (status, code), path)
                expected[code] = expected.get(code, 0) + 1
                self.assertEqual(parts(server.port, REFUSED), expected)
            # Refused upgrades and successful responses do not count here.
            self.assertEqual(request(server.port, "GET", "/push/BOB/").status, 400)
            self.assertEqual(request(server.port, "POST", "/api/v1/push/bob", JSON, "1").status, 200)
            self.assertEqual(parts(server.port, REFUSED), expected)

    def test_counts_tokens_that_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            key = pathlib.Path(folder, "key")
            key.write_text("c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n")
            key.chmod(0o600)
            with Server("--auth", "jwt", "--jwt-key-file", str(key)) as server:
                for headers in ({}, {"Authorization": "Bearer a.b.c"}):
                    answer = request(server.port, "GET", "/api/v1/presence/bob", headers)
                    self.assertEqual(answer.status, 401)
                self.assertEqual(parts(server.port, REFUSED), {"unauthenticated": 2})

    async def test_counts_error_frames_by_their_code(self):
        with Server() as server:
            async with websockets.connect(server.url("/ws/chat/alice_bob/?user=alice")) as alice:
                for text in ("[", "[", '{"message":1,"message":2}',
                             '{"message":1,"to_user":"carol"}'):
                    await alice.send(text)
                    self.assertIn("error", await asyncio.wait_for(alice.recv(), PATIENCE))
            self.assertEqual(await asyncio.to_thread(parts, server.port,
                                                     "waystation_errors_sent_total"),
                             {"bad_json": 2, "bad_envelope": 1, "not_a_member": 1})

    async def test_counts_dropped_messages_by_the_sockets_end(self):
        def dropped():
            return parts(server.port, "waystation_deliveries_dropped_total")

        @contextlib.asynccontextmanager
        async def deaf():
            """Bob's push socket, with more data on its way than kernels buffer."""
            with socket.socket() as link:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                link.connect(("127.0.0.1", server.port))
                link.sendall(handshake("/push/bob/").encode())
                self.assertTrue(link.recv(4096).startswith(b"HTTP/1.1 101 "))
                async with websockets.connect(server.url("/ws/chat/alice_bob/?user=alice"),
                                              subprotocols=["waystation.v1"]) as alice:
                    for _ in range(300):
                        await alice.send('{"message":"' + "x" * 60000 + '"}')
                        frame = ""
                        while "ack" not in frame:
                            frame = await asyncio.wait_for(alice.recv(), PATIENCE)
                        self.assertIn('"route":"push"', frame)
                yield

        with Server("--max-queue-bytes", "100000000", "--messages-per-second", "0") as server:
            self.assertEqual(dropped(), {})
            async with deaf():
                pass
            until(dropped, "a drop")
            self.assertEqual(set(dropped()), {"closed"})
            async with deaf():
                answer = request(server.port, "DELETE", "/api/v1/sessions/bob")
                self.assertEqual(answer.json(), {"closed": 1})
            until(lambda: len(dropped()) == 2, "another drop")
            self.assertEqual(set(dropped()), {"closed", "ended"})


if __name__ == "__main__":
    unittest.main()
