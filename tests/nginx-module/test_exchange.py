"""Asking the relay: what it learns, what it answers, and every way in which it can fail."""
import os
import socket
import subprocess
import unittest

from door import PUMPED, refuse
from support import PATIENCE, Client, ModuleCase, Nginx, wait_until


class WhatTheRelayLearns(ModuleCase):
    location = "waystation_user $arg_user; waystation_scopes $arg_scopes;"
    http = "large_client_header_buffers 8 128k;"

    def ask(self):
        return self.door.asks[-1]

    def test_the_request_as_the_client_sent_it(self):
        client = self.client()
        client.upgrade("/push/alice/?x=%2F..&y=a+b",
                       fields=[("X-Twice", "one"), ("Cookie", "a=b"), ("x-twice", "two"), ("X-Empty", "")])
        client.opened()
        ask = self.ask()
        self.assertEqual((ask.method, ask.target, ask.major, ask.minor),
                         ("GET", "/push/alice/?x=%2F..&y=a+b", 1, 1))
        self.assertEqual(ask.fields, [
            ("Host", "localhost"), ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("X-Twice", "one"), ("Cookie", "a=b"), ("x-twice", "two"), ("X-Empty", "")])
        self.assertEqual((ask.address, ask.port, ask.server_port),
                         (*client.socket.getsockname(), self.port))
        self.assertEqual((ask.is_tls, ask.names_user, ask.key), (False, False, b""))
        self.assertEqual(self.door.heres[-1][:2], (0, b""))

    def test_the_user_and_the_scopes_that_nginx_knows(self):
        self.open("/push/alice/?user=alice&scopes=push")
        self.assertEqual((self.ask().names_user, self.ask().user, self.ask().scopes),
                         (True, "alice", "push"))
        # Without a user there are no scopes.
        self.open("/push/alice/?scopes=push")
        self.assertEqual((self.ask().names_user, self.ask().scopes), (False, ""))

    def test_a_user_that_does_not_fit_is_an_error_of_the_configuration(self):
        status, _, _ = self.client().request("/push/a/?user=" + "a" * 257)
        self.assertEqual((status, self.door.asks), (500, []))
        self.assertIn("waystation_user, waystation_scopes: the user has 257 bytes", self.nginx.log())
        self.assertRegex(self.logged()[0], r"^500 \[refused\] \[internal\] ")

    def test_a_method_that_does_not_fit_is_refused(self):
        status, fields, _ = self.client().request("/push/alice/", method="M" * 33)
        self.assertEqual((status, self.door.asks), (405, []))
        self.assertIn(("Allow", "GET"), fields)
        self.assertEqual(self.logged(), ["405 [refused] [method_not_allowed] /push/alice/"])

    def test_a_target_that_does_not_fit_is_refused(self):
        status, _, _ = self.client().request("/push/alice/?" + "a" * 70000)
        self.assertEqual((status, self.door.asks), (414, []))
        self.assertTrue(self.logged()[0].startswith("414 [refused] [too_large] /push/alice/?a"))

    def test_many_and_large_header_fields(self):
        fields = [(f"X-{i}", "v" * 200) for i in range(240)]
        self.client().upgrade("/push/alice/", fields=fields).opened()
        self.assertEqual(self.ask().fields[5:], fields)

    def test_too_many_header_fields_are_refused(self):
        fields = [(f"X-{i}", "v") for i in range(256)]
        status, _, _ = self.client().request("/push/alice/", fields=fields)
        self.assertEqual((status, self.door.asks), (431, []))
        self.assertEqual(self.logged(), ["431 [refused] [too_many_fields] /push/alice/"])

    def test_too_large_header_fields_are_refused(self):
        fields = [(f"X-{i}", "v" * 16000) for i in range(5)]
        status, _, _ = self.client().request("/push/alice/", fields=fields)
        self.assertEqual((status, self.door.asks), (431, []))

    def test_a_higher_minor_version_of_http(self):
        for version, minor in (("1.2", 2), ("1.9", 9), ("1.10", 9), ("1.99", 9)):
            self.client().request("/push/alice/", version=version)
            self.assertEqual((self.ask().major, self.ask().minor), (1, minor))


