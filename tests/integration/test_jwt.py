"""Tokens in real upgrades: their places, their expiry, and changes of keys.

Most tokens are signed with Python's own HMAC, so that the code under test does not check itself.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from harness import (V1, AsyncCase, RawSocket, Server, close_code, connect, receive, receive_json,
                     refuse, round_trip, scaled, until)

CHAT = "/ws/chat/alice_bob/"

# The lifetime of a token whose end a test waits for: long enough to open sockets with it.
SHORT_SECONDS = scaled(4, 8)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(key, user="alice", lifetime=3600.0, algorithm="HS256", **claims):
    """A token that is valid for `lifetime` seconds."""
    header = encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    body = encode(json.dumps({"sub": user, "exp": time.time() + lifetime, **claims}).encode())
    signature = hmac.new(key, f"{header}.{body}".encode(), hashlib.sha256).digest()
    return f"{header}.{body}.{encode(signature)}"


class Tokens(AsyncCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="waystation-jwt-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.key = os.urandom(32)
        self.file = self.folder / "keys"
        self.write(self.key)

    def write(self, *keys, mode=0o600, text=None):
        """Replaces the key file atomically."""
        new = self.folder / "keys.new"
        new.write_text(text or "".join(base64.b64encode(key).decode() + "\n" for key in keys))
        new.chmod(mode)
        new.replace(self.file)

    def server(self, *options):
        return Server("--auth", "jwt", "--jwt-key-file", str(self.file), *options)

    def token(self, *arguments, **options):
        return sign(self.key, *arguments, **options)

    def bearer(self, *arguments, **options):
        return {"Authorization": "Bearer " + self.token(*arguments, **options)}

    def open(self, server, path, token, v1=True):
        return connect(server, path, v1=v1, extra_headers={"Authorization": "Bearer " + token})

    def status(self, server, token, path="/push/alice/"):
        """The status of a plain GET on a socket route: 426 if an upgrade would succeed."""
        return server.http("GET", path, headers={"Authorization": "Bearer " + token})[0]

    async def reload(self, server, log):
        """Sends SIGHUP and waits until the server has logged `log` once more."""
        before = server.errors().count(log)
        server.signal(signal.SIGHUP)
        await until(lambda: server.errors().count(log) > before, f"the log says {log!r}")


class Places(Tokens):
    async def test_authorization_cookie_and_subprotocol_are_accepted_on_both_routes(self):
        token = self.token()
        places = {
            "authorization": {"v1": True, "extra_headers": {"Authorization": f"Bearer {token}"}},
            "cookie": {"v1": True,
                       "extra_headers": {"Cookie": f"theme=dark; waystation_token={token}"}},
            "subprotocol": {"subprotocols": [V1, f"bearer.{token}"]},
            "the other way round": {"subprotocols": [f"bearer.{token}", V1]},
        }
        with self.server() as server:
            for place, options in places.items():
                with self.subTest(place):
                    async with connect(server, CHAT, **options) as chat, \
                            connect(server, "/push/alice/", **options) as push:
                        self.assertEqual((chat.subprotocol, push.subprotocol), (V1, V1))
                        # The user is the token's, and no other.
                        self.assertEqual(await receive_json(chat),
                                         {"presence": {"user": "bob", "present": False,
                                                       "reachable": False}})
                        async with self.open(server, CHAT, self.token("bob")) as bob:
                            await receive(bob)
                            await chat.send('{"message":1}')
                            self.assertEqual((await receive_json(bob))["from"], "alice")
            # A plain client has no subprotocol beside it.
            async with self.open(server, "/push/alice/", token, v1=False) as push:
                self.assertIsNone(push.subprotocol)
            self.assertNotIn(token, server.errors())

    async def test_a_bearer_entry_is_never_echoed(self):
        token = self.token()
        with self.server() as server:
            for offers, status in (((V1, f"bearer.{token}"), 101), ((f"bearer.{token}", V1), 101),
                                   ((f"bearer.{token}",), 400), ((f"bearer.{token}x", V1), 401)):
                for path in (CHAT, "/push/alice/"):
                    with self.subTest(status=status, path=path), RawSocket(server) as raw:
                        response = raw.handshake(
                            path, [("Sec-WebSocket-Protocol", ", ".join(offers))])
                        self.assertEqual(response.status, status)
                        self.assertEqual(response.headers.get("sec-websocket-protocol"),
                                         V1 if status == 101 else None)
                        self.assertNotIn(token, json.dumps(response.headers))
                        self.assertNotIn(token.encode(), response.body)
            self.assertNotIn(token, server.errors())

    async def test_a_token_in_the_query_needs_the_option(self):
        path = f"{CHAT}?access_token={self.token()}"
        with self.server() as server:
            self.assertEqual(await asyncio.to_thread(refuse, server, path),
                             (401, "unauthenticated"))
        with self.server("--allow-query-token") as server:
            self.assertEqual(await asyncio.to_thread(refuse, server, path), (101, None))

    async def test_invalid_tokens_are_refused(self):
        # Each token has one fault.
        right = {"iss": "us", "aud": "chat"}
        unsigned = self.token(algorithm="none", **right).rsplit(".", 1)[0] + "."
        cases = (
            ("no token", CHAT, "", 401, "unauthenticated"),
            ("another key", CHAT, sign(os.urandom(32), **right), 401, "unauthenticated"),
            ("no signature", CHAT, unsigned, 401, "unauthenticated"),
            ("an algorithm that is not the key's", CHAT,
             self.token(algorithm="HS512", **right), 401, "unauthenticated"),
            ("expired", CHAT, self.token(lifetime=-1, **right), 401, "unauthenticated"),
            ("not yet", CHAT, self.token(nbf=time.time() + 3000, **right), 401,
             "unauthenticated"),
            ("no expiry", CHAT, self.token(exp=None, **right), 401, "unauthenticated"),
            ("another issuer", CHAT, self.token(iss="them", aud="chat"), 401, "unauthenticated"),
            ("another audience", CHAT, self.token(iss="us", aud="mail"), 401, "unauthenticated"),
            ("no user", CHAT, self.token("Not A User", **right), 403, "bad_subject"),
            ("a stranger", CHAT, self.token("mallory", **right), 403, "not_a_member"),
            ("another's push", "/push/bob/", self.token(**right), 403, "not_that_user"),
        )
        with self.server("--jwt-issuer", "us", "--jwt-audience", "chat") as server:
            for name, path, token, status, code in cases:
                with self.subTest(name):
                    headers = [("Authorization", f"Bearer {token}")] if token else []
                    self.assertEqual(
                        await asyncio.to_thread(refuse, server, path, headers=headers),
                        (status, code))
            good = self.token(iss="us", aud=["mail", "chat"], nbf=time.time() - 60)
            self.assertEqual(await asyncio.to_thread(self.status, server, good), 426)

    async def test_scopes_guard_the_http_api(self):
        with self.server() as server:
            async with self.open(server, "/push/alice/", self.token()) as alice:
                def call(method, path, body=None, **claims):
                    return server.http(method, path, body, {
                        "Content-Type": "application/json", **self.bearer("op", **claims)})[0]

                self.assertEqual(call("POST", "/api/v1/push/alice", b"1"), 403)
                self.assertEqual(call("POST", "/api/v1/push/alice", b"1", scope="push"), 200)
                self.assertEqual((await receive_json(alice))["event"]["message"], 1)
                self.assertEqual(call("DELETE", "/api/v1/sessions/alice", scope="push"), 403)
                await round_trip(alice)
                self.assertEqual(call("DELETE", "/api/v1/sessions/alice", scope="push admin"), 200)
                self.assertEqual(await close_code(alice), 4403)

    async def test_tokens_of_the_command_are_valid_for_every_kind_of_key(self):
        def openssl(*arguments):
            return subprocess.run(["openssl", *arguments], check=True, capture_output=True,
                                  text=True).stdout

        private = {"rsa": openssl("genpkey", "-algorithm", "RSA", "-pkeyopt",
                                  "rsa_keygen_bits:2048"),
                   "ec": openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                                 "ec_paramgen_curve:P-256")}
        secret = f"hmac:{base64.b64encode(self.key).decode()}\n"
        self.write(text=secret + "".join(f"{name}:\n{pem}" for name, pem in private.items()))
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WAYSTATION_")}
        with self.server() as server:
            for name in ("hmac", *private):
                with self.subTest(name):
                    token = subprocess.run(
                        [os.environ["WAYSTATION_BIN"], "token", "issue", "--user", "alice",
                         "--key-id", name, "--jwt-key-file", str(self.file)],
                        check=True, capture_output=True, text=True, env=environment).stdout.strip()
                    async with self.open(server, "/push/alice/", token) as push:
                        await round_trip(push)


class Nesting(Tokens):
    """Token parsers recurse, and the server's workers have stacks of 100 KB."""

    # The maximum depth of a token of 8192 bytes.
    LEVELS = 2900

    def deep_tokens(self):
        good = json.dumps({"alg": "HS256"})
        claims = json.dumps({"sub": "alice", "exp": time.time() + 3600})

        def nested(text, levels=self.LEVELS, brackets=("[", "]")):
            return text[:-1] + ',"x":' + brackets[0] * levels + "0" + brackets[1] * levels + "}"

        def token(header, claims, signature=None):
            text = f"{encode(header.encode())}.{encode(claims.encode())}"
            if signature is None:
                signature = hmac.new(self.key, text.encode(), hashlib.sha256).digest()
            return f"{text}.{encode(signature)}"

        objects = ('{"":', "}")
        return {
            "header, unsigned": token(nested('{"alg":"none"}'), claims, b""),
            "header, any algorithm": token(nested('{"alg":"nothing"}'), claims, b"x"),
            "header, signed": token(nested(good), claims),
            "header, objects": token(nested(good, 1100, objects), claims),
            "header, just enough for a small stack": token(nested(good, 1000), claims, b"x"),
            "claims, unsigned": token(good, nested(claims), b"x"),
            "claims, signed": token(good, nested(claims)),
            "claims, objects": token(good, nested(claims, 1100, objects)),
            "claims that do not end": token(good, "[" * 2 * self.LEVELS),
            "claims, 17 levels": token(good, nested(claims, 16)),
        }

    async def test_a_deeply_nested_token_is_refused_in_every_place(self):
        with self.server("--allow-query-token") as server:
            async with self.open(server, "/push/alice/", self.token()) as push:
                for name, token in self.deep_tokens().items():
                    self.assertLessEqual(len(token), 8192)
                    places = {
                        "authorization": {"headers": [("Authorization", f"Bearer {token}")]},
                        "cookie": {"headers": [("Cookie", f"waystation_token={token}")]},
                        "subprotocol": {"subprotocols": (V1, f"bearer.{token}")},
                        "query": {"path": f"/push/alice/?access_token={token}"},
                    }
                    for place, options in places.items():
                        with self.subTest(token=name, place=place):
                            path = options.pop("path", "/push/alice/")
                            self.assertEqual(
                                await asyncio.to_thread(refuse, server, path, **options),
                                (401, "unauthenticated"))
                    with self.subTest(token=name, place="HTTP API"):
                        self.assertEqual(self.status(server, token, "/api/v1/presence/alice"), 401)
                    with self.subTest(token=name, place="open socket"):
                        await push.send(json.dumps({"token": token}))
                        self.assertEqual((await receive_json(push))["error"]["code"], "bad_token")
                await round_trip(push)
                good = self.token(x=[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]])  # 16 levels, with the claims
                self.assertEqual(self.status(server, good), 426)


