"""Start and shutdown of a server whose user may not start another thread. Needs root, to become a
user with a limit."""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

from exhaustion import end_in_order  # noqa: E402
from harness import AsyncCase, Server  # noqa: E402

# An unused user id: its only processes are the test's.
USER = 64123


def become_user(threads=None):
    if threads is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)


class NoThreadLeft(AsyncCase):
    async def test_shutdown_is_orderly(self):
        with tempfile.TemporaryDirectory(prefix="waystation-exhausted-") as folder:
            os.chown(folder, USER, USER)
            audit = os.path.join(folder, "audit.db")
            with Server("--audit-file", audit, prepare=become_user) as server:
                # Set as that user: root without CAP_SYS_RESOURCE may not set it.
                await end_in_order(self, server, audit, lambda: subprocess.run(
                    ["prlimit", f"--pid={server.pid}", "--nproc=1:1"], preexec_fn=become_user,
                    check=True))

    def test_a_failed_start_names_the_reason(self):
        """Whichever thread cannot be started: the error does not claim that the free port is in
        use."""
        with Server(prepare=become_user) as server:
            needed = server.threads()
        # Each of the first ones, the last one, and one in the middle of CivetWeb's.
        for threads in (*range(1, 7), needed // 2, needed - 1):
            with self.subTest(threads=threads, needed=needed):
                ended = subprocess.run(
                    [os.environ["WAYSTATION_BIN"], "serve", "--listen", "127.0.0.1:0", "--www", ""],
                    preexec_fn=lambda: become_user(threads), stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, timeout=60, text=True)
                said = ended.stderr.splitlines()[-1]
                self.assertEqual(ended.returncode, 1, said)
                self.assertIn("ulimit -u", said)
                self.assertIn("thread", said)
                self.assertNotIn("cannot listen", said)
        with Server(prepare=lambda: become_user(needed)):
            pass


if __name__ == "__main__":
    unittest.main()
