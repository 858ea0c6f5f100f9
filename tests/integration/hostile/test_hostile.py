"""Every kind of hostile client at once, beside 500 sockets that chat.

Meanwhile the 500 sockets chat in rounds: in each round every socket sends or receives, and gets the
expected frames. After each round the test checks memory, descriptors and threads; at the end they are
back at their initial values. Every refused or dropped message has been counted. The test runs twice,
to separate memory that the allocator reuses from leaks.

Each kind of client is a separate process (`test_hostile.py KIND PORT`). It reads commands from
standard input, line by line, and answers with one line of JSON.
"""

import contextlib
import json
import pathlib
import select
import subprocess
import sys
import threading
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import (CLOSE, PATIENCE, PING, PONG, SANITIZED, TEXT, RawSocket, Server,  # noqa: E402
                     frame, scaled)

# ---- The amount of each kind. Chatting pairs:
PAIRS = scaled(250, 60)
# Connections, each with one of the ways in which a client can leave; twice, so 10,000:
COMINGS_AND_GOINGS = 5000
CHURNERS = 4
# Empty continuation frames in one message:
EMPTY_FRAMES = scaled(1_000_000, 150_000)
# Frames that claim 2 GiB or more and send no payload:
CLAIMS = scaled(200, 40)
CLAIMS_AT_ONCE = 20
# Frames and messages that begin and never end, one byte or pong at a time:
UNFINISHED = 20
# Sockets that flood pings and read no pong; and pings of a client that reads:
FLOODS = 2
PINGS_READ = scaled(50_000, 5_000)
# Receivers that stop reading, one after the other:
SLOW = scaled(3, 1)
# Sockets of one address that flood small frames, the default maximum per address; the seconds for
# each kind of frame; the bytes per write:
FLOODERS = 64
FLOOD_S = scaled(3, 1)
FLOOD_BYTES = 60_000
# The pause between two messages of the chatting pair beside them:
BETWEEN_MESSAGES_S = 0.005
# Silent connections, and those that send their header one byte at a time. First fewer than the web
# server's workers while sockets open and close. Then twice as many send bytes: silent ones stay in the
# kernel for some seconds.
WORKERS = 20
FEW = (8, 4)
MANY = (30, 40)
NEW_CLIENTS = 4

# ---- The server's options and limits.
PING_INTERVAL_S = scaled(5, 10)
QUEUE_BYTES = 256 << 10
BUDGET_BYTES = 16 << 20
REQUEST_TIMEOUT_S = 5
OPTIONS = ("--messages-per-second", "0", "--max-connections-per-address", "0",
           "--max-connections-per-user", "0", "--ping-interval-seconds", str(PING_INTERVAL_S),
           "--max-queue-bytes", str(QUEUE_BYTES), "--max-total-queue-bytes", str(BUDGET_BYTES))

# Without the server's defence a new client among N silent ones waits N / workers times the request
# timeout, and longer on a busy machine.
NEW_CLIENT_S = 2 * sum(MANY) / WORKERS * REQUEST_TIMEOUT_S

# ---- Resource bounds. Memory, relative to the state with all chatting sockets open: a few full
# queues and the allocator's overhead; the second time almost nothing.
MIB_DURING = 24
MIB_SECOND_TIME = 4
# Descriptors: those of the hostile clients at one time, and as many again that are closing.
HOSTILE_AT_ONCE = sum(FEW) + CHURNERS + CLAIMS_AT_ONCE + UNFINISHED + FLOODS + 8
DESCRIPTORS_DURING = 2 * HOSTILE_AT_ONCE


class Remote:
    """The members that RawSocket needs of a server that another process started."""

    def __init__(self, port):
        self.port = port


# ---- The 500 chatting sockets


