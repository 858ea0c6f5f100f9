"""nginx and the real relay: conversations, what survives, and what it costs."""
import asyncio
import contextlib
import json
import re
import signal
import time
import unittest

import websockets

from support import LONG, PATIENCE, Client, ModuleCase, certificate, descriptors, wait_until
from harness import TEXT, Server, frame, raise_descriptor_limit


class RelayCase(ModuleCase):
    """The door is that of `waystation serve`, which has no other way to these clients."""

    options = ("--max-message-bytes", "262144")

    def open_door(self):
        self.start_relay()
        return None

    def start_relay(self):
        self.relay = self.stack.enter_context(Server("--handover", str(self.path), *self.options))
        self.path.chmod(0o666)  # nginx's workers are another user

    def start_nginx(self):
        self.context = certificate(self.folder)
        super().start_nginx()

    def configuration(self):
        return super().configuration().replace("server {", f"""
            ssl_certificate {self.folder}/cert.pem;
            ssl_certificate_key {self.folder}/key.pem;
            server {{ listen 127.0.0.1:{self.tls_port} ssl;""", 1)

    def join(self, path, tls=False, **options):
        port = self.tls_port if tls else self.port
        client = Client(port, self.context if tls else None, **options)
        self.addCleanup(client.close)
        return client.upgrade(path).opened()

    def counter(self, result):
        """The relay's counter of handover results."""
        _, _, body = self.relay.http("GET", "/metrics")
        return int(re.search(rf'^waystation_handovers_total{{result="{result}"}} (\d+)$', body.decode(),
                             re.M)[1])

    def hears(self, receiver, message):
        self.assertEqual(json.loads(receiver.read_message()), {"message": message})


def tell(client, message, to_user):
    client.say(json.dumps({"message": message, "to_user": to_user}))


class Conversation(RelayCase):
    def test_chat_and_push(self):
        for tls in (False, True):
            with self.join("/ws/chat/alice_bob/?user=alice", tls) as alice, \
                    self.join("/ws/chat/alice_bob/?user=bob", tls) as bob, \
                    self.join("/push/carol/", tls) as carol, \
                    self.join("/ws/chat/alice_carol/?user=alice", tls) as other:
                tell(alice, "to bob", "bob")
                self.hears(bob, "to bob")
                tell(other, "to carol", "carol")
                self.assertEqual(json.loads(carol.read_message()),
                                 {"event": {"message": "to carol", "group": "alice_carol"}})
        # The conversation in plain HTTP was handed over, the other one pumped.
        self.assertEqual((self.counter("handed"), self.counter("pumped")), (4, 4))

    def test_large_messages_and_early_ones(self):
        for tls in (False, True):
            with self.join("/ws/chat/alice_bob/?user=bob", tls) as bob:
                alice = Client(self.tls_port if tls else self.port, self.context if tls else None)
                early = json.dumps({"message": "early", "to_user": "bob"}).encode()
                with alice.upgrade("/ws/chat/alice_bob/?user=alice", early=frame(TEXT, early)).opened():
                    self.hears(bob, "early")
                    text = "x" * 200_000
                    tell(alice, text, "bob")
                    self.hears(bob, text)
                    # The sender's own socket is in the group too.
                    self.hears(alice, "early")
                    self.hears(alice, text)
                    tell(bob, "y" * 200_000, "alice")
                    self.hears(alice, "y" * 200_000)

    def test_closing_from_either_side(self):
        for tls in (False, True):
            client = self.join("/push/alice/", tls)
            client.send(frame(8, b"\x03\xe8"))
            self.assertEqual(client.read_close(), 1000)
            self.assertEqual(client.read_to_end(), b"")
            client = self.join("/push/alice/", tls)
            self.relay.http("DELETE", "/api/v1/sessions/alice")
            self.assertEqual(client.read_close(), 4403)
            client.send(frame(8, b"\x11\x33"))
            self.assertEqual(client.read_to_end(), b"")
        self.assertEqual(self.relay.presence("alice")["push"], 0)

    def test_refusals_are_those_of_the_relay(self):
        for target, status, code in (("/ws/chat/bob_alice/?user=alice", 400, "bad_group"),
                                     ("/push/UPPER/", 400, "bad_user"),
                                     ("/ws/chat/alice_bob/?user=carol", 403, "not_a_member")):
            direct = Client(self.relay.port)
            with direct:
                self.assertEqual(direct.upgrade(target).answer()[0], status)
            for tls in (False, True):
                with Client(self.tls_port if tls else self.port,
                            self.context if tls else None) as client:
                    for _ in range(2):
                        got, fields, body = client.upgrade(target).answer()
                        self.assertEqual((got, json.loads(body)["error"]["code"]), (status, code))
                        self.assertEqual(dict(fields)["Content-Type"], "application/json")
        self.assertEqual(self.counter("refused"), 12)
        self.assertIn("400 [refused] [bad_group] /ws/chat/bob_alice/?user=alice", self.logged(12))

    def test_a_page_learns_why_its_socket_was_refused(self):
        client = self.client()
        status, fields, body = client.request("/push/alice/")
        self.assertEqual((status, json.loads(body)["error"]["code"]), (426, "upgrade_required"))
        self.assertEqual(dict(fields)["Sec-WebSocket-Version"], "13")
        status, _, body = client.request("/push/UPPER/")
        self.assertEqual((status, json.loads(body)["error"]["code"]), (400, "bad_user"))
        self.assertEqual(client.request("/push/alice/", method="POST",
                                        fields=[("Content-Length", "2")], body=b"{}")[0], 405)

    def test_the_relays_restart(self):
        client = self.join("/push/alice/")
        self.relay.signal(signal.SIGTERM)
        self.assertEqual(client.read_close(), 1001)
        client.close()
        self.relay.wait()
        status, fields, _ = self.client().upgrade("/push/alice/").answer()
        self.assertEqual((status, dict(fields)["Retry-After"]), (503, "5"))
        self.start_relay()
        self.join("/push/alice/")


