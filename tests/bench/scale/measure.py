#!/usr/bin/env python3
"""Measures what one step costs the engine, in microseconds of its CPU, and prints costs.json.

    tests/bench/scale/measure.py > tests/bench/scale/costs.json

Starts a redis-server of its own and runs the scripts of module/cluster/scripts.cpp. CPU time is taken from
the server, so other load on the machine matters little.
"""
import contextlib
import hashlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "module" / "cluster" / "scripts.cpp").read_text(encoding="utf-8")
PREFIX = "ws1:bench:"


def script(name):
    """The source of a script, as the node sends it."""
    def part(constant):
        return re.search(constant + r' = R"lua\((.*?)\)lua"', SOURCE, re.S).group(1)
    return part("kPrologueLua") + part(name)


def command(*arguments):
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.reader = self.socket.makefile("rb")

    def reply(self):
        line = self.reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest

    def ask(self, *arguments):
        self.socket.sendall(command(*arguments))
        return self.reply()

    def discard(self):
        """Reads and forgets whatever arrives, on a thread of its own."""
        def read():
            with contextlib.suppress(OSError):
                while self.socket.recv(1 << 20):
                    pass
        threading.Thread(target=read, daemon=True).start()


class Engine:
    def __init__(self, folder):
        self.path = folder + "/redis.sock"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path, "--save", "", "--dir", folder,
             "--client-output-buffer-limit", "pubsub 0 0 0"], stdout=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                self.admin = Connection(self.path)
                break
            time.sleep(0.01)

    def cpu(self):
        info = self.admin.ask("INFO", "cpu").decode()
        return sum(float(re.search(rf"used_cpu_{kind}:([\d.]+)", info).group(1)) for kind in ("user", "sys"))

    def memory(self):
        return int(re.search(r"used_memory:(\d+)", self.admin.ask("INFO", "memory").decode()).group(1))

    def run(self, request, count):
        """Microseconds of the engine for `request`, pipelined by 500: the best of five rounds of `count`."""
        client = Connection(self.path)
        best = float("inf")
        for _ in range(5):
            before = self.cpu()
            for _ in range(count // 500):
                client.socket.sendall(request * 500)
                for _ in range(500):
                    client.reply()
            best = min(best, (self.cpu() - before) / (count // 500 * 500) * 1e6)
        return best

    def subscriber(self, *channels):
        connection = Connection(self.path)
        for channel in channels:
            connection.ask("SUBSCRIBE", channel)
        connection.discard()
        return connection


def measure(engine):
    sha = {}
    for name in ("kDecideLua", "kSayLua"):
        source = script(name)
        assert engine.admin.ask("SCRIPT", "LOAD", source).decode() == hashlib.sha1(source.encode()).hexdigest()
        sha[name] = hashlib.sha1(source.encode()).hexdigest()
    lo, hi, push, inbox = (PREFIX + part for part in ("c:alice_bob:lo", "c:alice_bob:hi", "p:bob", "n:0"))
    costs = {}
    kept = [engine.subscriber(lo, inbox)]

    def decide(size):
        header = b"M" + b"h" * 90
        return command("EVALSHA", sha["kDecideLua"], 0, PREFIX + "all", PREFIX + "nodes", hi, push, lo, inbox,
                       1 << 52, header + b"v" * (size + 16), len(header))

    costs["none"] = engine.run(decide(64), 10_000)
    kept.append(engine.subscriber(push))
    costs["push"] = {size: engine.run(decide(size), 10_000) for size in (64, 2048)}
    kept.append(engine.subscriber(hi))
    costs["chat"] = {size: engine.run(decide(size), 10_000) for size in (64, 2048)}
    costs["say"] = engine.run(command("EVALSHA", sha["kSayLua"], 0, PREFIX + "all", PREFIX + "nodes", "alice_bob",
                                      0, lo, hi, inbox), 10_000)
    count, batch = 200_000, 500
    node = Connection(engine.path)
    node.discard()
    memory, before = engine.memory(), engine.cpu()
    for first in range(0, count, batch):
        node.socket.sendall(command("SUBSCRIBE", *(f"{PREFIX}c:user{i:08}_user{i:08}x:lo"
                                                   for i in range(first, first + batch))))
    while engine.admin.ask("PUBSUB", "NUMSUB", f"{PREFIX}c:user{count - 1:08}_user{count - 1:08}x:lo")[1] == 0:
        time.sleep(0.01)
    costs["subscribe"] = (engine.cpu() - before) / count * 1e6
    costs["subscription_bytes"] = (engine.memory() - memory) / count
    return costs


def rounded(value):
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else float(f"{value:.3g}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(folder)
        try:
            json.dump(rounded(measure(engine)), sys.stdout, indent=2)
            print()
        finally:
            engine.process.kill()
            engine.process.wait()


if __name__ == "__main__":
    main()
