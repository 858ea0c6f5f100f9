"""The static files as the server sends them."""

import gzip
import pathlib
import signal
import tempfile
import unittest

from support import Response, Server, connection, get, handshake, raw, request, until


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.www = pathlib.Path(cls.folder.name) / "www"
        (cls.www / "assets").mkdir(parents=True)
        (cls.www.parent / "secret").write_text("secret")
        (cls.www / "index.html").write_text("<!doctype html><p>hello</p>")
        (cls.www / "index.html.gz").write_bytes(gzip.compress(b"<!doctype html><p>hello</p>"))
        (cls.www / "assets" / "app-Bx3_k2d1.js").write_text("console.log(1)\n")
        (cls.www / "large.bin").write_bytes(bytes(range(256)) * 16384)
        (cls.www / "away").symlink_to(cls.www.parent / "secret")
        cls.server = Server("--www", str(cls.www))
        cls.port = cls.server.port

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        cls.folder.cleanup()

    def test_sends_the_page(self):
        response = get(self.port, "/")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.body, b"<!doctype html><p>hello</p>")
        self.assertEqual(response.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(response.headers["Cache-Control"], "no-cache")
        self.assertRegex(response.headers["Date"],
                         r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")

    def test_sends_security_headers(self):
        for response in (get(self.port, "/"), get(self.port, "/none")):
            policy = response.headers["Content-Security-Policy"]
            self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; "), policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(response.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(response.headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(response.headers["Cross-Origin-Opener-Policy"], "same-origin")
            self.assertIsNone(response.headers["Access-Control-Allow-Origin"])

    def test_sends_large_files_completely(self):
        self.assertEqual(get(self.port, "/large.bin").body, bytes(range(256)) * 16384)

    def test_answers_304_to_a_matching_tag(self):
        etag = get(self.port, "/").headers["ETag"]
        response = get(self.port, "/", If_None_Match=etag)
        self.assertEqual((response.status, response.body), (304, b""))
        self.assertEqual(response.headers["ETag"], etag)

    def test_sends_the_compressed_copy(self):
        response = get(self.port, "/", Accept_Encoding="br, gzip;q=0.8")
        self.assertEqual(response.headers["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(response.body), b"<!doctype html><p>hello</p>")
        self.assertEqual(response.headers["Vary"], "Accept-Encoding")
        response = get(self.port, "/", Accept_Encoding="gzip;q=0")
        self.assertIsNone(response.headers["Content-Encoding"])

    def test_marks_hashed_files_immutable(self):
        response = get(self.port, "/assets/app-Bx3_k2d1.js?v=1")
        self.assertEqual(response.body, b"console.log(1)\n")
        self.assertEqual(response.headers["Content-Type"], "text/javascript; charset=utf-8")
        self.assertIn("immutable", response.headers["Cache-Control"])

    def test_head_has_no_body_and_keeps_the_connection(self):
        with connection(self.port) as link:
            link.request("HEAD", "/")
            head = Response(link.getresponse())
            socket = link.sock
            link.request("GET", "/")
            whole = Response(link.getresponse())
            self.assertIs(link.sock, socket)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], str(len(whole.body)))
        self.assertEqual(head.headers["ETag"], whole.headers["ETag"])

    def test_refuses_paths_outside_the_folder(self):
        for path in ("/../secret", "/..%2fsecret", "/%2e%2e/secret", "/assets/../../secret",
                     "/away", "//etc/passwd", "/assets/", "/assets", "/.", "/..", "/index.html%00",
                     "/index.html/", "/INDEX.HTML", "/index.html.gz", "/%", "/?/../secret/x"):
            response = get(self.port, path)
            if path.startswith("/?"):
                self.assertEqual(response.status, 200)
                continue
            self.assertEqual(response.status, 404, path)
            self.assertNotIn(b"secret", response.body)

    def test_sends_errors_as_json_and_as_pages(self):
        self.assertEqual(get(self.port, "/none").code, "not_found")
        page = get(self.port, "/none", Accept="text/html")
        self.assertEqual(page.headers["Content-Type"], "text/html; charset=utf-8")

    def test_refuses_other_methods(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            response = request(self.port, method, "/")
            self.assertEqual(response.status, 405, method)
            self.assertEqual(response.headers["Allow"], "GET, HEAD")

    def test_ignores_request_bodies(self):
        # The body never arrives, and the server does not wait for it.
        answer = raw(self.port, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), answer)
        self.assertIn(b"Connection: close\r\n", answer)
        answer = raw(self.port,
                     "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_answers_the_absolute_form(self):
        answer = raw(self.port, f"GET http://127.0.0.1:{self.port}/ HTTP/1.1\r\n"
                                f"Host: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_answers_http_1_0_and_closes(self):
        answer = raw(self.port, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertTrue(answer.endswith(b"<p>hello</p>"))

    def test_answers_non_http_with_a_status_line(self):
        for text in ("hello\r\n\r\n", "GET nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
                     "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
                     "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 20000 + "\r\n\r\n"):
            answer = raw(self.port, text)
            self.assertRegex(answer, rb"^HTTP/1\.1 [45]\d\d [A-Z]", text[:40])
            self.assertIn(b'{"error":{"code":"', answer)

    def test_answers_an_upgrade_for_no_route_with_a_status_line(self):
        for lines in ((), ("Sec-WebSocket-Version: 13",), ("X: y",)):
            answer = raw(self.port, handshake("/none", *lines))
            self.assertTrue(answer.startswith(b"HTTP/1.1 404 Not Found\r\n"), answer)
            self.assertIn(b'"code":"not_found"', answer)

    def test_refuses_foreign_hosts_and_origins(self):
        own = f"http://127.0.0.1:{self.port}"
        self.assertEqual(get(self.port, "/", Origin=own).status, 200)
        for path in ("/", "/none", "/assets/app-Bx3_k2d1.js"):
            for code, headers in (("bad_host", {"Host": "elsewhere.example"}),
                                  ("bad_host", {"Host": f"elsewhere.example:{self.port}"}),
                                  ("bad_origin", {"Origin": "http://elsewhere.example"}),
                                  ("bad_origin", {"Origin": "null"})):
                response = get(self.port, path, **headers)
                self.assertEqual((response.status, response.code), (403, code), (path, headers))
                self.assertIsNone(response.headers["Access-Control-Allow-Origin"])
        with connection(self.port) as link:
            link.request("HEAD", "/", headers={"Host": "elsewhere.example"})
            response = Response(link.getresponse())
            self.assertEqual((response.status, response.body), (403, b""))
        self.assertEqual(get(self.port, "/metrics", Host="elsewhere.example").status, 403)
        # Optional in HTTP/1.0; a browser always sends it.
        self.assertTrue(raw(self.port, "GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 "))

    def test_answers_no_preflight_with_a_star(self):
        response = request(self.port, "OPTIONS", "/api/v1/push/alice",
                           {"Origin": "http://elsewhere.example",
                            "Access-Control-Request-Method": "POST"})
        self.assertNotIn("*", response.headers.get("Access-Control-Allow-Origin", ""))
        self.assertIsNone(response.headers["Access-Control-Allow-Methods"])

    def test_sighup_reads_the_folder_again(self):
        (self.www / "late.txt").write_text("late")
        self.assertEqual(get(self.port, "/late.txt").status, 404)
        self.server.send(signal.SIGHUP)
        until(lambda: get(self.port, "/late.txt").status == 200, "the new file")

    def test_a_reload_without_the_folder_keeps_the_page(self):
        with tempfile.TemporaryDirectory() as folder:
            page, file = pathlib.Path(folder) / "page", pathlib.Path(folder) / "site.toml"
            page.mkdir()
            (page / "index.html").write_text("first")
            file.write_text(f"www = '{page}'\nmax_connections_per_user = 2\n")
            with Server("--config", str(file)) as server:
                # A build replaces the folder.
                page.rename(page.with_name("old"))
                file.write_text(f"www = '{page}'\nmax_connections_per_user = 3\n")
                server.send(signal.SIGHUP)
                server.await_log(f'SIGHUP: the page was not changed: www = "{page}" cannot be served: ')
                self.assertIn("max_connections_per_user: 2 becomes 3", server.log())
                response = get(server.port, "/")
                self.assertEqual((response.status, response.body), (200, b"first"))

                # The option keeps its value too, so that a later reload shows the change.
                file.write_text(f"www = '{page}-of-tomorrow'\n")
                server.send(signal.SIGHUP)
                server.await_log("-of-tomorrow\" cannot be served: ")
                self.assertNotIn("www: ", server.log().split("SIGHUP", 1)[1])
                page.with_name("old").rename(page.with_name("page-of-tomorrow"))
                (page.with_name("page-of-tomorrow") / "index.html").write_text("second")
                server.send(signal.SIGHUP)
                server.await_log(f'www: "{page}" becomes "{page}-of-tomorrow"')
                until(lambda: get(server.port, "/").body == b"second", "the new page")


if __name__ == "__main__":
    unittest.main()
