#!/usr/bin/env python3
"""The site that packaging/nginx ships, under the real nginx with a self-signed certificate.

Run by run.sh, which lists the requirements. Everything listens on free loopback ports.
"""
import asyncio
import contextlib
import gzip
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import nginx  # noqa: E402
from nginx import PATIENCE, can_connect, free_port, wait_until  # noqa: E402

SITE = ROOT / "packaging" / "nginx" / "waystation.conf"
PROGRAM = os.environ["WAYSTATION_BIN"]


class Relay:
    """`waystation serve` on a port that stays the same over restarts."""

    def __init__(self, folder, *options, trusted_proxies=("--trusted-proxies", "127.0.0.1")):
        self.port = free_port()
        self.www = folder / "www"
        self.options = (*trusted_proxies, *options)
        self.start()

    def start(self):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WAYSTATION_")}
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--listen", f"127.0.0.1:{self.port}", "--www", str(self.www),
             *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        wait_until("the relay", lambda: can_connect(self.port))

    def stop(self):
        self.process.terminate()
        return self.process.wait(PATIENCE)


class ShippedNginx(nginx.Nginx):
    """The real nginx, with only the shipped site."""

    def __init__(self, folder, relay, change=lambda site: site, main=""):
        self.folder = folder
        self.tls_port = free_port()
        self.plain_port = free_port()
        super().__init__(folder, self.site(relay, change), self.tls_port, main=main)

    def site(self, relay, change):
        """The site with an administrator's usual changes and the settings of a test machine."""
        text = change(SITE.read_text())
        for old, new in ((r"chat\.example;", "localhost;"),
                         (r"/etc/ssl/certs/\S+;", f"{self.folder}/cert.pem;"),
                         (r"/etc/ssl/private/\S+;", f"{self.folder}/key.pem;"),
                         (r"server 127\.0\.0\.1:8080;", f"server 127.0.0.1:{relay.port};"),
                         (r"listen \[::\]:.*;", ""),
                         (r"listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
                         (r"listen 443 ", f"listen 127.0.0.1:{self.tls_port} ")):
            text, count = re.subn(old, new, text)
            assert count, f"the site has no {old} any more; change this test"
        return text


class Forgetful:
    """Takes the relay's place: it answers the first request of a connection and closes it at the
    next one, like a server whose idle timeout expires."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self.accept)
        self.accepting.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection, connection.makefile("rb") as requests:
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                fields = b""
                while (line := requests.readline()).strip():
                    fields += line.lower()
                if b"\nupgrade:" in fields:
                    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n"
                                       b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                requests.readline()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(PATIENCE)


class Login(http.server.BaseHTTPRequestHandler):
    """An existing login: the cookie identifies a user, and carol may push."""

    def do_GET(self):
        user = re.search(r"session=([a-z]+)-secret", self.headers.get("Cookie", ""))
        self.send_response(200 if user else 401)
        if user:
            self.send_header("X-User", user[1])
            if user[1] == "carol":
                self.send_header("X-Scopes", "push")
        self.end_headers()

    def log_message(self, *_):
        pass


class Behind(unittest.IsolatedAsyncioTestCase):
    """A relay behind nginx."""

    options = ()
    main = ""  # configuration of nginx outside of all blocks

    def change(self, site):
        return site

    def start_relay(self):
        return Relay(self.folder, *self.options)

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        # nginx's workers run as another user if its master is root.
        self.folder.chmod(0o755)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"],
                       check=True, capture_output=True)
        www = self.folder / "www"
        (www / "assets").mkdir(parents=True)
        (www / "index.html").write_text("<!doctype html><title>A page</title>" + "<p>words</p>" * 400)
        script = "export const words = 'many of them';\n" * 400
        (www / "assets" / "index-BTjayluZ.js").write_text(script)
        (www / "assets" / "index-BTjayluZ.js.gz").write_bytes(gzip.compress(script.encode(), 9))
        self.relay = self.start_relay()
        self.stack.callback(self.relay.stop)
        self.nginx = ShippedNginx(self.folder, self.relay, self.change, self.main)
        self.stack.callback(self.nginx.stop)
        self.tls = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        self.origin = f"https://localhost:{self.nginx.tls_port}"

    def connect(self, path, **options):
        options.setdefault("origin", self.origin)
        return websockets.connect(f"wss://localhost:{self.nginx.tls_port}{path}", ssl=self.tls,
                                  host="127.0.0.1", port=self.nginx.tls_port, **options)

    async def refused(self, path, **options):
        with self.assertRaises(websockets.InvalidStatusCode) as caught:
            await self.connect(path, **options)
        return caught.exception.status_code

    def get(self, path, **headers):
        connection = http.client.HTTPSConnection("localhost", self.nginx.tls_port,
                                                 timeout=PATIENCE, context=self.tls)
        with contextlib.closing(connection):
            # Exactly this path; http.client does not normalize it either.
            connection.putrequest("GET", path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get_with_http2(self, path, *options):
        """The status and the header fields of the answer to a GET by curl."""
        url = f"https://localhost:{self.nginx.tls_port}{path}"
        ran = subprocess.run(
            ["curl", "--silent", "--show-error", "--http2", "--noproxy", "*", "--include",
             "--max-time", str(PATIENCE), "--cacert", self.folder / "cert.pem", *options, url],
            capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        status, *fields = ran.stdout.split("\n\n")[0].splitlines()
        self.assertEqual(status.split()[0], "HTTP/2")
        return int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields)

    async def hear(self, receiver):
        return json.loads(await asyncio.wait_for(receiver.recv(), PATIENCE))


class Site(Behind):
    without_relay = 502  # the status of a socket then

    def test_nginx_logs_no_warning(self):
        self.assertEqual(self.nginx.warnings, [])

    async def test_chat_and_push_work(self):
        async with self.connect("/ws/chat/alice_bob/?user=alice") as alice, \
                self.connect("/ws/chat/alice_bob?user=bob") as bob, \
                self.connect("/push/carol/") as carol, \
                self.connect("/ws/chat/alice_carol/?user=alice") as other:
            await alice.send('{"message": 1e400, "to_user": "bob"}')
            self.assertEqual(await asyncio.wait_for(bob.recv(), PATIENCE), '{"message":1e400}')
            await other.send('{"message": "hello", "to_user": "carol"}')
            self.assertEqual(await self.hear(carol),
                             {"event": {"message": "hello", "group": "alice_carol"}})

    async def test_the_largest_message_arrives(self):
        text = "x" * 65000
        async with self.connect("/ws/chat/alice_bob/?user=alice") as alice, \
                self.connect("/ws/chat/alice_bob/?user=bob") as bob:
            await alice.send(json.dumps({"message": text, "to_user": "bob"}))
            self.assertEqual((await self.hear(bob))["message"], text)

    async def test_another_origin_is_refused(self):
        self.assertEqual(await self.refused("/ws/chat/alice_bob/?user=alice",
                                            origin="https://elsewhere.example"), 403)

    def test_a_plain_get_is_answered_over_http2(self):
        status, fields = self.get_with_http2("/push/alice/")
        self.assertEqual(status, 426)
        self.assertNotIn("upgrade", fields)
        self.assertIn("strict-transport-security", fields)
        # HTTP/1.1 requires the field of a 426 (RFC 9110, section 15.5.22).
        status, fields, _ = self.get("/push/alice/")
        self.assertEqual((status, fields["Upgrade"]), (426, "websocket"))
        self.assertIn("Strict-Transport-Security", fields)

    def test_a_refusal_arrives_with_its_reason(self):
        status, _, body = self.get("/ws/chat/bob_alice/?user=alice")
        self.assertEqual((status, json.loads(body)["error"]["code"]), (400, "bad_group"))

    def test_operators_routes_are_hidden(self):
        for path in ("/metrics", "/metrics/", "/METRICS", "/%6detrics", "//metrics", "/./metrics",
                     "/x/../metrics", "/healthz", "/healthz/", "/Healthz", "/%68ealthz",
                     "//healthz", "/healthz?x", "/metrics%2f"):
            status, _, body = self.get(path)
            self.assertIn(status, (400, 404), path)
            self.assertNotIn(b"waystation_", body, path)
            self.assertNotIn(b'"sockets"', body, path)

    def test_the_page_is_compressed_and_cached(self):
        status, headers, body = self.get("/", Accept_Encoding="gzip")
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertIn(b"A page", gzip.decompress(body))
        status, headers, body = self.get("/assets/index-BTjayluZ.js", Accept_Encoding="gzip")
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertIn("immutable", headers["Cache-Control"])
        status, _, body = self.get("/assets/index-BTjayluZ.js", Accept_Encoding="gzip",
                                   If_None_Match=headers["ETag"])
        self.assertEqual((status, body), (304, b""))

    def test_plain_http_redirects_to_https(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.plain_port,
                                                timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/x?y", headers={"Host": "localhost"})
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.headers["Location"]),
                             (308, "https://localhost/x?y"))

    async def test_a_restart_of_the_relay_closes_with_1001(self):
        async with self.connect("/ws/chat/alice_bob/?user=alice") as alice, \
                self.connect("/push/bob/") as bob:
            self.assertEqual(await asyncio.to_thread(self.relay.stop), 0)
            for client in (alice, bob):
                await asyncio.wait_for(client.wait_closed(), PATIENCE)
                self.assertEqual(client.close_code, 1001)
        self.assertEqual(await self.refused("/push/bob/"), self.without_relay)
        await asyncio.to_thread(self.relay.start)
        async with self.connect("/push/bob/"):
            pass

    async def test_ten_reloads_lose_nothing(self):
        async with self.connect("/ws/chat/alice_bob/?user=alice") as alice, \
                self.connect("/ws/chat/alice_bob/?user=bob") as bob, \
                self.connect("/push/carol/") as carol, \
                self.connect("/ws/chat/carol_dave/?user=dave") as dave:
            said = 0
            is_over = False

            async def speak():
                nonlocal said
                while not is_over:
                    await alice.send(json.dumps({"message": said, "to_user": "bob"}))
                    await dave.send(json.dumps({"message": said, "to_user": "carol"}))
                    said += 1
                    await asyncio.sleep(0.03)

            async def listen(receiver, number, value):
                while number is None or len(value) < number():
                    frame = await self.hear(receiver)
                    value.append(frame.get("event", frame)["message"])

            by_bob, by_carol = [], []
            speaking = asyncio.create_task(speak())
            for _ in range(10):
                await asyncio.to_thread(self.nginx.reload)
                # A message is sent between any two reloads.
                before = said
                while said < before + 2:
                    await asyncio.sleep(0.01)
            is_over = True
            await speaking
            await listen(bob, lambda: said, by_bob)
            await listen(carol, lambda: said, by_carol)
            self.assertEqual(by_bob, list(range(said)))
            self.assertEqual(by_carol, list(range(said)))
            # New clients reach the new workers.
            async with self.connect("/ws/chat/alice_bob/?user=bob") as newcomer:
                await alice.send('{"message": "welcome", "to_user": "bob"}')
                self.assertEqual(await self.hear(newcomer), {"message": "welcome"})


class Forgotten(unittest.TestCase):
    """A relay in open mode, limited to loopback, behind an nginx that is not a configured proxy. To
    the relay every client has a loopback address."""

    # Common configurations, from the shortest one on.
    LOCATIONS = (
        "",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_http_version 1.1; proxy_set_header Via nginx;",
        "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;",
        # With the host name that the browser used, which is not loopback.
        "proxy_http_version 1.1; proxy_set_header Host $http_host;"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
    )

    def test_forwarded_clients_are_unidentified(self):
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)
            relay = Relay(folder, trusted_proxies=())
            stack.callback(relay.stop)
            ports = [free_port() for _ in self.LOCATIONS]
            site = "".join(
                f"server {{ listen 127.0.0.1:{port};"
                f" location / {{ proxy_pass http://127.0.0.1:{relay.port}; {location} }} }}\n"
                for port, location in zip(ports, self.LOCATIONS))
            stack.callback(nginx.Nginx(folder, site, ports[0]).stop)
            self.assertEqual(self.ask(relay.port, "GET", "/push/alice/", "127.0.0.1"), 426)
            self.assertEqual(self.ask(relay.port, "GET", "/healthz", "127.0.0.1"), 200)
            for port, location in zip(ports, self.LOCATIONS):
                for method, path in (("GET", "/push/alice/"), ("GET", "/healthz"),
                                     ("GET", "/ws/chat/alice_bob/?user=alice"), ("GET", "/metrics"),
                                     ("GET", "/api/v1/presence/alice"),
                                     ("DELETE", "/api/v1/sessions/alice"),
                                     ("POST", "/api/v1/push/alice")):
                    self.assertIn(self.ask(port, method, path, "chat.example"), (401, 403),
                                  (location, method, path))

    @staticmethod
    def ask(port, method, path, host):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            body = "1" if method == "POST" else None
            connection.request(method, path, body,
                               {"Host": host, "Content-Type": "application/json"})
            return connection.getresponse().status


class Limits(Behind):
    options = ("--max-connections-per-address", "2")

    async def test_limits_see_the_real_client(self):
        async with self.connect("/push/alice/"), self.connect("/push/bob/"):
            self.assertEqual(await self.refused("/push/carol/"), 429)
            # The client's own forwarding header does not count.
            self.assertEqual(await self.refused(
                "/push/carol/", extra_headers={"X-Forwarded-For": "127.0.0.9"}), 429)
            async with self.connect("/push/carol/", local_addr=("127.0.0.2", 0)):
                pass


class KeptConnections(Behind):
    def start_relay(self):
        return Forgetful()

    def after_a_page(self, method, path, **headers):
        """The status of a request after one for the page. Then nginx has an open connection to the
        relay. The client keeps its own connection, so that the same worker serves it."""
        connection = http.client.HTTPSConnection("localhost", self.nginx.tls_port,
                                                 timeout=PATIENCE, context=self.tls)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            self.assertEqual(connection.getresponse().read(), b"ok")
            connection.request(method, path, body="{}" if method == "POST" else None,
                               headers=headers)
            return connection.getresponse().status

    def test_an_upgrade_uses_a_new_connection(self):
        self.assertEqual(self.after_a_page("GET", "/push/alice/", Connection="Upgrade",
                                           Upgrade="websocket"), 101)

    def test_a_push_uses_a_new_connection(self):
        self.assertEqual(self.after_a_page("POST", "/api/v1/push/alice"), 200)

    def test_a_page_request_is_retried(self):
        self.assertEqual(self.after_a_page("GET", "/index.html"), 200)


class Scopes(Behind):
    """The site with nginx's own login, which has users and no scopes."""

    options = ("--auth", "header", "--scopes-header", "X-Forwarded-Scopes")

    def change(self, site):
        site, count = re.subn(r'(?m)^( *proxy_set_header X-Forwarded-User) "";', r'\1 "alice";', site)
        self.assertEqual(count, 2)
        return site

    def test_a_client_cannot_choose_its_user(self):
        status, _, _ = self.get("/api/v1/presence/alice", X_Forwarded_Scopes="push admin")
        self.assertEqual(status, 403)


class LoginThatExists(Behind):
    options = ("--auth", "header", "--scopes-header", "X-Forwarded-Scopes")

    def change(self, site):
        # As the site's last comment says: its locations replace those for sockets and the API.
        shown = re.search(r"(?ms)^  #   location ~ .*?^  #   }\n  #   location = .*?^  #   }\n", site)
        self.assertIsNotNone(shown, "the site shows no auth_request any more; change this test")
        for location in (r"~ \^/\(ws/chat\|push\)/", "/api/v1/"):
            site, count = re.subn(r"(?ms)^  location " + location + r" {.*?^  }\n", "", site)
            self.assertEqual(count, 1)
        locations = re.sub(r"(?m)^  #   ?", "  ", shown[0])
        locations = locations.replace("127.0.0.1:9000", f"127.0.0.1:{self.login.server_port}")
        return site.replace(shown[0], locations)

    def setUp(self):
        self.login = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Login)
        serving = threading.Thread(target=self.login.serve_forever)
        serving.start()
        self.addCleanup(serving.join)
        self.addCleanup(self.login.server_close)
        self.addCleanup(self.login.shutdown)
        super().setUp()

    async def test_a_logged_in_user_is_admitted(self):
        cookie = {"Cookie": "session=alice-secret"}
        async with self.connect("/push/alice/", extra_headers=cookie):
            pass
        self.assertEqual(await self.refused("/push/bob/", extra_headers=cookie), 403)

    def test_a_logged_in_users_plain_get_is_answered_over_http2(self):
        status, fields = self.get_with_http2("/push/alice/", "--cookie", "session=alice-secret")
        self.assertEqual(status, 426)
        self.assertNotIn("upgrade", fields)
        self.assertIn("strict-transport-security", fields)

    async def test_other_users_are_refused_whatever_their_headers(self):
        self.assertEqual(await self.refused("/push/alice/"), 401)
        self.assertEqual(await self.refused(
            "/push/alice/", extra_headers={"X-Forwarded-User": "alice"}), 401)
        self.assertEqual(await self.refused(
            "/push/bob/", extra_headers={"X-Forwarded-User": "bob",
                                         "Cookie": "session=alice-secret"}), 403)

    def test_the_api_ignores_the_clients_headers(self):
        claims = {"X_Forwarded_User": "carol", "X_Forwarded_Scopes": "push admin"}
        self.assertEqual(self.get("/api/v1/presence/alice", **claims)[0], 401)
        alice = {"Cookie": "session=alice-secret"}
        self.assertEqual(self.get("/api/v1/presence/alice", **alice)[0], 403)
        self.assertEqual(self.get("/api/v1/presence/alice", **alice, **claims)[0], 403)

    def test_the_login_decides_who_may_use_the_api(self):
        carol = {"Cookie": "session=carol-secret"}
        self.assertEqual(self.get("/api/v1/presence/alice", **carol)[0], 200)
        # It may do nothing else.
        self.assertEqual(self.get("/api/v1/audit", X_Forwarded_Scopes="admin", **carol)[0], 403)


if __name__ == "__main__":
    unittest.main(verbosity=2)
