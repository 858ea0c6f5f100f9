"""The guarantees of the CivetWeb glue for a host application."""

import asyncio
import contextlib
import json
import os
import socket
import unittest

import websockets

from support import PATIENCE, Program, get, handshake, raw, request, until

UPGRADE = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


class Host(Program):
    def __init__(self, *arguments):
        super().__init__(os.environ["WAYSTATION_HOST"], *arguments)
        self.port = int(self.line())

    def do(self, command):
        self.tell(command)
        assert self.line() == "done"

    def socket(self, path, **headers):
        return websockets.connect(f"ws://127.0.0.1:{self.port}{path}", extra_headers={
            k.replace("_", "-"): v for k, v in headers.items()})

    def ask_to_end(self):
        self.tell("end")


async def next_json(socket):
    return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))


class Glue(unittest.IsolatedAsyncioTestCase):
    async def chat(self, host):
        async with host.socket("/ws/chat/alice_bob/?user=alice") as alice, \
                host.socket("/ws/chat/alice_bob/?user=bob") as bob:
            await alice.send('{"message":"hi","to_user":"bob"}')
            self.assertEqual(await next_json(bob), {"message": "hi"})
            self.assertEqual(await next_json(alice), {"message": "hi"})

    async def test_serves_both_routes_and_the_api(self):
        with Host() as host:
            await self.chat(host)
            async with host.socket("/push/bob/") as bob:
                response = await asyncio.to_thread(
                    request, host.port, "POST", "/api/v1/push/bob",
                    {"Content-Type": "application/json"}, "[1]")
                self.assertEqual(response.json(), {"reached": 1})
                self.assertEqual((await next_json(bob))["event"]["message"], [1])
            self.assertEqual(get(host.port, "/healthz").json()["status"], "ok")

    async def test_ends_slow_connections_if_others_wait(self):
        with Host() as host:
            with contextlib.ExitStack() as silent:
                for _ in range(20):  # the host application has three workers
                    silent.enter_context(socket.create_connection(("127.0.0.1", host.port)))

                def end():
                    host.tell("end slow")
                    return int(host.line())

                until(end, "those that wait and say nothing are ended")
                self.assertEqual(get(host.port, "/healthz").status, 200)

    async def test_works_beneath_an_auth_handler_that_comes_first(self):
        with Host("auth") as host:
            await self.chat(host)
            async with host.socket("/push/bob/"):
                pass
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                async with host.socket("/push/bob/", X_Refuse="1"):
                    pass
            self.assertEqual(refused.exception.status_code, 403)
            # A plain GET reaches the request handler; its refusal is a complete response.
            self.assertEqual(get(host.port, "/push/bob/").status, 426)
            self.assertEqual(get(host.port, "/push/bob/", X_Refuse="1").status, 403)
            self.assertEqual(get(host.port, "/api/v1/presence/bob", X_Refuse="1").status, 403)

    async def test_open_sockets_occupy_no_worker(self):
        with Host() as host:  # with three workers
            sockets = [await host.socket(f"/push/user{i}/") for i in range(10)]
            self.assertEqual(get(host.port, "/elsewhere").status, 200)
            await self.chat(host)
            for client in sockets:
                await client.close()

    async def test_lets_civetweb_close_its_part_at_once(self):
        with Host() as host:
            async with host.socket("/push/bob/") as bob:
                for _ in range(1000):
                    host.tell("closed")
                    if int(host.line()) == 1:
                        break
                    await asyncio.sleep(0.01)
                else:
                    self.fail("CivetWeb still holds a connection for the socket")
                await bob.ping()

    async def test_does_not_change_the_hosts_paths(self):
        with Host("auth") as host:
            # Paths with their own handlers, and those of the catch-all handler.
            for path in ("/pushover", "/pushed", "/push", "/healthzone", "/healthzed", "/ws",
                         "/ws/chat", "/wss/chat/alice_bob/", "/other"):
                response = get(host.port, path)
                self.assertEqual((response.status, response.body), (200, b"the host's own\n"), path)
                self.assertEqual(get(host.port, path, X_Refuse="1").status, 403, path)

    async def test_answers_everything_on_its_own_paths(self):
        with Host() as host:
            for path, code in (("/push/", "bad_user"), ("/push/Alice/", "bad_user"),
                               ("/ws/chat/", "bad_group"), ("/ws/chat/b_a/", "bad_group")):
                response = get(host.port, path)
                self.assertEqual((response.status, response.code), (400, code), path)
            for path in ("/x/../push/alice/", "/PUSH/alice/", "/api/v1/nothing",
                         "/./api/v1/presence/alice"):
                response = get(host.port, path)
                self.assertEqual((response.status, response.code), (404, "not_found"), path)
            # CivetWeb would match each of these with a route.
            for path in ("/x/../push/alice/", "/PUSH/alice/", "/Ws/Chat/alice_bob/?user=alice",
                         "/WS/chat/alice_bob/?user=alice", "/x/./../ws/chat/alice_bob/?user=alice"):
                answer = raw(host.port, handshake(path))
                self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), (path, answer))
                self.assertIn(b'"not_found"', answer)

    async def test_refuses_paths_that_civetweb_decoded(self):
        # CivetWeb decodes paths unless it is configured not to; this host application leaves the
        # default.
        with Host() as host:
            for path in ("/push/al%69ce/", "/push/alice%2F", "/push/alice%00junk", "/push%2Falice/",
                         "/ws%2Fchat/alice_bob/", "/ws/chat%2Falice_bob/", "/ws/chat/alice_bob%00/",
                         "/ws/chat/alice_b%6fb", "/ws/chat%00/alice_bob/", "/WS%2Fchat/alice_bob/",
                         "/api/v1/presence/al%69ce", "/%61pi/v1/presence/bob", "/healthz%00",
                         "/health%7a"):
                for query in ("", "?user=alice", "?", "?user=%61lice"):
                    response = get(host.port, path + query)
                    self.assertIn((response.status, response.body[:15]),
                                  ((404, b'{"error":{"code'), (200, b"the host's own\n")), path)
                    answer = raw(host.port, handshake(path + query))
                    self.assertFalse(answer.startswith(b"HTTP/1.1 101"), (path, query))
                    self.assertNotEqual(answer[9:12], b"101")
            async with host.socket("/ws/chat/alice_bob/?user=%61lice"):
                self.assertEqual(get(host.port, "/api/v1/presence/alice").json()["groups"],
                                 ["alice_bob"])

    async def test_answers_wrong_handshakes_with_a_status_line(self):
        for arguments in ([], ["auth"]):
            with Host(*arguments) as host:
                # If a host application's auth handler runs first, CivetWeb itself refuses these
                # requests, see civetweb.h.
                if not arguments:
                    answer = raw(host.port, handshake("/push/bob/", "Sec-WebSocket-Version: 13"))
                    self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                    answer = raw(host.port, handshake(
                        "/push/bob/", "Sec-WebSocket-Version: 8",
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
                    self.assertTrue(answer.startswith(b"HTTP/1.1 426 "), answer)
                    self.assertIn(b"\r\nSec-WebSocket-Version: 13\r\n", answer)
                answer = raw(host.port, handshake("/push/NOBODY/"))
                self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                self.assertIn(b'"bad_user"', answer)

    async def test_answers_503_while_the_relay_drains(self):
        def ask(headers):
            """An upgrade request, and the page's plain request for the reason of the refusal."""
            head, body = raw(host.port, handshake("/push/bob/", *UPGRADE, *headers)).split(
                b"\r\n\r\n")
            told = get(host.port, "/push/bob/", **dict(line.split(": ") for line in headers))
            self.assertEqual(told.headers["Retry-After"], "5")
            self.assertIn(b"\r\nRetry-After: 5", head)
            return head, [(int(head.split()[1]), json.loads(body)["error"]["code"]),
                          (told.status, told.code)], told.headers

        with Host() as host:
            async with host.socket("/push/bob/") as bob:
                self.assertEqual(get(host.port, "/push/bob/").status, 426)
                await asyncio.to_thread(host.do, "drain")
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await asyncio.wait_for(bob.recv(), PATIENCE)
                self.assertEqual(closed.exception.code, 1001)
            self.assertEqual(get(host.port, "/other").status, 200)
            head, refused, fields = ask(())
            self.assertEqual(refused, [(503, "stopping")] * 2)
            self.assertNotIn(b"Access-Control", head)
            self.assertNotIn("Access-Control-Allow-Origin", fields)
            # A page of an allowed origin may read the reason.
            head, refused, fields = ask(("Origin: https://page.example",))
            self.assertEqual(refused, [(503, "stopping")] * 2)
            self.assertIn(b"\r\nAccess-Control-Allow-Origin: https://page.example\r\n", head)
            self.assertEqual(fields["Access-Control-Allow-Origin"], "https://page.example")

    async def test_answers_503_once_the_relay_is_gone(self):
        with Host() as host:
            async with host.socket("/push/bob/") as bob:
                host.do("detach")
                with self.assertRaises(websockets.ConnectionClosed):
                    await asyncio.wait_for(bob.recv(), PATIENCE)
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                async with host.socket("/push/bob/"):
                    pass
            self.assertEqual(refused.exception.status_code, 503)
            self.assertEqual(get(host.port, "/ws/chat/alice_bob/").status, 503)
            self.assertEqual(get(host.port, "/api/v1/presence/bob").status, 503)
            self.assertEqual(request(host.port, "POST", "/api/v1/push/bob",
                                     {"Content-Type": "application/json"}, "[1]").status, 503)
            self.assertEqual(get(host.port, "/other").status, 200)
            host.do("attach")
            await self.chat(host)

    async def test_continues_when_the_server_is_stopped_first(self):
        with Host() as host:
            async with host.socket("/ws/chat/alice_bob/?user=alice") as alice, \
                    host.socket("/ws/chat/alice_bob/?user=bob") as bob:
                host.do("stop")
                await alice.send('{"message":1,"to_user":"bob"}')
                self.assertEqual(await next_json(bob), {"message": 1})

    async def test_reads_bodies_whole_or_not_at_all(self):
        head = ("POST /api/v1/push/bob HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: application/json\r\n")
        with Host() as host:
            async with host.socket("/push/bob/") as bob:
                async def post(text):
                    return await asyncio.to_thread(raw, host.port, head + text)

                answer = await post("Content-Length: 3\r\n\r\n123")
                self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
                self.assertEqual((await next_json(bob))["event"]["message"], 123)

                # A truncated number is another number: it must not be delivered.
                answer = await asyncio.to_thread(self.break_off, host.port,
                                                 head + "Content-Length: 3\r\n\r\n12")
                self.assertFalse(answer.startswith(b"HTTP/1.1 200 "), answer)

                for much in (65537, 3_000_000):
                    answer = await post(f"Content-Length: {much}\r\n\r\n" + "1" * 70000)
                    self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:200])
                # CivetWeb's own timeout applies to a chunk, and it counts the client's time.
                answer = await post("Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n0\r\n\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 411 "), answer)

                answer = await post("Expect: 100-continue\r\nContent-Length: 1\r\n\r\n7")
                self.assertTrue(answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "),
                                answer)
                self.assertEqual((await next_json(bob))["event"]["message"], 7)
                self.assertEqual(bob.messages.qsize() if hasattr(bob.messages, "qsize")
                                 else len(bob.messages), 0)

    @staticmethod
    def break_off(port, text):
        import socket
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
            link.sendall(text.encode())
            link.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                more = link.recv(65536)
                if not more:
                    return answer
                answer += more

    async def test_reads_no_body_of_unauthorized_clients(self):
        with Host() as host:
            for line in ("POST /api/v1/push/bob", "PUT /api/v1/push/bob", "GET /api/v1/presence/bob",
                         "DELETE /api/v1/sessions/bob", "POST /healthz"):
                for length in ("Content-Length: 5", "Transfer-Encoding: chunked"):
                    # The body never arrives: without an immediate answer the only possible status
                    # is 408.
                    answer = await asyncio.to_thread(
                        raw, host.port, f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        f"X-Forwarded-For: 127.0.0.1\r\nExpect: 100-continue\r\n"
                        f"Content-Type: application/json\r\n{length}\r\n\r\n")
                    self.assertRegex(answer, rb"^HTTP/1.1 40[35] ", line)

    async def test_waits_for_a_body_only_until_the_timeout(self):
        with Host() as host:
            answer = await asyncio.to_thread(
                raw, host.port, "POST /api/v1/push/bob HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n12")
            # After the host application's request_timeout_ms.
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)


if __name__ == "__main__":
    unittest.main()
