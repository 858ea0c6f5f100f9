"""Three nodes and users who come, go and talk at random. The oracle is what the engines ran, in their
order: who was subscribed at each decision. What the users saw is compared with it, and with what the
test did itself.

    WAYSTATION_ORACLE_SECONDS   how long (default: 8)
    WAYSTATION_ORACLE_SEED      the same choices again
"""

import asyncio
import collections
import hashlib
import itertools
import os
import random
import struct
import time
import unittest

import websockets

from support import ClusterCase, Tab, until

SECONDS = float(os.environ.get("WAYSTATION_ORACLE_SECONDS", "8"))
USERS = ("alice", "bob", "carol", "dave")
PAIRS = list(itertools.combinations(USERS, 2))
SECRET = "sphinx-of-black-quartz"  # in each message
ROUTES = {b"0": "none", b"1": "chat", b"2": "push"}


class Socket:
    """A socket of the test: when it was surely there, and when it may have been."""

    def __init__(self, tab, user, group):
        self.tab, self.user, self.group = tab, user, group  # group: None for push
        self.may_be_from = None
        self.is_from = None    # its 101 has arrived
        self.is_until = None   # the client begins to close it
        self.may_be_until = None

    def is_there(self, begin, end):
        return (self.is_from is not None and self.is_from <= begin
                and (self.is_until is None or self.is_until >= end))

    def may_be_there(self, begin, end):
        return (self.may_be_from <= end
                and (self.may_be_until is None or self.may_be_until >= begin))


Sent = collections.namedtuple("Sent", "id sender group to begin end outcome")
Decided = collections.namedtuple("Decided", "id group route reached")


def shard_of(group, engines):
    """As every node computes it: FNV-1a."""
    hash_ = 0xcbf29ce484222325
    for byte in group.encode():
        hash_ = (hash_ ^ byte) * 0x100000001b3 % (1 << 64)
    return hash_ % engines


class EngineView:
    """What one engine did: who is subscribed after the last command, and each decision in order, with the
    route and the sockets that follow from who was subscribed at that moment."""

    def __init__(self, monitor, case):
        self.channels = collections.defaultdict(set)  # the clients on each channel
        self.decided = []
        decide = verdict = None  # the script; the decision whose verdict is to come
        for client, (name, *arguments) in monitor.commands():
            name = name.upper()
            if name == b"SCRIPT" and b"local verdict, channel, reached" in arguments[-1]:
                decide = hashlib.sha1(arguments[-1]).hexdigest().encode()
            elif name == b"SUBSCRIBE":
                for channel in arguments:
                    self.channels[channel.decode()].add(client)
            elif name == b"UNSUBSCRIBE":
                for channel in arguments:
                    self.channels[channel.decode()].discard(client)
            elif name == b"EVALSHA" and arguments[0] == decide:
                case.assertIsNone(verdict, "a decision without a verdict")
                chat, push, echo = (argument.decode() for argument in arguments[4:7])
                verdict = echo, self.decide(arguments[9], chat, push)
                self.decided.append(verdict[1])
            elif client == "lua" and name == b"PUBLISH" and verdict and arguments[1][:1] == b"V":
                (echo, decided), (channel, payload) = verdict, arguments
                case.assertEqual(channel.decode(), echo)
                case.assertEqual((ROUTES[payload[1:2]], struct.unpack(">I", payload[2:6])[0]),
                                 (decided.route, decided.reached), decided)
                verdict = None

    def sockets(self, channel):
        clients = self.channels.get(channel, ())
        return len(clients) + sum(
            1 << bit for bit in range(16) for client in self.channels.get(f"{channel}#{bit}", ()) if client in clients)

    def decide(self, frame, chat, push):
        group, sender, receiver, id = struct.unpack("4B", frame[45:49])
        names = frame[53:53 + group + sender + receiver + id]
        for route, channel in (("chat", chat), ("push", push)):
            if self.sockets(channel):
                break
        else:
            route, channel = "none", None
        return Decided(names[len(names) - id:].decode(), names[:group].decode(), route,
                       self.sockets(channel) if channel else 0)