class Chatters:
    """Commands: `open`, `round` (every user sends and receives), `talk` (enough that the server
    allocates everything for a busy socket), `close`."""

    def __init__(self, server):
        self.server, self.pairs, self.said = server, [], 0

    def open(self):
        for n in range(PAIRS):
            group = f"{2 * n}_{2 * n + 1}"
            self.pairs.append(tuple(RawSocket(self.server).open(f"/ws/chat/{group}/", user)
                                    for user in group.split("_")))
        return {}

    def round(self):
        """Checks that each message reaches its receiver and its sender, and no other socket."""
        self.said += 1
        begin = time.monotonic()
        for n, pair in enumerate(self.pairs):
            pair[self.said % 2].say(f'{{"message":"{n}:{self.said}"}}')
        for n, pair in enumerate(self.pairs):
            for raw in pair:
                heard = raw.read_message()
                assert heard == f'{{"message":"{n}:{self.said}"}}', (n, self.said, heard)
        return {"seconds": time.monotonic() - begin}

    def talk(self):
        count = 300
        for left, right in self.pairs:
            left.send(frame(TEXT, b'{"message":0}') * count)
            for raw in (left, right):
                for _ in range(count):
                    raw.read_message()
        return {}

    def close(self):
        for pair in self.pairs:
            for raw in pair:
                raw.send(frame(CLOSE, b"\x03\xe8"))
                assert raw.read_close() == 1000
                raw.close()
        return {}


# ---- Kinds of hostile clients