class Expiry(Tokens):
    async def test_open_sockets_close_when_their_token_expires(self):
        with self.server() as server:
            end = time.time() + SHORT_SECONDS
            token = self.token(lifetime=SHORT_SECONDS)
            sockets = [await self.open(server, path, token, v1)
                       for path in (CHAT, "/push/alice/") for v1 in (True, False)]
            bob = await self.open(server, CHAT, self.token("bob"))
            self.assertTrue((await receive_json(bob))["presence"]["present"])
            codes = await asyncio.gather(*(close_code(ws) for ws in sockets))
            self.assertEqual(codes, [4401] * 4)
            # Server and test use the same clock, and both read milliseconds.
            self.assertGreaterEqual(time.time(), end - 0.01)
            # A moment ago a push socket was open.
            self.assertEqual(await receive_json(bob), {
                "presence": {"user": "alice", "present": False, "reachable": True}})
            self.assertEqual(self.status(server, token), 401)
            await bob.close()

    async def test_a_new_token_extends_both_kinds_of_sockets(self):
        with self.server() as server:
            token = self.token(lifetime=SHORT_SECONDS)
            chat = await self.open(server, CHAT, token)
            push = await self.open(server, "/push/alice/", token)
            forgetful = [await self.open(server, path, token) for path in (CHAT, "/push/alice/")]
            bob = await self.open(server, CHAT, self.token("bob"))
            for ws in (chat, push):
                await ws.send(json.dumps({"token": self.token()}))
            # Sockets without a new token show that the old one has expired.
            codes = await asyncio.gather(*(close_code(ws) for ws in forgetful))
            self.assertEqual(codes, [4401, 4401])
            await bob.send('{"message":"still there?"}')
            while "message" not in (heard := await receive_json(chat)):
                self.assertIn("presence", heard)
            self.assertEqual(heard["message"], "still there?")
            status, _, body = server.http("POST", "/api/v1/push/alice", b"1", {
                "Content-Type": "application/json", **self.bearer("op", scope="push")})
            self.assertEqual((status, json.loads(body)), (200, {"reached": 1}))
            self.assertEqual((await receive_json(push))["event"]["message"], 1)
            # Without a gap: bob was never told that alice was absent.
            self.assertTrue((await receive_json(bob))["presence"]["present"])
            await self.expect_silence_but_for_acks(bob)
            for ws in (chat, push, bob):
                await ws.close()

    async def expect_silence_but_for_acks(self, ws):
        await round_trip(ws)
        for text in ws.messages:
            self.assertIn("ack", json.loads(text))

    async def test_an_invalid_token_changes_nothing(self):
        with self.server() as server:
            token = self.token(lifetime=SHORT_SECONDS)
            bad = (self.token("bob"), sign(os.urandom(32)), self.token(lifetime=-1), "x.y.z", "")
            sockets = [await self.open(server, path, token) for path in (CHAT, "/push/alice/")]
            await receive(sockets[0])  # presence
            for ws in sockets:
                for wrong in bad:
                    await ws.send(json.dumps({"token": wrong}))
                    self.assertEqual((await receive_json(ws))["error"]["code"], "bad_token")
            self.assertEqual([await close_code(ws) for ws in sockets], [4401, 4401])
            self.assertNotIn(token, server.errors())

    async def test_a_new_token_may_shorten_the_session(self):
        with self.server() as server:
            async with self.open(server, "/push/alice/", self.token()) as push:
                await push.send(json.dumps({"token": self.token(lifetime=SHORT_SECONDS)}))
                self.assertEqual(await close_code(push), 4401)


