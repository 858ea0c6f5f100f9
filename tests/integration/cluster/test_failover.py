"""A primary that fails, and the replica that Sentinel makes the new one."""

import asyncio
import unittest

from support import PATIENCE, ClusterCase, say_until, until


class Failover(ClusterCase):
    def sentinel_setup(self):
        """A primary, its replica, and a Sentinel that watches them: (primary, replica, sentinel)."""
        primary = self.engine()
        replica = self.engine("--replicaof", f"127.0.0.1 {primary.port}")
        sentinel = self.engine(sentinel=(
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 3000\n"))
        return primary, replica, sentinel

    async def test_nobody_looks_absent_after_a_failover(self):
        primary, replica, sentinel = self.sentinel_setup()
        await until(lambda: "master_link_status:up" in replica.cli("INFO", "replication"),
                    "the replica follows")
        await until(lambda: "slaves=1" in sentinel.cli("INFO", "sentinel"),
                    "the Sentinel knows the replica")
        n0, n1, n2 = await self.nodes(
            3, f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        alice = await self.tab(n0, "alice")
        bob = await self.tab(n1, "bob")
        push = await self.push_tab(n2, "bob")
        self.assertEqual((await alice.say("before", "b"))["route"], "chat")

        primary.kill()
        # After a stall of the machine, the Sentinel waits for 30 s.
        outcomes = await say_until(alice, "chat", "failover", patience=3 * PATIENCE)
        # Bob is there all the time: no message may go by push, or to nobody.
        self.assertFalse([o for o in outcomes if o.get("route") in ("push", "none")], outcomes)
        self.assertTrue({o["code"] for o in outcomes if "code" in o} <=
                        {"unavailable", "undecided"}, outcomes)
        await until(lambda: all(node.is_ready(3) for node in (n0, n1, n2)), "all are ready")
        self.assertEqual((await alice.say("after", "a"))["route"], "chat")
        await bob.wait(lambda: bob.messages()[-1] == "after", "the message")
        self.assertEqual(len(bob.messages()), len(set(map(str, bob.messages()))))
        self.assertEqual(push.events(), [])
        self.assertEqual((alice.present, bob.present), ({"bob": True}, {"alice": True}))

        # The old primary comes back: nobody moves to it, neither before nor after Sentinel makes it a
        # replica. When Sentinel does that is not ours to test.
        primary.start()
        for i in range(150):
            outcome = await alice.say(i, f"old-{i}")
            # Where the machine stalls, a message may be refused or undecided; it never looks as if bob
            # were gone.
            self.assertIn(outcome.get("route", outcome.get("code")), ("chat", "unavailable", "undecided"))
            if "role:slave" in primary.cli("INFO", "replication"):
                break
            await asyncio.sleep(0.1)
        await say_until(alice, "chat", "last")
        self.assertEqual(push.events(), [])


if __name__ == "__main__":
    unittest.main()
