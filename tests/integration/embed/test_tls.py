"""Listeners with TLS: the certificate, its renewal, and what the server says about mistakes."""

import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

import websockets

from certificates import Authority
from support import PATIENCE, Program, Server, connection, environment, figures, get, run, until

BOTH = ("--listen", "https://127.0.0.1:0,http://127.0.0.1:0")


EXPIRY = "waystation_tls_certificate_expiry_timestamp_seconds"


def certificate_of(port, tls):
    """The certificate that a new connection gets."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as link, \
            tls.wrap_socket(link, server_hostname="127.0.0.1") as secured:
        return secured.getpeercert()


def name_of(port, tls):
    return dict(part[0] for part in certificate_of(port, tls)["subject"])["commonName"]


class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.authority.issue("first")
        cls.authority.issue("second")

    def setUp(self):
        self.tls = self.authority.client()

    def files(self):
        """A folder with the first certificate as own.pem and own.key, and options for it."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.install(folder, "first")
        return folder, ("--tls-certificate", str(folder / "own.pem"),
                        "--tls-key", str(folder / "own.key"))

    def install(self, folder, name):
        """Replaces both files, each at once, as tools for certificates do."""
        for suffix in (".pem", ".key"):
            shutil.copy(self.authority.path(name + suffix), folder / "new")
            os.chmod(folder / "new", 0o600)
            os.replace(folder / "new", folder / ("own" + suffix))

    def serve(self, *options, listen=BOTH, **more):
        return self.enterContext(Server(*listen, "--www", "", *options,
                                 listeners=listen[1].count(",") + 1, listen=(), **more))


