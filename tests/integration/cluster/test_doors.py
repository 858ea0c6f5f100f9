"""Upgrades that wait for the engine: on a plain listener, on one with TLS, and through the handover
door. A join is confirmed only after the relay has the socket."""

import asyncio
import contextlib
import os
import subprocess
import sys
import unittest
import unittest.mock

import websockets

from support import CHAT, ClusterCase, Node, Tab, refusal, say_until, scaled, until

import harness  # found by support
from harness import KEPT_DESCRIPTORS

EXAMPLE = os.environ["WAYSTATION_HANDOVER_EXAMPLE"]


class Front:
    """A web server that hands its connections over to a node. Tests connect to it as to the node."""

    def __init__(self, node, door):
        self.node = node
        self.program = subprocess.Popen([sys.executable, EXAMPLE, door], stdout=subprocess.PIPE, text=True)
        self.port = int(self.program.stdout.readline().rstrip("/\n").rsplit(":", 1)[1])

    def url(self, *arguments):
        return self.node.url(*arguments).replace(f":{self.node.port}/", f":{self.port}/")

    def close(self):
        self.program.kill()
        self.program.wait()
        self.program.stdout.close()


class Plain(ClusterCase):
    """On plain listeners; subclasses have other entrances."""

    ENGINES = 3

    async def entrances(self, engine):
        """Two nodes, and where the clients of each connect."""
        nodes = await self.nodes(2, engine.url)
        return nodes, nodes

    async def test_an_upgrade_waits_for_a_slow_engine(self):
        engine = self.engine()
        nodes, (left, right) = await self.entrances(engine)
        alice = await self.tab(left, "alice")
        bob = None
        while bob is None:
            before = nodes[1].descriptors()
            engine.pause()
            opening = asyncio.create_task(self.tab(right, "bob"))
            await until(lambda: nodes[1].descriptors() > before or opening.done(),
                        "the node has the connection")
            self.assertFalse(opening.done() and opening.exception() is None,
                             "the socket opened without the engine")
            engine.resume()
            try:
                bob = await opening
            except websockets.InvalidStatusCode as refused:  # two seconds are over on a slow machine
                self.assertEqual(refused.status_code, 503)
                await self.all_ready(nodes)
        await bob.wait(lambda: bob.present == {"alice": True}, "alice is present")
        await alice.wait(lambda: alice.present.get("bob"), "bob is present")
        self.assertEqual((await alice.say("after", "a"))["route"], "chat")
        await bob.wait(lambda: bob.messages() == ["after"], "the message")
        await bob.say("answer", "b")
        await alice.wait(lambda: alice.messages() == ["answer"], "the answer")

    async def test_an_engine_that_hangs_refuses_it(self):
        engine = self.engine()
        nodes, (left, right) = await self.entrances(engine)
        engine.pause()
        try:
            refused = await asyncio.gather(refusal(left, CHAT, "alice"), refusal(right, "/push/bob/", "bob"))
        finally:
            engine.resume()
        self.assertEqual(refused, [(503, "unavailable")] * 2)
        await self.all_ready(nodes)
        await self.expect_nobody_but(left)

    async def test_a_client_that_leaves_while_it_waits_leaves_nothing(self):
        engine = self.engine()
        nodes, (left, right) = await self.entrances(engine)
        before = nodes[1].descriptors()
        engine.pause()
        count = scaled(20, 4)
        opening = [asyncio.ensure_future(Tab.open(right, CHAT, "bob")) for _ in range(count)]
        # On a slow machine the first ones are refused before the last ones are there.
        await until(lambda: nodes[1].descriptors() >= before + count or any(t.done() for t in opening),
                    "the node has the connections")
        for task in opening:
            task.cancel()
        results = await asyncio.gather(*opening, return_exceptions=True)
        self.assertFalse([result for result in results if isinstance(result, Tab)])
        engine.resume()
        await until(lambda: nodes[1].descriptors() <= before + KEPT_DESCRIPTORS, "they are closed")
        await self.all_ready(nodes)
        await self.expect_nobody_but(left)

    async def expect_nobody_but(self, left):
        alice = await self.tab(left, "alice")
        await alice.wait(lambda: alice.present == {"bob": False}, "bob is absent")
        # `unavailable` while a node subscribes again.
        outcomes = await say_until(alice, "none", "to-nobody")
        self.assertFalse([outcome for outcome in outcomes[:-1] if "route" in outcome], outcomes)


class ThroughTheDoor(Plain):
    async def entrances(self, engine):
        doors = [os.path.join(self.folder, f"door{i}") for i in range(2)]
        nodes = [self.stack.enter_context(Node(self.folder, f"n{i}", engine.url, "--handover", doors[i]))
                 for i in range(2)]
        await self.all_ready(nodes)
        return nodes, [self.stack.enter_context(contextlib.closing(Front(*both)))
                       for both in zip(nodes, doors)]


class WithTls(Plain):
    def setUp(self):
        super().setUp()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", f"{self.folder}/key.pem",
                        "-out", f"{self.folder}/certificate.pem"], check=True, capture_output=True)
        for name, value in ("TLS", self.folder), ("SCHEME", "https"):
            replaced = unittest.mock.patch.object(harness, name, value)
            replaced.start()
            self.addCleanup(replaced.stop)


if __name__ == "__main__":
    unittest.main()
