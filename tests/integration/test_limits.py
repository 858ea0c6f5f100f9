"""Limits hold, and one client's limit does not affect another."""

import asyncio
import json
import math
import resource
import socket
import threading
import time
import unittest

from harness import (CLOSE, KEPT_DESCRIPTORS, PING, PONG, SANITIZED, TEXT, AsyncCase, Case,
                     RawSocket, Server, connect, connect_after_release, frame, raise_descriptor_limit,
                     receive, receive_json, refuse, round_trip, scaled, until)

CHAT = "/ws/chat/alice_bob/"


class RateLimit(Case):
    OPTIONS = ("--messages-per-second", "1", "--message-burst", "5")

    def assert_limited(self, passed, since):
        """The number of messages allowed since then: the burst and the refill of each second."""
        self.assertGreaterEqual(passed, 5)
        self.assertLessEqual(passed, 5 + math.ceil(time.monotonic() - since))

    async def test_a_user_is_limited_on_all_sockets_together(self):
        async with connect(self.server, CHAT, "alice", v1=True) as alice, \
                connect(self.server, "/ws/chat/alice_carol/", "alice", v1=True) as tab, \
                connect(self.server, CHAT, "bob") as bob:
            for ws in (alice, alice, tab):
                await receive(ws)  # presence
            started = time.monotonic()
            for n in range(100):
                await (alice if n % 2 == 0 else tab).send(f'{{"message":{n},"id":"m{n}"}}')
            acks = [await receive_json(alice if n % 2 == 0 else tab) for n in range(100)]
            passed = [v for v in acks if "ack" in v]
            refused = [v["error"] for v in acks if "error" in v]
            self.assert_limited(len(passed), started)
            self.assertEqual(len(passed) + len(refused), 100)
            for error in refused:
                self.assertEqual(error["code"], "rate_limited")
                self.assertTrue(error["id"].startswith("m"))
            # The other user may send, and all sockets are open.
            await bob.send('{"message":"me"}')
            heard = [await receive_json(bob)]
            while heard[-1]["message"] != "me":
                heard.append(await receive_json(bob))
            self.assertEqual(len(heard) - 1, len([v for v in passed
                                                  if int(v["ack"]["id"][1:]) % 2 == 0]))

    async def test_a_new_socket_does_not_reset_the_rate(self):
        async with connect(self.server, "/push/dave/"):
            started = time.monotonic()
            passed = 0
            for _ in range(12):
                async with connect(self.server, "/ws/chat/dave_erin/", "dave", v1=True) as dave:
                    await receive(dave)
                    for _ in range(10):
                        await dave.send('{"message":1}')
                    for _ in range(10):
                        passed += "ack" in await receive_json(dave)
            self.assert_limited(passed, started)

    async def test_a_rate_limited_user_may_still_close(self):
        """The Close follows all messages, and the partner must see that the user left."""
        with RawSocket(self.server) as frank:
            frank.open("/ws/chat/frank_grace/", "frank")
            for _ in range(200):
                frank.say(json.dumps({"message": "x" * 9000, "to_user": "grace"}))
            self.assertEqual(self.server.presence("frank")["groups"], ["frank_grace"])
            frank.send(frame(CLOSE, b"\x03\xe8"))
            await until(lambda: not self.server.presence("frank")["groups"], "frank left")


