"""Real faults: chat continues, the fault is logged once and shown, and the audit recovers without a
restart."""

import contextlib
import os
import resource
import sqlite3
import time
import unittest

from support import (CHAT, Case, alice, connect, discard, health, held_by_another_process,
                     opened_by_another_process, receive_json, run, send, until, wait_for_state,
                     wait_until_written)

DAY_MS = 86_400_000


class Faults(Case):
    async def assert_chat_goes_on(self, server):
        async with alice(server) as ws, connect(server, CHAT, "bob") as bob:
            await receive_json(ws)
            acks = await send(ws, 10**6, 20)
            self.assertEqual([ack["route"] for ack in acks], ["chat"] * 20)
            for n in range(20):
                self.assertEqual((await receive_json(bob))["message"], 10**6 + n)

    def assert_logged_once(self, server, state):
        errors = [line for line in server.errors().splitlines()
                  if " error " in line and f": {state} (" in line]
        self.assertEqual(len(errors), 1, server.errors())

    def assert_old_rows_are_missing(self):
        """The file was lost, and the new file has a gap that covers the whole time of the lost
        rows."""
        now = int(time.time() * 1000)
        self.assertEqual(self.query("SELECT lost, at < ?, lost_until > ? FROM deliveries WHERE "
                                    "outcome = 'gap'", now - 29 * DAY_MS, now - DAY_MS),
                         [(None, 1, 1)])

    async def test_a_lock_held_by_another_process(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
                await wait_until_written(server)
                with held_by_another_process(self.file):
                    await send(ws, 10, 500)
                    await wait_for_state(server, "locked")
                    await self.assert_chat_goes_on(server)
                    self.assertEqual(health(server)["audit_rows_waiting"], 500)
                await wait_for_state(server, "ok")
            await wait_until_written(server)
            self.assert_logged_once(server, "locked")
        self.assertEqual(self.count(), 510)
        self.assertEqual(self.count("outcome = 'gap'"), 0)
        self.assert_sound()

    async def test_a_lock_that_is_held_at_the_start(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
        with contextlib.ExitStack() as stack:
            with held_by_another_process(self.file):
                server = stack.enter_context(self.server())
                await wait_for_state(server, "locked")
                async with alice(server) as ws:
                    await send(ws, 10, 20)
                await self.assert_chat_goes_on(server)
                self.assertEqual(health(server)["audit_rows_waiting"], 20)
                self.assertEqual(self.count(), 10)  # existing rows can be read
            await wait_for_state(server, "ok")
            await wait_until_written(server)
            self.assert_logged_once(server, "locked")
        self.assertEqual(self.count(), 30)
        self.assertEqual(self.count("outcome = 'gap'"), 0)
        self.assert_sound()

    async def test_a_run_that_could_not_open_the_file_leaves_a_gap(self):
        with self.server():
            pass
        gaps = 0
        for number in (15, 9):  # ended, and killed
            with held_by_another_process(self.file):
                server = self.server().__enter__()
                await wait_for_state(server, "locked")
                async with alice(server) as ws:
                    await send(ws, 0, 3)
                server.signal(number)
                self.assertEqual(server.wait(), 0 if number == 15 else -9)
                discard(server)
            gaps += 1
            with self.server() as server:
                await wait_for_state(server, "ok")
            self.assertEqual(self.count("outcome = 'gap' AND lost IS NULL"), gaps)
        self.assertEqual(os.listdir(self.folder), ["audit.db"])

    async def test_a_second_server_on_the_same_file_is_refused(self):
        with self.server() as server:
            code, _, error = run("serve", "--listen", "127.0.0.1:0", "--www", "",
                                 "--audit-file", self.file)
            self.assertEqual(code, 2, error)
            self.assertIn("another program is writing it as node", error)
            # Checking a configuration beside a running server is allowed.
            self.assertEqual(run("config", "check", "--audit-file", self.file)[0], 0)
            async with alice(server) as ws:
                await send(ws, 0, 3)
        self.assertEqual(self.count("outcome = 'gap'"), 0)
        self.assertEqual(self.count(), 3)

    async def test_a_wal_that_is_deleted_while_another_process_has_the_file_open(self):
        with self.server() as server:
            async with alice(server) as ws:
                with opened_by_another_process(self.file):
                    sent = 0
                    while True:  # until some rows are only in the WAL
                        await send(ws, sent, 3)
                        sent += 3
                        await wait_until_written(server)
                        if os.path.getsize(self.file + "-wal") != 0:
                            break
                    os.remove(self.file + "-wal")
                    await send(ws, sent, 3)
                    await wait_until_written(server)
                    await self.assert_chat_goes_on(server)
                    self.assertEqual(health(server)["audit"], "ok")
                self.assertEqual(self.count(), sent + 3)
            self.assertEqual(server.errors().count("nothing is lost"), 1)
        self.assertEqual(self.count(), sent + 3)
        self.assert_sound()

    async def test_shutdown_is_in_time_while_the_lock_is_held(self):
        with self.server() as server:
            await wait_for_state(server, "ok")
            with held_by_another_process(self.file):
                async with alice(server) as ws:
                    await send(ws, 0, 3)
                await wait_for_state(server, "locked")
                server.signal(15)
                self.assertEqual(server.wait(), 0)
            self.assertIn("3 rows could not be written before the end", server.errors())
        with self.server() as server:  # the file has a gap too
            await wait_for_state(server, "ok")
        self.assertEqual(self.count("outcome = 'gap' AND lost IS NULL"), 1)

    async def test_a_file_that_may_not_grow(self):
        """A file size limit fails like a full disk, on any file system."""
        limit = 400 * 1024

        def prepare():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        with self.server(prepare=prepare) as server:
            async with alice(server) as ws:
                sent = 0
                while health(server)["audit"] != "disk full":
                    await send(ws, sent, 500)
                    sent += 500
                    await until(lambda: health(server)["audit_rows_waiting"] == 0 or
                                health(server)["audit"] == "disk full", "it is written or full")
                    self.assertLess(sent, 100_000)
                await self.assert_chat_goes_on(server)
                written = health(server)["audit_rows_written"]
                self.assertEqual(self.count(), written)  # committed rows are readable
                self.assert_sound()
                infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, infinite)
                await wait_for_state(server, "ok")
                await wait_until_written(server)
            self.assert_logged_once(server, "disk full")
        self.assertEqual(self.count(), sent)
        self.assert_sound()

    async def test_a_deleted_file(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
                await wait_until_written(server)
                for name in os.listdir(self.folder):
                    os.remove(os.path.join(self.folder, name))
                await send(ws, 10, 10)
                await wait_until_written(server)
                await self.assert_chat_goes_on(server)
                self.assertEqual(health(server)["audit"], "ok")
            self.assertEqual(server.errors().count("was deleted or replaced"), 1)
        self.assert_old_rows_are_missing()
        self.assertEqual(self.query("SELECT message_id FROM deliveries WHERE outcome <> 'gap'"),
                         [(f"m{n}",) for n in range(10, 20)])
        self.assert_sound()

    async def test_a_replaced_file(self):
        other = os.path.join(self.folder, "other.db")
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
        os.rename(self.file, other)
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 10, 10)
                await wait_until_written(server)
                os.rename(other, self.file)
                await send(ws, 20, 10)
                await wait_until_written(server)
                await self.assert_chat_goes_on(server)
                self.assertEqual(health(server)["audit"], "ok")
            self.assertEqual(server.errors().count("was deleted or replaced"), 1)
        self.assert_old_rows_are_missing()
        self.assertEqual(self.query("SELECT message_id FROM deliveries WHERE outcome <> 'gap'"),
                         [(f"m{n}",) for n in [*range(0, 10), *range(20, 30)]])
        self.assert_sound()

    async def test_a_damaged_file_at_the_start_is_set_aside(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 3000)
            await wait_until_written(server)
        # A slow machine may leave rows in the WAL at the end; they would replace the damaged pages.
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = os.path.getsize(self.file)
        with open(self.file, "r+b") as file:
            file.seek(size // 2)
            file.write(os.urandom(size // 4))
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 3000, 10)
            await wait_until_written(server)
            aside = [name for name in os.listdir(self.folder)
                     if ".corrupt-" in name and not name.endswith(("-wal", "-shm"))]
            self.assertEqual(len(aside), 1)
            self.assertEqual(os.path.getsize(os.path.join(self.folder, aside[0])), size)
            replaced = aside[0] + " and a new file replaces it"
            await until(lambda: replaced in server.errors(), "the line of the log")
            await wait_for_state(server, "ok")
            await self.assert_chat_goes_on(server)
            self.assertEqual(server.errors().count(replaced), 1)
        self.assert_old_rows_are_missing()
        self.assertEqual(self.count(), 10)
        self.assert_sound()

    async def test_rows_beyond_the_queue_are_counted_and_leave_a_gap(self):
        with self.server() as server:
            await wait_for_state(server, "ok")
            sent = 0
            async with alice(server) as ws:
                with held_by_another_process(self.file):
                    while health(server)["audit_rows_lost"] < 1000:
                        await send(ws, sent, 5000)
                        sent += 5000
                        self.assertLess(sent, 1_000_000)
                await wait_for_state(server, "ok")
                await wait_until_written(server)
            lost = health(server)["audit_rows_lost"]
        self.assertEqual(self.count(), sent - lost)
        self.assertEqual(self.query("SELECT sum(lost) FROM deliveries WHERE outcome = 'gap'"),
                         [(lost,)])
        since, until = self.query("SELECT at, lost_until FROM deliveries WHERE outcome = 'gap'")[0]
        self.assertLess(since, until)


if __name__ == "__main__":
    unittest.main()
