"""The command line, the configuration and their errors."""

import base64
import json
import os
import pathlib
import resource
import socket
import subprocess
import tempfile
import unittest

from support import PATIENCE, Server, environment, get, run


# 1024 bits.
WEAK_RSA = """-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCw0nHragt7/n8kewwb6sapEZKP
ipvZo8iICV+tkPyKeh9/btyNkshpiqZh2Gm8Qc8sHySFXSqSiVY8xjRyPps/M+kN
sJI6eaDwr3AGsdxv+9h6yqt103KrpeT0aOC/EHSn9lg5aUW+S/Gzje/+MsSbV7sH
IEXIsI3bZ2++BdcalQIDAQAB
-----END PUBLIC KEY-----"""


class CommandCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, text, name="site.toml"):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def assert_mistake(self, result, *words):
        """Expects exit code 2 and one line that contains the words."""
        self.assertEqual(result.returncode, 2, result)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("waystation: "), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)


class Commands(CommandCase):
    def test_prints_its_version(self):
        result = run("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"^waystation \d+\.\d+\.\d+\n$")

    def test_prints_help(self):
        for arguments in (["--help"], ["serve", "--help"], ["config", "show", "--help"]):
            result = run(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stderr, "")
        result = run("serve", "--help")
        self.assertIn("--max-connections", result.stdout)
        self.assertIn("open sockets of one user. 0: no limit. (default:", result.stdout)
        self.assertIn("--max-queue-bytes BYTES", result.stdout)
        self.assertIn("Usage: waystation serve", result.stdout)
        self.assertNotIn("--max_connections", result.stdout)
        self.assertNotIn("...", result.stdout)
        self.assertLessEqual(max(map(len, result.stdout.splitlines())), 100)
        self.assertIn("(default: 100)", run("audit", "list", "--help").stdout)

    def test_refuses_unknown_commands(self):
        self.assert_mistake(run())
        self.assert_mistake(run("config"))
        self.assert_mistake(run("dance"), "dance")
        self.assert_mistake(run("serve", "now"), "now")

    def test_names_the_missing_part_of_a_command(self):
        self.assert_mistake(run("config"), "waystation config check or waystation config show")
        self.assert_mistake(run("token"), "waystation token issue")

    def test_refuses_unknown_flags(self):
        self.assert_mistake(run("serve", "--colour", "red"), "--colour is not an option",
                            "waystation serve --help")
        self.assert_mistake(run("config", "check", "colour"), '"colour"',
                            "waystation config check --help")
        self.assert_mistake(run("serve", "--max-conections=5"), "--max-conections is not an option",
                            "did you mean --max-connections?")
        for arguments, listen in ((["--port", "9000"], "127.0.0.1:9000"),
                                  (["-p", "9000"], "127.0.0.1:9000"),
                                  (["--host=localhost"], "127.0.0.1:8080")):
            self.assert_mistake(run("serve", *arguments), f"did you mean --listen {listen}?")
        # An option, but of another command.
        self.assert_mistake(run("audit", "list", "--max-connections", "5"),
                            "--max-connections is not an option of waystation audit list",
                            "waystation audit list --help")

    def test_reports_all_unknown_arguments_with_the_other_mistakes(self):
        path = self.file("max_connections = 'many'\n")
        unknown = ("--colour is not an option of waystation config check; see waystation config check "
                   "--help", '"here" was not expected; see waystation config check --help',
                   "--max-conections is not an option of waystation config check; did you mean "
                   "--max-connections?")
        for command in (("config", "check"), ("serve",), ("config", "show")):
            result = run(*command, "--colour", "red", "here", "--config", path, "--max-conections=5",
                         "--ping-interval-seconds", "0", "--node-name", "a", "--node-name", "b")
            self.assertEqual(result.returncode, 2)
            lines = result.stderr.replace("waystation: ", "").splitlines()
            for line in unknown:
                self.assertIn(line.replace("config check", " ".join(command)), lines)
            self.assertEqual(len(lines), 6)
            self.assertIn("--node-name: given 2 times; allowed: once", lines)
            self.assertIn('max_connections = "many": ', result.stderr)
            self.assertIn("ping_interval_seconds = 0: out of range", result.stderr)

    def test_reports_an_unreadable_file_with_the_other_mistakes(self):
        for text, why in ((None, "No such file or directory"), ("www = [\n", ":1: not TOML: ")):
            path = self.file(text) if text else os.path.join(self.folder, "none.toml")
            result = run("config", "check", "--config", path, "--config", "b.toml", "--auth", "jwt",
                         "--max-connections", "many", "--prot", "80")
            self.assertEqual(result.returncode, 2)
            self.assertEqual(len(result.stderr.splitlines()), 4, result.stderr)
            for part in (path, why, "--config: given 2 times; allowed: once", "--prot is not",
                         'max_connections = "many": '):
                self.assertIn(part, result.stderr)

    def test_names_key_value_and_what_is_allowed(self):
        self.assert_mistake(run("serve", "--max-connections", "many"), "max_connections",
                            '"many"', "--max-connections", "0 to 10000000")
        self.assert_mistake(run("serve", "--max-connections", "-5"), '"-5"')
        self.assert_mistake(run("config", "check", "--log-level", "loud"), "log_level", '"loud"',
                            "error, warning, info or debug")
        self.assert_mistake(run("config", "check", "--listen", "localhost:80"), "listen", "a name",
                            '"localhost:80"', "127.0.0.1:8080")

    def test_names_file_and_line(self):
        path = self.file("log_level = 'info'\nmax_conections = 1\n")
        self.assert_mistake(run("config", "check", "--config", path), f"{path}:2:",
                            "max_conections", "did you mean max_connections?")
        path = self.file("\n\nmax_connections = 'many'\n")
        self.assert_mistake(run("serve", "--config", path), f"{path}:3", '"many"')
        self.assert_mistake(run("serve", "--config", self.file("listen = [\n")), "not TOML")
        self.assert_mistake(run("serve", "--config", str(self.folder / "none")), "cannot be read")

    def test_names_the_variable(self):
        env = environment(WAYSTATION_PING_INTERVAL_SECONDS="0")
        self.assert_mistake(run("config", "check", env=env), "ping_interval_seconds",
                            "WAYSTATION_PING_INTERVAL_SECONDS", "1 to 3600")

    def test_names_the_source_of_values_that_the_library_refuses(self):
        self.assert_mistake(run("config", "check", "--allowed-origins", "chat.example"),
                            "allowed_origins", "chat.example", "--allowed-origins")

    def test_limits_open_mode_to_loopback(self):
        for command in (["config", "check"], ["serve"]):
            self.assert_mistake(run(*command, "--listen", "0.0.0.0:0"), "listen", "0.0.0.0:0",
                                "allow_open_network")
        self.assertEqual(run("config", "check", "--listen", "0.0.0.0:0",
                             "--allow-open-network").returncode, 0)

    def test_refuses_to_trust_all_addresses(self):
        self.assert_mistake(run("config", "check", "--trusted-proxies", "10.0.0.1,0.0.0.0/0"),
                            "trusted_proxies", "0.0.0.0/0", "every address")
        # All addresses, in two halves.
        self.assert_mistake(run("config", "check", "--trusted-proxies", "0.0.0.0/1,128.0.0.0/1"),
                            "trusted_proxies", "every address")

    def test_refuses_queues_too_small_for_a_message(self):
        self.assert_mistake(run("config", "check", "--max-message-bytes", "2000000"),
                            "max_queue_bytes", "1048576", "at least")

    def test_reports_all_errors_at_once(self):
        path = self.file("max_connections = 'many'\nauth = 'jwt'\noperators = ['x', 'y']\nwhat = 1\n")
        env = environment(WAYSTATION_MESSAGE_BURST="0")
        for command in (["config", "check"], ["serve"]):
            result = run(*command, "--config", path, "--listen", "localhost:80", "--node-name",
                         "no name", env=env)
            self.assertEqual((result.returncode, result.stdout), (2, ""), result)
            lines = result.stderr.splitlines()
            for line, (start, end) in zip(lines, (
                    ('max_connections = "many": ', f"({path}:1)"),
                    ('operators = "x": ', f"({path}:3)"),
                    ('operators = "y": ', f"({path}:3)"),
                    (f"{path}:4: ", "lists the options"),
                    ('listen = "localhost:80": ', "(--listen)"),
                    ('jwt_key_file = "": ', "(default)"),
                    ("message_burst = 0: ", "(WAYSTATION_MESSAGE_BURST)"),
                    ('node_name = "no name": ', "(--node-name)")), strict=True):
                self.assertTrue(line.startswith("waystation: " + start), line)
                self.assertTrue(line.endswith(end), line)
                self.assertTrue("; allowed: " in line or "is not an option" in line, line)

    def test_reports_a_valid_configuration(self):
        result = run("config", "check", "--www", "")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, "waystation: the configuration is good\n")

    def test_warns_of_valid_but_suspicious_values(self):
        result = run("config", "check", env=environment(WAYSTATION_MAX_CONECTIONS="1"))
        self.assertEqual(result.returncode, 0)
        self.assertIn("warning: ", result.stderr)
        self.assertIn("did you mean WAYSTATION_MAX_CONNECTIONS?", result.stderr)

    def test_shows_values_with_their_sources(self):
        path = self.file("max_connections = 1\nmessage_burst = 2\nwww = 'file'\n")
        env = environment(WAYSTATION_MAX_CONNECTIONS="3", WAYSTATION_MESSAGE_BURST="4")
        result = run("config", "show", "--config", path, "--max-connections", "5", env=env)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("\nmax_connections = 5  # --max-connections\n", result.stdout)
        self.assertIn("\nmessage_burst = 4  # WAYSTATION_MESSAGE_BURST\n", result.stdout)
        self.assertIn(f'\nwww = "file"  # {path}:3\n', result.stdout)
        self.assertIn('\nauth = "open"  # default\n', result.stdout)

    def test_shows_a_file_with_the_same_meaning(self):
        first = run("config", "show", "--operators", "10.0.0.1,10.0.0.2", "--www", "", "--listen",
                    "127.0.0.1:1", "--listen", "127.0.0.2:2,127.0.0.3:3", "--allow-query-token")
        second = run("config", "show", "--config", self.file(first.stdout))
        strip = lambda text: [line.split("  # ")[0] for line in text.splitlines()]
        self.assertEqual(strip(first.stdout), strip(second.stdout))
        self.assertIn('listen = ["127.0.0.1:1", "127.0.0.2:2", "127.0.0.3:3"]', first.stdout)
        self.assertIn('www = ""', first.stdout)
        self.assertIn("allow_query_token = true", first.stdout)

    def test_accepts_flags_with_underscores_and_equals_signs(self):
        result = run("config", "show", "--max_connections=7", "--allow-open-network=true")
        self.assertIn("max_connections = 7  # --max-connections", result.stdout)
        self.assertIn("allow_open_network = true", result.stdout)

    def test_accepts_an_empty_value_in_both_forms(self):
        for arguments in (["--www="], ["--www", ""]):
            result = run("config", "show", *arguments, "--log-level", "debug")
            self.assertIn('\nwww = ""  # --www\n', result.stdout, result.stderr)
            self.assertIn('log_level = "debug"', result.stdout)
        self.assert_mistake(run("config", "show", "--max-connections="), "max_connections", '""')
        self.assert_mistake(run("config", "show", "--allow-open-network="))

    def test_shows_no_secret(self):
        key = self.file("very secret", "key")
        result = run("config", "show", "--auth", "jwt", "--jwt-key-file", key)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("very secret", result.stdout)

    def test_shows_no_key_that_stands_for_its_path(self):
        secret = base64.b64encode(bytes(range(32))).decode()
        pem = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"
        withheld = "jwt_key_file = (withheld: it may be a key)"
        token = ["token", "issue", "--user", "alice"]
        for key in (secret, f"2024-05:{secret}", f"# mine\n{secret}\n", pem):
            file = self.file(f"jwt_key_file = {json.dumps(key)}\n")
            for auth in ("jwt", "open"):
                for command in (["config", "check", "--auth", auth], ["serve", "--auth", auth],
                                ["config", "show", "--auth", auth], token):
                    for arguments, variables in ((["--jwt-key-file", key], {}),
                                                 (["--config", file], {}),
                                                 ([], {"WAYSTATION_JWT_KEY_FILE": key})):
                        result = run(*command, *arguments, env=environment(**variables))
                        shown = result.stdout + result.stderr
                        self.assertIn(withheld, shown.replace("\n# ", " "))
                        for line in (secret, secret[:16], "BEGIN"):
                            self.assertNotIn(line, shown)
                        self.assertEqual(result.returncode, 0 if "show" in command else 2, shown)

    def test_shows_no_key_of_the_door_that_stands_for_its_path(self):
        for key in ("00112233445566778899aabbccddeeff", base64.b64encode(b"k" * 18).decode(),
                    "correct horse battery staple"):
            file = self.file(f"handover_key_file = {json.dumps(key)}\n")
            for command in (["config", "check"], ["serve"], ["config", "show"]):
                for arguments, variables in ((["--handover-key-file", key], {}),
                                             (["--config", file], {}),
                                             ([], {"WAYSTATION_HANDOVER_KEY_FILE": key})):
                    result = run(*command, *arguments, env=environment(**variables))
                    shown = (result.stdout + result.stderr).replace("\n# ", " ")
                    self.assertIn("handover_key_file = (withheld: it may be a key): no such file, "
                                  "or a key", shown)
                    self.assertNotIn(key[:8], shown)
                    self.assertEqual(result.returncode, 0 if "show" in command else 2, shown)

    def test_names_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = run("serve", "--listen", f"127.0.0.1:0,127.0.0.1:{port}", "--log-level",
                         "error")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: Address already in use", result.stderr)

    def test_logs_in_its_format_why_it_cannot_serve(self):
        for options in (["--listen", "192.0.2.1:0", "--allow-open-network"],
                        ["--allowed-origins", "chat.example"]):
            with tempfile.TemporaryFile("w+") as journal:
                stream = os.fstat(journal.fileno())
                subprocess.run(
                    [os.environ["WAYSTATION_BIN"], "serve", *options, "--log-format", "json"],
                    stdout=subprocess.DEVNULL, stderr=journal, timeout=PATIENCE,
                    env=environment(JOURNAL_STREAM=f"{stream.st_dev}:{stream.st_ino}"))
                journal.seek(0)
                last = journal.readlines()[-1]
            self.assertTrue(last.startswith("<3>{"), last)
            event = json.loads(last.removeprefix("<3>"))
            self.assertEqual(event["level"], "error")
            self.assertIn(options[1], event["text"])

    def test_logs_a_warning_once(self):
        key = self.file(base64.b64encode(os.urandom(32)).decode() + "\n", "key")
        result = run("config", "check", "--allow-open-network", "--operators", "0.0.0.0/0",
                     "--jwt-key-file", key)
        self.assertEqual(result.returncode, 0, result.stderr)
        for option in ("allow_open_network", "operators", "jwt_key_file"):
            self.assertEqual(result.stderr.count(f"warning: {option} = "), 1, result.stderr)

    def test_names_an_address_that_does_not_exist(self):
        result = run("serve", "--listen", "192.0.2.1:0", "--allow-open-network", "--log-level",
                     "error")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot listen on 192.0.2.1:0: ", result.stderr)

    def test_listens_on_ipv6_or_gives_the_reason(self):
        result = run("config", "check", "--listen", "[::1]:0")
        if result.returncode != 0:
            self.assert_mistake(result, "listen", "[::1]:0", "without IPv6")

    def test_serves_with_options_from_the_environment(self):
        env = environment(WAYSTATION_LISTEN="127.0.0.1:0", WAYSTATION_WWW="")
        with Server(listen=(), env=env) as server:
            self.assertEqual(get(server.port, "/healthz").status, 200)

    def test_announces_each_listener_and_nothing_else(self):
        with Server("--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", listeners=2) as server:
            self.assertEqual([host for host, port in server.addresses],
                             ["127.0.0.1", "127.0.0.2"])
            self.assertNotEqual(server.addresses[0][1], 0)
            server.end()
            self.assertEqual(server.buffered + server.process.stdout.read(), b"")

    def test_explains_a_missing_page(self):
        with Server("--www", str(self.folder / "none")) as server:
            response = get(server.port, "/", Accept="text/html")
            self.assertEqual(response.status, 404)
            self.assertIn(b"npm run build", response.body)
            self.assertIn("npm run build", server.log())
            self.assertEqual(get(server.port, "/healthz").status, 200)

    def test_a_check_warns_of_a_missing_page(self):
        # The server starts without a page, so this is no mistake in the configuration.
        missing = str(self.folder / "none")
        result = run("config", "check", "--www", missing)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f'waystation: warning: www = "{missing}" cannot be served: ', result.stderr)
        self.assertEqual(run("config", "check", "--www", "").stderr, "")

    def test_reads_no_file_that_is_too_large_for_a_page(self):
        limit = 1 << 30
        with open(self.folder / "image", "wb") as file:
            file.truncate(3 * limit)
        result = subprocess.run(
            [os.environ["WAYSTATION_BIN"], "config", "check", "--www", str(self.folder)],
            capture_output=True, text=True, env=environment(), timeout=PATIENCE,
            # Sanitizers reserve terabytes of addresses.
            preexec_fn=None if os.environ.get("WAYSTATION_SANITIZED") else
            lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("holds more than 256 MiB", result.stderr)

    def test_a_check_finds_a_group_that_does_not_exist(self):
        door = str(self.folder / "door")
        for command in (("config", "check"), ("serve", "--listen", "127.0.0.1:0")):
            self.assert_mistake(
                run(*command, "--handover", door, "--handover-group", "no such group"),
                'handover_group = "no such group": there is no such group; allowed: ',
                "(--handover-group)")
        # A group that is not used: systemd makes the file of its socket.
        result = run("config", "check", "--handover", "fd:door", "--handover-group", "no such group")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_serves_no_page_if_www_is_empty(self):
        with Server("--www", "") as server:
            self.assertEqual(get(server.port, "/").status, 404)
            self.assertNotIn("error", server.log())

    def test_raises_its_limit_of_descriptors(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))  # the server's initial limit
        with Server() as server:
            limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
            line = next(l for l in limits.splitlines() if l.startswith("Max open files"))
            self.assertNotEqual(line.split()[3], "512")
            self.assertEqual(line.split()[3], line.split()[4])

    def test_warns_of_too_few_descriptors(self):
        with Server("--max-connections", "10000000") as server:
            # Some machines have that many.
            limit = int(pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
                        .split("Max open files")[1].split()[0])
            self.assertEqual(limit < 10_001_108, "max_connections = 10000000: more than" in server.log())


