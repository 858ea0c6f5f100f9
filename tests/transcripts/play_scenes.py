"""Plays the scenes of this folder against the real server: one test for each scene."""

import asyncio
import json
import pathlib
import re
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from harness import (PATIENCE, AsyncCase, Server, close_code,  # noqa: E402
                     connect_after_release, refusal, round_trip, until)


class Scene:
    """A scene of a file."""

    def __init__(self, file, heading, player):
        self.file, self.heading, self.player = file, heading, player
        self.lines = []

    def name(self):
        words = re.sub(r"[^a-z0-9 ]", "", self.heading.lower()).split()
        return f"test_{self.file.stem}_{'_'.join(words)}"


def read_scenes():
    scenes = []
    for file in sorted(HERE.glob("*.md")):
        if file.name == "README.md":
            continue
        heading, scene, in_fence = "", None, False
        for line in file.read_text().splitlines():
            if line.startswith("```"):
                info = line[3:].split()
                scene = None
                if not in_fence and info[:1] == ["scene"]:
                    scene = Scene(file, heading, " ".join(info[1:]))
                    scenes.append(scene)
                in_fence = not in_fence
            elif scene is not None:
                if line and not line.startswith("#"):
                    scene.lines.append(line)
            elif not in_fence and line.startswith("#"):
                heading = line.lstrip("# ")
    return scenes


def members(text):
    """The members of a JSON object as (name, text of the value); None if it is not an object."""
    decoder = json.JSONDecoder()
    space = re.compile(r"[ \t\r\n]*")
    at = space.match(text).end()
    if text[at:at + 1] != "{":
        return None
    at = space.match(text, at + 1).end()
    result = []
    while text[at:at + 1] != "}":
        name, at = decoder.raw_decode(text, at)
        at = space.match(text, at).end()
        assert text[at] == ":"
        at = space.match(text, at + 1).end()
        _, end = decoder.raw_decode(text, at)
        result.append((name, text[at:end]))
        at = space.match(text, end).end()
        if text[at] == ",":
            at = space.match(text, at + 1).end()
    assert text[at + 1:].strip() == ""
    return result


def is_expected(expected, got):
    """True if a frame matches the expectation of a scene, by the rules of README.md."""
    if expected in ('"…"', got):
        return True
    expected, got = members(expected), members(got)
    if expected is None or got is None or len(expected) != len(got):
        return False
    got = dict(got)
    for name, value in expected:
        if name not in got:
            return False
        if name in ("message", "signal"):
            if value != got[name]:
                return False
        elif not is_expected(value, got[name]):
            return False
    return True


