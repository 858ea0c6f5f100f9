"""An engine whose host vanishes: packets are dropped in both directions, and nobody is told.

Needs root and a separate network namespace (`unshare --net`), as test_network.py.
"""

import asyncio
import pathlib
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration" / "cluster"))

from support import CHAT, ClusterCase, refusal, say_until, until  # noqa: E402
from test_network import THERE, FarAway  # noqa: E402


class EngineVanishes(ClusterCase):
    async def test_nobody_waits_and_nothing_is_guessed(self):
        far_away = self.stack.enter_context(FarAway())
        engine = self.engine("--protected-mode", "no", host=THERE, within=far_away.within)
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        push = await self.push_tab(n0, "bob")
        dave = await self.tab(n0, "dave", "/ws/chat/carol_dave/")
        carol = await self.tab(n0, "carol", "/ws/chat/carol_dave/")
        self.assertEqual((await alice.say("before", "before"))["route"], "chat")

        far_away.drop_packets()
        sent = [asyncio.create_task(alice.say(f"late-{i}", f"p{i}")) for i in range(5)]
        # Whatever does not need the engine is answered meanwhile.
        pings = 0
        while not all(task.done() for task in sent):
            await dave.ws.send('{"ping":%d}' % pings)
            await dave.wait(lambda: {"pong": pings} in dave.frames, "the pong")
            pings += 1
            await asyncio.sleep(0.02)
        self.assertGreater(pings, 5)
        self.assertEqual({task.result().get("code") for task in sent}, {"undecided"})
        await until(lambda: n0.stats()["cluster_engines_ready"] == 0, "the node knows")
        ack = await dave.say("here", "here")
        self.assertEqual((ack["route"], ack["reached"], ack["partial"]), ("chat", 1, True))
        await carol.wait(lambda: carol.messages() == ["here"], "the message")
        self.assertEqual((await alice.say("there", "there"))["code"], "unavailable")
        self.assertEqual(await refusal(n0, CHAT, "alice"), (503, "unavailable"))

        far_away.pass_packets()
        outcomes = await say_until(alice, "chat", "again")
        self.assertFalse([o for o in outcomes if o.get("route") in ("push", "none")], outcomes)
        await until(lambda: n0.is_ready(2) and n1.is_ready(2), "both nodes are ready")
        self.assertEqual((await alice.say("last", "last"))["route"], "chat")
        await bob.wait(lambda: bob.messages()[-1] == "last", "the last message")
        got = [str(value) for value in bob.messages()]
        self.assertEqual(len(got), len(set(got)), "nothing came twice")
        # What was under way comes too late for the engine, if it comes at all.
        self.assertFalse([value for value in got if value.startswith("late")], got)
        self.assertEqual(push.events(), [])
        self.assertEqual((alice.present, bob.present), ({"bob": True}, {"alice": True}))


if __name__ == "__main__":
    if len(socket.if_nameindex()) > 1:  # a new one has only loopback
        sys.exit("run this in a separate network namespace: "
                 "unshare --net python3 test_cluster_network.py")
    unittest.main()
