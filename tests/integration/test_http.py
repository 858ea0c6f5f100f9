"""The HTTP API: notifications, presence, health."""

import asyncio
import json
import unittest

from harness import (Case, RawSocket, close_code, connect, receive, receive_json, scaled)

JSON = {"Content-Type": "application/json"}


class Http(Case):
    OPTIONS = ("--max-connections-per-user", "0", "--max-connections-per-address", "0")

    async def ask(self, *request):
        status, headers, body = await asyncio.to_thread(self.server.http, *request)
        return status, headers, json.loads(body)

    async def assert_refused(self, request, status, code=None):
        got, headers, body = await self.ask(*request)
        self.assertEqual(got, status, body)
        self.assertTrue(headers["Content-Type"].startswith("application/json"))
        self.assertTrue(body["error"]["detail"])
        if code is not None:
            self.assertEqual(body["error"]["code"], code)

    # ---- push

    async def test_a_push_reaches_every_push_socket(self):
        async with connect(self.server, "/push/alice/") as plain, \
                connect(self.server, "/push/alice/", v1=True) as v1, \
                connect(self.server, "/push/bob/") as bob:
            status, _, body = await self.ask("POST", "/api/v1/push/alice", b'{"disk" : "full"}', JSON)
            self.assertEqual((status, body), (200, {"reached": 2}))
            self.assertEqual(await receive(plain),
                             '{"event":{"message":{"disk" : "full"},"group":null}}')
            event = (await receive_json(v1))["event"]
            self.assertEqual((event["group"], event["from"], event["id"]), (None, None, None))
            await self.expect_silence(bob)

    async def test_a_push_without_sockets_reaches_none(self):
        self.assertEqual((await self.ask("POST", "/api/v1/push/nobody", b"1", JSON))[2],
                         {"reached": 0})

    async def test_a_push_may_be_any_json(self):
        for value in (b"null", b"1e400", b'"\\ud800"', b" [ 1 ] ", b"\n{}\n"):
            with self.subTest(value=value):
                self.assertEqual((await self.ask("POST", "/api/v1/push/a", value, JSON))[0], 200)

    async def test_a_push_must_be_json(self):
        for value in (b"", b"hello", b"{", b"01", b"1 2", b"\xff", b'"\xff"', b"NaN",
                      b"[" * 1000 + b"]" * 1000):
            with self.subTest(value=value[:20]):
                await self.assert_refused(("POST", "/api/v1/push/a", value, JSON), 400, "bad_json")

    async def test_a_push_may_be_as_long_as_a_message(self):
        longest = b'"' + b"x" * 65534 + b'"'
        self.assertEqual((await self.ask("POST", "/api/v1/push/a", longest, JSON))[0], 200)
        await self.assert_refused(("POST", "/api/v1/push/a", longest + b" ", JSON), 413, "too_large")

    async def test_a_body_that_is_claimed_to_be_large_is_refused(self):
        with RawSocket(self.server) as raw:
            raw.send(f"POST /api/v1/push/a HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                     "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{}".encode())
            self.assertEqual(raw.response().status, 413)

    async def test_a_chunked_body_gets_411(self):
        with RawSocket(self.server) as raw:
            raw.send(f"POST /api/v1/push/a HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                     "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n".encode())
            response = raw.response()
            self.assertEqual((response.status, json.loads(response.body)["error"]["code"]),
                             (411, "length_required"))
            self.assertEqual(raw.read_to_end(), b"")

    async def test_a_push_needs_the_json_content_type(self):
        for kind in ("text/plain", "application/jsonp", "application/x-www-form-urlencoded", ""):
            with self.subTest(kind=kind):
                await self.assert_refused(("POST", "/api/v1/push/a", b"1", {"Content-Type": kind}),
                                          415)
        for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
            with self.subTest(kind=kind):
                status, _, _ = await self.ask("POST", "/api/v1/push/a", b"1", {"Content-Type": kind})
                self.assertEqual(status, 200)

    async def test_a_push_needs_a_user(self):
        for user in ("Alice", "a_b", "a" * 65, "a.b"):
            with self.subTest(user=user):
                await self.assert_refused(("POST", f"/api/v1/push/{user}", b"1", JSON), 400,
                                          "bad_user")

    async def test_a_push_must_be_a_post(self):
        for method in ("GET", "PUT", "DELETE"):
            with self.subTest(method=method):
                await self.assert_refused((method, "/api/v1/push/alice"), 405)

    async def test_a_push_from_another_origin_is_refused(self):
        await self.assert_refused(("POST", "/api/v1/push/alice", b"1",
                                   {**JSON, "Origin": "http://evil.example"}), 403, "bad_origin")
        await self.assert_refused(("POST", "/api/v1/push/alice", b"1",
                                   {**JSON, "Host": "evil.example"}), 403, "bad_host")

    async def test_a_forwarded_request_is_unidentified(self):
        """Without a trusted proxy no forwarding header makes a client an operator."""
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Proto", "Via"):
            with self.subTest(name=name):
                value = "for=127.0.0.1" if name == "Forwarded" else "127.0.0.1"
                status, _, _ = await self.ask("POST", "/api/v1/push/alice", b"1",
                                              {**JSON, name: value})
                self.assertEqual(status, 403)
                self.assertEqual((await self.ask("GET", "/healthz", None, {name: value}))[0], 403)

    # ---- presence

    async def test_presence_counts_sockets_and_names_groups(self):
        async with connect(self.server, "/ws/chat/alice_bob/", "bob"), \
                connect(self.server, "/ws/chat/alice_bob/", "bob"), \
                connect(self.server, "/ws/chat/bob_carol/", "bob"), \
                connect(self.server, "/push/bob/"), connect(self.server, "/push/bob/"):
            status, _, body = await self.ask("GET", "/api/v1/presence/bob")
            self.assertEqual((status, body),
                             (200, {"user": "bob", "push": 2, "groups": ["alice_bob", "bob_carol"]}))

    async def test_presence_of_an_absent_user_is_empty(self):
        self.assertEqual((await self.ask("GET", "/api/v1/presence/nobody"))[2],
                         {"user": "nobody", "push": 0, "groups": []})
        await self.assert_refused(("GET", "/api/v1/presence/No"), 400, "bad_user")
        await self.assert_refused(("POST", "/api/v1/presence/bob", b""), 405)

    async def test_the_users_who_are_here_page_by_page(self):
        names = sorted(f"user{n}" for n in range(25))
        sockets = [await connect(self.server, f"/push/{name}/") for name in names]
        async with connect(self.server, "/ws/chat/user7_zoe/", "user7"):
            found, after = [], "u"
            while after is not None:
                status, _, page = await self.ask("GET", f"/api/v1/presence?limit=10&after={after}")
                self.assertEqual(status, 200)
                self.assertLessEqual(len(page["users"]), 10)
                found += page["users"]
                after = page["next"]
            self.assertEqual([user["user"] for user in found], names)
            self.assertEqual(found[names.index("user7")],
                             {"user": "user7", "push_sockets": 1, "groups": 1, "nodes": 1})
            for ws in sockets:
                await ws.close()

    async def test_a_wrong_page_is_refused(self):
        for query in ("limit=0", "limit=1001", "limit=99999999999999999999", "limit=x",
                      "after=No", "after=" + "a" * 65, "after=%00", "limit=1&limit=1", "user=bob"):
            await self.assert_refused(("GET", f"/api/v1/presence?{query}"), 400, "bad_query")
        await self.assert_refused(("POST", "/api/v1/presence", b""), 405)

    # ---- sessions

    async def test_ending_a_users_sessions(self):
        async with connect(self.server, "/ws/chat/erin_frank/", "erin") as chat, \
                connect(self.server, "/push/erin/") as push, \
                connect(self.server, "/push/frank/") as frank:
            status, _, body = await self.ask("DELETE", "/api/v1/sessions/erin")
            self.assertEqual((status, body), (200, {"closed": 2}))
            self.assertEqual(await close_code(chat), 4403)
            self.assertEqual(await close_code(push), 4403)
            await self.expect_silence(frank)

    # ---- health, and all else

    async def test_health_reports_counters(self):
        async with connect(self.server, "/ws/chat/gina_hugo/", "gina") as gina, \
                connect(self.server, "/ws/chat/gina_hugo/", "hugo") as hugo:
            before = (await self.ask("GET", "/healthz"))[2]
            self.assertEqual(before["status"], "ok")
            await gina.send('{"message":1}')
            await receive(hugo)
            await gina.send("{")
            await receive(gina)
            await receive(gina)
            after = (await self.ask("GET", "/healthz"))[2]
            self.assertEqual(after["messages_chat"] - before["messages_chat"], 1)
            self.assertEqual(after["errors_sent"] - before["errors_sent"], 1)
            self.assertEqual(after["groups"], before["groups"])
            self.assertGreaterEqual(after["chat_sockets"], 2)
            self.assertNotIn("gina", json.dumps(after))

    async def test_unknown_paths_are_not_found(self):
        # The last ones are patterns that the server registers with CivetWeb.
        for path in ("/api/v1/", "/api/v1/push", "/api/v1/push/a/b", "/api/v2/push/a", "/healthzone",
                     "/metricsx", "/nothing", "/api/v1/**", "/healthz$|/healthz/$", "/healthz$",
                     "/metrics$|/metrics/$", "/metrics$"):
            with self.subTest(path=path):
                status, _, _ = await asyncio.to_thread(self.server.http, "GET", path)
                self.assertEqual(status, 404)

    async def test_http_answers_while_sockets_are_open(self):
        """More sockets than the web server has workers."""
        sockets = [await connect(self.server, "/push/alice/") for _ in range(scaled(200, 60))]
        for _ in range(5):
            self.assertEqual((await self.ask("GET", "/healthz"))[0], 200)
        self.assertEqual((await self.ask("POST", "/api/v1/push/alice", b"1", JSON))[2],
                         {"reached": len(sockets)})
        for ws in sockets:
            self.assertEqual(await receive(ws), '{"event":{"message":1,"group":null}}')
            await ws.close()


if __name__ == "__main__":
    unittest.main()
