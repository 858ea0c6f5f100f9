#!/usr/bin/env python3
"""Simulates clusters of a million and ten million users, and prints the tables of module/CLUSTER.md.

    tests/bench/scale/scale.py                        both tables, as Markdown
    tests/bench/scale/scale.py --check DOCUMENT       compares them with those in a document
    tests/bench/scale/scale.py --users 250000         the tables for another number of users

The costs of the engine are in costs.json, which measure.py writes. What users do is assumed: see Behavior. The
first table draws users, their conversations and their messages, and spreads them over shards and nodes as the
relay does. The second one plays the first seconds after a failover event by event: every node subscribes anew.
"""
import argparse
import bisect
import dataclasses
import hashlib
import heapq
import json
import math
import pathlib
import random
import sys

from measure import command

HERE = pathlib.Path(__file__).resolve().parent
COSTS = json.loads((HERE / "costs.json").read_text(encoding="utf-8"))
SEED = 20261129


@dataclasses.dataclass(frozen=True)
class Behavior:
    """What users do, on average, in the busiest minute of a day."""
    messages: float = 0.05  # a second, from each user
    spread: float = 1.0  # sigma of the log-normal distribution of that rate over users
    value_bytes: float = 200.0  # of a message, median
    value_spread: float = 1.0  # sigma, likewise
    present: float = 0.7  # part of the messages whose receiver has the conversation open
    unreached: float = 0.1  # part of the others whose receiver has no push socket either
    conversations: float = 1.0  # open chat sockets of a user
    push_sockets: float = 1.1  # of a user
    visits: float = 1 / 120  # opened and closed conversations of a user, a second


@dataclasses.dataclass(frozen=True)
class Limits:
    """How full anything may be."""
    engine: float = 0.5  # CPU of the busiest engine
    node: float = 0.5  # CPU of a node
    node_sockets: int = 150_000
    node_subscriptions: int = 200_000  # on one engine: to close more at once would hold it up for 0.2 s


# Of a node, in microseconds for each message on each of its two ends, and bytes for each socket: those of a relay
# without a cluster, and a second of each for frames, seals and subscriptions.
NODE_MESSAGE_US = 2 * 8.0
NODE_SOCKET_BYTES = 2 * 1024
KERNEL_SOCKET_BYTES = 9 * 1024

# A frame without its texts and value, and the tag of its seal (module/cluster/node_message.hpp).
HEADER_BYTES = 53
TAG_BYTES = 16
SAMPLE = 60_000  # users that are drawn; each stands for many


# ---- sizes

def interpolated(costs, size):
    """The engine's time for a message with a value of `size` bytes."""
    (small, low), (large, high) = sorted((int(k), v) for k, v in costs.items())
    return low + (high - low) * max(0.0, size - small) / (large - small)


class Ring:
    """Consistent hashing of names to nodes, with 160 points each, as nginx has."""

    def __init__(self, nodes):
        self.points = sorted((self.hash(f"{node}-{i}"), node) for node in range(nodes) for i in range(160))

    @staticmethod
    def hash(name):
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")

    def node(self, name):
        at = bisect.bisect(self.points, (self.hash(name),))
        return self.points[at % len(self.points)][1]


def bytes_of_message(group, user, size):
    """What a message is in front of and behind the engine: its command and the reply, and what arrives at the
    receiver's node and, as a header, at the sender's."""
    channel = f"ws1:waystation:c:{group}:lo"
    header = b"M" * (HEADER_BYTES + len(group) + 2 * len(user) + 12)
    frame = header + b"v" * (size + TAG_BYTES)
    request = command("EVALSHA", "0" * 40, 0, "ws1:waystation:all", "ws1:waystation:nodes", channel,
                      f"ws1:waystation:p:{user}", channel, f"ws1:waystation:n:{'0' * 32}", 1 << 40, frame, len(header))
    received = command("message", channel, frame)
    verdict = command("message", channel, b"V1....." + header)
    return len(request) + len("*2\r\n:1\r\n:1\r\n") + len(received) + len(verdict)