class Player(AsyncCase):
    """Plays scenes. Scenes without options share one server."""

    servers = {}
    folders = []

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers.values():
            server.__exit__(None)
        cls.servers.clear()
        while cls.folders:
            cls.folders.pop().cleanup()

    @classmethod
    def in_folder(cls, options):
        """The options of a server, with a temporary folder of its own in place of FOLDER."""
        if not any("FOLDER" in option for option in options):
            return options
        cls.folders.append(tempfile.TemporaryDirectory(prefix="waystation-scenes-"))
        return [option.replace("FOLDER", cls.folders[-1].name) for option in options]

    async def play(self, scene):
        options = ()
        lines = scene.lines
        if lines[0].startswith("with "):
            options = tuple(lines[0].split()[1:])
            lines = lines[1:]
        if "--messages-per-second" in options:
            return await self.play_within_a_second(options, lines)
        if options not in self.servers:
            self.servers[options] = Server(*self.in_folder(options)).__enter__()
        self.server = self.servers[options]
        return await self.play_lines(lines)

    async def play_within_a_second(self, options, lines):
        """Plays a scene that must end before the rate limit refills. If the machine was too slow for
        that, the scene is played again."""
        for left in reversed(range(10)):
            with Server(*options) as self.server:
                started = time.monotonic()
                try:
                    return await self.play_lines(lines)
                except AssertionError:
                    if left == 0 or time.monotonic() - started < 1:
                        raise

    async def play_lines(self, lines):
        self.sockets = {}
        for line in lines:
            try:
                await self.step(line)
            except Exception as problem:
                raise AssertionError(f"at `{line}`: {problem!r}") from problem
        for ws in self.sockets.values():
            if ws.open:
                await round_trip(ws)
        for name, ws in self.sockets.items():
            self.assertEqual(list(ws.messages), [], f"{name} got what the scene does not expect")
        for ws in self.sockets.values():
            await ws.close()

    async def step(self, line):
        subject, verb, rest = (line.split(" ", 2) + [""])[:3]
        if subject == "the":
            return await self.application(rest)
        if verb == "opens":
            self.assertFalse(subject in self.sockets and self.sockets[subject].open)
            path, user, options = self.connection(subject, rest)
            self.sockets[subject] = await connect_after_release(
                self.server, path, user, **options)
            wanted = options.get("subprotocols")
            self.assertEqual(self.sockets[subject].subprotocol, wanted[0] if wanted else None)
            return None
        if verb == "is" and rest.startswith("refused "):
            asked, answer = rest.removeprefix("refused ").split(" with ")
            path, user, options = self.connection(subject, asked)
            status, code = answer.split(" ")
            self.assertEqual(await refusal(self.server, path, user, **options),
                             (int(status), code))
            return None
        ws = self.sockets[subject]
        if verb == ">":
            if '"missed"' in rest:
                # A disk that needs more than a second would leave rows out of the answer.
                await until(self.is_audit_written, "all rows are written", 5 * PATIENCE)
            await ws.send(rest)
        elif verb == "<":
            got = await asyncio.wait_for(ws.recv(), PATIENCE)
            expected = rest.replace("…", '"…"')
            self.assertTrue(is_expected(expected, got), f"got {got}")
        elif verb == "receives":
            # Another socket may have sent a frame for this one before.
            for other in [*self.sockets.values(), ws]:
                if other.open:
                    await round_trip(other)
            self.assertEqual(list(ws.messages), [])
        elif verb == "closes":
            await round_trip(ws)
            self.assertEqual(list(ws.messages), [])
            await ws.close()
            self.assertEqual(ws.close_code, 1000)
        elif verb == "sends":
            kind, data = rest.split(" ", 1)
            if kind == "binary":
                await ws.send(bytes.fromhex(data))
            else:
                self.assertEqual(kind, "bytes")
                ws.transport.write(bytes.fromhex(data))
        elif verb == "is":
            self.assertEqual(await close_code(ws), int(rest.removeprefix("closed with ")))
        else:
            self.fail(f"there is no verb {verb}")
        return None

    def is_audit_written(self):
        return json.loads(self.server.http("GET", "/healthz")[2])["audit_rows_waiting"] == 0

    def connection(self, subject, words):
        """Path, user and options of connect() for the words after `opens`."""
        path, *words = words.split(" ")
        user = subject.split(".")[0]
        if words[:1] == ["anonymously"]:
            user, words = None, words[1:]
        options = {}
        if words[:1] == ["as"]:
            options["subprotocols"] = [words[1]]
        return path, user, options

    async def application(self, words):
        # Frames that were sent before come first.
        for ws in self.sockets.values():
            if ws.open:
                await round_trip(ws)
        verb, rest = words.split(" ", 1)
        if verb == "pushes":
            value, user, count = re.fullmatch(r"(.*) to (\w+), reaching (\d+)", rest).groups()
            reached = await asyncio.to_thread(self.server.push, user, value.encode())
            self.assertEqual(reached, int(count))
        elif verb == "finds":
            user, count, groups = re.fullmatch(r"(\w+) with (\d+) push sockets, in (.*)",
                                               rest).groups()
            groups = [] if groups == "no group" else groups.split(" ")
            found = await asyncio.to_thread(self.server.presence, user)
            self.assertEqual(found, {"user": user, "push": int(count), "groups": groups})
        elif verb == "ends":
            user, count = re.fullmatch(r"(\w+), closing (\d+)", rest).groups()
            status, _, body = await asyncio.to_thread(self.server.http, "DELETE",
                                                      f"/api/v1/sessions/{user}")
            self.assertEqual((status, json.loads(body)), (200, {"closed": int(count)}))
        else:
            self.fail(f"the application cannot {verb}")


def add_tests():
    for scene in read_scenes():
        if scene.player == "router":
            continue

        async def test(self, scene=scene):
            await self.play(scene)

        assert not hasattr(Player, scene.name()), scene.name()
        setattr(Player, scene.name(), test)


add_tests()

if __name__ == "__main__":
    unittest.main()
