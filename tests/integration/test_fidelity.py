"""The value of `message` arrives byte for byte, on both routes and in both protocols."""

import asyncio
import json
import random
import unittest

from harness import Case, connect, receive, scaled

VALUES = [
    "null", "true", "false", "0", "-0", "-0.0", "1e400", "-1e-400", "12345678901234567890",
    "1.00000000000000000000000000000000000000001", "1E+2", '""', '"\\u0000"', '"\\ud800"',
    '"\\udfff\\ud800"', '"\\/"', '"/"', '"\\u002f"', '"\\u00e9"', '"é"', '"驿站 🐎"',
    '"\u2028\u2029"', '"\x7f"', '"\\"\\\\\\b\\f\\n\\r\\t"', "[]", "{}", "[ ]", "{ }", "[1, 2]",
    "[1,2]", "[\t1\r\n,\n2 ]", '{"a":1,"a":2}', '{"a" : 1 , "b" : [ { } , "x" ] }', '{"":""}',
    '{"message":{"message":1},"to_user":"carol","id":"x","signal":0}',
    "[" * 500 + "]" * 500,
    '"' + "x" * 40000 + '"',
    "[" + ",".join(str(n) for n in range(5000)) + "]",
]


def random_value(choose, levels=4):
    """A random JSON text that uses everything the grammar allows."""
    space = "".join(choose.choice(["", "", "", " ", "\t", "\n", "\r\n"]) for _ in range(2))
    kind = choose.randrange(6 if levels == 0 else 9)
    if kind < 2:
        digits = "".join(choose.choice("0123456789") for _ in range(choose.randrange(1, 30)))
        text = choose.choice(["", "-"]) + (digits.lstrip("0") or "0")
        text += choose.choice(["", ".0", ".50", "." + digits])
        text += choose.choice(["", "", "e5", "E-07", "e+400"])
    elif kind < 5:
        pieces = ["a", "\\n", "\\u0000", "\\ud83d", "\\\\", '\\"', "\\/", "/", "é", "驿", "🐎", "\x7f",
                  "{", "]", " ", "\\u0041"]
        text = '"' + "".join(choose.choices(pieces, k=choose.randrange(12))) + '"'
    elif kind == 5:
        text = choose.choice(["null", "true", "false"])
    elif kind < 8:
        text = "[" + space + ",".join(random_value(choose, levels - 1)
                                      for _ in range(choose.randrange(4))) + "]"
    else:
        text = "{" + space + ",".join(f'"{choose.choice("abc")}"{space}:'
                                      + random_value(choose, levels - 1)
                                      for _ in range(choose.randrange(4))) + "}"
    return text


class Fidelity(Case):
    OPTIONS = ("--messages-per-second", "0")

    async def deliver(self, values):
        """Sends every value on both routes and compares the received bytes."""
        async with connect(self.server, "/ws/chat/alice_bob/", "alice") as alice, \
                connect(self.server, "/ws/chat/alice_bob/", "bob") as bob, \
                connect(self.server, "/ws/chat/alice_bob/", "bob", v1=True) as bob_v1, \
                connect(self.server, "/ws/chat/alice_carol/", "alice") as to_carol, \
                connect(self.server, "/push/carol/") as push, \
                connect(self.server, "/push/carol/", v1=True) as push_v1:
            await receive(bob_v1)  # presence
            for value in values:
                with self.subTest(value=value[:100]):
                    await alice.send(f'{{"message":{value}}}')
                    whole = f'{{"message":{value}}}'
                    self.assertEqual(await receive(alice), whole)
                    self.assertEqual(await receive(bob), whole)
                    got = await receive(bob_v1)
                    self.assertEqual(got[:len(whole) - 1], whole[:-1])
                    self.assertRegex(got[len(whole) - 1:], r'^,"from":"alice","id":null,"at":\d+}$')

                    await to_carol.send(f'{{"to_user":"carol","message":{value}}}')
                    whole = f'{{"event":{{"message":{value},"group":"alice_carol"}}}}'
                    self.assertEqual(await receive(push), whole)
                    got = await receive(push_v1)
                    self.assertEqual(got[:len(whole) - 2], whole[:-2])

    async def test_every_listed_value_arrives_byte_for_byte(self):
        await self.deliver(VALUES)

    async def test_random_values_arrive_byte_for_byte(self):
        seed = 8259
        choose = random.Random(seed)
        values = [random_value(choose) for _ in range(scaled(400, 100))]
        # White space around a value belongs to the envelope.
        await self.deliver([value.strip(" \t\r\n") for value in values])

    async def test_space_around_the_value_is_not_passed_on(self):
        async with connect(self.server, "/ws/chat/dave_erin/", "dave") as dave, \
                connect(self.server, "/ws/chat/dave_erin/", "erin") as erin:
            await dave.send('  {  "message"  :  [ 1 ]  ,  "to_user"  :  "erin"  }  ')
            self.assertEqual(await receive(erin), '{"message":[ 1 ]}')

    async def test_a_text_sent_in_fragments_arrives_whole(self):
        async with connect(self.server, "/ws/chat/dave_erin/", "dave") as dave, \
                connect(self.server, "/ws/chat/dave_erin/", "erin") as erin:
            text = '{"message":"驿站 🐎 \\ud800"}'
            for size in (1, 2, 3, 7):
                await dave.send([text[at:at + size] for at in range(0, len(text), size)])
                self.assertEqual(await receive(erin), text)

    async def test_notifications_arrive_byte_for_byte(self):
        async with connect(self.server, "/push/frank/") as frank:
            for value in VALUES:
                with self.subTest(value=value[:100]):
                    reached = await asyncio.to_thread(self.server.push, "frank", value.encode())
                    self.assertEqual(reached, 1)
                    self.assertEqual(await receive(frank),
                                     f'{{"event":{{"message":{value},"group":null}}}}')

    async def test_what_is_sent_can_be_read_by_any_json_parser(self):
        async with connect(self.server, "/ws/chat/dave_erin/", "dave", v1=True) as dave, \
                connect(self.server, "/ws/chat/dave_erin/", "erin", v1=True) as erin:
            await receive(dave)
            await receive(dave)
            await receive(erin)
            for value in VALUES:
                if value.startswith("[[["):
                    continue  # deeper than this parser supports
                await dave.send(f'{{"message":{value},"id":"m"}}')
                self.assertEqual(json.loads(await receive(dave))["ack"]["route"], "chat")
                got = json.loads(await receive(erin))
                self.assertEqual(got["message"], json.loads(value))


if __name__ == "__main__":
    unittest.main()
