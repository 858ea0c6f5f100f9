"""The host application: its HTTPS goes on, its callbacks stay, and it may end in any order."""

import asyncio
import json
import os
import signal
import ssl
import unittest

from support import VERSIONS, raw
from harness import (AsyncCase, Case, RawSocket, Server, client_tls, close_code, connect, receive,
                     round_trip, until)
from tls_socket import Session


def page(link, path="/own"):
    """One request on a connection that stays open."""
    link.request("GET", path)
    answer = link.getresponse()
    assert answer.status == 200, answer.status
    return answer.read().decode()


class OwnPages(Case):
    async def test_https_goes_on_while_sockets_come_and_go(self):
        links = [self.server.http_connection() for _ in range(4)]
        try:
            for link in links:
                page(link)
            kept = [link.sock for link in links]
            for turn in range(20):
                async with connect(self.server, "/ws/chat/alice_bob/", "bob"), \
                        connect(self.server, "/ws/chat/alice_bob/", "alice") as alice:
                    await alice.send(f'{{"message":{turn}}}')
                    for link in links:
                        self.assertEqual(await asyncio.to_thread(page, link), "the host's own\n")
                    self.assertEqual(await receive(alice), f'{{"message":{turn}}}')
            self.assertEqual([link.sock for link in links], kept, "no connection was opened again")
        finally:
            for link in links:
                link.close()

    async def test_the_hosts_callback_stays(self):
        link = self.server.http_connection()
        try:
            before = int(page(link, "/own/handshakes"))
            for _ in range(5):
                async with connect(self.server, "/push/alice/", "alice") as alice:
                    await round_trip(alice)
            self.assertGreaterEqual(int(page(link, "/own/handshakes")), before + 5)
        finally:
            link.close()

    def test_versions(self):
        for version in VERSIONS:
            with self.subTest(version), RawSocket(self.server, tls=Session(client_tls(version))) as alice:
                alice.open("/ws/chat/alice_bob/", "alice")
                alice.round_trip()
                name = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}
                self.assertEqual(alice.socket.session.object.version(), name[version])

    def test_refusals_are_answered_over_tls(self):
        with RawSocket(self.server) as alice:
            response = alice.handshake("/ws/chat/bob_alice/?user=alice")
            self.assertEqual((response.status, json.loads(response.body)["error"]["code"]),
                             (400, "bad_group"))
            self.assertEqual(alice.read_to_end(), b"")


class Resumption(Case):
    def test_sessions_are_resumed(self):
        """Tickets of CivetWeb's context. A resumed handshake comes to the same relay."""
        for version in VERSIONS:
            with self.subTest(version):
                context, session = client_tls(version), None
                for turn in range(3):
                    with RawSocket(self.server, tls=Session(context, session)) as alice:
                        alice.open("/push/alice/")
                        alice.round_trip()
                        session = alice.socket.session.object.session


class Unused(AsyncCase):
    """Where the call is missing or cannot work, TLS is refused as without it."""

    def expect_refusal(self, *options):
        with Server(*options) as server, RawSocket(server) as alice:
            response = alice.handshake("/push/alice/")
            error = json.loads(response.body)["error"]
            self.assertEqual((response.status, error["code"]), (501, "tls_unsupported"))
            self.assertEqual(alice.read_to_end(), b"")
            # Its own HTTPS works.
            link = server.http_connection()
            self.assertEqual(page(link), "the host's own\n")
            link.close()
            return error["detail"]

    def test_without_the_call(self):
        self.assertIn("waystation_civetweb_use_openssl", self.expect_refusal("--openssl", "never"))

    def test_the_call_may_come_again(self):
        with Server("--openssl", "twice") as server, RawSocket(server) as alice:
            alice.open("/push/alice/")
            alice.round_trip()

    def test_another_openssl(self):
        """CivetWeb has an OpenSSL of its own, linked statically."""
        program = os.environ["WAYSTATION_BIN"]
        os.environ["WAYSTATION_BIN"] = os.environ["WAYSTATION_TWO_OPENSSL"]
        try:
            self.assertIn("waystation_civetweb_use_openssl", self.expect_refusal("--callback", "no"))
        finally:
            os.environ["WAYSTATION_BIN"] = program


class Ends(AsyncCase):
    """CivetWeb and the relay may end in any order."""

    async def said(self, server, line):
        await until(lambda: line in server.errors(), f"the host says {line!r}")

    async def test_civetweb_first(self):
        with Server() as server:
            async with connect(server, "/ws/chat/alice_bob/", "alice") as alice, \
                    connect(server, "/ws/chat/alice_bob/", "bob") as bob:
                server.signal(signal.SIGUSR1)
                await self.said(server, "host: stopped")
                await alice.send('{"message":"after"}')
                for ws in (alice, bob):
                    self.assertEqual(await receive(ws), '{"message":"after"}')
                server.signal(signal.SIGUSR2)
                await self.said(server, "host: freed")
                for ws in (alice, bob):
                    self.assertIn(await close_code(ws), (1001, 1006))

    async def test_the_relay_first(self):
        with Server() as server:
            async with connect(server, "/ws/chat/alice_bob/", "alice") as alice:
                server.signal(signal.SIGUSR2)
                await self.said(server, "host: freed")
                self.assertIn(await close_code(alice), (1001, 1006))
            link = server.http_connection()
            self.assertEqual(page(link), "the host's own\n")
            link.close()
            with RawSocket(server) as late:
                self.assertEqual(late.handshake("/push/alice/").status, 503)

    async def test_drain(self):
        with Server() as server:
            sockets = [raw(server, version) for version in VERSIONS for _ in range(5)]
            for n, link in enumerate(sockets):
                link.open(f"/push/u{n}/")
            server.signal(signal.SIGHUP)
            for link in sockets:
                self.assertEqual(await asyncio.to_thread(link.read_close), 1001)
                link.send(b"\x88\x82" + bytes(4) + b"\x03\xe9")
                # Ends with close_notify: anything else is an error.
                self.assertEqual(await asyncio.to_thread(link.read_to_end), b"")
                link.close()
            await self.said(server, "host: drained")


if __name__ == "__main__":
    unittest.main()
