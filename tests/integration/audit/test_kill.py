"""kill -9 at random moments under load: the file stays sound, and the loss is bounded."""

import asyncio
import json
import random
import time
import unittest

import websockets

from support import Case, alice, receive_json, wait_for_state

ROUNDS = 8

# Rows are committed a tenth of a second after the first of a batch came; to commit them takes what
# the disk takes. This is generous towards a disk that other tests keep busy.
BOUND_MS = 3000


class Kill(Case):
    async def load(self, server, first, verdicts):
        """Sends until the server is gone; keeps each verdict's id and time."""
        try:
            async with alice(server) as ws:
                n = first
                while True:
                    for _ in range(50):
                        await ws.send(json.dumps({"message": n, "id": f"m{n}"}))
                        n += 1
                    while not verdicts or verdicts[-1][0] != n - 1:
                        frame = await receive_json(ws)
                        if "ack" in frame:
                            verdicts.append((int(frame["ack"]["id"][1:]), frame["ack"]["at"]))
        except (websockets.ConnectionClosed, OSError):
            pass

    async def test_rows_committed_before_stay_and_few_are_lost(self):
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        verdicts = []
        for number in range(ROUNDS):
            server = self.server().__enter__()
            try:
                load = asyncio.create_task(self.load(server, number * 10**6, verdicts))
                await asyncio.sleep(generator.uniform(0.2, 2.0))  # the random moment
                killed_at = int(time.time() * 1000)
                server.signal(9)
                self.assertEqual(server.wait(), -9)
                await load
            finally:
                server.signal(9) if server._process.poll() is None else None
                server._process.stdout.close()
                server._errors.close()
            self.assert_sound()
            kept = {int(row[0][1:]) for row in
                    self.query("SELECT message_id FROM deliveries WHERE outcome <> 'gap'")}
            missing = [at for n, at in verdicts if n not in kept and n >= number * 10**6]
            if missing:
                self.assertLess(killed_at - min(missing), BOUND_MS, f"seed {seed}")
            # What was there after an earlier kill is there after this one.
            earlier = {n for n, _ in verdicts if n < number * 10**6} & self.kept_before
            self.assertLessEqual(earlier, kept)
            self.kept_before = kept
        with self.server() as server:
            await wait_for_state(server, "ok")
        # Each run that was cut left a gap: the audit does not pretend to be whole.
        self.assertEqual(self.count("outcome = 'gap' AND lost IS NULL"), ROUNDS)

    kept_before = frozenset()


if __name__ == "__main__":
    unittest.main()
