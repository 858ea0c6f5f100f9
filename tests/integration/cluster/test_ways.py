"""The two connections of a node to its engine, one of which lags behind or is lost."""

import contextlib
import re
import socket
import threading
import unittest

from support import PATIENCE, ClusterCase, until


# To a connection that is subscribed.
PONG = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


class Way:
    """One connection of a node to the engine, by way of the proxy: S for subscriptions, C for commands. What the
    engine sends can be held back."""

    def __init__(self, node, engine):
        self.node = node
        self.engine = engine
        self.kind = None
        self.asked = b""
        self.held = b""
        self.is_open = True

    def close(self):
        self.is_open = False
        for end in (self.node, self.engine):
            with contextlib.suppress(OSError):  # it has ended
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Between nodes and an engine."""

    def __init__(self, engine):
        self.engine = engine
        self.ways = []
        self._held = set()
        self._threads = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def close(self):
        self.release("S", "C")
        self._listener.shutdown(socket.SHUT_RDWR)
        for way in self.ways:
            way.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for way in self.ways:
            way.node.close()
            way.engine.close()

    def hold(self, kind):
        """Holds back what the engine sends on such connections, present and future."""
        with self._lock:
            self._held.add(kind)

    def release(self, *kinds):
        with self._lock:
            self._held.difference_update(kinds)
            for way in self.ways:
                if way.kind in kinds:
                    with contextlib.suppress(OSError):
                        way.node.sendall(way.held)
                    way.held = b""

    def of(self, kind):
        """The newest connection of that kind."""
        return [way for way in self.ways if way.kind == kind][-1]

    def _accept(self):
        while True:
            try:
                node, _ = self._listener.accept()
            except OSError:  # closed
                return
            way = Way(node, socket.create_connection((self.engine.host, self.engine.port), PATIENCE))
            way.engine.settimeout(None)
            self.ways.append(way)
            for run in (self._pass_on_commands, self._pass_on_replies):
                self._start(run, way)

    def _start(self, run, *arguments):
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()

    def _pass_on_commands(self, way):
        try:
            while data := way.node.recv(1 << 16):
                way.asked += data
                if way.kind is None and (name := re.search(rb"SETNAME\r\n\$\d+\r\n\S+:([SC])\r\n", way.asked)):
                    way.kind = name[1].decode()
                way.engine.sendall(data)
        except OSError:  # one of them has ended
            pass
        way.close()

    def _pass_on_replies(self, way):
        try:
            while data := way.engine.recv(1 << 16):
                with self._lock:
                    if way.kind in self._held:
                        # The engine answers in time: the node shall not take it for lost.
                        way.node.sendall(PONG * data.count(PONG))
                        way.held += data.replace(PONG, b"")
                    else:
                        way.node.sendall(data)
        except OSError:
            pass
        way.close()


class Ways(ClusterCase):
    ENGINES = 1

    async def test_a_decided_message_arrives_although_the_commands_are_lost(self):
        engine = self.engine()
        proxy = Proxy(engine)
        self.stack.callback(proxy.close)
        (node,) = await self.nodes(1, proxy.url)
        alice = await self.tab(node, "alice")
        bob = await self.tab(node, "bob")
        subscriptions = proxy.of("S")
        proxy.hold("S")
        await alice.ws.send('{"message":"first","id":"m1"}')
        await until(lambda: node.stats()["messages_chat"] == 1, "the reply of the engine")
        proxy.hold("C")
        proxy.of("C").close()
        await until(lambda: node.stats()["cluster_engines_ready"] == 0, "the node knows")
        # A message of this node would overtake the first.
        self.assertEqual((await alice.say("second", "m2"))["code"], "unavailable")
        # After two seconds, the node does not wait for the first any more.
        self.assertEqual((await alice.outcome("m1"))["route"], "chat")
        self.assertEqual((await alice.say("third", "m3"))["code"], "unavailable")

        before = len(subscriptions.asked)
        proxy.release("C")
        await until(lambda: b"UNSUBSCRIBE" in subscriptions.asked[before:] or not subscriptions.is_open,
                    "the node begins anew")
        proxy.release("S")
        await bob.wait(lambda: bob.messages() == ["first"], "the first message")
        await until(lambda: node.is_ready(1), "the node is back")
        self.assertEqual((await alice.say("last", "m4"))["route"], "chat")
        await bob.wait(lambda: bob.messages() == ["first", "last"], "the last message")


if __name__ == "__main__":
    unittest.main()