class Churn:
    """Connects and disconnects: with a Close, without one, with a reset, within a request, within a
    frame, or before the first byte."""

    def __init__(self, server):
        self.server = server

    def start(self):
        begin = time.monotonic()
        together(*((self.come_and_go, number) for number in range(CHURNERS)))
        return {"a minute": round(COMINGS_AND_GOINGS / (time.monotonic() - begin) * 60)}

    def come_and_go(self, number):
        for n in range(COMINGS_AND_GOINGS // CHURNERS):
            raw = RawSocket(self.server)
            way = (n + number) % 6
            if way == 0:
                raw.reset()
            elif way == 1:
                raw.send(b"GET /push/passer/ HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                raw.reset()
            elif way == 2:
                raw.open("/ws/chat/passer_visitor/", "passer").reset()
            elif way == 3:
                raw.open("/push/passer/").close()
            elif way == 4:
                raw.open("/ws/chat/passer_visitor/", "visitor")
                raw.send(frame(TEXT, b'{"message":')[:7])
                raw.close()
            else:
                raw.open("/push/visitor/")
                raw.send(frame(CLOSE, b"\x03\xe8"))
                assert raw.read_close() == 1000
                raw.close()

    again = start


class Frames:
    """Too many, too long and incomplete frames."""

    def __init__(self, server):
        self.server = server

    def start(self):
        together((self.send_empty_frames,), (self.claim,), (self.never_finish,),
                 (self.ping_and_read,), *((self.flood,) for _ in range(FLOODS)))
        return {}

    def again(self):
        """Everything except the cases that last until the server's deadlines."""
        together((self.send_empty_frames,), (self.claim,), (self.ping_and_read,))
        return {}

    def send_empty_frames(self):
        with RawSocket(self.server).open("/ws/chat/empty_full/", "empty") as empty, \
                RawSocket(self.server).open("/ws/chat/empty_full/", "full") as full:
            empty.send(frame(TEXT, b"{", fin=False))
            many = frame(0, b"", fin=False) * 10_000
            for _ in range(EMPTY_FRAMES // 10_000):
                empty.send(many)
            # All fragments form one valid message.
            empty.send(frame(0, b"}"))
            for raw in (full, empty):
                heard = raw.read_message()
                assert heard == '{"message":null}', heard

    def claim(self):
        for begin in range(0, CLAIMS, CLAIMS_AT_ONCE):
            sockets = [RawSocket(self.server).open("/push/claimant/")
                       for _ in range(CLAIMS_AT_ONCE)]
            for n, raw in enumerate(sockets, begin):
                raw.send(frame(TEXT, b"", claimed=2 << 30 if n % 2 == 0 else 2 ** 62))
            for raw in sockets:
                code = raw.read_close()
                assert code == 1009, code
                raw.close()

    def never_finish(self):
        """Half of the clients add a byte to a frame now and then; half answer pings between
        fragments."""
        fragments = {RawSocket(self.server).open("/push/endless/") for _ in range(UNFINISHED // 2)}
        bytewise = {RawSocket(self.server).open("/push/endless/") for _ in range(UNFINISHED // 2)}
        for raw in fragments:
            raw.send(frame(TEXT, b"{", fin=False))
        for raw in bytewise:
            raw.send(frame(TEXT, b"", claimed=60_000, mask=bytes(4)))
        deadline = time.monotonic() + 2 * PING_INTERVAL_S + PATIENCE
        while fragments or bytewise:
            assert time.monotonic() < deadline, "a frame that never ends was waited for for ever"
            readable, _, _ = select.select([raw.socket for raw in fragments | bytewise], [], [], 1)
            for raw in list(fragments | bytewise):
                if raw.socket in readable:
                    opcode, payload = raw.read_frame()
                    if opcode == CLOSE:
                        assert payload[:2] == (1008).to_bytes(2, "big"), payload
                        fragments.discard(raw)
                        bytewise.discard(raw)
                        raw.close()
                        continue
                    assert opcode == PING, opcode
                    if raw in fragments:
                        raw.send(frame(PONG, payload))
                if raw in bytewise:
                    raw.send(b"x")

    def ping_and_read(self):
        with RawSocket(self.server).open("/push/pinger/") as raw:
            for n in range(0, PINGS_READ, 100):
                raw.send(frame(PING, b"%d" % n) * 100)
                for _ in range(100):
                    opcode, payload = raw.read_frame()
                    while opcode == PING:  # the server's own
                        raw.send(frame(PONG, payload))
                        opcode, payload = raw.read_frame()
                    assert (opcode, payload) == (PONG, b"%d" % n), (opcode, payload)

    def flood(self):
        raw = RawSocket(self.server, receive_buffer=4096).open("/push/flooder/")
        flood = frame(PING, bytes(125)) * 500
        try:
            while True:
                raw.send(flood)
        except OSError:
            pass  # the server sent 4408, and the client did not read it
        raw.close()


class Slow:
    """Receivers that stop reading, one after the other, while their partner continues to send."""

    def __init__(self, server):
        self.server = server

    def start(self):
        sent = missing = 0
        for n in range(SLOW):
            group = f"/ws/chat/fast{n}_slow{n}/"
            with RawSocket(self.server).open(group, f"fast{n}", v1=True) as fast, \
                    RawSocket(self.server, receive_buffer=4096).open(group, f"slow{n}") as slow:
                queued = self.fill(fast)
                arrived = self.read_rest(slow)
                assert arrived < queued, "nothing was dropped"
                sent += queued
                missing += queued - arrived
        return {"queued": sent, "missing": missing}

    again = start

    @staticmethod
    def fill(fast):
        """Sends until the receiver's queue is full; returns the number of queued messages."""
        taken = 0
        message = '{"message":"%s"}' % ("x" * 20_000)
        while True:
            fast.say(message)
            while "ack" not in (answer := json.loads(fast.read_message())):
                assert "presence" in answer, answer
            if answer["ack"]["route"] != "chat":
                return taken
            taken += 1
            assert taken < 10_000, "its queue has no bound"

    @staticmethod
    def read_rest(slow):
        arrived = 0
        while True:
            opcode, payload = slow.read_frame()
            if opcode == CLOSE:
                assert payload[:2] == (4408).to_bytes(2, "big"), payload
                slow.send(frame(CLOSE, payload[:2]))
                return arrived
            if opcode == PING:
                slow.send(frame(PONG, payload))
            else:
                json.loads(payload)
                arrived += 1


class SilentClients:
    """Silent or almost silent connections; each reconnects when the server closes it."""

    def __init__(self, server):
        self.server = server
        self.silent, self.bytewise = set(), set()
        self.wanted = (0, 0)
        self.sent_away = 0
        threading.Thread(target=self.keep_coming, daemon=True).start()

    def few(self):
        return self.be(FEW)

    def many(self):
        return self.be(MANY)

    def none(self):
        return self.be((0, 0))

    def be(self, wanted):
        self.wanted = wanted
        deadline = time.monotonic() + PATIENCE
        while (len(self.silent), len(self.bytewise)) != wanted:
            assert time.monotonic() < deadline, "the silent clients cannot connect"
            time.sleep(0.01)
        return {"sent away": self.sent_away}

    def keep_coming(self):
        with contextlib.suppress(ConnectionRefusedError):  # the server and the test have ended
            while True:
                self.take_turn()

    def take_turn(self):
        for crowd, count in ((self.silent, self.wanted[0]), (self.bytewise, self.wanted[1])):
            while len(crowd) > count:
                crowd.pop().close()
            while len(crowd) < count:
                raw = RawSocket(self.server)
                raw.send(b"GET / HTTP/1.1\r\nX-Slow: " if crowd is self.bytewise else b"")
                crowd.add(raw)
        everyone = [raw.socket for raw in self.silent | self.bytewise]
        ended, _, _ = select.select(everyone, [], [], 0.5) if everyone else ([], [], [])
        if not everyone:
            time.sleep(0.05)
        for crowd in (self.silent, self.bytewise):
            for raw in [raw for raw in crowd if raw.socket in ended]:
                crowd.discard(raw)
                raw.close()
                self.sent_away += 1
        for raw in self.bytewise:
            with contextlib.suppress(ConnectionError):  # noticed at the next turn
                raw.send(b"a")


class Floods:
    """Many sockets of one address that send one kind of small frame as fast as the server reads.
    The server's frames are read and discarded."""

    def __init__(self, server):
        self.server = server
        self.done = threading.Event()
        self.pouring = None

    def texts(self):
        """Exceeds the rate limit after the first few messages."""
        return self.begin(frame(TEXT))

    def unread(self):
        """A push socket ignores the frames of a plain client."""
        return self.begin(frame(TEXT), path="/push/flooder{0}/")

    def pings(self):
        return self.begin(frame(PING))

    def pongs(self):
        return self.begin(frame(PONG))

    def fragments(self):
        return self.begin(frame(0, fin=False), begin=frame(TEXT, fin=False))

    def begin(self, piece, begin=b"", path="/ws/chat/flooder{0}_other{0}/"):
        user = None if path.startswith("/push") else "flooder{0}"
        sockets = [RawSocket(self.server).open(path.format(n), user and user.format(n))
                   for n in range(FLOODERS)]
        for raw in sockets:
            raw.send(begin)
        self.done.clear()
        self.sent = 0
        self.pouring = threading.Thread(target=self.pour, args=(sockets, piece))
        self.pouring.start()
        return {}

    def pour(self, sockets, piece):
        flood = piece * (FLOOD_BYTES // len(piece))
        rest = {raw.socket: b"" for raw in sockets}
        poller = select.poll()
        by_number = {}
        for one in rest:
            one.setblocking(False)
            by_number[one.fileno()] = one
            poller.register(one, select.POLLIN | select.POLLOUT)
        while not self.done.is_set():
            for number, ready in poller.poll(100):
                one = by_number[number]
                if ready & select.POLLIN:
                    one.recv(1 << 20)
                if ready & select.POLLOUT:
                    data = rest[one] or flood
                    sent = one.send(data)
                    rest[one] = data[sent:]
                    self.sent += sent
        for raw in sockets:
            raw.reset()

    def end(self):
        self.done.set()
        self.pouring.join()
        return {"sent": self.sent}


KINDS = {"chatters": Chatters, "churn": Churn, "floods": Floods, "frames": Frames, "slow": Slow,
         "silent": SilentClients}


def together(*calls):
    """Runs functions in threads, each with its arguments, and raises their exceptions."""
    problems = []

    def call(function, *arguments):
        try:
            function(*arguments)
        except BaseException:  # noqa: BLE001 raised by the caller
            problems.append(traceback.format_exc())

    threads = [threading.Thread(target=call, args=one) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]


def be_clients(kind, port):
    clients = KINDS[kind](Remote(port))
    for order in sys.stdin:
        try:
            answer = getattr(clients, order.strip())()
        except BaseException:  # noqa: BLE001 reported to the test
            answer = {"problem": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


# ---- The test


class Clients:
    """A process with clients of one kind."""

    def __init__(self, kind, port):
        self.kind = kind
        self.process = subprocess.Popen([sys.executable, __file__, kind, str(port)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def has_answered(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"the {self.kind} ended"
        answer = json.loads(line)
        assert "problem" not in answer, f"the {self.kind}: {answer['problem']}"
        return answer

    def ask(self, order):
        self.tell(order)
        return self.answer()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


# The kinds that run at the same time.
TOGETHER = [kind for kind in KINDS if kind != "floods"]


def percentile(sorted_values, percent):
    return sorted_values[min(len(sorted_values) * percent // 100, len(sorted_values) - 1)]


class Beside(unittest.TestCase):
    """The effect of floods on one chatting pair, at default limits. The latency is printed and not
    asserted: it depends on the machine."""

    def test_a_pair_is_served_during_every_kind_of_flood(self):
        with Server() as self.server, contextlib.ExitStack() as stack:
            floods = Clients("floods", self.server.port)
            stack.callback(floods.end)
            for kind in ("nothing", "texts", "unread", "pings", "pongs", "fragments"):
                if kind != "nothing":
                    floods.ask(kind)
                waits = self.chat(kind)
                if kind != "nothing":
                    self.assertGreater(floods.ask("end")["sent"], FLOODERS * FLOOD_BYTES)
                self.wait_for_all_to_leave()
                figures = ((name, 1000 * percentile(waits, percent))
                           for name, percent in (("median", 50), ("p99", 99), ("most", 100)))
                print(f"{len(waits)} messages of a pair beside {FLOODERS} floods of {kind}: "
                      + ", ".join(f"{name} {ms:.1f} ms" for name, ms in figures), flush=True)
            self.assertGreater(self.health()["errors_sent"], FLOODERS, "no text was refused")

    def health(self):
        return json.loads(self.server.http("GET", "/healthz")[2])

    def wait_for_all_to_leave(self):
        deadline = time.monotonic() + PATIENCE
        while (health := self.health())["chat_sockets"] + health["push_sockets"] != 0:
            self.assertLess(time.monotonic(), deadline, "a socket that was reset is still there")
            time.sleep(0.01)

    def chat(self, name):
        """The sorted latencies of messages to the receiver and back. The pair's address differs
        from that of the floods, and it stays below its rate."""
        group = (f"alice{name}", f"bob{name}")
        waits = []
        with contextlib.ExitStack() as stack:
            pair = [stack.enter_context(RawSocket(self.server, source="127.0.0.2"))
                    .open(f"/ws/chat/{'_'.join(group)}/", user) for user in group]
            end = time.monotonic() + FLOOD_S
            while time.monotonic() < end:
                message = f'{{"message":{len(waits)}}}'
                begin = time.monotonic()
                pair[len(waits) % 2].say(message)
                for raw in pair:
                    self.assertEqual(raw.read_message(), message)
                waits.append(time.monotonic() - begin)
                time.sleep(BETWEEN_MESSAGES_S)
        return sorted(waits)


class Hostile(unittest.TestCase):
    def setUp(self):
        self.clients = {}
        self.slowest_round = 0

    def tearDown(self):
        for clients in self.clients.values():
            clients.end()

    def wait_for(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"it never came about that {what()}")
            time.sleep(0.05)

    def hold_round(self):
        """Every chatting socket is served; then the server's resources are checked."""
        took = self.clients["chatters"].ask("round")["seconds"]
        self.slowest_round = max(self.slowest_round, took)
        self.look()

    def look(self):
        self.most = {name: max(self.most.get(name, 0), value)
                     for name, value in self.takes().items()}

    def takes(self):
        return {"MiB": self.server.resident_kib() / 1024,
                "descriptors": self.server.descriptors(), "threads": self.server.threads()}

    def health(self):
        status, _, body = self.server.http("GET", "/healthz")
        self.assertEqual(status, 200)
        return json.loads(body)

    def test_all_are_served_and_nothing_leaks(self):
        with Server(*OPTIONS) as self.server:
            for kind in TOGETHER:
                self.clients[kind] = Clients(kind, self.server.port)
            for order in ("open", "talk", "round"):
                self.clients["chatters"].ask(order)
            start, self.most = self.takes(), {}
            print(f"before: {start}", flush=True)

            missing = self.be_hostile("start")
            self.assert_counted(SLOW + FLOODS, missing)
            kept = self.come_back_to(start)
            missing += self.be_hostile("again")
            self.assert_counted(2 * SLOW + FLOODS, missing)
            self.occupy_workers()
            end = self.come_back_to(start)

            print(f"at most: {self.most}\nafter the first time: {kept}\nat the end: {end}", flush=True)
            self.assertLess(self.most["descriptors"], start["descriptors"] + DESCRIPTORS_DURING)
            self.assertLessEqual(self.most["threads"], start["threads"])
            if not SANITIZED:
                self.assertLess(self.most["MiB"], start["MiB"] + MIB_DURING)
                self.assertLess(end["MiB"], kept["MiB"] + MIB_SECOND_TIME)
            self.clients["chatters"].ask("close")
            self.wait_for(lambda: self.health()["chat_sockets"] == 0, lambda: "all have gone")

    def be_hostile(self, order):
        """Runs all kinds until each is finished. Returns the number of messages lost to slow
        receivers."""
        begin = time.monotonic()
        self.clients["silent"].ask("few")
        working = {"churn", "frames", "slow"}
        for kind in working:
            self.clients[kind].tell(order)
        rounds, answers = 0, {}
        while working:
            self.hold_round()
            rounds += 1
            for kind in [kind for kind in working if self.clients[kind].has_answered()]:
                answers[kind] = self.clients[kind].answer()
                working.remove(kind)
        self.clients["silent"].ask("none")
        print(f"{rounds} rounds of {2 * PAIRS} sockets in {time.monotonic() - begin:.0f} s, the "
              f"slowest in {self.slowest_round:.2f} s; comings and goings a minute: "
              f"{answers['churn']['a minute']}; of {answers['slow']['queued']} messages for slow "
              f"receivers {answers['slow']['missing']} were dropped", flush=True)
        return answers["slow"]["missing"]

    def assert_counted(self, slow, missing):
        """All refused and undelivered messages have been counted, and no others."""
        health = self.health()
        self.assertEqual(health["closed_slow"], slow)
        self.assertEqual(health["closed_dead"], 0)
        self.assertEqual(health["deliveries_dropped"], missing)

    def occupy_workers(self):
        """More silent clients than workers: new clients wait for their turn, open sockets do not."""
        self.clients["silent"].ask("many")
        waits = []

        def come():
            begin = time.monotonic()
            RawSocket(self.server).open("/push/newcomer/").close()
            waits.append(time.monotonic() - begin)

        new_clients = [threading.Thread(target=come) for _ in range(NEW_CLIENTS)]
        for new_client in new_clients:
            new_client.start()
        while any(new_client.is_alive() for new_client in new_clients):
            self.hold_round()
        self.assertEqual(len(waits), NEW_CLIENTS, "a new client was not admitted")
        print(f"new clients behind {sum(MANY)} silent ones waited up to {max(waits):.1f} s", flush=True)
        self.assertLess(max(waits), NEW_CLIENT_S)
        self.assertGreater(self.clients["silent"].ask("none")["sent away"], 0)

    def come_back_to(self, start):
        """Waits until only the chatting sockets remain. Returns the resources then."""
        takes = {}

        def is_back():
            takes.update(self.takes())
            return (takes["descriptors"] <= start["descriptors"]
                    and takes["threads"] <= start["threads"])

        self.wait_for(is_back, lambda: f"{takes} is back at {start}")
        health = self.health()
        self.assertEqual((health["chat_sockets"], health["push_sockets"], health["groups"]),
                         (2 * PAIRS, 0, PAIRS))
        self.assertEqual(health["queued_bytes"], 0)
        self.hold_round()
        return self.takes()


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in KINDS:
        be_clients(sys.argv[1], int(sys.argv[2]))
    else:
        unittest.main()
