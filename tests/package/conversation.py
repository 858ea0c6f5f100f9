#!/usr/bin/env python3
"""A conversation with an installed server, by a third-party WebSocket client.

    conversation.py --url http://127.0.0.1:8080    with one that runs
    conversation.py --start /usr/bin/waystation     starts one and ends it again

Prints each result, and exits with 1 if one is wrong.
"""
import argparse
import asyncio
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import websockets

# The timeout of every wait, in seconds.
PATIENCE = 60


def connect(url, **options):
    return websockets.connect(url, open_timeout=PATIENCE, close_timeout=PATIENCE, **options)


async def hear(socket):
    return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))


async def hear_key(socket, key):
    """The next frame that has `key`; discards the others."""
    while True:
        frame = await hear(socket)
        if key in frame:
            return frame[key]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def expect(what, is_so):
    print(("ok      " if is_so else "FAILED  ") + what)
    if not is_so:
        sys.exit(1)


async def converse(base):
    sockets = base.replace("http", "ws", 1)
    chat = sockets + "/ws/chat/alice_bob/?user="

    async with connect(chat + "alice") as alice, connect(chat + "bob") as bob:
        await alice.send('{"message": {"n": 12345678901234567890}, "to_user": "bob"}')
        frame = await asyncio.wait_for(bob.recv(), PATIENCE)
        expect("a message arrives byte for byte", '{"n": 12345678901234567890}' in frame)
        expect("the sender receives it too", "message" in await hear(alice))

    async with connect(chat + "alice", subprotocols=["waystation.v1"]) as alice:
        async with connect(sockets + "/push/bob/") as bob:
            await alice.send('{"message": "are you there?", "id": "1"}')
            event = await hear_key(bob, "event")
            expect("an absent user gets a push fallback",
                   event == {"message": "are you there?", "group": "alice_bob"})
            ack = await hear_key(alice, "ack")
            expect("the sender gets the acknowledgement", (ack["route"], ack["reached"]) == ("push", 1))
        await alice.send('{"message": "still there?", "id": "2"}')
        ack = await hear_key(alice, "ack")
        expect("and is told that no socket received it", (ack["route"], ack["reached"]) == ("none", 0))

    status, body, headers = get(base + "/")
    expect("the page is served", status == 200 and b"<html" in body.lower())
    expect("with a policy for its content", "Content-Security-Policy" in headers)
    names = re.findall(rb'(?:src|href)="\.?/?(assets/[^"]+)"', body)
    expect("and all that it names", len(names) > 0 and all(
        get(f"{base}/{name.decode()}")[0] == 200 for name in names))
    status, body, _ = get(base + "/healthz")
    expect("it says that it is well", status == 200 and isinstance(json.loads(body), dict))
    status, body, _ = get(base + "/ws/chat/bob_alice/?user=bob")
    expect("a wrong group name is refused with the canonical one",
           status == 400 and b"alice_bob" in body)
    status, body, headers = get(base + "/metrics")
    expect("it can be measured", status == 200
           and headers["Content-Type"].startswith("text/plain; version=0.0.4"))
    figures = dict(line.rsplit(" ", 1) for line in body.decode().splitlines()
                   if not line.startswith("#"))

    def at_least(number, name):
        expect(name, float(figures.get(name, "-1")) >= number)

    at_least(1, 'waystation_messages_total{route="chat"}')
    at_least(1, 'waystation_messages_total{route="push"}')
    at_least(1, 'waystation_messages_total{route="none"}')
    at_least(1, 'waystation_upgrades_refused_total{code="bad_group"}')
    at_least(4, "waystation_upgrades_accepted_total")
    at_least(0, "waystation_queue_bytes")
    at_least(0, 'waystation_deliveries_dropped_total{reason="slow"}')
    at_least(0, 'waystation_http_refused_total{code="unauthenticated"}')
    at_least(0, 'waystation_errors_sent_total{code="bad_json"}')
    at_least(1e9, "process_start_time_seconds")
    again = get(base + "/metrics")[1].decode()
    started = "process_start_time_seconds " + figures["process_start_time_seconds"]
    expect("it started once, however often that is asked", started in again.splitlines())
    expect("and its figures have no name of a user", b"alice" not in body)


def main():
    parser = argparse.ArgumentParser()
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--url")
    which.add_argument("--start")
    arguments = parser.parse_args()
    if arguments.url:
        asyncio.run(converse(arguments.url.rstrip("/")))
        return
    with subprocess.Popen([arguments.start, "serve", "--listen", "127.0.0.1:0"],
                          stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            found = re.search(r"http://[0-9.]+:[0-9]+", line)
            expect("it prints its address", found is not None)
            asyncio.run(converse(found.group()))
        finally:
            server.terminate()
        expect("it exits with code 0 after the signal", server.wait(PATIENCE) == 0)


main()
