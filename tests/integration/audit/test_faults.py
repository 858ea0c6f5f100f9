"""Faults, each of them real: chat goes on, the fault is logged once and shown, and it is recovered
from without a restart."""

import os
import resource
import unittest

from support import (CHAT, Case, alice, connect, health, held_by_another_process, receive_json,
                     send, wait_for_state, wait_until_written)


class Faults(Case):
    async def assert_chat_goes_on(self, server):
        async with alice(server) as ws, connect(server, CHAT, "bob") as bob:
            await receive_json(ws)
            verdicts = await send(ws, 10**6, 20)
            self.assertEqual([verdict["route"] for verdict in verdicts], ["chat"] * 20)
            for n in range(20):
                self.assertEqual((await receive_json(bob))["message"], 10**6 + n)

    def assert_logged_once(self, server, state):
        errors = [line for line in server.errors().splitlines()
                  if " error " in line and f": {state} (" in line]
        self.assertEqual(len(errors), 1, server.errors())

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
        with self.server():
            pass
        with held_by_another_process(self.file):
            with self.server() as server:
                await wait_for_state(server, "locked")
                await self.assert_chat_goes_on(server)

    async def test_the_end_comes_in_time_while_the_lock_is_held(self):
        with self.server() as server:
            await wait_for_state(server, "ok")
            with held_by_another_process(self.file):
                async with alice(server) as ws:
                    await send(ws, 0, 3)
                await wait_for_state(server, "locked")
                server.signal(15)
                self.assertEqual(server.wait(), 0)
            self.assertIn("3 rows could not be written before the end", server.errors())
        with self.server() as server:  # and the file says so, too
            await wait_for_state(server, "ok")
        self.assertEqual(self.count("outcome = 'gap' AND lost IS NULL"), 1)

    async def test_a_file_that_may_not_grow(self):
        """A limit of the size of files, which fails as a full disk does, on any file system."""
        limit = 400 * 1024

        def prepare():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        with self.server(prepare=prepare) as server:
            async with alice(server) as ws:
                sent = 0
                while health(server)["audit"] != "disk full":
                    await send(ws, sent, 500)
                    sent += 500
                    self.assertLess(sent, 100_000)
                await self.assert_chat_goes_on(server)
                written = health(server)["audit_rows_written"]
                self.assertEqual(self.count(), written)  # what was committed is readable
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
            self.assertEqual(server.errors().count("was deleted or replaced"), 1)
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
        self.assertEqual(self.query("SELECT message_id FROM deliveries WHERE outcome <> 'gap'"),
                         [(f"m{n}",) for n in [*range(0, 10), *range(20, 30)]])
        self.assert_sound()

    async def test_a_damaged_file_at_the_start_is_set_aside(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 3000)
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
            self.assertIn(aside[0], server.errors())
            self.assertEqual(health(server)["audit"], "ok")
        self.assertEqual(self.count(), 10)
        self.assert_sound()

    async def test_rows_that_memory_cannot_hold_are_counted_and_a_row_says_so(self):
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
