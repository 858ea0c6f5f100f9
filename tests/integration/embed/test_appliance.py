"""The example: a program that adds chat."""

import asyncio
import json
import os
import unittest

import websockets

from support import PATIENCE, Program, get


class Appliance(unittest.IsolatedAsyncioTestCase):
    async def test_serves_its_page_and_chat(self):
        with Program(os.environ["WAYSTATION_APPLIANCE"], "0") as appliance:
            port = int(appliance.line().rsplit(":", 1)[1])
            page = get(port, "/")
            self.assertEqual(page.status, 200)
            self.assertIn(b"Boiler", page.body)
            self.assertEqual(int(page.headers["Content-Length"]), len(page.body))

            def socket(user):
                return websockets.connect(f"ws://127.0.0.1:{port}/ws/chat/alice_bob/?user={user}")

            async with socket("alice") as alice:
                async with socket("bob") as bob:
                    await alice.send('{"message":{"text":"hello"},"to_user":"bob"}')
                    for end in (bob, alice):
                        frame = await asyncio.wait_for(end.recv(), PATIENCE)
                        self.assertEqual(json.loads(frame), {"message": {"text": "hello"}})
                    self.assertIn(b"Boiler", get(port, "/").body)
                # Bob's Close was answered, so he is absent.
                await alice.send('{"message":"where are you?","to_user":"bob"}')
                self.assertEqual(await asyncio.to_thread(appliance.line), "alice wrote to bob, who is offline")

                code, _ = await asyncio.to_thread(appliance.end)
                self.assertEqual((code, appliance.log()), (0, ""))
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await alice.recv()
                self.assertEqual(closed.exception.code, 1001)


if __name__ == "__main__":
    unittest.main()
