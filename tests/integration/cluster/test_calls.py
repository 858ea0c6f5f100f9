"""Questions that all nodes answer: what a user missed, and the list of users."""

import asyncio
import contextlib
import functools
import json
import os
import re
import sqlite3
import subprocess
import time
import unittest

from support import PATIENCE, ClusterCase, Node, until


class Undecided(Exception):
    """The engine hung while a message was under way. It may have made a row."""


def decided(test):
    """Repeats a test in which a message was undecided, with a new engine and new nodes."""
    @functools.wraps(test)
    async def repeated(self):
        for _ in range(3):
            try:
                return await test(self)
            except Undecided:
                await self.asyncTearDown()
                self.stack.close()
                self.setUp()
        return self.fail("a message was undecided in each of three attempts")
    return repeated


class Calls(ClusterCase):
    ENGINES = 9

    def audited(self, name, engines):
        """A node with an audit of its own."""
        return self.stack.enter_context(
            Node(self.folder, name, engines, "--audit-file", os.path.join(self.folder, f"{name}.db")))

    async def audited_nodes(self, engines):
        nodes = [self.audited(f"n{i}", engines) for i in range(2)]
        await self.all_ready(nodes)
        return nodes

    def missed(self, node, **question):
        """The answer over HTTP, or nothing while another question of the user waits."""
        query = "&".join(f"{name}={value}" for name, value in question.items())
        status, _, body = node.http("GET", f"/api/v1/missed?user=bob&{query}")
        if status in (503, 504):
            return None
        self.assertEqual(status, 200, body)
        return json.loads(body)["missed"]

    async def answer(self, node, complete=True, **question):
        """The answer. On a busy machine a node may be late, so it is asked until it is as wanted."""
        found = []

        def is_wanted():
            found[:] = [self.missed(node, **question)]
            return found[0] is not None and found[0]["complete"] is complete
        await until(is_wanted, f"an answer with complete {complete}, {found}")
        return found[0]

    async def say_to_nobody(self, tab, value):
        """Sends a message to a user who is absent; returns its ack. A message that was not passed on,
        because a node or the engine was slower than a second, is sent again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            outcome = await tab.say(value, f"{tab.user}{time.monotonic_ns()}")
            if outcome.get("code") == "undecided":
                raise Undecided
            if outcome.get("code") != "unavailable":
                self.assertEqual(outcome.get("route"), "none", outcome)
                return outcome
            self.assertLess(time.monotonic(), deadline, outcome)

    async def write(self, node, user, count):
        """Messages to bob, who is absent; returns the times of the first and the last."""
        tab = await self.tab(node, user, f"/ws/chat/{min(user, 'bob')}_{max(user, 'bob')}/")
        acks = [await self.say_to_nobody(tab, number) for number in range(count)]
        # A disk that needs more than a second would leave them out of an answer.
        await until(lambda: node.stats()["audit_rows_waiting"] == 0, "all rows are written",
                    5 * PATIENCE)
        await tab.close()
        return acks[0]["at"], acks[-1]["at"]

    @decided
    async def test_what_a_user_missed_is_known_to_all_nodes(self):
        engine = self.engine()
        n0, n1 = await self.audited_nodes(engine.url)
        first, _ = await self.write(n0, "alice", 2)
        begin, end = await self.write(n1, "alice", 3)
        carol, _ = await self.write(n1, "carol", 1)
        answer = await self.answer(n0, since=first)
        self.assertEqual(answer["from"],
                         [{"user": "carol", "count": 1, "first": carol, "last": carol},
                          {"user": "alice", "count": 5, "first": first, "last": end}])
        self.assertGreaterEqual(begin, first)
        # The position counts on every node, whichever is asked.
        await self.write(n0, "carol", 1)
        for node in (n0, n1):
            later = await self.answer(node, after=answer["next"])
            self.assertEqual([(s["user"], s["count"]) for s in later["from"]], [("carol", 1)])
            self.assertEqual((await self.answer(node, after=later["next"]))["from"], [])
        # On a push socket, too.
        push = await self.push_tab(n1, "bob")

        async def told():
            """The next answer, or the error."""
            seen = len(push.frames)
            await push.ws.send(json.dumps({"missed": {"after": answer["next"]}}))
            await push.wait(lambda: any("missed" in f or "error" in f for f in push.frames[seen:]),
                            "the answer")
            return [f for f in push.frames[seen:] if "missed" in f or "error" in f][0]
        deadline = time.monotonic() + PATIENCE
        while not (frame := await told()).get("missed", {}).get("complete"):
            self.assertLess(time.monotonic(), deadline, frame)  # of a node that is late
        self.assertEqual([s["user"] for s in frame["missed"]["from"]], ["carol"])
        # A hostile position is an error.
        for cursor in (answer["next"] + "~" + answer["next"], "0-0-0-x~", "~".join(["0-0-0-x"] * 9)):
            status, _, body = n0.http("GET", f"/api/v1/missed?user=bob&after={cursor}")
            self.assertEqual((status, json.loads(body)["error"]["code"]), (400, "bad_query"))

    @decided
    async def test_rows_of_a_node_that_was_away_come_later(self):
        engine = self.engine()
        n0, n1 = await self.audited_nodes(engine.url)
        since, _ = await self.write(n0, "alice", 1)
        answer = await self.answer(n0, since=since)
        await self.write(n1, "carol", 2)
        n1.__exit__(None)
        n1.is_killed = True
        await until(lambda: n0.is_ready(1), "one node is left")
        without = await self.answer(n0, complete=False, after=answer["next"])
        self.assertEqual(without["from"], [])
        again = self.audited("n1", engine.url)
        await self.all_ready([n0, again])
        whole = await self.answer(n0, after=without["next"])
        self.assertEqual([(s["user"], s["count"]) for s in whole["from"]], [("carol", 2)])
        again.pause()
        try:
            await self.answer(n0, complete=False, after=whole["next"])
        finally:
            again.resume()

    @decided
    async def test_rows_of_a_node_that_was_away_at_the_first_question_come_later(self):
        engine = self.engine()
        n0, n1 = await self.audited_nodes(engine.url)
        since, _ = await self.write(n0, "alice", 1)
        await self.write(n1, "carol", 2)
        n1.__exit__(None)
        n1.is_killed = True
        await until(lambda: n0.is_ready(1), "one node is left")
        first = await self.answer(n0, since=since)
        self.assertEqual([s["user"] for s in first["from"]], ["alice"])
        again = self.audited("n1", engine.url)
        await until(lambda: n0.is_ready(2) and again.is_ready(2), "both nodes are back")
        later = await self.answer(n0, after=first["next"])
        self.assertEqual([(s["user"], s["count"]) for s in later["from"]], [("carol", 2)])
        for node in (n0, again):
            self.assertEqual((await self.answer(node, after=later["next"]))["from"], [])

    @decided
    async def test_a_node_without_an_audit_makes_answers_incomplete(self):
        engine = self.engine()
        n0 = self.audited("n0", engine.url)
        n1 = self.stack.enter_context(Node(self.folder, "n1", engine.url))
        await self.all_ready([n0, n1])
        since, _ = await self.write(n0, "alice", 1)
        for node in (n0, n1):
            answer = await self.answer(node, complete=False, since=since)
            self.assertEqual([s["user"] for s in answer["from"]], ["alice"])

    @decided
    async def test_audits_that_cannot_be_written_make_an_answer_incomplete_not_late(self):
        nodes = await self.audited_nodes(self.engine().url)
        files = [os.path.join(self.folder, f"{node.name}.db") for node in nodes]
        with contextlib.ExitStack() as stack:
            databases = [stack.enter_context(contextlib.closing(
                sqlite3.connect(file, isolation_level=None))) for file in files]
            since, _ = await self.write(nodes[0], "alice", 1)
            await self.write(nodes[1], "alice", 1)
            rows = "SELECT count(*) FROM deliveries"
            for database in databases:
                await until(lambda database=database: database.execute(rows).fetchone() == (1,), "a row")
            tabs = [await self.tab(node, "carol", "/ws/chat/bob_carol/") for node in nodes]
            for database in databases:
                database.execute("BEGIN IMMEDIATE")
            # Before the writers find the lock, each node waits a second for these rows to be written.
            await asyncio.gather(*(self.say_to_nobody(tab, 1) for tab in tabs))
            status, _, body = nodes[0].http("GET", f"/api/v1/missed?user=bob&since={since}")
        self.assertEqual(status, 200, body)
        answer = json.loads(body)["missed"]
        self.assertFalse(answer["complete"])
        self.assertEqual([(sender["user"], sender["count"]) for sender in answer["from"]], [("alice", 2)])

    @decided
    async def test_the_engine_does_not_learn_who_missed_what(self):
        engine = self.engine()
        n0, _ = await self.audited_nodes(engine.url)
        await self.write(n0, "alice", 1)
        # What the node says about alice's socket is said before its next but one heartbeat.
        await until(lambda: "alice" not in engine.cli("PUBSUB", "CHANNELS"), "alice has left")
        for _ in range(2):
            before = n0.stats()["cluster_round_trip_us_total"]
            await until(lambda before=before: n0.stats()["cluster_round_trip_us_total"] > before,
                        "a heartbeat")
        monitor = subprocess.Popen(["redis-cli", "-p", str(engine.port), "MONITOR"],
                                   stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(monitor.stdout.readline().strip(), "OK")
            await self.answer(n0, complete=False, since=0)
            engine.cli("ECHO", "the end")
            seen = ""
            while '"the end"' not in seen:
                seen += monitor.stdout.readline()
        finally:
            monitor.kill()
            monitor.wait()
            monitor.stdout.close()
        # Frames, not the single letters of the table's scripts: the question and two answers.
        frames = [line for line in seen.splitlines() if "lua]" in line and re.search(
            r'"PUBLISH" "ws1:waystation:(all|n:\w+)" "M', line, re.IGNORECASE)]
        self.assertGreaterEqual(len(frames), 3, seen)
        self.assertNotIn("alice", seen)
        self.assertNotIn("bob", seen)

    def users(self, node, query=""):
        status, _, body = node.http("GET", "/api/v1/presence" + query)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def listed(self, node):
        """The nodes of which this one knows."""
        status, _, body = node.http("GET", "/api/v1/nodes")
        self.assertEqual(status, 200, body)
        return json.loads(body)["nodes"]

    async def test_the_list_of_users_is_of_all_nodes(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        await self.push_tab(n0, "alice")
        await self.push_tab(n1, "alice")
        await self.tab(n1, "alice", "/ws/chat/alice_carol/")
        await self.push_tab(n1, "bob")
        await self.push_tab(n0, "dave")
        alice = {"user": "alice", "push_sockets": 2, "groups": 1, "nodes": 2}
        bob = {"user": "bob", "push_sockets": 1, "groups": 0, "nodes": 1}
        dave = dict(bob, user="dave")
        for node, query, page in ((n0, "", {"users": [alice, bob, dave], "next": None}),
                                  (n1, "", {"users": [alice, bob, dave], "next": None}),
                                  (n0, "?limit=2", {"users": [alice, bob], "next": "bob"}),
                                  (n0, "?limit=2&after=bob", {"users": [dave], "next": None})):
            # A node that is slower than a second makes an answer partial.
            await until(lambda node=node, query=query, page=page: self.users(node, query) == page, page)
        deadline = time.monotonic() + PATIENCE
        while True:
            n1.pause()
            try:
                page = self.users(n0)
                nodes = [node["node"] for node in self.listed(n0)]
            finally:
                n1.resume()
            self.assertEqual([user["user"] for user in page["users"]], ["alice", "dave"])
            if "partial" in page:
                break
            # On a busy machine the others may have given it up before they were asked.
            self.assertEqual(nodes, ["n0"])
            self.assertLess(time.monotonic(), deadline, "n1 leaves before the question")
            await self.all_ready([n0, n1])
            await self.push_tab(n1, "bob")
            await until(lambda: self.users(n0)["users"][1:] == [bob, dave], "bob is back")
        self.assertIs(page["partial"], True)

    async def test_operators_see_the_nodes(self):
        n0, n1 = await self.nodes(2, self.engine().url)
        nodes = self.listed(n0)
        self.assertEqual([(node["node"], node["ready"], node["self"]) for node in nodes],
                         [("n0", True, True), ("n1", True, False)])
        self.assertEqual(len({node["incarnation"] for node in nodes}), 2)
        n1.pause()
        try:
            # It is in the table until the others give it up.
            def is_silent():
                others = [node for node in self.listed(n0) if not node["self"]]
                return all(time.time() * 1000 - node["last_seen"] > 1000 for node in others)
            await until(is_silent, "n1 is silent")
        finally:
            n1.resume()

    async def test_the_metrics_have_a_histogram_of_round_trips(self):
        (node,) = await self.nodes(1, self.engine().url)

        def metrics():
            return node.http("GET", "/metrics")[2].decode().splitlines()
        name = "waystation_cluster_round_trip_seconds"

        def value(sample):
            return float([line for line in metrics() if line.startswith(sample + " ")][0].split()[1])
        await until(lambda: value(name + "_count") >= 2, "two heartbeats")
        lines = metrics()
        self.assertIn(f"# TYPE {name} histogram", lines)
        buckets = [float(line.split()[1]) for line in lines if line.startswith(name + "_bucket{")]
        self.assertEqual(len(buckets), 14)
        self.assertEqual(buckets, sorted(buckets))
        self.assertGreater(value(name + "_sum"), 0)
        self.assertEqual(value(name + '_bucket{le="+Inf"}'), value(name + "_count"))
        self.assertEqual(len([line for line in lines if line.startswith(f"# TYPE {name}")]), 1)


if __name__ == "__main__":
    unittest.main()