class Connections(AsyncCase):
    async def test_a_burst_does_not_overshoot(self):
        """Sixty clients open sockets at once, and one user may have sixteen."""
        with Server("--max-connections-per-address", "0") as server:
            answers, opened = [], []
            start = threading.Barrier(60)

            def ask():
                raw = RawSocket(server)
                start.wait()
                answers.append(raw.handshake(f"{CHAT}?user=alice").status)
                opened.append(raw)

            threads = [threading.Thread(target=ask) for _ in range(60)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(set(answers)), [101, 429])
            self.assertEqual(answers.count(101), 16)
            for raw in opened:
                raw.close()

    async def test_permits_are_released(self):
        with Server("--max-connections-per-user", "2", "--max-connections-per-address", "3",
                    "--max-connections", "4") as server:
            for _ in range(30):
                first = await connect_after_release(server, CHAT, "alice")
                second = await connect_after_release(server, "/push/alice/")
                self.assertEqual(await asyncio.to_thread(refuse, server, CHAT, "alice"),
                                 (429, "too_many"))
                await first.close()
                await second.close()

    async def test_addresses_are_counted_separately(self):
        with Server("--max-connections-per-address", "2") as server:
            sockets = []
            for source in ("127.0.0.2", "127.0.0.3"):
                for _ in range(2):
                    sockets.append(RawSocket(server, source=source).open("/push/alice/"))
                raw = RawSocket(server, source=source)
                self.assertEqual(raw.handshake("/push/alice/").status, 429)
                raw.close()
            for raw in sockets:
                raw.close()

    async def test_a_full_server_sends_retry_after(self):
        with Server("--max-connections", "1") as server:
            async with connect(server, "/push/alice/"):
                with RawSocket(server) as raw:
                    response = raw.handshake("/push/bob/")
                    self.assertEqual(response.status, 503)
                    self.assertGreater(int(response.headers["retry-after"]), 0)
                    self.assertEqual(json.loads(response.body)["error"]["code"], "full")

    async def test_anonymous_sockets_do_not_count_for_a_user(self):
        with Server("--max-connections-per-user", "1") as server:
            async with connect(server, CHAT) as one, connect(server, CHAT) as two:
                await one.send('{"message":1,"to_user":"bob"}')
                self.assertEqual(await receive(two), '{"message":1}')

    async def test_0_means_no_limit(self):
        with Server("--max-connections-per-user", "0", "--max-connections-per-address", "0",
                    "--max-connections", "0") as server:
            sockets = [await connect(server, "/push/alice/") for _ in range(100)]
            self.assertEqual(await asyncio.to_thread(server.push, "alice", b"1"), 100)
            for ws in sockets:
                await ws.close()


