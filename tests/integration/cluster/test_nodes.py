"""Users of a group on several nodes, and nodes that end, pause and return."""

import asyncio
import json
import os
import subprocess
import unittest

from support import CHAT, PATIENCE, ClusterCase, Node, connect, refusal, say_until, until


class Nodes(ClusterCase):
    ENGINES = 17

    async def test_a_conversation_over_two_nodes(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        alice = await self.tab(n0, "alice")
        await alice.wait(lambda: alice.present == {"bob": False}, "alice is alone")
        push = await self.push_tab(n1, "bob")
        self.assertEqual((await alice.say("first", "a"))["route"], "push")
        await push.wait(lambda: push.events() == ["first"], "bob's push socket has it")

        bob = await self.tab(n1, "bob")
        await alice.wait(lambda: alice.present == {"bob": True}, "bob is present")
        await bob.wait(lambda: bob.present == {"alice": True}, "alice is present")
        twin = await self.tab(n1, "alice")
        ack = await alice.say({"value": [1, 2.50]}, "b")
        self.assertEqual((ack["route"], ack["reached"]), ("chat", 1))
        for tab in (bob, twin):
            await tab.wait(lambda tab=tab: tab.messages() == [{"value": [1, 2.5]}], "it arrives")
        self.assertEqual(push.events(), ["first"])

        for _ in range(4):
            await self.tab(n0, "bob")
        self.assertEqual((await alice.say("to five", "c"))["reached"], 5)
        await bob.ws.send(json.dumps({"signal": {"typing": True}}))
        for tab in (alice, twin):
            await tab.wait(lambda tab=tab: any("signal" in f for f in tab.frames), "the signal")
        self.assertFalse(any("signal" in f for f in bob.frames))

    async def test_the_value_arrives_byte_for_byte(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        async with connect(n0, CHAT, "alice") as alice, connect(n1, CHAT, "bob") as bob:
            for value in ("1e400", '"\\ud83d\\u00e9"', '{"b": 1,  "a": [ ]}', "0.10", "null"):
                await alice.send('{"message":%s,"to_user":"bob"}' % value)
                self.assertEqual(await bob.recv(), '{"message":%s}' % value)
                self.assertEqual(await alice.recv(), '{"message":%s}' % value)

    async def test_calls_of_the_host_application_are_for_all_nodes(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        tabs = [await self.tab(n0, "alice"), await self.tab(n1, "alice"),
                await self.tab(n1, "alice", "/ws/chat/alice_carol/"),
                await self.push_tab(n0, "alice"), await self.push_tab(n1, "alice")]
        # A node that is slower than a second makes an answer partial.
        await until(lambda: n0.presence("alice") == {"user": "alice", "push": 2,
                                                     "groups": ["alice_bob", "alice_carol"]},
                    "all sockets are counted")
        self.assertEqual(n0.push("alice", "[1]"), 2)
        for tab in tabs[3:]:
            await tab.wait(lambda tab=tab: tab.events() == [[1]], "the notification")
        status, _, body = n1.http("DELETE", "/api/v1/sessions/alice")
        self.assertEqual(status, 200)
        answer = json.loads(body)
        # Partial: a node was slower than a second, and its sockets are not in the number.
        self.assertTrue(answer == {"closed": 5} or
                        answer == {"closed": answer["closed"], "partial": True}
                        and answer["closed"] in (0, 2, 3), answer)
        for tab in tabs:
            await tab.wait(tab.closed.is_set, "the socket is closed")
            self.assertEqual(tab.ws.close_code, 4403)

    async def test_anonymous_sockets_are_refused(self):
        (n0,) = await self.nodes(1, self.engine().url)
        self.assertEqual(await refusal(n0, CHAT), (400, "bad_user"))
        self.assertEqual(await refusal(n0, CHAT, "alice"), (101, None))

    async def test_without_an_engine_upgrades_are_refused(self):
        engine = self.engine()
        engine.kill()
        node = self.stack.enter_context(Node(self.folder, "n0", engine.url))
        self.assertEqual(await refusal(node, CHAT, "alice"), (503, "unavailable"))
        self.assertEqual(await refusal(node, "/push/alice/", "alice"), (503, "unavailable"))
        engine.start()
        await until(lambda: node.is_ready(1), "the node is ready")
        self.assertEqual(await refusal(node, CHAT, "alice"), (101, None))

    async def test_a_second_node_of_one_name_is_refused(self):
        engine = self.engine()
        (n0,) = await self.nodes(1, engine.url)
        double = await asyncio.to_thread(
            subprocess.run, [os.environ["WAYSTATION_BIN"], "serve", "--listen", "127.0.0.1:0", "--www", "",
                             *Node(self.folder, "n0", engine.url).options],
            capture_output=True, check=False, timeout=PATIENCE, text=True)
        self.assertEqual((double.returncode, double.stdout), (1, ""), double.stderr)
        self.assertIn("node_name: another node of the cluster that is connected has the same name; "
                      "give each node a different name", double.stderr)
        self.assertIn('node_name = "n0": ', double.stderr)
        await until(lambda: n0.is_ready(1), "it is ready")

    async def test_a_node_whose_settings_do_not_fit_is_refused(self):
        engines = [self.engine(), self.engine()]
        lists = [",".join(engine.url for engine in order) for order in (engines, engines[::-1])]
        (n0,) = await self.nodes(1, lists[0])
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        self.new_key("other/key")
        for folder, engine_list, difference in (
                (other, lists[0], 'node "n0" seals with a key that this node does not have; '),
                # Either server may be the first to say it.
                (self.folder, lists[1], 'this server is entry (1/2 of cluster here, and entry 2/2|'
                                        '2/2 of cluster here, and entry 1/2) at node "n0"; ')):
            done = await asyncio.to_thread(
                subprocess.run,
                [os.environ["WAYSTATION_BIN"], "serve", "--listen", "127.0.0.1:0", "--www", "",
                 *Node(folder, "n1", engine_list).options],
                capture_output=True, check=False, timeout=PATIENCE, text=True)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertRegex(done.stderr, difference)
            self.assertIn("do not fit those of another node", done.stderr)
        await until(lambda: n0.is_ready(1), "it is ready")

    async def test_a_killed_node_gets_its_name_back_at_once(self):
        engine = self.engine()
        for _ in range(5):
            node = self.stack.enter_context(Node(self.folder, "n0", engine.url))
            await until(lambda node=node: node.is_ready(1), "it is ready")
            node.kill()

    async def test_a_node_on_a_lost_host_keeps_its_name_for_seconds_only(self):
        engine = self.engine()
        (n0,) = await self.nodes(1, engine.url)
        alice = await self.tab(n0, "alice")
        # As if its host were lost: its connections stay.
        n0.pause()
        try:
            again = self.stack.enter_context(Node(self.folder, "n0", engine.url))
            await until(lambda: again.is_ready(1), "it has the name")
        finally:
            n0.resume()
        # It was on no lost host: it learns that it was given up.
        await alice.wait(alice.closed.is_set, "its socket is closed")
        self.assertEqual(alice.ws.close_code, 1001)
        await until(lambda: n0.stats()["cluster_name_taken"] == 1, "it says so")
        self.assertIn('node_name = "n0": another node of that name', n0.errors())
        await until(lambda: again.is_ready(1), "it is ready")
        self.assertNotIn("node_name", again.errors())

    async def test_several_engines_share_the_groups(self):
        engines = [self.engine() for _ in range(3)]
        n0, n1 = await self.nodes(2, ",".join(engine.url for engine in engines))
        for user in ("bob", "carol", "dave", "erin", "frank"):
            path = f"/ws/chat/alice_{user}/"
            alice = await self.tab(n0, "alice", path)
            push = await self.push_tab(n1, user)
            self.assertEqual((await alice.say(1, "a"))["route"], "push")
            other = await self.tab(n1, user, path)
            self.assertEqual((await alice.say(2, "b"))["route"], "chat")
            await other.wait(lambda other=other: other.messages() == [2], "the message")
            await push.wait(lambda push=push: push.events() == [1], "the fallback")
        used = [engine.cli("PUBSUB", "NUMPAT") == "0" and
                int(engine.cli("EVAL", "return #redis.call('PUBSUB','CHANNELS','ws1:*:c:*')", "0"))
                for engine in engines]
        self.assertGreater(sum(count > 0 for count in used), 1, used)

    async def test_a_killed_node_is_gone_soon(self):
        n0, n1, n2 = await self.nodes(3, self.engine().url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        push = await self.push_tab(n2, "bob")
        await alice.wait(lambda: alice.present.get("bob"), "bob is present")
        n1.kill()
        # Before the others know, nothing is guessed.
        outcomes = await say_until(alice, "push", "killed")
        self.assertFalse([o for o in outcomes if o.get("route") in ("none", "chat")
                          and not o.get("reached")], outcomes)
        self.assertTrue(all(o.get("route") or o["code"] in ("unavailable",) for o in outcomes))
        await alice.wait(lambda: alice.present.get("bob") is False, "bob is absent")
        await push.wait(lambda: len(push.events()) == 1, "the fallback")
        self.assertFalse(bob.frames and "message" in bob.frames[-1] and push.events() == [])
        await until(lambda: n0.stats()["cluster_nodes"] == 2, "two nodes are left")

    async def test_a_node_that_fails_under_load_costs_others_nothing(self):
        for fail in (Node.pause, Node.kill):
            with self.subTest(fail.__name__):
                n0, n1, n2 = await self.nodes(3, self.engine().url)
                alice = await self.tab(n0, "alice")
                await self.tab(n1, "bob")
                bob = await self.tab(n2, "bob")
                push = await self.push_tab(n0, "bob")
                await alice.wait(lambda alice=alice: alice.present.get("bob"), "bob is present")
                sent = []
                for number in range(1000):
                    sent.append(asyncio.create_task(alice.say(number, f"m{number}")))
                    if number % 50 == 0:
                        await sent[-1]
                    if number == 500:
                        fail(n1)
                outcomes = await asyncio.gather(*sent)
                self.assertEqual({o.get("route") for o in outcomes}, {"chat"})
                self.assertLessEqual({o["reached"] for o in outcomes}, {1, 2})
                await bob.wait(lambda bob=bob: len(bob.messages()) == 1000, "all messages")
                self.assertEqual(bob.messages(), list(range(1000)))
                self.assertEqual(push.events(), [])
                if not n1.is_killed:
                    n1.resume()

    async def test_a_node_that_ends_leaves_no_gap(self):
        engine = self.engine()
        n0, n1 = await self.nodes(2, engine.url)
        alice = await self.tab(n0, "alice")
        await self.tab(n1, "bob")
        await alice.wait(lambda: alice.present.get("bob"), "bob is present")
        # In a thread: bob's client answers the Close, which the node waits for.
        await asyncio.to_thread(n1.__exit__, None)
        n1.is_killed = True
        self.assertEqual(engine.cli("HEXISTS", "ws1:waystation:nodes", "n1"), "0")
        await alice.wait(lambda: alice.present.get("bob") is False, "bob is absent")
        await until(lambda: n0.stats()["cluster_nodes"] == 1, "the node has left")
        self.assertEqual((await alice.say(1, "a"))["route"], "none")

    async def test_a_paused_node_is_fenced(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        await alice.wait(lambda: alice.present.get("bob"), "bob is present")
        n1.pause()
        try:
            await alice.wait(lambda: alice.present.get("bob") is False, "bob is absent")
            push = await self.push_tab(n0, "bob")
            self.assertEqual((await say_until(alice, "push", "fenced"))[-1]["reached"], 1)
        finally:
            n1.resume()
        await bob.wait(bob.closed.is_set, "the paused node closes its sockets")
        self.assertEqual(bob.ws.close_code, 1001)
        await until(lambda: n1.is_ready(2), "the node has returned")
        again = await self.tab(n1, "bob")
        await alice.wait(lambda: alice.present.get("bob") is True, "bob is back")
        self.assertEqual((await alice.say("back", "back"))["route"], "chat")
        await again.wait(lambda: again.messages() == ["back"], "the message")
        self.assertNotIn("back", push.events())

    async def test_tabs_that_come_and_go_on_different_nodes_at_once(self):
        nodes = await self.nodes(3, self.engine().url)
        alice = await self.tab(nodes[0], "alice")
        for round_ in range(10):
            tabs = await asyncio.gather(*(self.tab(node, "bob") for node in nodes for _ in "ab"))
            await alice.wait(lambda: alice.present.get("bob") is True, "bob is present")
            ack = await alice.say(round_, f"r{round_}")
            self.assertEqual((ack["route"], ack["reached"]), ("chat", 6))
            await asyncio.gather(*(tab.close() for tab in tabs))
            await alice.wait(lambda: alice.present.get("bob") is False, "bob is absent")
            self.assertEqual((await alice.say(round_, f"n{round_}"))["route"], "none")


if __name__ == "__main__":
    unittest.main()
