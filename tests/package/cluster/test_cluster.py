#!/usr/bin/env python3
"""The files that packaging/ ships for several nodes, under the programs that read them.

Run by run.sh, which lists the requirements. Everything listens on free loopback ports or unix sockets.
"""
import asyncio
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import nginx  # noqa: E402
from nginx import PATIENCE, can_connect, free_port, wait_until  # noqa: E402

PACKAGING = ROOT / "packaging"
PROGRAM = os.environ["WAYSTATION_BIN"]
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith("WAYSTATION_") or name == "WAYSTATION_BIN"}
NODES = ("10.0.0.11", "10.0.0.12", "10.0.0.13")


class Folder(unittest.TestCase):
    """A test with a folder and processes, which end with it."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def start(self, *command, **options):
        process = subprocess.Popen([str(word) for word in command], env=ENVIRONMENT,
                                   **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def redis(self, *options):
        """A redis-server with the shipped settings, on a unix socket."""
        path = self.folder / "redis.sock"
        self.start("redis-server", PACKAGING / "cluster" / "redis.conf", "--port", 0, "--unixsocket", path,
                   "--dir", self.folder, "--logfile", self.folder / "redis.log", *options)
        wait_until("Redis", lambda: path.exists() and self.ask(path, "PING") == "PONG")
        return path

    def ask(self, path, *command):
        run = subprocess.run(["redis-cli", "-s", str(path), *map(str, command)], capture_output=True, text=True,
                             check=False)
        return run.stdout.strip()

    def example(self, file, name):
        """The setting that a comment of a shipped file shows, behind its name."""
        text = (PACKAGING / "cluster" / file).read_text(encoding="utf-8")
        return re.search(rf"^#     {name} (.*)$", text, re.M)[1]

    def key_file(self):
        keys = self.folder / "keys"
        keys.touch(mode=0o600)
        keys.write_text(subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True,
                                       check=True).stdout)
        return keys


def get(port, path, **headers):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        client.request("GET", path, headers=headers)
        return client.getresponse().read().decode()


async def talk(ports):
    """A message from alice to bob, each on the node of their port."""
    def url(user):
        return f"ws://127.0.0.1:{ports[user]}/ws/chat/alice_bob/?user={user}"

    async with websockets.connect(url("alice")) as alice, websockets.connect(url("bob")) as bob:
        await alice.send(json.dumps({"message": "across nodes", "to_user": "bob"}))
        for one in (alice, bob):
            received = json.loads(await asyncio.wait_for(one.recv(), PATIENCE))
            assert received == {"message": "across nodes"}, received


class Redis(Folder):
    def test_redis_takes_each_setting(self):
        path = self.redis()
        text = (PACKAGING / "cluster" / "redis.conf").read_text(encoding="utf-8")
        settings = re.findall(r"^([a-z]\S*) (.*)$", text, re.M)
        self.assertGreaterEqual(len(settings), 9)
        for name, value in settings:
            got = self.ask(path, "CONFIG", "GET", name).split("\n", 1)[1] if name != "save" else '""'
            for unit, factor in (("mb", 1 << 20), ("gb", 1 << 30)):
                value = re.sub(rf"(\d+){unit}\b", lambda found, by=factor: str(int(found[1]) * by), value)
            with self.subTest(name):
                self.assertIn(value, got)
        self.assertEqual(self.ask(path, "CONFIG", "GET", "save"), "save")
        checked = subprocess.run([PROGRAM, "config", "check", "--online", "--www", "", "--cluster", f"unix://{path}",
                                  "--cluster-key-file", str(self.key_file())], capture_output=True, text=True,
                                 env=ENVIRONMENT, check=False)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertNotIn("cluster", checked.stderr, "the program advises against a shipped setting")

    def test_the_rights_of_the_acl_suffice(self):
        path = self.redis()
        user = self.example("redis.conf", "user").replace("NAME", "test").replace("<password>", "secret")
        self.assertEqual(self.ask(path, "ACL", "SETUSER", *user.split()), "OK")
        keys = self.key_file()
        ports = [free_port(), free_port()]
        nodes = []
        for number, port in enumerate(ports):
            nodes.append(self.start(PROGRAM, "serve", "--listen", f"127.0.0.1:{port}", "--node-name", f"node-{number}",
                                    "--cluster", f"unix://waystation:secret@{path}", "--cluster-name", "test",
                                    "--cluster-key-file", keys, "--www", self.folder))
            wait_until("a node", lambda port=port: can_connect(port))
        for port in ports:
            wait_until("both nodes", lambda port=port: "\nwaystation_cluster_nodes 2\n" in get(port, "/metrics"))
        asyncio.run(talk({"alice": ports[0], "bob": ports[1]}))
        self.assertIn("groups", json.loads(get(ports[0], "/api/v1/presence/bob")))
        nodes[1].kill()
        wait_until("the end of a node", lambda: "\nwaystation_cluster_nodes 1\n" in get(ports[0], "/metrics"))
        # The nodes asked for one thing that they have no right to, and do without.
        refused = self.ask(path, "ACL", "LOG").splitlines()
        objects = {refused[at + 1] for at, word in enumerate(refused) if word == "object"}
        self.assertEqual(objects, {"config|get"}, refused)
        for command in (("FLUSHALL",), ("CONFIG", "GET", "requirepass"), ("GET", "other"), ("SUBSCRIBE", "other"),
                        ("EVAL", "return 1", "0"), ("MONITOR",)):
            self.assertIn("NOPERM", self.ask(path, "--user", "waystation", "--pass", "secret", *command))

    def test_sentinel_takes_each_setting(self):
        path = self.redis()
        redis_port, port = free_port(), free_port()
        self.ask(path, "CONFIG", "SET", "port", redis_port)
        conf = self.folder / "sentinel.conf"
        text = (PACKAGING / "cluster" / "sentinel.conf").read_text(encoding="utf-8")
        changed, count = re.subn(r"^(sentinel monitor waystation) 10\.0\.0\.5 6379", rf"\1 127.0.0.1 {redis_port}", text,
                                 flags=re.M)
        self.assertEqual(count, 1)
        conf.write_text(f"port {port}\nbind 127.0.0.1\ndir {self.folder}\n{changed}", encoding="utf-8")
        self.start("redis-sentinel", conf)
        wait_until("Sentinel", lambda: can_connect(port))
        state = subprocess.run(["redis-cli", "-p", str(port), "SENTINEL", "MASTER", "waystation"], capture_output=True,
                               text=True, check=True).stdout.splitlines()
        fields = dict(zip(state[::2], state[1::2]))
        self.assertEqual([fields[name] for name in ("quorum", "down-after-milliseconds", "failover-timeout",
                                                    "parallel-syncs")], ["2", "1000", "10000", "1"])

    def test_a_node_follows_sentinel(self):
        """With the settings of both files: a password, a user for the nodes, a replica, three Sentinels."""
        user = self.example("redis.conf", "user").replace("NAME", "waystation").replace("<password>", "secret")
        self.assertIn("<password>", self.example("redis.conf", "masterauth"))
        primary, replica, *sentinels = (free_port() for _ in range(5))
        servers = []
        for port in (primary, replica):
            folder = self.folder / str(port)
            folder.mkdir()
            conf = folder / "redis.conf"
            conf.write_text(f"include {PACKAGING}/cluster/redis.conf\nport {port}\nbind 127.0.0.1\ndir {folder}\n"
                            f"requirepass main\nmasterauth main\nuser {user}\n"
                            + (f"replicaof 127.0.0.1 {primary}\n" if port == replica else ""), encoding="utf-8")
            servers.append(self.start("redis-server", conf))

        def ask(port, *command):
            run = subprocess.run(["redis-cli", "-p", str(port), "--no-auth-warning", *command], capture_output=True,
                                 text=True, check=False)
            return run.stdout.splitlines()

        wait_until("the replica", lambda: "master_link_status:up" in
                   [line.strip() for line in ask(replica, "-a", "main", "INFO", "replication")])
        text = (PACKAGING / "cluster" / "sentinel.conf").read_text(encoding="utf-8")
        text = text.replace("10.0.0.5 6379", f"127.0.0.1 {primary}")
        password = self.example("sentinel.conf", "sentinel auth-pass").replace("<password>", "main")
        for port in sentinels:
            folder = self.folder / str(port)
            folder.mkdir()
            conf = folder / "sentinel.conf"
            conf.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{text}\nsentinel auth-pass {password}\n",
                            encoding="utf-8")
            self.start("redis-sentinel", conf)

        def state(port):
            fields = ask(port, "SENTINEL", "MASTER", "waystation")
            return dict(zip(fields[::2], fields[1::2]))

        for port in sentinels:
            wait_until("a Sentinel that knows all", lambda port=port: (
                state(port).get("num-other-sentinels"), state(port).get("num-slaves")) == ("2", "1"))
        cluster = re.search(r'^#     cluster = \["(.*)"\]$', text, re.M)[1].replace("<password>", "secret")
        for address, port in zip(("10.0.0.5:26379", "10.0.0.6:26379", "10.0.0.7:26379"), sentinels):
            self.assertIn(address, cluster)
            cluster = cluster.replace(address, f"127.0.0.1:{port}")
        node = free_port()
        self.start(PROGRAM, "serve", "--listen", f"127.0.0.1:{node}", "--cluster", cluster, "--cluster-key-file",
                   self.key_file(), "--www", self.folder)
        wait_until("the node", lambda: can_connect(node))

        def entered(port):
            return (ask(port, "-a", "main", "HLEN", "ws1:waystation:nodes") not in ([], ["0"])
                    and "\nwaystation_cluster_engines_ready 1\n" in get(node, "/metrics"))

        wait_until("the node at the primary", lambda: entered(primary))
        servers[0].kill()
        # After a split vote, the Sentinels try again 20 s later; after a stall of the machine, 30 s later.
        wait_until("the new primary", lambda: ask(replica, "-a", "main", "ROLE")[:1] == ["master"], patience=90)
        wait_until("the node at the new primary", lambda: entered(replica) and
                   any("name=waystation" in line for line in ask(replica, "-a", "main", "CLIENT", "LIST")),
                   patience=90)


class Service(Folder):
    @unittest.skipUnless(shutil.which("systemd-analyze") or os.environ.get("CI"), "systemd-analyze is not here")
    def test_systemd_takes_the_drop_in(self):
        unit = (PACKAGING / "systemd" / "waystation.service.in").read_text(encoding="utf-8")
        unit = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit, flags=re.M)
        for name in ("BINDIR", "LIBDIR", "SYSCONFDIR"):
            unit = unit.replace(f"@CMAKE_INSTALL_FULL_{name}@", "/usr")
        (self.folder / "waystation.service").write_text(unit, encoding="utf-8")
        drop_ins = self.folder / "waystation.service.d"
        drop_ins.mkdir()
        drop_in = drop_ins / "cluster.conf"

        def complaints(text):
            drop_in.write_text(text, encoding="utf-8")
            run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(self.folder / "waystation.service")],
                                 capture_output=True, text=True, check=False)
            return [line for line in (run.stdout + run.stderr).splitlines() if "cluster.conf" in line]

        text = (PACKAGING / "cluster" / "waystation.service.conf").read_text(encoding="utf-8")
        self.assertEqual(complaints(text), [])
        with_socket = text.replace("\n#SupplementaryGroups=", "\nSupplementaryGroups=")
        self.assertNotEqual(with_socket, text)
        self.assertEqual(complaints(with_socket), [])
        self.assertNotEqual(complaints(text + "\nNoSuchKey=1\n"), [], "the drop-in is not read")


class Node(http.server.BaseHTTPRequestHandler):
    """Answers with its own name, and what the load balancer says about the client."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802
        body = json.dumps({"node": self.server.server_address[1], "user": self.headers.get("X-Forwarded-User"),
                           "client": self.headers.get("X-Forwarded-For")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class NodeServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """HAProxy's checks close their connections with a reset."""


class Balancer:
    """What both load balancers have to do. `self.port` is the balancer's."""

    def start_nodes(self):
        self.nodes = [NodeServer(("127.0.0.1", 0), Node) for _ in NODES]
        for node in self.nodes:
            threading.Thread(target=node.serve_forever, daemon=True).start()
            self.addCleanup(node.server_close)
            self.addCleanup(node.shutdown)
        return [node.server_address[1] for node in self.nodes]

    def node_of(self, path, **headers):
        return json.loads(get(self.port, path, **headers))

    def replaced(self, text):
        """The shipped file with the nodes of this test."""
        for address, port in zip(NODES, self.ports):
            text, count = re.subn(re.escape(address) + ":8080", f"127.0.0.1:{port}", text)
            self.assertGreater(count, 0, f"the file has no {address} any more; change this test")
        return text

    def check_stickiness(self):
        groups = [f"user{number}_user{number + 1}" for number in range(60)]
        nodes = {}
        for group in groups:
            found = {self.node_of(f"/ws/chat/{group}/?user={user}")["node"] for user in group.split("_") for _ in "ab"}
            self.assertEqual(len(found), 1, f"{group} is on several nodes")
            nodes[group] = found.pop()
        self.assertEqual(set(nodes.values()), set(self.ports), "some node serves no group")
        for user in ("alice", "bob", "carol"):
            found = {self.node_of(f"/push/{user}/")["node"] for _ in range(3)}
            self.assertEqual(len(found), 1, f"the push sockets of {user} are on several nodes")
        found = {self.node_of("/api/v1/presence/alice")["node"] for _ in range(12)}
        self.assertEqual(found, set(self.ports), "the API is served by some nodes only")

    def check_headers(self):
        for path in ("/ws/chat/alice_bob/", "/push/alice/", "/api/v1/presence/bob"):
            answer = self.node_of(path, **{"X-Forwarded-User": "mallory", "X-Forwarded-For": "10.9.9.9"})
            self.assertIn(answer["user"], (None, ""), "a client can name itself")
            self.assertEqual(answer["client"], "127.0.0.1")


class NginxSite(Folder, Balancer):
    def setUp(self):
        super().setUp()
        self.ports = self.start_nodes()
        self.port = free_port()
        site = (PACKAGING / "nginx" / "waystation.conf").read_text(encoding="utf-8")
        # As the file says: its blocks take the place of the site's.
        site, count = re.subn(r"^upstream waystation(_page)? \{.*?^\}\n", "", site, flags=re.M | re.S)
        self.assertEqual(count, 2)
        site = self.replaced((PACKAGING / "nginx" / "waystation-cluster.conf").read_text(encoding="utf-8")) + site
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"], check=True,
                       capture_output=True)
        for old, new in ((r"chat\.example;", "localhost;"),
                         (r"/etc/ssl/certs/\S+;", f"{self.folder}/cert.pem;"),
                         (r"/etc/ssl/private/\S+;", f"{self.folder}/key.pem;"),
                         (r"listen \[::\]:.*;", ""),
                         (r"listen 80;", f"listen 127.0.0.1:{free_port()};"),
                         # Without TLS, so that the test's client is simple.
                         (r"listen 443 ssl http2;", f"listen 127.0.0.1:{self.port};")):
            site, count = re.subn(old, new, site)
            self.assertGreater(count, 0, f"the site has no {old} any more; change this test")
        # One worker: each would count its own turns for requests that are not sticky.
        self.server = nginx.Nginx(self.folder, site, self.port, workers=1)
        self.addCleanup(self.server.process.wait)
        self.addCleanup(self.server.process.terminate)

    def test_both_users_of_a_group_reach_one_node(self):
        self.assertEqual(self.server.warnings, [])
        self.check_stickiness()
        self.check_headers()


class HAProxySite(Folder, Balancer):
    def setUp(self):
        super().setUp()
        self.ports = self.start_nodes()
        self.port = free_port()
        self.haproxy = os.environ["HAPROXY"]
        self.shipped = (PACKAGING / "haproxy" / "waystation-cluster.cfg").read_text(encoding="utf-8")

    def check(self, text):
        path = self.folder / "haproxy.cfg"
        path.write_text(text, encoding="utf-8")
        return path, subprocess.run([self.haproxy, "-c", "-V", "-f", str(path)], capture_output=True, text=True, check=False)

    def test_haproxy_takes_the_file(self):
        _, checked = self.check(self.shipped)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertNotIn("WARNING", checked.stdout + checked.stderr)

    def test_both_users_of_a_group_reach_one_node(self):
        text, count = re.subn(r"bind :80$", f"bind 127.0.0.1:{self.port}", self.replaced(self.shipped), flags=re.M)
        self.assertEqual(count, 1)
        path, checked = self.check(text)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.start(self.haproxy, "-f", path)
        wait_until("HAProxy", lambda: can_connect(self.port))
        self.check_stickiness()
        self.check_headers()
        self.assertIn("404", get(self.port, "/metrics"))

    def test_a_node_that_refuses_connections_costs_no_request(self):
        # Without health checks, so that HAProxy never knows that the node is gone.
        text, count = re.subn(r"^  default-server check.*\n", "", self.replaced(self.shipped), flags=re.M)
        self.assertEqual(count, 1)
        text, count = re.subn(r"bind :80$", f"bind 127.0.0.1:{self.port}", text, flags=re.M)
        self.assertEqual(count, 1)
        self.nodes[0].shutdown()
        self.nodes[0].server_close()
        path, checked = self.check(text)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.start(self.haproxy, "-f", path)
        wait_until("HAProxy", lambda: can_connect(self.port))
        nodes = [self.node_of(f"/ws/chat/user{number}_user{number + 1}/")["node"] for number in range(30)]
        self.assertEqual(set(nodes), set(self.ports[1:]))


class TryIt(Folder):
    def test_the_script_starts_a_cluster_and_ends_it(self):
        # A machine without a browser.
        opener = self.folder / "xdg-open"
        opener.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        opener.chmod(0o755)
        process = self.start("env", f"PATH={self.folder}:{os.environ['PATH']}", PACKAGING / "cluster" / "try.sh",
                             "--open", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(lines)
        pages = dict(re.findall(r"^ +(alice|bob) +(http\S+)$", text, re.M))
        self.assertEqual(set(pages), {"alice", "bob"}, text)
        ports = {user: int(re.search(r":(\d+)/", page)[1]) for user, page in pages.items()}
        self.assertNotEqual(ports["alice"], ports["bob"])
        # Without the warning, readline() would wait for ever.
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        warning = process.stdout.readline()
        timer.cancel()
        self.assertIn("warning: --open: no browser was opened", warning)
        asyncio.run(talk(ports))
        api = re.search(r"curl (http\S+)", text)[1]
        with urllib.request.urlopen(api, timeout=PATIENCE) as answer:
            self.assertIn("groups", json.load(answer))
        folder = pathlib.Path(re.search(r"log files are in (\S+)\.", text)[1])
        self.assertTrue(folder.is_dir())
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        process.stdout.close()
        for port in ports.values():
            self.assertFalse(can_connect(port))
        self.assertFalse(folder.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