@dataclasses.dataclass
class Demand:
    """One drawn conversation: it belongs to a shard, and its users to nodes."""
    group: str
    engine_us: float  # of engine time a second
    wire: float  # bytes a second through the engine
    messages: float  # a second


def draw(users, behavior, rng):
    """Conversations of SAMPLE users, each with the weight users / SAMPLE."""
    weight = users / SAMPLE
    mean_correction = math.exp(-behavior.spread ** 2 / 2)
    for i in range(SAMPLE):
        group = f"{i:08}_{rng.randrange(users):08}"
        user = group[:8]
        rate = behavior.messages * mean_correction * rng.lognormvariate(0, behavior.spread) * weight
        size = min(int(rng.lognormvariate(math.log(behavior.value_bytes), behavior.value_spread)), 1 << 20)
        away = 1 - behavior.present
        cost = (behavior.present * interpolated(COSTS["chat"], size)
                + away * (1 - behavior.unreached) * interpolated(COSTS["push"], size)
                + away * behavior.unreached * COSTS["none"])
        # Each visit subscribes, says so, unsubscribes, says so.
        visits = 2 * behavior.visits * weight * (COSTS["subscribe"] + COSTS["say"])
        yield Demand(group, rate * cost + visits, rate * bytes_of_message(group, user, size), rate)


def loads(demands, shards):
    """The busiest shard's engine time and bytes a second."""
    busy, wire = [0.0] * shards, [0.0] * shards
    for demand in demands:
        shard = Ring.hash(demand.group) % shards
        busy[shard] += demand.engine_us / 1e6
        wire[shard] += demand.wire
    return max(busy), max(wire)


def subscriptions(users, shards, behavior):
    """On one engine: chat and reachable channels of its groups, push channels of all users."""
    return users * (2 * behavior.conversations / shards + behavior.push_sockets)


@dataclasses.dataclass
class Size:
    users: int
    messages: float
    shards: int
    nodes: int
    engine_cpu: float
    engine_gbit: float
    engine_gib: float
    node_gbit: float
    node_gib: float
    node_subscriptions: int


def size_of(users, behavior=Behavior(), limits=Limits()):
    demands = list(draw(users, behavior, random.Random(SEED)))
    shards = 1
    while loads(demands, shards)[0] > limits.engine:
        shards += 1
    busy, wire = loads(demands, shards)
    messages = sum(demand.messages for demand in demands)
    sockets = users * (behavior.conversations + behavior.push_sockets)
    on_engine = subscriptions(users, shards, behavior)
    nodes = max(2, math.ceil(sockets / limits.node_sockets), math.ceil(on_engine / limits.node_subscriptions),
                math.ceil(messages * NODE_MESSAGE_US / 1e6 / limits.node))
    # Chat sockets follow a hash, so a node can have more than its share.
    ring, share = Ring(nodes), [0.0] * nodes
    for demand in demands:
        share[ring.node(demand.group)] += 1 / len(demands)
    worst = max(share)
    total_wire = sum(demand.wire for demand in demands)
    return Size(users, messages, shards, nodes, busy, wire * 8 / 1e9, on_engine * COSTS["subscription_bytes"] / 2**30,
                worst * total_wire * 8 / 1e9, worst * sockets * (NODE_SOCKET_BYTES + KERNEL_SOCKET_BYTES) / 2**30,
                round(worst * on_engine))


# ---- the first seconds after a failover

DOWN_AFTER_S = 1.0  # sentinel down-after-milliseconds
ELECTION_S = (1.2, 1.6)  # then, until `+switch-master` is published: measured from 1.2 to 1.5
ROUND_TRIP_S = 0.0005
LOGIN_ROUND_TRIPS = 5  # connect, log in, load the scripts, subscribe the inbox, enter the table
TURN_BYTES = 16 * 1024  # that the engine takes from one connection before the next one has its turn
COMMAND_CHANNELS = 512  # in one SUBSCRIBE
CHANNEL_BYTES = 46  # of one channel in it