class Key(ModuleCase):
    location = "waystation_key_file door.key;"
    expected = (r"\[emerg\] .* waystation_key_file: ",)

    def setUp(self):
        self.key = os.urandom(24).replace(b"\n", b"x").replace(b"\r", b"x")
        super().setUp()

    def write_key(self, key, mode=0o600):
        (self.folder / "door.key").write_bytes(key)
        (self.folder / "door.key").chmod(mode)

    def start_nginx(self):
        self.write_key(self.key + b"\n")
        super().start_nginx()

    def test_the_relay_gets_the_key(self):
        self.open()
        self.assertEqual(self.door.asks[0].key, self.key)

    def test_an_unsuitable_key_is_refused(self):
        for key, mode in ((b"x" * 15, 0o600), (b"x" * 257, 0o600), (b"", 0o600), (b"x" * 32, 0o604)):
            self.write_key(key, mode)
            checked = Nginx.check(self.folder)
            self.assertNotEqual(checked.returncode, 0, (key, mode))
            self.assertIn("waystation_key_file: ", checked.stderr)
        for key in (b"x" * 16, b"x" * 256 + b"\r\n"):
            self.write_key(key)
            self.assertEqual(Nginx.check(self.folder).returncode, 0, key)


class Refusals(ModuleCase):
    def test_the_clients_connection_stays_usable(self):
        self.door.messages["no"] = refuse(status=429, code="too_many", body=b'{"error": 1}', fields=(
            ("Content-Type", "application/json"), ("Retry-After", "7"), ("X-Twice", "1"),
            ("X-Twice", "2"), ("Server", "relay"), ("Connection", "close")))
        client = self.client()
        for target in ("/push/alice/?door=no", "/push/bob/?door=no"):
            status, fields, body = client.upgrade(target).answer()
            self.assertEqual((status, body), (429, b'{"error": 1}'))
            names = [field for field in fields if field[0] not in ("Server", "Date")]
            self.assertEqual(names, [
                ("Content-Type", "application/json"), ("Content-Length", "12"),
                ("Connection", "keep-alive"), ("Retry-After", "7"), ("X-Twice", "1"),
                ("X-Twice", "2")])
            self.assertNotIn(("Server", "relay"), fields)
        self.assertEqual(client.request("/")[2], b"elsewhere\n")
        client.upgrade("/push/alice/").opened().echo(b"and admitted")
        self.assertEqual(self.logged(4)[0], "429 [refused] [too_many] /push/alice/?door=no")

    def test_a_request_behind_a_refused_one_is_answered(self):
        self.door.messages["no"] = refuse()
        client = self.client()
        client.upgrade("/push/alice/?door=no", early=b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(client.answer()[0], 403)
        self.assertEqual(client.answer()[2], b"elsewhere\n")

    def test_a_plain_request_is_asked_too(self):
        self.door.messages["get"] = refuse(426, "upgrade_required", (("Upgrade", "websocket"),), b"{}")
        self.door.messages["options"] = refuse(204, "", (("Access-Control-Allow-Methods", "GET"),), b"")
        client = self.client()
        status, fields, _ = client.request("/push/alice/?door=get")
        self.assertEqual(status, 426)
        self.assertIn(("Upgrade", "websocket"), fields)
        self.assertIn(("Connection", "Upgrade"), fields)
        status, fields, _ = client.request("/push/alice/?door=options", method="OPTIONS")
        self.assertEqual(status, 204)
        self.assertIn(("Access-Control-Allow-Methods", "GET"), fields)
        self.assertEqual([ask.method for ask in self.door.asks], ["GET", "OPTIONS"])

    def test_what_cannot_be_handed_over_is_refused(self):
        # The relay would take them all.
        client = self.client()
        status, _, _ = client.request("/push/alice/", fields=[("Content-Length", "4")], body=b"body")
        self.assertEqual(status, 400)
        status, _, _ = self.client().request("/push/alice/", version="1.0")
        self.assertEqual((status, self.door.asks[-1].minor), (426, 0))
        wait_until("the relay's place to be free", lambda: len(self.door.gone) == 2)
        self.assertEqual(self.door.heres, [])

    def test_a_body_does_not_become_the_next_request(self):
        self.door.messages["no"] = refuse(405, "method_not_allowed")
        client = self.client()
        body = b"GET /push/smuggled/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, _, _ = client.request("/push/alice/?door=no", method="POST", body=body,
                                      fields=[("Content-Length", str(len(body)))])
        self.assertEqual(status, 405)
        self.assertEqual(client.request("/")[2], b"elsewhere\n")
        self.assertEqual([ask.target for ask in self.door.asks], ["/push/alice/?door=no"])

    def test_a_relay_that_refuses_nginx_is_logged(self):
        self.door.messages["no"] = refuse(502, "bad_handover")
        self.assertEqual(self.client().upgrade("/push/alice/?door=no").answer()[0], 502)
        self.assertIn("the relay refuses nginx", self.nginx.log())


