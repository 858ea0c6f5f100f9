"""kill -9 at random moments under load: the file stays valid and the loss is bounded."""

import asyncio
import json
import random
import time
import unittest

import websockets

from support import Case, alice, discard, receive_json, until, wait_for_state

ROUNDS = 8

# A batch is committed a tenth of a second after its first row, or after a second at a thousand rows
# per second. The disk's time comes on top. The bounds are generous, because other tests use disk
# and processors too. A disk may stall at any moment, so a round may exceed them, but few may.
LIGHT_MS = 20 * 100
HEAVY_MS = 5 * 1000


class Kill(Case):
    async def load(self, server, first, acks, at_once):
        """Sends until the server is gone, `at_once` messages at a time; stores each
        acknowledgement's id and time."""
        try:
            async with alice(server) as ws:
                n = first
                while True:
                    for _ in range(at_once):
                        await ws.send(json.dumps({"message": n, "id": f"m{n}"}))
                        n += 1
                    while not acks or acks[-1][0] != n - 1:
                        frame = await receive_json(ws)
                        if "ack" in frame:
                            acks.append((int(frame["ack"]["id"][1:]), frame["ack"]["at"]))
                    if at_once == 1:
                        await asyncio.sleep(0.01)  # so that the load stays light
        except (websockets.ConnectionClosed, OSError):
            pass

    async def test_rows_committed_before_stay_and_few_are_lost(self):
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        acks, late = [], []
        for number in range(ROUNDS):
            server = self.server().__enter__()
            try:
                is_heavy = number % 2 == 1
                before = len(acks)
                load = asyncio.create_task(
                    self.load(server, number * 10**6, acks, 1000 if is_heavy else 1))
                least = 5000 if is_heavy else 1
                await until(lambda: len(acks) - before >= least, f"{least} were sent")
                # The random moment. Under light load, rows that were never committed are late by then.
                await asyncio.sleep(generator.uniform(0.2, 2.0) + (0 if is_heavy else LIGHT_MS / 1000))
                killed_at = int(time.time() * 1000)
                server.signal(9)
                self.assertEqual(server.wait(), -9)
                await load
            finally:
                discard(server)
            self.assert_sound()
            kept = {int(row[0][1:]) for row in
                    self.query("SELECT message_id FROM deliveries WHERE outcome <> 'gap'")}
            missing = [at for n, at in acks if n not in kept and n >= number * 10**6]
            if missing and killed_at - min(missing) >= (HEAVY_MS if is_heavy else LIGHT_MS):
                late.append((number, killed_at - min(missing)))
            # Rows that survived an earlier kill survive this one.
            earlier = {n for n, _ in acks if n < number * 10**6} & self.kept_before
            self.assertLessEqual(earlier, kept)
            self.kept_before = kept
        self.assertLess(len(late), ROUNDS // 4, f"seed {seed}: (round, ms): {late}")
        with self.server() as server:
            await wait_for_state(server, "ok")
        # Each killed run left a gap: lost rows are recorded.
        self.assertEqual(self.count("outcome = 'gap' AND lost IS NULL"), ROUNDS)

    kept_before = frozenset()


if __name__ == "__main__":
    unittest.main()
