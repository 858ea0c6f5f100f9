"""What a user missed: over a push socket, over HTTP, and from the command line."""

import asyncio
import base64
import itertools
import json
import os
import time
import unittest

from support import (CHAT, PATIENCE, Case, Server, alice, connect, health, held_by_another_process, receive_json,
                     round_trip, scaled, send, until, wait_for_state, wait_until_written)
from test_jwt import sign


async def question(push, **fields):
    """Asks on a push socket, and returns the answer or the error."""
    await push.send(json.dumps({"missed": fields, "id": "q"}))
    frame = await receive_json(push)
    if "error" in frame:
        assert frame["error"]["id"] == "q", frame
        return frame["error"]["code"]
    return frame["missed"]


async def complete_answer(ask):
    """The first complete answer of `ask()`. The server waits one second for the disk, and one for a
    query: after an answer that took as long, the question is asked again."""
    deadline = time.monotonic() + 5 * PATIENCE
    while True:
        asked = time.monotonic()
        answer = await ask()
        if isinstance(answer, dict) and answer["complete"]:
            return answer
        assert isinstance(answer, dict) or answer == "timeout", answer
        now = time.monotonic()
        assert asked + 1 <= now < deadline, f"incomplete after {now - asked} s: {answer}"


def bob(server):
    return connect(server, "/push/bob/", v1=True, max_queue=None)


