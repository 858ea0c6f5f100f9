"""The audit on file systems that fill up, become read-only or are unmounted. Needs root."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration" / "audit"))

from support import (CHAT, Case, alice, connect, health, receive_json, run, send,  # noqa: E402
                     until, wait_for_state, wait_until_written)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class FileSystems(Case):
    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)
        self.file = os.path.join(self.disk, "audit.db")

    def mount_small(self, size):
        mount("-t", "tmpfs", "-o", f"size={size}", "none", self.disk)
        self.addCleanup(self.unmount)

    def unmount(self):
        if os.path.ismount(self.disk):
            subprocess.run(["umount", "-l", self.disk], check=True)

    async def assert_chat_goes_on(self, server):
        async with alice(server) as ws, connect(server, CHAT, "bob") as bob:
            await receive_json(ws)
            acks = await send(ws, 10**6, 20)
            self.assertEqual([ack["route"] for ack in acks], ["chat"] * 20)
            self.assertEqual((await receive_json(bob))["message"], 10**6)

    def assert_logged_once(self, server, state):
        errors = [line for line in server.errors().splitlines()
                  if " error " in line and f": {state} (" in line]
        self.assertEqual(len(errors), 1, server.errors())

    async def test_a_disk_that_fills_up_and_is_emptied(self):
        self.mount_small("2m")
        with self.server() as server:
            async with alice(server) as ws:
                sent = 0
                while health(server)["audit"] != "disk full":
                    await send(ws, sent, 200)
                    sent += 200
                    await until(lambda: health(server)["audit_rows_waiting"] == 0 or
                                health(server)["audit"] == "disk full", "it is written or full")
                    self.assertLess(sent, 200_000)
                await self.assert_chat_goes_on(server)
                written = health(server)["audit_rows_written"]
                self.assertGreater(written, 0)
                self.assertEqual(self.count(), written)
                self.assert_sound()
                mount("-o", "remount,size=64m", self.disk)
                await wait_for_state(server, "ok")
                await wait_until_written(server)
            self.assert_logged_once(server, "disk full")
        self.assertEqual(self.count(), sent)
        self.assert_sound()

    async def test_a_disk_that_is_full_at_the_start(self):
        self.mount_small("256k")
        filler = os.path.join(self.disk, "filler")
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        with self.server() as server:
            await wait_for_state(server, "disk full")
            async with alice(server) as ws:
                await send(ws, 0, 10)
            await self.assert_chat_goes_on(server)
            os.remove(filler)
            mount("-o", "remount,size=64m", self.disk)
            await wait_for_state(server, "ok")
            await wait_until_written(server)
            self.assert_logged_once(server, "disk full")
        self.assertEqual(self.count(), 10)
        self.assertEqual(self.count("outcome = 'gap'"), 0)
        self.assert_sound()

    async def test_a_file_system_that_is_read_only_at_the_start(self):
        self.mount_small("64m")
        mount("-o", "remount,ro", self.disk)
        with self.server() as server:
            await wait_for_state(server, "read-only")
            async with alice(server) as ws:
                await send(ws, 0, 10)
            await self.assert_chat_goes_on(server)
            mount("-o", "remount,rw", self.disk)
            await wait_for_state(server, "ok")
            await wait_until_written(server)
            self.assert_logged_once(server, "read-only")
        self.assertEqual(self.count(), 10)

    async def test_a_read_only_file_system_with_an_audit_on_it(self):
        self.mount_small("64m")
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
        mount("-o", "remount,ro", self.disk)
        with self.server() as server:
            await wait_for_state(server, "read-only")
            await self.assert_chat_goes_on(server)
            async with alice(server) as ws:
                await send(ws, 10, 10)
            # Existing rows can be read, by the command and by the API.
            code, out, error = run("audit", "list", "--file", self.file)
            self.assertEqual((code, len(out.splitlines())), (0, 11), error)
            status, _, body = server.http("GET", "/api/v1/audit")
            self.assertEqual((status, len(json.loads(body)["rows"])), (200, 10), body)
            mount("-o", "remount,rw", self.disk)
            await wait_for_state(server, "ok")
            await wait_until_written(server)
            self.assert_logged_once(server, "read-only")
        self.assertEqual(self.count(), 20)
        self.assert_sound()

    async def test_a_file_system_that_turns_read_only_in_use(self):
        """Like a disk error: ext4 remounts itself read-only, on a file in memory."""
        image = os.path.join(self.folder, "image")
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        attached = subprocess.run(["losetup", "--find", "--show", image], capture_output=True)
        if attached.returncode != 0:
            self.skipTest("no loop device available: " + attached.stderr.decode().strip())
        loop = attached.stdout.decode().strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", loop], check=False)
        mount(loop, self.disk)
        self.addCleanup(self.unmount)
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 100)
                await wait_until_written(server)
                mount("-o", "remount,abort", self.disk)
                await send(ws, 100, 100)
                await wait_for_state(server, "read-only")
                await self.assert_chat_goes_on(server)
                self.assert_logged_once(server, "read-only")
                status, _, body = server.http("GET", "/api/v1/audit")
                self.assertEqual((status, len(json.loads(body)["rows"])), (200, 100), body)
                # Another disk replaces it, and the audit continues there.
                subprocess.run(["umount", "-l", self.disk], check=True)
                mount("-t", "tmpfs", "none", self.disk)
                self.addCleanup(self.unmount)
                await wait_for_state(server, "ok")
                await wait_until_written(server)
        self.assertEqual(self.count(), 100)
        self.assert_sound()

    async def test_a_disk_that_is_unmounted_in_use(self):
        self.mount_small("64m")
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 10)
                await wait_until_written(server)
                subprocess.run(["umount", "-l", self.disk], check=True)
                await send(ws, 10, 10)
                await self.assert_chat_goes_on(server)
                await wait_until_written(server)
        self.assertEqual(self.count(), 10)  # in the folder under the mount point
        self.assert_sound()

    def test_another_users_file_is_refused(self):
        with self.server():
            pass
        os.chown(self.file, 4711, 4711)
        code, _, error = run("serve", "--listen", "127.0.0.1:0", "--www", "", "--audit-file", self.file)
        self.assertEqual(code, 2)
        self.assertIn("belongs to user 4711", error)
        # Root can read it nevertheless.
        self.assertEqual(run("audit", "stats", "--file", self.file)[0], 0)
        for name in os.listdir(self.disk):
            self.assertEqual(os.stat(os.path.join(self.disk, name)).st_uid, 4711, name)


if __name__ == "__main__":
    unittest.main()