class Identity(RelayCase):
    options = ("--auth", "header", "--trusted-proxies", "127.0.0.1")
    location = "waystation_user $arg_login; waystation_scopes $arg_scopes;"

    def test_only_nginx_names_the_user(self):
        claims = [("X-Forwarded-User", "alice"), ("X-Forwarded-For", "127.0.0.1")]
        status, _, body = self.client().upgrade("/push/alice/", fields=claims).answer()
        self.assertEqual((status, json.loads(body)["error"]["code"]), (401, "unauthenticated"))
        with self.client().upgrade("/push/alice/?login=alice", fields=claims).opened():
            pass
        status, _, body = self.client().upgrade("/push/bob/?login=alice").answer()
        self.assertEqual((status, json.loads(body)["error"]["code"]), (403, "not_that_user"))


class Fallback(RelayCase):
    """An error_page that leads to proxy_pass."""

    options = ("--trusted-proxies", "127.0.0.1")

    def configuration(self):
        return super().configuration().replace("location / ", f"""
            location /fallback/ {{
              waystation_pass unix:/nonexistent/door.sock;
              error_page 502 503 504 = @relay;
            }}
            location @relay {{
              rewrite ^/fallback(/.*) $1 break;
              proxy_pass http://127.0.0.1:{self.relay.port};
              proxy_http_version 1.1;
              proxy_set_header Host $http_host;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection upgrade;
            }}
            location / """)

    def test_a_conversation_without_the_door(self):
        with self.join("/fallback/push/alice/") as alice:
            self.relay.push("alice", '"by proxy_pass"')
            self.assertIn("by proxy_pass", alice.read_message())
        self.assertEqual(self.logged(), ["101 [unavailable] [no_relay] /fallback/push/alice/"])


class OpenMode(RelayCase):
    listen = "proxy_protocol"
    server = "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"

    def test_only_this_machine_is_admitted(self):
        for address, status in (("127.0.0.1", 101), ("192.0.2.7", 401)):
            client = self.client()
            client.send(f"PROXY TCP4 {address} 127.0.0.1 5555 80\r\n".encode())
            self.assertEqual(client.upgrade("/push/alice/").answer()[0], status)


class Key(RelayCase):
    location = "waystation_key_file door.key;"

    def start_relay(self):
        key = self.folder / "door.key"
        key.write_text("0123456789abcdef\n")
        key.chmod(0o600)
        self.options = ("--handover-key-file", str(key))
        super().start_relay()

    def test_the_right_key_opens(self):
        self.join("/push/alice/")

    def test_a_wrong_key_does_not(self):
        (self.folder / "door.key").write_text("0123456789abcdeX\n")
        old = self.nginx.reload()
        self.ended_workers(old)
        self.assertEqual(self.client().upgrade("/push/alice/").answer()[0], 502)
        self.assertIn("the relay refuses nginx", self.nginx.log())


