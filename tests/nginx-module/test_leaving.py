"""A connection leaves nginx completely: nothing of it stays, and nothing that nginx does reaches it."""
import os
import re
import signal
import unittest

from support import LONG, ModuleCase, descriptors, resident_kib, wait_until


class CrossClient(ModuleCase):
    """One client's close never touches another's request.

    nginx reuses the structure of a connection that it has closed. If the descriptor stays registered
    with epoll, the end of a client that was handed over appears there as the end of the next one.
    """

    rounds = 3000 if LONG else 150

    def test_one_clients_end_never_touches_another(self):
        for number in range(self.rounds):
            self.door.released.clear()
            self.door.asks.clear()
            self.door.gone.clear()
            leaving = self.open()
            # The structure is used this many times before the waiting client has it.
            for _ in range(number % 4):
                with self.client() as between:
                    between.request("/")
            waiting = self.client().upgrade("/push/bob/?door=slow")
            wait_until("the ask", lambda: len(self.door.asks) == 2)
            if number % 2:
                leaving.reset()
            else:
                leaving.close()
            # nginx has had a round of events since when it answers a new client.
            with self.client() as after:
                self.assertEqual(after.request("/")[0], 200)
            self.assertEqual(self.door.gone, [], f"round {number}")
            self.door.released.set()
            waiting.opened().echo(b"untouched")
            waiting.close()
        log = (self.folder / "module.log").read_text()
        self.assertNotIn("499", log)


class Directives(ModuleCase):
    """Directives that make nginx act on a connection that it closes."""

    server = """
        lingering_close always;
        lingering_timeout 1s;
        reset_timedout_connection on;
        send_timeout 100ms;
        keepalive_timeout 100ms;
        client_header_timeout 100ms;
        location = /large { root .; sendfile on; tcp_nopush on; try_files /large =404; }
        """
    location = "tcp_nopush on; sendfile on; post_action /done;"

    def configuration(self):
        return super().configuration().replace("root .;", f"root {self.folder};").replace(
            "location = /large", "location = /done { return 204; } location = /large")

    def test_a_conversation_goes_on(self):
        (self.folder / "large").write_bytes(b"x" * 500_000)
        client = self.client()
        self.assertEqual(len(client.request("/large")[2]), 500_000)
        client.upgrade("/push/alice/", early=b"early").opened()
        self.assertEqual(client.read(5), b"early")
        client.send(b"while nginx closes")
        self.assertEqual(client.read(18), b"while nginx closes")
        # All of nginx's timers for the connection would have ended by the end of this one.
        idle = self.client()
        idle.request("/")
        idle.expect_end()
        client.echo(os.urandom(100_000))


class NothingStays(ModuleCase):
    def test_memory_and_descriptors_of_the_worker(self):
        (worker,) = self.nginx.workers()
        clients = []

        def open_many(count):
            for _ in range(count):
                client = self.open()
                clients.append(client)
            # The access log has them all, so nginx is done with them.
            self.logged(len(clients))

        open_many(200)
        memory, files = resident_kib(worker), descriptors(worker)
        open_many(1000)
        # The worker closes a descriptor a moment after the line of the log.
        wait_until("its descriptors", lambda: descriptors(worker) <= files)
        # A connection that nginx keeps has more than 1 KiB.
        self.assertLess(resident_kib(worker) - memory, 256)
        for client in (clients[0], clients[-1]):
            client.echo(b"still there")
        for client in clients:
            client.close()
        self.assertEqual(set(self.logged(1200)), {"101 [handed] [-] /push/alice/"})

    def test_stub_status_counts_it_no_more(self):
        for _ in range(10):
            self.open()
        self.logged(10)
        client = self.client()
        wait_until("the only connection", lambda: re.search(
            r"Active connections: 1 [^R]*Reading: 0 Writing: 1 Waiting: 0", client.request("/status")[2].decode()))

    server = "location = /status { stub_status; }"


class Restarts(ModuleCase):
    workers = 2

    def test_a_reload(self):
        clients = [self.open() for _ in range(8)]
        old = self.nginx.reload()
        self.ended_workers(old)
        for client in clients:
            client.echo(b"after the reload")
        self.open().echo(b"and new ones")

    def test_the_end_of_nginx(self):
        clients = [self.open() for _ in range(8)]
        self.logged(8)
        self.nginx.stop()
        for client in clients:
            client.echo(b"without nginx")


class BinaryUpgrade(ModuleCase):
    workers = 2
    daemon = True

    def test_a_binary_upgrade(self):
        clients = [self.open() for _ in range(8)]
        old_master, old_workers = self.nginx.master, self.nginx.workers()
        os.kill(old_master, signal.SIGUSR2)
        old_file = self.folder / "nginx.pid.oldbin"
        wait_until("the new master", lambda: old_file.exists()
                   and (self.folder / "nginx.pid").exists() and self.nginx.workers())
        self.assertNotEqual(self.nginx.master, old_master)
        os.kill(old_master, signal.SIGQUIT)
        wait_until("the end of the old master", lambda: not old_file.exists())
        self.ended_workers(old_workers)
        for client in clients:
            client.echo(b"after the upgrade")
        self.open().echo(b"and new ones")


if __name__ == "__main__":
    unittest.main(verbosity=2)
