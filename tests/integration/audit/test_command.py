"""`waystation audit`, while the server runs and after."""

import contextlib
import csv
import fcntl
import io
import json
import os
import subprocess
import sqlite3
import sys
import termios
import time
import unittest

from support import PATIENCE, SANITIZED, Case, alice, run, send, until, wait_until_written


class Command(Case):
    def audit(self, *arguments, code=0, env=None):
        result, out, error = run("audit", *arguments, "--file", self.file, env=env)
        self.assertEqual(result, code, error)
        return out if code == 0 else error

    async def test_reads_and_prunes_while_the_server_writes(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 20)
                server.push("carol", "1")
                await wait_until_written(server)
                lines = self.audit("list").splitlines()
                self.assertEqual(len(lines), 22)
                self.assertEqual(lines[0].split(), ["TIME", "FROM", "TO", "OUTCOME", "REACHED",
                                                    "BYTES", "MESSAGE", "ID", "NODE"])
                # Columns are aligned.
                at = lines[0].index("OUTCOME")
                self.assertTrue(all(line[at:].startswith("undelivered") for line in lines[1:]))
                self.assertIn("undelivered   21", self.audit("stats"))
                when = lines[-1][:len("2026-03-01 14:30:05.250")]
                self.assertEqual(self.audit("prune", "--user", "carol", "--dry-run"),
                                 f"1 row would be deleted, {when}.\n")
                self.assertEqual(self.audit("prune", "--user", "carol"),
                                 f"1 row was deleted, {when}.\n")
                await send(ws, 20, 5)
                await wait_until_written(server)
                self.assertEqual(len(self.audit("list").splitlines()), 26)
        self.assertEqual(self.count(), 25)
        self.assert_sound()

    async def test_filters_and_times(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 3)
        count = lambda *options: self.audit("export", "--format", "jsonl", *options).count("\n")
        for options, rows in ((("--since", "1h"), 3), (("--since", "now"), 0),
                              (("--until", "today"), 0), (("--since", "2001-02-03"), 3),
                              (("--since", "2001-02-03T04:05:06Z", "--until", "1m"), 0),
                              (("--to", "bob"), 3), (("--from", "bob"), 0), (("--user", "bob"), 3),
                              (("--outcome", "pushed"), 0),
                              (("--outcome", "pushed,undelivered"), 3), (("--limit", "2"), 2)):
            self.assertEqual(count(*options), rows, options)

        # The start of the epoch is a valid time limit, above all for prune.
        self.assertEqual(self.audit("export", "--format", "jsonl", "--until", "1970-01-01",
                                    env={"TZ": "UTC0"}), "")
        self.assertEqual(self.audit("prune", "--user", "bob", "--until", "1970-01-01",
                                    env={"TZ": "UTC0"}), "0 rows were deleted.\n")
        self.assertEqual(count(), 3)

    def test_shows_gaps_with_every_filter(self):
        with self.server():
            pass
        self.query_and_commit("INSERT INTO deliveries (at, outcome, node, lost, lost_until) "
                              "VALUES (0, 'gap', 'n', NULL, 1700000000000)")
        self.assertIn("an unknown number of rows are missing, until",
                      self.audit("list", "--outcome", "dropped", "--since", "2020-01-01"))
        self.assertEqual(self.audit("export", "--outcome", "pushed").count("gap"), 1)
        self.assertIn("No rows match", self.audit("list", "--since", "2024-01-01"))
        self.assertEqual(self.audit("prune", "--outcome", "pushed"), "0 rows were deleted.\n")

    def insert(self, at, outcome, *, to="bob", lost=None, lost_until=None):
        is_gap = outcome == "gap"
        self.query_and_commit(
            "INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, reached, bytes, "
            "message_id, node, lost, lost_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'n', ?, ?)", at,
            *((None,) * 3 if is_gap else ("alice_bob", "alice", to)), outcome,
            *((None,) * 3 if is_gap else (1, 2, "-m")), lost, lost_until)

    def test_stats_name_affected_users_and_duplicate_counts(self):
        with self.server():
            pass
        self.insert(1000, "pushed")
        self.assertNotIn("counted in both", self.audit("stats"))
        for _ in range(2):
            self.insert(1000, "dropped")
        self.insert(1000, "undelivered", to="carol")
        for gap, told in (((None, 5000), "1, with an unknown number of rows missing"),
                          ((7, 6000), "2, with 7 rows missing in 1 and an unknown number in 1")):
            self.insert(3000, "gap", lost=gap[0], lost_until=gap[1])
            self.assertIn(f"gaps          {told}\n", self.audit("stats"))
        shown = self.audit("stats")
        self.assertIn("(A pushed message that was dropped afterwards is counted in both.)", shown)
        self.assertIn("Undelivered, by receiver:\n         1  carol\n\n"
                      "Dropped, by receiver:\n         2  bob\n\n", shown)
        self.assertNotIn("Dropped, by", self.audit("stats", "--outcome", "undelivered"))
        self.query_and_commit("DELETE FROM deliveries WHERE lost IS NULL AND outcome = 'gap'")
        self.assertIn("gaps          1, with 7 rows missing\n", self.audit("stats"))

    async def test_missed_lists_who_tried(self):
        with self.server() as server:
            async with alice(server) as ws:
                acks = await send(ws, 0, 3)
                server.push("bob", "1")
                await wait_until_written(server)
        lines = self.audit("missed", "--user", "bob", env={"TZ": "UTC0"}).splitlines()
        self.assertRegex(lines[0], r"^ +3  alice, 20\d\d-.*$")
        self.assertRegex(lines[1], "^ +1  notifications$")
        self.assertEqual(lines[2], "More may be missing: the audit is not complete for this time.")
        since = str(acks[0]["at"])
        self.assertEqual(len(self.audit("missed", "--user", "bob", "--since", since).splitlines()),
                         2)
        self.assertEqual(self.audit("missed", "--user", "alice", "--since", since), "Nobody.\n")
        self.assertIn("--user is required", self.audit("missed", code=2))
        self.assertIn("user", self.audit("missed", "--user", "Bob", code=2))

    def test_prune_reports_deleted_rows_and_keeps_gaps_of_remaining_ones(self):
        with self.server():
            pass
        self.insert(1000, "pushed")
        self.insert(4500, "undelivered")
        self.insert(2000, "gap", lost_until=3000)
        self.insert(4000, "gap", lost=2, lost_until=9000)
        options = ("--before", "5000")
        for command in ((*options, "--dry-run"), options):
            self.assertRegex(
                self.audit("prune", *command, env={"TZ": "UTC0"}),
                r"^3 rows (would be|were) deleted, 1970-01-01 00:00:01\.000 to "
                r"1970-01-01 00:00:04\.500, 1 of them a gap\.\n$")
        self.assertEqual(self.query("SELECT at, outcome FROM deliveries"), [(4000, "gap")])
        self.assertEqual(self.audit("prune", "--user", "bob"), "0 rows were deleted.\n")
        self.assertEqual(self.audit("prune", "--outcome", "gap"), "1 row was deleted, a gap.\n")
        help_text = run("audit", "prune", "--help")[1]
        self.assertNotIn("gaps are shown", help_text)
        self.assertIn("The audit does not record that rows were deleted", help_text)

    def test_exports_a_gap_with_empty_members(self):
        with self.server():
            pass
        self.insert(1000, "gap", lost_until=2000)
        with subprocess.Popen([os.environ["WAYSTATION_BIN"], "audit", "export", "--file", self.file],
                              stdout=subprocess.PIPE) as export:
            shown = export.stdout.read()
        self.assertEqual(
            shown, b"id,at,time,node,group,from,to,outcome,reached,bytes,message_id,lost,lost_until"
            b"\r\n1,1000,1970-01-01T00:00:01.000Z,n,,,,gap,,,,,2000\r\n")
        row = json.loads(self.audit("export", "--format", "jsonl"))
        self.assertEqual((row["reached"], row["bytes"], row["lost"], row["lost_until"]),
                         (None, None, None, 2000))

    def test_output_escapes_terminal_controls(self):
        with self.server():
            pass
        evil = "\x1b[2J\r\n2026-01-01 forged \u009b\x7f"
        self.query_and_commit(
            "INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, reached, bytes, "
            "message_id, node) VALUES (5, ?1, ?1, ?1, 'undelivered', 0, 1, ?1, ?1)", evil)
        for command in ("list", "stats"):
            shown = self.audit(command)
            self.assertNotRegex(shown, r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]")
            self.assertIn(r"\x1b[2J\x0d\x0a2026-01-01 forged \x9b\x7f", shown)
        self.assertEqual(len(self.audit("list").splitlines()), 2)

    def query_and_commit(self, sql, *parameters):
        with contextlib.closing(sqlite3.connect(self.file)) as database, database:
            database.execute(sql, parameters)

    async def test_local_time_is_that_of_the_caller(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 1)
        at = self.query("SELECT at FROM deliveries")[0][0]
        for zone, hours in (("UTC0", 0), ("EAST-9", 9)):
            shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at // 1000 + hours * 3600))
            self.assertIn(shown, self.audit("list", env={"TZ": zone}))

    async def test_exports_as_csv_and_as_json_lines(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 2)
            server.push("carol", "1")
        rows = list(csv.DictReader(io.StringIO(self.audit("export"), newline="")))
        self.assertEqual([(row["group"], row["from"], row["to"], row["message_id"])
                          for row in rows],
                         [("alice_bob", "alice", "bob", "m0"), ("alice_bob", "alice", "bob", "m1"),
                          ("", "", "carol", "")])
        rows = [json.loads(line) for line in
                self.audit("export", "--format", "jsonl").splitlines()]
        self.assertEqual(list(rows[0]), ["id", "at", "node", "group", "from", "to", "outcome",
                                         "reached", "bytes", "message_id"])
        self.assertIsNone(rows[2]["from"])

    async def test_json_lines_are_the_rows_of_the_http_api(self):
        with self.server() as server:
            async with alice(server) as ws:
                await send(ws, 0, 2)
            server.push("carol", "1")
            await wait_until_written(server)
            self.insert(1000, "gap", lost=7, lost_until=2000)
            self.insert(3000, "gap", lost_until=4000)
            lines = self.audit("export", "--format", "jsonl").splitlines()
            body = server.http("GET", "/api/v1/audit?limit=1000")[2]
        self.assertEqual(len(lines), 5)
        self.assertEqual(body.decode(), '{"rows":[' + ",".join(lines) + '],"next":null}')

    @unittest.skipIf(SANITIZED, "AddressSanitizer keeps freed memory for a while")
    def test_export_memory_does_not_depend_on_size(self):
        with self.server():
            pass
        peaks = []
        for rows in (10_000, 400_000):
            with sqlite3.connect(self.file) as database:
                database.executemany(
                    "INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, reached, "
                    "bytes, message_id, node) VALUES (?, 'alice_bob', 'alice', 'bob', "
                    "'undelivered', 0, 1, 'm', 'n')", ((at,) for at in range(rows)))
            database.close()
            code = ("import os, resource, subprocess, sys\n"
                    "out = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
                    "assert out.returncode == 0\n"
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            peaks.append(int(subprocess.run(
                [sys.executable, "-c", code, os.environ["WAYSTATION_BIN"], "audit", "export",
                 "--file", self.file], capture_output=True, check=True).stdout))
        self.assertLess(peaks[1], peaks[0] + 8 * 1024, peaks)  # KiB

    async def test_a_failed_write_makes_the_export_fail(self):
        """One write fails and later ones succeed."""
        with self.server():
            pass
        rows = 200_000
        self.query_and_commit(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO deliveries (at, to_user, outcome, reached, bytes, node) "
            "SELECT i, 'bob', 'undelivered', 0, 1, 'n' FROM n", rows)
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        process = subprocess.Popen([os.environ["WAYSTATION_BIN"], "audit", "export", "--format",
                                    "jsonl", "--file", self.file], stdout=write_end,
                                   stderr=subprocess.PIPE)
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            full = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - 4096
            # The pipe is read only now; the command does not wait, so its next write fails.
            await until(lambda: process.poll() is not None or self.waiting(pipe) >= full,
                        "the pipe is full")
            exported = pipe.read()
        _, error = process.communicate(timeout=PATIENCE)
        if process.returncode == 0:
            self.assertEqual(exported.count(b"\n"), rows, "it says that this is all")
        else:
            self.assertEqual(process.returncode, 1, error)
            self.assertIn(b"standard output: write error", error)

    @staticmethod
    def waiting(pipe):
        """The number of bytes that can be read."""
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)

    def test_finds_the_file_in_the_configuration(self):
        with self.server():
            pass
        config = os.path.join(self.folder, "site.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'audit_file = "{self.file}"\n')
        self.assertEqual(run("audit", "list", "--config", config)[0], 0)
        self.assertEqual(run("audit", "list", env={"WAYSTATION_AUDIT_FILE": self.file})[0], 0)
        code, _, error = run("audit", "list")
        self.assertEqual(code, 2)
        self.assertIn("no file; allowed: --file", error)

    def test_errors_are_one_line_with_exit_code_2(self):
        with self.server():
            pass
        for arguments, why in ((("list", "--since", "soon"), "--since \"soon\": not a time; allowed: "),
                               (("list", "--user", "Bob!"), 'user = "Bob!": not a user; allowed: 1 to'),
                               (("export", "--from", "a b"), 'from = "a b": not a user; allowed: 1'),
                               (("prune", "--to", "Bob"), 'to = "Bob": not a user; allowed'),
                               (("stats", "--to", "Bob"), 'to = "Bob": not a user; allowed: 1 to 64'),
                               (("list", "--limit", "-1"), '--limit "-1": not a whole number'),
                               (("stats", "--limit", "x"), '--limit "x": not a whole number'),
                               (("list", "--since", "1h", "--until", "2h"), "nothing can lie between"),
                               (("list", "--since", "today", "--until", "today"), "is the same"),
                               (("list", "--outcome", "lost"), "allowed: pushed"),
                               (("export", "--format", "xml"), "allowed: csv or jsonl"),
                               (("prune",), "no rows selected")):
            error = self.audit(*arguments, code=2)
            self.assertEqual(error.count("\n"), 1)
            self.assertIn(why, error)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([os.environ["WAYSTATION_BIN"], "audit", "export", "--file",
                                   self.file], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left on device", done.stderr)
        code, _, error = run("audit", "list", "--file", os.path.join(self.folder, "none"))
        self.assertEqual(code, 2)
        self.assertIn("there is no such file", error)
        code, _, error = run("audit", "list", "--file", self.folder)
        self.assertEqual(code, 2)
        self.assertIn("not a file but a folder; name the file that the server writes", error)
        code, _, error = run("audit", "list", self.file)
        self.assertEqual(code, 2)
        self.assertIn(f'did you mean --file "{self.file}"?', error)


if __name__ == "__main__":
    unittest.main()
