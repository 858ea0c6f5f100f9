"""The audit's rows and the API that queries them."""

import json
import os
import pathlib
import re
import signal
import stat
import unittest
import urllib.parse

from support import (CHAT, Case, Server, alice, connect, health, receive_json, run, scaled, send,
                     until, wait_until_written)


class Rows(Case):
    def ask(self, server, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        status, _, body = server.http("GET", "/api/v1/audit?" + query)
        return status, json.loads(body)

    async def test_a_message_queued_for_an_ended_receiver_makes_a_dropped_row(self):
        with self.server() as server:
            async with alice(server) as ws:
                bob = await connect(server, CHAT, "bob", v1=True)
                bob.transport.pause_reading()
                # More than the kernel buffers for a socket, so that some messages wait in the
                # queue.
                acks, sent = [], 0
                while health(server)["queued_bytes"] < 100_000:
                    for n in range(sent, sent + 20):
                        await ws.send(json.dumps({"message": "x" * 20_000, "id": f"m{n}"}))
                    sent += 20
                    while len(acks) < sent:
                        frame = await receive_json(ws)
                        if "ack" in frame:
                            acks.append(frame["ack"])
                bob.transport.abort()
                await until(lambda: health(server)["deliveries_dropped"] > 0, "some are dropped")
            await wait_until_written(server)
            dropped = health(server)["deliveries_dropped"]
            _, page = self.ask(server, outcome="dropped", to="bob", limit=1000)
        self.assertEqual(len(page["rows"]), dropped)
        in_chat = {ack["id"]: ack["at"] for ack in acks
                   if ack["route"] == "chat"}
        for row in page["rows"]:
            self.assertEqual((row["outcome"], row["group"], row["from"], row["to"], row["bytes"]),
                             ("dropped", "alice_bob", "alice", "bob", 20_002))
            self.assertEqual(in_chat[row["message_id"]], row["at"])
        # The dropped messages are the last ones: the first were sent.
        self.assertEqual([row["message_id"] for row in page["rows"]],
                         sorted(in_chat, key=lambda name: int(name[1:]))[-dropped:])

    async def test_pushed_undelivered_and_notified_make_rows_and_chat_makes_none(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 1, 1)
                async with connect(server, "/push/bob/") as push:
                    await send(ws, 2, 1)
                    await receive_json(push)
                    server.push("bob", '"notified"')
                    await receive_json(push)
                async with connect(server, CHAT, "bob"):
                    await receive_json(ws)
                    await send(ws, 3, 1)
            await wait_until_written(server)
            _, page = self.ask(server)
        rows = [(row["group"], row["from"], row["to"], row["outcome"], row["reached"],
                 row["bytes"], row["message_id"]) for row in page["rows"]]
        self.assertEqual(rows, [
            ("alice_bob", "alice", "bob", "undelivered", 0, 1, "m1"),
            ("alice_bob", "alice", "bob", "pushed", 1, 1, "m2"),
            (None, None, "bob", "pushed", 1, 10, None)])
        self.assertIsNone(page["next"])

    async def test_pages_and_filters(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 25)
            server.push("carol", "1")
            await wait_until_written(server)
            seen, after = [], ""
            while after is not None:
                _, page = self.ask(server, limit=10, after=after)
                seen += [row["id"] for row in page["rows"]]
                after = page["next"]
            self.assertEqual(seen, sorted(set(seen)))
            self.assertEqual(len(seen), 26)
            backwards, after = [], ""
            while after is not None:
                _, page = self.ask(server, limit=10, after=after, order="newest")
                backwards += [row["id"] for row in page["rows"]]
                after = page["next"]
            self.assertEqual(backwards, seen[::-1])
            for filter, count in (({"to": "carol"}, 1), ({"from": "alice"}, 25),
                                  ({"user": "bob"}, 25), ({"outcome": "pushed"}, 0),
                                  ({"outcome": "pushed,undelivered"}, 26),
                                  ({"outcome": ["pushed", "undelivered"]}, 26), ({"until": 1}, 0)):
                self.assertEqual(len(self.ask(server, **filter)[1]["rows"]), count, filter)

    async def test_an_invalid_query_is_refused_with_a_reason(self):
        with self.server() as server:
            status, body = self.ask(server, form="bob")
            self.assertEqual((status, body["error"]["code"]), (400, "bad_query"))
            self.assertIn("form", body["error"]["detail"])
            for parameters in ({"limit": 0}, {"limit": 1001}, {"limit": "ten"}, {"since": "now"},
                               {"to": "Bob!"}, {"outcome": "lost"}, {"after": "17"}, {"order": "latest"}):
                status, body = self.ask(server, **parameters)
                self.assertEqual((status, body["error"]["code"]), (400, "bad_query"), parameters)
                self.assertTrue(body["error"]["detail"].startswith(next(iter(parameters))))

    async def test_without_an_audit_queries_are_refused(self):
        with Server() as server:
            status, body = self.ask(server)
            self.assertEqual((status, body["error"]["code"]), (404, "audit_off"))
            self.assertEqual(health(server)["audit"], "off")

    async def test_only_operators_may_query(self):
        with self.server("--operators", "192.0.2.1") as server:
            self.assertEqual(self.ask(server)[0], 403)

    async def test_shutdown_writes_every_row_and_checkpoints_the_wal(self):
        # An end has one second: a slow disk may leave the WAL or rows. It is seldom as slow.
        for attempt in range(3):
            folder = os.path.join(self.folder, str(attempt))
            os.mkdir(folder)
            self.file = os.path.join(folder, "audit.db")
            with self.server() as server:
                async with alice(server) as ws:
                    await send(ws, 0, scaled(5000, 500))
                server.signal(signal.SIGTERM)
                server.wait()
                errors = server.errors()
            names = os.listdir(folder)  # a query below would checkpoint the WAL, too
            if not re.search("before the end|did not end in time", errors):
                self.assertEqual(self.count(), scaled(5000, 500))
                self.assertEqual(self.count("outcome = 'gap'"), 0)
                if names == ["audit.db"]:
                    return
        self.fail(f"three ends left {names}: {errors}")

    async def test_only_the_owner_may_access_the_files(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 1)
            await wait_until_written(server)
            for name in os.listdir(self.folder):
                mode = stat.S_IMODE(os.stat(os.path.join(self.folder, name)).st_mode)
                self.assertEqual(mode, 0o600, name)

    def test_files_that_are_no_audit_are_refused_in_one_line_and_not_changed(self):
        link = os.path.join(self.folder, "link.db")
        os.symlink(self.file, link)
        newer = os.path.join(self.folder, "newer.db")
        self.query("PRAGMA user_version = 99", file=newer)
        self.query("CREATE TABLE deliveries (x)", file=newer)
        text = pathlib.Path(self.folder, "notes.txt")
        text.write_text("another program's file\n")
        text.chmod(0o640)
        kept = [pathlib.Path(newer), text]
        before = [(file.read_bytes(), file.stat().st_mode) for file in kept]
        names = sorted(os.listdir(self.folder))
        for path, why in ((link, "a link, which"), (newer, "a newer program made it"),
                          (str(text), "it is not an SQLite database"),
                          (os.path.join(self.folder, "none/audit.db"), "create the folder first"),
                          (self.folder, "not a file")):
            for command in (("serve", "--listen", "127.0.0.1:0", "--www", ""),
                            ("config", "check")):
                code, _, error = run(*command, "--audit-file", path)
                self.assertEqual(code, 2, error)
                # A line of the log or of the command.
                line = [line for line in error.splitlines()
                        if line.startswith("waystation: ") or " error " in line]
                self.assertEqual(len(line), 1, error)
                self.assertIn(f'audit_file = "{path}"', line[0])
                self.assertIn(why, line[0])
        self.assertEqual([(file.read_bytes(), file.stat().st_mode) for file in kept], before)
        self.assertEqual(sorted(os.listdir(self.folder)), names)

    def test_checking_the_configuration_makes_no_file(self):
        self.assertEqual(run("config", "check", "--audit-file", self.file)[0], 0)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()
