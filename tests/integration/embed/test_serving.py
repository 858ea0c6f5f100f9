"""The server with open sockets: workers, signals, descriptors, the log."""

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import unittest

import websockets

from support import (PATIENCE, Server, connection, environment, get, handshake, held_thread, raw,
                     request, run, until)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import KEPT_DESCRIPTORS  # noqa: E402


async def next_json(link):
    return json.loads(await asyncio.wait_for(link.recv(), PATIENCE))


UPGRADE = handshake("/push/bob/").encode()


def connected(host, port, own_port=0):
    """A connection from 127.0.0.1 and the given port, which several connections may have."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    link.settimeout(PATIENCE)
    link.bind(("127.0.0.1", own_port))
    link.connect((host, port))
    return link


def upgraded(link, sent=0):
    """The status of an upgrade on this connection, of which so many bytes were sent."""
    link.sendall(UPGRADE[sent:])
    return int(link.recv(65536).split()[1])


class Serving(unittest.IsolatedAsyncioTestCase):
    async def test_chat_push_and_presence(self):
        with Server() as server:
            async with websockets.connect(server.url("/push/bob/"),
                                          subprotocols=["waystation.v1"]) as bob, \
                    websockets.connect(server.url("/ws/chat/alice_bob/?user=alice"),
                                       subprotocols=["waystation.v1"]) as alice:
                self.assertEqual(await next_json(alice), {
                    "presence": {"user": "bob", "present": False, "reachable": True}})
                await alice.send('{"message":12345678901234567890,"id":"m1"}')
                frame = await asyncio.wait_for(bob.recv(), PATIENCE)
                self.assertIn("12345678901234567890", frame)
                self.assertEqual(json.loads(frame)["event"]["from"], "alice")
                ack = (await next_json(alice))["ack"]
                self.assertEqual((ack["id"], ack["route"], ack["reached"]), ("m1", "push", 1))

                there = await asyncio.to_thread(get, server.port, "/api/v1/presence/alice")
                self.assertEqual(there.json(),
                                 {"user": "alice", "push": 0, "groups": ["alice_bob"]})
                answer = await asyncio.to_thread(
                    request, server.port, "POST", "/api/v1/push/bob",
                    {"Content-Type": "application/json"}, '{"door":"open"}')
                self.assertEqual(answer.json(), {"reached": 1})
                self.assertEqual((await next_json(bob))["event"]["message"], {"door": "open"})

    async def test_serves_a_relay_across_its_listeners(self):
        with Server("--listen", "127.0.0.1:0,127.0.0.2:0", listeners=2) as server:
            first, second = (f"ws://{host}:{port}/ws/chat/alice_bob" for host, port
                             in server.addresses)
            async with websockets.connect(f"{first}?user=alice") as alice, \
                    websockets.connect(f"{second}/?user=bob") as bob:
                await alice.send('{"message":1,"to_user":"bob"}')
                self.assertEqual(await next_json(bob), {"message": 1})

    def test_adopts_what_it_accepted_without_a_search(self):
        with socket.create_server(("127.0.0.2", 0)) as elsewhere:
            port = elsewhere.getsockname()[1]
            with connected("127.0.0.2", port) as other, elsewhere.accept()[0] as inherited, \
                    Server("--listen", f"127.0.0.1:{port}",
                           pass_fds=(inherited.fileno(),)) as server:
                # A search would find two connections of this client port: the server has inherited
                # the other one.
                with connected("127.0.0.1", server.port, other.getsockname()[1]) as client:
                    self.assertEqual(upgraded(client), 101)

    def test_refuses_connections_that_it_cannot_tell_apart(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with Server("--listen", f"127.0.0.1:{port},127.0.0.2:{port}", listeners=2) as server:
            def numbers():
                return set(os.listdir(f"/proc/{server.process.pid}/fd"))

            idle = numbers()
            with connected("127.0.0.1", port) as first, \
                    connected("127.0.0.2", port, first.getsockname()[1]) as second:
                for client in (first, second):
                    client.sendall(UPGRADE[:1])  # silent ones are accepted later
                accepted = until(lambda: len(numbers() - idle) == 2 and numbers() - idle,
                                 "both are accepted")
                self.assertEqual(upgraded(first, 1), 503)
                first.close()  # CivetWeb waits for that, and the second client has five seconds
                until(lambda: len(numbers() & accepted) == 1, "one is closed")
                self.assertEqual(upgraded(second, 1), 101)

    async def test_open_sockets_occupy_no_worker(self):
        with Server("--max-connections-per-address", "0") as server:
            before = server.descriptors() + KEPT_DESCRIPTORS
            async with websockets.connect(server.url("/push/first/")):
                pass
            await asyncio.to_thread(until, lambda: server.descriptors() <= before,
                                    "the first one gone")
            links = [await websockets.connect(server.url(f"/push/user{i}/")) for i in range(100)]
            self.assertEqual((await asyncio.to_thread(get, server.port, "/healthz"))
                             .json()["push_sockets"], 100)
            self.assertGreaterEqual(server.descriptors(), before + 100)
            await asyncio.gather(*(link.close() for link in links))
            await asyncio.to_thread(until, lambda: server.descriptors() <= before,
                                    "every descriptor back")

    async def test_answers_beside_silent_connections(self):
        with Server() as server:
            silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(15)]
            async with websockets.connect(server.url("/push/alice/")):
                self.assertEqual((await asyncio.to_thread(get, server.port, "/healthz")).status,
                                 200)
            for client in silent:
                client.close()

    async def test_drains_on_sigterm_and_on_sigint(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server() as server:
                async with websockets.connect(server.url("/ws/chat/alice_bob/?user=alice")) \
                        as alice, websockets.connect(server.url("/push/bob/")) as bob:
                    code, _ = await asyncio.to_thread(server.end, number)
                    self.assertEqual(code, 0, server.log())
                    for link in (alice, bob):
                        with self.assertRaises(websockets.ConnectionClosed) as closed:
                            await link.recv()
                        self.assertEqual(closed.exception.code, 1001)
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", server.port))

    async def test_shutdown_is_in_time_despite_slow_clients(self):
        with Server() as server, connection(server.port) as idle, \
                socket.create_connection(("127.0.0.1", server.port)) as slow, \
                socket.create_connection(("127.0.0.1", server.port)) as deaf:
            idle.request("GET", "/healthz")
            idle.getresponse().read()
            slow.sendall(b"POST /api/v1/push/alice HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                         b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n")
            # Answers nothing, not even the Close.
            deaf.sendall(handshake("/push/alice/").encode())
            self.assertTrue(deaf.recv(4096).startswith(b"HTTP/1.1 101 "))
            code, seconds = await asyncio.to_thread(server.end)
            self.assertEqual(code, 0, server.log())
            # The limit is 5 seconds; a busy machine may need several times as long. Without
            # deadlines the shutdown would wait for these clients.
            self.assertLess(seconds, 4 * 5)

    async def test_can_be_started_again_on_the_same_port_at_once(self):
        with Server() as server:
            async with websockets.connect(server.url("/push/alice/")):
                await asyncio.to_thread(server.end)
            with Server("--listen", f"127.0.0.1:{server.port}") as again:
                self.assertEqual(again.port, server.port)

    async def test_reloads_what_can_change_at_run_time(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "site.toml"
            file.write_text("log_level = 'info'\n")
            with Server("--config", str(file), "--www", "") as server:
                async with websockets.connect(server.url("/push/alice/")) as alice:
                    file.write_text("log_level = 'loud'\n")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(server.await_log, "nothing was changed")
                    self.assertIn('log_level = "loud"', server.log())

                    file.write_text("log_level = 'info'\n")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(server.await_log, "no option has changed")

                    file.write_text("log_format = 'json'\nlisten = ['127.0.0.1:1']\n"
                                    "ping_interval_seconds = 24\n")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(server.await_log, '"level":"info","text":"www is empty')
                    # The flag overrides the file's listener.
                    self.assertNotIn("listen", server.log())
                    await (await alice.ping())

    async def test_changes_limits_under_open_sockets(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "site.toml"
            file.write_text("")
            with Server("--config", str(file), "--www", "") as server:
                async with websockets.connect(server.url("/push/alice/")) as alice:
                    file.write_text("max_connections_per_user = 1\n")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(server.await_log,
                                            "max_connections_per_user: 16 becomes 1")
                    await asyncio.to_thread(
                        until, lambda: get(server.port, "/push/alice/").status == 429, "429")
                    await (await alice.ping())
                    file.write_text("")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(
                        until, lambda: get(server.port, "/push/alice/").status == 426, "426")

    async def test_reload_is_all_or_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "site.toml"
            guarded = "auth = 'header'\ntrusted_proxies = ['192.0.2.1']\n"
            file.write_text("listen = ['0.0.0.0:0']\nlog_level = 'info'\n" + guarded)
            with Server("--www=", "--config", str(file), listen=()) as server:
                # Open mode would be valid for the file's listener, and invalid for the one in use.
                file.write_text("listen = ['127.0.0.1:0']\nauth = 'open'\nlog_level = 'info'\n")
                server.send(signal.SIGHUP)
                await asyncio.to_thread(server.await_log, "nothing was changed")
                self.assertEqual(get(server.port, "/push/alice/").status, 401)

    async def test_survives_a_file_that_cannot_be_a_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "site.toml"
            file.write_text("")
            with Server("--config", str(file), "--www", "") as server:
                file.write_text("a" + ".a" * 40_000 + " = 1\n")
                server.send(signal.SIGHUP)
                await asyncio.to_thread(server.await_log, "too many parts; allowed: at most 16")
                file.write_text("www = " + "[" * 40_000)
                server.send(signal.SIGHUP)
                await asyncio.to_thread(server.await_log, "nested too deeply")
                file.unlink()
                os.mkfifo(file)
                server.send(signal.SIGHUP)
                await asyncio.to_thread(server.await_log, "not a regular file; allowed: ")
                self.assertEqual(get(server.port, "/healthz").status, 200)
                code, _ = await asyncio.to_thread(server.end)
                self.assertEqual(code, 0)

    async def test_logs_each_reason_of_a_refusal(self):
        with tempfile.TemporaryDirectory() as folder:
            own, other = pathlib.Path(folder) / "own", pathlib.Path(folder) / "other"
            for file, kid in ((own, "ours"), (other, "theirs")):
                file.write_text(f"{kid}:{base64.b64encode(os.urandom(32)).decode()}\n")
                file.chmod(0o600)
            token = run("token", "issue", "--user", "alice", "--jwt-key-file", str(other)).stdout
            with Server("--www=", "--auth", "jwt", "--jwt-key-file", str(own), "--jwt-issuer=us",
                        "--log-level", "debug") as server:
                upgrade = {"Connection": "Upgrade", "Upgrade": "websocket",
                           "Sec_WebSocket_Version": "13",
                           "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
                for _ in range(60):
                    self.assertEqual(get(server.port, "/push/alice/", **upgrade).status, 401)
                self.assertEqual(get(server.port, "/push/alice/", **upgrade,
                                     Authorization="Bearer " + token.strip()).status, 401)
                log = await asyncio.to_thread(server.await_log, 'kid "theirs"')
                self.assertEqual(log.count("there is no token"), 50)

    async def test_names_options_that_need_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "site.toml"
            file.write_text("listen = ['127.0.0.1:0']\n")
            with Server("--www=", "--config", str(file), listen=()) as server:
                file.write_text("listen = ['127.0.0.2:0']\n")
                server.send(signal.SIGHUP)
                log = await asyncio.to_thread(server.await_log, "after a restart only")
                self.assertIn('listen: ["127.0.0.1:0"] becomes ["127.0.0.2:0"]', log)
                self.assertEqual(get(server.port, "/healthz").status, 200)

    async def test_logs_no_message_content(self):
        with Server("--log-level", "debug", "--log-format", "json") as server:
            async with websockets.connect(server.url("/ws/chat/alice_bob/?user=alice&x=CANARY")) \
                    as alice, websockets.connect(server.url("/ws/chat/alice_bob/?user=bob")) as bob:
                await alice.send('{"message":"CANARY","to_user":"bob"}')
                for end in (bob, alice):
                    self.assertEqual(await next_json(end), {"message": "CANARY"})
                await alice.send('{"CANARY')
                self.assertIn("error", await next_json(alice))
            raw(server.port, "CANARY\r\n\r\n")
            request(server.port, "POST", "/api/v1/push/bob",
                    {"Content-Type": "application/json"}, '"CANARY"')
            code, _ = await asyncio.to_thread(server.end)
            self.assertEqual(code, 0)
            log = server.log()
            self.assertNotIn("CANARY", log)
            for line in log.splitlines():
                self.assertEqual(set(json.loads(line)), {"at", "level", "text"})

    async def test_notifies_the_service_manager(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.bind(path)
                notify.settimeout(PATIENCE)
                with Server(env=environment(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")) as server:
                    def told(wanted):
                        while not notify.recv(4096).startswith(wanted):
                            pass

                    await asyncio.to_thread(told, b"READY=1")
                    await asyncio.to_thread(told, b"WATCHDOG=1")
                    server.send(signal.SIGHUP)
                    await asyncio.to_thread(told, b"RELOADING=1")
                    await asyncio.to_thread(told, b"READY=1")
                    server.send(signal.SIGTERM)
                    await asyncio.to_thread(told, b"STOPPING=1")

    async def test_hides_health_from_non_operators(self):
        with Server("--operators", "192.0.2.1") as server:
            for path in ("/metrics", "/metrics/", "/healthz"):
                for method in ("GET", "HEAD"):
                    response = request(server.port, method, path)
                    self.assertEqual(response.status, 403, (method, path))
                    self.assertNotIn(b"waystation_", response.body)
            self.assertEqual(get(server.port, "/metrics").code, "not_an_operator")
        with Server() as server:
            self.assertEqual(get(server.port, "/metrics").status, 200)
            # A request of an unknown user, forwarded by an untrusted proxy.
            response = get(server.port, "/metrics", X_Forwarded_For="127.0.0.1")
            self.assertEqual(response.status, 403)

    def test_feeds_the_watchdog_by_a_round_trip_through_the_relay(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = os.path.join(folder, "notify")
            notify.bind(path)
            notify.settimeout(PATIENCE)
            with Server("--www=", env=environment(NOTIFY_SOCKET=path,
                                                  WATCHDOG_USEC="200000")) as server:
                def told(wanted):
                    while notify.recv(4096) != wanted:
                        pass

                def complaints():
                    return server.log().count("the relay did not answer within 100 ms")

                told(b"WATCHDOG=1")
                with held_thread(server.process.pid, "waystation-io"):
                    until(complaints, "a word of what is wrong")
                    # From here on no earlier question can still be answered.
                    notify.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            notify.recv(4096)
                    already = complaints()
                    until(lambda: complaints() >= already + 5, "more of it")
                    with self.assertRaises(BlockingIOError):
                        notify.recv(4096)
                # The watchdog waited only for the relay.
                notify.settimeout(PATIENCE)
                told(b"WATCHDOG=1")
                self.assertEqual(server.end()[0], 0)

    def test_messages_do_not_wait_for_upgrades(self):
        with Server("--www=") as server:
            nice = {}
            for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
                name = (task / "comm").read_text().strip()
                nice.setdefault(name, set()).add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
            own = os.getpriority(os.PRIO_PROCESS, 0)
            self.assertEqual(nice["waystation-io"], {own})
            self.assertEqual(nice["civetweb-worker"], {max(own, 5)})

    async def test_upgrades_only_to_websocket(self):
        with Server() as server:
            # curl offers HTTP/2 this way; the API must answer.
            answer = raw(server.port, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                      "Connection: Upgrade, HTTP2-Settings, close\r\n"
                                      "Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)


if __name__ == "__main__":
    unittest.main()