class Rotation(Tokens):
    async def test_keys_are_changed_while_sockets_are_open(self):
        new = os.urandom(32)
        with self.server() as server:
            old_token, new_token = self.token(), sign(new)
            chat = await self.open(server, CHAT, old_token)
            push = await self.open(server, "/push/alice/", old_token)
            self.assertEqual(self.status(server, new_token), 401)

            # Both for a while, then only the new one.
            self.write(self.key, new)
            server.signal(signal.SIGHUP)
            await until(lambda: self.status(server, new_token) == 426, "the new key counts")
            self.assertEqual(self.status(server, old_token), 426)
            self.write(new)
            server.signal(signal.SIGHUP)
            await until(lambda: self.status(server, old_token) == 401, "the old key counts no more")
            self.assertEqual(self.status(server, new_token), 426)

            # Open sockets stay open, and accept only tokens of the new key.
            await receive(chat)
            async with self.open(server, CHAT, sign(new, "bob")) as bob:
                await receive(bob)
                self.assertTrue((await receive_json(chat))["presence"]["present"])
                await bob.send('{"message":1}')
                self.assertEqual((await receive_json(chat))["message"], 1)
            self.assertFalse((await receive_json(chat))["presence"]["present"])
            await push.send(json.dumps({"token": old_token}))
            self.assertEqual((await receive_json(push))["error"]["code"], "bad_token")
            await push.send(json.dumps({"token": sign(new, lifetime=SHORT_SECONDS)}))
            self.assertEqual(await close_code(push), 4401)
            await round_trip(chat)
            await chat.close()

    def give_away(self):
        """The group of a file that root owns may read it: it is the service's group."""
        if os.geteuid() == 0:
            os.chown(self.file, 4711, 4711)

    async def test_an_invalid_key_file_keeps_the_old_keys(self):
        new = os.urandom(32)
        pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
        broken = {
            "others may read it": lambda: self.write(new, mode=0o604),
            "its group may read it": lambda: (self.write(new, mode=0o640), self.give_away()),
            "it is no key": lambda: self.write(text="this is no key\n"),
            "its secret is short": lambda: self.write(os.urandom(16)),
            "its PEM is broken": lambda: self.write(text=pem),
            "it is empty": lambda: self.write(text="\n"),
            "it is a folder": lambda: (self.file.unlink(), self.file.mkdir()),
            "it is gone": lambda: self.file.rmdir(),
        }
        with self.server() as server:
            old_token, new_token = self.token(), sign(new)
            async with self.open(server, "/push/alice/", old_token) as push:
                for what, spoil in broken.items():
                    with self.subTest(what):
                        spoil()
                        await self.reload(server, "SIGHUP: nothing was changed: jwt_key_file")
                        self.assertEqual(self.status(server, old_token), 426)
                        self.assertEqual(self.status(server, new_token), 401)
                        await round_trip(push)
                # One line each, without content of the file.
                log = server.errors()
                self.assertEqual(log.count("nothing was changed"), len(broken))
                for secret in ("this is no key", "AAAA", base64.b64encode(new).decode()):
                    self.assertNotIn(secret, log)
                # A corrected file is accepted.
                self.write(new)
                server.signal(signal.SIGHUP)
                await until(lambda: self.status(server, new_token) == 426, "the new key counts")
                await round_trip(push)

    async def test_keys_limits_and_issuers_change_together_or_not_at_all(self):
        """After one error in the file none of its values takes effect."""
        settings = self.folder / "waystation.toml"
        settings.write_text("max_connections_per_user = 1\n")
        with self.server("--config", str(settings)) as server:
            async with self.open(server, "/push/alice/", self.token()):
                self.assertEqual(await self.answer(server), (429, "too_many"))
                settings.write_text("max_connections_per_user = 2\njwt_issuer = 'us'\n")
                self.write(text="no key\n")
                await self.reload(server, "SIGHUP: nothing was changed")
                self.assertEqual(await self.answer(server), (429, "too_many"))
                self.write(self.key)
                await self.reload(server, "max_connections_per_user: 1 becomes 2")
                self.assertEqual(await self.answer(server), (401, "unauthenticated"))
                self.assertEqual(await self.answer(server, iss="us"), (101, None))

    async def answer(self, server, **claims):
        headers = list(self.bearer(**claims).items())
        return await asyncio.to_thread(refuse, server, "/push/alice/", headers=headers)


if __name__ == "__main__":
    unittest.main()
