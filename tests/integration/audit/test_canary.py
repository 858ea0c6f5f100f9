"""Nothing of what a message said is kept: canaries in every place, on every path, with the log at its
most verbose; then every file that the server has or had is searched for them."""

import glob
import json
import os
import unittest

from support import (CHAT, Case, alice, connect, health, held_by_another_process, receive,
                     receive_json, run, until, wait_for_state)

CANARY = "kanarie7f3a"

# Each holds the word, in a place where a careless program might take it for something else.
MESSAGES = [
    json.dumps({"message": CANARY}),
    json.dumps({"message": {CANARY: 1}}),
    json.dumps({"message": {"id": CANARY, "to_user": CANARY, "from": CANARY, "group": CANARY}}),
    json.dumps({"message": {"message": {"token": CANARY, "error": {"code": CANARY}}}}),
    json.dumps({"message": [[[CANARY]]], "unknown": CANARY}),
    '{"message": "\\u006banarie7f3a ' + CANARY + ' \\u0000 \\ud800"}',
    '{"message": "' + CANARY + "\x7f\u0080\ufffd" + '"}',
    json.dumps({"signal": CANARY}),
]
# And these are refused.
MISTAKES = [
    '{"message": "' + CANARY,
    '{"message": ' + CANARY + "}",
    json.dumps({"message": CANARY, "to_user": CANARY}),
    json.dumps({"message": CANARY, "id": CANARY + " !"}),
    '{"message": 1, "message": "' + CANARY + '"}',
    json.dumps({"token": CANARY}),
    json.dumps([CANARY]),
    CANARY,
]


class Canary(Case):
    async def use_every_path(self, server):
        async with alice(server) as ws, \
                connect(server, CHAT, "alice", max_queue=None) as plain:
            await receive(ws)
            for text in MESSAGES + MISTAKES:
                await ws.send(text)       # undelivered
                await plain.send(text)
            async with connect(server, "/push/bob/", max_queue=None) as push:
                for text in MESSAGES:
                    await ws.send(text)   # pushed
                await receive(push)
                server.push("bob", json.dumps(CANARY))
                status, _, _ = server.http("POST", "/api/v1/push/bob", "[" + CANARY,
                                           {"Content-Type": "application/json"})
                self.assertEqual(status, 400)
            async with connect(server, CHAT, "bob", v1=True, max_queue=None) as bob:
                for text in MESSAGES + MISTAKES:
                    await ws.send(text)   # in the group
                    await bob.send(text)
                await receive(bob)
            # A receiver who takes nothing and goes: dropped.
            bob = await connect(server, CHAT, "bob", v1=True)
            bob.transport.pause_reading()
            for _ in range(300):
                await ws.send(json.dumps({"message": CANARY * 5000}))
            bob.transport.abort()
            await until(lambda: health(server)["deliveries_dropped"] > 0, "deliveries are dropped")

    def assert_nowhere(self, server, extra=()):
        needles = [CANARY.encode(), CANARY.upper().encode(), CANARY.encode("utf-16-le"),
                   CANARY.encode().hex().encode()]
        places = {"log of the server": server.errors().encode()}
        for path in ("/healthz", "/metrics", "/api/v1/audit?limit=1000"):
            places[path] = server.http("GET", path)[2]
        names = set(glob.glob(os.path.join(self.folder, "**"), recursive=True))
        for link in glob.glob(f"/proc/{server.pid}/fd/*"):
            names.add(link)  # deleted files, too
        for name in [*names, *extra]:
            if os.path.isfile(name):
                with open(name, "rb") as file:
                    places[f"{name} -> {os.path.realpath(name)}"] = file.read()
        self.assertTrue(any("audit.db-wal" in place for place in places))
        for place, content in places.items():
            for needle in needles:
                self.assertNotIn(needle, content, place)

    async def test_no_file_log_or_figure_holds_what_was_said(self):
        for log_format in ("text", "json"):
            with self.server("--log-level", "debug", "--log-format", log_format) as server:
                await self.use_every_path(server)
                with held_by_another_process(self.file):  # and with a fault
                    await self.use_every_path(server)
                    await wait_for_state(server, "locked")
                await wait_for_state(server, "ok")
                await until(lambda: health(server)["audit_rows_waiting"] == 0, "all is written")
                self.assertGreater(health(server)["audit_rows_written"], 30)
                self.assert_nowhere(server)
                for command in ("list", "stats", "export"):
                    code, out, error = run("audit", command, "--file", self.file)
                    self.assertEqual(code, 0, error)
                    self.assertNotIn(CANARY, out + error)
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                self.assertNotIn(CANARY.encode(), file.read(), name)


if __name__ == "__main__":
    unittest.main()
