"""Shared by the audit's tests: a server with an audit, and queries of its file."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import (BINARY, PATIENCE, SANITIZED, TEXT, AsyncCase, RawSocket, Server, connect,  # noqa: E402,F401
                     frame, receive, receive_json, round_trip, scaled, until)

CHAT = "/ws/chat/alice_bob/"

# No rate limit, so that a test can write as many rows as it needs.
NO_LIMITS = ("--messages-per-second", "0")


class Case(AsyncCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="waystation-audit-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.file = os.path.join(self.folder, "audit.db")

    def server(self, *options, **more):
        return Server("--audit-file", self.file, *NO_LIMITS, *options, **more)

    def query(self, sql, *parameters, file=None):
        """All rows of a query, read with Python's own SQLite module."""
        with contextlib.closing(sqlite3.connect(file or self.file, timeout=PATIENCE)) as database:
            return database.execute(sql, parameters).fetchall()

    def count(self, where="outcome <> 'gap'"):
        return self.query(f"SELECT count(*) FROM deliveries WHERE {where}")[0][0]

    def assert_sound(self, file=None):
        self.assertEqual(self.query("PRAGMA integrity_check", file=file), [("ok",)])


def health(server):
    return json.loads(server.http("GET", "/healthz")[2])


async def wait_for_state(server, state):
    await until(lambda: health(server)["audit"] == state, f"the audit is {state}")


async def wait_until_written(server):
    # The rows may wait in memory only, and the writer has the lowest priority.
    await until(lambda: health(server)["audit_rows_waiting"] == 0, "all rows are written",
                5 * PATIENCE)


async def send(ws, first, count):
    """Sends messages with the ids m<first>… and returns their acknowledgements."""
    acks = []
    for begin in range(first, first + count, 200):
        end = min(begin + 200, first + count)
        for n in range(begin, end):
            await ws.send(json.dumps({"message": n, "id": f"m{n}"}))
        while len(acks) < end - first:
            answer = await receive_json(ws)
            if "ack" in answer:
                acks.append(answer["ack"])
    return acks


def alice(server):
    """Reads and discards everything, so that the server's shutdown waits for nothing."""
    return connect(server, CHAT, "alice", v1=True, max_queue=None)


def run(*arguments, env=None):
    """Runs a command of the program: (exit code, standard output, standard error)."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("WAYSTATION_")}
    environment.update(env or {})
    done = subprocess.run([os.environ["WAYSTATION_BIN"], *arguments], capture_output=True,
                          env=environment, timeout=PATIENCE * 5)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def discard(server):
    """Closes the files of a server that a test ended itself."""
    if server._process.poll() is None:
        server._process.kill()
        server._process.wait()
    server._process.stdout.close()
    server._errors.close()


def opened_by_another_process(file):
    """A second process that has the file open, and neither reads nor writes."""
    return held_by_another_process(file, "SELECT count(*) FROM deliveries", "SELECT 1")


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
database.execute(sys.argv[2]).fetchall()
print("held", flush=True)
sys.stdin.read()
database.execute(sys.argv[3])
"""


@contextlib.contextmanager
def held_by_another_process(file, statement="BEGIN IMMEDIATE", end="COMMIT"):
    """A second process that holds the file's lock, and releases it at the end."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, file, statement, end],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
