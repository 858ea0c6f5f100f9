"""Peers whose network fails: neither a FIN nor a reset arrives.

Needs root and a separate network namespace (`unshare --net`). The test makes another one for the
peers, connected by a virtual cable that it can disconnect.
"""

import ctypes
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

from harness import (KEPT_DESCRIPTORS, AsyncCase, RawSocket, Server, connect,  # noqa: E402
                     receive_json, round_trip, until)

HERE, THERE = "192.0.2.1", "192.0.2.2"
PORT = 8080
CHAT = "/ws/chat/alice_bob/"

# A lost peer is absent within two ping intervals. The test allows twice as long, because the
# machine may be busy.
INTERVAL_S = 2
GONE_WITHIN_S = 2 * 2 * INTERVAL_S

CLONE_NEWNET = 0x40000000


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


class FarAway:
    """A second network namespace, at the other end of a cable."""

    def __enter__(self):
        run("ip", "link", "set", "lo", "up")
        # It prints "there" when it is in its namespace.
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo there; cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"there\n"
        self.within = ("nsenter", "--net", "--target", str(self.process.pid))
        run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there",
            "netns", str(self.process.pid))
        run("ip", "address", "add", f"{HERE}/24", "dev", "here")
        run("ip", "link", "set", "here", "up")
        run(*self.within, "ip", "address", "add", f"{THERE}/24", "dev", "there")
        run(*self.within, "ip", "link", "set", "there", "up")
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "link", "delete", "here"], check=False)
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def pull_the_cable(self):
        # At the far end: this end loses its carrier and keeps its address and routes.
        run(*self.within, "ip", "link", "set", "there", "down")

    def drop_packets(self):
        """As a firewall does it, in both directions: nobody is told."""
        for within, device, other in ((), "here", THERE), (self.within, "there", HERE):
            # Without an answer to ARP, the sender would be told.
            address = subprocess.run((*within, "ip", "neighbour", "show", other), check=True,
                                     capture_output=True, text=True).stdout.split()[4]
            run(*within, "ip", "neighbour", "replace", other, "lladdr", address, "dev", device,
                "nud", "permanent")
            run(*within, "tc", "qdisc", "replace", "dev", device, "root", "pfifo", "limit", "0")

    def pass_packets(self):
        for within, device in ((), "here"), (self.within, "there"):
            run(*within, "tc", "qdisc", "delete", "dev", device, "root")

    def socket(self, path, v1=False):
        """A WebSocket from that namespace to the server here. A socket belongs to the namespace of
        the thread that makes it, so a thread enters the namespace first."""
        made = []

        def make():
            network = os.open(f"/proc/{self.process.pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(network)
            raw = RawSocket(Target())
            headers = [("Host", f"{HERE}:{PORT}")]
            if v1:
                headers.append(("Sec-WebSocket-Protocol", "waystation.v1"))
            response = raw.handshake(path, headers)
            assert response.status == 101, (response.status, response.body)
            made.append(raw)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        assert made, "no socket could be opened"
        return made[0]


class Target:
    """The server's address, as seen from there."""

    host, port = HERE, PORT


def health(server):
    return json.loads(server.http("GET", "/healthz")[2])


class Vanished(AsyncCase):
    def server(self):
        return Server("--listen", f"{HERE}:{PORT}", "--allow-open-network",
                      "--ping-interval-seconds", str(INTERVAL_S))

    async def assert_in_time(self, attempt):
        """`attempt()` returns the seconds until the peer was taken for dead. A stalled machine is
        seldom late twice."""
        seconds = [await attempt()]
        if seconds[0] >= GONE_WITHIN_S:
            seconds.append(await attempt())
        self.assertLess(min(seconds), GONE_WITHIN_S)

    async def test_it_is_absent_within_two_pings_and_its_messages_are_counted(self):
        await self.assert_in_time(self.seconds_until_absent)

    async def seconds_until_absent(self):
        with FarAway() as far_away, self.server() as server:
            descriptors = server.descriptors()
            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive_json(alice)
                bob = far_away.socket(f"{CHAT}?user=bob")
                self.assertTrue((await receive_json(alice))["presence"]["present"])
                await alice.send('{"message":"heard"}')
                self.assertEqual((await receive_json(alice))["ack"]["route"], "chat")
                self.assertEqual(bob.read_message(), '{"message":"heard"}')
                # Its ping and bob's response: all earlier frames have arrived.
                bob.round_trip()

                far_away.pull_the_cable()
                begin = time.monotonic()
                for n in range(5):
                    await alice.send(f'{{"message":{n}}}')
                    ack = (await receive_json(alice))["ack"]
                    self.assertEqual((ack["route"], ack["reached"]), ("chat", 1))
                self.assertEqual(await receive_json(alice),
                                 {"presence": {"user": "bob", "present": False, "reachable": False}})
                seconds = time.monotonic() - begin

                figures = health(server)
                self.assertEqual(figures["closed_dead"], 1)
                self.assertEqual(figures["deliveries_dropped"], 5)
                self.assertEqual(figures["chat_sockets"], 1)
                await alice.send('{"message":"too late"}')
                self.assertEqual((await receive_json(alice))["ack"]["route"], "none")
                # One is alice's socket.
                await until(lambda: server.descriptors() <= descriptors + 1 + KEPT_DESCRIPTORS,
                            "its descriptor is closed")
                bob.close()
        return seconds

    async def test_a_silent_one_is_closed_and_others_stay(self):
        await self.assert_in_time(self.seconds_until_closed)

    async def seconds_until_closed(self):
        with FarAway() as far_away, self.server() as server:
            async with connect(server, "/push/bob/", v1=True) as stays:
                vanished = [far_away.socket("/push/bob/") for _ in range(3)]
                self.assertEqual(server.presence("bob")["push"], 4)
                far_away.pull_the_cable()
                begin = time.monotonic()
                await until(lambda: server.presence("bob")["push"] == 1, "they are taken for dead")
                seconds = time.monotonic() - begin
                self.assertEqual(health(server)["closed_dead"], 3)
                await round_trip(stays)
                self.assertEqual(server.push("bob", b"1"), 1)
                self.assertEqual((await receive_json(stays))["event"]["message"], 1)
                for raw in vanished:
                    raw.close()
        return seconds

    async def test_a_short_outage_loses_nothing(self):
        with FarAway() as far_away, self.server() as server:
            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive_json(alice)
                bob = far_away.socket(f"{CHAT}?user=bob")
                self.assertTrue((await receive_json(alice))["presence"]["present"])
                far_away.pull_the_cable()
                await alice.send('{"message":"meanwhile"}')
                self.assertEqual((await receive_json(alice))["ack"]["route"], "chat")
                run(*far_away.within, "ip", "link", "set", "there", "up")
                self.assertEqual(bob.read_message(), '{"message":"meanwhile"}')
                self.assertEqual(health(server)["deliveries_dropped"], 0)
                bob.close()


if __name__ == "__main__":
    if len(socket.if_nameindex()) > 1:  # a new one has only loopback
        sys.exit("run this in a separate network namespace: unshare --net python3 test_network.py")
    unittest.main()
