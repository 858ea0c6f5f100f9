"""Fills an audit: talk.py PORT. One message to bob while he has a push socket, one while he has none, and
one of alice's own notifications."""
import asyncio
import json
import sys
import urllib.request

import websockets

PORT = sys.argv[1]


async def send(text):
    async with websockets.connect(f"ws://127.0.0.1:{PORT}/ws/chat/alice_bob/?user=alice", subprotocols=["waystation.v1"]) as alice:
        await alice.recv()  # presence
        await alice.send(json.dumps({"message": text, "id": text}))
        return json.loads(await alice.recv())["ack"]["route"]


async def main():
    async with websockets.connect(f"ws://127.0.0.1:{PORT}/push/bob/") as bob:
        assert await send("first") == "push"
        await bob.recv()
    while await send("second") != "none":  # until the server has seen that bob is gone
        await asyncio.sleep(0.02)
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/api/v1/push/alice", data=b'{"disk": "full"}',
                                     headers={"Content-Type": "application/json"})
    assert json.load(urllib.request.urlopen(request, timeout=10)) == {"reached": 0}


asyncio.run(main())
