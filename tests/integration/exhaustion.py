"""Ends a server that has no free resources, for tests as root and as any user."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3

from harness import close_code, connect, receive_json

UNDELIVERED = 20
USERS = 8


async def end_in_order(case, server, audit, exhaust):
    """Opens sockets and sends undelivered messages. `exhaust()` takes the remaining resources, more
    undelivered messages follow, then SIGTERM. Expects close code 1001, exit code 0 and every
    audit row."""
    pushes = [await connect(server, f"/push/user{n}/", f"user{n}") for n in range(USERS)]
    alice = await connect(server, "/ws/chat/alice_bob/", "alice", v1=True)
    await receive_json(alice)

    async def speak(first):
        for n in range(first, first + UNDELIVERED):
            await alice.send(json.dumps({"message": n, "id": str(n)}))
        for n in range(first, first + UNDELIVERED):
            case.assertEqual((await receive_json(alice))["ack"]["route"], "none")

    await speak(0)
    exhaust()
    await speak(UNDELIVERED)
    server.signal(signal.SIGTERM)
    codes = [await close_code(ws) for ws in (alice, *pushes)]
    case.assertEqual(codes, [1001] * len(codes), server.errors())
    case.assertEqual(await asyncio.to_thread(server.wait), 0, server.errors())
    with contextlib.closing(sqlite3.connect(audit)) as database:
        rows = {name for (name,) in database.execute("SELECT message_id FROM deliveries")}
    case.assertEqual(rows, {str(n) for n in range(2 * UNDELIVERED)})


def address_space(pid):
    """The bytes of this resource that the process uses."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as sizes:
        return int(sizes.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