class Serving(TlsCase):
    def test_serves_http_with_and_without_tls(self):
        server = self.serve(*self.authority.options("first"))
        self.assertEqual(server.schemes, ["https", "http"])
        (_, secure), (_, plain) = server.addresses
        self.assertEqual(get(secure, "/healthz", tls=self.tls).json()["status"], "ok")
        self.assertEqual(get(plain, "/healthz").json()["status"], "ok")
        self.assertEqual(get(secure, "/metrics", tls=self.tls).status, 200)

    def test_relays_between_listeners_with_and_without_tls(self):
        server = self.serve(*self.authority.options("first"))
        (_, secure), (_, plain) = server.addresses

        async def converse(version):
            tls = self.authority.client(version)
            async with websockets.connect(f"wss://127.0.0.1:{secure}/ws/chat/alice_bob/?user=alice",
                                          ssl=tls) as alice, \
                    websockets.connect(f"ws://127.0.0.1:{plain}/ws/chat/alice_bob/?user=bob") as bob:
                for text in "x", "y" * 60000:
                    await alice.send(json.dumps({"message": text, "to_user": "bob"}))
                    for link in bob, alice:
                        received = await asyncio.wait_for(link.recv(), PATIENCE)
                        self.assertEqual(json.loads(received), {"message": text})

        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            with self.subTest(version=version):
                asyncio.run(converse(version))

    def test_drains_sockets_with_tls(self):
        with Server("--listen", "https://127.0.0.1:0", "--www", "",
                    *self.authority.options("first")) as server:
            async def wait_for_the_end():
                async with websockets.connect(f"wss://127.0.0.1:{server.port}/push/alice/",
                                              ssl=self.tls) as alice:
                    server.ask_to_end()
                    await asyncio.wait_for(alice.wait_closed(), PATIENCE)
                    return alice.close_code

            self.assertEqual(asyncio.run(wait_for_the_end()), 1001)

    def test_keeps_a_connection_open(self):
        server = self.serve(*self.authority.options("first"))
        with connection(server.port, tls=self.tls) as link:
            for _ in range(3):
                link.request("GET", "/")
                response = link.getresponse()
                self.assertEqual(response.status, 404)
                response.read()
                self.assertIsNotNone(link.sock)

    def test_speaks_current_versions_only(self):
        server = self.serve(*self.authority.options("first"))
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            answer = get(server.port, "/healthz", tls=self.authority.client(version))
            self.assertEqual(answer.status, 200)

    def test_says_why_a_handshake_failed(self):
        server = self.serve(*self.authority.options("first"), "--log-level", "debug",
                            listen=("--listen", "https://127.0.0.1:0"))

        def fails(opening, reason):
            """The failure leads to one line with this reason and the client's address."""
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as link:
                opening(link)
                server.await_log(f"debug TLS handshake failed: {reason} (client 127.0.0.1)\n")

        def shake_hands(link, context, error):
            """Fails, and leaves the connection open: closing it could lose the client's alert."""
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with self.assertRaises(error):
                while True:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        tls.do_handshake()
                        break
                    link.sendall(outgoing.read())
                    incoming.write(link.recv(65536))
            link.sendall(outgoing.read())

        def distrust(link):
            shake_hands(link, ssl.create_default_context(), ssl.SSLCertVerificationError)

        def offer_an_old_cipher(link):
            context = self.authority.client(ssl.TLSVersion.TLSv1_2)
            context.set_ciphers("AES128-SHA")
            shake_hands(link, context, ssl.SSLError)

        fails(lambda link: link.sendall(b"GET / HTTP/1.1\r\n\r\n"),
              "the client speaks plain HTTP; it must use https:// or wss://")
        fails(lambda link: link.sendall(b"hello, hello"),
              "the client does not speak TLS; it must use https:// or wss://")
        fails(lambda link: link.shutdown(socket.SHUT_WR), "the client closed the connection")
        fails(distrust, "the client does not trust the certificate; tls_certificate must hold the "
              "intermediate certificates, and the client must know the authority")
        fails(offer_an_old_cipher, "the client offers no secure cipher; allowed: ECDHE with "
              "AES-GCM or ChaCha20-Poly1305")

    def test_asks_browsers_for_tls_over_tls_only(self):
        server = self.serve("--tls-hsts-seconds", "86400", *self.authority.options("first"))
        (_, secure), (_, plain) = server.addresses
        field = "Strict-Transport-Security"
        self.assertEqual(get(secure, "/", tls=self.tls).headers[field], "max-age=86400")
        self.assertIsNone(get(plain, "/").headers[field])
        by_default = self.serve(*self.authority.options("first"))
        self.assertIsNone(get(by_default.port, "/", tls=self.tls).headers[field])

    def test_accepts_pages_of_its_own_origin_over_tls(self):
        server = self.serve(*self.authority.options("first"))
        own = f"127.0.0.1:{server.port}"
        for origin, status in (f"https://{own}", 200), (f"http://{own}", 403), \
                ("https://127.0.0.1", 403):
            answer = get(server.port, "/healthz", tls=self.tls, Origin=origin)
            self.assertEqual(answer.status, status, origin)

    def test_survives_clients_of_the_other_protocol(self):
        server = self.serve(*self.authority.options("first"))
        (_, secure), (_, plain) = server.addresses
        for port, opening in (secure, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), \
                (secure, b"\x16\x03\x01\xff\xff"), (plain, b"\x16\x03\x01\x00\x05hello\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as link:
                link.sendall(opening)
                with contextlib.suppress(OSError):  # the server may have reset the connection
                    link.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while link.recv(4096):
                        pass
        self.assertEqual(get(secure, "/healthz", tls=self.tls).status, 200)
        self.assertEqual(get(plain, "/healthz").status, 200)


class Renewal(TlsCase):
    def test_takes_a_new_certificate_for_new_connections(self):
        folder, options = self.files()
        server = self.serve(*options)
        self.assertEqual(name_of(server.port, self.tls), "first")
        self.install(folder, "second")
        self.assertEqual(name_of(server.port, self.tls), "first", "not before SIGHUP")
        server.send(signal.SIGHUP)
        server.await_log("SIGHUP: tls_certificate = ")
        self.assertEqual(name_of(server.port, self.tls), "second")

    def test_the_expiry_is_a_metric(self):
        self.authority.issue("shorter", ends=30)
        folder, options = self.files()
        server = self.serve(*options)
        (_, secure), (_, plain) = server.addresses

        def expires():
            text = certificate_of(secure, self.tls)["notAfter"]
            return ssl.cert_time_to_seconds(text)

        first = expires()
        self.assertEqual(float(figures(plain)[EXPIRY]), first)
        self.install(folder, "shorter")
        server.send(signal.SIGHUP)
        server.await_log("SIGHUP: tls_certificate = ")
        self.assertLess(expires(), first)
        self.assertEqual(float(figures(plain)[EXPIRY]), expires())

    def test_a_certificate_may_end_in_the_year_9999(self):
        left = datetime.datetime(9999, 12, 31) - datetime.datetime.now()
        self.authority.issue("endless", ends=left.days)
        server = self.serve(*self.authority.options("endless"))
        (_, secure), (_, plain) = server.addresses
        self.assertEqual(name_of(secure, self.tls), "endless")
        self.assertGreater(float(figures(plain)[EXPIRY]),
                           datetime.datetime(9999, 1, 1).timestamp())
        self.assertNotIn("warning", server.log())

    def test_without_tls_there_is_no_such_metric(self):
        with Server("--www", "") as server:
            self.assertNotIn(EXPIRY, figures(server.port))

    def test_keeps_open_sockets(self):
        folder, options = self.files()
        server = self.serve(*options)

        async def converse():
            async with websockets.connect(f"wss://127.0.0.1:{server.port}/ws/chat/alice_bob/?user=alice",
                                          ssl=self.tls) as alice:
                self.install(folder, "second")
                server.send(signal.SIGHUP)
                await asyncio.to_thread(server.await_log, "SIGHUP: tls_certificate = ")
                await alice.send('{"message": 1, "to_user": "alice"}')
                await asyncio.wait_for(await alice.ping(), PATIENCE)

        asyncio.run(converse())

    def test_keeps_the_certificate_if_the_new_files_are_bad(self):
        folder, options = self.files()
        server = self.serve(*options)
        for name, text in ("own.pem", "nothing"), ("own.key", "nothing"), ("own.pem", None):
            with self.subTest(name=name, text=text):
                self.install(folder, "second")
                if text is None:
                    (folder / name).unlink()
                else:
                    (folder / name).write_text(text)
                    os.chmod(folder / name, 0o600)
                option = "tls_certificate" if name == "own.pem" else "tls_key"
                mistakes = server.log().count(f"nothing was changed: {option} = ")
                server.send(signal.SIGHUP)
                until(lambda: server.log().count(f"nothing was changed: {option} = ") > mistakes,
                      "the mistake in the log")
                self.assertEqual(name_of(server.port, self.tls), "first")
        # Half of a renewal: a key that does not belong to the certificate.
        self.install(folder, "second")
        shutil.copy(self.authority.path("first.pem"), folder / "own.pem")
        server.send(signal.SIGHUP)
        server.await_log("does not belong to tls_certificate")
        self.assertEqual(name_of(server.port, self.tls), "first")

    def test_follows_a_configuration_with_other_paths(self):
        file = self.files()[0] / "site.toml"

        def write(name):
            certificate, key = self.authority.path(f"{name}.pem"), self.authority.path(f"{name}.key")
            file.write_text(f"tls_certificate = '{certificate}'\ntls_key = '{key}'\n")

        write("first")
        server = self.serve("--config", str(file))
        self.assertEqual(name_of(server.port, self.tls), "first")
        write("second")
        server.send(signal.SIGHUP)
        server.await_log("SIGHUP: tls_key: ")
        until(lambda: name_of(server.port, self.tls) == "second", "the second certificate")

    def test_is_atomic_under_handshakes(self):
        folder, options = self.files()
        server = self.serve(*options)
        is_over = threading.Event()
        names, problems = [], []

        def connect():
            while not is_over.is_set():
                try:
                    names.append(name_of(server.port, self.tls))
                except OSError as problem:
                    problems.append(problem)

        clients = [threading.Thread(target=connect) for _ in range(8)]
        for client in clients:
            client.start()
        for turn in range(10):
            self.install(folder, ("second", "first")[turn % 2])
            server.send(signal.SIGHUP)
            until(lambda: server.log().count("SIGHUP: tls_certificate = ") > turn, "the renewal")
        is_over.set()
        for client in clients:
            client.join()
        self.assertEqual(problems, [])
        self.assertEqual(set(names), {"first", "second"})


class Mistakes(TlsCase):
    def check(self, *options, listen=BOTH):
        return run("config", "check", *listen, *options)

    def test_are_named_by_check_and_at_the_start(self):
        self.authority.issue("old", begins=-9, ends=-1)
        self.authority.issue("future", begins=2)
        first = self.authority.path("first.key")
        shared = self.authority.path("shared.key")
        shutil.copy(first, shared)
        os.chmod(shared, 0o604)
        absent = self.authority.path("absent")
        for options, text in {
                (): "TLS needs a certificate; allowed: set tls_certificate and tls_key",
                ("--tls-key", first): 'tls_certificate = "": tls_key is set and needs it',
                self.authority.options("old"): "it expired on 20",
                self.authority.options("future"): "it is not valid before 20",
                ("--tls-certificate", absent, "--tls-key", first): "No such file or directory",
                ("--tls-certificate", first, "--tls-key", first): "no certificate in PEM in it",
                ("--tls-certificate", self.authority.path("first.pem"), "--tls-key", shared):
                    "other users may read it",
                ("--tls-certificate", self.authority.path("second.pem"), "--tls-key", first):
                    "it does not belong to tls_certificate",
        }.items():
            with self.subTest(text=text):
                for result in self.check(*options), run("serve", *BOTH, *options):
                    self.assertEqual(result.returncode, 2, result.stderr)
                    self.assertIn(text, result.stderr)

    def test_that_are_near_are_warnings(self):
        self.authority.issue("short", ends=13)
        options = self.authority.options("short")
        checked = self.check(*options)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("warning: tls_certificate = ", checked.stderr)
        self.assertIn("it expires on 20", checked.stderr)
        server = self.serve(*options)
        server.await_log("it expires on 20")
        self.assertEqual(get(server.port, "/healthz", tls=self.tls).status, 200)
        server.send(signal.SIGHUP)
        server.await_log("no option has changed")
        self.assertEqual(server.log().count("it expires on 20"), 1, "once a day")

    def test_unused_certificates_are_warnings(self):
        checked = self.check(*self.authority.options("first"), listen=("--listen", "127.0.0.1:0"))
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("it is not used; write https://", checked.stderr)


class Installation(TlsCase):
    """The two libraries by which CivetWeb finds OpenSSL."""

    def test_without_its_libraries_starts_without_tls_only(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        program = shutil.copy(os.environ["WAYSTATION_BIN"], folder)
        with Program(program, "serve", "--www", "", "--listen", "127.0.0.1:0") as plain:
            self.assertRegex(plain.line(), "listening on http://")
        tls = subprocess.run([program, "serve", "--www", "", *BOTH, *self.authority.options("first")],
                             env=environment(), capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(tls.returncode, 1)
        self.assertRegex(tls.stderr, r"error TLS: CivetWeb needs a library that cannot be loaded: "
                                     r".*libcrypto\.so.*; install Waystation again")

    def test_loads_them_for_tls_only(self):
        def loaded(server):
            maps = pathlib.Path(f"/proc/{server.process.pid}/maps").read_text()
            return set(re.findall(r"/waystation/(lib(?:ssl|crypto)\.so)$", maps, re.MULTILINE))

        self.assertEqual(loaded(self.serve(listen=("--listen", "127.0.0.1:0"))), set())
        server = self.serve(*self.authority.options("first"))
        self.assertEqual(loaded(server), {"libssl.so", "libcrypto.so"})


if __name__ == "__main__":
    unittest.main()