class Missed(Case):
    def http(self, server, query, token=None):
        """The status and the answer, or the code of the refusal."""
        headers = {"Authorization": "Bearer " + token} if token else {}
        status, _, body = server.http("GET", "/api/v1/missed" + query, headers=headers)
        body = json.loads(body)
        return status, body["missed"] if status == 200 else body["error"]["code"]

    async def ask(self, server, query):
        """Like question, over HTTP."""
        return self.http(server, query)[1]

    async def test_a_user_who_comes_back_learns_who_tried(self):
        with self.server() as server:
            await wait_for_state(server, "ok")  # while it starts, no answer is complete
            async with alice(server) as ws:
                acks = await send(ws, 1, 3)
            self.assertEqual({ack["route"] for ack in acks}, {"none"})
            server.http("POST", "/api/v1/push/bob", '"notice"', {"Content-Type": "application/json"})
            async with bob(server) as push:
                first = await complete_answer(lambda: question(push, since=acks[0]["at"]))
                self.assertEqual(first["from"], [{"user": "alice", "count": 3,
                                                  "first": acks[0]["at"], "last": acks[2]["at"]}])
                self.assertEqual(first["notifications"], 1)
                nothing = await complete_answer(lambda: question(push, after=first["next"]))
                self.assertEqual((nothing["from"], nothing["notifications"]), ([], 0))
                # Over HTTP the same.
                answer = await complete_answer(
                    lambda: self.ask(server, f"?user=bob&since={acks[0]['at']}"))
                self.assertEqual(answer["from"], first["from"])
                answer = await complete_answer(
                    lambda: self.ask(server, f"?user=bob&after={first['next']}"))
                self.assertEqual(answer["from"], [])
                # Before the first run of the server nothing is known.
                self.assertIs((await question(push, since=0))["complete"], False)

    async def lose(self, server, devices, keep):
        """Alice writes to push sockets of bob, all of which but `keep` break off with messages on
        their way. Returns the ids whose drops were counted on every socket that broke off."""
        stalled = [await bob(server) for _ in range(devices - keep)]
        reading = [await bob(server) for _ in range(keep)]
        for push in stalled:
            push.transport.pause_reading()
        async with alice(server) as ws:
            count = 0
            while health(server)["queued_bytes"] < 100_000 * len(stalled):
                for n in range(count, count + 20):
                    await ws.send(json.dumps({"message": "x" * 20_000, "id": f"m{n}"}))
                count += 20
                await round_trip(ws)
                for push in reading:
                    await round_trip(push)
        for push in stalled:
            push.transport.abort()
        await until(lambda: server.presence("bob")["push"] == keep, "the others are gone")
        for push in reading:
            await push.close()

    async def test_a_message_that_every_socket_lost_is_missed_and_one_that_arrived_is_not(self):
        for devices, keep in ((1, 0), (2, 0), (2, 1)):
            with self.subTest(devices=devices, keep=keep), self.server() as server:
                before = int(time.time() * 1000)
                await wait_for_state(server, "ok")
                await self.lose(server, devices, keep)
                dropped = health(server)["deliveries_dropped"]
                self.assertGreater(dropped, 0)
                async with bob(server) as push:
                    answer = await complete_answer(lambda: question(push, since=before))
                rows = self.query("SELECT message_id FROM deliveries WHERE outcome = 'dropped' AND at >= ? "
                                  "GROUP BY message_id HAVING count(*) = ?", before, devices)
                if keep:
                    self.assertEqual(answer["from"], [])
                else:
                    self.assertGreater(len(rows), 0)
                    self.assertEqual(answer["from"][0]["count"], len(rows))
            os.remove(self.file)

    async def test_without_an_audit_there_is_no_answer(self):
        with Server() as server:
            async with bob(server) as push:
                self.assertEqual(await question(push, since=0), "audit_off")
            self.assertEqual(self.http(server, "?user=bob&since=0"), (404, "audit_off"))

    async def test_a_user_asks_for_themselves_only(self):
        key = os.urandom(32)
        keys = os.path.join(self.folder, "keys")
        with open(os.open(keys, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(base64.b64encode(key).decode() + "\n")
        with self.server("--auth", "jwt", "--jwt-key-file", keys) as server:
            token = sign(key, "alice")
            async with connect(server, CHAT, v1=True,
                               extra_headers={"Authorization": "Bearer " + token}) as ws:
                await receive_json(ws)
                await ws.send('{"message": 1}')
                await receive_json(ws)
            await wait_until_written(server)
            own = sign(key, "bob")  # without a scope
            self.assertEqual(self.http(server, "?since=0", own)[1]["from"][0]["user"], "alice")
            self.assertEqual(self.http(server, "?since=0", token)[1]["from"], [])
            for admin in (own, sign(key, "carol", scope="admin push")):
                self.assertEqual(self.http(server, "?user=bob&since=0", admin), (400, "bad_query"))
            self.assertEqual(self.http(server, "?since=0"), (401, "unauthenticated"))
            nobody = sign(key, None, scope="admin")
            self.assertEqual(self.http(server, "?since=0", nobody), (403, "bad_subject"))

    async def test_wrong_questions_over_http(self):
        with self.server() as server:
            for query in ("", "?since=0", "?user=bob", "?user=bob&since=x", "?user=bob&since=-1",
                          "?user=bob&since=9007199254740992", "?user=bob&after=1",
                          "?user=bob&since=0&after=1-2-3-host", "?user=Bob&since=0",
                          "?user=bob&since=0&since=1", "?user=bob&until=0"):
                self.assertEqual(self.http(server, query), (400, "bad_query"), query)
            # A cursor of another server counts by its time.
            self.assertEqual(self.http(server, "?user=bob&after=0-5-7-elsewhere")[0], 200)

    async def test_many_questions_leave_the_chat_alone(self):
        with self.server("--max-connections-per-user", "100") as server:
            async with alice(server) as ws:
                await receive_json(ws)
                await send(ws, 1, 1)
                await wait_until_written(server)
                pushes = [await bob(server) for _ in range(20)]
                for push in pushes:
                    for _ in range(scaled(50, 10)):
                        await push.send('{"missed": {"since": 0}}')
                # While all of them ask, messages pass. None of them waits for a question.
                async with connect(server, CHAT, "bob", v1=True) as other:
                    await receive_json(other)
                    for n in range(100):
                        await ws.send(json.dumps({"message": n}))
                        while (frame := await receive_json(other)).get("message") != n:
                            self.assertNotIn("missed", frame)
                codes = set()
                answers = 0
                for push in pushes:
                    for _ in range(scaled(50, 10)):
                        frame = await receive_json(push)
                        if "missed" in frame:
                            answers += 1
                            self.assertEqual(frame["missed"]["from"][0]["count"], 1)
                        else:
                            codes.add(frame["error"]["code"])
                    await push.close()
                self.assertGreater(answers, 0)
                self.assertIn("audit_busy", codes)
                self.assertLessEqual(codes, {"audit_busy", "timeout"})

    async def test_questions_count_against_the_message_rate(self):
        with Server("--audit-file", self.file, "--messages-per-second", "1",
                    "--message-burst", "2") as server:
            # The bucket of each user is full at first. It refills by one in a second; a question may
            # come later than that.
            deadline = time.monotonic() + PATIENCE
            for user in map("bob{}".format, itertools.count()):
                codes = set()
                async with connect(server, f"/push/{user}/", v1=True, max_queue=None) as push:
                    for _ in range(20):
                        await push.send('{"missed": {"since": 0}}')
                    for _ in range(20):
                        codes.add((await receive_json(push)).get("error", {}).get("code"))
                        if "rate_limited" in codes:
                            break
                    status, headers, _ = server.http("GET", f"/api/v1/missed?user={user}&since=0")
                if status == 429 and "rate_limited" in codes:
                    break
                self.assertLess(time.monotonic(), deadline, (status, codes))
            self.assertEqual(headers["Retry-After"], "1")
            # The bucket was full: two of another user's questions are allowed.
            async with bob(server) as push:
                self.assertIsInstance(await question(push, since=0), dict)
            self.assertEqual(self.http(server, "?user=bob&since=0")[0], 200)

    async def test_an_audit_that_cannot_be_written_is_not_complete(self):
        with self.server() as server:
            async with alice(server) as ws, bob(server) as push:
                await receive_json(ws)
                await push.close()
                start = (await send(ws, 1, 1))[0]["at"]
                await wait_for_state(server, "ok")
                async with bob(server) as push:
                    await complete_answer(lambda: question(push, since=start))
                with held_by_another_process(self.file):
                    await send(ws, 2, 1)
                    await wait_for_state(server, "locked")
                    async with bob(server) as push:
                        answer = await question(push, since=start)
                    self.assertIs(answer["complete"], False)
                    self.assertEqual(answer["from"][0]["count"], 1)
                await wait_for_state(server, "ok")
                async with bob(server) as push:
                    answer = await complete_answer(lambda: question(push, since=start))
                self.assertEqual(answer["from"][0]["count"], 2)

    async def test_a_killed_server_leaves_a_gap(self):
        with self.server() as server:
            start = int(time.time() * 1000)
            async with bob(server) as push:
                next_ = (await question(push, since=start))["next"]
            server._process.kill()
            server._process.wait()
            server._process.returncode = 0  # as if it had ended normally
        with self.server() as server:
            async with bob(server) as push:
                self.assertIs((await question(push, after=next_))["complete"], False)

    async def test_a_question_during_the_end_of_the_server_is_answered_or_ends(self):
        with self.server() as server:
            pushes = [await connect(server, f"/push/u{n}/", v1=True) for n in range(50)]
            for push in pushes:
                await push.send('{"missed": {"since": 0}}')
        for push in pushes:
            await asyncio.wait_for(push.wait_closed(), 20)


if __name__ == "__main__":
    unittest.main()
