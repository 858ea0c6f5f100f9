"""A sender's messages arrive in the order sent; both users of a group see one order."""

import asyncio
import json
import unittest

from harness import Case, connect, receive, receive_json, scaled

COUNT = scaled(300, 60)


class Order(Case):
    OPTIONS = ("--messages-per-second", "0", "--max-connections-per-address", "0",
               "--max-connections-per-user", "0")

    async def test_both_ends_see_the_same_order(self):
        """Several tabs of both users send at once."""
        path = "/ws/chat/alice_bob/"
        sockets = [await connect(self.server, path, user) for user in ("alice", "bob") * 4]

        async def talk(number, ws):
            for n in range(COUNT):
                await ws.send(f'{{"message":[{number},{n}]}}')

        async def listen(ws):
            return [json.loads(await receive(ws))["message"]
                    for _ in range(COUNT * len(sockets))]

        results = await asyncio.gather(*(listen(ws) for ws in sockets),
                                       *(talk(n, ws) for n, ws in enumerate(sockets)))
        heard = results[:len(sockets)]
        for other in heard[1:]:
            self.assertEqual(other, heard[0])
        for number in range(len(sockets)):
            self.assertEqual([n for who, n in heard[0] if who == number], list(range(COUNT)))
        for ws in sockets:
            await ws.close()

    async def test_acknowledgements_have_the_order_of_the_messages(self):
        async with connect(self.server, "/push/bob/") as push, \
                connect(self.server, "/ws/chat/alice_bob/", "alice", v1=True) as alice:
            await receive(alice)
            for n in range(COUNT):
                await alice.send(f'{{"message":{n},"id":"m{n}"}}')
            for n in range(COUNT):
                ack = (await receive_json(alice))["ack"]
                self.assertEqual((ack["id"], ack["route"]), (f"m{n}", "push"))
                self.assertEqual((await receive_json(push))["event"]["message"], n)

    async def test_pushes_of_one_sender_arrive_in_order(self):
        """From several groups at once, to one push socket."""
        senders = [await connect(self.server, f"/ws/chat/a{n}_bob/", f"a{n}") for n in range(8)]
        async with connect(self.server, "/push/bob/", v1=True) as push:
            async def talk(ws):
                for n in range(COUNT):
                    await ws.send(f'{{"message":{n}}}')

            async def listen():
                return [(await receive_json(push))["event"] for _ in range(COUNT * len(senders))]

            heard, *_ = await asyncio.gather(listen(), *(talk(ws) for ws in senders))
        for n in range(len(senders)):
            self.assertEqual([e["message"] for e in heard if e["from"] == f"a{n}"],
                             list(range(COUNT)))
            self.assertEqual({e["group"] for e in heard if e["from"] == f"a{n}"}, {f"a{n}_bob"})
        for ws in senders:
            await ws.close()

    async def test_pairs_do_not_mix(self):
        pairs = scaled(50, 10)
        sockets = []
        for n in range(pairs):
            group = f"/ws/chat/{2 * n}_{2 * n + 1}/"
            sockets.append((await connect(self.server, group, str(2 * n)),
                            await connect(self.server, group, str(2 * n + 1))))

        async def converse(n, left, right):
            for turn in range(20):
                text = f'{{"message":"{n} {turn}"}}'
                await (left if turn % 2 == 0 else right).send(text)
                self.assertEqual(await receive(left), text)
                self.assertEqual(await receive(right), text)

        await asyncio.gather(*(converse(n, *pair) for n, pair in enumerate(sockets)))
        for pair in sockets:
            await self.expect_silence(*pair)
            for ws in pair:
                await ws.close()


if __name__ == "__main__":
    unittest.main()