class Http2(ModuleCase):
    listen = "http2"

    def curl(self, *options):
        got = subprocess.run(
            ["curl", "-sS", "-i", "--http2-prior-knowledge", "--max-time", str(PATIENCE), *options],
            capture_output=True, text=True, check=True)
        return got.stdout.lower()

    def test_a_request_is_asked_and_never_handed_over(self):
        self.door.messages["no"] = refuse(426, "upgrade_required", (("Upgrade", "websocket"),), b"{}")
        said = self.curl(f"http://127.0.0.1:{self.port}/push/alice/?door=no")
        self.assertTrue(said.startswith("http/2 426"), said)
        self.assertNotIn("upgrade:", said)
        self.assertEqual((self.door.asks[0].major, self.door.asks[0].minor), (2, 0))
        said = self.curl(f"http://127.0.0.1:{self.port}/push/alice/")
        self.assertTrue(said.startswith("http/2 426"), said)
        self.assertEqual(self.door.heres, [])


class FailureCase(ModuleCase):
    """An exchange that fails."""

    server = """
        location /fallback/ {
          waystation_pass unix:/nonexistent/door.sock;
          error_page 502 503 504 = @other;
        }
        location @other { return 200 "fallback\\n"; }
        """

    def fails(self, target, status, code):
        client = self.client()
        got, fields, _ = client.upgrade(target).answer()
        self.assertEqual(got, status, target)
        self.assertNotIn("X-Lie", dict(fields))
        self.assertEqual([value for name, value in fields if name == "Retry-After"],
                         ["3"] if status == 503 else [])
        # The same connection, and the same worker, answer further requests.
        self.assertEqual(client.request("/")[2], b"elsewhere\n")
        self.assertIn(f"{status} [unavailable] [{code}] {target}", self.logged(2)[-2:])


class Failures(FailureCase):
    location = """
        waystation_timeout 20s;
        waystation_retry_after 3s;
        """

    def test_no_relay(self):
        self.door.close()
        self.fails("/push/alice/", 503, "no_relay")

    def test_a_relay_that_does_not_listen_any_more(self):
        self.door.close()
        left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        left.bind(str(self.path))
        self.path.chmod(0o666)
        left.close()
        self.fails("/push/alice/", 503, "no_relay")
        self.path.unlink()

    def test_a_door_that_nginx_may_not_open(self):
        self.path.chmod(0o600)
        self.fails("/push/alice/", 503, "no_relay")
        self.assertIn("Permission denied", self.nginx.log())

    def test_a_door_of_another_kind(self):
        self.door.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.bind(str(self.path))
            self.path.chmod(0o666)
            stream.listen()
            self.fails("/push/alice/", 503, "no_relay")
        self.path.unlink()

    def test_a_full_backlog(self):
        self.door.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as full:
            full.bind(str(self.path))
            self.path.chmod(0o666)
            full.listen(0)
            waiting = []
            while True:
                asker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
                self.addCleanup(asker.close)
                waiting.append(asker)
                try:
                    asker.connect(str(self.path))
                except BlockingIOError:
                    break
            self.fails("/push/alice/", 503, "busy")
        self.path.unlink()

    def test_a_relay_that_ends_after_ask(self):
        self.fails("/push/alice/?door=die", 502, "no_answer")

    def test_a_relay_that_ends_after_give(self):
        self.fails("/push/alice/?door=die-after-give", 504, "too_late")

    def test_a_relay_that_ends_with_the_connection_in_its_queue(self):
        # nginx cannot know. The client sees the end, and nobody waits for anything.
        client = self.client().upgrade("/push/alice/?door=close-after-here")
        self.assertEqual(client.read_to_end(), b"")
        self.assertEqual(self.client().request("/")[2], b"elsewhere\n")

    def test_a_relay_that_lies(self):
        sound = refuse(body=b"body")
        lies = [b"\x01", b"\x01\x02\x00", b"\x02\x02\x00\x00", b"\x01\x09\x00\x00",
                b"\x01\x02\x00\x00more", sound[:11], sound[:-1], sound + b"more", sound[:20],
                refuse(status=101), refuse(status=199), refuse(status=600), refuse(fields=(("", "x"),)),
                refuse(fields=(("X-Lie", "a"), ("", "x"))),
                refuse(fields=(("X-A", "b\r\nX-C: d"),)), refuse(fields=(("X\n", "b"),)),
                sound[:4] + b"\xff\xff" + sound[6:], sound[:6] + b"\xff\xff" + sound[8:],
                sound[:8] + b"\xff\xff\xff\xff" + sound[12:]]
        for number, lie in enumerate(lies):
            self.door.messages[f"lie{number}"] = lie
            self.fails(f"/push/alice/?door=lie{number}", 502, "bad_answer")

    def test_the_site_may_have_a_fallback(self):
        status, fields, body = self.client().upgrade("/fallback/").answer()
        self.assertEqual((status, body), (200, b"fallback\n"))
        self.assertNotIn("Retry-After", dict(fields))
        self.assertEqual(self.logged(), ["200 [unavailable] [no_relay] /fallback/"])


