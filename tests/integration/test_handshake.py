"""Upgrades: admission, and refusals with an HTTP status and JSON."""

import asyncio
import json
import unittest

from harness import V1, Case, RawSocket, Server, connect, receive_json, refuse

CHAT = "/ws/chat/alice_bob/"
USER_64 = "a" * 64
USER_65 = "a" * 65


class Handshake(Case):
    def ask(self, path, headers=(), drop=()):
        with RawSocket(self.server) as raw:
            return raw.handshake(path, headers, drop)

    def assert_refused(self, response, status, code=None):
        """Checks that the response is complete and JSON."""
        self.assertEqual(response.status, status, response.body)
        self.assertTrue(response.headers["content-type"].startswith("application/json"))
        error = json.loads(response.body)["error"]
        self.assertTrue(error["detail"])
        if code is not None:
            self.assertEqual(error["code"], code)
        return error

    # ---- routes

    async def test_a_group_has_one_valid_form(self):
        for group in ("bob_alice", "alice_alice", "alice", "alice_", "_bob", "alice__bob",
                      "alice_bob_carol", "Alice_bob", "alice-bob", "10_9", "7_07",
                      f"alice_{USER_65}", f"{USER_65}_bob", "_"):
            with self.subTest(group=group):
                response = self.ask(f"/ws/chat/{group}/?user=alice")
                self.assert_refused(response, 400, "bad_group")

    async def test_the_canonical_name_is_reported(self):
        for wrong, right in (("bob_alice", "alice_bob"), ("10_9", "9_10"), ("7_07", "07_7")):
            user = right.split("_")[0]
            error = self.assert_refused(self.ask(f"/ws/chat/{wrong}/?user={user}"), 400, "bad_group")
            self.assertIn(right, error["detail"])

    async def test_a_push_route_names_a_user(self):
        for user in ("Alice", "alice_bob", USER_65, "a.b"):
            with self.subTest(user=user):
                self.assert_refused(self.ask(f"/push/{user}/"), 400, "bad_user")

    async def test_the_longest_name_is_valid(self):
        for path in (f"/ws/chat/{USER_64}_bob/?user={USER_64}", f"/push/{USER_64}/"):
            self.assertEqual(self.ask(path).status, 101)

    async def test_the_last_slash_may_be_missing(self):
        for path in ("/ws/chat/alice_bob?user=alice", "/ws/chat/alice_bob/?user=alice",
                     "/push/alice", "/push/alice/"):
            with self.subTest(path=path):
                self.assertEqual(self.ask(path).status, 101)

    async def test_only_the_routes_are_upgraded(self):
        for path in ("/", "/ws", "/ws/", "/ws/chat", "/ws/chat/", "/push", "/push/", "/wsfoo",
                     "/WS/chat/alice_bob/", "/ws/Chat/alice_bob/", "/ws/chat/alice_bob/x",
                     "/ws/chat/alice_bob//", "/ws//chat/alice_bob/", "/ws%2Fchat/alice_bob/",
                     "/ws/chat%2Falice_bob/", "/ws/chat/alice_bob%2F", "/a/%2e%2e/ws/chat/alice_bob/",
                     "/a/../ws/chat/alice_bob/", "/ws/chat/./alice_bob/", "/push/alice/x",
                     "/pushover/alice/", "/healthz", "/api/v1/push/alice",
                     "/ws/chat/alice_bob%00/", "/ws%00/chat/alice_bob/",
                     "/ws/chat/alice_b%6fb/", "/push/al%69ce/"):
            with self.subTest(path=path):
                self.assertNotEqual(self.status_of(path + "?user=alice"), 101)

    def status_of(self, path):
        """The status of a response that CivetWeb may have sent."""
        with RawSocket(self.server) as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\n\r\n".encode())
            line = raw.read_until(b"\r\n")
            self.assertRegex(line, rb"^HTTP/1\.1 \d{3} ")
            return int(line.split()[1])

    async def test_head_gets_the_refusal_without_its_body(self):
        """RFC 9110, section 9.3.2."""
        for path in (f"{CHAT}?user=alice", "/push/alice/", "/push/Alice/"):
            for fields in ("", "x: y\r\n" * 100):
                with self.subTest(path=path, fields=len(fields)), RawSocket(self.server) as raw:
                    raw.send(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                             f"{fields}\r\n".encode())
                    head, _, body = raw.read_to_end().partition(b"\r\n\r\n")
                    self.assertRegex(head, rb"^HTTP/1\.1 4\d\d ")
                    self.assertRegex(head, rb"\r\nContent-Length: [1-9]")
                    self.assertEqual(body, b"")

    # ---- identity and membership

    async def test_only_the_two_users_are_admitted(self):
        for user in ("alice", "bob"):
            self.assertEqual(self.ask(f"{CHAT}?user={user}").status, 101)
        for user in ("carol", "alic", "alicee", "al"):
            self.assert_refused(self.ask(f"{CHAT}?user={user}"), 403, "not_a_member")

    async def test_an_invalid_user_name_is_refused(self):
        for user in ("", "Alice", "al%20ice", USER_65, "alice%00", "%C3%A9"):
            with self.subTest(user=user):
                self.assert_refused(self.ask(f"{CHAT}?user={user}"), 403, "bad_subject")

    async def test_a_v1_chat_socket_needs_a_name(self):
        response = self.ask(CHAT, [("Sec-WebSocket-Protocol", V1)])
        self.assert_refused(response, 401, "unauthenticated")
        self.assertEqual(self.ask(CHAT).status, 101)
        self.assertEqual(self.ask("/push/alice/", [("Sec-WebSocket-Protocol", V1)]).status, 101)

    # ---- host and origin

    async def test_the_host_is_a_loopback_name(self):
        port = self.server.port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "localhost",
                     f"chat.localhost:{port}"):
            with self.subTest(host=host):
                self.assertEqual(self.ask(f"{CHAT}?user=alice", [("Host", host)]).status, 101)
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "192.0.2.7",
                     f"127.0.0.1.evil.example:{port}"):
            with self.subTest(host=host):
                response = self.ask(f"{CHAT}?user=alice", [("Host", host)])
                self.assert_refused(response, 403, "bad_host")

    async def test_an_open_network_refuses_untrusted_proxies(self):
        """A forwarded request is unidentified, even if open mode is allowed for all addresses."""
        routes = (f"{CHAT}?user=alice", "/push/alice/")
        with Server("--allow-open-network", "--operators", "0.0.0.0/0") as server:
            for path in routes:
                with RawSocket(server) as raw:
                    self.assertEqual(raw.handshake(path).status, 101)
            for field in (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", ""),
                          ("X-Real-IP", "192.0.2.7"), ("Forwarded", "for=127.0.0.1"),
                          ("Via", "1.1 proxy"), ("X-Forwarded-Proto", "https")):
                with self.subTest(field=field):
                    for path in routes:
                        with RawSocket(server) as raw:
                            self.assert_refused(raw.handshake(path, [field]), 401,
                                                "unauthenticated")
                        self.assertEqual(server.http("GET", path, headers=dict([field]))[0], 401)
                    for path in ("/api/v1/presence/alice", "/healthz", "/metrics"):
                        status, _, body = server.http("GET", path, headers=dict([field]))
                        self.assertEqual((status, json.loads(body)["error"]["code"]),
                                         (403, "not_an_operator"))

    async def test_the_origin_is_the_servers_own(self):
        port = self.server.port
        own = f"http://127.0.0.1:{port}"
        self.assertEqual(self.ask(f"{CHAT}?user=alice", [("Origin", own)]).status, 101)
        for origin in ("http://evil.example", "null", "", f"http://127.0.0.1:{port + 1}",
                       f"http://localhost:{port}", "http://127.0.0.1", f"{own}.evil.example",
                       f"{own}/", "file://"):
            with self.subTest(origin=origin):
                response = self.ask(f"{CHAT}?user=alice", [("Origin", origin)])
                self.assert_refused(response, 403, "bad_origin")

    # ---- subprotocols

    async def test_v1_is_chosen_from_several_subprotocols(self):
        for offered in (V1, f"chat, {V1}", f"{V1},chat", f" chat ,  {V1} , other"):
            with self.subTest(offered=offered):
                response = self.ask(f"{CHAT}?user=alice", [("Sec-WebSocket-Protocol", offered)])
                self.assertEqual(response.status, 101)
                self.assertEqual(response.headers["sec-websocket-protocol"], V1)

    async def test_unknown_subprotocols_are_refused(self):
        for offered in ("chat", "waystation", "waystation.v2", "waystation.v1.1", "chat, other"):
            with self.subTest(offered=offered):
                response = self.ask(f"{CHAT}?user=alice", [("Sec-WebSocket-Protocol", offered)])
                self.assert_refused(response, 400, "bad_subprotocol")

    async def test_without_a_subprotocol_the_protocol_is_plain(self):
        response = self.ask(f"{CHAT}?user=alice")
        self.assertEqual(response.status, 101)
        self.assertNotIn("sec-websocket-protocol", response.headers)

    async def test_no_extension_is_negotiated(self):
        response = self.ask(f"{CHAT}?user=alice",
                            [("Sec-WebSocket-Extensions", "permessage-deflate")])
        self.assertEqual(response.status, 101)
        self.assertNotIn("sec-websocket-extensions", response.headers)

    # ---- the handshake itself

    async def test_a_wrong_version_gets_the_supported_one(self):
        for version in ("12", "8", "0", "14", "x"):
            with self.subTest(version=version):
                response = self.ask(f"{CHAT}?user=alice", [("Sec-WebSocket-Version", version)])
                self.assert_refused(response, 426)
                self.assertEqual(response.headers["sec-websocket-version"], "13")

    async def test_a_missing_version_is_refused(self):
        response = self.ask(f"{CHAT}?user=alice", drop=["Sec-WebSocket-Version"])
        self.assert_refused(response, 426)
        self.assertEqual(response.headers["sec-websocket-version"], "13")

    async def test_a_missing_or_invalid_key_is_refused(self):
        self.assert_refused(self.ask(f"{CHAT}?user=alice", drop=["Sec-WebSocket-Key"]), 400)
        for key in ("", "short", "dGhlIHNhbXBsZSBub25jZQ", "!" * 24):
            with self.subTest(key=key):
                self.assert_refused(self.ask(f"{CHAT}?user=alice", [("Sec-WebSocket-Key", key)]),
                                    400)

    async def test_a_plain_get_gets_426(self):
        for path in (f"{CHAT}?user=alice", "/push/alice/"):
            status, headers, body = self.server.http("GET", path)
            self.assertEqual(status, 426)
            self.assertEqual(headers["Sec-WebSocket-Version"], "13")
            self.assertIn("error", json.loads(body))

    async def test_a_plain_get_gets_the_reason_of_the_refusal(self):
        for path, status, code in ((f"{CHAT}?user=carol", 403, "not_a_member"),
                                   ("/ws/chat/bob_alice/?user=alice", 400, "bad_group"),
                                   ("/push/Alice/", 400, "bad_user")):
            got, _, body = self.server.http("GET", path)
            self.assertEqual((got, json.loads(body)["error"]["code"]), (status, code))

    async def test_a_page_of_an_allowed_origin_may_send_a_token(self):
        """The browser sends a preflight request first, and passes on no response that its answer
        does not allow."""
        def ask(method, path, origin):
            status, headers, _ = server.http(method, path, None, {
                "Origin": origin, "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization"})
            return status, {name.lower(): value for name, value in headers.items()
                            if name.lower().startswith("access-control-")}

        with Server("--allowed-origins", "https://page.example") as server:
            for path in ("/push/alice/", "/ws/chat/alice_bob/?user=alice",
                         "/api/v1/presence/alice"):
                status, cors = await asyncio.to_thread(ask, "OPTIONS", path, "https://page.example")
                self.assertEqual(status, 204)
                self.assertEqual(cors["access-control-allow-origin"], "https://page.example")
                self.assertEqual(cors["access-control-allow-credentials"], "true")
                self.assertIn("GET", cors["access-control-allow-methods"])
                self.assertIn("Authorization", cors["access-control-allow-headers"])
                status, cors = await asyncio.to_thread(ask, "GET", path, "https://page.example")
                self.assertEqual(cors["access-control-allow-origin"], "https://page.example")
                for origin in ("https://evil.example", "null"):
                    for method in ("OPTIONS", "GET"):
                        status, cors = await asyncio.to_thread(ask, method, path, origin)
                        self.assertIn(status, (403, 405))
                        self.assertEqual(cors, {})

    async def test_checks_have_a_fixed_order(self):
        """If several checks fail, the first in the order is reported."""
        evil = ("Host", "evil.example")
        origin = ("Origin", "http://evil.example")
        chat = ("Sec-WebSocket-Protocol", "chat")
        ladder = [
            (self.ask("/ws/chat/bob_alice/?user=carol", [evil, origin, chat]), 400, "bad_group"),
            (self.ask(f"{CHAT}?user=carol", [evil, origin, chat]), 403, "bad_host"),
            (self.ask(f"{CHAT}?user=carol", [origin, chat]), 403, "bad_origin"),
            (self.ask(f"{CHAT}?user=carol", [chat]), 403, "not_a_member"),
            (self.ask(f"{CHAT}?user=alice", [chat]), 400, "bad_subprotocol"),
        ]
        for response, status, code in ladder:
            self.assert_refused(response, status, code)

    async def test_refusals_release_their_worker(self):
        """More refusals than the web server has workers; the client leaves all connections open."""
        sockets = []
        for _ in range(40):
            raw = RawSocket(self.server)
            sockets.append(raw)
            self.assertEqual(raw.handshake("/ws/chat/bob_alice/?user=bob").status, 400)
        self.assertEqual(self.server.http("GET", "/healthz")[0], 200)
        for raw in sockets:
            self.assertEqual(raw.read_to_end(), b"")
            raw.close()

    async def test_a_refused_request_opens_nothing(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            presence = await receive_json(alice)
            self.assertFalse(presence["presence"]["present"])
            for path, user in (("/ws/chat/bob_alice/", "bob"), (CHAT, "carol")):
                status, _ = await asyncio.to_thread(refuse, self.server, path, user)
                self.assertGreaterEqual(status, 400)
            status, _ = await asyncio.to_thread(refuse, self.server, CHAT, "bob",
                                                drop=["Sec-WebSocket-Key"])
            self.assertEqual(status, 400)
            await self.expect_silence(alice)


if __name__ == "__main__":
    unittest.main()