@dataclasses.dataclass
class Storm:
    """Times are in seconds after the primary's end."""
    promoted: float  # nodes know the new primary
    settled: float  # every node has all its subscriptions: `push` and `none` are decided again
    longest_turn: float  # a message waits at most about this long for the engine


def storm_of(size, behavior=Behavior()):
    """Every node sends its subscriptions; the engine serves connections in turns, and messages between them."""
    rng = random.Random(SEED)
    promoted = DOWN_AFTER_S + rng.uniform(*ELECTION_S)
    per_turn = TURN_BYTES // CHANNEL_BYTES
    per_channel = COSTS["subscribe"] / 1e6
    # Messages to users who are present are decided all the time; the others are refused for the price of "none".
    slowdown = 1 / (1 - size.engine_cpu)
    each = size.node_subscriptions
    events = [(promoted + LOGIN_ROUND_TRIPS * ROUND_TRIP_S * rng.uniform(1, 3), node) for node in range(size.nodes)]
    heapq.heapify(events)
    waiting, left = [], [each] * size.nodes
    now = events[0][0]
    longest = 0.0
    while events or waiting:
        while events and events[0][0] <= now:
            waiting.append(heapq.heappop(events)[1])
        if not waiting:
            now = events[0][0]
            continue
        # One round of the engine's loop: each connection that has sent something gets one turn.
        begin, still = now, []
        for node in waiting:
            taken = min(per_turn, left[node])
            now += taken * per_channel * slowdown
            left[node] -= taken
            if left[node] > 0:
                still.append(node)
        waiting = still
        longest = max(longest, now - begin)
    return Storm(promoted, now + 2 * ROUND_TRIP_S, longest)


# ---- tables

def number(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def tables(all_users):
    sizes = [size_of(users) for users in all_users]
    storms = [storm_of(size) for size in sizes]
    head = [""] + [f"{size.users:,} users" for size in sizes]

    def row(name, text, of):
        return [name] + [text(one) for one in of]

    first = table(head, [
        row("messages a second", lambda s: number(s.messages), sizes),
        row("engines (shards)", lambda s: number(s.shards) if s.shards > 9 else str(s.shards), sizes),
        row("CPU of the busiest engine", lambda s: f"{s.engine_cpu:.0%}", sizes),
        row("network of the busiest engine", lambda s: f"{s.engine_gbit:.2f} Gbit/s", sizes),
        row("memory of an engine", lambda s: f"{s.engine_gib:.1f} GiB", sizes),
        row("nodes", lambda s: str(s.nodes), sizes),
        row("network of the busiest node to the engines", lambda s: f"{s.node_gbit * 1000:,.0f} Mbit/s", sizes),
        row("memory of the busiest node, with the kernel's", lambda s: f"{s.node_gib:.1f} GiB", sizes),
        row("its subscriptions on one engine", lambda s: number(s.node_subscriptions), sizes),
    ])
    second = table(head, [
        row("Sentinel has promoted a replica", lambda s: f"{s.promoted:.1f} s", storms),
        row("all nodes have subscribed", lambda s: f"{s.settled:.1f} s", storms),
        row("a message waits for the engine at most", lambda s: f"{s.longest_turn * 1000:.0f} ms", storms),
    ])
    return [first, second]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--users", type=int, nargs="+", default=[1_000_000, 10_000_000])
    arguments.add_argument("--check", type=pathlib.Path, metavar="DOCUMENT")
    options = arguments.parse_args()
    made = tables(options.users)
    if options.check is None:
        print("\n\n".join(made))
        return 0
    text = options.check.read_text(encoding="utf-8")
    missing = [one for one in made if one not in text]
    for one in missing:
        print(f"{options.check} does not have this table; paste it:\n\n{one}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