class Oracle(ClusterCase):
    async def test_random_users(self):
        seed = int(os.environ.get("WAYSTATION_ORACLE_SEED", random.randrange(1 << 32)))
        print(f"\noracle: WAYSTATION_ORACLE_SEED={seed} WAYSTATION_ORACLE_SECONDS={SECONDS:g}",
              flush=True)
        self.random = random.Random(seed)
        for attempt in range(3):
            if await self.run_once(attempt):
                return
        self.fail("an engine hung in each of three attempts")

    async def run_once(self, attempt):
        """False: an engine did not answer for a second, as a stalled machine's. Then messages and
        sockets are refused, and what the oracle has seen is not comparable."""
        engines = [self.writing_engine(f"{name}{attempt}") for name in "ab"]
        monitors = [self.monitor(engine) for engine in engines]
        self.servers = await self.nodes(3, ",".join(engine.url for engine in engines))
        self.sockets, self.sent, self.numbers = [], [], itertools.count()
        self.refused = 0  # sockets
        self.until = time.monotonic() + SECONDS
        await asyncio.gather(*(self.user(user) for user in USERS for _ in range(3)))
        codes = collections.Counter(sent.outcome.get("code") for sent in self.sent)
        if self.refused or codes["unavailable"] or codes["undecided"]:
            print(f"oracle: an engine hung: {self.refused} sockets refused, outcomes {codes}")
            return False
        await asyncio.gather(*(socket.tab.ws.ping() for socket in self.open()))
        await self.check_presence()
        await until(lambda: all(self.live_sockets(engine) == self.expected_sockets(engine, engines)
                                for engine in engines), "the engines count the open sockets")
        seen = self.everything_seen(monitors)
        self.assertNotIn(SECRET.encode(), seen)
        for user in USERS:
            self.assertIn(user.encode(), seen, "the test looks at the right place")
        self.views = [EngineView(monitor, self) for monitor in monitors]
        for engine, view in zip(engines, self.views):
            self.assertEqual({channel: view.sockets(channel) for channel in self.all_channels()},
                             self.expected_sockets(engine, engines))
        self.check_messages()
        self.check_decisions()
        print(f"oracle: {len(self.sent)} messages over {len(self.sockets)} sockets, routes "
              f"{collections.Counter(sent.outcome.get('route') for sent in self.sent)}")
        return True

    def open(self):
        return [socket for socket in self.sockets if socket.is_from and not socket.is_until]

    async def user(self, user):
        while time.monotonic() < self.until:
            own = [socket for socket in self.open() if socket.user == user]
            chats = [socket for socket in own if socket.group]
            choice = self.random.random()
            if choice < 0.03 or not chats:
                await self.open_socket(user)
            elif choice < 0.055 or len(own) > 8:
                await self.close_socket(self.random.choice(own))
            else:
                await self.send(self.random.choice(chats))

    async def open_socket(self, user):
        other = self.random.choice([name for name in USERS if name != user])
        group = None if self.random.random() < 0.3 else "_".join(sorted((user, other)))
        path = f"/ws/chat/{group}/" if group else f"/push/{user}/"
        socket = Socket(None, user, group)
        socket.may_be_from = time.monotonic()
        self.sockets.append(socket)
        try:
            socket.tab = await Tab.open(self.random.choice(self.servers), path, user)
        except websockets.InvalidStatusCode as refused:
            self.assertEqual(refused.status_code, 503)
            self.refused += 1
            return
        self.tabs.append(socket.tab)
        socket.is_from = time.monotonic()

    async def close_socket(self, socket):
        if socket.is_until:
            return
        socket.is_until = time.monotonic()
        await socket.tab.close()
        # The node has left the engine's list a moment after it answered the Close.
        socket.may_be_until = time.monotonic() + 1

    async def send(self, socket):
        id = f"m{next(self.numbers)}"
        to = next(name for name in socket.group.split("_") if name != socket.user)
        begin = time.monotonic()
        try:
            outcome = await socket.tab.say(f"{id} {SECRET}", id)
        except Exception:  # noqa: BLE001: another task of this user has closed it meanwhile
            if socket.is_until:
                return
            raise
        self.sent.append(Sent(id, socket, socket.group, to, begin, time.monotonic(), outcome))

    async def check_presence(self):
        for user, other in PAIRS:
            group = f"{user}_{other}"
            for socket in self.open():
                if socket.group != group:
                    continue
                opposite = other if socket.user == user else user
                expected = any(s.user == opposite and s.group == group for s in self.open())
                tab = socket.tab
                await tab.wait(lambda: tab.present.get(opposite) == expected,
                               f"{opposite} is {expected} in {group}")

    def check_messages(self):
        received = {}  # the places of each message at each socket, and of its ack
        for socket in self.sockets:
            places = received[socket] = {}
            for place, frame in enumerate(socket.tab.frames if socket.tab else ()):
                self.assertNotIn("error", frame, "nothing failed")
                value = (frame.get("message") or frame.get("event", {}).get("message")
                         or frame.get("ack", {}).get("id"))
                if value is not None:
                    id = value.removesuffix(f" {SECRET}")
                    self.assertNotIn(id, places, f"{id} came twice")
                    places[id] = place
        self.by_place = collections.defaultdict(list)
        for socket in self.sockets:
            self.by_place[socket.user, socket.group].append(socket)
        # Where each message is, so that looking for one that is nowhere it should be costs little.
        holders = collections.defaultdict(list)
        for socket, places in received.items():
            for id in places:
                holders[id].append(socket)
        for sent in self.sent:
            self.check_route(sent, received, holders[sent.id])
        self.received = received
        self.check_orders(received)

    @staticmethod
    def all_channels():
        groups = ["_".join(pair) for pair in PAIRS]
        return ([f"ws1:waystation:c:{group}:{side}" for group in groups for side in ("lo", "hi")]
                + [f"ws1:waystation:p:{user}" for user in USERS])

    def expected_sockets(self, engine, engines):
        """How many sockets this engine should count on each channel."""
        counts = dict.fromkeys(self.all_channels(), 0)
        for socket in self.open():
            if socket.group is None:
                counts[f"ws1:waystation:p:{socket.user}"] += 1
            elif engines[shard_of(socket.group, len(engines))] is engine:
                side = "lo" if socket.group.startswith(f"{socket.user}_") else "hi"
                counts[f"ws1:waystation:c:{socket.group}:{side}"] += 1
        return counts

    def live_sockets(self, engine):
        counts = {}
        for channel in self.all_channels():
            names = [channel] + [f"{channel}#{bit}" for bit in range(16)]
            numbers = [int(line) for line in engine.cli("PUBSUB", "NUMSUB", *names).splitlines()[1::2]]
            counts[channel] = numbers[0] + sum(number << bit for bit, number in enumerate(numbers[1:]))
        return counts

    def check_decisions(self):
        by_id = {}
        for view in self.views:
            for decided in view.decided:
                self.assertNotIn(decided.id, by_id, "decided twice")
                by_id[decided.id] = decided
        for sent in self.sent:
            decided = by_id[sent.id]
            self.assertEqual((sent.group, sent.outcome["route"], sent.outcome["reached"]),
                             (decided.group, decided.route, decided.reached), sent)
        # Each socket saw a part of the engine's order, in that order.
        for view in self.views:
            place = {decided.id: at for at, decided in enumerate(view.decided)}
            for socket in self.sockets:
                seen = [place[id] for id in sorted(self.received[socket], key=self.received[socket].get)
                        if id in place]
                self.assertEqual(seen, sorted(seen), f"{socket.user} saw another order than the engine's")

    def check_route(self, sent, received, holders):
        chats = self.by_place[sent.to, sent.group]
        pushes = self.by_place[sent.to, None]
        route, reached = sent.outcome["route"], sent.outcome["reached"]
        span = (sent.begin, sent.end)
        if any(s.is_there(*span) for s in chats):
            self.assertEqual(route, "chat", sent)
        elif not any(s.may_be_there(*span) for s in chats):
            self.assertNotEqual(route, "chat", sent)
            if any(s.is_there(*span) for s in pushes):
                self.assertEqual(route, "push", sent)
            elif not any(s.may_be_there(*span) for s in pushes):
                self.assertEqual(route, "none", sent)
        taken = {"chat": chats, "push": pushes, "none": []}[route]
        # Another node may show it a moment after the sender has its ack.
        shown = (sent.begin, sent.end + 2)
        for socket in taken:
            if socket.is_there(*shown):
                self.assertIn(sent.id, received[socket], f"{sent} is missing at {socket.user}")
        self.assertGreaterEqual(reached, sum(s.is_there(*span) for s in taken), sent)
        self.assertLessEqual(reached, sum(s.may_be_there(*span) for s in taken), sent)
        # The sender's other sockets are shown it on every route.
        echoes = self.by_place[sent.sender.user, sent.group]
        for socket in echoes:
            if socket.is_there(*shown):
                self.assertIn(sent.id, received[socket], f"no echo of {sent}")
        for socket in holders:
            self.assertTrue(socket in taken or socket in echoes, f"{sent} went another way, too")

    def check_orders(self, received):
        by_group = collections.defaultdict(list)
        for socket in self.sockets:
            if socket.group:
                order = sorted(received[socket], key=received[socket].get)
                by_group[socket.group].append(order)
        for group, orders in by_group.items():
            for first, second in itertools.combinations(orders, 2):
                both = set(first) & set(second)
                self.assertEqual([id for id in first if id in both],
                                 [id for id in second if id in both],
                                 f"two sockets of {group} saw two orders")
        by_sender = collections.defaultdict(list)
        for sent in self.sent:
            by_sender[sent.sender].append(sent.id)
        for socket in self.sockets:
            for ids in by_sender.values():
                # Ids are given in the order of sending.
                ids = sorted(ids, key=lambda id: int(id[1:]))
                places = [received[socket][id] for id in ids if id in received[socket]]
                self.assertEqual(places, sorted(places), "a sender's messages in their order")


if __name__ == "__main__":
    unittest.main()