class KeyFiles(CommandCase):
    def test_refuses_keys_that_are_weak_or_that_others_may_read(self):
        good = base64.b64encode(os.urandom(32)).decode()
        for name, text, mode, word in (
                ("short", base64.b64encode(os.urandom(31)).decode(), 0o600, "32 bytes"),
                ("factored", WEAK_RSA, 0o600, "2048"),
                ("others", good, 0o604, "chmod 600"),
                ("written", good, 0o602, "chmod 600")):
            path = self.file(text + "\n", name)
            os.chmod(path, mode)
            options = ("--auth", "jwt", "--jwt-key-file", path)
            checked = run("config", "check", *options)
            self.assert_mistake(checked, "jwt_key_file", path, word, "--jwt-key-file")
            served = run("serve", "--listen", "127.0.0.1:0", *options)
            self.assertEqual((served.returncode, served.stdout), (2, ""), served)
            # The log line without its prefix.
            self.assertTrue(served.stderr.endswith(checked.stderr.split(": ", 1)[1]), served)
            self.assertNotIn(text.split("\n")[0], served.stderr + checked.stderr)
        path = self.file(good + "\n", "good")
        os.chmod(path, 0o600)
        result = run("config", "check", "--auth", "jwt", "--jwt-key-file", path)
        self.assertEqual(result.returncode, 0, result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, which owns the files")
    def test_root_accepts_keys_that_the_services_group_reads(self):
        key = self.file(base64.b64encode(os.urandom(32)).decode(), "keys")
        os.chown(key, 0, 4711)
        os.chmod(key, 0o640)
        checked = run("config", "check", "--auth", "jwt", "--jwt-key-file", key)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        os.chmod(key, 0o660)
        self.assert_mistake(run("config", "check", "--auth", "jwt", "--jwt-key-file", key),
                            "jwt_key_file", "chmod 600")


class Tokens(CommandCase):
    """`waystation token issue`."""

    def key_file(self):
        path = self.folder / "key"
        path.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        path.chmod(0o600)
        return str(path)

    def test_admits_its_user_only(self):
        key = self.key_file()
        issued = run("token", "issue", "--user", "alice", "--scope", "push", "--jwt-key-file", key)
        self.assertEqual((issued.returncode, issued.stderr), (0, ""))
        self.assertEqual(issued.stdout.count("\n"), 1)
        bearer = {"Authorization": "Bearer " + issued.stdout.strip()}
        with Server("--auth", "jwt", "--jwt-key-file", key) as server:
            def status(path, **headers):
                return get(server.port, path, **headers).status
            self.assertEqual(status("/push/alice/"), 401)
            self.assertEqual(status("/push/alice/", **bearer), 426)
            self.assertEqual(status("/push/bob/", **bearer), 403)
            self.assertEqual(status("/api/v1/presence/bob"), 401)
            self.assertEqual(status("/api/v1/presence/bob", **bearer), 200)
            self.assertEqual(status("/api/v1/audit", **bearer), 403)

    def test_expires_after_its_lifetime(self):
        issued = run("token", "issue", "--user", "alice", "--lifetime-seconds", "90",
                     "--jwt-key-file", self.key_file())
        claims = issued.stdout.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        self.assertEqual(claims["exp"] - claims["iat"], 90)
        self.assertEqual(claims["sub"], "alice")
        self.assertNotIn("scope", claims)

    def test_reads_the_key_of_the_configuration(self):
        path = self.file(f"jwt_key_file = '{self.key_file()}'\njwt_issuer = 'panel'\n")
        self.assertEqual(run("token", "issue", "--user", "a", "--config", path).returncode, 0)

    def test_reports_errors(self):
        key = self.key_file()
        self.assert_mistake(run("token"), "token issue")
        self.assert_mistake(run("token", "issue"), "--user")
        self.assert_mistake(run("token", "issue", "--user", "alice"), "jwt_key_file", "default")
        self.assert_mistake(run("token", "issue", "--user", "Alice", "--jwt-key-file", key),
                            '"Alice"', "0-9 and a-z")
        self.assert_mistake(run("token", "issue", "--user", "alice", "--jwt-key-file", key,
                                "--scope", "root"), "--scope", "root", "push or admin")
        self.assert_mistake(run("token", "issue", "--user", "alice", "--jwt-key-file", key,
                                "--key-id", "lost"), "lost")
        os.chmod(key, 0o644)
        self.assert_mistake(run("token", "issue", "--user", "alice", "--jwt-key-file", key),
                            "jwt_key_file", "chmod 600")


if __name__ == "__main__":
    unittest.main()
