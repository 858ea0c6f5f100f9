"""One process, whose web server has 20 workers, holds and serves 15,000 sockets.

Two processes have half of the clients each, because of the descriptor limit of a process. The clients
have several addresses. The test prints the memory per socket.
"""

import json
import pathlib
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import (CLOSE, KEPT_DESCRIPTORS, PATIENCE, RawSocket, SANITIZED, Server,  # noqa: E402
                     frame, raise_descriptor_limit, scaled)

SOCKETS = scaled(15_000, 600)
PROCESSES = 2
ADDRESSES = 8
# The server needs one descriptor per socket, and a few others.
DESCRIPTORS = SOCKETS + 2000


class Remote:
    """The members that RawSocket needs of a server that another process started."""

    def __init__(self, port):
        self.port = port


def be_clients(port, number):
    """A process of clients. Runs the commands on standard input, line by line, and answers each
    with `done`."""
    raise_descriptor_limit()
    server = Remote(port)
    pairs = []
    for order in sys.stdin:
        order = order.strip()
        if order == "open":
            for n in range(SOCKETS // PROCESSES // 2):
                left, right = 2 * n, 2 * n + 1
                group = f"{left}0{number}_{right}0{number}"
                source = f"127.0.0.{2 + n % ADDRESSES}"
                pairs.append(tuple(
                    RawSocket(server, source=source).open(f"/ws/chat/{group}/", user)
                    for user in group.split("_")))
        elif order == "chat":
            # All users send before any of them reads.
            for n, (left, right) in enumerate(pairs):
                left.say(f'{{"message":"left {n}"}}')
                right.say(f'{{"message":"right {n}"}}')
            for n, pair in enumerate(pairs):
                expected = {f'{{"message":"left {n}"}}', f'{{"message":"right {n}"}}'}
                for raw in pair:
                    heard = {raw.read_message(), raw.read_message()}
                    assert heard == expected, (n, heard)
        elif order == "close":
            # Some send a Close, some disconnect, some reset.
            for n, pair in enumerate(pairs):
                for raw in pair:
                    if n % 3 == 0:
                        raw.send(frame(CLOSE, b"\x03\xe8"))
                        assert raw.read_close() == 1000
                    if n % 3 == 1:
                        raw.reset()
                    else:
                        raw.close()
            pairs.clear()
        print("done", flush=True)


class ManySockets(unittest.TestCase):
    def setUp(self):
        self.clients = []

    def start_clients(self, server):
        for number in range(PROCESSES):
            self.clients.append(subprocess.Popen(
                [sys.executable, __file__, "clients", str(server.port), str(number)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def tearDown(self):
        for client in self.clients:
            client.kill()
            client.wait()
            client.stdin.close()
            client.stdout.close()

    def tell(self, order):
        """Sends a command to all processes and waits for them."""
        for client in self.clients:
            client.stdin.write(order + "\n")
            client.stdin.flush()
        for client in self.clients:
            self.assertEqual(client.stdout.readline(), "done\n", f"a client failed at {order}")

    def wait_for(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"it never came about that {what}")
            time.sleep(0.05)

    def test_all_are_served_and_released(self):
        # A long ping interval: these clients answer pings only while they wait for frames.
        with Server("--max-connections", str(SOCKETS + 500), "--max-connections-per-address", "0",
                    "--max-connections-per-user", "0", "--ping-interval-seconds", "300") as server:
            descriptors = server.descriptors() + KEPT_DESCRIPTORS
            with RawSocket(server) as raw:
                raw.open("/push/0/")
                raw.send(frame(CLOSE, b"\x03\xe8"))
                raw.read_close()
            self.wait_for(lambda: server.descriptors() <= descriptors, "the first socket is gone")
            descriptors = server.descriptors()
            threads = server.threads()
            resident = server.resident_kib()
            self.start_clients(server)

            self.tell("open")
            self.assertEqual(health(server)["chat_sockets"], SOCKETS)
            # CivetWeb may have had to close one when they were counted.
            self.wait_for(lambda: abs(server.descriptors() - descriptors - SOCKETS) <= KEPT_DESCRIPTORS,
                          "each socket has one descriptor")
            # A socket has no thread; the web server may have started its own threads.
            self.assertLess(server.threads() - threads, 50)
            idle = (server.resident_kib() - resident) / SOCKETS

            self.tell("chat")
            self.assertEqual(health(server)["messages_chat"], SOCKETS)
            self.assertEqual(server.presence("100"),
                             {"user": "100", "push": 0, "groups": ["000_100"]})
            with RawSocket(server) as raw:
                raw.open("/push/last/")
                self.assertEqual(server.push("last", b"1"), 1)
                self.assertEqual(raw.read_message(), '{"event":{"message":1,"group":null}}')
            self.tell("chat")
            busy = (server.resident_kib() - resident) / SOCKETS
            print(f"{SOCKETS} sockets: {idle:.2f} KiB resident a socket when idle, "
                  f"{busy:.2f} KiB after {2 * SOCKETS} messages", flush=True)
            if not SANITIZED:
                # The target is 1.5 KiB per socket, with all sockets served. The measured value is
                # 1.28 KiB, and two runs differ by 0.02 KiB. The difference to the target, some 3
                # MiB, covers other memory of threads and allocator.
                self.assertLess(idle, 1.5)
                self.assertLess(busy, 1.5)

            self.tell("close")
            self.wait_for(lambda: server.descriptors() <= descriptors, "descriptors are closed")
            self.assertEqual(health(server)["chat_sockets"], 0)
            self.assertEqual(health(server)["groups"], 0)
            print(f"{(server.resident_kib() - resident) / 1024:.1f} MiB more resident than before "
                  "when all are gone", flush=True)


def health(server):
    status, _, body = server.http("GET", "/healthz")
    assert status == 200, status
    return json.loads(body)


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        be_clients(int(sys.argv[2]), int(sys.argv[3]))
    elif (limit := raise_descriptor_limit()) < DESCRIPTORS:
        print(f"not run: a process here may open {limit} descriptors (ulimit -Hn), and {SOCKETS} "
              f"sockets take {DESCRIPTORS}")
        sys.exit(77)
    else:
        unittest.main()