class Many(RelayCase):
    """5,000 sockets through two workers."""

    workers = 2
    options = ("--max-connections", "6000", "--max-connections-per-address", "6000")
    count = 5000

    def test_five_thousand_sockets(self):
        limit = raise_descriptor_limit()
        self.assertGreater(limit, self.count + 200)
        self.join("/push/user0/").close()
        workers = sorted(self.nginx.workers())
        files = [descriptors(worker) for worker in workers]
        clients = [self.join(f"/push/user{number}/") for number in range(self.count)]
        self.logged(self.count + 1)
        # Far more than nginx has connections for: none of them is nginx's. It logs before it closes.
        wait_until("its descriptors",
                   lambda: sum(descriptors(worker) for worker in workers) <= sum(files) + 2)
        self.assertGreaterEqual(self.relay.descriptors(), self.count)
        for number in (0, 1, self.count // 2, self.count - 1):
            self.relay.push(f"user{number}", '"to one of them"')
            self.assertEqual(json.loads(clients[number].read_message())["event"]["message"],
                             "to one of them")
        old = self.nginx.reload()
        self.ended_workers(old)
        for number in (0, self.count - 1):
            self.relay.push(f"user{number}", '"after a reload"')
            clients[number].read_message()
        self.assertEqual(self.counter("handed"), self.count + 1)


class ReloadsUnderLoad(RelayCase):
    """1,000 messages a second while nginx reloads every second: none is lost, none is doubled, and
    none is late by more than a reload takes. A conversation that does not go through nginx shows how
    late this test itself is."""

    reloads = 60 if LONG else 4
    rate = 1000
    options = ("--messages-per-second", "10000", "--message-burst", "10000")

    def connect(self, path, tls=False, port=None):
        options = {"ssl": self.context, "server_hostname": "localhost"} if tls else {}
        port = port or (self.tls_port if tls else self.port)
        return websockets.connect(f"ws{'s' if tls else ''}://localhost{path}", host="127.0.0.1",
                                  port=port, ping_interval=None, **options)

    def test_nothing_is_lost_doubled_or_late(self):
        # A stalled machine may delay one conversation and not the other. It seldom does so twice.
        self.assertTrue(any(asyncio.run(self.is_in_time()) for _ in range(2)), "messages are late")

    async def is_in_time(self):
        """Nothing is lost or doubled. True: nothing was late."""
        is_over = False

        async def speak(sender, to_user):
            """Sends the time of each message. Returns what it sent."""
            sent = []
            began = time.monotonic()
            while not is_over:
                # Evenly, and catching up after a pause.
                while len(sent) < (time.monotonic() - began) * self.rate / 2:
                    sent.append(time.monotonic())
                    await sender.send(json.dumps({"message": sent[-1], "to_user": to_user}))
                await asyncio.sleep(0.001)
            await sender.send(json.dumps({"message": "end", "to_user": to_user}))
            return sent

        async def listen(receiver):
            """Returns what it received, and the longest time from sending to receiving."""
            received, longest = [], 0
            while (message := json.loads(await receiver.recv())["message"]) != "end":
                received.append(message)
                longest = max(longest, time.monotonic() - message)
            return received, longest

        pauses = []
        async with contextlib.AsyncExitStack() as stack:
            tasks = []
            for sender, receiver, options in (
                    ("alice", "bob", {}), ("carol", "dave", {"tls": True}),
                    ("erin", "frank", {"port": self.relay.port})):
                path = f"/ws/chat/{sender}_{receiver}/?user="
                ends = [await stack.enter_async_context(self.connect(path + user, **options))
                        for user in (sender, receiver)]
                # A sender's socket gets its messages too.
                tasks += [asyncio.create_task(work) for work in (
                    speak(ends[0], receiver), listen(ends[1]), listen(ends[0]))]
            for _ in range(self.reloads):
                began = time.monotonic()
                await asyncio.to_thread(self.nginx.reload)
                # New clients reach the new workers.
                async with self.connect("/push/grace/"):
                    pauses.append(time.monotonic() - began)
                await asyncio.sleep(max(0, 1 - pauses[-1]))
            is_over = True
            results = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        conversations = [results[first:first + 3] for first in (0, 3, 6)]
        for sent, *copies in conversations:
            self.assertGreater(len(sent), self.reloads * self.rate / 4)
            for received, _ in copies:
                self.assertEqual(received, sent)
        *through_nginx, direct = (max(longest for _, longest in copies)
                                  for _, *copies in conversations)
        return max(through_nginx) < direct + max(pauses)


if __name__ == "__main__":
    unittest.main(verbosity=2)
