"""SIGTERM: open sockets hear 1001, and the program ends well."""

import asyncio
import signal
import unittest

from harness import CLOSE, AsyncCase, RawSocket, Server, close_code, connect, frame, receive, scaled


class Shutdown(AsyncCase):
    async def test_sockets_hear_that_the_server_is_going_away(self):
        with Server("--max-connections-per-address", "0", "--max-connections-per-user",
                    "0") as server:
            sockets = [await connect(server, "/push/alice/") for _ in range(scaled(200, 50))]
            sockets += [await connect(server, "/ws/chat/alice_bob/", "bob") for _ in range(10)]
            server.signal(signal.SIGTERM)
            codes = await asyncio.gather(*(close_code(ws) for ws in sockets))
            self.assertEqual(set(codes), {1001})
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

    async def test_sigint_ends_it_as_well(self):
        with Server() as server:
            ws = await connect(server, "/push/alice/")
            server.signal(signal.SIGINT)
            self.assertEqual(await close_code(ws), 1001)
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

    async def test_a_peer_that_does_not_answer_is_not_waited_for_forever(self):
        with Server() as server:
            raw = RawSocket(server).open("/push/alice/")
            server.signal(signal.SIGTERM)
            self.assertEqual(await asyncio.to_thread(raw.read_frame),
                             (CLOSE, b"\x03\xe9the server is going away"))
            self.assertEqual(await asyncio.to_thread(server.wait), 0)
            raw.close()

    async def test_busy_sockets_are_no_obstacle(self):
        with Server("--messages-per-second", "0") as server:
            async def talk(n):
                group = f"/ws/chat/{2 * n}_{2 * n + 1}/"
                left = await connect(server, group, str(2 * n))
                right = await connect(server, group, str(2 * n + 1))
                started.release()
                sent = heard = 0
                try:
                    while True:
                        await left.send(f'{{"message":{sent}}}')
                        sent += 1
                        self.assertEqual(await receive(right), f'{{"message":{heard}}}')
                        heard += 1
                        await receive(left)
                except Exception as end:  # noqa: BLE001 it is looked at below
                    return left, right, end

            started = asyncio.Semaphore(0)
            pairs = scaled(20, 5)
            talks = [asyncio.create_task(talk(n)) for n in range(pairs)]
            for _ in range(pairs):
                await started.acquire()
            server.signal(signal.SIGTERM)
            for left, right, end in await asyncio.gather(*talks):
                self.assertEqual(type(end).__name__, "ConnectionClosedOK", repr(end))
                self.assertEqual(await close_code(left), 1001)
                self.assertEqual(await close_code(right), 1001)
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

    async def test_it_ends_at_once_when_nobody_is_there(self):
        with Server() as server:
            server.signal(signal.SIGTERM)
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

    async def test_what_was_said_before_is_still_delivered(self):
        """Messages that the server has read go out before its Close."""
        with Server("--messages-per-second", "0") as server:
            async with connect(server, "/ws/chat/alice_bob/", "alice", v1=True) as alice:
                await receive(alice)
                bob = RawSocket(server).open("/ws/chat/alice_bob/", "bob")
                await receive(alice)
                for n in range(50):
                    await alice.send(f'{{"message":{n}}}')
                for n in range(50):
                    self.assertIn('"route":"chat"', await receive(alice))
                server.signal(signal.SIGTERM)

                def read():
                    texts = []
                    while True:
                        opcode, payload = bob.read_frame()
                        if opcode == CLOSE:
                            bob.send(frame(CLOSE, payload[:2]))
                            return texts
                        texts.append(payload.decode())

                self.assertEqual(await asyncio.to_thread(read),
                                 [f'{{"message":{n}}}' for n in range(50)])
                bob.close()
                self.assertEqual(await close_code(alice), 1001)


if __name__ == "__main__":
    unittest.main()