class Descriptors(AsyncCase):
    async def test_chats_leave_descriptors_for_the_web_server(self):
        """Of 1,024 descriptors 128 are reserved for connections that wait for one of 20 workers."""
        limit, kept = 1024, 128 + 20
        if raise_descriptor_limit() < 2 * limit:
            self.skipTest(f"a process here may not open {2 * limit} descriptors (ulimit -Hn)")

        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with Server("--max-connections", "0", "--max-connections-per-address", "0",
                    "--max-connections-per-user", "0", prepare=lower) as server:
            sockets, open_ones = [], 0
            while True:
                raw = RawSocket(server)
                sockets.append(raw)
                self.assertLess(len(sockets), limit)
                response = raw.handshake("/push/alice/")
                if response.status == 101:
                    open_ones += 1
                    continue
                self.assertEqual(response.status, 503)
                self.assertEqual(json.loads(response.body)["error"]["code"], "full")
                self.assertGreater(int(response.headers["retry-after"]), 0)
                # A page that asks for the reason gets the same answer, unless CivetWeb has
                # meanwhile closed some adopted sockets.
                status, headers, body = server.http("GET", "/push/alice/")
                if status != 426:
                    break
            self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "full"))
            self.assertGreater(int(headers["Retry-After"]), 0)
            self.assertEqual(server.push("alice", "1"), open_ones)
            self.assertGreater(open_ones, limit // 2, "chats have the most of them")
            self.assertGreaterEqual(limit - server.descriptors(), kept)
            # More silent connections than are accepted at once. CivetWeb may still hold some of the
            # adopted sockets.
            full = server.descriptors()
            silent = [RawSocket(server) for _ in range(3 * kept)]
            await until(lambda: server.descriptors() >= full + kept // 2, "silent connections are accepted")
            self.assertLess(server.descriptors(), limit)
            for raw in silent:
                raw.close()
            self.assertEqual(server.http("GET", "/healthz")[0], 200)
            for raw in sockets:
                raw.close()


class Pages(unittest.TestCase):
    """A browser lets a page of another origin read the refusal only if that origin is allowed."""

    PAGE = "https://page.example"

    def told(self, server, **origin):
        """The results of an upgrade and of a plain GET: status, code, and whether the page may read
        it."""
        with RawSocket(server) as raw:
            answer = raw.handshake("/push/alice/", list(origin.items()))
        status, headers, body = server.http("GET", "/push/alice/", headers=origin)
        return [(status, json.loads(body)["error"]["code"],
                 {name.lower(): value for name, value in headers.items()
                  if name.lower().startswith("access-control-")})
                for status, headers, body in ((answer.status, answer.headers, answer.body),
                                              (status, headers, body))]

    def assert_told(self, server, status, code):
        allowed = {"access-control-allow-origin": self.PAGE,
                   "access-control-allow-credentials": "true"}
        own = f"http://127.0.0.1:{server.port}"
        self.assertEqual(self.told(server, Origin=self.PAGE), [(status, code, allowed)] * 2)
        self.assertEqual(self.told(server), [(status, code, {})] * 2)
        self.assertEqual(self.told(server, Origin=own), [(status, code, {})] * 2)
        for other in ("https://page.example:444", "https://evil.example", "null"):
            self.assertEqual(self.told(server, Origin=other), [(403, "bad_origin", {})] * 2)

    def test_may_read_the_limit_per_user(self):
        with Server("--allowed-origins", self.PAGE, "--max-connections-per-user", "1") as server, \
                RawSocket(server).open("/push/alice/"):
            self.assert_told(server, 429, "too_many")

    def test_may_read_the_limit_of_the_server(self):
        with Server("--allowed-origins", self.PAGE, "--max-connections", "1") as server, \
                RawSocket(server).open("/push/bob/"):
            self.assert_told(server, 503, "full")

    def test_may_read_the_lack_of_descriptors(self):
        def lower():  # below the reserve for HTTP
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

        with Server("--allowed-origins", self.PAGE, prepare=lower) as server:
            self.assert_told(server, 503, "full")


class SlowReceivers(AsyncCase):
    OPTIONS = ("--messages-per-second", "0", "--max-connections-per-address", "0",
               "--max-connections-per-user", "0",
               "--max-message-bytes", "65536", "--max-queue-bytes", "131072")

    async def test_a_stalled_receiver_is_closed_while_others_chat(self):
        with Server(*self.OPTIONS) as server:
            pairs = scaled(25, 8)
            others = []
            for n in range(pairs):
                group = f"/ws/chat/{2 * n}_{2 * n + 1}/"
                others.append((await connect(server, group, str(2 * n)),
                               await connect(server, group, str(2 * n + 1))))

            async with connect(server, "/push/bob/", v1=True) as push, \
                    connect(server, CHAT, "alice", v1=True) as alice:
                await receive(alice)
                # A small window, so that the kernel does not buffer everything.
                slow = RawSocket(server, receive_buffer=4096).open(CHAT, "bob")
                self.assertTrue((await receive_json(alice))["presence"]["present"])
                message = '{"message":"%s","id":"m"}' % ("x" * 60000)
                routes = []
                for turn in range(2000):
                    await alice.send(message)
                    # All other users send and receive between two messages.
                    left, right = others[turn % pairs]
                    await left.send(f'{{"message":{turn}}}')
                    self.assertEqual(await receive(right), f'{{"message":{turn}}}')
                    self.assertEqual(await receive(left), f'{{"message":{turn}}}')
                    answer = await receive_json(alice)
                    while "presence" in answer:
                        self.assertFalse(answer["presence"]["present"])
                        answer = await receive_json(alice)
                    routes.append(answer["ack"]["route"])
                    if routes[-1] == "push":
                        break
                # By chat until its queue was full, then by push, within the same step.
                self.assertEqual(routes, ["chat"] * (len(routes) - 1) + ["push"])
                event = await receive_json(push)
                self.assertEqual(event["event"]["from"], "alice")
                await round_trip(alice)
                await alice.send('{"message":1,"id":"after"}')
                while True:
                    answer = await receive_json(alice)
                    if "ack" in answer:
                        break
                    self.assertEqual(answer["presence"],
                                     {"user": "bob", "present": False, "reachable": True})
                self.assertEqual(answer["ack"]["route"], "push")

                # When it reads again: complete messages, then the Close with the reason.
                def read_rest():
                    count = 0
                    while True:
                        opcode, payload = slow.read_frame()
                        if opcode == CLOSE:
                            return count, int.from_bytes(payload[:2], "big")
                        if opcode == TEXT:
                            json.loads(payload)
                            count += 1
                        elif opcode == PING:
                            slow.send(frame(PONG, payload))

                count, code = await asyncio.to_thread(read_rest)
                self.assertEqual(code, 4408)
                self.assertLessEqual(count, len(routes) - 1)
                slow.close()
            for pair in others:
                for ws in pair:
                    await ws.close()

    async def test_its_queue_is_bounded_and_dropped_messages_are_counted(self):
        bound = 131072  # as in OPTIONS
        with Server(*self.OPTIONS) as server:
            async def health():
                return json.loads((await asyncio.to_thread(server.http, "GET", "/healthz"))[2])

            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive(alice)
                slow = RawSocket(server, receive_buffer=4096).open(CHAT, "bob")
                await receive(alice)
                message = '{"message":"%s"}' % ("x" * 8000)
                taken, queued = 0, [0]
                while True:
                    await alice.send(message)
                    answer = await receive_json(alice)
                    if answer.get("ack", {}).get("route") != "chat":
                        break
                    taken += 1
                    await round_trip(alice)  # the counter was read before
                    queued.append((await health())["queued_bytes"])
                # Exactly this number of messages.
                self.assertLessEqual(max(queued), bound)
                self.assertGreater(queued[-1] + len(message) + 4, bound)

                def read_rest():
                    count = 0
                    while True:
                        opcode, payload = slow.read_frame()
                        if opcode == CLOSE:
                            slow.send(frame(CLOSE, payload[:2]))
                            slow.read_to_end()
                            return count, int.from_bytes(payload[:2], "big")
                        count += opcode == TEXT

                arrived, code = await asyncio.to_thread(read_rest)
                slow.close()
                self.assertEqual(code, 4408)
                missing = taken - arrived
                self.assertGreater(missing, 0)
                found = await health()
                self.assertEqual((found["closed_slow"], found["closed_dead"]), (1, 0))
                self.assertEqual(found["deliveries_dropped"], missing)
                metrics = (await asyncio.to_thread(server.http, "GET", "/metrics"))[2].decode()
                for line in ('waystation_sockets_closed_total{reason="slow"} 1',
                             f'waystation_deliveries_dropped_total{{reason="slow"}} {missing}'):
                    self.assertIn(line, metrics.splitlines())

    async def test_the_budget_of_all_queues_holds(self):
        """Many slow sockets together use no more memory than the budget."""
        budget = 4 << 20
        with Server(*self.OPTIONS, "--max-total-queue-bytes", str(budget)) as server:
            before = server.resident_kib()
            sockets = []
            sockets = [RawSocket(server, receive_buffer=4096).open("/push/bob/")
                       for _ in range(scaled(100, 40))]
            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive(alice)
                reached = []
                while not reached or reached[-1] != 0:
                    await alice.send('{"message":"%s"}' % ("x" * 60000))
                    reached.append((await receive_json(alice))["ack"]["reached"])
                    # All bytes that are not in the kernel's buffers.
                    status, _, body = await asyncio.to_thread(server.http, "GET", "/healthz")
                    self.assertEqual(status, 200)
                    # The Close frames of slow sockets are additional.
                    self.assertLessEqual(json.loads(body)["queued_bytes"],
                                         budget + 64 * len(sockets))
            self.assertEqual(reached[0], len(sockets))
            self.assertEqual(reached, sorted(reached, reverse=True))
            # Queues double their size, and the allocator keeps some of the freed memory; a
            # sanitizer keeps all of it for a while.
            if not SANITIZED:
                self.assertLess((server.resident_kib() - before) * 1024, 6 * budget)
            for raw in sockets:
                raw.close()

    @unittest.skipIf(SANITIZED, "a sanitizer changes memory use")
    async def test_a_flood_of_pings_without_payload_costs_no_more_than_the_queues_hold(self):
        queue, count = 1 << 20, 4
        with Server("--max-queue-bytes", str(queue)) as server:
            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive(alice)
                before = server.resident_kib()
                most = [0]
                done = threading.Event()
                flood = frame(PING) * 10000

                def pour(raw):
                    try:
                        while not done.is_set():
                            raw.send(flood)
                            most[0] = max(most[0], server.resident_kib())
                    except ConnectionError:
                        pass

                def closed_slow():
                    return json.loads(server.http("GET", "/healthz")[2])["closed_slow"]

                raws = [RawSocket(server, receive_buffer=4096).open(CHAT, "bob")
                        for _ in range(count)]
                pouring = [asyncio.create_task(asyncio.to_thread(pour, raw)) for raw in raws]
                await until(lambda: closed_slow() == count, "all of them are closed as slow")
                done.set()
                await asyncio.gather(*pouring)
                # Queues double their size, and are copied then.
                self.assertLess((most[0] - before) * 1024, 3 * queue * count)
                for raw in raws:
                    raw.close()

    async def test_a_flood_of_pings_closes_a_client_that_reads_no_pongs(self):
        with Server(*self.OPTIONS) as server:
            async with connect(server, CHAT, "alice", v1=True) as alice:
                await receive(alice)
                bob = RawSocket(server, receive_buffer=4096).open(CHAT, "bob")
                await receive(alice)
                flood = frame(PING, bytes(125)) * 1000

                def pour():
                    try:
                        while True:
                            bob.send(flood)
                    except ConnectionError:
                        pass

                pouring = asyncio.create_task(asyncio.to_thread(pour))
                self.assertFalse((await receive_json(alice))["presence"]["present"])
                bob.socket.shutdown(socket.SHUT_RDWR)
                await pouring
                bob.close()


class GivenBack(AsyncCase):
    async def test_descriptors_and_threads_are_released(self):
        with Server("--max-connections-per-address", "0", "--max-connections-per-user",
                    "0") as server:
            descriptors, threads = server.descriptors() + KEPT_DESCRIPTORS, server.threads()
            for _ in range(3):
                sockets = [await connect(server, CHAT, "alice") for _ in range(50)]
                raws = [RawSocket(server).open("/push/bob/") for _ in range(50)]
                self.assertGreaterEqual(server.descriptors(), descriptors + 100)
                self.assertLessEqual(server.threads(), threads)
                for ws in sockets:
                    await ws.close()
                for raw in raws:
                    raw.reset()
                await until(lambda: server.descriptors() <= descriptors, "descriptors are closed")

    async def test_many_aborted_connections_leak_nothing(self):
        with Server("--max-connections-per-address", "0", "--max-connections-per-user",
                    "0") as server:
            descriptors = server.descriptors() + KEPT_DESCRIPTORS

            def storm(seed):
                for n in range(scaled(150, 40)):
                    raw = RawSocket(server)
                    kind = (n + seed) % 4
                    if kind == 0:
                        raw.reset()  # before its first byte
                    elif kind == 1:
                        raw.send(b"GET /push/alice/ HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                        raw.reset()  # in the middle of its request
                    elif kind == 2:
                        raw.open(CHAT, "alice")
                        raw.reset()
                    else:
                        raw.open("/push/bob/")
                        raw.send(frame(TEXT, b"{", fin=False)[:3])
                        raw.close()

            await asyncio.gather(*(asyncio.to_thread(storm, seed) for seed in range(8)))
            await until(lambda: server.descriptors() <= descriptors, "descriptors are closed")
            found = await asyncio.to_thread(server.presence, "alice")
            self.assertEqual(found, {"user": "alice", "push": 0, "groups": []})
            async with connect(server, CHAT, "alice") as alice, \
                    connect(server, CHAT, "bob") as bob:
                await alice.send('{"message":1}')
                self.assertEqual(await receive(bob), '{"message":1}')


if __name__ == "__main__":
    unittest.main()
