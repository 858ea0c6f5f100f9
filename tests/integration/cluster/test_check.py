"""`waystation config check --online`."""

import os
import subprocess
import unittest

from support import PATIENCE, ClusterCase, Node, until

from harness import SANITIZED


class Check(ClusterCase):
    def check(self, *options, key=None, descriptors=1024):
        return subprocess.run(
            ["prlimit", f"--nofile={descriptors}",
             os.environ["WAYSTATION_BIN"], "config", "check", "--online", "--www", "",
             "--cluster-key-file", os.path.join(self.folder, "key") if key is None else key,
             *options],
            capture_output=True, check=False, timeout=PATIENCE, text=True)

    def test_an_engine_that_answers(self):
        engine = self.engine("--requirepass", "secret", "--tcp-keepalive", "5",
                             "--crash-log-enabled", "no")
        done = self.check("--cluster", f"redis://:secret@127.0.0.1:{engine.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("connected, version", done.stdout)
        self.assertIn("client-output-buffer-limit = ", done.stderr)
        self.assertNotIn("secret", done.stdout + done.stderr)
        self.assertTrue(done.stdout.endswith("waystation: the configuration is good\n"), done.stdout)

    def test_an_engine_that_removes_keys(self):
        engine = self.engine("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
        done = self.check("--cluster", engine.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("maxmemory-policy = allkeys-lru: ", done.stderr)

    def test_an_engine_that_does_not_tell_its_settings(self):
        engine = self.engine("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-config")
        done = self.check("--cluster", engine.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("settings not checked: "), 1, done.stderr)

    def test_engines_that_cannot_be_used(self):
        engine = self.engine("--requirepass", "secret")
        wrong = self.check("--cluster", f"redis://:wrong@127.0.0.1:{engine.port}")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("error: cluster = ", wrong.stderr)
        self.assertNotIn("wrong", wrong.stdout + wrong.stderr)
        self.assertNotIn("good", wrong.stdout)
        engine.kill()
        gone = self.check("--cluster", engine.url)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("refused", gone.stderr)

    async def test_a_node_that_would_not_fit(self):
        engine = self.engine()
        n0 = self.stack.enter_context(Node(self.folder, "n0", engine.url))
        await until(lambda: n0.is_ready(1), "the node is ready")
        fits = self.check("--cluster", engine.url, "--node-name", "n1")
        self.assertEqual(fits.returncode, 0, fits.stderr)
        key = self.new_key("other")
        differs = self.check("--cluster", engine.url, "--node-name", "n1", key=key)
        self.assertEqual(differs.returncode, 1, differs.stderr)
        self.assertIn(': node "n0" seals with a key that this node does not have; ', differs.stderr)
        # It will replace itself.
        itself = self.check("--cluster", engine.url, "--node-name", "n0", key=key)
        self.assertEqual(itself.returncode, 0, itself.stderr)

    def test_without_cluster_it_says_that_no_server_was_tried(self):
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no server was tried", done.stdout)

    @unittest.skipIf(SANITIZED, "UndefinedBehaviorSanitizer needs descriptors to check a type")
    def test_without_descriptors_it_says_why_no_server_was_tried(self):
        limit = 4  # the three that are open, and one for the files that it reads
        done = self.check("--cluster", "redis://127.0.0.1:1", descriptors=limit)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("were not tried: memory, threads or descriptors ran out", done.stderr)

    def test_options_that_contradict_each_other(self):
        done = self.check("--cluster", "redis://x", key="")
        self.assertEqual(done.returncode, 2)
        self.assertIn("cluster_key_file = ", done.stderr)
        for options, problem in (
                (("--cluster", "http://x"), "cluster = "),
                (("--cluster", "redis://x", "--max-message-bytes", "1048577",
                  "--max-queue-bytes", "9000000"), "max_message_bytes = 1048577: too large"),
                (("--cluster", "redis://x", "--cluster-name", "a b"), "cluster_name = ")):
            done = self.check(*options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn(problem, done.stderr)
        with open(os.path.join(self.folder, "key"), "ab") as file:
            os.fchmod(file.fileno(), 0o644)
        done = self.check("--cluster", "redis://x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("other users can read", done.stderr)


if __name__ == "__main__":
    unittest.main()