class Timeout(FailureCase):
    location = "waystation_timeout 300ms;"

    def test_a_relay_that_hangs(self):
        hanging = [self.client().upgrade(f"/push/alice/?door=hang&{i}") for i in range(20)]
        # Meanwhile the worker has time for others.
        self.assertEqual(self.client().request("/")[2], b"elsewhere\n")
        for client in hanging:
            self.assertEqual(client.answer()[0], 504)
        wait_until("the end of the exchanges", lambda: len(self.door.gone) == 20)
        self.fails("/push/alice/?door=hang", 504, "timeout")


class WhileAsking(ModuleCase):
    location = "waystation_timeout 1h;"

    def ask_slowly(self):
        client = self.client().upgrade("/push/alice/?door=slow")
        wait_until("the ask", lambda: len(self.door.asks) == 1)
        return client

    def test_a_client_that_leaves_frees_the_relays_place(self):
        self.ask_slowly().close()
        wait_until("the end of the exchange", lambda: self.door.gone)
        self.assertEqual(self.logged(), ["499 [-] [-] /push/alice/?door=slow"])
        self.assertEqual(self.door.heres, [])

    def test_a_client_that_resets_frees_the_relays_place(self):
        self.ask_slowly().reset()
        wait_until("the end of the exchange", lambda: self.door.gone)

    def test_bytes_that_arrive_meanwhile_are_the_relays(self):
        client = self.ask_slowly()
        client.send(b"before the answer")
        # nginx has seen them when it has answered a later request.
        self.client().request("/")
        self.door.released.set()
        client.opened()
        self.assertEqual(client.read(17), b"before the answer")
        client.echo(b"after")

    def test_a_worker_that_is_told_to_quit_finishes_its_asks(self):
        client = self.ask_slowly()
        old = self.nginx.reload()
        self.assertEqual(self.client().request("/")[2], b"elsewhere\n")
        self.door.released.set()
        client.opened().echo(b"from the old worker")
        self.ended_workers(old)
        client.echo(b"without a worker")

    def test_a_worker_that_is_ended_ends_its_asks(self):
        client = self.ask_slowly()
        self.nginx.stop()
        self.assertEqual(client.read_to_end(), b"")
        wait_until("the end of the exchange", lambda: self.door.gone)


class ShutdownTimeout(ModuleCase):
    main = "worker_shutdown_timeout 100ms;"

    def test_an_ask_ends_with_its_worker(self):
        client = self.client().upgrade("/push/alice/?door=slow")
        wait_until("the ask", lambda: len(self.door.asks) == 1)
        old = self.nginx.reload()
        client.read_to_end()
        self.ended_workers(old)
        wait_until("the end of the exchange", lambda: self.door.gone)


class EarlyBytes(ModuleCase):
    def test_in_the_packet_of_the_request(self):
        client = self.open(early=b"early")
        self.assertEqual(client.read(5), b"early")
        self.assertEqual(self.door.heres[-1][:2], (0, b"early"))
        client.echo(b"later")

    def test_more_than_nginx_had_read(self):
        data = os.urandom(200_000)
        client = self.client()
        client.upgrade("/push/alice/")
        client.send(data)
        client.opened()
        self.assertEqual(client.read(len(data)), data)

    def test_an_upgrade_pipelined_behind_a_request(self):
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.upgrade("/push/alice/", early=b"early")
        self.assertEqual(client.answer()[2], b"elsewhere\n")
        client.opened()
        self.assertEqual(client.read(5), b"early")
        client.echo(b"later")

    def test_behind_large_header_fields(self):
        client = self.open(early=b"early", fields=[("X-Large", "v" * 5000), ("X-Larger", "v" * 7000)])
        self.assertEqual(client.read(5), b"early")
        client.echo(b"later")
        self.assertEqual(self.door.heres[-1][1], b"early")


