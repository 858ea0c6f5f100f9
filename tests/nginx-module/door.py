"""A relay's door that misbehaves on demand.

It speaks the format of module/HANDOVER.md. A connection that it takes gets a 101 and then everything
back that it sends, byte for byte. The parameter `door` of the request target chooses another
behaviour; see `Door.answer`.
"""
import array
import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading

GIVE = struct.pack("!BBH", 1, 2, 0)
PUMPED = 1
PATIENCE = 60


class Ask:
    """A parsed ASK. Each read checks the lengths, so a wrong one ends in an error."""

    def __init__(self, message):
        (self.version, self.kind, self.flags, self.major, self.minor, self.port, self.server_port,
         key, address, method, target, user, scopes, fields) = struct.unpack_from(
            "!BBHBBHHHHHHHHH", message)
        assert (self.version, self.kind) == (1, 1), message[:24]
        self.rest = message[24:]
        self.key = self.take(key)
        self.address = self.take(address).decode()
        self.method = self.take(method).decode()
        self.target = self.take(target).decode("latin-1")
        self.user = self.take(user).decode()
        self.scopes = self.take(scopes).decode()
        self.fields = []
        for _ in range(fields):
            name, value = struct.unpack("!HH", self.take(4))
            self.fields.append((self.take(name).decode(), self.take(value).decode("latin-1")))
        assert not self.rest, self.rest

    def take(self, size):
        assert len(self.rest) >= size, "the message is too short"
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    @property
    def names_user(self):
        return bool(self.flags & 2)

    @property
    def is_tls(self):
        return bool(self.flags & 1)

    def field(self, name):
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)


def refuse(status=403, code="not_a_member", fields=(("Content-Type", "application/json"),),
           body=b'{"error": {"code": "not_a_member"}}'):
    """A REFUSE message."""
    message = struct.pack("!BBHHHI", 1, 3, status, len(code), len(fields), len(body)) + code.encode()
    for name, value in fields:
        message += struct.pack("!HH", len(name), len(value)) + name.encode() + value.encode()
    return message + body


class Door:
    """Listens at `path`. The lists and events of this object are for the tests to read."""

    def __init__(self, path, backlog=128):
        self.path = str(path)
        self.asks = []
        self.heres = []  # (flags, early bytes, socket)
        self.gone = []  # targets whose asker ended the exchange while it waited
        self.released = threading.Event()
        self.messages = {}  # answers of the test, by the value of `door`
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o666)
        self.listener.listen(backlog)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.accepting = threading.Event()
        self.accepting.set()
        self.closed = False
        self.thread.start()

    def accept(self):
        while not self.closed:
            self.accepting.wait()
            with contextlib.suppress(OSError):
                connection, _ = self.listener.accept()
                if self.closed:
                    connection.close()
                    return
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            connection.settimeout(PATIENCE)
            message = connection.recv(1 << 17)
            if not message:
                return
            ask = Ask(message)
            self.asks.append(ask)
            behaviour = ask.target.partition("door=")[2].partition("&")[0]
            answer = self.answer(behaviour, connection, ask)
            if answer is None:
                return
            try:
                connection.send(answer)
                if answer == GIVE:
                    self.take(connection, ask)
                else:
                    connection.recv(1)
            except (BrokenPipeError, ConnectionResetError):
                self.gone.append(ask.target)

    def answer(self, behaviour, connection, ask):
        if behaviour == "slow":  # answers when the test says so, unless the asker ends first
            poll = threading.Thread(target=self.released.wait, daemon=True)
            poll.start()
            connection.settimeout(0.01)
            while not self.released.is_set():
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        self.gone.append(ask.target)
                        return None
            connection.settimeout(PATIENCE)
        elif behaviour == "hang":  # never answers
            connection.recv(1)
            self.gone.append(ask.target)
            return None
        elif behaviour == "die":  # ends after ASK
            return None
        elif behaviour == "die-after-give":  # ends before HERE can arrive
            connection.shutdown(socket.SHUT_RD)
        elif behaviour == "close-after-here":  # ends with the descriptor in its queue
            connection.send(GIVE)
            connection.recvmsg(1, 0, socket.MSG_PEEK)
            return None
        elif behaviour in self.messages:
            return self.messages[behaviour]
        return GIVE

    def take(self, connection, ask):
        message, ancillary, flags, _ = connection.recvmsg(
            1 << 17, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
        if not message:
            self.gone.append(ask.target)
            return
        assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC), flags
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            descriptors.frombytes(data)
        assert len(descriptors) == 1, descriptors
        version, kind, here_flags, early = struct.unpack_from("!BBHI", message)
        assert (version, kind, early) == (1, 4, len(message) - 8), message[:8]
        client = socket.socket(fileno=descriptors[0])
        client.setblocking(True)
        self.heres.append((here_flags, message[8:], client))
        # It reads nothing more: the end of the exchange is the asker's.
        connection.close()
        self.echo(client, ask, message[8:])

    def echo(self, client, ask, early):
        """Sends back what comes, and ends when the client does."""
        key = (ask.field("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        with contextlib.suppress(OSError), client:
            client.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").encode()
                           + early)
            if "door=deaf" in ask.target:  # reads nothing
                self.released.wait()
            while data := client.recv(1 << 16):
                client.sendall(data)

    def close(self):
        self.closed = True
        self.accepting.set()
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(self.path)
        self.listener.close()
        self.released.set()
        self.thread.join(PATIENCE)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        for _, _, client in self.heres:
            client.close()
