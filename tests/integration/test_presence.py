"""Presence: by user, not by socket, and only while the user's sockets live."""

import asyncio
import unittest

from harness import (CLOSE, PING, PONG, Case, RawSocket, connect, frame, receive, receive_json,
                     until)

CHAT = "/ws/chat/alice_bob/"


def told(present, user="bob"):
    """The frame about a user without a push socket."""
    return {"presence": {"user": user, "present": present, "reachable": present}}


class Presence(Case):
    async def test_tabs_of_one_user_are_one_user(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            self.assertEqual(await receive_json(alice), told(False))
            bob1 = await connect(self.server, CHAT, "bob")
            self.assertEqual(await receive_json(alice), told(True))
            bob2 = await connect(self.server, CHAT, "bob", v1=True)
            self.assertEqual(await receive_json(bob2), told(True, "alice"))
            await bob1.close()
            await self.expect_silence(alice)
            await bob2.close()
            self.assertEqual(await receive_json(alice), told(False))

    async def test_a_reset_connection_is_absent(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            bob = RawSocket(self.server).open(CHAT, "bob")
            self.assertEqual(await receive_json(alice), told(True))
            bob.reset()
            self.assertEqual(await receive_json(alice), told(False))

    async def test_an_end_without_a_close_is_absent(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            bob = RawSocket(self.server).open(CHAT, "bob")
            self.assertEqual(await receive_json(alice), told(True))
            bob.close()
            self.assertEqual(await receive_json(alice), told(False))

    async def test_a_close_ends_presence_before_the_connection_ends(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            with RawSocket(self.server).open(CHAT, "bob") as bob:
                self.assertEqual(await receive_json(alice), told(True))
                bob.send(frame(CLOSE, b"\x03\xe8"))
                self.assertEqual(await receive_json(alice), told(False))
                self.assertEqual(bob.read_close(), 1000)

    async def test_a_101_implies_presence(self):
        """The response to an upgrade follows the join: a message sent after the response is
        delivered in the group, not pushed."""
        async with connect(self.server, CHAT, "alice") as alice, \
                connect(self.server, "/push/bob/") as push:
            for n in range(50):
                bob = await connect(self.server, CHAT, "bob")
                text = f'{{"message":{n}}}'
                await alice.send(text)
                self.assertEqual(await receive(bob), text)
                self.assertEqual(await receive(alice), text)
                await bob.close()
            await self.expect_silence(push)

    async def test_messages_to_an_absent_user_are_pushed(self):
        async with connect(self.server, CHAT, "alice") as alice, \
                connect(self.server, "/push/bob/") as push:
            for n in range(50):
                bob = await connect(self.server, CHAT, "bob")
                await bob.close()
                await alice.send(f'{{"message":{n}}}')
                self.assertEqual(await receive(push),
                                 f'{{"event":{{"message":{n},"group":"alice_bob"}}}}')

    async def test_the_http_api_reports_presence(self):
        def find():
            return self.server.presence("dave")

        self.assertEqual(await asyncio.to_thread(find), {"user": "dave", "push": 0, "groups": []})
        async with connect(self.server, "/ws/chat/dave_erin/", "dave"), \
                connect(self.server, "/ws/chat/carol_dave/", "dave"), \
                connect(self.server, "/push/dave/"):
            self.assertEqual(await asyncio.to_thread(find),
                             {"user": "dave", "push": 1, "groups": ["carol_dave", "dave_erin"]})
        await until(lambda: find() == {"user": "dave", "push": 0, "groups": []}, "dave is gone")


class Heartbeat(Case):
    # Not 1: on a busy machine a client may be late by that much.
    OPTIONS = ("--ping-interval-seconds", "2")

    async def test_a_peer_that_answers_no_ping_is_dead(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            with RawSocket(self.server).open(CHAT, "bob") as bob:
                self.assertEqual(await receive_json(alice), told(True))
                # It reads, so that nothing queues, and sends nothing.
                self.assertEqual(await asyncio.to_thread(bob.read_frame), (PING, b""))
                self.assertEqual(await receive_json(alice), told(False))
            async with connect(self.server, "/push/bob/") as push:
                await alice.send('{"message":1}')
                self.assertIn('"message":1', await receive(push))

    async def test_a_peer_that_answers_pings_lives(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            with RawSocket(self.server).open(CHAT, "bob") as bob:
                self.assertEqual(await receive_json(alice), told(True))
                for _ in range(4):  # longer than the timeout of a dead peer
                    opcode, payload = await asyncio.to_thread(bob.read_frame)
                    self.assertEqual(opcode, PING)
                    bob.send(frame(PONG, payload))
                await self.expect_silence(alice)
                await alice.send('{"message":1,"id":"m"}')
                self.assertEqual((await receive_json(alice))["ack"]["route"], "chat")

    async def test_a_message_that_is_never_completed_ends_the_socket(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice:
            await receive(alice)
            with RawSocket(self.server).open(CHAT, "bob") as bob:
                self.assertEqual(await receive_json(alice), told(True))
                bob.send(frame(1, b"{", fin=False))

                def answer_pings():
                    while True:
                        opcode, payload = bob.read_frame()
                        if opcode == CLOSE:
                            return int.from_bytes(payload[:2], "big")
                        bob.send(frame(PONG, payload))

                self.assertEqual(await asyncio.to_thread(answer_pings), 1008)
                self.assertEqual(await receive_json(alice), told(False))


if __name__ == "__main__":
    unittest.main()