class Access(ModuleCase):
    """nginx's own checks run before the relay is asked."""

    server = """
        location = /login { internal; return 401; }
        location = /welcome { internal; return 204; }
        location /denied/ { deny all; waystation_pass unix:door.sock; }
        location /any/ { satisfy any; deny all; auth_request /welcome; waystation_pass unix:door.sock; }
        location /all/ { satisfy all; auth_request /login; waystation_pass unix:door.sock; }
        location /subrequest/ { auth_request /push/sub/; }
        location /if/ { waystation_pass unix:door.sock; if ($arg_never) { set $x 1; } }
        """

    def configuration(self):
        return super().configuration().replace("unix:door.sock", f"unix:{self.path}")

    def test_access_rules_come_first(self):
        self.assertEqual(self.client().upgrade("/denied/").answer()[0], 403)
        self.assertEqual(self.client().upgrade("/all/").answer()[0], 401)
        self.assertEqual(self.door.asks, [])
        self.client().upgrade("/any/").opened().echo(b"admitted")

    def test_a_subrequest_is_not_handed_over(self):
        self.assertEqual(self.client().upgrade("/subrequest/").answer()[0], 500)
        self.assertEqual(self.door.asks, [])
        self.assertIn("waystation_pass: a subrequest has no connection", self.nginx.log())

    def test_an_if_block_keeps_the_locations_handler(self):
        self.client().upgrade("/if/?never=1").opened().echo(b"admitted")


class BehindALoadBalancer(ModuleCase):
    listen = "proxy_protocol"
    server = "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"

    def test_the_relay_gets_the_clients_address(self):
        client = self.client()
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n")
        client.upgrade("/push/alice/", early=b"early").opened()
        self.assertEqual(client.read(5), b"early")
        ask = self.door.asks[0]
        self.assertEqual((ask.address, ask.port), ("192.0.2.7", 5555))
        client.echo(b"later")


class BehindAProxy(ModuleCase):
    server = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"

    def test_the_relay_gets_the_address_that_nginx_trusts(self):
        self.open(fields=[("X-Real-IP", "2001:db8::7")])
        self.assertEqual(self.door.asks[0].address, "2001:db8::7")


class OnAUnixSocket(ModuleCase):
    def configuration(self):
        return super().configuration().replace(
            "location /", f"listen unix:{self.folder}/web.sock; location /", 1)

    def test_a_client_without_an_address(self):
        client = Client.__new__(Client)
        client.server, client.port, client._pending = client, 0, b""
        client.socket = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.socket.settimeout(PATIENCE)
        client.socket.connect(f"{self.folder}/web.sock")
        client.upgrade("/push/alice/").opened().echo(b"handed over")
        ask = self.door.asks[0]
        self.assertEqual((ask.address, ask.port, ask.server_port), ("", 0, 0))
        self.assertFalse(self.door.heres[0][0] & PUMPED)


class Configuration(ModuleCase):
    """Directives that are wrong, and a module that is loaded and not used."""

    def configuration(self):
        return f"server {{ listen 127.0.0.1:{self.port}; return 204; }}"

    def test_loaded_but_not_configured(self):
        self.assertEqual(self.client().request("/push/alice/")[0], 204)

    def check(self, location):
        folder = self.folder / "wrong"
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(
            (self.folder / "nginx.conf").read_text().replace(
                "return 204;", f"location / {{ {location} }}"))
        return Nginx.check(folder)

    def test_wrong_values_are_refused_with_the_allowed_ones(self):
        for location, said in (
                ("waystation_pass 127.0.0.1:80;", "allowed is unix:/PATH"),
                ("waystation_pass unix:;", "allowed is unix:/PATH"),
                ("waystation_pass unix:relative;", "allowed is unix:/PATH"),
                (f"waystation_pass unix:/{'x' * 120};", "too long path"),
                ("waystation_pass unix:/a; waystation_pass unix:/b;", "is duplicate"),
                ("waystation_pass unix:/a; waystation_timeout soon;", "invalid value"),
                ("waystation_pass unix:/a; waystation_retry_after soon;", "invalid value"),
                ("waystation_pass unix:/a; waystation_handover yes;", "it must be \"on\" or \"off\""),
                ("waystation_pass unix:/a; waystation_key_file /nonexistent;", "No such file"),
                ("waystation_pass unix:/a; waystation_key_file /dev;", "is not a file")):
            checked = self.check(location)
            self.assertNotEqual(checked.returncode, 0, location)
            self.assertIn(said, checked.stderr, location)
        self.assertEqual(self.check("waystation_pass unix:/a;").returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
