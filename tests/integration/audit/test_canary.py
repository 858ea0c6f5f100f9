"""No message content is stored. The test sends canaries in every place and on every path, with the
log at its most verbose level. Then it searches every file that the server has or had."""

import asyncio
import contextlib
import glob
import json
import os
import resource
import unittest

from support import (BINARY, CHAT, TEXT, Case, RawSocket, Server, alice, connect, frame, health,
                     held_by_another_process, receive, receive_json, round_trip, run, until,
                     wait_for_state)

CANARY = "kanarie7f3a"
# The longest id that the audit accepts.
LONG_ID = "i" * 64

# Each contains the canary, in a place where a faulty program could read it as something else.
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
# Refused messages.
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
            # The receiver does not read, and disconnects: dropped.
            bob = await connect(server, CHAT, "bob", v1=True)
            bob.transport.pause_reading()
            for _ in range(300):
                await ws.send(json.dumps({"message": CANARY * 5000, "id": LONG_ID}))
            bob.transport.abort()
            await until(lambda: health(server)["deliveries_dropped"] > 0, "deliveries are dropped")

    def violate(self, server):
        """Causes close codes and HTTP errors; every input contains the canary."""
        for opcode, payload, code in (
                (BINARY, CANARY.encode(), 1003),
                (BINARY, b"\x00\xff" + CANARY.encode("utf-16-le"), 1003),
                (TEXT, b'{"message": "\xff' + CANARY.encode() + b'"}', 1007),
                (TEXT, json.dumps({"message": CANARY * 10_000}).encode(), 1009)):
            for path in (CHAT, "/push/alice/"):
                with RawSocket(server) as raw:
                    raw.open(path, "alice", v1=True)
                    raw.send(frame(opcode, payload))
                    self.assertEqual(raw.read_close(), code, (path, payload[:40]))
        with RawSocket(server) as raw:  # in pieces; one piece is missing
            raw.open(CHAT, "alice", v1=True)
            raw.send(frame(TEXT, CANARY.encode(), fin=False))
        as_json = {"Content-Type": "application/json"}
        path = "/api/v1/push/bob"
        for body, headers, status in ((json.dumps(CANARY * 10_000), as_json, 413),
                                      (json.dumps(CANARY), {"Content-Type": "text/plain"}, 415),
                                      ('"' + CANARY, as_json, 400)):
            self.assertEqual(server.http("POST", path, body, headers)[0], status)

    async def push_frames(self, server):
        """A push socket accepts no message from a client."""
        async with connect(server, "/push/bob/", "bob", v1=True, max_queue=None) as push:
            for text in MESSAGES + MISTAKES:
                await push.send(text)
            await round_trip(push)

    async def queue(self, server):
        """Queues messages for a receiver that does not read; returns both sockets."""
        bob = await connect(server, CHAT, "bob", v1=True)
        bob.transport.pause_reading()
        ws = await alice(server)
        while health(server)["queued_bytes"] < 50_000:
            self.assertEqual(health(server)["closed_slow"], 0)
            await ws.send(json.dumps({"message": CANARY * 2000, "id": LONG_ID}))
            await round_trip(ws)  # so that the count includes all sent messages
        return ws, bob

    def assert_folder_is_clean(self):
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                self.assertNotIn(CANARY.encode(), file.read(), name)

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
                with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
                    places[f"{name} -> {os.path.realpath(name)}"] = file.read()
        self.assertTrue(any("audit.db-wal" in place for place in places))
        for place, content in places.items():
            for needle in needles:
                self.assertNotIn(needle, content, place)

    async def test_no_file_log_or_counter_contains_a_message(self):
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
        self.assert_folder_is_clean()

    async def test_refusals_store_no_content(self):
        with self.server("--log-level", "debug") as server:
            await asyncio.to_thread(self.violate, server)
            await self.push_frames(server)
            async with alice(server) as ws:  # a row, so that there is something to search
                await ws.send(json.dumps({"message": CANARY}))
                await receive(ws)
            await until(lambda: health(server)["audit_rows_written"] > 0, "a row is written")
            self.assert_nowhere(server)
        self.assert_folder_is_clean()

    async def test_rate_limits_store_no_content(self):
        with Server("--audit-file", self.file, "--log-level", "debug", "--messages-per-second", "1",
                    "--message-burst", "3") as server:
            async with alice(server) as ws:
                for n in range(20):
                    await ws.send(json.dumps({"message": CANARY, "id": f"m{n}"}))
                codes = set()
                while "rate_limited" not in codes:
                    answer = await receive_json(ws)
                    codes.add(answer.get("error", {}).get("code"))
            await until(lambda: health(server)["audit_rows_written"] > 0, "a row is written")
            self.assert_nowhere(server)
        self.assert_folder_is_clean()

    async def test_shutdown_with_queued_messages_stores_no_content(self):
        with self.server("--log-level", "debug") as server:
            ws, bob = await self.queue(server)
            server.signal(15)
            self.assertEqual(server.wait(), 0)
            self.assertNotIn(CANARY, server.errors())
            for socket in (ws, bob):
                socket.transport.abort()
        self.assertGreater(self.count("outcome = 'dropped'"), 0)
        self.assert_folder_is_clean()

    async def test_full_disk_and_set_aside_file_store_no_content(self):
        with open(self.file, "wb") as file:
            file.write(b"SQLite format 3\0" + b"damaged" * 1000)

        def prepare():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300 * 1024, resource.RLIM_INFINITY))

        with self.server("--log-level", "debug", prepare=prepare) as server:
            await until(lambda: "it is now" in server.errors(), "it is set aside")
            async with alice(server) as ws:
                while health(server)["audit"] != "disk full":
                    for _ in range(500):
                        await ws.send(json.dumps({"message": CANARY}))
                    await round_trip(ws)
            await self.use_every_path(server)
            self.assert_nowhere(server)
        self.assertTrue(any(".corrupt-" in name for name in os.listdir(self.folder)))
        self.assert_folder_is_clean()


if __name__ == "__main__":
    unittest.main()
