"""Bad input causes an error for its sender only, and the socket stays usable."""

import unittest

from harness import Case, connect, receive, receive_json

BAD_JSON = [
    "", " ", "hello", "{", "}", "[", "{]", '{"message"', '{"message":', '{"message":1',
    '{"message":1}}', '{"message":1} x', '{"message":1,}', "{'message':1}", '{"message":01}',
    '{"message":1.}', '{"message":.5}', '{"message":+1}', '{"message":NaN}', '{"message":Infinity}',
    '{"message":0x10}', '{"message":"a\nb"}', '{"message":"\t"}', '{"message":"\x00"}',
    '{"message":"\\x41"}', '{"message":"\\u12"}', '{"message":"\\ud80"}', '{"message":tru}',
    '{"message":True}', '{"message":undefined}', '{"message":[1 2]}', '{"message":[1,]}',
    '{"message":{"a"}}', '{"message":{"a":1,}}', '{"message":/**/1}', '\ufeff{"message":1}',
    '{"message":1}\x00', '{"message" 1}', '{message:1}', '{"message":1 "to_user":"bob"}',
    '{"other":[1.],"message":1}', "[" * 1000, "{" * 1000, '{"message":' + "[" * 600 + "]" * 600 + "}",
]

BAD_ENVELOPE = [
    "null", "true", "7", '"message"', "[]", '[{"message":1}]', '{"message":1,"message":1}',
    '{"message":1,"mess\\u0061ge":1}', '{"message":1,"to_user":7}', '{"message":1,"to_user":[]}',
    '{"message":1,"to_user":{"a":1}}', '{"message":1,"to_user":true}',
    '{"message":1,"to_user":"bob","to_user":"bob"}', '{"message":1,"to_user":null,"to_user":null}',
]

BAD_V1_ENVELOPE = BAD_ENVELOPE + [
    "{}", '{"to_user":"bob"}', '{"message":1,"signal":1}', '{"message":1,"token":"x"}',
    '{"signal":1,"token":"x"}', '{"signal":1,"signal":1}', '{"message":1,"id":7}',
    '{"message":1,"id":""}', '{"message":1,"id":"a b"}', '{"message":1,"id":"é"}',
    '{"message":1,"id":"' + "x" * 65 + '"}', '{"message":1,"id":"a","id":"a"}', '{"token":7}',
]

NOT_A_MEMBER = [
    '{"message":1,"to_user":"carol"}', '{"message":1,"to_user":"alice"}',
    '{"message":1,"to_user":""}', '{"message":1,"to_user":"BOB"}', '{"message":1,"to_user":"bob "}',
    '{"message":1,"to_user":"bob\\u0000"}', '{"message":1,"to_user":"' + "b" * 65 + '"}',
]


class BadInput(Case):
    OPTIONS = ("--messages-per-second", "0", "--max-message-bytes", "2000000",
               "--max-queue-bytes", "4000000")

    async def check(self, text, code, v1):
        """`alice` sends `text` and gets an error with `code`; `bob` receives nothing, and both
        sockets work afterwards."""
        async with connect(self.server, "/ws/chat/alice_bob/", "alice", v1=v1) as alice, \
                connect(self.server, "/ws/chat/alice_bob/", "bob") as bob:
            if v1:
                await receive(alice)  # bob is absent
                await receive(alice)  # bob is present
            await alice.send(text)
            error = await receive_json(alice)
            self.assertEqual(error["error"]["code"], code, text[:100])
            self.assertTrue(error["error"]["detail"])
            await alice.send('{"message":"still here","to_user":"bob"}')
            self.assertEqual(await receive(bob), '{"message":"still here"}')
            await receive(alice)
            await self.expect_silence(alice, bob)

    async def test_invalid_json(self):
        for text in BAD_JSON:
            for v1 in (False, True):
                with self.subTest(text=text[:100], v1=v1):
                    await self.check(text, "bad_json", v1)

    async def test_json_without_an_envelope(self):
        for text in BAD_ENVELOPE:
            with self.subTest(text=text[:100]):
                await self.check(text, "bad_envelope", False)
        for text in BAD_V1_ENVELOPE:
            with self.subTest(text=text[:100]):
                await self.check(text, "bad_envelope", True)

    async def test_a_receiver_outside_the_group(self):
        for text in NOT_A_MEMBER:
            for v1 in (False, True):
                with self.subTest(text=text[:100], v1=v1):
                    await self.check(text, "not_a_member", v1)

    async def test_a_hundred_thousand_opening_brackets(self):
        await self.check("[" * 100_000, "bad_json", False)
        await self.check('{"message":' + "[" * 100_000, "bad_json", True)

    async def test_twenty_thousand_nested_objects(self):
        objects = '{"a":' * 20_000 + "1" + "}" * 20_000
        await self.check('{"message":' + objects + "}", "bad_json", False)
        await self.check(objects, "bad_json", True)

    async def test_a_token_in_open_mode(self):
        """Open mode has no tokens to refresh; the socket stays open whatever the response."""
        async with connect(self.server, "/ws/chat/alice_bob/", "alice", v1=True) as alice:
            await receive(alice)
            await alice.send('{"token":"abc"}')
            error = await receive_json(alice)
            self.assertEqual(error["error"]["code"], "bad_token")
            await alice.send('{"message":1,"id":"m"}')
            self.assertEqual((await receive_json(alice))["ack"]["id"], "m")

    async def test_512_levels_pass_and_513_do_not(self):
        async with connect(self.server, "/ws/chat/alice_bob/", "alice") as alice, \
                connect(self.server, "/ws/chat/alice_bob/", "bob") as bob:
            deepest = '{"message":' + "[" * 511 + "]" * 511 + "}"
            await alice.send(deepest)
            self.assertEqual(await receive(bob), deepest)
            await receive(alice)
            await alice.send('{"message":' + "[" * 512 + "]" * 512 + "}")
            self.assertEqual((await receive_json(alice))["error"]["code"], "bad_json")
            await self.expect_silence(bob)

    async def test_errors_are_not_sent_to_other_sockets(self):
        async with connect(self.server, "/ws/chat/alice_bob/", "alice", v1=True) as alice, \
                connect(self.server, "/ws/chat/alice_bob/", "alice", v1=True) as tab, \
                connect(self.server, "/push/alice/", v1=True) as push:
            await receive(alice)
            await receive(tab)
            await alice.send("{")
            self.assertEqual((await receive_json(alice))["error"]["code"], "bad_json")
            await push.send("{")
            self.assertEqual((await receive_json(push))["error"]["code"], "bad_json")
            await self.expect_silence(alice, tab, push)


if __name__ == "__main__":
    unittest.main()
