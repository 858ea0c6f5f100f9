"""An engine that is killed, restarted, paused and watched."""

import asyncio
import unittest

from support import CHAT, ClusterCase, Node, refusal, say_until, until


class EngineFailures(ClusterCase):
    ENGINES = 5

    async def test_while_the_engine_is_down_only_local_receivers_get_messages(self):
        engine = self.engine()
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        here = await self.tab(n0, "bob")
        there = await self.tab(n1, "bob")
        carol = await self.tab(n0, "alice", "/ws/chat/alice_carol/")
        remote = await self.tab(n1, "carol", "/ws/chat/alice_carol/")
        self.assertEqual((await alice.say(0, "m0"))["reached"], 2)
        engine.kill()
        await until(lambda: n0.stats()["cluster_engines_ready"] == 0, "the node knows")
        ack = await alice.say(1, "m1")
        self.assertEqual((ack["route"], ack["reached"], ack["partial"]), ("chat", 1, True))
        await here.wait(lambda: here.messages() == [0, 1], "the local socket has both")
        self.assertEqual((await carol.say(1, "m1"))["code"], "unavailable")
        self.assertEqual(await refusal(n0, CHAT, "alice"), (503, "unavailable"))
        self.assertTrue(n0.presence("alice")["partial"])
        # Presence keeps its last value.
        self.assertEqual(alice.present, {"bob": True})
        self.assertEqual(carol.present, {"carol": True})

        engine.start()
        outcomes = await say_until(carol, "chat", "again")
        self.assertFalse([o for o in outcomes if o.get("route") in ("push", "none")], outcomes)
        await remote.wait(lambda: len(remote.messages()) == 1, "the message")
        ack = (await say_until(alice, "chat", "again"))[-1]
        await until(lambda: n0.is_ready(2) and n1.is_ready(2), "both nodes are ready")
        self.assertEqual((await alice.say(2, "m2"))["reached"], 2)
        await there.wait(lambda: there.messages()[-1] == 2, "the message")
        self.assertNotIn(1, there.messages()[1:-1])
        self.assertEqual((alice.present, carol.present), ({"bob": True}, {"carol": True}))
        self.assertGreaterEqual(n0.stats()["cluster_resubscriptions"], 1)

    async def test_a_new_node_on_a_restarted_engine_awaits_those_it_does_not_know(self):
        # A slow machine may need longer for the new node than the engine awaits others.
        for _ in range(5):
            if await self.is_new_node_in_time():
                return
        self.fail("the engine awaits nobody, or the machine is too slow")

    async def is_new_node_in_time(self):
        engine = self.engine()
        (n0,) = await self.nodes(1, engine.url)
        bob = await self.tab(n0, "bob")
        push = await self.push_tab(n0, "bob")
        n0.pause()
        try:
            engine.kill()
            fresh = Node(self.folder, "n1", engine.url)
            starting = asyncio.create_task(asyncio.to_thread(self.stack.enter_context, fresh))
            engine.start()
            await starting
            try:
                self.assertEqual(await refusal(fresh, CHAT, "alice"), (503, "unavailable"))
            except AssertionError:
                if engine.is_whole():
                    return False
                raise
        finally:
            n0.resume()
        await until(lambda: bob.closed.is_set() or n0.is_ready(2), "the other one returns")
        if bob.closed.is_set():
            return False
        await until(lambda: fresh.is_ready(2), "the new one enters after it")
        alice = await self.tab(fresh, "alice")
        outcomes = await say_until(alice, "chat", "again")
        self.assertFalse([o for o in outcomes if o.get("route") in ("push", "none")], outcomes)
        await bob.wait(lambda: len(bob.messages()) == 1, "the message")
        await alice.wait(lambda: alice.present == {"bob": True}, "bob is present")
        self.assertEqual(push.events(), [])
        # Nobody else returns: absent is absent then.
        carol = await self.tab(fresh, "carol", "/ws/chat/carol_dave/")
        outcomes = await say_until(carol, "none", "later")
        self.assertTrue(all(o.get("code", "unavailable") == "unavailable" for o in outcomes), outcomes)
        return True

    async def test_messages_under_way_in_a_paused_engine(self):
        engine = self.engine()
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        dave = await self.tab(n0, "dave", "/ws/chat/carol_dave/")
        await self.tab(n0, "carol", "/ws/chat/carol_dave/")
        self.assertEqual((await alice.say("before", "b"))["route"], "chat")
        engine.pause()
        try:
            sent = [asyncio.create_task(alice.say(i, f"p{i}")) for i in range(5)]
            # Whatever does not need the engine is answered at once.
            for i in range(20):
                await dave.ws.send('{"ping":%d}' % i)
                await dave.wait(lambda i=i: {"pong": i} in dave.frames, "the pong")
                await asyncio.sleep(0.05)
            outcomes = await asyncio.gather(*sent)
        finally:
            engine.resume()
        self.assertEqual({o.get("code") for o in outcomes}, {"undecided"}, outcomes)
        after = await say_until(alice, "chat", "after")
        self.assertFalse([o for o in after if o.get("route") in ("push", "none")], after)
        await bob.wait(lambda: len(bob.messages()) >= 2, "the message after the pause")
        await until(lambda: n0.is_ready(2) and n1.is_ready(2), "both nodes are ready")
        last = await alice.say("last", "last")
        self.assertEqual(last["route"], "chat")
        await bob.wait(lambda: bob.messages()[-1] == "last", "the last message")
        # What was under way came in order and once, or not at all; never after what followed.
        got = bob.messages()[1:-1]
        late = [value for value in got if value in range(5)]
        self.assertEqual(len(got), len(set(map(str, got))), got)
        self.assertEqual(late, sorted(late))

    async def test_a_short_pause_decides_every_message_once(self):
        engine = self.engine()
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        engine.pause()
        sent = [asyncio.create_task(alice.say(i, f"p{i}")) for i in range(50)]
        await asyncio.sleep(0.4)
        engine.resume()
        outcomes = await asyncio.gather(*sent)
        self.assertEqual({o.get("route") for o in outcomes}, {"chat"}, outcomes)
        await bob.wait(lambda: len(bob.messages()) == 50, "all messages")
        self.assertEqual(bob.messages(), list(range(50)))

    async def test_lost_subscriptions_come_back(self):
        engine = self.engine()
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        push = await self.push_tab(n0, "bob")
        await alice.say("before", "b")
        for _ in range(5):
            engine.cli("CLIENT", "KILL", "TYPE", "pubsub")
            outcomes = await say_until(alice, "chat", f"kill-{_}")
            self.assertFalse([o for o in outcomes if o.get("route") in ("push", "none")], outcomes)
        self.assertEqual(push.events(), [])
        self.assertEqual((alice.present, bob.present), ({"bob": True}, {"alice": True}))

    async def test_the_engine_never_has_content(self):
        engine = self.writing_engine("data")
        monitor = self.monitor(engine)
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        push = await self.push_tab(n1, "bob")
        secret = "sphinx-of-black-quartz"
        self.assertEqual((await alice.say(secret, "a"))["route"], "push")
        bob = await self.tab(n1, "bob")
        self.assertEqual((await alice.say(secret, "b"))["route"], "chat")
        self.assertEqual(n0.push("bob", f'"{secret}"'), 1)
        await bob.wait(lambda: bob.messages() == [secret], "the message")
        await push.wait(lambda: push.events() == [secret, secret], "the fallback")
        seen = self.everything_seen([monitor])
        self.assertIn(b"alice", seen, "the test looks at the right place")
        self.assertNotIn(secret.encode(), seen)


if __name__ == "__main__":
    unittest.main()
