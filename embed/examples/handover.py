#!/usr/bin/env python3
"""A web server of its own that hands WebSocket connections over to a running relay.

    waystation serve --handover /run/user/1000/door &
    python3 handover.py /run/user/1000/door 8081        # http://127.0.0.1:8081/

module/HANDOVER.md describes the messages. The connection costs this program nothing once the relay
has it. Python 3.9 or newer, and nothing else.
"""
import http.client
import socket
import struct
import sys
import threading

VERSION, ASK, GIVE, REFUSE, HERE = 1, 1, 2, 3, 4


def ask(door, peer, local_port, method, target, fields):
    """Asks the relay about a request. None: it takes the connection; else status, fields, body."""
    texts = [b"", peer[0].encode(), method, target, b"", b""]  # key, address, …, user, scopes
    message = struct.pack("!BBHBBHHHHHHHHH", VERSION, ASK, 0, 1, 1, peer[1], local_port,
                          *map(len, texts), len(fields)) + b"".join(texts)
    for name, value in fields:
        message += struct.pack("!HH", len(name), len(value)) + name + value
    door.sendall(message)
    answer = door.recv(16384)
    if answer[:2] == bytes((VERSION, GIVE)):
        return None
    if answer[:2] != bytes((VERSION, REFUSE)):
        return 502, [], b""
    status, code, count, body = struct.unpack_from("!HHHI", answer, 2)
    at, lines = 12 + code, []
    for _ in range(count):
        name, value = struct.unpack_from("!HH", answer, at)
        at += 4 + name + value
        lines.append(answer[at - name - value:at - value] + b": " + answer[at - value:at])
    return status, lines, answer[at:at + body]


def respond(client, status, lines, body):
    reason = http.client.responses.get(status, "Unknown")
    upgrade = b"Upgrade, " if any(line.startswith(b"Upgrade:") for line in lines) else b""
    head = [f"HTTP/1.1 {status} {reason}".encode(), *lines, b"Connection: " + upgrade + b"close",
            b"Content-Length: %d" % len(body)]
    client.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)


def serve(client, peer, door_path):
    with client, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        client.settimeout(5)
        door.settimeout(5)
        received = b""
        while b"\r\n\r\n" not in received and len(received) < 32768:
            data = client.recv(4096)
            if not data:
                return
            received += data
        head, _, early = received.partition(b"\r\n\r\n")
        request, *lines = head.split(b"\r\n")
        method, target, _ = request.split(b" ", 2)
        if not target.startswith((b"/ws/chat/", b"/push/")):
            return respond(client, 200, [b"Content-Type: text/plain"], b"Sockets: /ws/chat/, /push/\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        try:
            door.connect(door_path)
            refusal = ask(door, peer, client.getsockname()[1], method, target, fields)
            if refusal is None:
                here = struct.pack("!BBHI", VERSION, HERE, 0, len(early)) + early
                return socket.send_fds(door, [here], [client.fileno()])
        except OSError:
            refusal = 503, [b"Retry-After: 5"], b""
        respond(client, *refusal)


def main(door_path, port="0"):
    with socket.create_server(("127.0.0.1", int(port)), backlog=128) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        while True:
            client, peer = listener.accept()
            threading.Thread(target=serve, args=(client, peer, door_path), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
